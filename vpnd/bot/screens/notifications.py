"""When reminders may come: the customer's clock, and the hours in which it is quiet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, timedelta
from typing import Final

from vpnd.bot.callbacks import (
    Action,
    Home,
    Notifications,
    QuietFrom,
    QuietTo,
    SetQuiet,
    SetTimeZone,
    TimeZones,
)
from vpnd.bot.clocks import WESTMOST, ZONES, Preferences, minute_of
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech, zone_name
from vpnd.config import QuietHours

#: Clocks of one page, in rows of two: a phone cuts the labels of three, and of six hours in a row.
PAGE: Final = 12
_CLOCKS_IN_ROW: Final = 2
_HOURS_IN_ROW: Final = 4
#: What is offered where the shop itself has no quiet hours: 22:00 to 09:00.
_USUAL: Final = SetQuiet(22 * 60, 9 * 60)
_A_DAY: Final = 24 * 60


def _rows(buttons: Iterable[Button], width: int) -> list[Row]:
    row: list[Button] = []
    rows: list[Row] = []
    for button in buttons:
        row.append(button)
        if len(row) == width:
            rows.append(tuple(row))
            row = []
    return [*rows, tuple(row)] if row else rows


def _back(speech: Speech) -> Row:
    return (
        Button(speech.label("button-back"), Notifications()),
        Button(speech.label("button-home"), Home()),
    )


def _clock(preferences: Preferences, minutes: int) -> str:
    """What a clock shows that is so many minutes ahead of UTC."""
    return f"{preferences.now.astimezone(UTC) + timedelta(minutes=minutes):%H:%M}"


def overview(speech: Speech, preferences: Preferences, shop: QuietHours) -> Screen:
    """How it is set now; `shop` are the hours that somebody gets who turns them on."""
    start, end = preferences.quiet
    minutes = round(preferences.ahead / timedelta(minutes=1))
    text = speech.say(
        "notifications",
        time=_clock(preferences, minutes),
        zone=zone_name(preferences.ahead),
        quiet="on" if preferences.quiet_at_all else "off",
        start=f"{start:%H:%M}",
        end=f"{end:%H:%M}",
    )
    rows: list[Row] = [(Button(speech.label("button-time-zone"), TimeZones()),)]
    if preferences.quiet_at_all:
        rows.append(
            (
                Button(speech.label("button-quiet-from", time=f"{start:%H:%M}"), QuietFrom()),
                Button(speech.label("button-quiet-to", time=f"{end:%H:%M}"), QuietTo()),
            )
        )
        rows.append((Button(speech.label("button-quiet-off"), SetQuiet(0, 0)),))
    else:
        usual = SetQuiet(minute_of(shop[0]), minute_of(shop[1])) if shop[0] != shop[1] else _USUAL
        rows.append((Button(speech.label("button-quiet-on"), usual),))
    return Screen(text, (*rows, (Button(speech.label("button-home"), Home()),)))


def time_zones(speech: Speech, preferences: Preferences, page: int) -> Screen:
    """A page of clocks by what they show now, from west to east; 0 is the page with the customer's own."""
    zones = list(ZONES)
    pages = -(-len(zones) // PAGE)
    if not 1 <= page <= pages:
        own = round(preferences.ahead / timedelta(minutes=1))
        page = max(1, -(-sum(minutes <= own for minutes in zones) // PAGE))
    shown = zones[(page - 1) * PAGE : page * PAGE]
    west = round(WESTMOST / timedelta(minutes=1))
    buttons = [
        Button(
            f"{_clock(preferences, minutes)} · {zone_name(timedelta(minutes=minutes))}",
            SetTimeZone(minutes - west),
        )
        for minutes in shown
    ]
    turns: list[Button] = []
    if page > 1:
        turns.append(Button(speech.label("button-west"), TimeZones(page - 1)))
    if page < pages:
        turns.append(Button(speech.label("button-east"), TimeZones(page + 1)))
    return Screen(speech.say("time-zones"), (*_rows(buttons, _CLOCKS_IN_ROW), tuple(turns), _back(speech)))


def quiet_from(speech: Speech, preferences: Preferences) -> Screen:
    """The hours at which the quiet ones may begin."""
    end = minute_of(preferences.quiet[1])
    return _hours(speech, "quiet-from", {start: SetQuiet(start, end) for start in range(0, _A_DAY, 60)}, end)


def quiet_to(speech: Speech, preferences: Preferences) -> Screen:
    """The hours at which they may end."""
    start = minute_of(preferences.quiet[0])
    return _hours(speech, "quiet-to", {end: SetQuiet(start, end) for end in range(0, _A_DAY, 60)}, start)


def _hours(speech: Speech, key: str, choices: dict[int, Action], other: int) -> Screen:
    # Equal ends would be none at all, which has a button of its own.
    buttons = [
        Button(f"{minute // 60:02}:00", action) for minute, action in choices.items() if minute != other
    ]
    return Screen(speech.say(key), (*_rows(buttons, _HOURS_IN_ROW), _back(speech)))
