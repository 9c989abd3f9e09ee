"""Money that goes back: by an admin's command, by Telegram's word, and what the customer hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import admin_callbacks, callbacks
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Delivered
from vpnd.shop.ledger import balances_of

pytestmark = pytest.mark.postgres

ADMIN = BORIS


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans, one node and one admin."""
    async with open_world(db, admins=(ADMIN,)) as world:
        yield world


async def bought(world: World, method: str = "yookassa", parts: tuple[int, ...] = (19900,)) -> str:
    """Anna buys a month; returns the purchase's name. Her messages are read away."""
    calls = await world.press(ANNA, callbacks.Pay(method, await world.offer("basic", 30)))
    (row,) = await world.sql("select public_id from purchases order by id desc limit 1")
    if method == "stars":
        await world.paid(ANNA, row["public_id"], 150)
    elif method == "balance":
        await world.press(ANNA, calls[1].data("from the balance"))
    else:
        for number, amount in enumerate(parts):
            if number:
                await world.press(ANNA, callbacks.Complete(row["public_id"]))
            await world.settle(world.yookassa.charge(f"yoo-{len(world.yookassa.orders)}", amount))
    await world.change("update outbox set status = 'done'")
    world.woken.clear()
    return str(row["public_id"])


async def refunds(world: World) -> list[tuple[int, str, str]]:
    """Amount, state and requester of every refund, the oldest first."""
    rows = await world.sql("select amount, status, requested_by from refunds order by id")
    return [(row["amount"], row["status"], row["requested_by"]) for row in rows]


async def balance_of(world: World, user: int) -> int:
    """All that somebody can spend."""
    (row,) = await world.sql("select id from customers where telegram_id = $1", user)
    return (await balances_of(world.db, row["id"], "RUB")).total


def text_of(calls: list[Call]) -> str:
    """What the answer says."""
    return calls[-1].text


async def test_a_refund_to_the_payer(world: World) -> None:
    """What was paid, where it goes, what becomes of the access, yes: once, and the customer is told."""
    purchase = await bought(world)
    (found,) = await world.say(ADMIN, f"/refund {purchase}")
    assert "<code>yookassa:yoo-1</code>" in found.text
    assert "Paid: <b>199 ₽</b>, went back: 0 ₽, left: <b>199 ₽</b>" in found.text

    asked = await world.press(ADMIN, found.data("to the payer"))
    assert "Give back 199 ₽?" in text_of(asked)
    assert "switched off at once" in text_of(asked)
    assert await refunds(world) == []
    (row,) = await world.sql("select status from subscriptions")
    assert row["status"] == "active"
    yes = asked[1].data("Yes")
    first = await world.press(ADMIN, yes)
    second = await world.press(ADMIN, yes)

    assert "under way" in text_of(first)
    assert "done already" in text_of(second)
    assert await refunds(world) == [(19900, "requested", f"admin:{ADMIN}")]
    assert world.woken
    (row,) = await world.sql("select status from subscriptions")
    assert row["status"] == "expired"
    (told,) = await world.told()
    assert "Refund: 199 ₽" in told
    assert "the way you paid it" in told
    assert "is off with that" in told
    again = await world.say(ADMIN, f"/refund {purchase}")
    assert "Nothing of it is left" in text_of(again)


async def test_a_refund_to_the_balance(world: World) -> None:
    """The money lies on the balance at once, and the customer is told."""
    purchase = await bought(world)
    (found,) = await world.say(ADMIN, f"/refund {purchase}")

    asked = await world.press(ADMIN, found.data("To the balance"))
    done = await world.press(ADMIN, asked[1].data("Yes"))

    assert "to the customer’s balance" in text_of(asked)
    assert "on the balance" in text_of(done)
    assert await balance_of(world, ANNA) == 19900
    (told,) = await world.told()
    assert "The money is on your balance" in told


async def test_a_part_is_given_back_once_by_two_presses(world: World) -> None:
    """A part shortens the access by its share; pressed twice, it goes back once."""
    purchase = await bought(world)
    (found,) = await world.say(ADMIN, f"/refund {purchase} 99,50")
    assert "is to go back: <b>99.50 ₽</b>" in found.text

    asked = await world.press(ADMIN, found.data("to the payer"))
    yes = asked[1].data("Yes")
    await world.press(ADMIN, yes)
    await world.press(ADMIN, yes)

    assert "Access is shortened" in text_of(asked)
    assert await refunds(world) == [(9950, "requested", f"admin:{ADMIN}")]
    (told,) = await world.told()
    assert "now runs until" in told
    # Another answer is another refund.
    (found,) = await world.say(ADMIN, f"/refund {purchase} 99.50")
    asked = await world.press(ADMIN, found.data("to the payer"))
    await world.press(ADMIN, asked[1].data("Yes"))
    assert len(await refunds(world)) == 2


