"""Buttons that say when reminders may come: the customer's clock and his quiet hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from vpnd.bot import callbacks
from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.clocks import WESTMOST, ZONES, Preferences, at_minute, preferences_of
from vpnd.bot.screens import notifications
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.reminders import set_quiet_hours, set_time_zone

_A_DAY: Final = 24 * 60


async def _preferences(visit: Visit) -> Preferences:
    deps = visit.deps
    return await preferences_of(deps.db, visit.customer.id, deps.time_zone, deps.quiet_hours)


async def show_notifications(visit: Visit, _action: Action) -> None:
    """How it is set."""
    await visit.show(notifications.overview(visit.speech, await _preferences(visit), visit.deps.quiet_hours))


async def show_time_zones(visit: Visit, action: callbacks.TimeZones) -> None:
    """The clocks to choose from."""
    await visit.show(notifications.time_zones(visit.speech, await _preferences(visit), action.page))


async def choose_time_zone(visit: Visit, action: callbacks.SetTimeZone) -> None:
    """Keep the clock that was chosen."""
    zone = ZONES.get(action.minutes + round(WESTMOST / timedelta(minutes=1)))
    if zone is None:
        await stale(visit, "unreadable")
        return

    async def body(tx: Transaction) -> None:
        await set_time_zone(tx, visit.customer.id, zone)

    await visit.deps.db.run("bot.time_zone", body)
    await show_notifications(visit, action)


async def show_quiet_from(visit: Visit, _action: Action) -> None:
    """The hours at which the quiet ones may begin."""
    await visit.show(notifications.quiet_from(visit.speech, await _preferences(visit)))


async def show_quiet_to(visit: Visit, _action: Action) -> None:
    """The hours at which they may end."""
    await visit.show(notifications.quiet_to(visit.speech, await _preferences(visit)))


async def choose_quiet_hours(visit: Visit, action: callbacks.SetQuiet) -> None:
    """Keep the hours that were chosen; equal ends are none."""
    if action.start >= _A_DAY or action.end >= _A_DAY:
        await stale(visit, "unreadable")
        return

    async def body(tx: Transaction) -> None:
        await set_quiet_hours(tx, visit.customer.id, (at_minute(action.start), at_minute(action.end)))

    await visit.deps.db.run("bot.quiet_hours", body)
    await show_notifications(visit, action)
