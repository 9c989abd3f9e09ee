"""The customers' desk in the bot: found, looked at, served; asked why and whether; a blocked customer, and dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import callbacks, customer_callbacks
from vpnd.bot.callbacks import Action
from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Entry, entries
from vpnd.shop.ledger import balances_of
from vpnd.shop.operators import ROLES, Permission, Role, may, set_operator

pytestmark = pytest.mark.postgres

OWNER = BORIS
CLARA = 1003


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with an owner in its configuration."""
    async with open_world(db, admins=(OWNER,)) as world:
        yield world


async def give(world: World, telegram_id: int, role: Role) -> None:
    """Make somebody an operator."""

    async def body(tx: Transaction) -> None:
        await set_operator(tx, telegram_id, role, name="N", by="test")

    await world.db.run("test", body)


async def number_of(world: World, telegram_id: int) -> int:
    """What the shop calls a customer."""
    (row,) = await world.sql("select id from customers where telegram_id = $1", telegram_id)
    return int(row["id"])


async def anna(world: World) -> int:
    """Anna buys a month, hears of it, and is the number that is returned."""
    await world.press(ANNA, callbacks.Pay("yookassa", await world.offer("basic", 30)))
    await world.settle(world.yookassa.charge("yoo-1"))
    await world.change("update outbox set status = 'done'")
    world.woken.clear()
    return await number_of(world, ANNA)


async def lines(world: World) -> list[Entry]:
    """The audit log, the newest first."""
    return list(await entries(world.db, limit=50))


def text(calls: list[Call]) -> str:
    """What the answer says."""
    return calls[-1].text


async def test_an_operator_finds_somebody_and_gives_days(world: World) -> None:
    """By the desk: the name, the card, days, why, whether; done once, told to the customer, written down, nodes woken."""
    number = await anna(world)
    (menu,) = await world.say(OWNER, "/admin")
    await world.press(OWNER, menu.data("Find"))
    (nobody,) = await world.say(OWNER, "@nobody_at_all")
    (card,) = await world.say(OWNER, str(ANNA))
    days = await world.press(OWNER, card.data("Days"))
    (wrong,) = await world.say(OWNER, "many")
    (why,) = await world.say(OWNER, "+7")
    (question,) = await world.say(OWNER, "a node was down <b>")
    (before,) = await world.sql("select expires_at from subscriptions")
    first = await world.press(OWNER, question.data("Yes"))
    second = await world.press(OWNER, question.data("Yes"))

    assert "Nobody was found" in nobody.text
    assert f"customer:{number}" in card.text
    assert "How many days" in text(days)
    assert "no number of days" in wrong.text
    assert "why?" in why.text
    assert "Give days to" in question.text
    assert "a node was down &lt;b&gt;" in question.text
    assert "The days were given" in text(first)
    assert "done already" in text(second)
    (after,) = await world.sql("select expires_at from subscriptions")
    assert (after["expires_at"] - before["expires_at"]).days == 7
    (line,) = await lines(world)
    assert (line.actor, line.action, line.reason) == (
        f"admin:{OWNER}",
        "customers.days.given",
        "a node was down <b>",
    )
    assert world.woken
    ((_, calls),) = await world.deliver()
    assert "7 days as a gift" in text(calls)


async def test_several_hits_are_a_list(world: World) -> None:
    """Each with a button to its card; `/find` does the same as the button."""
    await world.say(ANNA, "/start")
    await world.say(CLARA, "/start")
    await world.change("update customers set first_name = 'Same', username = null")

    (found,) = await world.say(OWNER, "/find same")
    (asked,) = await world.say(OWNER, "/find")

    assert "Several may be meant" in found.text
    assert [type(callbacks.decode(button["callback_data"])) for button in found.buttons[:2]] == [
        customer_callbacks.CustomerCard
    ] * 2
    assert "Who is it?" in asked.text