async def test_all_charges_of_a_purchase_go_back_together(world: World) -> None:
    """A purchase that was paid in two parts goes back in two; a part of one charge is named by the charge."""
    purchase = await bought(world, parts=(15000, 4900))
    (which,) = await world.say(ADMIN, f"/refund {purchase} 10")
    assert "of one charge only" in which.text
    (one,) = await world.say(ADMIN, "/refund yookassa:yoo-2 10")
    assert isinstance(decode(one.data("to the payer")), admin_callbacks.RefundAsk)
    (found,) = await world.say(ADMIN, f"/refund {purchase}")

    asked = await world.press(ADMIN, found.data("to the payer"))
    for _ in range(2):
        done = await world.press(ADMIN, asked[1].data("Yes"))

    assert "Give back 199 ₽?" in text_of(asked)
    assert "done already" in text_of(done)
    assert await refunds(world) == [(amount, "requested", f"admin:{ADMIN}") for amount in (15000, 4900)]
    stale = await world.press(ADMIN, found.data("to the payer"))
    assert "went back already" in text_of(stale)


@pytest.mark.parametrize("wish", ["/refund", "/refund x", "/refund {} all", "/refund {} 0"])
async def test_the_command_explains_itself(world: World, wish: str) -> None:
    """Whatever cannot be read is answered with what can be written."""
    purchase = await bought(world)

    (answer,) = await world.say(ADMIN, wish.format(purchase))

    assert any(word in answer.text for word in ("/refund purchase", "No such purchase", "This is no amount"))


@pytest.mark.parametrize(
    ("method", "amount", "button", "why"),
    [
        ("balance", "", "to the payer", "only to the balance"),
        ("stars", "50", "to the payer", "whole or not at all"),
        ("yookassa", "200", "to the payer", "Less than that is left"),
    ],
)
async def test_what_cannot_be_given_back_says_why(
    world: World, method: str, amount: str, button: str, why: str
) -> None:
    """The reason is found before the admin says yes, and nothing is changed."""
    await world.fill(ANNA, 40000)
    purchase = await bought(world, method)
    (found,) = await world.say(ADMIN, f"/refund {purchase} {amount}".strip())

    asked = await world.press(ADMIN, found.data(button))

    assert why in text_of(asked)
    assert await refunds(world) == []


async def test_money_that_was_spent_or_lies_there_already(world: World) -> None:
    """A top-up cannot go to the balance it lies on, nor back once it was spent."""
    await world.fill(ANNA, 20000)
    (row,) = await world.sql("select public_id from purchases")
    (found,) = await world.say(ADMIN, f"/refund {row['public_id']}")
    assert "on the customer’s balance already" in text_of(
        await world.press(ADMIN, found.data("To the balance"))
    )

    asked = await world.press(ADMIN, found.data("to the payer"))
    await bought(world, "balance")
    spent = await world.press(ADMIN, asked[1].data("Yes"))

    assert "Access stays as it is" in text_of(asked)
    assert "has spent it" in text_of(spent)
    assert await refunds(world) == []


async def test_for_everybody_else_there_is_no_such_command(world: World) -> None:
    """A customer who writes the command is answered as to any words, and forged buttons do nothing."""
    purchase = await bought(world)
    (row,) = await world.sql("select id from settlements")

    (answer,) = await world.say(ANNA, f"/refund {purchase}")
    wishes = [
        admin_callbacks.RefundAsk(row["id"], 0, 0), admin_callbacks.RefundNow(row["id"], 0, 1, 1),
        admin_callbacks.RefundAllAsk(purchase, 1), admin_callbacks.RefundAllNow(purchase, 1, 1),
    ]  # fmt: skip
    for wish in wishes:
        assert "can’t show this" in text_of(await world.press(ANNA, wish)), wish

    assert "buttons below" in answer.text
    assert await refunds(world) == []


async def test_stars_go_back_and_telegram_says_so(world: World) -> None:
    """The provider is asked by a job of its own; Telegram's own word for it finishes nothing twice."""
    purchase = await bought(world, "stars")
    (found,) = await world.say(ADMIN, f"/refund {purchase}")
    asked = await world.press(ADMIN, found.data("to the payer"))
    await world.press(ADMIN, asked[1].data("Yes"))
    assert "Give back 150 ⭐?" in text_of(asked)

    assert await world.refunded(ANNA, purchase, 150) == []
    assert await refunds(world) == [(150, "done", f"admin:{ADMIN}")]
    ((outcome, _),) = await world.deliver("refund_stars")

    assert isinstance(outcome, Delivered)
    assert await refunds(world) == [(150, "done", f"admin:{ADMIN}")]


async def test_stars_that_telegram_gave_back_by_itself_are_booked(world: World) -> None:
    """A refund that was made elsewhere takes back what it was for, once, and the customer is told."""
    purchase = await bought(world, "stars")

    for _ in range(2):
        await world.refunded(ANNA, purchase, 150)
    await world.refunded(ANNA, "pnothingofours", 150, "unknown")

    assert await refunds(world) == [(150, "done", "provider")]
    assert world.woken
    (row,) = await world.sql("select status from subscriptions")
    assert row["status"] == "expired"
    (told,) = await world.told()
    assert "has returned it to you" in told


async def test_a_refund_later_in_the_term_leaves_what_was_used(world: World) -> None:
    """Half of the term was used: what is left of it is taken, and the question says so before."""
    purchase = await bought(world)
    await world.advance(timedelta(days=15))
    (found,) = await world.say(ADMIN, f"/refund {purchase} 49.75")

    asked = await world.press(ADMIN, found.data("to the payer"))

    assert "Access is shortened" in text_of(asked)
