"""Each measure of the audit is fed where it happens, with the name of who did it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

import vpnd
from vpnd.database.database import Database
from vpnd.monitors.lag import watch_steps
from vpnd.runtime import observations
from vpnd.runtime.http import HttpUnavailable, open_http_client
from vpnd.runtime.limits import Limits
from vpnd.runtime.observations import Record, Watch
from vpnd.runtime.worker import ItemWorker, Sweep, WorkerRunner
from vpnd.telegram.lanes import Lane, Lanes
from vpnd.telegram.transport import observe


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A record of the test alone."""
    with observations.watching() as seen:
        yield seen


def who(record: Record) -> tuple[str, str, float | None, float]:
    return record.who, record.where, record.worst, record.limit


# --- the loop --------------------------------------------------------------------------------------------------------------


async def compute(seconds: float) -> None:
    """Hold the loop with the processor, by its own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    await trio.lowlevel.checkpoint()


async def test_a_step_that_computes_is_noted_with_its_task(watch: Watch) -> None:
    """By its CPU time; a worker's step counts for the checkpoints between its items, too."""
    with watch_steps():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compute, 0.03, name="a handler")
            nursery.start_soon(compute, 0.06, name="worker expiry")

    blocking, checkpoints = watch.records["blocking"], watch.records["yield"]
    assert blocking.who == checkpoints.who == "worker expiry"
    assert blocking.worst is not None
    assert blocking.worst >= 0.055
    assert blocking.over == 1
    assert checkpoints.count >= 1
    assert watch.records["lag"].count >= 2


async def test_a_long_step_has_its_line(watch: Watch) -> None:
    """A step that breaks the audit's limit is looked at before it does."""
    with watch_steps() as timer:
        await trio.lowlevel.checkpoint()
        since = time.monotonic()
        while timer.seen[1] is None and time.monotonic() - since < 20:
            pass
        await trio.lowlevel.checkpoint()

    assert "test_monitors_feeds.py" in watch.records["lag"].where


async def test_steps_too_short_to_be_timed_are_counted(watch: Watch) -> None:
    """An idle daemon was looked at all the same: it is fine, and not "not measured"."""
    with watch_steps() as timer:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        timer.count_short()
        assert watch.records["blocking"].count >= 100
        assert watch.records["blocking"].worst is not None


# --- the database ----------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_reads_and_scopes_are_noted_by_their_names(db: Database, watch: Watch) -> None:
    """Rows of a read, the wait for a connection, how long it was held, and how many were in use."""
    await db.fetch("test.many", "select * from generate_series(1, 700) limit 700")
    async with db.transaction("test.scope") as tx:
        await tx.fetch("select * from generate_series(1, 900) limit 900")
        await trio.sleep(0.05)

    records = watch.records
    assert who(records["rows_read"])[:3:2] == ("test.scope", 900)
    assert records["rows_read"].count == 2
    assert records["held"].who == "test.scope"
    assert records["held"].worst is not None
    assert records["held"].worst >= 0.05
    assert records["acquire"].count == 2
    assert (records["pool_used"].worst, records["pool_used"].limit) == (1, 10)


# --- HTTP ------------------------------------------------------------------------------------------------------------------


async def test_a_call_is_noted_against_its_own_ceiling(watch: Watch) -> None:
    """By boundary and operation, whatever it ended by."""
    async with open_http_client(Limits(5, 5)) as http:
        with pytest.raises(HttpUnavailable):
            await http.request("node", "push", "GET", "http://127.0.0.1:1/", deadline=5.0)

    assert (watch.records["http_ceiling"].who, watch.records["http_ceiling"].where) == ("node", "push")
    assert watch.records["http_ceiling"].limit == 5.0
    assert watch.records["http_call"].count == 1


def test_calls_of_the_bot_api_are_noted_too(watch: Watch) -> None:
    """But for the long poll, which is slow by intention."""
    observe("getUpdates", "ok", 50.0)
    assert watch.records["http_call"].count == 0
    observe("sendMessage", "ok", 2.5, 25.0)

    assert who(watch.records["http_call"]) == ("telegram", "sendMessage", 2.5, 2.0)
    assert watch.records["http_ceiling"].limit == 25.0


# --- workers ---------------------------------------------------------------------------------------------------------------


def items(rows: int, *, takes: float = 0.0, batch: int = 100) -> ItemWorker[int]:
    async def page(after: int | None, limit: int) -> Sequence[int]:
        start = 0 if after is None else after + 1
        return range(start, min(rows, start + limit))

    async def handle(_item: int) -> None:
        await trio.sleep(takes)

    return ItemWorker(
        "expiry",
        interval=60,
        deadline=50,
        batch=batch,
        page=page,
        handle=handle,
        key=lambda one: one,
        jitter=0,
    )


