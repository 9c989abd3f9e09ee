"""Deleting one's data by buttons: told before, asked twice, done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import callbacks, own_callbacks
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database
from vpnd.shop.subscriptions import grant

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


async def subscribe(world: World) -> None:
    """Give Anna access and a balance."""
    await world.fill(ANNA, 25000)
    (row,) = await world.sql("select id from customers where telegram_id = $1", ANNA)
    async with world.db.transaction("test") as tx:
        await grant(tx, customer_id=row["id"], plan_id="basic", days=30)


def last(calls: list[Call]) -> Call:
    """The answer."""
    return calls[-1]


async def statuses(world: World) -> list[str]:
    """Of every subscription."""
    return [row["status"] for row in await world.sql("select status from subscriptions order by id")]


async def test_from_help_to_being_forgotten(world: World) -> None:
    """Help, my data, the question with what there is to lose, yes: the nodes are told, and he is a stranger."""
    await subscribe(world)
    (help_screen,) = await world.say(ANNA, "/help")
    data = last(await world.press(ANNA, help_screen.data("My data")))
    asked = last(await world.press(ANNA, data.data("Delete my data")))
    for words in (
        "<b>1</b> subscription is still on",
        "<b>250 ₽</b> on your balance stay yours",
        "What is kept: your Telegram id",
    ):
        assert words in asked.text, words
    assert "Stars" not in asked.text
    assert await statuses(world) == ["active"]
    world.woken.clear()

    done = last(await world.press(ANNA, asked.data("Yes, delete")))

    assert "It is deleted" in done.text
    assert await statuses(world) == ["expired"]
    assert world.woken
    (row,) = await world.sql("select first_name, username, reachable from customers")
    assert dict(row) == {"first_name": "", "username": None, "reachable": False}
    back = last(await world.press(ANNA, done.data("Begin anew")))
    assert "Anna" in back.text
    assert "On your balance: <b>250 ₽</b>" in back.text


async def test_what_telegram_charges_is_asked_to_end(world: World) -> None:
    """A subscription in Stars is told about before, and its end is asked of Telegram once."""
    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    calls = await world.press(ANNA, methods[1].data("every month"))
    link = next(call for call in calls if call.method == "createInvoiceLink")
    recurring = {
        "is_recurring": True,
        "is_first_recurring": True,
        "subscription_expiration_date": 2_000_000_000,
    }
    await world.paid(ANNA, str(link.parameters["payload"]), 150, "first", **recurring)
    asked = last(await world.press(ANNA, own_callbacks.ForgetMe()))
    assert "asked to charge no more Stars" in asked.text

    await world.press(ANNA, asked.data("Yes, delete"), update_id=9001)
    await world.press(ANNA, asked.data("Yes, delete"), update_id=9001)
    ((_, (call,)),) = await world.deliver("star_cancel")

    assert (call.method, call.parameters["telegram_payment_charge_id"]) == (
        "editUserStarSubscription",
        "first",
    )


async def test_an_old_yes_is_no_yes(world: World) -> None:
    """A button that has lain there for a while, or was forged, asks again and deletes nothing."""
    await subscribe(world)
    asked = last(await world.press(ANNA, own_callbacks.ForgetMe()))
    await world.advance(timedelta(minutes=16))

    again = last(await world.press(ANNA, asked.data("Yes, delete")))
    for forged in (0, 2**63 - 1):
        await world.press(ANNA, own_callbacks.ForgetMeNow(forged))

    assert "I asked that a while ago" in again.text
    assert decode(again.data("Yes, delete")) != decode(asked.data("Yes, delete"))
    assert await statuses(world) == ["active"]


async def test_a_yes_is_about_oneself(world: World) -> None:
    """Boris presses Anna's button: it is his own data that goes."""
    await subscribe(world)
    asked = last(await world.press(ANNA, own_callbacks.ForgetMe()))

    await world.press(BORIS, asked.data("Yes, delete"))

    assert await statuses(world) == ["active"]
    rows = await world.sql("select telegram_id, reachable from customers order by telegram_id")
    assert {row["telegram_id"]: row["reachable"] for row in rows} == {ANNA: True, BORIS: False}
