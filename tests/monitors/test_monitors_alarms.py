"""Alarms: raised once, cleared once, told together, never in a loop, and nothing lost while the database is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from vpnd.monitors import alarms as alarms_module
from vpnd.monitors import gauges
from vpnd.monitors.alarms import GATHER, HUSH, KEY, Alarm, Alarms, AlarmState
from vpnd.monitors.service import ALARMS
from vpnd.runtime.journal import capture

HEAT = Alarm("heat", "heat", "°", raise_at=100, clear_at=50, clear_after=60)
WATER = Alarm("water", "water", "l", raise_at=1, clear_at=0, raise_after=30, clear_after=0)


@define
class Admins:
    """What the admins were told; `away` refuses it."""

    told: list[tuple[str, Mapping[str, Any]]] = field(factory=list)
    away: bool = False
    attempts: list[str] = field(factory=list)

    async def tell(self, key: str, args: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.attempts.append(key)
        if self.away:
            raise OSError("the database is away")
        self.told.append((key, args))

    def names(self) -> list[tuple[list[str], list[str]]]:
        return [
            ([one["name"] for one in args["raised"]], [one["name"] for one in args["cleared"]])
            for _, args in self.told
        ]


@asynccontextmanager
async def running(admins: Admins, *which: Alarm) -> AsyncIterator[Alarms]:
    alarms = Alarms(which or (HEAT, WATER), admins.tell, rng=Random(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(alarms.run)
        yield alarms
        nursery.cancel_scope.cancel()


async def test_an_alarm_has_two_levels(autojump_clock: MockClock) -> None:
    """A value between them changes nothing; the journal and the metric hear of both turns at once."""
    admins = Admins()
    with capture() as lines:
        async with running(admins) as alarms:
            for value in (99, 100, 70, 100, 70):
                alarms.update("heat", value, "the stove")
                assert gauges.alarm_raised.labels("heat")._value.get() == (
                    value == 100 or bool(alarms.raised())
                )
            (state,) = alarms.raised()
            alarms.update("heat", 150, "the oven")
            for _ in range(13):
                alarms.update("heat", 40)
                await trio.sleep(5)
            assert alarms.raised() == []

    assert (state.worst, state.worst_who) == (150, "the oven")
    events = [line.event for line in lines if line.event.startswith("alarm.")]
    assert events == ["alarm.raised", "alarm.cleared"]
    assert gauges.alarm_raised.labels("heat")._value.get() == 0


async def test_a_value_has_to_stay(autojump_clock: MockClock) -> None:
    """What comes and goes within the alarm's own time is no alarm, and one low value does not end one."""
    async with running(Admins()) as alarms:
        for _ in range(5):
            alarms.update("water", 3)
            await trio.sleep(20)
            alarms.update("water", 0)
        assert alarms.raised() == []
        alarms.update("water", 3)
        await trio.sleep(30)
        alarms.update("water", 3)
        assert [state.alarm.name for state in alarms.raised()] == ["water"]

        alarms.update("heat", 120)
        alarms.update("heat", 10)
        await trio.sleep(59)
        alarms.update("heat", 60)
        await trio.sleep(2)
        alarms.update("heat", 10)
        assert len(alarms.raised()) == 2


async def test_what_happens_together_is_told_together(autojump_clock: MockClock) -> None:
    """One message for all within ten seconds, with what an admin needs to see."""
    admins = Admins()
    async with running(admins) as alarms:
        alarms.update("water", 1)
        await trio.sleep(30)
        alarms.update("water", 2, "the cellar")
        await trio.sleep(GATHER / 2)
        alarms.update("heat", 200, "the stove")
        await trio.sleep(GATHER)

    ((key, args),) = admins.told
    assert key.startswith(KEY)
    assert args["cleared"] == []
    water, heat = sorted(args["raised"], key=lambda one: one["name"], reverse=True)
    assert (water["name"], water["who"], heat["value"], heat["threshold"], heat["unit"]) == (
        "water", "the cellar", 200, 100, "°",
    )  # fmt: skip
    assert all(isinstance(value, str | int | float) for one in args["raised"] for value in one.values())


async def test_an_alarm_that_flaps_is_told_once_an_hour(autojump_clock: MockClock) -> None:
    """Raised and cleared a hundred times: the journal has each, the admins one raise and one clear."""
    admins = Admins()
    alarm = Alarm("flap", "a flag", "", 1, 0, clear_after=0)
    with capture() as lines:
        async with running(admins, alarm) as alarms:
            for _ in range(50):
                alarms.update("flap", 1)
                await trio.sleep(20)
                alarms.update("flap", 0)
                await trio.sleep(20)
            assert admins.names() == [(["flap"], []), ([], ["flap"])]
            alarms.update("flap", 1)
            await trio.sleep(HUSH)

    assert admins.names()[2:] == [(["flap"], [])]
    assert len([line for line in lines if line.event == "alarm.raised"]) == 51


