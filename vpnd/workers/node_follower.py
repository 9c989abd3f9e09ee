"""One follower a node: sends what changed, records what was acknowledged.

The node says where it stands (epoch and number of the last change it holds); the follower reads the log from there. So
a lost answer, a killed daemon or a node that was restored from its own older copy need no special case: the next page starts at
what the node really holds. Only a place that the log does not know is compared (`vpnd.workers.node_compare`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

import trio
from attrs import define

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeError
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

#: A node that has nothing to be told is asked for its status this often, in seconds.
GREET_EVERY: Final = 10.0

#: Strangers found by a comparison are looked for again after this many seconds.
RECOMPARE_AFTER: Final = 60.0

#: Back-off while a node or the database is away, in seconds.
RETRY_FIRST: Final = 0.5
RETRY_CAP: Final = 10.0


@define
class Place:
    """Where the node stands in the log."""

    epoch: str | None
    seq: int


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
        self._recompare_at: float | None = None
        self._woken_at: float | None = None
        self.node: Final = client.name
        metrics.declare_node(client.name)
        self._wake: Final = Wake()

    def wake(self) -> None:
        """Look at the log now."""
        if self._woken_at is None:
            self._woken_at = trio.current_time()
        self._wake()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Follow for ever. A node that is away is told once an outage, and tried again with back-off."""
        task_status.started()
        failures = 0
        with as_class(LimitClass.WORKER):
            while True:
                try:
                    place = await self._greet()
                    if failures:
                        journal.info("node.back", message=f"node {self.node} answers again", node=self.node)
                        failures = 0
                    await self._follow(place)
                except (NodeError, DatabaseError) as error:
                    failures += 1
                    if failures == 1:
                        journal.warning(
                            "node.unreachable",
                            message=f"node {self.node} cannot be kept up to date, trying on: {error}",
                            node=self.node,
                        )
                    await self._db.rest(jittered_backoff(failures, RETRY_FIRST, RETRY_CAP, self._random))

    async def _greet(self) -> Place:
        """Ask where the node stands; note what it said and that it holds what it says."""
        status: NodeStatus = await self._client.status()
        metrics.node_last_contact_timestamp_seconds.labels(self.node).set_to_current_time()
        await save_status(
            self._db, self.node, status.boot_id, [inbound.to_json() for inbound in status.inbounds]
        )
        place = Place(status.epoch, status.seq)
        if place.epoch is not None:
            # An acknowledgement may have been lost with the daemon that had asked for it.
            await self._acknowledge(place)
        return place

    async def _follow(self, place: Place) -> None:
        """Send page after page; return when it is time to greet again."""
        while True:
            page = await access_log.changes_after(self._db, place.epoch, place.seq, PAGE)
            if isinstance(page, access_log.Unknown) or self._time_to_compare():
                place = await self._compare(page)
                continue
            metrics.node_lag_rows.labels(self.node).set(page.head_seq - place.seq)
            if page.changes:
                changes = [AccessChange(c.name, c.uuid, c.version, c.active) for c in page.changes]
                try:
                    result = await self._client.push(page.epoch, page.last_seq, changes)
                except NodeEpochMismatch:
                    return
                self._tell_cut_offs(result.removed)
            if page.last_seq > place.seq:
                place = Place(page.epoch, page.last_seq)
                await self._acknowledge(place)
            if page.complete and not await self._wake.wait(GREET_EVERY):
                return

    async def _acknowledge(self, place: Place) -> None:
        assert place.epoch is not None  # noqa: S101  both callers have it from the log or the node
        activated = await access_log.record_ack(self._db, self.node, place.epoch, place.seq)
        if isinstance(activated, access_log.Unknown):
            return  # the next page says why, and the comparison mends it
        metrics.node_acked_seq.labels(self.node).set(place.seq)
        if activated and self._woken_at is not None:
            metrics.node_activation_seconds.observe(trio.current_time() - self._woken_at)
        self._woken_at = None
        if activated and self._on_activated is not None:
            self._on_activated(len(activated))

    def _time_to_compare(self) -> bool:
        return self._recompare_at is not None and trio.current_time() >= self._recompare_at

    async def _compare(self, page: access_log.Unknown | access_log.Page) -> Place:
        reason = page.reason if isinstance(page, access_log.Unknown) else "strangers"
        if reason == "ahead":
            # The node has acknowledged numbers of this epoch that the log never gave: the database is an older copy.
            epoch = await access_log.new_epoch(self._db)
            journal.error(
                "node.ahead",
                message=f"node {self.node} is ahead of the access log: the database was restored from a backup."
                " A new epoch begins, every node is compared",
                node=self.node,
                epoch=epoch,
            )
        result = await compare(self._db, self._client, self.node)
        self._recompare_at = trio.current_time() + RECOMPARE_AFTER if result.suspects else None
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

    def _tell_cut_offs(self, removed: tuple[object, ...]) -> None:
        if removed:
            journal.info(
                "node.cut_off",
                message=f"node {self.node} cut {len(removed)} credentials off",
                node=self.node,
                count=len(removed),
            )
