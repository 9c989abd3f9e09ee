"""One follower a node: sends what changed, records what was acknowledged.

The node says where it stands (epoch and number of the last change it holds); the follower reads the log from there. So
a lost answer, a killed daemon or a node that was restored from its own older copy need no special case: the next page starts at
what the node really holds. Only a place that the log does not know is compared (`vpnd.workers.node_compare`), and, to prove
that nothing drifted, every node once an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

import trio
from attrs import frozen

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeError, NodeRefused
from vpnd.nodes.model import AccessChange, NodeStatus
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.wake import Wake
from vpnd.shop import access_log
from vpnd.shop.nodes import save_status
from vpnd.workers.node_compare import compare

journal = get_journal("workers")

#: Log rows in one page; their credentials travel in one call.
PAGE: Final = 1_000

#: A node is asked for its status this often, in seconds, however busy the log is.
GREET_EVERY: Final = 10.0

#: Strangers found by a comparison are looked for again after this many seconds.
RECOMPARE_AFTER: Final = 60.0

#: A node that is followed well is compared all the same this often, in seconds.
PROVE_EVERY: Final = 3600.0

#: Back-off while a node or the database is away, in seconds.
RETRY_FIRST: Final = 0.5
RETRY_CAP: Final = 10.0


@frozen
class Place:
    """Where the node stands in the log."""

    epoch: str | None
    seq: int


#: A place that no log knows.
NOWHERE: Final = Place(None, 0)


class NodeFollower:
    """Keeps one node at the end of the log; runs as one child of the supervisor."""

    def __init__(
        self, db: Database, client: NodeClient, *, on_activated: Callable[[int], None] | None = None
    ) -> None:
        """`on_activated` hears how many subscriptions each acknowledgement switched on for the first time."""
        self._db = db
        self._client = client
        self._on_activated = on_activated
        self._random = Random()  # noqa: S311  jitter is no secret
        self._compare_at: float | None = None
        self._compare_for = "clock"
        self._failures = 0
        self._woken_at: float | None = None
        self._since: float | None = None
        self.node: Final = client.name
        metrics.declare_node(client.name)
        self._wake: Final = Wake()

    @property
    def away(self) -> bool:
        """Whether the node could not be kept up to date at the last attempt."""
        return self._failures > 0

    def wake(self) -> None:
        """Look at the log now."""
        if self._woken_at is None:
            self._woken_at = trio.current_time()
        self._wake()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Follow for ever. A node that is away is told once an outage, and tried again with back-off."""
        task_status.started()
        if self._compare_at is None:
            self._prove_later()
        with as_class(LimitClass.WORKER):
            while True:
                try:
                    await self._follow(await self._greet())
                except (NodeError, DatabaseError) as error:
                    self._failed(error)
                    if isinstance(error, NodeError):
                        await self._measure_lag()
                    wait = jittered_backoff(self._failures, RETRY_FIRST, RETRY_CAP, self._random)
                    await self._db.rest(wait)

    # ------------------------------------------------------------------ following

    async def _greet(self) -> Place:
        """Ask where the node stands; note what it said and that it holds what it says."""
        status: NodeStatus = await self._client.status()
        self._heard()
        await save_status(
            self._db, self.node, status.boot_id, [inbound.to_json() for inbound in status.inbounds]
        )
        place = Place(status.epoch, status.seq)
        # An acknowledgement may have been lost with the daemon that had asked for it.
        await self._acknowledge(place)
        return place

    async def _follow(self, place: Place) -> None:
        """Send page after page from where the node says that it stands; return when it is time to greet again."""
        greet_at = trio.current_time() + GREET_EVERY
        greeted = True
        while True:
            if self._since is None:
                self._since, self._woken_at = self._woken_at, None
            page = await access_log.changes_after(self._db, place.epoch, place.seq, PAGE)
            unfinished = greeted and place.seq == 0 and page.head_seq > 0
            greeted = False
            if isinstance(page, access_log.Unknown):
                place = await self._compare(page.reason, page.epoch)
                continue
            if unfinished or self._comparison_due():
                place = await self._compare("unfinished" if unfinished else self._compare_for, page.epoch)
                continue
            if page.changes:
                changes = [AccessChange(c.name, c.uuid, c.version, c.active) for c in page.changes]
                try:
                    result = await self._client.push(page.epoch, page.last_seq, changes)
                except NodeEpochMismatch:
                    # It holds another epoch than it greeted with: its core has not caught up with its disk yet.
                    place = NOWHERE
                    continue
                self._heard()
                self._tell_cut_offs(result.removed)
            if page.last_seq > place.seq:
                place = Place(page.epoch, page.last_seq)
                await self._acknowledge(place)
            metrics.node_lag_rows.labels(self.node).set(page.head_seq - place.seq)
            self._well()
            if page.complete and not await self._wake.wait(max(0.0, greet_at - trio.current_time())):
                return

    async def _acknowledge(self, place: Place) -> None:
        if place.epoch is None:
            return
        activated = await access_log.record_ack(self._db, self.node, place.epoch, place.seq)
        if isinstance(activated, access_log.Unknown):
            return  # the next page says why, and the comparison mends it
        metrics.node_acked_seq.labels(self.node).set(place.seq)
        if not activated:
            return
        if self._since is not None:
            metrics.node_activation_seconds.observe(trio.current_time() - self._since)
        if self._on_activated is not None:
            self._on_activated(len(activated))

    # ------------------------------------------------------------------ comparing

    def _prove_later(self) -> None:
        self._compare_for = "clock"
        self._compare_at = trio.current_time() + PROVE_EVERY * self._random.uniform(0.5, 1.5)

    def _comparison_due(self) -> bool:
        return self._compare_at is not None and trio.current_time() >= self._compare_at

    async def _compare(self, reason: str, epoch: str) -> Place:
        if reason == "ahead":
            # The node has acknowledged numbers of this epoch that the log never gave: the database is an older copy.
            fresh = await access_log.new_epoch(self._db, instead_of=epoch)
            journal.error(
                "node.ahead",
                message=f"node {self.node} is ahead of the access log: the database was restored from a backup."
                " A new epoch begins, every node is compared",
                node=self.node,
                epoch=fresh,
            )
        result = await compare(self._db, self._client, self.node)
        self._heard()
        self._prove_later()
        if result.suspects and not result.foreign:
            self._compare_for, self._compare_at = "strangers", trio.current_time() + RECOMPARE_AFTER
        journal.info(
            "node.compared",
            message=f"node {self.node} was compared ({reason}): {result.sent} sent, {result.raised} versions raised,"
            f" {result.removed} strangers removed, {result.suspects} suspected",
            node=self.node,
            reason=reason,
            sent=result.sent,
            raised=result.raised,
            removed=result.removed,
            suspects=result.suspects,
        )
        place = Place(result.epoch, result.seq)
        await self._acknowledge(place)
        return place

    # ------------------------------------------------------------------ how it goes

    def _heard(self) -> None:
        metrics.node_last_contact_timestamp_seconds.labels(self.node).set_to_current_time()

    def _well(self) -> None:
        """Note that the node holds what it was to be told: to answer a greeting is not enough for that."""
        self._since = None
        if self._failures:
            journal.info("node.back", message=f"node {self.node} is kept up to date again", node=self.node)
            self._failures = 0

    def _failed(self, error: NodeError | DatabaseError) -> None:
        self._failures += 1
        if self._failures > 1:
            return
        if isinstance(error, NodeRefused):
            journal.error(
                "node.refused",
                message=f"a person must look: node {self.node} understands and refuses, trying on: {error}",
                node=self.node,
            )
        else:
            journal.warning(
                "node.unreachable",
                message=f"node {self.node} cannot be kept up to date, trying on: {error}",
                node=self.node,
            )

    async def _measure_lag(self) -> None:
        """Keep the gauge true while the node cannot be told: the log grows on."""
        try:
            head = await access_log.head(self._db)
            mark = await access_log.watermark(self._db, self.node)
        except DatabaseError as error:
            journal.debug("node.lag_unknown", message=f"the lag of node {self.node} is not known: {error}")
            return
        behind = head.last_seq - (mark.seq if mark.epoch == head.epoch else 0)
        metrics.node_lag_rows.labels(self.node).set(behind)

    def _tell_cut_offs(self, removed: tuple[object, ...]) -> None:
        if removed:
            journal.info(
                "node.cut_off",
                message=f"node {self.node} cut {len(removed)} credentials off",
                node=self.node,
                count=len(removed),
            )