async def test_nothing_is_lost_while_the_database_is_away(autojump_clock: MockClock) -> None:
    """What was raised, and what came and went, is told when it is back; one key until then, so never twice."""
    admins = Admins(away=True)
    passing = Alarm("passing", "what passes", "", 1, 0, clear_after=0)
    with capture() as lines:
        async with running(admins, HEAT, passing) as alarms:
            alarms.update("heat", 100)
            await trio.sleep(60)
            alarms.update("passing", 5)
            alarms.update("passing", 0)
            await trio.sleep(3600)
            admins.away = False
            await trio.sleep(alarms_module.RETRY_CAP + 2 * GATHER)

    assert admins.names() == [(["heat"], []), (["passing"], ["passing"])]
    assert len(set(admins.attempts)) == 2
    assert len(admins.attempts) < 50
    assert len([line for line in lines if line.event == "alarm.not_told" and line.level == "warning"]) == 1
    assert len([line for line in lines if line.event == "alarm.raised"]) == 2


def standing(alarm: Alarm = HEAT, **changes: Any) -> dict[str, Any]:
    """An alarm as the admins were told of it before the start."""
    state = AlarmState(alarm, raised=True, since=1.7e9, worst=300.0, worst_who="the oven")
    return state.to_json() | {"instance": "vpnd"} | changes


async def test_what_is_over_since_a_restart_is_told(autojump_clock: MockClock) -> None:
    """What the admins took for raised is so until it has been fine for a while; then they hear that it is over, once."""
    admins = Admins()
    with capture() as lines:
        async with running(admins) as alarms:
            alarms.adopt([standing()])
            (state,) = alarms.raised()
            for _ in range(70):
                alarms.update("heat", 10)
                await trio.sleep(5)
            assert alarms.raised() == []

    ((_, args),) = admins.told
    assert args["raised"] == []
    assert [(one["name"], one["value"], one["who"], one["since"]) for one in args["cleared"]] == [
        ("heat", 300.0, "the oven", 1.7e9)
    ]
    assert state.alarm is HEAT
    assert [line.event for line in lines if line.event.startswith("alarm.")] == [
        "alarm.adopted",
        "alarm.cleared",
    ]


async def test_what_goes_on_over_a_restart_is_not_told_anew(autojump_clock: MockClock) -> None:
    """Still over its level it stays raised, without a second message; also what was raised again before it was known of."""
    admins = Admins()
    async with running(admins) as alarms:
        alarms.update("heat", 400)
        alarms.adopt([standing(), standing(WATER)])
        for _ in range(100):
            alarms.update("heat", 400)
            alarms.update("water", 5)
            await trio.sleep(5)
        assert len(alarms.raised()) == 2

    assert admins.names() == [(["heat"], [])]


async def test_what_came_and_went_before_it_was_known_is_told_as_over(autojump_clock: MockClock) -> None:
    """The admins take it for raised, so its end is news for them."""
    admins = Admins()
    async with running(admins) as alarms:
        alarms.update("water", 1)
        await trio.sleep(30)
        alarms.update("water", 1)
        alarms.update("water", 0)
        alarms.adopt([standing(WATER)])
        await trio.sleep(GATHER + 1)

    assert admins.names() == [(["water"], ["water"])]


async def test_alarms_of_others_are_left_to_them(autojump_clock: MockClock) -> None:
    """Another daemon of the shop ends its own; what this version does not have any more is over at once."""
    admins = Admins()
    async with running(admins) as alarms:
        alarms.adopt([standing(instance="other"), standing(name="of an older version")])
        assert alarms.raised() == []
        await trio.sleep(GATHER + 1)

    assert admins.names() == [([], ["of an older version"])]


async def test_levels_that_would_chatter_are_refused() -> None:
    """An alarm is not cleared above what raises it, and a name is one alarm's."""
    with pytest.raises(ValueError, match="cleared above"):
        Alarm("wrong", "wrong", "", 1, 2)
    with pytest.raises(ValueError, match="one name"):
        Alarms((HEAT, HEAT), Admins().tell)


def test_the_daemons_alarms_are_all_there() -> None:
    """Each monitor of the issue has one, and no two have a name in common."""
    names = [alarm.name for alarm in ALARMS]

    assert len(set(names)) == len(names)
    assert {
        "loop_lag", "worker_duration", "worker_items", "pool_acquire", "http_slow", "transactions", "cpu", "memory_growth",
        "tasks", "outbox_age", "inbox_age", "expired_but_on", "paid_but_off",
    } <= set(names)  # fmt: skip
