"""Workers, on a mock clock."""

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnd.config import WorkerSettings
from vpnd.runtime import journal
from vpnd.runtime.limits import LimitClass, current_class
from vpnd.runtime.worker import (
    LEAST_ROWS,
    STATEMENT_TIME,
    ItemWorker,
    Job,
    Poison,
    Sweep,
    WorkerRunner,
    configured,
)

Clock = trio.testing.MockClock


class _Away(Exception):
    """What a boundary raises that is down."""

    boundary_down = True


class _Table:
    """Due rows, some of them poisoned, worked on as a statement would: a batch succeeds whole or not at all."""

    def __init__(self, rows: Sequence[int], poisoned: Sequence[int] = ()) -> None:
        self.due = sorted(rows)
        self.poisoned = set(poisoned)
        self.done: list[int] = []
        self.widest = 0

    def _do(self, rows: list[int]) -> int:
        self.widest = max(self.widest, len(rows))
        if self.poisoned & set(rows):
            raise ValueError("poisoned")
        self.due = [row for row in self.due if row not in rows]
        self.done += rows
        return len(rows)

    async def keys(self, after: int | None, limit: int) -> list[int]:
        await trio.lowlevel.checkpoint()
        return [row for row in self.due if after is None or row > after][:limit]

    async def sweep(self, keys: Sequence[int]) -> int:
        await trio.lowlevel.checkpoint()
        return self._do([row for row in self.due if row in keys])

    async def handle(self, row: int) -> None:
        await trio.lowlevel.checkpoint()
        self._do([row])


def _worker(kind: str, table: _Table, batch: int = 4, **options: Any) -> Sweep[int] | ItemWorker[int]:
    if kind == "sweep":
        return Sweep("t", 10, 5, batch, table.keys, table.sweep, **options)
    return ItemWorker("t", 10, 5, batch, table.keys, table.handle, lambda row: row, **options)


KINDS = ["sweep", "items"]


async def _one(after: int | None, _limit: int) -> list[int]:
    """There is one row that is due, always."""
    await trio.lowlevel.checkpoint()
    return [1] if after is None else []


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.sets(st.integers(0, 60), max_size=40),
    batch=st.integers(1, 9),
    chosen=st.sets(st.integers(0, 60), max_size=12),
)
def test_poison_stands_alone(kind: str, rows: set[int], batch: int, chosen: set[int]) -> None:
    """Whatever rows are poisoned: they are reported once each, all others are done once, in bounded batches."""
    poisoned = rows & chosen
    table, reports = _Table(list(rows), list(poisoned)), list[Poison]()
    runner = WorkerRunner(_worker(kind, table, batch, on_poison=reports.append))

    outcome = trio.run(runner.run_once, clock=Clock(autojump_threshold=0))

    assert outcome == "ok"
    assert sorted(table.done) == sorted(rows - poisoned)
    assert table.widest <= batch
    assert len(reports) == len(poisoned) == runner.statistics().item_failures
    assert {report.key for report in reports} == poisoned


async def test_a_broken_statement_accuses_no_row() -> None:
    """A statement that never succeeds is a failed iteration, not a list of poisoned rows."""
    table, reports = _Table(range(9), range(9)), list[Poison]()

    async def broken(keys: Sequence[int]) -> int:
        raise ValueError("syntax error")

    runner = WorkerRunner(Sweep("t", 10, 5, 4, table.keys, broken, on_poison=reports.append))

    assert await runner.run_once() == "failed"
    assert reports == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_boundary_that_is_down_halves_nothing(kind: str) -> None:
    """One try, no accusation: the iteration has failed and the next one is waited for."""
    tries: list[Any] = []

    async def away(*args: Any) -> int:
        tries.append(args)
        raise _Away

    table = _Table(range(9))
    table.sweep = table.handle = away  # type: ignore[method-assign,assignment]  # a fake of a fake
    runner = WorkerRunner(_worker(kind, table))

    assert await runner.run_once() == "failed"
    assert len(tries) == 1
    assert runner.statistics().item_failures == 0


