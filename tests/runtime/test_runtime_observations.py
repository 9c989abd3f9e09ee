"""The record of the worst: bounded, by day, with who it was; and every finding of the audit has its line."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from vpnd.runtime import observations
from vpnd.runtime.observations import DAYS, LINES, MEASURES, Measure, TooManyWatches, history, watching

DAY = 86_400.0

#: A Thursday, a little before midnight UTC.
EVENING = 1_764_201_500.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, to be moved by hand."""
    now = [EVENING]
    monkeypatch.setattr(observations.time, "time", lambda: now[0])
    return now


def today(measure: Measure) -> observations.Record:
    return next(iter(measure.records().values()))


def test_the_worst_of_the_day_is_kept_with_who_it_was(clock: list[float]) -> None:
    """Value, limit, who, where and when of the worst; how many there were, and how many over the limit."""
    measure = Measure("m", "s", 1.0)
    measure.note(0.5, "first")
    clock[0] += 10
    measure.note(2.0, "second", "line 7")
    clock[0] += 10
    measure.note(1.5, "third", count=3)

    record = today(measure)
    assert (record.worst, record.limit, record.who, record.where, record.at) == (
        2.0, 1.0, "second", "line 7", EVENING + 10,
    )  # fmt: skip
    assert (record.count, record.over) == (5, 2)
    assert measure.broken(record)


def test_the_worst_is_the_one_that_goes_furthest_towards_its_own_limit() -> None:
    """A call of 6 s under a ceiling of 30 s is nothing beside one of 4.9 s under 5 s."""
    measure = Measure("m", "s", 5.0)
    measure.note(6.0, "long", limit=30.0)
    measure.note(4.9, "near", limit=5.0)

    record = today(measure)
    assert (record.who, record.worst, record.limit) == ("near", 4.9, 5.0)
    assert not measure.broken(record)


def test_a_floor_is_broken_from_above() -> None:
    """Of a rate the least is the worst."""
    measure = Measure("m", "share", 0.8, floor=True)
    for share in (0.95, 0.7, 0.9):
        measure.note(share, f"{share}")

    record = today(measure)
    assert (record.who, record.over) == ("0.7", 1)
    assert measure.broken(record)


def test_the_slack_is_not_over() -> None:
    """What is cut at its deadline ends a blink after it, and has kept it."""
    measure = Measure("m", "s", 1.0, slack=0.05)
    measure.note(1.04, "cut")
    assert (today(measure).over, measure.broken(today(measure))) == (0, False)
    measure.note(1.06, "late")
    assert (today(measure).over, measure.broken(today(measure))) == (1, True)


def test_a_day_has_a_record_of_its_own_and_seven_are_kept(clock: list[float]) -> None:
    """Days are those of UTC; the oldest goes, and a day without anything is no record but today's."""
    measure = Measure("m", "s", 1.0)
    for number in range(DAYS + 3):
        measure.note(float(number), f"day {number}")
        clock[0] += DAY

    days = measure.records()
    assert list(days) == sorted(days, reverse=True)
    assert len(days) == DAYS
    assert next(iter(days.values())).worst is None
    assert [record.who for record in days.values()][1:] == [f"day {number}" for number in range(9, 3, -1)]


def test_a_clock_that_jumps_back_loses_nothing(clock: list[float]) -> None:
    """The day it was on goes on; nothing is thrown away, and no day is begun twice."""
    measure = Measure("m", "s", 1.0)
    measure.note(3.0, "evening")
    clock[0] += DAY
    measure.note(1.0, "next day")
    clock[0] -= DAY
    measure.note(2.0, "evening again")

    counts = {record.who: record.count for record in measure.records().values()}
    assert counts == {"evening again": 2, "evening": 1}  # the day that had begun goes on


def test_a_watch_sees_its_own_stretch_only() -> None:
    """What was before and what comes after is not its."""
    observations.HELD.note(0.4, "before")
    with watching() as watch:
        observations.HELD.note(0.2, "inside")
        record = watch.records["held"]
        assert (record.who, record.count) == ("inside", 1)
        former = watch.turn()["held"]
        observations.HELD.note(0.1, "later")
        assert (former.who, watch.records["held"].who) == ("inside", "later")
    observations.HELD.note(0.9, "after")

    assert watch.records["held"].count == 1
    assert all(len(measure._open) == 1 for measure in MEASURES)


def test_watches_are_bounded() -> None:
    """Somebody who asks again and again is refused; the daemon's own part is not."""
    with ExitStack() as stack:
        for _ in range(observations.MOST_WATCHES):
            stack.enter_context(watching())
        stack.enter_context(watching(reserved=True))
        with pytest.raises(TooManyWatches):
            stack.enter_context(watching())
    with watching():
        pass


def test_every_finding_of_the_audit_has_its_line() -> None:
    """The rows of the audit's first table, its tags, and the three that it skipped."""
    rows = {line.row for line in LINES}

    assert {
        "blocking",
        "unbounded",
        "held",
        "yield",
        "broadcast",
        "pool",
        "intervals",
        "http timeouts",
    } <= rows
    assert {"[EVENT_LOOP_LAG]", "[WORKER_DURATION]", "[WORKER_ITEMS]", "[HIGH_CPU]"} <= rows
    assert {"[DB_ACQUIRE_SLOW]", "[HTTP_SLOW]", "[DB_HOLD_LONG]"} <= rows
    assert {line.measure.name for line in LINES} == {measure.name for measure in MEASURES}
    limits = {measure.name: measure.limit for measure in MEASURES}
    assert (limits["blocking"], limits["lag"], limits["acquire"], limits["held"]) == (0.05, 0.2, 2.0, 1.0)
    assert (limits["http_call"], limits["worker_items"], limits["cpu"]) == (2.0, 1000, 0.8)


def test_what_nobody_saw_is_not_measured() -> None:
    """It is not "fine": a line without an observation says so."""
    with watching() as watch:
        observations.READ.note(20_000, "shop.everything")
        observations.HTTP_CALL.note(3.0, "node")
        observations.HELD.note(0.1, "shop.settle")
        states = {line["measure"]: line["state"] for line in watch.lines()}

    assert states["rows_read"] == "broken"
    assert states["http_call"] == "told"
    assert states["held"] == "ok"
    assert states["broadcast_rate"] == "not measured"
    lines = next(iter(history().values()))
    assert [line["row"] for line in lines] == [line.row for line in LINES]


def test_a_note_costs_next_to_nothing() -> None:
    """It stands on the way of every query: a few microseconds at most, on any machine."""
    measure = Measure("m", "s", 1.0)
    best = min(_timed(measure) for _ in range(50))

    assert best / 1000 < 5e-6


def _timed(measure: Measure) -> float:
    began = time.perf_counter()
    for _ in range(1000):
        measure.note(0.1, "who")
    return time.perf_counter() - began
