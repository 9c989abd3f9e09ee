"""A name of one's own for a subscription, and a new link in place of one that others know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

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


async def subscribe(world: World, plan: str = "basic") -> int:
    """Give Anna access; returns the subscription."""
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers where telegram_id = $1", ANNA)
    async with world.db.transaction("test") as tx:
        granted = await grant(tx, customer_id=row["id"], plan_id=plan, days=30)
    await world.change("update subscriptions set activated_at = vpnd_now()")
    return granted.subscription.id


async def held(world: World) -> Any:
    """The oldest subscription as it is."""
    return (await world.sql("select * from subscriptions order by id"))[0]


def text_of(calls: list[Call]) -> str:
    """What the answer says."""
    return calls[-1].text


# ------------------------------------------------------------------------------------------ its name


async def test_a_subscription_gets_a_name_of_its_owners(world: World) -> None:
    """Asked for in words, shown wherever the subscription is, escaped, and taken away again by a button."""
    own = await subscribe(world)
    await subscribe(world, "plus")
    asked = await world.press(ANNA, callbacks.OneSubscription(own))
    asked = await world.press(ANNA, asked[-1].data("Name"))
    assert "at most 32 characters" in text_of(asked)

    named = await world.say(ANNA, "  Mum’s <b>\n phone\u202e ")

    assert (await held(world))["title"] == "Mum’s <b> phone"
    assert "🔑 <b>Mum’s &lt;b&gt; phone · Basic</b>" in text_of(named)
    listed = await world.press(ANNA, callbacks.Subscriptions())
    assert decode(listed[-1].data("✅ Mum’s <b> phone")) == callbacks.OneSubscription(own)
    again = await world.press(ANNA, named[-1].data("Name"))
    assert "called <b>Mum’s &lt;b&gt; phone</b> now" in text_of(again)
    gone = await world.press(ANNA, again[-1].data("Take the name away"))
    assert (await held(world))["title"] is None
    assert "🔑 <b>Basic</b>" in text_of(gone)


async def test_what_is_no_name_is_none(world: World) -> None:
    """Too long is asked for again; what nobody can see takes the name away; another command is no name."""
    own = await subscribe(world)
    await world.press(ANNA, own_callbacks.Rename(own))

    assert "too long" in text_of(await world.say(ANNA, "x" * 33))
    assert (await held(world))["title"] is None
    await world.say(ANNA, "x" * 32)
    assert (await held(world))["title"] == "x" * 32
    await world.say(ANNA, "only words")
    assert (await held(world))["title"] == "x" * 32, "it was not asked for any more"
    await world.press(ANNA, own_callbacks.Rename(own))
    await world.say(ANNA, "\u200b\u2060")
    assert (await held(world))["title"] is None


async def test_nobody_names_what_is_not_his(world: World) -> None:
    """A forged button names, unnames and rotates nothing of another customer's."""
    own = await subscribe(world)
    before = await held(world)

    for wish in (
        own_callbacks.Rename(own),
        own_callbacks.Unname(own),
        own_callbacks.Rotate(own),
        own_callbacks.RotateNow(own),
    ):
        assert "can’t show this" in text_of(await world.press(BORIS, wish)), wish
    await world.say(BORIS, "mine")

    assert await held(world) == before


# ------------------------------------------------------------------------------------------ its link


async def test_a_new_link_is_asked_about_and_made(world: World) -> None:
    """The question says what ends; yes gives another link under the same name, tells the nodes and shows it."""
    own = await subscribe(world)
    before = await held(world)
    shown = await world.press(ANNA, callbacks.OneSubscription(own))
    asked = await world.press(ANNA, shown[-1].data("New link"))
    assert "cut off" in text_of(asked)
    assert await held(world) == before
    world.woken.clear()

    done = await world.press(ANNA, asked[-1].data("Yes, make a new link"))

    after = await held(world)
    assert (after["name"], after["expires_at"], after["status"]) == (
        before["name"],
        before["expires_at"],
        "active",
    )
    assert after["version"] == before["version"] + 1
    assert after["activated_at"] is None
    assert len({before["credential"], after["credential"], before["link_token"], after["link_token"]}) == 4
    assert after["link_token"] in text_of(done)
    assert before["link_token"] not in text_of(done)
    rows = await world.sql("select 1 from access_log where subscription_id = $1", own)
    assert (len(rows), bool(world.woken)) == (2, True)


async def test_a_replayed_rotation_does_nothing_twice(world: World) -> None:
    """The update is the key: played again it shows the link that it made."""
    own = await subscribe(world)
    first = await world.press(ANNA, own_callbacks.RotateNow(own), update_id=9001)
    after = await held(world)
    await world.advance(timedelta(hours=1))

    again = await world.press(ANNA, own_callbacks.RotateNow(own), update_id=9001)

    assert await held(world) == after
    assert after["link_token"] in text_of(first)
    assert after["link_token"] in text_of(again)


async def test_a_link_is_made_anew_once_in_ten_minutes(world: World) -> None:
    """A second wish is told how long to wait, in words that count; after that it is done."""
    own = await subscribe(world)
    await world.press(ANNA, own_callbacks.RotateNow(own))
    after = await held(world)
    await world.advance(timedelta(minutes=8))

    told = await world.press(ANNA, own_callbacks.RotateNow(own))
    assert "in 2 minutes" in text_of(told)
    assert await held(world) == after
    await world.advance(timedelta(minutes=2))
    await world.press(ANNA, own_callbacks.RotateNow(own))

    assert (await held(world))["version"] == after["version"] + 1


async def test_what_is_off_gets_no_new_link(world: World) -> None:
    """There is nothing to cut off; the screen says that it is off."""
    own = await subscribe(world)
    await world.change("update subscriptions set status = 'expired', expires_at = vpnd_now()")
    before = await held(world)

    for wish in (own_callbacks.Rotate(own), own_callbacks.RotateNow(own)):
        assert "Off since" in text_of(await world.press(ANNA, wish))

    assert await held(world) == before
