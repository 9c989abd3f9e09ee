"""Alarms: what was measured went over its threshold, stayed there, and came back.

An alarm has two levels, so that a value at the edge does not chatter: it is raised at the one and cleared below the other,
and only after it has stood there for a while. The journal hears of both at once. The admins get one message for all that
changed within ten seconds, with each alarm raised at most once an hour in it, and cleared at most once.

What is to be told is kept as a state and not as a queue: for each alarm whether its raise and its clear are untold, and the
worst in between. So it is bounded. A message that cannot be written (the database is away) is tried until it is, under one
key, so that it is not written twice; what changes meanwhile goes into the next one.

What operators believe outlives the process: a daemon that starts is told which alarms they take for raised (`Alarms.adopt`), goes
on with those, and tells when they are over.

Never an alarm about an alarm: rows whose key begins with `KEY` are not counted by the monitors of the queues.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, NoReturn

import trio
from attrs import define, frozen

from vpnd.monitors import gauges
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal

__all__ = ["KEY", "Alarm", "AlarmState", "Alarms"]

journal = get_journal("monitors")

#: What the keys of admins' messages about alarms begin with.
KEY: Final = "alarms:"
#: Seconds for which changes are gathered for one message.
GATHER: Final = 10.0
#: Seconds within which an alarm is told as raised once.
HUSH: Final = 3600.0
#: An alarm of before the start is over when it has been fine for so long; seconds. Some come back only after several iterations.
SETTLE: Final = 300.0
#: Back-off of a message that cannot be written; seconds.
RETRY_FIRST: Final = 5.0
RETRY_CAP: Final = 300.0


@frozen
class Alarm:
    """An alarm, as data.

    Attributes:
        name: a stable name, the label of the metric.
        what: what is measured, as the subject of a sentence.
        unit: of the value.
        raise_at: it is raised at this value and above.
        clear_at: it is cleared at this value and below.
        raise_after: seconds the value stays at the one before it is raised.
        clear_after: seconds the value stays at the other before it is cleared.
    """

    name: str
    what: str
    unit: str
    raise_at: float
    clear_at: float
    raise_after: float = 0.0
    clear_after: float = 60.0

    def __attrs_post_init__(self) -> None:
        """Refuse levels that would chatter."""
        if self.clear_at > self.raise_at:
            raise ValueError(f"the alarm {self.name} would be cleared above what raises it")


@define
class AlarmState:
    """An alarm at one moment. `since` is when it was raised, Unix time; `worst` is the highest value since then."""

    alarm: Alarm
    raised: bool = False
    value: float = 0.0
    who: str = ""
    since: float = 0.0
    worst: float = 0.0
    worst_who: str = ""
    turning_at: float = math.inf  # when the other state will have stood for long enough
    untold_raise: bool = False
    untold_clear: bool = False
    told: bool = False  # the admins believe that it is raised
    hushed_until: float = -math.inf
    settles_at: float = -math.inf  # it is not cleared before

    def to_json(self) -> dict[str, Any]:
        """Return it as a message or a picture needs it: JSON scalars."""
        return {
            "name": self.alarm.name,
            "what": self.alarm.what,
            "unit": self.alarm.unit,
            "value": _number(self.worst),
            "threshold": _number(self.alarm.raise_at),
            "who": self.worst_who,
            "since": round(self.since),
        }


class Alarms:
    """All alarms of the daemon.

    Args:
        alarms: which there are.
        tell: writes one message to the admins, under a key that a repeat has again: `await tell(key, args)`, with
            `args = {"raised": […], "cleared": […]}`. Whatever `Exception` it raises means that it was not written.
        instance: the daemon's name, part of the keys.
        rng: source of the back-off's jitter.
    """

    def __init__(
        self,
        alarms: Sequence[Alarm],
        tell: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        *,
        instance: str = "vpnd",
        rng: Random | None = None,
    ) -> None:
        self._states = {alarm.name: AlarmState(alarm) for alarm in alarms}
        if len(self._states) != len(alarms):
            raise ValueError("two alarms have one name")
        self._tell = tell
        self._instance = instance
        self._rng = rng or Random()  # noqa: S311  spreads retries, guards nothing
        self._news = trio.Event()
        self._unknown: list[dict[str, Any]] = []
        for name in self._states:
            gauges.alarm_raised.labels(name).set(0)
            gauges.alarms_total.labels(name)

    def update(self, name: str, value: float, who: str = "") -> None:
        """Note what was measured just now; `who` names the culprit. Never waits.

        Raises:
            KeyError: there is no alarm of this name.
        """
        state = self._states[name]
        state.value, state.who = value, who
        now = trio.current_time()
        alarm = state.alarm
        if state.raised and value > state.worst:
            state.worst, state.worst_who = value, who
        turns = value <= alarm.clear_at if state.raised else value >= alarm.raise_at
        if not turns:
            state.turning_at = math.inf
            return
        if state.turning_at == math.inf:
            state.turning_at = now + (alarm.clear_after if state.raised else alarm.raise_after)
            if state.raised:
                state.turning_at = max(state.turning_at, state.settles_at)
        if now < state.turning_at:
            return
        state.turning_at = math.inf
        if state.raised:
            self._clear(state)
        else:
            self._raise(state)

    def raised(self) -> list[AlarmState]:
        """Return the alarms that are raised now, the oldest first."""
        return sorted((state for state in self._states.values() if state.raised), key=lambda one: one.since)

    def adopt(self, standing: Iterable[Mapping[str, Any]]) -> None:
        """Go on with what operators believe to be raised: alarms as they were told before this daemon was started. Never waits.

        Each stays raised until it has been fine for `SETTLE` seconds and is told as over then. One that this version does not
        have is told as over at once; one that another daemon of the shop told is left to it.
        """
        for one in standing:
            if one.get("instance", self._instance) != self._instance:
                continue
            state = self._states.get(str(one["name"]))
            if state is None:
                self._unknown.append(dict(one))
                self._news.set()
                continue
            state.told = True
            if state.raised or state.untold_clear:
                continue  # it was raised since the start, and is told by that
            state.raised, state.since = True, float(one.get("since", time.time()))
            state.worst, state.worst_who = float(one.get("value", 0.0)), str(one.get("who", ""))
            state.settles_at = trio.current_time() + SETTLE
            state.turning_at = math.inf
            gauges.alarm_raised.labels(state.alarm.name).set(1)
            journal.info(
                "alarm.adopted",
                message=f"{state.alarm.what}: an alarm of before the start; it is told when it is over",
                alarm=state.alarm.name,
            )

    def _raise(self, state: AlarmState) -> None:
        alarm = state.alarm
        state.raised, state.since = True, time.time()
        state.worst, state.worst_who = state.value, state.who
        state.untold_raise = True
        gauges.alarm_raised.labels(alarm.name).set(1)
        gauges.alarms_total.labels(alarm.name).inc()
        journal.warning(
            "alarm.raised",
            message=f"{alarm.what}: {_number(state.value):g} {alarm.unit}"
            f"{f' ({state.who})' if state.who else ''}, the alarm is at {alarm.raise_at:g}",
            alarm=alarm.name,
            value=_number(state.value),
            threshold=alarm.raise_at,
            who=state.who,
        )
        self._news.set()

    def _clear(self, state: AlarmState) -> None:
        alarm = state.alarm
        state.raised, state.untold_clear = False, True
        gauges.alarm_raised.labels(alarm.name).set(0)
        journal.info(
            "alarm.cleared",
            message=f"{alarm.what}: {_number(state.value):g} {alarm.unit} again; it was {_number(state.worst):g} at worst",
            alarm=alarm.name,
            value=_number(state.value),
            worst=_number(state.worst),
        )
        self._news.set()

    # ------------------------------------------------------------------ telling

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Tell the admins, for ever."""
        task_status.started()
        while True:
            with trio.move_on_at(self._next_hushed()):
                await self._news.wait()
            self._news = trio.Event()
            await trio.sleep(GATHER)
            args = self._take_news()
            if args["raised"] or args["cleared"]:
                await self._insist(f"{KEY}{self._instance}:{time.time_ns()}", args)

    async def _insist(self, key: str, args: Mapping[str, Any]) -> None:
        """Write one message. What changes while that cannot be done is noted, and goes into the next one."""
        failures = 0
        while True:
            try:
                await self._tell(key, args)
            except Exception as error:
                # Told once an outage, and never by an alarm: that could not be written either.
                failures += 1
                say = journal.warning if failures == 1 else journal.debug
                say("alarm.not_told", message=f"the admins cannot be told of alarms yet: {error}")
                await trio.sleep(jittered_backoff(failures, RETRY_FIRST, RETRY_CAP, self._rng))
            else:
                return

    def _take_news(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the admins have not heard of; an alarm that came and went is told as both."""
        now = trio.current_time()
        raised: list[dict[str, Any]] = []
        cleared, self._unknown = self._unknown, []
        for state in self._states.values():
            if state.untold_raise and now >= state.hushed_until:
                raised.append(self._told(state))
                state.untold_raise, state.told, state.hushed_until = False, True, now + HUSH
            if state.untold_clear:
                if state.told:
                    cleared.append(self._told(state))
                # Else it came and went within the hour of its last message: the journal has it.
                state.untold_raise = state.untold_clear = state.told = False
        return {"raised": raised, "cleared": cleared}

    def _told(self, state: AlarmState) -> dict[str, Any]:
        return state.to_json() | {"instance": self._instance}

    def _next_hushed(self) -> float:
        """Return when an alarm that is raised and was hushed may be told."""
        return min(
            (state.hushed_until for state in self._states.values() if state.untold_raise), default=math.inf
        )


def _number(value: float) -> float:
    return round(value, 3)
