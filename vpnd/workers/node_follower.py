"""One follower a node: sends what changed, records what was acknowledged.

The node says where it stands (epoch and number of the last change it holds); the follower reads the log from there. So
a lost answer, a killed daemon or a node that was restored from its own older copy need no special case: the next page starts at
what the node really holds. Only a place that the log does not know is compared (`vpnd.workers.node_compare`), and the node
adopted. What drifts though it is followed well is found by the worker `reconcile`, and nothing but that worker takes away what
the shop does not know.
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
from vpnd.shop.node_stops import note_restore
from vpnd.shop.nodes import save_status
from vpnd.workers import node_gauges
from vpnd.workers.node_compare import compare, tell_comparison, tell_restore

journal = get_journal("workers")

#: Log rows in one page; their credentials travel in one call.
PAGE: Final = 1_000

#: A node is asked for its status this often, in seconds, however busy the log is.
GREET_EVERY: Final = 10.0

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
        self,
        db: Database,
        client: NodeClient,
        *,
        on_activated: Callable[[int], None] | None = None,
        alert: Callable[[], None] | None = None,
    ) -> None:
        """Follow `client`'s node.

        Args:
            db: the shop.
            client: the node.
            on_activated: hears how many subscriptions each acknowledgement switched on for the first time.
            alert: wakes what tells the admins; called when there is something for them.
        """
        self._db = db
        self._client = client
        self._on_activated = on_activated
        self._alert = alert
        self._random = Random()  # noqa: S311  jitter is no secret
        self._failures = 0
        self._stopped = False
        self._woken_at: float | None = None
        self._since: float | None = None
        self.node: Final = client.name
        metrics.declare_node(client.name)
        node_gauges.declare(client.name)
        self._wake: Final = Wake()

    @property
    def away(self) -> bool:
        """Whether the node could not be kept up to date at the last attempt."""
        return self._failures > 0

    @property
    def stopped(self) -> bool:
        """Whether the node waits for a person (`vpnd.shop.node_stops`); as of the last greeting or comparison."""
        return self._stopped

    def wake(self) -> None:
        """Look at the log now."""
        if self._woken_at is None:
            self._woken_at = trio.current_time()
        self._wake()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Follow for ever. A node that is away is told once an outage, and tried again with back-off."""
        task_status.started()
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
        self._stopped = await save_status(
            self._db, self.node, status.boot_id, [inbound.to_json() for inbound in status.inbounds]
        )
        node_gauges.stopped.labels(self.node).set(self._stopped)
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
            if unfinished:
                place = await self._compare("unfinished", page.epoch)
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
        activated, noted = 0, -1
        while noted < place.seq:
            acked = await access_log.record_ack(self._db, self.node, place.epoch, place.seq)
            if isinstance(acked, access_log.Unknown):
                return  # the next page says why, and the comparison mends it
            noted = acked.seq
            activated += len(acked.activated)
        metrics.node_acked_seq.labels(self.node).set(place.seq)
        if not activated:
            return
        if self._since is not None:
            metrics.node_activation_seconds.observe(trio.current_time() - self._since)
        if self._on_activated is not None:
            self._on_activated(activated)

    # ------------------------------------------------------------------ comparing

    async def _compare(self, reason: str, epoch: str) -> Place:
        if reason == "ahead":
            await self._restored(epoch)
        result = await compare(self._db, self._client, adopt=True)
        self._heard()
        self._stopped = result.stop is not None
        if result.told and self._alert is not None:
            self._alert()
        tell_comparison(self.node, reason, result)
        place = Place(result.epoch, result.seq)
        await self._acknowledge(place)
        return place

    async def _restored(self, epoch: str) -> None:
        fresh, begun = await note_restore(self._db, self.node, epoch)
        if begun:
            tell_restore(self.node, fresh)

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
