"""A queue for every chat that has something to say.

Within a chat updates are handled one after the other, across chats all at once. What keeps that bounded is that the inbox table
*is* the queue, and memory only a window on it:

* A queue exists while it has updates, and holds 20. More of the same chat *spill*: they stay in the table, and the queue
  reads them by its own key when it has run dry. A flooded chat thus costs one queue, and nobody else waits.
* All queues together hold 1 000. An update that finds no place makes us *fall behind*: from its number on, new updates are
  left in the table, and the feeder brings them in, in order of their numbers, as places come free, until it has caught up.
* Starting is nothing special: it is having fallen behind from number 0.

A row can thus be met twice (by the feeder and by its queue, or by a read that began before the row was marked as ended).
So all ids in memory are known (`_in_hand`) until their end is written, and those written during a read (`_settled`) until
that read is over.

A pre-checkout never waits: the buyer's app gives up after 10 s. It has a lane of its own beside all queues.

Shutting down must not cut a handler in the middle of its work, so handlers live in a nursery that is shielded from the
start (shielding when the cancellation has already come is too late). `run()`, when cancelled, gives them a moment and cuts
the rest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, NoReturn

import attrs
import trio

from vpnd.database.errors import DatabaseError
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.telegram.finisher import Finisher
from vpnd.telegram.flood import FloodGuard, TooFast
from vpnd.telegram.handling import Ending, Handling, OnFailure
from vpnd.telegram.store import InboxStore, Rest
from vpnd.telegram.update import StoredUpdate

__all__ = ["ChatQueues", "QueuesStatistics"]

journal = get_journal("telegram")

MOST_OF_CHAT: Final = 20
MOST_IN_ALL: Final = 1000
MOST_RETRIES: Final = 1000
PAGE: Final = 200
#: Seconds that running handlers have after the order to stop.
GRACE: Final = 1.5
#: Back-off of updates that carry money, in seconds.
RETRY_FIRST, RETRY_CAP = 1.0, 60.0
GAUGE_INTERVAL: Final = 15.0


@attrs.frozen
class QueuesStatistics:
    """A picture of the queues: live queues, updates in them, handlers running, updates that wait for another try, and
    whether new updates are left in the table for now."""

    queues: int
    held: int
    running: int
    retrying: int
    behind: bool


@attrs.define(eq=False)
class _Queue:
    """One chat's updates; `last_id` is the newest ever taken in, `missed` that one was left in the table since."""

    key: int
    updates: deque[StoredUpdate] = attrs.Factory(deque)
    last_id: int = 0
    spilled: bool = False
    missed: bool = False