async def test_a_statement_that_takes_long_is_made_smaller(autojump_clock: Clock) -> None:
    """By half each time, not below a floor, remembered by the next iteration, and larger again when it is quick."""
    sizes: list[int] = []
    slow = True

    async def keys(after: int | None, limit: int) -> list[int]:
        first = 0 if after is None else after + 1
        return list(range(first, min(first + limit, 400)))

    async def sweep(rows: Sequence[int]) -> int:
        sizes.append(len(rows))
        await trio.sleep(2 * STATEMENT_TIME if slow else STATEMENT_TIME / 8)
        return len(rows)

    runner = WorkerRunner(Sweep("t", 10, 50, 200, keys, sweep))
    assert await runner.run_once() == "ok"
    assert sizes == [200, 100, 50, LEAST_ROWS, LEAST_ROWS]
    sizes.clear()
    slow = False
    assert await runner.run_once() == "ok"
    assert sizes == [25, 50, 100, 25, 200]


async def test_runs_by_the_clock_and_survives_failures(autojump_clock: Clock) -> None:
    """Iterations come by interval and jitter; one that fails is counted, backs off, and is followed by others."""
    times: list[float] = []

    async def sweep(_keys: Sequence[int]) -> int:
        times.append(trio.current_time())
        if len(times) == 2:
            raise _Away
        return 0

    runner = WorkerRunner(Sweep("t", 10, 5, 4, _one, sweep), rng=Random(1))
    with trio.move_on_after(100):
        await runner.run()

    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] <= times[0] + 5
    assert all(9 <= gap <= 11 for gap in gaps)
    assert len(set(gaps)) == len(gaps)
    assert runner.statistics().failures == 1


async def test_failures_in_a_row_back_off(autojump_clock: Clock) -> None:
    """A fast worker whose boundary stays away tries less and less often, up to a minute apart, wake-up or not."""
    times: list[float] = []

    async def sweep(_keys: Sequence[int]) -> int:
        times.append(trio.current_time())
        raise _Away

    runner = WorkerRunner(Sweep("t", 0.1, 5, 4, _one, sweep))
    with trio.move_on_after(3600):
        await runner.run()

    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] <= 1
    assert all(30 <= gap <= 61 for gap in gaps[8:])


async def test_deadline_and_going_on(autojump_clock: Clock) -> None:
    """An iteration is cut at its deadline, and the next one begins soon, behind the last item that was done."""
    done: list[tuple[int, float]] = []
    table = _Table(range(10))

    async def handle(row: int) -> None:
        await trio.sleep(2)
        done.append((row, trio.current_time()))

    runner = WorkerRunner(ItemWorker("t", 1000, 5, 3, table.keys, handle, lambda row: row))
    with trio.move_on_after(100):
        await runner.run()

    assert [row for row, _at in done] == list(range(10))
    assert done[-1][1] - done[0][1] < 40
    assert runner.statistics().timeouts == 4


@pytest.mark.parametrize("kind", KINDS)
async def test_what_hangs_is_stepped_over(autojump_clock: Clock, kind: str) -> None:
    """An item that eats a whole deadline is reported, and the next iteration begins behind it."""
    table, reports = _Table(range(6)), list[Poison]()
    honest = table._do

    async def hangs_at_0(row: int) -> None:
        if row == 0:
            await trio.sleep_forever()
        honest([row])

    async def sweep_hangs_at_0(keys: Sequence[int]) -> int:
        if 0 in keys:
            await trio.sleep_forever()
        return honest(list(keys))

    spec: Sweep[int] | ItemWorker[int] = (
        Sweep("t", 1000, 5, 2, table.keys, sweep_hangs_at_0, on_poison=reports.append)
        if kind == "sweep"
        else ItemWorker("t", 1000, 5, 2, table.keys, hangs_at_0, lambda row: row, on_poison=reports.append)
    )
    runner = WorkerRunner(spec)
    assert await runner.run_once() == "timeout"
    assert await runner.run_once() == "ok"

    assert table.done == ([2, 3, 4, 5] if kind == "sweep" else [1, 2, 3, 4, 5])
    assert len(reports) == 1