async def test_an_iteration_is_noted_against_its_deadline(autojump_clock: MockClock, watch: Watch) -> None:
    """Its time, its rows, and the batches, which are never larger than was declared."""
    await WorkerRunner(items(1500, takes=0.02), rng=Random(1)).run_once()

    name, how, took, deadline = who(watch.records["deadline"])
    assert (name, how, deadline) == ("expiry", "ok", 50)
    assert took == pytest.approx(30, abs=1)
    assert (watch.records["worker_items"].worst, watch.records["worker_items"].over) == (1500, 1)
    assert (watch.records["batch"].worst, watch.records["batch"].limit) == (100, 100)


async def test_an_iteration_that_is_cut_keeps_its_deadline(autojump_clock: MockClock, watch: Watch) -> None:
    """A hard deadline that was needed is kept, not broken."""
    await WorkerRunner(items(10_000, takes=1.0), rng=Random(1)).run_once()

    assert watch.records["deadline"].worst == pytest.approx(50, abs=0.5)
    assert not observations.DEADLINE.broken(watch.records["deadline"])


async def test_a_sweeps_statement_is_a_batch(autojump_clock: MockClock, watch: Watch) -> None:
    """What one statement did, beside what it was allowed."""

    async def keys(after: int | None, limit: int) -> list[int]:
        first = 0 if after is None else after + 1
        return list(range(first, min(first + limit, 250)))

    async def sweep(due: Sequence[int]) -> int:
        return len(due)

    spec = Sweep("expiry", interval=60, deadline=50, batch=200, keys=keys, sweep=sweep)
    await WorkerRunner(spec, rng=Random(1)).run_once()

    assert who(watch.records["batch"])[::2] == ("expiry", 200)


async def test_a_worker_that_comes_late_is_noted(autojump_clock: MockClock, watch: Watch) -> None:
    """Beside its interval; a pause is a wish, and what comes after it is not late."""
    runner = WorkerRunner(items(1), rng=Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        await trio.sleep(130)
        record = watch.records["interval"]
        assert (record.count, record.limit) == (3, 60)
        assert record.worst is not None
        assert record.worst < 1
        runner.pause()
        await trio.sleep(1000)
        runner.resume()
        await trio.sleep(100)
        assert record.worst < 1
        nursery.cancel_scope.cancel()


# --- broadcasts ------------------------------------------------------------------------------------------------------------


async def broadcast(lanes: Lanes, seconds: float, pace: float | None = None) -> None:
    """Send to ever new chats for so long, as fast as the lanes let, or at a pace."""
    until = trio.current_time() + seconds
    chat = 1
    while trio.current_time() < until:
        chat += 1
        await lanes.take(Lane.BROADCAST, chat)
        if pace is not None:
            await trio.sleep(pace)


@pytest.mark.parametrize(("pace", "fine"), [(None, True), (0.05, False)])
async def test_the_rate_of_a_broadcast_is_judged(
    pace: float | None, fine: bool, autojump_clock: MockClock, watch: Watch
) -> None:
    """At the permitted rate it is fine; the audited system's 0.05 s a message, one after the other, is not."""
    lanes = Lanes(30.0, 1.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        await broadcast(lanes, 70, pace)
        await trio.sleep(3)
        lanes.statistics()
        nursery.cancel_scope.cancel()

    record = watch.records["broadcast_rate"]
    assert record.count == 3
    assert record.worst is not None
    assert (record.worst >= 0.95) == fine
    assert observations.BROADCAST.broken(record) == (not fine)


async def test_a_few_messages_are_no_broadcast(autojump_clock: MockClock, watch: Watch) -> None:
    """A rate cannot be read from them; and a second of silence ends a run."""
    lanes = Lanes(30.0, 1.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        for _ in range(20):
            await broadcast(lanes, 2)
            await trio.sleep(5)
        await lanes.take(Lane.REPLY, 1)
        lanes.statistics()
        nursery.cancel_scope.cancel()

    assert watch.records["broadcast_rate"].count == 0


def test_nothing_is_left_without_a_feed() -> None:
    """Whoever adds a measure feeds it: each is named in the code that does the thing."""
    package = Path(vpnd.__file__).parent
    texts = "\n".join(
        path.read_text("utf-8") for path in package.rglob("*.py") if path.name != "observations.py"
    )
    constants = {
        name for name, value in vars(observations).items() if isinstance(value, observations.Measure)
    }
    assert len(constants) == len(observations.MEASURES)
    assert sorted(name for name in constants if f"observations.{name}" not in texts) == []