class ChatQueues:
    """Handles stored updates, in order within a chat.

    Args:
        store: the inbox.
        dispatch: runs the handlers of one update's JSON and raises what they raise.
        on_failure: tells the customer that his update failed.
        rng: the source of chance for back-off.
        rest: sleeps before a failed write is tried again, for so many seconds or until the store is back.
        guard, too_fast: see `Handling`.
        gather: see `Finisher`.
    """

    def __init__(
        self,
        store: InboxStore,
        dispatch: Callable[[dict[str, Any]], Awaitable[None]],
        on_failure: OnFailure,
        *,
        rng: Random | None = None,
        rest: Rest = trio.sleep,
        guard: FloodGuard | None = None,
        too_fast: TooFast | None = None,
        gather: float = 0.0,
    ) -> None:
        self._store = store
        self._handling = Handling(dispatch, on_failure, guard=guard, too_fast=too_fast)
        self._finisher = Finisher(store, self._forget, rest=rest, gather=gather)
        self._rng = rng or Random()  # noqa: S311  spreads retries, guards nothing
        self._handlers: trio.Nursery | None = None
        self._handler_scope = trio.CancelScope()
        self._start_over()

    def _start_over(self) -> None:
        """Forget all but what has ended: the table knows the rest."""
        self._queues: dict[int, _Queue] = {}
        self._in_hand: set[int] = set(self._finisher.unwritten())
        self._settled: set[int] = set()
        self._reads = 0
        self._held = 0
        self._alone = 0
        self._running = 0
        self._cursor = 0
        self._behind = True
        self._missed = False
        self._feed_wake = trio.Event()
        self._feed_wake.set()
        self._hope = trio.Event()
        self._retries: list[tuple[float, int, int, StoredUpdate]] = []
        self._retry_wake = trio.Event()
        self._rescan_from: int | None = None
        self._stopping = False
        self._quiet = trio.Event()

    def statistics(self) -> QueuesStatistics:
        """Return a picture of the present state."""
        return QueuesStatistics(
            queues=len(self._queues),
            held=self._held,
            running=self._running,
            retrying=len(self._retries),
            behind=self._behind,
        )

    # ------------------------------------------------------------------ life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Handle updates until cancelled, beginning with those that were left unfinished.

        When cancelled it drains first (see `drain`), which takes `GRACE` and the time of one write at most.
        May be run again after it has ended.
        """
        self._start_over()
        async with trio.open_nursery() as shell:
            self._handlers = await shell.start(self._hold_handlers)
            try:
                async with trio.open_nursery() as service:
                    service.start_soon(self._feed)
                    service.start_soon(self._retry)
                    service.start_soon(self._measure)
                    service.start_soon(self._finisher.run)
                    task_status.started()
            finally:
                with trio.CancelScope(shield=True):
                    await self.drain(GRACE)
                self._handlers = None

    async def _hold_handlers(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with trio.CancelScope(shield=True) as self._handler_scope:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await trio.sleep_forever()

    async def drain(self, grace: float = GRACE) -> None:
        """Begin no more updates, give those that run `grace` seconds, cut the rest, and write down what has ended.

        What was cut stays unfinished and is played again at the next start. Once called, the queues are at rest until they
        are run again.
        """
        self._stopping = True
        if self._running:
            with trio.move_on_after(grace):
                await self._quiet.wait()
        if self._running:
            journal.warning(
                "telegram.handlers_cut",
                message=f"{self._running} handlers did not end within {grace:g} s and were cut; they will run again",
                handlers=self._running,
            )
        self._handler_scope.cancel()
        try:
            await self._finisher.flush()
        except DatabaseError as error:
            journal.warning(
                "telegram.inbox_not_written",
                message=f"ended updates could not be marked and will be handled again: {error}",
                pending=self._finisher.pending,
            )

    # ------------------------------------------------------------------ in

    def alone(self, updates: Iterable[StoredUpdate]) -> set[int]:
        """Return which of these no other update of their chat is before: all that its handlers changed is committed."""
        first: dict[int, int] = {}
        for update in updates:
            if update.queue_key not in self._queues:
                first.setdefault(update.queue_key, update.update_id)
        return set(first.values())

    def offer(self, updates: Iterable[StoredUpdate]) -> None:
        """Take in updates that were just stored, in order. Never waits: what finds no place stays in the table."""
        if self._handlers is None or self._stopping:
            return  # the next run begins with the table
        self._hope.set()
        for update in updates:
            if update.kind == "pre_checkout_query":
                self._admit_pre_checkout(update)
            elif self._behind and update.update_id > self._cursor:
                self._missed = True
            elif not self._admit(update):
                self.fall_behind(update.update_id)

    def fall_behind(self, update_id: int) -> None:
        """Have everything from `update_id` on read from the table: it may hold updates that were not offered."""
        self._cursor = min(self._cursor, update_id - 1) if self._behind else update_id - 1
        self._behind = True
        self._missed = True
        self._feed_wake.set()

    def go_on(self) -> None:
        """Try now whatever waits to be tried again: the database, which it most likely waits for, is back."""
        self._hope.set()
        now = trio.current_time()
        self._retries = [(now, update.update_id, attempt, update) for _, _, attempt, update in self._retries]
        heapq.heapify(self._retries)
        self._retry_wake.set()

    def _known(self, update: StoredUpdate) -> bool:
        return update.update_id in self._in_hand or update.update_id in self._settled

    def _admit(self, update: StoredUpdate) -> bool:
        """Put an update in its queue, or leave it to that queue to find; False: there is no place at all."""
        if self._known(update):
            return True
        queue = self._queues.get(update.queue_key)
        if queue is None:
            if self._held >= MOST_IN_ALL:
                return False
            queue = self._queues[update.queue_key] = _Queue(update.queue_key)
            self._hold(queue, update)
            self._start(self._serve, queue)
        elif queue.spilled or len(queue.updates) >= MOST_OF_CHAT or self._held >= MOST_IN_ALL:
            queue.spilled = queue.missed = True
        else:
            self._hold(queue, update)
        return True

    def _hold(self, queue: _Queue, update: StoredUpdate) -> None:
        queue.updates.append(update)
        queue.last_id = update.update_id
        self._in_hand.add(update.update_id)
        self._held += 1

    def _admit_pre_checkout(self, update: StoredUpdate) -> None:
        if self._known(update):
            return
        self._in_hand.add(update.update_id)
        if self._alone >= MOST_IN_ALL:
            metrics.telegram_updates_total.labels("pre_checkout_query", "refused").inc()
            self._finisher.finish(update.update_id, Ending.DROPPED.value)
            return
        self._start(self._serve_alone, update, 1)

    def _start(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        assert self._handlers is not None  # noqa: S101  offer() and the tasks of run() are the only ways here
        self._handlers.start_soon(function, *arguments)

    # ------------------------------------------------------------------ handlers

    async def _serve(self, queue: _Queue) -> None:
        """Handle one chat's updates until there are no more."""
        while not self._stopping:
            if queue.updates:
                update = queue.updates.popleft()
                ending = await self._run_one(update, 1)
                self._held -= 1
                self._end(update, ending, 1)
            elif not queue.spilled or not await self._refill(queue):
                break
        del self._queues[queue.key]
        if self._behind:
            self._feed_wake.set()

    async def _serve_alone(self, update: StoredUpdate, attempt: int) -> None:
        """Handle one update beside its chat's queue: a pre-checkout, or money's next try."""
        self._alone += 1
        try:
            if not self._stopping:
                self._end(update, await self._run_one(update, attempt), attempt)
        finally:
            self._alone -= 1

    async def _run_one(self, update: StoredUpdate, attempt: int) -> Ending:
        self._running += 1
        try:
            return await self._handling.handle(update, attempt=attempt)
        finally:
            self._running -= 1
            if self._stopping and not self._running:
                self._quiet.set()

    def _end(self, update: StoredUpdate, ending: Ending, attempt: int) -> None:
        if ending is not Ending.RETRY:
            self._finisher.finish(update.update_id, ending.value)
        elif len(self._retries) < MOST_RETRIES:
            due = trio.current_time() + jittered_backoff(attempt, RETRY_FIRST, RETRY_CAP, self._rng)
            heapq.heappush(self._retries, (due, update.update_id, attempt + 1, update))
            self._retry_wake.set()
        else:
            self._in_hand.discard(update.update_id)
            self._rescan_from = min(self._rescan_from or update.update_id, update.update_id)
            self._retry_wake.set()

    def _forget(self, update_ids: list[int]) -> None:
        self._in_hand.difference_update(update_ids)
        if self._reads:
            self._settled.update(update_ids)

    # ------------------------------------------------------------------ out of the table

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keep ids that are written while a read is under way, until its rows have been looked at."""
        self._reads += 1
        try:
            yield
        finally:
            self._reads -= 1
            if not self._reads:
                self._settled.clear()

    async def _refill(self, queue: _Queue) -> bool:
        """Read what a chat left in the table; False when its queue is to end."""
        places = min(MOST_OF_CHAT, MOST_IN_ALL - self._held)
        if places <= 0:
            self.fall_behind(queue.last_id + 1)
            return False
        queue.missed = False
        with self._reading():
            try:
                rows = await self._store.of_queue(queue.key, queue.last_id, places)
            except DatabaseError as error:
                journal.warning(
                    "telegram.inbox_not_read", message=f"a chat's updates could not be read: {error}"
                )
                self.fall_behind(queue.last_id + 1)
                return False
            for update in rows:
                queue.last_id = update.update_id
                if not self._known(update):
                    self._hold(queue, update)
        queue.spilled = len(rows) == places or queue.missed
        return True

    async def _feed(self) -> NoReturn:
        """Bring in what stands in the table from the cursor on, whenever we have fallen behind."""
        failures = 0
        while True:
            await self._feed_wake.wait()
            self._feed_wake = trio.Event()
            try:
                while self._behind and self._held < MOST_IN_ALL and not self._stopping:
                    await self._feed_page()
                failures = 0
            except DatabaseError as error:
                failures += 1
                if failures == 1:
                    journal.warning(
                        "telegram.inbox_not_read", message=f"the inbox could not be read: {error}"
                    )
                # An update that is offered was stored a moment ago: the database is back.
                self._hope = trio.Event()
                with trio.move_on_after(jittered_backoff(failures, 0.2, 5.0, self._rng)):
                    await self._hope.wait()
                self._feed_wake.set()

    async def _feed_page(self) -> None:
        self._missed = False
        cursor = self._cursor
        with self._reading():
            rows = await self._store.unfinished(cursor, PAGE)
            if self._cursor < cursor:
                return  # fell further behind meanwhile: begin again there
            for update in rows:
                if update.kind == "pre_checkout_query":
                    self._admit_pre_checkout(update)
                elif not self._admit(update):
                    return
                self._cursor = update.update_id
        if len(rows) < PAGE and not self._missed:
            self._behind = False
        await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------------ by the clock

    async def _retry(self) -> NoReturn:
        """Try updates that carry money again when their time has come."""
        while True:
            due = self._retries[0][0] if self._retries else float("inf")
            if self._rescan_from is not None:
                due = min(due, trio.current_time() + RETRY_CAP)
            with trio.move_on_at(due) as scope:
                await self._retry_wake.wait()
            self._retry_wake = trio.Event()
            now = trio.current_time()
            while self._retries and self._retries[0][0] <= now:
                _, _, attempt, update = heapq.heappop(self._retries)
                self._start(self._serve_alone, update, attempt)
            if scope.cancelled_caught and self._rescan_from is not None:
                self.fall_behind(self._rescan_from)
                self._rescan_from = None

    async def _measure(self) -> NoReturn:
        """Keep the inbox's gauges; a database that is away leaves them as they were."""
        while True:
            try:
                backlog = await self._store.backlog()
            except DatabaseError:
                journal.debug("telegram.backlog_unknown", message="the inbox could not be measured")
            else:
                metrics.telegram_inbox_pending.set(backlog.pending)
                metrics.telegram_inbox_oldest_age_seconds.set(backlog.oldest_age)
            await trio.sleep(GAUGE_INTERVAL)
