"""The monitors together: what was recorded is judged, the picture stands whatever is away, and the audit watches for its time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from vpnd.database.bridge import BridgeStatistics
from vpnd.database.errors import DatabaseUnavailable
from vpnd.monitors import picture as picture_module
from vpnd.monitors.picture import AuditCommand, Picture
from vpnd.monitors.service import EVENT_ALARMS, Monitors
from vpnd.runtime import observations
from vpnd.runtime.control import CommandRefused
from vpnd.runtime.limits import Limits
from vpnd.runtime.worker import ItemWorker, WorkerRunner


class Bridge:
    """A database as the monitors see it."""

    def __init__(self) -> None:
        self.down = False

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(
            idle=1, used=2, most=15, connects=3, connect_failures=0, terminated=0, down=self.down
        )


async def nobody(_key: str, _args: Mapping[str, Any]) -> None:
    """Tell nobody."""


async def nothing() -> Sequence[Mapping[str, Any]]:
    """Nothing stands."""
    return ()


def failing_worker(failure: list[Exception]) -> WorkerRunner:
    async def page(_after: object, _limit: int) -> Sequence[int]:
        if failure:
            raise failure[0]
        return []

    async def handle(_item: int) -> None:
        raise AssertionError

    spec = ItemWorker(
        "expiry", interval=60, deadline=50, batch=10, page=page, handle=handle, key=lambda one: one
    )
    return WorkerRunner(spec, rng=Random(1))


def monitors(
    db: Any,
    workers: Callable[[], Sequence[WorkerRunner]] = list,
    standing: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]] = nothing,
) -> Monitors:
    return Monitors(
        db,
        nobody,
        instance="test",
        kinds=("message",),
        nodes=("berlin",),
        workers=workers,
        tables=trio.Event(),
        standing=standing,
    )


async def test_alarms_of_before_the_start_are_asked_for_once_the_database_answers() -> None:
    """Until it does they are asked for again; then never, so that what is over is not taken for raised anew."""
    answers: list[Sequence[Mapping[str, Any]] | None] = [
        None,
        [{"name": "loop_lag", "instance": "test", "value": 5}],
        [],
    ]

    async def standing() -> Sequence[Mapping[str, Any]]:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if answer is None:
            raise DatabaseUnavailable("away")
        return answer

    watching = monitors(Bridge(), standing=standing)
    with pytest.raises(DatabaseUnavailable):
        await watching.adopt()
    for _ in range(2):
        await watching.adopt()

    assert names(watching) == {"loop_lag"}
    assert len(answers) == 1


def names(watching: Monitors) -> set[str]:
    return {alarm["name"] for alarm in watching.raised()}


async def test_often_within_a_minute_is_an_alarm(autojump_clock: MockClock) -> None:
    """Once is an event in the journal; several within a minute are told, with the worst of them, and end by themselves."""
    watching = monitors(Bridge())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching._judge)
        await trio.sleep(1)
        observations.HELD.note(1.5, "shop.settle")
        await trio.sleep(10)
        assert names(watching) == set()
        observations.HELD.note(3.0, "workers.expire")
        observations.HELD.note(1.2, "shop.settle")
        await trio.sleep(10)
        (alarm,) = watching.raised()
        assert (alarm["name"], alarm["who"], alarm["value"]) == ("transactions", "workers.expire", 3)
        await trio.sleep(130)
        assert names(watching) == set()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("measure", "alarm"), EVENT_ALARMS, ids=lambda one: one.name)
async def test_each_measure_reaches_its_alarm(measure: Any, alarm: Any, autojump_clock: MockClock) -> None:
    """What is noted over its limit, often enough, raises that alarm and no other."""
    watching = monitors(Bridge())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching._judge)
        await trio.sleep(1)
        for _ in range(int(alarm.raise_at)):
            measure.note(measure.limit * 2, "the culprit")
        await trio.sleep(6)
        assert names(watching) == {alarm.name}
        nursery.cancel_scope.cancel()


async def test_a_worker_that_keeps_failing_is_an_alarm(autojump_clock: MockClock) -> None:
    """Three times in a row; the first success ends it."""
    failure: list[Exception] = [ValueError("broken")]
    worker = failing_worker(failure)
    watching = monitors(Bridge(), lambda: [worker])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        nursery.start_soon(watching._judge)
        with trio.fail_after(1000):
            while "worker_failing" not in names(watching):
                await trio.sleep(5)
        assert worker.statistics().failures_in_a_row == 3
        assert watching.raised()[0]["who"] == "expiry"
        failure.clear()
        with trio.fail_after(1000):
            while names(watching):
                await trio.sleep(5)
        assert worker.statistics().failures_in_a_row == 0
        nursery.cancel_scope.cancel()


async def test_a_long_outage_is_an_alarm(autojump_clock: MockClock) -> None:
    """A blink of the database is none."""
    db = Bridge()
    watching = monitors(db)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching._judge)
        db.down = True
        await trio.sleep(20)
        db.down = False
        await trio.sleep(10)
        assert names(watching) == set()
        db.down = True
        await trio.sleep(41)
        assert names(watching) == {"database"}
        db.down = False
        await trio.sleep(6)
        assert names(watching) == set()
        nursery.cancel_scope.cancel()


# --- the picture -----------------------------------------------------------------------------------------------------------


def picture_of(db: Any, watching: Monitors, workers: Sequence[WorkerRunner]) -> Picture:
    supervisor = SimpleNamespace(statistics=lambda: SimpleNamespace(children=()))
    return Picture(
        instance="test",
        monitors=watching,
        limits=Limits(15, 10),
        db=db,
        workers=lambda: workers,
        supervisor=lambda: supervisor,  # type: ignore[arg-type,return-value]
        status_line=lambda: "serving customers; 1 nodes",
    )


async def test_the_picture_is_plain_json(autojump_clock: MockClock) -> None:
    """All that status shows, in one document that a line can carry."""
    db = Bridge()
    watching = monitors(db)
    await watching.process.look()
    worker = failing_worker([])
    await worker.run_once()
    picture = picture_of(db, watching, [worker])
    picture.add("lanes", lambda: {"waiting": {"reply": 0}})
    document = json.loads(json.dumps(await picture.take()))

    (shown,) = document["workers"]
    assert (shown["name"], shown["last_outcome"], shown["paused"], shown["failures_in_a_row"]) == (
        "expiry", "ok", False, 0,
    )  # fmt: skip
    assert shown["last_end"] > 1_700_000_000
    assert document["pools"]["database"]["classes"][0]["cls"] == "handler"
    assert document["pools"]["connections"]["most"] == 15
    assert document["process"]["memory"] > 0
    assert document["queues"] is None
    assert document["lanes"] == {"waiting": {"reply": 0}}
    assert document["service"]["status"].startswith("serving")


async def test_a_part_that_fails_does_not_spoil_the_picture(autojump_clock: MockClock) -> None:
    """What is away, hangs, or is not built yet says so in its place."""

    async def away() -> Any:
        await trio.lowlevel.checkpoint()
        raise DatabaseUnavailable("no server")

    async def hangs() -> Any:
        await trio.sleep_forever()

    db = Bridge()
    picture = picture_of(db, monitors(db), [])
    picture.add("money", away)
    picture.add("lanes", hangs)
    picture.add("service", lambda: SimpleNamespace().not_there)
    began = trio.current_time()
    document = await picture.take()

    assert trio.current_time() - began <= picture_module.PART_TIME
    assert "no server" in document["money"]["error"]
    assert "no answer" in document["lanes"]["error"]
    assert "not_there" in document["service"]["error"]
    assert document["workers"] == []


# --- the audit's command ---------------------------------------------------------------------------------------------------


async def test_the_audit_watches_for_its_time(autojump_clock: MockClock) -> None:
    """It says that it began, and reports that stretch alone, with what ended within it."""
    heard: list[Any] = []

    async def tell(event: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(event)

    settled: list[float] = []
    command = AuditCommand(lambda: settled.append(trio.current_time()))
    observations.HELD.note(0.9, "before")
    result: dict[str, Any] = {}

    async def ask() -> None:
        result.update(await command({"seconds": 30}, tell))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(10)
        observations.HELD.note(0.3, "inside")

    (held,) = [line for line in result["lines"] if line["row"] == "held"]
    assert (held["worst"]["who"], held["count"]) == ("inside", 1)
    assert heard == [{"watching": 30}]
    assert settled == [0, 30]


async def test_the_audit_has_kept_the_day() -> None:
    """Without a time it tells what is kept, today first."""

    async def tell(_event: Mapping[str, Any]) -> None:
        raise AssertionError

    observations.HELD.note(0.9, "earlier")
    document = await AuditCommand()({}, tell)

    assert document["kind"] == "history"
    assert document["lines"] == next(iter(document["days"].values()))
    json.dumps(document)


@pytest.mark.parametrize("seconds", [0, -1, 1e9, "60", True, float("nan")])
async def test_a_senseless_time_is_refused(seconds: Any) -> None:
    """It is a sentence and no fault."""

    async def tell(_event: Mapping[str, Any]) -> None:
        raise AssertionError

    with pytest.raises(CommandRefused):
        await AuditCommand()({"seconds": seconds}, tell)
