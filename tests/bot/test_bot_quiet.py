"""When reminders come: the customer's clock and quiet hours by buttons, and the reminders themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from bot_world import ANNA, World, open_world

from vpnd.bot import callbacks
from vpnd.bot.clocks import ZONES
from vpnd.config.shop_settings import NEVER_QUIET
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Drop
from vpnd.shop.reminders import due_reminders, tell_reminders
from vpnd.shop.subscriptions import expire_due, grant

pytestmark = pytest.mark.postgres

DAY = timedelta(days=1)


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node; the shop is in Berlin and quiet from 22 to 9."""
    async with open_world(db, time_zone="Europe/Berlin", quiet_hours=(time(22), time(9))) as world:
        yield world


async def chosen(world: World) -> tuple[object, object, object]:
    """What is kept of Anna's wishes."""
    (row,) = await world.sql("select time_zone, quiet_from, quiet_to from customers")
    return row["time_zone"], row["quiet_from"], row["quiet_to"]


async def subscribe(world: World, days: int = 30) -> int:
    """Give Anna access; returns the subscription."""
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers")
    async with world.db.transaction("test") as tx:
        granted = await grant(tx, customer_id=row["id"], plan_id="basic", days=days)
    return granted.subscription.id


async def remind(world: World) -> None:
    """One round of the reminders' worker, at any hour."""
    due = [subscription for _, subscription in await due_reminders(world.db, 10)]
    await tell_reminders(world.db, "RUB", due, "UTC", NEVER_QUIET)


async def test_the_menu_leads_to_it_and_shows_the_shops_hours(world: World) -> None:
    """Who has chosen nothing sees the shop's clock and hours, by button and by command."""
    (menu,) = await world.say(ANNA, "/start")
    by_button = await world.press(ANNA, menu.data("Notifications"))
    (by_command,) = await world.say(ANNA, "/notifications")

    assert by_button[1].text == by_command.text
    assert "22:00–09:00" in by_command.text
    assert "UTC+1)" in by_command.text or "UTC+2)" in by_command.text
    assert await chosen(world) == (None, None, None)


async def test_a_clock_is_chosen_by_what_it_shows(world: World) -> None:
    """The page with his own clock opens, others are turned to, and the choice is kept and shown."""
    first = await world.press(ANNA, callbacks.TimeZones())
    assert first[1].has("UTC+1")
    east = await world.press(ANNA, first[1].data("East"))
    assert east[1].has("UTC+9")

    kept = await world.press(ANNA, east[1].data("UTC+9:30"))

    assert await chosen(world) == ("Australia/Darwin", None, None)
    assert "(UTC+9:30)" in kept[1].text


async def test_every_clock_is_known_to_the_database(world: World) -> None:
    """Each time zone that a button stands for is one of PostgreSQL's and of Python's, as far ahead as it says."""
    await world.say(ANNA, "/start")

    for minutes, zone in ZONES.items():
        shown = await world.press(ANNA, callbacks.SetTimeZone(minutes + 720))
        (row,) = await world.sql(
            "select extract(epoch from (now() at time zone time_zone) - (now() at time zone 'UTC'))::int as ahead from customers"
        )
        assert row["ahead"] == minutes * 60, zone
        assert datetime.now(ZoneInfo(zone)).utcoffset() == timedelta(minutes=minutes), zone
        assert "Your clock" in shown[1].text


async def test_quiet_hours_are_chosen_and_ended(world: World) -> None:
    """From, until, none, and on again: each press keeps what it shows."""
    screen = (await world.press(ANNA, callbacks.Notifications()))[1]
    hours = await world.press(ANNA, screen.data("From 22:00"))
    assert not hours[1].has("09:00"), "equal ends would be none at all"
    later = await world.press(ANNA, hours[1].data("23:00"))
    assert await chosen(world) == (None, time(23), time(9))
    hours = await world.press(ANNA, later[1].data("Until 09:00"))
    await world.press(ANNA, hours[1].data("07:00"))
    assert await chosen(world) == (None, time(23), time(7))

    off = await world.press(ANNA, callbacks.SetQuiet(0, 0))
    assert "Quiet hours: <b>none</b>" in off[1].text
    assert await chosen(world) == (None, time(0), time(0))
    on = await world.press(ANNA, off[1].data("Turn quiet hours on"))

    assert "22:00–09:00" in on[1].text


@pytest.mark.parametrize(
    "wish",
    [
        callbacks.SetTimeZone(1),
        callbacks.SetTimeZone(2**63 - 1),
        callbacks.SetQuiet(1440, 0),
        callbacks.SetQuiet(0, 9999),
    ],
)
async def test_what_no_button_offers_is_refused(world: World, wish: callbacks.Action) -> None:
    """A forged button changes nothing and is answered kindly."""
    calls = await world.press(ANNA, wish)

    assert "out of date" in calls[1].text
    assert await chosen(world) == (None, None, None)


async def test_reminders_on_his_own_clock(world: World) -> None:
    """Before the end and after it: the step's words, what is left, the end by his clock, and a button that renews."""
    subscription = await subscribe(world)
    await world.press(ANNA, callbacks.SetTimeZone(720 + 180))
    (row,) = await world.sql("select expires_at from subscriptions")
    local = row["expires_at"].astimezone(ZoneInfo("Etc/GMT-3"))

    await world.advance(24 * DAY)
    await remind(world)
    ((_, (early,)),) = await world.deliver()
    await world.advance(8 * DAY)
    await expire_due(world.db, 10)
    await world.change("update outbox set status = 'done'")
    await remind(world)
    ((_, (late,)),) = await world.deliver()

    assert "coming to its end" in early.text
    assert "Time left: <b>6 days</b>" in early.text
    for call in (early, late):
        assert f"{local:%H:%M} (UTC+3)" in call.text
        assert callbacks.decode(call.data("Renew")) == callbacks.Periods("basic", subscription)
        assert call.has("Notifications")
    assert "is off" in late.text


async def test_a_reminder_that_a_renewal_overtook_is_dropped(world: World) -> None:
    """In hand of the relay while he pays: he is not told of an end that is over."""
    await subscribe(world)
    await world.advance(24 * DAY)
    await remind(world)
    await world.change("update outbox set lease_until = now() + interval '1 minute'")
    await subscribe(world)

    ((outcome, calls),) = await world.deliver()

    assert isinstance(outcome, Drop)
    assert calls == []