def wish(kind: str, number: int, subscription: int) -> Action:
    """The button that begins a deed."""
    return {
        "days": customer_callbacks.DaysOf(number, subscription, 7, 0),
        "take": customer_callbacks.DaysOf(number, subscription, 7, 1),
        "plan": customer_callbacks.PlanOf("plus", subscription, number),
        "link": customer_callbacks.Reissue(number, subscription),
        "block": customer_callbacks.Block(number, 0),
        "money": customer_callbacks.GiveMoney(number),
        "message": customer_callbacks.WriteTo(number),
    }[kind]


NEEDS = {
    "days": Permission.GIVE_DAYS,
    "take": Permission.GIVE_DAYS,
    "plan": Permission.CHANGE_PLAN,
    "link": Permission.REISSUE,
    "block": Permission.BLOCK,
    "money": Permission.BALANCE,
    "message": Permission.MESSAGE,
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", list(NEEDS))
async def test_each_deed_by_each_role(world: World, kind: str, role: Role) -> None:
    """The whole way to a deed for who may; for who may not there is no button, and a forged one is refused."""
    number = await anna(world)
    (row,) = await world.sql("select id from subscriptions")
    await give(world, CLARA, role)
    (card,) = await world.say(CLARA, f"/find {ANNA}")
    labels = {"days": "Days", "take": "Days", "plan": "Plan", "link": "New link", "block": "Block", "money": "Balance",
              "message": "Write"}  # fmt: skip
    assert card.has(labels[kind]) == may(role, NEEDS[kind])

    begun = await world.press(CLARA, wish(kind, number, row["id"]))
    if not may(role, NEEDS[kind]):
        assert "does not allow this" in text(begun)
        assert await lines(world) == []
        return
    if kind in ("money", "message"):
        await world.say(CLARA, "-0" if kind == "message" else "50")
    (question,) = await world.say(CLARA, "because")
    done = await world.press(CLARA, question.data("Yes"))
    again = await world.press(CLARA, question.data("Yes"))

    assert text(done).startswith(("✅", "🚫"))
    assert "done already" in text(again)
    (line,) = await lines(world)
    assert (line.actor, line.role, line.reason) == (f"admin:{CLARA}", role, "because")
    assert line.action.startswith(NEEDS[kind].value)
    assert line.subject == f"customer:{number}"


async def test_a_replayed_update_does_nothing_twice(world: World) -> None:
    """Telegram's update that said yes is played again after a kill."""
    number = await anna(world)
    (row,) = await world.sql("select id from subscriptions")
    await world.press(OWNER, wish("days", number, row["id"]))
    (question,) = await world.say(OWNER, "because")
    for _ in range(2):
        await world.press(OWNER, question.data("Yes"), update_id=9999)

    assert len(await lines(world)) == 1
    assert len(await world.sql("select id from grants")) == 2


async def test_a_role_that_is_lost_between_question_and_yes(world: World) -> None:
    """The yes is asked about anew, in the transaction that does it; and another operator cannot say it."""
    number = await anna(world)
    (row,) = await world.sql("select id from subscriptions")
    await give(world, CLARA, "support")
    await world.press(CLARA, wish("days", number, row["id"]))
    (question,) = await world.say(CLARA, "because")
    other = await world.press(OWNER, question.data("Yes"))
    await give(world, CLARA, "reader")

    refused = await world.press(CLARA, question.data("Yes"))

    assert "another operator" in text(other)
    assert "does not allow this" in text(refused)
    assert await lines(world) == []


async def test_nobody_serves_himself(world: World) -> None:
    """An operator's own card: no money, no days unless he owns the shop, no refund of his own."""
    number = await anna(world)
    (row,) = await world.sql("select id from subscriptions")
    (charge,) = await world.sql("select id from settlements")
    await give(world, ANNA, "manager")
    days = await world.press(ANNA, wish("days", number, row["id"]))
    await world.press(ANNA, wish("money", number, 0))
    (money,) = await world.say(ANNA, "100")
    shown = await world.press(ANNA, customer_callbacks.OnePayment(charge["id"]))
    asked = await world.press(ANNA, shown[-1].data("To the balance"))
    refund = await world.press(ANNA, asked[-1].data("Yes"))
    block = await world.press(ANNA, wish("block", number, 0))

    assert "Nobody but an owner gives days" in text(days)
    assert "Nobody gives money to himself" in money.text
    assert "Nobody but an owner gives his own payment back" in text(refund)
    assert "cannot be blocked" in text(block)
    assert await lines(world) == []
    assert (await balances_of(world.db, number, "RUB")).total == 0


async def test_what_cannot_be_is_said_before_the_reason(world: World) -> None:
    """Taking more than there is: the operator hears it at once."""
    number = await anna(world)
    await world.press(OWNER, wish("money", number, 0))
    (refused,) = await world.say(OWNER, "-1")

    assert "The balance holds less" in refused.text


async def test_days_for_somebody_without_a_subscription(world: World) -> None:
    """The plan is asked for first; another plan and link are not offered."""
    await world.say(ANNA, "/start")
    (card,) = await world.say(OWNER, f"/find {ANNA}")
    plans = await world.press(OWNER, card.data("Days"))
    await world.press(OWNER, plans[-1].data("Basic"))
    await world.say(OWNER, "3")
    (question,) = await world.say(OWNER, "a friend")
    await world.press(OWNER, question.data("Yes"))

    assert not card.has("Plan")
    (row,) = await world.sql("select plan_id, status from subscriptions")
    assert (row["plan_id"], row["status"]) == ("basic", "active")


async def test_one_of_several_subscriptions_is_chosen(world: World) -> None:
    """For days, the plan and the link alike."""
    number = await anna(world)
    await world.press(ANNA, callbacks.MorePay("yookassa", await world.offer("plus", 30)))
    await world.settle(world.yookassa.charge("yoo-2"))

    for begin in (
        customer_callbacks.GiveDays(number, 0),
        customer_callbacks.OtherPlan(number, 0),
        customer_callbacks.Reissue(number, 0),
    ):
        chosen = await world.press(OWNER, begin)
        assert "Which subscription" in text(chosen)
        after = await world.press(OWNER, chosen[-1].data("Basic"))
        assert "Which subscription" not in text(after)


async def test_somebody_blocked_hears_one_line(world: World) -> None:
    """Whatever he says or presses; what he pays all the same is noted and told; unblocked, he is back with his time."""
    number = await anna(world)
    await world.press(ANNA, callbacks.Pay("yookassa", await world.offer("basic", 30)))
    await world.press(OWNER, wish("block", number, 0))
    (question,) = await world.say(OWNER, "abuse")
    await world.press(OWNER, question.data("Yes"))
    said = [
        *(await world.say(ANNA, "/start")),
        *(await world.say(ANNA, "hello")),
        *(await world.press(ANNA, callbacks.Plans()))[1:],
    ]
    await world.settle(world.yookassa.charge("yoo-2"))
    ((_, receipt),) = await world.deliver()
    card = await world.press(OWNER, customer_callbacks.CustomerCard(number))
    await world.press(OWNER, customer_callbacks.Block(number, 1))
    (lift,) = await world.say(OWNER, "sorry")
    await world.press(OWNER, lift.data("Yes"))
    (home,) = await world.say(ANNA, "/start")

    assert "1 subscription is switched off" in question.text
    assert {call.text.partition(".")[0] for call in said} == {"Your access is closed"}
    assert not any(call.buttons for call in said)
    assert "nothing is lost" in text(receipt)
    assert "Blocked" in text(card)
    (row,) = await world.sql(
        "select status, version, (select count(*) from access_log) as logged from subscriptions"
    )
    assert row["status"] == "active"
    assert row["logged"] == row["version"]
    assert home.buttons
    told = await world.deliver()
    assert any("Your access is open again" in text(calls) for _, calls in told)


async def test_what_happened_is_read_in_pages(world: World) -> None:
    """The newest first, older ones by a button, until nothing is beyond."""
    number = await anna(world)
    (row,) = await world.sql("select id from subscriptions")
    for index in range(9):
        await world.press(OWNER, wish("days", number, row["id"]))
        (question,) = await world.say(OWNER, f"reason {index}")
        await world.press(OWNER, question.data("Yes"))

    pages = [await world.press(OWNER, customer_callbacks.Timeline(number, 0, 0, 0))]
    while pages[-1][-1].has("Older"):
        pages.append(await world.press(OWNER, pages[-1][-1].data("Older")))
    forged = await world.press(OWNER, customer_callbacks.Timeline(number, 2**63 - 1, 2**63 - 1, 1))

    whole = "\n".join(text(page) for page in pages)
    assert len(pages) > 2
    assert "reason 8" in text(pages[0])
    assert all(whole.count(f"reason {index}") == 1 for index in range(9))
    assert whole.count("wrote for the first time") == 1
    assert "out of date" in text(forged) or "old" in text(forged)


async def test_a_payment_goes_back_from_the_card(world: World) -> None:
    """By the screens of /refund."""
    await anna(world)
    (card,) = await world.say(OWNER, f"/find {ANNA}")
    listed = await world.press(OWNER, card.data("Refund"))
    shown = await world.press(OWNER, listed[-1].data("199"))
    asked = await world.press(OWNER, shown[-1].data("To the balance"))
    await world.press(OWNER, asked[-1].data("Yes"))

    (row,) = await world.sql("select status, amount from refunds")
    assert (row["status"], row["amount"]) == ("done", 19900)
    assert [line.action for line in await lines(world)] == ["customers.refund"]


async def test_a_message_arrives_as_it_was_written(world: World) -> None:
    """In the shop's name, letter for letter, also what looks like markup; the log has its beginning only."""
    number = await anna(world)
    await world.press(OWNER, wish("message", number, 0))
    await world.say(OWNER, "We <b>mended</b> it & are sorry for the trouble")
    (question,) = await world.say(OWNER, "he asked")
    await world.press(OWNER, question.data("Yes"))
    ((_, calls),) = await world.deliver()

    assert "We &lt;b&gt;mended&lt;/b&gt; it &amp; are sorry" in text(calls)
    (line,) = await lines(world)
    assert line.after == {"letters": 47, "begins": "We <b>mended</b> it & ar…"}


async def test_dead_letters_are_seen_to(world: World) -> None:
    """Listed without secrets, tried again, dropped after a question; each once, and written down."""
    await world.change(
        "insert into outbox (kind, key, payload, status, failures, last_error, finished_at)"
        " select 'message', 'letter:' || k, '{}', 'dead', 20, 'no https://x/sub/abcdefghij', clock_timestamp()"
        " from unnest(array['a', 'b']) k"
    )
    (menu,) = await world.say(OWNER, "/admin")
    listed = await world.press(OWNER, menu.data("Dead letters"))
    one = await world.press(OWNER, listed[-1].data("letter:b"))
    again = await world.press(OWNER, one[-1].data("Try again"))
    seen = await world.press(OWNER, one[-1].data("Try again"))
    other = await world.press(OWNER, listed[-1].data("letter:a"))
    asked = await world.press(OWNER, other[-1].data("Drop"))
    dropped = await world.press(OWNER, asked[-1].data("Yes"))

    assert "abcdefghij" not in text(listed)
    assert "tried again" in text(again)
    assert "seen to it" in text(seen)
    assert "dropped" in text(dropped)
    rows = await world.sql("select status from outbox order by key")
    assert [row["status"] for row in rows] == ["dropped", "ready"]
    assert [line.action for line in await lines(world)] == ["outbox.retry.dropped", "outbox.retry.again"]
