"""Workers: what runs by the clock, in bounded pieces, and lives on whatever happens.

Three kinds. A *sweep* is a statement a batch; an *item worker* takes a page of items and does them one by one; a *job* is
one piece of work, which fails or succeeds as a whole. All are declared as data, and one runner gives them the rest:
jitter, a lease, a deadline, pages, early wake-up, pause, log lines and metrics.

**Poison.** A sweep reads pages of keys, and its statement does the rows of those keys and nothing else. A batch that fails
is halved until the row that fails stands alone; it is reported by its key and skipped for this iteration, and all others
are done. A statement that never succeeds within an iteration, tried without any keys at last, is not poisoned but
broken: that is a failed iteration.

**Size.** A statement holds its rows, a connection and a processor of the server for as long as it runs. One that took
longer than it should makes the following ones smaller, and quick ones make them larger again, up to the batch.

**Failure.** An exception with a true attribute ``boundary_down`` says that the database, or whatever stands behind the
function, is away: nothing is halved, the iteration has failed, the next one comes after a back-off. An outage is said once,
with its traceback, and once when it is over; what fails in between is counted, since fifteen workers would fill the journal
with one and the same fault. Any other exception is counted and logged each time. Only cancellation ends a runner: the
`Exception` of a function is caught here.

**Time.** The deadline of an iteration starts with it and is a cancel scope around all of it; it is put off by what
the iteration spends waiting for a turn. An iteration that runs out of time goes on where it stopped, soon. One that
got nothing done in its whole time steps over what it hung in.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random, SystemRandom
from typing import Any, Final, NoReturn

import trio

from vpnd.runtime import metrics, observations
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.courtesy import Turns
from vpnd.runtime.groups import plainest
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.worker_outage import Failures, boundary_down
from vpnd.runtime.worker_spec import (
    ItemWorker,
    Iteration,
    Job,
    LeaseLike,
    Poison,
    Sweep,
    WorkerSpec,
    WorkerStatistics,
    configured,
)

__all__ = [
    "ItemWorker",
    "Job",
    "LeaseLike",
    "Poison",
    "Sweep",
    "WorkerRunner",
    "WorkerSpec",
    "WorkerStatistics",
    "configured",
]

journal = get_journal("workers")

# More than this in one iteration is said as a warning: the first sign of a backlog.
MANY_ITEMS: Final = 1000
# As many rows may fail before any statement has succeeded; more means that the statement is wrong.
MAX_POISON: Final = 50
# A sweep's statement that takes longer makes the next one half as large; one that takes a quarter of it, twice. Seconds.
# What it writes has to be on the disk before any commit behind it is: whoever is served waits for that, too.
STATEMENT_TIME: Final = 0.08
# No statement is made smaller than this by that.
LEAST_ROWS: Final = 25
# The first iteration comes within this time after the start, so that workers do not begin in step; seconds.
START_SPREAD: Final = 5.0
# Pause before an iteration that ran out of time goes on; seconds.
RESUME_PAUSE: Final = 1.0
# Back-off of failed iterations, where the interval is shorter; seconds. Not even a wake-up comes before the first.
FAILURE_FIRST: Final = 1.0
FAILURE_CAP: Final = 60.0
# A worker with nothing to do says so once in this time; seconds. In between its lines have the debug level.
QUIET: Final = 60.0


class WorkerRunner:
    """Runs one worker; see the head of the module.

    Args:
        spec: the worker.
        lease: an iteration only happens while this is held.
        turn: shared by the sweeps of a process and whatever else is heavy, which take turns by it, a statement each.
        rng: source of the jitter.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        lease: LeaseLike | None = None,
        turn: Turns | None = None,
        rng: Random | None = None,
    ) -> None:
        self.spec: Final = spec
        self._lease = lease
        self._turn = turn
        self._rng = rng or SystemRandom()
        self._cursor: Any = None
        # What the next statement of a sweep does at most.
        self._rows = spec.batch if isinstance(spec, Sweep) else 1
        self._awake = self._woken = self._paused = self._was_paused = False
        self._changed = trio.Event()
        self._failures_in_a_row = 0
        self._said_failures = Failures(spec.name)
        self._iterations = self._failures = self._timeouts = self._items = self._item_failures = 0
        self._last_outcome: str | None = None
        self._last_duration: float | None = None
        self._last_success: float | None = None
        self._last_end: float | None = None
        self._last_said = float("-inf")
        metrics.declare_worker(spec.name)
        metrics.worker_interval_seconds.labels(spec.name).set(spec.interval)

    def wake(self) -> None:
        """Begin the next iteration now, or right after the one that runs. For synchronous code; never waits."""
        self._woken = True
        self._notify()

    def pause(self) -> None:
        """Begin no iteration until `resume`; the one that runs finishes. A wake-up is remembered."""
        self._paused = True
        self._notify()

    def resume(self) -> None:
        """End a pause."""
        self._paused = False
        self._notify()

    async def wait_idle(self) -> None:
        """Return when no iteration runs and no wake-up waits for one."""
        while self._awake or (self._woken and not self._paused):
            await self._changed.wait()

    def statistics(self) -> WorkerStatistics:
        """Return what this worker has done so far."""
        return WorkerStatistics(
            name=self.spec.name,
            interval=self.spec.interval,
            awake=self._awake,
            paused=self._paused,
            iterations=self._iterations,
            failures=self._failures,
            failures_in_a_row=self._failures_in_a_row,
            timeouts=self._timeouts,
            items=self._items,
            item_failures=self._item_failures,
            last_outcome=self._last_outcome,
            last_duration=self._last_duration,
            last_success=self._last_success,
            last_end=self._last_end,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Iterate for ever. Ends by cancellation only, which cuts a running iteration at its next checkpoint."""
        task_status.started()
        delay = self._rng.uniform(0, min(self.spec.interval, START_SPREAD))
        due = trio.current_time() + delay
        while True:
            await self._sleep(delay)
            # A pause is a wish, and what it put off is not late.
            late = 0.0 if self._was_paused else max(0.0, trio.current_time() - due)
            observations.LATENESS.note(late, self.spec.name, limit=self.spec.interval)
            outcome = await self.run_once()
            delay = self._delay(outcome)
            due = trio.current_time() + delay
            if outcome == "failed":
                pause = min(delay, FAILURE_FIRST)
                await trio.sleep(pause)
                delay -= pause

    async def run_once(self) -> str:
        """Do one iteration now and return its outcome: ok, failed, timeout or no_lease. Never raises `Exception`."""
        spec = self.spec
        began = trio.current_time()
        iteration = Iteration(trio.CancelScope(deadline=began + spec.deadline))
        self._woken, self._awake = False, True
        metrics.worker_in_progress.labels(spec.name).set(1)
        outcome = "cancelled"
        try:
            try:
                with as_class(LimitClass.WORKER), iteration.scope:
                    held = self._lease is None or await self._lease.hold()
                    if held:
                        await self._work(iteration)
                    outcome = "ok" if held else "no_lease"
                if iteration.scope.cancelled_caught:
                    outcome = "timeout"
                    self._step_over(iteration)
            except* Exception as group:
                # The one place that stands between a worker's function and the worker's life.
                outcome = "failed"
                self._cursor = None
                self._said_failures.failed(group)
            else:
                if outcome != "timeout":  # a boundary that gives no answer may be away as before
                    self._said_failures.over()
        finally:
            self._awake = False
            self._account(iteration, outcome, trio.current_time() - began)
            self._notify()
        return outcome

    # -- waiting ---------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _sleep(self, delay: float) -> None:
        """Wait until the time is over or somebody wakes us, and no pause is in force."""
        self._was_paused = False
        with trio.move_on_after(delay):
            while self._paused or not self._woken:
                await self._changed.wait()
        while self._paused:
            self._was_paused = True
            await self._changed.wait()

    def _delay(self, outcome: str) -> float:
        spec = self.spec
        varied = spec.interval * (1 + self._rng.uniform(-spec.jitter, spec.jitter))
        if outcome == "failed":
            self._failures_in_a_row += 1
            cap = max(FAILURE_CAP, FAILURE_FIRST)
            return max(varied, jittered_backoff(self._failures_in_a_row, FAILURE_FIRST, cap, self._rng))
        self._failures_in_a_row = 0
        return min(varied, RESUME_PAUSE) if outcome == "timeout" else varied

    # -- one iteration ---------------------------------------------------------------------------------------

    async def _work(self, iteration: Iteration) -> None:
        spec = self.spec
        if isinstance(spec, ItemWorker):
            await self._do_items(spec, iteration)
        elif isinstance(spec, Sweep):
            await self._sweep(spec, iteration)
        else:
            iteration.done = iteration.fetched = await spec.work()
        self._cursor = None

    async def _do_items(self, spec: ItemWorker[Any], iteration: Iteration) -> None:
        while True:
            page = await spec.page(None if spec.one_page else self._cursor, spec.batch)
            fetched = self._check_page(page, spec.batch, iteration)
            for item in page:
                key = iteration.hung_at = spec.key(item)
                with self._alone(iteration, key):
                    if spec.item_deadline is None:
                        await spec.handle(item)
                    else:
                        with trio.fail_after(spec.item_deadline):
                            await spec.handle(item)
                    iteration.done += 1
                iteration.hung_at = None
                self._cursor = key
                await trio.lowlevel.checkpoint()
            del page  # before the next one comes: never two batches in memory
            if fetched < spec.batch or spec.one_page:
                return

    async def _sweep(self, spec: Sweep[Any], iteration: Iteration) -> None:
        while True:
            page = tuple(await spec.keys(self._cursor, spec.batch))
            fetched = self._check_page(page, spec.batch, iteration)
            pieces = [page] if page else []
            while pieces:
                piece = pieces.pop()
                if len(piece) > self._rows:
                    pieces.append(piece[self._rows :])
                    piece = piece[: self._rows]
                try:
                    async with iteration.turn(self._turn):
                        iteration.hung_at = piece[-1]
                        began = trio.current_time()
                        iteration.done += await spec.sweep(piece)
                        self._fit(len(piece), spec.batch, trio.current_time() - began)
                except Exception as error:
                    if boundary_down(error):
                        raise
                    if len(piece) == 1:
                        self._poisoned(iteration, piece[0], error)
                    else:
                        middle = len(piece) // 2
                        pieces += [piece[middle:], piece[:middle]]  # the stack gives them back in order
                        continue
                else:
                    self._succeeded(iteration)
                iteration.hung_at = None
                self._cursor = piece[-1]
                await trio.lowlevel.checkpoint()
            if fetched < spec.batch:
                break
        if iteration.unsaid:
            # Every single row has failed. With no rows at all the statement shows whether it works as such.
            try:
                await spec.sweep(())
            except Exception as error:
                raise error from iteration.unsaid[-1].error
            self._succeeded(iteration)

    def _fit(self, rows: int, batch: int, took: float) -> None:
        """Fit the size of the next statement to what one of so many rows took; seconds."""
        if took > STATEMENT_TIME:
            self._rows = max(min(LEAST_ROWS, batch), rows // 2)
        elif took < STATEMENT_TIME / 4 and rows >= self._rows:
            self._rows = min(batch, self._rows * 2)

    def _check_page(self, page: Sequence[Any], batch: int, iteration: Iteration) -> int:
        observations.BATCH.note(len(page), self.spec.name, limit=batch)
        if len(page) > batch:
            raise ValueError(f"a page of {self.spec.name} has {len(page)} rows, more than {batch}")
        iteration.fetched += len(page)
        return len(page)

    # -- poison ----------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, iteration: Iteration, key: Any) -> Iterator[None]:
        """Keep an item's failure to itself."""
        try:
            yield
        except* Exception as group:
            error = plainest(group)
            if boundary_down(error):
                raise
            iteration.unsaid.append(Poison(self.spec.name, key, error))
            self._say_poison(iteration)

    def _poisoned(self, iteration: Iteration, key: Any, error: BaseException) -> None:
        """Note a row that fails alone. It is said once the statement has proven to work at all."""
        iteration.unsaid.append(Poison(self.spec.name, key, error))
        if iteration.worked:
            self._say_poison(iteration)
        elif len(iteration.unsaid) > MAX_POISON:
            raise error

    def _succeeded(self, iteration: Iteration) -> None:
        """Note that the statement works: what failed alone is poisoned indeed."""
        iteration.worked = True
        self._say_poison(iteration)

    def _say_poison(self, iteration: Iteration) -> None:
        while iteration.unsaid:
            poison = iteration.unsaid.pop(0)
            iteration.failed += 1
            metrics.worker_item_failures_total.labels(self.spec.name).inc()
            journal.error(
                "worker.item_failed",
                message=f"{self.spec.name} skips one it cannot do: {type(poison.error).__name__}",
                exc_info=poison.error,
                worker=self.spec.name,
                key=poison.key,
            )
            if not isinstance(self.spec, Job) and self.spec.on_poison is not None:
                self.spec.on_poison(poison)

    def _step_over(self, iteration: Iteration) -> None:
        """After a whole deadline without any progress, begin behind what it was spent on."""
        if iteration.done == 0 and iteration.failed == 0 and iteration.hung_at is not None:
            self._cursor = iteration.hung_at
            iteration.unsaid.append(Poison(self.spec.name, iteration.hung_at, trio.TooSlowError()))
        self._say_poison(iteration)

    # -- accounts --------------------------------------------------------------------------------------------

    def _account(self, iteration: Iteration, outcome: str, duration: float) -> None:
        name = self.spec.name
        self._iterations += 1
        self._items += iteration.done
        self._item_failures += iteration.failed
        self._failures += outcome == "failed"
        self._timeouts += outcome == "timeout"
        self._last_outcome, self._last_duration, self._last_end = outcome, duration, time.time()
        metrics.worker_in_progress.labels(name).set(0)
        metrics.worker_runs_total.labels(name, outcome).inc()
        metrics.worker_items_total.labels(name).inc(iteration.done)
        if outcome == "no_lease":
            return  # another instance does the work, and says so there
        metrics.worker_duration_seconds.labels(name).observe(duration)
        observations.DEADLINE.note(duration - iteration.waited, name, outcome, self.spec.deadline)
        observations.ITEMS.note(iteration.fetched, name)
        if observations.YIELD.fed:
            observations.YIELD.note(observations.SHORTEST, f"worker {name}")
        if outcome == "ok":
            self._last_success = time.time()
            metrics.worker_last_success_timestamp_seconds.labels(name).set(self._last_success)
        now = trio.current_time()
        idle = outcome == "ok" and not iteration.fetched and duration < 1
        # Of an outage that was said, an iteration has nothing new to tell.
        quiet = (idle and now - self._last_said < QUIET) or (
            outcome == "failed" and self._said_failures.known
        )
        if not quiet:
            self._last_said = now
        say = journal.debug if quiet else journal.info
        say(
            "worker.duration",
            message=f"worker={name} duration={duration:.3f}s outcome={outcome}",
            tag="[WORKER_DURATION]",
            worker=name,
            duration=round(duration, 3),
            outcome=outcome,
        )
        say = journal.warning if iteration.fetched > MANY_ITEMS else say
        say(
            "worker.items",
            message=f"worker={name} fetched={iteration.fetched}",
            tag="[WORKER_ITEMS]",
            worker=name,
            fetched=iteration.fetched,
            done=iteration.done,
            failed=iteration.failed,
        )