async def test_item_deadline(autojump_clock: Clock) -> None:
    """With a deadline of its own, a hanging item fails alone within one iteration."""
    done: list[int] = []

    async def handle(row: int) -> None:
        await trio.sleep(60 if row == 1 else 0)
        done.append(row)

    table = _Table(range(4))
    runner = WorkerRunner(ItemWorker("t", 10, 5, 2, table.keys, handle, lambda row: row, item_deadline=1))

    assert await runner.run_once() == "ok"
    assert done == [0, 2, 3]


async def test_wake_pause_resume(autojump_clock: Clock) -> None:
    """A wake-up begins an iteration now, several are one, and in a pause it waits for the resume."""
    times: list[float] = []

    async def sweep(_keys: Sequence[int]) -> int:
        times.append(trio.current_time())
        await trio.sleep(1)
        return 0

    runner = WorkerRunner(Sweep("t", 1000, 5, 4, _one, sweep), rng=Random(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        await trio.sleep(20)
        assert len(times) == 1

        runner.wake()
        runner.wake()
        await runner.wait_idle()
        assert len(times) == 2

        runner.wake()
        await trio.sleep(0.5)
        runner.wake()  # in the middle of an iteration: another one follows
        await runner.wait_idle()
        assert len(times) == 4

        runner.pause()
        runner.wake()
        await runner.wait_idle()
        await trio.sleep(5000)
        assert len(times) == 4
        assert runner.statistics().paused

        runner.resume()
        await runner.wait_idle()
        assert len(times) == 5
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", [False, RuntimeError()])
async def test_without_the_lease_nothing_is_done(answer: bool | Exception) -> None:
    """The function runs only under a held lease; a lease that fails is a failed iteration."""

    class Lease:
        async def hold(self) -> bool:
            if isinstance(answer, Exception):
                raise answer
            return answer

    table = _Table(range(3))
    outcome = await WorkerRunner(_worker("sweep", table), lease=Lease()).run_once()

    assert outcome == ("no_lease" if answer is False else "failed")
    assert table.done == []


async def test_class_of_limits() -> None:
    """A worker's function runs in the workers' class of limits."""
    seen: list[LimitClass] = []

    async def sweep(_keys: Sequence[int]) -> int:
        seen.append(current_class.get())
        return 0

    await WorkerRunner(Sweep("t", 10, 5, 4, _one, sweep)).run_once()

    assert seen == [LimitClass.WORKER]
    assert current_class.get() is LimitClass.HANDLER


async def test_cancellation_passes_through_everything(autojump_clock: Clock) -> None:
    """Cancellation is nobody's failure: it ends the runner, in an item as well as in between."""

    async def handle(row: int) -> None:
        await trio.sleep_forever()

    table = _Table(range(3))
    runner = WorkerRunner(ItemWorker("t", 10, 50, 4, table.keys, handle, lambda row: row))
    with trio.move_on_after(20) as scope:
        await runner.run()

    assert scope.cancelled_caught
    assert runner.statistics().last_outcome == "cancelled"
    assert runner.statistics().item_failures == 0


async def test_an_outage_is_said_once_and_once_when_it_is_over(autojump_clock: Clock) -> None:
    """An outage of an hour costs a worker one traceback, not one an iteration; its end says how many there were."""
    away = True

    async def work() -> int:
        if away:
            raise _Away("the database is away")
        return 1

    runner = WorkerRunner(Job("t", 10, 5, work))
    with journal.capture() as entries:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run)
            await trio.sleep(3600)
            failures = runner.statistics().failures
            away = False
            await trio.sleep(70)
            nursery.cancel_scope.cancel()

    assert failures > 50
    said = [entry for entry in entries if entry.level != "debug"]
    assert [entry.event for entry in said[:3]] == ["worker.failed", "worker.duration", "worker.items"]
    assert "the database is away" in (said[0].trace or "")
    [back] = [entry for entry in said if entry.event == "worker.back"]
    assert back.fields["failures"] == failures
    assert 3500 < float(str(back.fields["seconds"])) < 3670
    assert said[3] is back
    assert sum(entry.trace is not None for entry in entries) == 1


async def test_each_outage_is_said_and_other_failures_every_time(autojump_clock: Clock) -> None:
    """What is no outage is told each time, and ends one that was; the next outage is a new one."""
    errors: list[Exception | None] = [_Away(), _Away(), ValueError(), ValueError(), _Away(), None]

    async def work() -> int:
        error = errors.pop(0)
        if error is not None:
            raise error
        return 0

    runner = WorkerRunner(Job("t", 10, 5, work))
    with journal.capture() as entries:
        while errors:
            await runner.run_once()

    told = [entry.event for entry in entries if entry.level != "debug" and not entry.tag]
    assert told == [
        "worker.failed",
        "worker.back",
        "worker.failed",
        "worker.failed",
        "worker.failed",
        "worker.back",
    ]


async def test_a_server_that_stands_still_is_one_outage(autojump_clock: Clock) -> None:
    """Refusals and timeouts come in turn while a server is frozen: all of it is told once."""

    class Slow(Exception):
        no_answer = True

    errors: list[Exception | None] = [Slow(), _Away(), Slow(), Slow(), _Away(), None]

    async def work() -> int:
        error = errors.pop(0)
        if error is not None:
            raise error
        return 0

    runner = WorkerRunner(Job("t", 10, 5, work))
    with journal.capture() as entries:
        while errors:
            await runner.run_once()

    told = [entry.event for entry in entries if entry.level != "debug" and not entry.tag]
    assert told == ["worker.failed", "worker.back"]


async def test_an_iteration_that_hangs_does_not_end_an_outage(autojump_clock: Clock) -> None:
    """A boundary that answers with silence is not back."""
    steps = ["away", "hangs", "away", "fine"]

    async def work() -> int:
        step = steps.pop(0)
        if step == "hangs":
            await trio.sleep_forever()
        if step == "away":
            raise _Away
        return 0

    runner = WorkerRunner(Job("t", 10, 5, work))
    with journal.capture() as entries:
        while steps:
            await runner.run_once()

    told = [(entry.event, entry.fields.get("failures")) for entry in entries if entry.level != "debug"]
    assert [one for one in told if one[0] in ("worker.failed", "worker.back")] == [
        ("worker.failed", None),
        ("worker.back", 2),
    ]


@pytest.mark.parametrize(("count", "level"), [(5, "info"), (1001, "warning")])
async def test_log_lines(count: int, level: str) -> None:
    """The audit's two lines are there, and more than a thousand rows are a warning."""
    table = _Table(range(count))
    with journal.capture() as entries:
        await WorkerRunner(_worker("sweep", table, 100)).run_once()

    duration, items = entries
    assert f"{duration.tag} {duration.message}".startswith("[WORKER_DURATION] worker=t duration=")
    assert f"{items.tag} {items.message}" == f"[WORKER_ITEMS] worker=t fetched={count}"
    assert items.level == level


async def test_a_page_over_its_limit_is_refused() -> None:
    """A page that ignores its limit is a failed iteration, not a batch of unknown size."""

    async def page(after: Any, limit: int) -> list[int]:
        return list(range(limit + 1))

    table = _Table([])
    assert (
        await WorkerRunner(ItemWorker("t", 10, 5, 4, page, table.handle, lambda row: row)).run_once()
        == "failed"
    )


def test_an_operators_settings() -> None:
    """What is set wins, what is not stays."""
    spec = _worker("sweep", _Table([]))

    changed = configured(spec, WorkerSettings(interval=3.0, batch=7))

    assert (changed.interval, changed.deadline, changed.batch) == (3.0, 5, 7)
