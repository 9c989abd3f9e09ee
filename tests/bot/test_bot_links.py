"""Links into the bot: a plan, and the picture of one's own invitation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bot_world import ANNA, World, open_world

from vpnd.bot import callbacks, own_callbacks
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


async def test_a_link_opens_a_plan(world: World) -> None:
    """A newcomer sent to a plan sees its periods at once, and has the way to the others and home."""
    (call,) = await world.say(ANNA, "/start plan_plus")

    assert call.text.startswith("<b>Plus &lt;b&gt;</b>")
    assert decode(call.data("1 month")) == callbacks.Methods(await world.offer("plus", 30))
    (plans,) = [await world.press(ANNA, call.data("Back"))]
    assert decode(plans[-1].data("Menu")) == callbacks.Home()
    assert len(await world.sql("select id from customers")) == 1


@pytest.mark.parametrize("payload", ["plan_", "plan_gold", "plan_PLUS", "plan_'; drop", "plan_off"])
async def test_a_link_to_no_plan_opens_the_plans(world: World, payload: str) -> None:
    """Unknown, off sale or broken: what is on sale is shown."""
    await world.change("insert into plans (id, titles, on_sale) values ('off', '{}', false)")

    (call,) = await world.say(ANNA, f"/start {payload}")

    assert "Choose a plan" in call.text
    assert call.has("Basic")


async def test_the_invitation_is_a_picture_too(world: World) -> None:
    """Beside the link: a message of its own with the link below the picture; drawn or not, the link is there."""
    await world.say(ANNA, "/start")
    (anna,) = await world.sql("select referral_code from customers")
    link = f"https://t.me/shop_bot?start=ref_{anna['referral_code']}"
    shown = await world.press(ANNA, callbacks.Invite())
    assert decode(shown[-1].data("QR")) == own_callbacks.InviteQr()

    drawn = await world.press(ANNA, own_callbacks.InviteQr())
    world.qr.broken = True
    words = await world.press(ANNA, own_callbacks.InviteQr())

    assert (drawn[-1].method, words[-1].method) == ("sendPhoto", "sendMessage")
    for call in (drawn[-1], words[-1]):
        assert f"<code>{link}</code>" in call.text
        assert decode(call.data("Menu")) == callbacks.Home()


async def test_the_terms_are_where_one_buys(db: Database) -> None:
    """A shop with terms shows them on the plans, beside the ways to pay and in help; one without says nothing of any."""
    url = "https://shop.example.org/terms"
    async with open_world(db, terms_url=url) as world:
        wishes = (callbacks.Plans(), callbacks.Methods(await world.offer("basic", 30)), callbacks.Help())
        answers = [(await world.press(ANNA, wish))[-1] for wish in wishes]

        assert [answer.url("Terms") for answer in answers] == [url] * 3
        assert "By paying you agree" in answers[1].text


async def test_without_terms_there_is_no_word_of_them(world: World) -> None:
    """Nothing is promised that does not exist."""
    methods = (await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30))))[-1]

    assert not methods.has("Terms")
    assert "agree" not in methods.text
