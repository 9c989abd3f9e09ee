"""What must leave the database leaves through here: decided in one transaction, delivered by another task,
never lost.

`put` writes a row in the transaction that decides it, under a key that says what it is, so that deciding
twice sends once. A `Relay` claims rows, delivers them, and records what became of them.

What a relay promises: a row whose delivery was recorded is not delivered again; a row whose delivery was not
(the process was killed between the two) is, and is counted as a repeat. A failing item is tried again with a
jittered back-off, up to an hour, and after 20 charged attempts lies among the dead letters until an admin
looks at it. A boundary that is down is nobody's failure: the relay pauses, charges nothing, and afterwards
asks with a single item first. A notice whose time has passed is dropped.

The shape: one task claims, up to `concurrency` tasks a lane deliver, one task records. A lane has places of
its own, so a slow broadcast never takes the place of a receipt. Results gather while the recorder is busy and
leave as one statement.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, NoReturn

import trio
from attrs import frozen

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.database.outbox_lane import QUICK, QUICK_BATCHES, Lane
from vpnd.database.outbox_rows import (
    LANES,
    MOST_FAILURES,
    BoundaryDown,
    Completion,
    Dead,
    Delivered,
    Delivery,
    Drop,
    NewItem,
    OutboxItem,
    Retry,
    claim,
    complete,
    dead_letters,
    oldest_due,
    put,
    put_many,
    retry_dead,
    take_back,
)
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import for_nobody

__all__ = [
    "BoundaryDown",
    "Dead",
    "Delivered",
    "Delivery",
    "Drop",
    "NewItem",
    "OutboxItem",
    "Relay",
    "RelayStatistics",
    "Retry",
    "dead_letters",
    "oldest_due",
    "put",
    "put_many",
    "retry_dead",
]

#: Back-off of an item and of a boundary, seconds.
RETRY_FIRST: Final = 2.0
RETRY_CAP: Final = 3600.0
PAUSE_FIRST: Final = 1.0
PAUSE_CAP: Final = 60.0
#: A delivery gets the lease less this, so that it ends before somebody else may begin it.
LEASE_MARGIN: Final = 10.0

_journal = get_journal("outbox")


# ---------------------------------------------------------------------- delivering


@frozen
class RelayStatistics:
    """A look at a relay: `waiting` are claimed but not begun, `unrecorded` delivered but not written back
    yet."""

    in_flight: int
    waiting: int
    unrecorded: int
    paused: bool
    delivered: int
    repeats: int
    fenced: int


class Relay:
    """Delivers the items of some kinds.

    Args:
        db: the database.
        kinds: which kinds of item.
        deliver: takes one item out into the world and says what became of it. An error it raises counts as
            `Retry`, unless it has a true attribute `boundary_down`: then as `BoundaryDown`. It must end
            within the lease less 10 s, else it is cancelled.
        holder: names this relay among all that live, and no other; it is shown in claimed rows. What it claimed in a
            former life is taken back at once.
        batch: most rows claimed of a lane at once; more of one that delivers them faster than they can be claimed.
        concurrency: most deliveries at once in a lane.
        lease: seconds a claim lasts.
        interval: seconds between looks when nobody calls `wake`.
        rng: the source of jitter.
    """

    def __init__(
        self,
        db: Database,
        kinds: Sequence[str],
        deliver: Callable[[OutboxItem], Awaitable[Delivery]],
        *,
        holder: str,
        batch: int = 100,
        concurrency: int = 20,
        lease: float = 60.0,
        interval: float = 1.0,
        rng: Random | None = None,
    ) -> None:
        if lease <= LEASE_MARGIN:
            raise ValueError(f"a lease is longer than {LEASE_MARGIN:g}s")
        self._db = db
        self._kinds = tuple(kinds)
        self._deliver = deliver
        self._holder = holder
        self._batch = batch
        self._concurrency = concurrency
        self._lease = lease
        self._interval = interval
        self._rng = rng or Random()  # noqa: S311 (spreads repetitions, guards nothing)
        self._lanes = {name: Lane(name, batch) for name in LANES}
        self._completed = {kind: metrics.outbox_completed_total.labels(kind) for kind in self._kinds}
        self._finished: list[Completion] = []
        self._claim_now = trio.Event()
        self._record_now = trio.Event()
        self._stopped_by_hand = False
        self._pause_until = -math.inf
        self._pause_asked = False  # the other side named its length
        self._pauses = 0  # in a row; the first item after a pause goes alone
        self._delivered = self._repeats = self._fenced = 0

    # ------------------------------------------------------------------ from outside

    def wake(self) -> None:
        """Look for work now: what `tx.after_commit` calls."""
        self._claim_now.set()

    def pause(self) -> None:
        """Claim nothing more until `resume`; what is in hand is finished."""
        self._stopped_by_hand = True

    def resume(self) -> None:
        """Go on after `pause`."""
        self._stopped_by_hand = False
        self.wake()

    def statistics(self) -> RelayStatistics:
        """What it is at, and counts since the start."""
        return RelayStatistics(
            in_flight=sum(len(lane.in_flight) for lane in self._lanes.values()),
            waiting=sum(len(lane.waiting) for lane in self._lanes.values()),
            unrecorded=len(self._finished),
            paused=self._stopped_by_hand or trio.current_time() < self._pause_until,
            delivered=self._delivered,
            repeats=self._repeats,
            fenced=self._fenced,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Relay until cancelled.

        Cancellation: deliveries are cancelled where they are (their items are repeated after the lease); what
        was delivered is recorded and what was not begun is given back, within three seconds.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._record_forever)
                task_status.started()
                await self._claim_forever(nursery)
        finally:
            for lane in self._lanes.values():
                self._give_back(lane)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3.0):
                try:
                    await self._record()
                except DatabaseError as error:
                    _journal.warning(
                        "outbox.record_failed", message=f"Ends of deliveries stay unrecorded: {error}"
                    )
        raise AssertionError("a nursery that claims for ever was left in order")

    # ------------------------------------------------------------------ claiming

    async def _claim_forever(self, nursery: trio.Nursery) -> NoReturn:
        trouble = 0
        taken_back = False
        while True:
            self._claim_now = trio.Event()
            claimed, wait = 0, self._interval
            room = self._room()
            if room and not self._stopped_by_hand:
                try:
                    if not taken_back:
                        # Nobody else has our name: what it holds was left by a process that was killed, and a
                        # receipt should not wait for a lease to run out because of that.
                        with for_nobody():
                            await take_back(self._db, self._kinds, holder=self._holder)
                        taken_back = True
                    claimed = await self._claim(room, nursery)
                    trouble = 0
                except DatabaseError as error:
                    trouble += 1
                    wait = jittered_backoff(trouble, PAUSE_FIRST, PAUSE_CAP, self._rng)
                    _journal.warning("outbox.claim_failed", message=f"No items could be claimed: {error}")
            if claimed and any(lane.more and lane.ready_for_more() for lane in self._lanes.values()):
                continue  # where there was one full batch there may be another
            pause = self._pause_until - trio.current_time()
            with trio.move_on_after(max(pause, wait)):
                if pause > 0 or trouble:
                    await self._db.wait_back()  # being woken does not mend what is down
                    if not self._pause_asked:
                        self._pause_until = -math.inf
                else:
                    await self._claim_now.wait()

    def _room(self) -> dict[str, int]:
        """How many rows each lane takes now: a new batch when the last one has been begun."""
        if trio.current_time() < self._pause_until:
            return {}
        if self._pauses:
            busy = any(lane.in_flight or lane.waiting for lane in self._lanes.values())
            return {} if busy else dict.fromkeys(LANES, 1)
        if len(self._finished) > sum(lane.batch for lane in self._lanes.values()):
            return {}  # the recorder lags; it wakes us
        lanes = [lane for lane in self._lanes.values() if lane.ready_for_more()]
        for lane in lanes:
            grown = min(lane.batch * 2, self._batch * QUICK_BATCHES)
            lane.batch = grown if lane.quick and lane.more else self._batch
        return {lane.name: lane.batch for lane in lanes}

    async def _claim(self, room: Mapping[str, int], nursery: trio.Nursery) -> int:
        with for_nobody():  # whoever waits for what is found is served by its delivery
            items = await claim(self._db, self._kinds, dict(room), holder=self._holder, lease=self._lease)
        now = trio.current_time()
        until = now + self._lease - LEASE_MARGIN
        for item in items:
            if item.repeat:
                self._repeats += 1
                metrics.outbox_repeats_total.labels(item.kind).inc()
            self._lanes[item.lane].waiting.append((item, until))
        for kind, count in Counter(item.kind for item in items).items():
            metrics.outbox_claimed_total.labels(kind).inc(count)
        claimed = Counter(item.lane for item in items)
        for name, most in room.items():
            lane = self._lanes[name]
            lane.more = claimed[name] >= most
            lane.claimed_at = now if claimed[name] else lane.claimed_at
        for lane in self._lanes.values():
            for _ in range(min(len(lane.waiting), self._concurrency - len(lane.in_flight))):
                nursery.start_soon(self._deliver_in, lane)
        return len(items)

    # ------------------------------------------------------------------ delivering

    async def _deliver_in(self, lane: Lane) -> None:
        """Deliver what waits in this lane, one item after the other."""
        while lane.waiting:
            begun: OutboxItem | None = None
            # One scope for all that ends in time: one for each would cost more than all else here.
            with trio.CancelScope() as scope:
                while lane.waiting and not scope.cancel_called:
                    # A claim that returns while the relay is being stopped still starts tasks: they begin nothing.
                    await trio.lowlevel.checkpoint_if_cancelled()
                    item, until = lane.waiting.popleft()
                    if trio.current_time() >= until:
                        # It waited in memory for too long: unbegun, it goes back, and whoever claims it has a whole
                        # lease.
                        self._finish(item, "ready")
                        continue
                    if scope.deadline != until:
                        scope.deadline = until
                    begun = item
                    lane.in_flight.add(item.id)
                    try:
                        delivery = await self._attempt(item)
                    finally:
                        lane.in_flight.discard(item.id)
                    begun = None
                    self._note(item, delivery)
            if begun is not None:
                self._note(begun, Retry(error="out of time"))
        lane.quick = trio.current_time() - lane.claimed_at < QUICK
        if lane.more:
            self._claim_now.set()

    async def _attempt(self, item: OutboxItem) -> Delivery:
        if item.stale:
            return Drop("its time had passed")
        try:
            return await self._deliver(item)
        except Exception as error:
            if getattr(error, "boundary_down", False):
                return BoundaryDown(error=type(error).__name__)
            _journal.warning(
                "outbox.delivery_failed",
                message=f"Delivering a {item.kind} failed",
                item=item.id,
                error=repr(error),
            )
            return Retry(error=f"{type(error).__name__}: {error}"[:500])

    def _note(self, item: OutboxItem, delivery: Delivery) -> None:
        """Turn what became of an item into what is recorded."""
        if isinstance(delivery, BoundaryDown):
            self._pause(item, delivery)
            return
        self._pauses = 0
        match delivery:
            case Delivered(result):
                self._delivered += 1
                self._completed[item.kind].inc()
                self._finish(item, "done", result=result)
            case Drop(reason):
                metrics.outbox_dropped_total.labels(item.kind).inc()
                self._finish(item, "dropped", error=reason)
            case Dead(reason):
                self._bury(item, reason)
            case Retry(_, error) if item.failures + 1 >= MOST_FAILURES:
                self._bury(item, error)
            case Retry(after, error):
                metrics.outbox_failed_total.labels(item.kind).inc()
                if after is None:
                    after = jittered_backoff(item.failures + 1, RETRY_FIRST, RETRY_CAP, self._rng)
                self._finish(item, "ready", delay=min(after, RETRY_CAP), cost=1, error=error)

    def _bury(self, item: OutboxItem, reason: str) -> None:
        metrics.outbox_dead_total.labels(item.kind).inc()
        _journal.error(
            "outbox.dead",
            message=f"A {item.kind} was given up after {item.failures + 1} attempts",
            item=item.id,
            reason=reason,
        )
        self._finish(item, "dead", cost=1, error=reason)

    def _pause(self, item: OutboxItem, delivery: BoundaryDown) -> None:
        """Put the item, and all that wait, back uncharged. Concurrent deliveries that fail too count as the
        same pause."""
        now = trio.current_time()
        if now >= self._pause_until:
            self._pauses += 1
            own = jittered_backoff(self._pauses, PAUSE_FIRST, PAUSE_CAP, self._rng)
            self._pause_until = now + (own if delivery.after is None else delivery.after)
            self._pause_asked = delivery.after is not None
            _journal.warning(
                "outbox.paused",
                message=f"Deliveries of {item.kind} pause for {self._pause_until - now:.1f}s",
                error=delivery.error,
            )
        self._finish(item, "ready", error=delivery.error or None)
        for other in self._lanes.values():
            self._give_back(other)

    def _give_back(self, lane: Lane) -> None:
        while lane.waiting:
            self._finish(lane.waiting.popleft()[0], "ready")

    def _finish(
        self,
        item: OutboxItem,
        status: str,
        *,
        delay: float = 0.0,
        cost: int = 0,
        error: str | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        self._finished.append(Completion(item.id, item.attempt, status, delay, cost, error, result))
        self._record_now.set()

    # ------------------------------------------------------------------ recording

    async def _record_forever(self) -> NoReturn:
        trouble = 0
        while True:
            await self._record_now.wait()
            self._record_now = trio.Event()
            try:
                await self._record()
                trouble = 0
            except DatabaseError as error:
                trouble += 1
                _journal.warning(
                    "outbox.record_failed", message=f"Ends of deliveries are not recorded yet: {error}"
                )
                await self._db.rest(jittered_backoff(trouble, 0.1, 5.0, self._rng))
                self._record_now.set()
            self._claim_now.set()

    async def _record(self) -> None:
        """Write back all that ended; what cannot be written stays for the next time."""
        batch, self._finished = self._finished[:1000], self._finished[1000:]
        while batch:
            try:
                written = await complete(self._db, batch)
            except BaseException:
                self._finished = batch + self._finished
                raise
            self._fenced += len(batch) - written
            batch, self._finished = self._finished[:1000], self._finished[1000:]
