"""The runner of broadcasts: takes recipients in hand in small batches, sends, and writes down what became of them in sets.

How fast is not decided here: whatever sends waits for its turn in the lane of broadcasts, which gives what Telegram permits
after replies and notices had theirs, and learns from a refusal. The runner only keeps enough in hand (`concurrency`) that no
turn is lost, and little enough that a pause takes a moment.

The shape is the outbox relay's: one task claims, up to `concurrency` send, one records, one writes recipients down. A Telegram
that is away, or that refuses everybody, pauses the claims and costs nobody anything; afterwards a single one is tried first.
A kill leaves in hand what was being sent: these are claimed again at the next start, and counted as perhaps repeated.

It also begins what is scheduled, and halts a broadcast that one recipient after the other refuses for good: its message was
deleted, say. Then a person has to look, and those who wait are not used up meanwhile.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Final, NoReturn

import trio
from prometheus_client import Counter

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Delivery, Drop, Retry
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.metrics import REGISTRY
from vpnd.runtime.wake import Wake
from vpnd.runtime.worker import LeaseLike
from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.broadcast_rows import Broadcast, Claimed, Recorded

__all__ = ["BroadcastRunner", "Send"]

journal = get_journal("workers")

#: Sends a broadcast's content to one recipient and says what became of it. Dropped: he cannot be reached.
Send = Callable[[Mapping[str, Any], Claimed], Awaitable[Delivery]]

#: Back-off of one recipient, of a Telegram that is away, and of a database that is; seconds.
RETRY_FIRST: Final = 5.0
RETRY_CAP: Final = 600.0
PAUSE_FIRST: Final = 1.0
PAUSE_CAP: Final = 60.0
#: Failures of one recipient after which he is given up.
MOST_FAILURES: Final = 5
#: Refusals in a row, of different recipients, that pause all of them.
REFUSALS_IN_ROW: Final = 3
#: Recipients in a row, of one broadcast, that refuse its message for good, after which it is halted.
DEAD_IN_ROW: Final = 20
#: A send gets the claim's lease less this, so that it ends before somebody else may begin it.
LEASE_MARGIN: Final = 10.0
#: Outcomes are written down together, this long after the first (seconds), or as soon as there are two for each that can be sent
#: at once: what is not written down when the process is killed is sent again.
RECORD_AFTER: Final = 0.2

messages_total: Final = Counter(
    "vpnd_broadcast_messages_total",
    "Recipients of broadcasts by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
repeats_total: Final = Counter(
    "vpnd_broadcast_perhaps_repeated_total",
    "Messages of broadcasts that were sent again because a kill left it open whether they had been.",
    registry=REGISTRY,
)
_messages: Final = {of: messages_total.labels(of) for of in ("sent", "unreachable", "failed", "waiting")}


class BroadcastRunner:
    """Runs whatever broadcasts are to run; one child of the supervisor.

    Args:
        db: the database.
        send: sends to one recipient, in the lane of broadcasts.
        lease: broadcasts are run while this is held, so that two instances do not share one limit.
        holder: names this runner among all that live, and no other.
        concurrency: most that are being sent at once.
        claim_lease: seconds a recipient stays in hand.
        interval: seconds between looks when nobody wakes it: so soon it sees what another process has changed.
        rng: the source of jitter.
    """

    def __init__(
        self,
        db: Database,
        send: Send,
        *,
        lease: LeaseLike,
        holder: str,
        concurrency: int = 32,
        claim_lease: float = 60.0,
        interval: float = 2.0,
        rng: Random | None = None,
    ) -> None:
        if claim_lease <= LEASE_MARGIN:
            raise ValueError(f"a claim's lease is longer than {LEASE_MARGIN:g}s")
        self._db = db
        self._send = send
        self._lease = lease
        self._holder = holder
        self._concurrency = concurrency
        self._claim_lease = claim_lease
        self._interval = interval
        self._rng = rng or Random()  # noqa: S311 (spreads repetitions, guards nothing)
        self._look: Final = Wake()
        self._fill: Final = Wake()
        self._record: Final = Wake()
        self._enough: Final = Wake()  # outcomes to be written down at once
        self._paused = False
        self._active: dict[int, Broadcast] = {}
        self._in_hand: deque[tuple[Claimed, float]] = (
            deque()
        )  # claimed and not begun, with the end of its time
        self._sending = 0
        self._outcomes: list[Recorded] = []
        self._pause_until = -math.inf
        self._pauses = 0  # in a row; the first recipient after a pause goes alone
        self._refusals = 0
        self._taken_back = False
        self._schedule_at = -math.inf  # when to look for what is scheduled
        self._dead_in_row: dict[int, int] = {}
        self._halting: set[int] = set()  # begin nothing of these while the halt is being written

    def wake(self) -> None:
        """Look now: a broadcast was started, paused, resumed or stopped. For synchronous code."""
        self._look()

    def resize(self, concurrency: int) -> None:
        """Send at most so many at once from now on."""
        self._concurrency = concurrency
        self._fill()

    def pause(self) -> None:
        """Begin nothing more until `resume`; what is being sent is finished."""
        self._paused = True
        self._look()

    def resume(self) -> None:
        """End a pause."""
        if self._paused:
            self._paused = False
            self._look()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run until cancelled. What was not begun is then given back, and what was sent is written down."""
        task_status.started()
        try:
            # Nobody waits for it as for an answer: turns of what is heavy rest for people only.
            with as_class(LimitClass.WORKER):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._fill_forever)
                    nursery.start_soon(self._record_forever)
                    await self._claim_forever(nursery)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3.0):
                try:
                    await self._write_outcomes()
                    await self._put_back(lambda one: True)
                except DatabaseError as error:
                    journal.warning(
                        "broadcast.not_recorded", message=f"Ends of messages stay unrecorded: {error}"
                    )
        raise AssertionError("a nursery that claims for ever was left in order")

    # ------------------------------------------------------------------ claiming

    async def _claim_forever(self, nursery: trio.Nursery) -> NoReturn:
        trouble = 0
        while True:
            try:
                wait = await self._claim_once(nursery)
                trouble = 0
            except DatabaseError as error:
                trouble += 1
                if trouble == 1:
                    journal.warning("broadcast.claim_failed", message=f"Broadcasts wait: {error}")
                await self._db.rest(jittered_backoff(trouble, PAUSE_FIRST, PAUSE_CAP, self._rng))
                continue
            if wait:
                await self._look.wait(wait)
            else:
                await trio.lowlevel.checkpoint()

    async def _claim_once(self, nursery: trio.Nursery) -> float:
        """Look what runs and take a batch of it in hand; returns for how long to wait for the next look."""
        if self._paused or not await self._lease.hold():
            self._active = {}
            await self._put_back(lambda one: True)
            return self._interval
        if not self._taken_back:
            # Nobody else has our name: what it holds was left by a process that was killed.
            await broadcast_rows.take_back(self._db, holder=self._holder)
            self._taken_back = True
        await self._begin_due()
        self._active = {one.id: one for one in await broadcast_rows.running(self._db)}
        await self._put_back(lambda one: one.broadcast_id not in self._active)
        if not self._active:
            return self._interval
        if not all(one.filled for one in self._active.values()):
            self._fill()
        pause = self._pause_until - trio.current_time()
        if pause > 0:
            await self._put_back(lambda one: True)
            return min(pause, self._interval)
        room = self._room()
        if not room:
            self._begin(nursery)
            return self._interval
        until = trio.current_time() + self._claim_lease - LEASE_MARGIN
        claimed = await self._claim(room)
        self._in_hand.extend((one, until) for one in claimed)
        self._begin(nursery)
        if claimed:
            return self._interval  # whoever is done first wakes us
        if not self._sending and not self._outcomes:
            await broadcast_rows.finish_if_served(self._db, list(self._active))
        return min(self._interval, 1.0)

    async def _begin_due(self) -> None:
        """Begin what is scheduled, when it is time to look for that."""
        now = trio.current_time()
        if now < self._schedule_at:
            return
        for broadcast_id, state in await broadcasts.start_due(self._db):
            if state == "running":
                journal.info(
                    "broadcast.begun",
                    message=f"broadcast {broadcast_id} begins as scheduled",
                    broadcast=broadcast_id,
                )
            else:
                journal.warning(
                    "broadcast.missed",
                    message=f"the time of broadcast {broadcast_id} was missed, and it is not made up for",
                    broadcast=broadcast_id,
                )
        self._schedule_at = now + self._interval

    async def _claim(self, room: int) -> list[Claimed]:
        """Take so many in hand, of news of the service itself first."""
        claimed: list[Claimed] = []
        for urgent in (True, False):
            which = [one.id for one in self._active.values() if one.urgent is urgent]
            if which and len(claimed) < room:
                claimed += await broadcast_rows.claim(
                    self._db, which, room - len(claimed), holder=self._holder, lease=self._claim_lease
                )
        return claimed

    def _room(self) -> int:
        """How many to claim now: a new batch when the last one has been begun."""
        if self._pauses:
            return 0 if self._sending or self._in_hand else 1
        if len(self._outcomes) > 4 * self._concurrency:
            return 0  # the recorder lags; it wakes us
        return 2 * self._concurrency if len(self._in_hand) < self._concurrency else 0

    def _begin(self, nursery: trio.Nursery) -> None:
        while self._in_hand and self._sending < self._concurrency:
            if self._paused or trio.current_time() < self._pause_until:
                return
            which = self._in_hand[0][0].broadcast_id
            if which in self._halting or which not in self._active:
                return  # what is in hand of it is given back at the next look
            claimed, until = self._in_hand.popleft()
            if until <= trio.current_time():
                continue  # somebody else may have it by now
            self._sending += 1
            nursery.start_soon(self._send_one, nursery, self._active[claimed.broadcast_id], claimed, until)

    async def _put_back(self, which: Callable[[Claimed], bool]) -> None:
        """Give back what was claimed and not begun, of those."""
        leaving = [one for one, _ in self._in_hand if which(one)]
        if leaving:
            self._in_hand = deque(pair for pair in self._in_hand if not which(pair[0]))
            await broadcast_rows.give_back(self._db, leaving)

    # ------------------------------------------------------------------ sending

    async def _send_one(
        self, nursery: trio.Nursery, broadcast: Broadcast, claimed: Claimed, until: float
    ) -> None:
        delivery: Delivery = Retry(error="not sent in time")
        try:
            with trio.move_on_at(until):
                delivery = await self._send(broadcast.content, claimed)
        except Exception as error:
            if getattr(error, "boundary_down", False):
                delivery = BoundaryDown(error=str(error))
            else:
                # One message's trouble is not the others'.
                journal.error(
                    "broadcast.send_failed",
                    message=f"A message of broadcast {claimed.broadcast_id} failed: {error}",
                    exc_info=error,
                    broadcast=claimed.broadcast_id,
                    customer=claimed.customer_id,
                )
                delivery = Retry(error=f"{type(error).__name__}: {error}")
        finally:
            self._sending -= 1
        recorded = self._judge(claimed, delivery)
        _messages[recorded.outcome].inc()
        if recorded.outcome == "sent" and claimed.repeat:
            repeats_total.inc()
        self._outcomes.append(recorded)
        self._record()
        if len(self._outcomes) >= 2 * self._concurrency:
            self._enough()
        self._begin(nursery)
        if len(self._in_hand) < self._concurrency:
            self._look()
        await self._halt_if_refused(claimed.broadcast_id, delivery)

    def _judge(self, claimed: Claimed, delivery: Delivery) -> Recorded:
        """What is written down, and what the others learn from it."""
        if isinstance(delivery, BoundaryDown):
            self._hold_all(delivery.after, delivery.error)
            return Recorded(claimed, "waiting", error=delivery.error)
        if isinstance(delivery, Retry) and delivery.after is not None:
            # Our own lanes, or Telegram, ask to wait: that is nobody's failure.
            self._refusals += 1
            if self._refusals >= REFUSALS_IN_ROW:
                self._hold_all(delivery.after, delivery.error)
            return Recorded(claimed, "waiting", delay=delivery.after, error=delivery.error)
        self._pauses = self._refusals = 0
        if isinstance(delivery, Delivered):
            return Recorded(claimed, "sent")
        if isinstance(delivery, Drop):
            return Recorded(claimed, "unreachable", error=delivery.reason)
        if isinstance(delivery, Dead):
            return Recorded(claimed, "failed", error=delivery.reason)
        failures = claimed.failures + 1
        if failures >= MOST_FAILURES:
            return Recorded(claimed, "failed", cost=1, error=delivery.error)
        delay = jittered_backoff(failures, RETRY_FIRST, RETRY_CAP, self._rng)
        return Recorded(claimed, "waiting", delay=delay, cost=1, error=delivery.error)

    async def _halt_if_refused(self, broadcast_id: int, delivery: Delivery) -> None:
        """Halt a broadcast whose message one recipient after the other cannot be sent, for good."""
        if not isinstance(delivery, Dead):
            if isinstance(delivery, Delivered):
                self._dead_in_row.pop(broadcast_id, None)
            return
        dead = self._dead_in_row[broadcast_id] = self._dead_in_row.get(broadcast_id, 0) + 1
        if dead < DEAD_IN_ROW:
            return
        del self._dead_in_row[broadcast_id]
        self._halting.add(broadcast_id)
        try:
            halted = await broadcast_rows.halt(self._db, broadcast_id, delivery.reason)
        except DatabaseError as error:
            # The next refusals come to the same.
            journal.warning(
                "broadcast.not_halted", message=f"Broadcast {broadcast_id} could not be halted: {error}"
            )
            return
        finally:
            self._halting.discard(broadcast_id)
        if halted:
            # What is in hand of it goes back with the next look, before anything of it is begun.
            self._active.pop(broadcast_id, None)
            journal.error(
                "broadcast.halted",
                message=f"Broadcast {broadcast_id} is paused: {dead} recipients in a row refused it: {delivery.reason}",
                broadcast=broadcast_id,
            )
            self._look()

    def _hold_all(self, after: float | None, error: str) -> None:
        """Send nothing for a while: nobody could be served now."""
        now = trio.current_time()
        if now < self._pause_until:
            return  # others that were under way meet the same
        self._pauses += 1
        pause = jittered_backoff(self._pauses, PAUSE_FIRST, PAUSE_CAP, self._rng) if after is None else after
        self._pause_until = now + min(pause, PAUSE_CAP)
        self._refusals = 0
        journal.warning(
            "broadcast.paused",
            message=f"Broadcasts pause for {pause:.0f} s: {error}",
            pause=round(pause, 1),
        )

    # ------------------------------------------------------------------ writing down

    async def _record_forever(self) -> NoReturn:
        failures = 0
        while True:
            await self._record.wait(math.inf)
            await self._enough.wait(RECORD_AFTER)
            try:
                await self._write_outcomes()
                failures = 0
            except DatabaseError as error:
                failures += 1
                if failures == 1:
                    journal.warning("broadcast.record_failed", message=f"Ends of messages wait: {error}")
                await self._db.rest(jittered_backoff(failures, PAUSE_FIRST, PAUSE_CAP, self._rng))
                self._record()
            else:
                self._look()

    async def _write_outcomes(self) -> None:
        batch = self._outcomes[:]
        if batch:
            await broadcast_rows.record(self._db, batch)
            del self._outcomes[: len(batch)]

    async def _fill_page(self, broadcast_id: int) -> bool:
        """Write a page of recipients down in a turn; whether there may be more."""
        async with self._db.turns.turn():
            return await broadcast_rows.fill(self._db, broadcast_id)

    async def _fill_forever(self) -> NoReturn:
        """Write recipients down, a page of customers at a time, beside the sending."""
        failures = 0
        while True:
            await self._fill.wait(math.inf)
            for broadcast_id in [one.id for one in self._active.values() if not one.filled]:
                try:
                    while broadcast_id in self._active and await self._fill_page(broadcast_id):
                        self._look()
                    failures = 0
                except DatabaseError as error:
                    failures += 1
                    if failures == 1:
                        journal.warning(
                            "broadcast.fill_failed", message=f"Recipients cannot be written down yet: {error}"
                        )
                    await self._db.rest(jittered_backoff(failures, PAUSE_FIRST, PAUSE_CAP, self._rng))
            self._look()
