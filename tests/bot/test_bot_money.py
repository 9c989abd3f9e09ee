"""Money through the bot: the balance, top-ups, promo codes, payments in part, providers with a page of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bot_world import ANNA, BORIS, TERMS, TOPUPS, Call, World, open_world

from vpnd.bot import callbacks
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database
from vpnd.shop.discounts import set_discount
from vpnd.shop.ledger import balances_of
from vpnd.shop.promos import create_code, enter_code, retire_code

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db, admins=(BORIS,)) as world:
        yield world


async def balance_of(world: World, user: int) -> int:
    """All that somebody can spend."""
    (row,) = await world.sql("select id from customers where telegram_id = $1", user)
    return (await balances_of(world.db, row["id"], "RUB")).total


async def purchases(world: World) -> list[tuple[str, str]]:
    """Method and state of every purchase of access, the oldest first."""
    rows = await world.sql("select method, status from purchases where kind = 'access' order by id")
    return [(row["method"], row["status"]) for row in rows]


async def give_discount(world: World, user: int, percent: int) -> None:
    """A personal discount."""
    (row,) = await world.sql("select id from customers where telegram_id = $1", user)
    async with world.db.transaction("test") as tx:
        await set_discount(tx, row["id"], percent)


def words_of(calls: list[Call]) -> str:
    """What the answer of a press or a message says."""
    return calls[-1].text


# ------------------------------------------------------------------------------------------ paying from the balance


async def test_paying_from_the_balance_is_asked_about_and_done_once(world: World) -> None:
    """The price and what is left are shown first; two yeses take the price once."""
    await world.fill(ANNA, 25000)
    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    assert "you have 250 ₽" in str(methods[1].buttons)

    asked = await world.press(ANNA, methods[1].data("Balance"))
    assert "Price: <b>199 ₽</b>" in words_of(asked)
    assert "<b>51 ₽</b> will be left" in words_of(asked)
    assert await balance_of(world, ANNA) == 25000
    yes = asked[1].data("from the balance")
    first = await world.press(ANNA, yes)
    second = await world.press(ANNA, yes)

    assert "It’s paid" in words_of(first)
    assert "It’s paid" in words_of(second)
    assert await balance_of(world, ANNA) == 5100
    assert await purchases(world) == [("balance", "paid")]
    assert len(await world.sql("select id from grants")) == 1
    assert ["Payment received" in text for text in await world.told()] == [True]


async def test_a_replayed_yes_takes_nothing_more(world: World) -> None:
    """An update that is played again after a kill finds the purchase paid."""
    await world.fill(ANNA, 50000)
    wish = callbacks.Pay("balance", await world.offer("basic", 30))
    asked = await world.press(ANNA, wish, update_id=9001)
    again = await world.press(ANNA, wish, update_id=9001)
    assert asked[1].buttons == again[1].buttons

    yes = asked[1].data("from the balance")
    await world.press(ANNA, yes, update_id=9002)
    await world.press(ANNA, yes, update_id=9002)
    late = await world.press(ANNA, wish, update_id=9001)

    assert "It’s paid" in words_of(late)
    assert await balance_of(world, ANNA) == 30100


async def test_a_yes_that_comes_too_late_is_harmless(world: World) -> None:
    """After its hour a purchase is not sold from the balance at its old price, with or without the sweep."""
    await world.fill(ANNA, 25000)
    asked = await world.press(ANNA, callbacks.Pay("balance", await world.offer("basic", 30)))
    await world.change("insert into sandbox_clock (offset_seconds) values (7200)")

    for change in ("select 1", "update purchases set status = 'expired' where kind = 'access'"):
        await world.change(change)
        late = await world.press(ANNA, asked[1].data("from the balance"))
        assert "invoice is closed" in words_of(late)

    assert await balance_of(world, ANNA) == 25000
    assert await world.sql("select id from subscriptions") == []


async def test_a_yes_of_somebody_else_is_none(world: World) -> None:
    """Nobody pays, completes or sees what is not his."""
    await world.fill(ANNA, 25000)
    asked = await world.press(ANNA, callbacks.Pay("balance", await world.offer("basic", 30)))
    (row,) = await world.sql("select public_id from purchases where kind = 'access'")

    for wish in (asked[1].data("from the balance"), callbacks.Complete(row["public_id"])):
        assert "can’t show this" in words_of(await world.press(BORIS, wish))

    assert await purchases(world) == [("balance", "pending")]


async def test_too_little_says_what_is_missing_and_how_to_get_it(world: World) -> None:
    """Exactly what is missing can be filled up; then the same purchase is finished from the notice."""
    await world.fill(ANNA, 10000)
    offer = await world.offer("basic", 30)

    short = await world.press(ANNA, callbacks.Pay("balance", offer))
    assert "missing: <b>99 ₽</b>" in words_of(short)
    assert decode(short[1].data("Top up by 99 ₽")) == callbacks.TopUpAmount(9900)
    assert short[1].has("Another way")
    await world.fill(ANNA, 9900)
    await world.change("update outbox set status = 'ready' where id = (select max(id) from outbox)")
    ((_, (notice,)),) = await world.deliver()

    assert "<b>99 ₽</b> has arrived" in notice.text
    asked = await world.press(ANNA, notice.data("Finish the purchase: 199 ₽"))
    assert "It’s paid" in words_of(await world.press(ANNA, asked[1].data("from the balance")))
    assert await balance_of(world, ANNA) == 0
    assert await purchases(world) == [("balance", "paid")]


async def test_what_is_missing_is_filled_by_no_less_than_can_be_filled(world: World) -> None:
    """Where one rouble is missing, the least top-up is offered."""
    await world.fill(ANNA, 19800)

    short = await world.press(ANNA, callbacks.Pay("balance", await world.offer("basic", 30)))

    assert decode(short[1].data("Top up by")) == callbacks.TopUpAmount(TOPUPS.least)


async def test_money_spent_between_question_and_yes(world: World) -> None:
    """Two purchases are asked about, the money is enough for one: the other says what is missing."""
    await world.fill(ANNA, 35000)
    first = await world.press(ANNA, callbacks.Pay("balance", await world.offer("basic", 30)))
    second = await world.press(ANNA, callbacks.Pay("balance", await world.offer("plus", 30)))

    await world.press(ANNA, second[1].data("from the balance"))
    short = await world.press(ANNA, first[1].data("from the balance"))

    assert "missing: <b>198 ₽</b>" in words_of(short)
    assert await balance_of(world, ANNA) == 100


# ------------------------------------------------------------------------------------------ the balance


async def test_the_balance_names_what_was_given(world: World) -> None:
    """Own money and bonus are one balance; what was a gift is named."""
    await create_code(world.db, code="GIFT", kind="money", value=5000, currency="RUB")
    await world.fill(ANNA, 25000)
    await world.say(ANNA, "/promo gift")

    (shown,) = await world.say(ANNA, "/balance")

    assert "<b>300 ₽</b>" in shown.text
    assert "gift from us: <b>50 ₽</b>" in shown.text
    history = await world.press(ANNA, shown.data("History"))
    assert "+250 ₽</b> · payment" in words_of(history)
    assert "🎁 <b>+50 ₽</b> · promo code" in words_of(history)


async def test_the_history_is_turned_page_by_page(world: World) -> None:
    """Eight entries a page, each of them once, the newest first."""
    for number in range(10):
        await world.fill(ANNA, 5000 + 100 * number)

    first = await world.press(ANNA, callbacks.History())
    second = await world.press(ANNA, first[1].data("Older"))

    lines = [line for call in (first[1], second[1]) for line in call.text.splitlines()[2:]]
    assert [line.split("</b>")[0].rpartition("+")[2] for line in lines] == [
        f"{50 + n} ₽" for n in range(9, -1, -1)
    ]
    assert not second[1].has("Older")
    assert decode(second[1].data("Newest")) == callbacks.History()


async def test_an_empty_history_says_so(world: World) -> None:
    """Nothing has happened yet, and there is a way back."""
    calls = await world.press(ANNA, callbacks.History())

    assert "Nothing has happened" in words_of(calls)
    assert calls[1].has("Back")


# ------------------------------------------------------------------------------------------ top-ups


async def test_a_top_up_by_a_preset(world: World) -> None:
    """Amount, way to pay, page, payment; the money is told with what to do with it."""
    balance = await world.press(ANNA, callbacks.Balance())
    amounts = await world.press(ANNA, balance[1].data("Top up"))
    methods = await world.press(ANNA, amounts[1].data("500 ₽"))
    assert not methods[1].has("Balance")
    page = await world.press(ANNA, methods[1].data("Card or SBP"))
    assert "Balance top-up" in words_of(page)
    (external, order), *_ = world.yookassa.orders.items()
    assert (order.amount, order.return_url) == (50000, "https://t.me/shop_bot")

    pending = await world.press(ANNA, page[1].data("I’ve paid"))
    world.yookassa.paid.add(external)
    done = await world.press(ANNA, page[1].data("I’ve paid"))

    assert "I’ll write to you" in words_of(pending)
    assert "on your balance" in words_of(done)
    assert await balance_of(world, ANNA) == 50000
    ((_, (notice,)),) = await world.deliver()
    assert "<b>500 ₽</b> has arrived" in notice.text
    assert decode(notice.data("Get VPN")) == callbacks.Plans()


async def test_a_top_up_by_stars_is_worth_what_the_shop_says(world: World) -> None:
    """So many Stars are asked that they are worth at least the amount; all of their worth is credited."""
    methods = await world.press(ANNA, callbacks.TopUpAmount(25000))
    calls = await world.press(ANNA, methods[1].data("Stars · 209 ⭐"))
    invoice = next(call for call in calls if call.method == "sendInvoice")
    assert invoice.parameters["title"] == "Balance top-up"

    (answer,) = await world.pre_checkout(ANNA, invoice.parameters["payload"], 209)
    await world.paid(ANNA, invoice.parameters["payload"], 209)

    assert answer.parameters["ok"] is True
    assert await balance_of(world, ANNA) == 209 * 120


@pytest.mark.parametrize(
    ("text", "amount"), [("250", "250 ₽"), ("250.50", "250.50 ₽"), ("1 000,5 ₽", "1,000.50 ₽")]
)
async def test_an_amount_in_words_is_understood(world: World, text: str, amount: str) -> None:
    """Whoever was asked for an amount writes it as he likes; then words are mere words again."""
    asked = await world.press(ANNA, callbacks.TopUpOther())
    assert "for instance: 250 ₽" in words_of(asked)

    (methods,) = await world.say(ANNA, text)
    (later,) = await world.say(ANNA, text)

    assert f"Top-up: {amount}" in methods.text
    assert methods.has("Card or SBP")
    assert "buttons below" in later.text


@pytest.mark.parametrize("text", ["a lot", "0", "49.99", "100000.01", "12.3456", "-100"])
async def test_an_amount_that_is_none_is_asked_for_again(world: World, text: str) -> None:
    """Patiently, with an example and the limits, and the next words are read again."""
    await world.press(ANNA, callbacks.TopUpOther())

    (again,) = await world.say(ANNA, text)
    (methods,) = await world.say(ANNA, "300")

    assert "From 50 ₽ to 100,000 ₽" in again.text
    assert "Top-up: 300 ₽" in methods.text


async def test_an_expectation_swallows_no_command_and_a_button_ends_it(world: World) -> None:
    """Commands do what they always do; after any button, and after a while, words are mere words."""
    await world.press(ANNA, callbacks.TopUpOther())
    (plans,) = await world.say(ANNA, "/buy")
    (after_command,) = await world.say(ANNA, "300")
    await world.press(ANNA, callbacks.TopUpOther())
    (unknown,) = await world.say(ANNA, "/300")
    await world.press(ANNA, callbacks.Home())
    (after_button,) = await world.say(ANNA, "300")
    await world.press(ANNA, callbacks.TopUpOther())
    await world.advance(timedelta(minutes=16))
    (after_a_while,) = await world.say(ANNA, "300")

    assert "Choose a plan" in plans.text
    for answer in (after_command, unknown, after_button, after_a_while):
        assert "buttons below" in answer.text


async def test_a_forged_top_up_is_not_opened(world: World) -> None:
    """Amounts and methods that were never offered open nothing."""
    wishes = [
        callbacks.TopUpPay("yookassa", 1), callbacks.TopUpPay("yookassa", 10**15), callbacks.TopUpPay("balance", 25000),
        callbacks.TopUpPay("gold", 25000), callbacks.TopUpAmount(2**62), callbacks.TopUpAmount(0),
    ]  # fmt: skip
    for wish in wishes:
        calls = await world.press(ANNA, wish)
        assert calls[1].buttons

    assert await world.sql("select id from purchases") == []


async def test_a_balance_that_cannot_be_filled_says_so(db: Database) -> None:
    """A shop that takes only coins and its balance offers no top-up, and is short of nothing else."""
    terms = {"balance": TERMS["balance"]}
    async with open_world(db, terms=terms) as world:
        balance = await world.press(ANNA, callbacks.Balance())
        amounts = await world.press(ANNA, callbacks.TopUp())
        short = await world.press(ANNA, callbacks.Pay("balance", await world.offer("basic", 30)))

    assert not balance[1].has("Top up")
    assert "can’t be filled" in words_of(amounts)
    assert "missing" in words_of(short)
    assert not short[1].has("Top up")


# ------------------------------------------------------------------------------------------ discounts and promo codes


async def test_a_personal_discount_is_shown_and_asked(world: World) -> None:
    """What the screen says is what the page asks."""
    await world.say(ANNA, "/start")
    await give_discount(world, ANNA, 10)

    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    page = await world.press(ANNA, methods[1].data("Card or SBP · 179.10 ₽"))

    assert "<s>199 ₽</s> <b>179.10 ₽</b> (−10%)" in words_of(methods)
    assert page[1].has("Pay 179.10 ₽")
    assert [order.amount for order in world.yookassa.orders.values()] == [17910]


async def test_a_code_in_words_makes_the_next_purchase_cheaper(world: World) -> None:
    """Asked for, written, counted; the code is gone with the purchase."""
    await create_code(world.db, code="SPRING", kind="percent", value=50)
    asked = await world.press(ANNA, callbacks.Promo())
    assert "Write it here" in words_of(asked)

    (entered,) = await world.say(ANNA, " spring ")
    (later,) = await world.say(ANNA, "spring")
    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    await world.press(ANNA, methods[1].data("Card or SBP · 99.50 ₽"))
    await world.settle(world.yookassa.charge("yoo-1"))
    after = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))

    assert "<b>50%</b> cheaper" in entered.text
    assert "buttons below" in later.text
    assert "Your promo code <b>SPRING</b> is included" in words_of(methods)
    assert "Price: <b>199 ₽</b>" in words_of(after)


async def test_a_code_by_command_or_link(world: World) -> None:
    """/promo CODE and a link with it do the same; /promo alone asks."""
    await create_code(world.db, code="SPRING", kind="percent", value=50)

    (linked,) = await world.say(ANNA, "/start promo_SPRING")
    (command,) = await world.say(BORIS, "/promo SPRING")
    (asked,) = await world.say(ANNA, "/promo")

    assert "cheaper" in linked.text
    assert "cheaper" in command.text
    assert "<b>SPRING</b> is waiting" in asked.text
    forgotten = await world.press(ANNA, asked.data("aside"))
    (asked,) = await world.say(ANNA, "/promo")
    assert "put aside" in words_of(forgotten)
    assert "waiting" not in asked.text


async def test_days_are_given_at_once_or_wait(world: World) -> None:
    """To a subscription that is on at once, nodes woken; else they come with the next purchase, as its screens say."""
    await create_code(world.db, code="WEEK", kind="days", value=7, customer_cap=2)
    (waiting,) = await world.say(ANNA, "/promo week")
    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    page = await world.press(ANNA, methods[1].data("Card or SBP"))
    await world.settle(world.yookassa.charge("yoo-1"))
    world.woken.clear()
    (given,) = await world.say(ANNA, "/promo week")

    assert "comes with <b>7 days</b> on top" in waiting.text
    assert "adds <b>7 days</b>" in words_of(methods)
    assert "Basic, 1 month + 7 days" in words_of(page)
    assert "A gift: 7 days" in given.text
    assert world.woken
    (row,) = await world.sql(
        "select extract(day from expires_at - starts_at)::int as days from subscriptions"
    )
    assert row["days"] == 44


async def test_money_is_given_once(world: World) -> None:
    """A code for money is credited at once; a second time it is used already."""
    await create_code(world.db, code="GIFT", kind="money", value=5000, currency="RUB")

    (credited,) = await world.say(ANNA, "/promo gift")
    (twice,) = await world.say(ANNA, "/promo gift")

    assert "A gift: 50 ₽" in credited.text
    assert "You have used" in twice.text
    assert await balance_of(world, ANNA) == 5000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("delete from promo_codes", "no such promo code"),
        ("update promo_codes set active = false", "no such promo code"),
        ("update promo_codes set starts_at = now() + interval '1 day'", "isn’t valid yet"),
        ("update promo_codes set ends_at = now() - interval '1 day'", "has run out"),
        ("update promo_codes set used = 1, total_cap = 1", "is used up"),
    ],
)
async def test_a_code_that_cannot_be_used_says_why(world: World, change: str, words: str) -> None:
    """Kindly, with the way to write another, and while it is waited for the next words are read again."""
    await create_code(world.db, code="SPRING", kind="percent", value=50)
    await world.change(change)
    await create_code(world.db, code="OTHER", kind="percent", value=5)
    await world.press(ANNA, callbacks.Promo())

    (answer,) = await world.say(ANNA, "SPRING")
    (other,) = await world.say(ANNA, "OTHER")

    assert words in answer.text
    assert answer.has("Another code")
    assert "<b>5%</b> cheaper" in other.text


async def test_a_code_that_went_meanwhile_sells_nothing_unseen(world: World) -> None:
    """The price fell by a code that is gone at the tap: he is told, and sees the plain price before he pays it."""
    await create_code(world.db, code="SPRING", kind="percent", value=50)
    await world.say(ANNA, "/promo spring")
    methods = await world.press(ANNA, callbacks.Methods(await world.offer("basic", 30)))
    await retire_code(world.db, "SPRING")

    told = await world.press(ANNA, methods[1].data("Card or SBP · 99.50 ₽"))

    assert "no such promo code" in words_of(told)
    assert "Price: <b>199 ₽</b>" in words_of(told)
    assert await purchases(world) == []
    page = await world.press(ANNA, told[1].data("Card or SBP · 199 ₽"))
    assert page[1].has("Pay 199 ₽")


async def test_a_replayed_code_gives_nothing_twice(world: World) -> None:
    """The use of a code is keyed by the update that brought it."""
    await create_code(world.db, code="GIFT", kind="money", value=5000, currency="RUB", customer_cap=5)
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers")
    for _ in range(2):
        async with world.db.transaction("test") as tx:
            await enter_code(tx, customer_id=row["id"], text="GIFT", request_key="update:1")

    assert await balance_of(world, ANNA) == 5000


# ------------------------------------------------------------------------------------------ payments in part


async def _pay_in_part(world: World, amount: int = 15000) -> Call:
    """Anna pays less than the price; returns the notice."""
    page = await world.press(ANNA, callbacks.Pay("yookassa", await world.offer("basic", 30)))
    assert "card or SBP" in words_of(page)
    await world.settle(world.yookassa.charge("yoo-1", amount))
    ((_, (notice,)),) = await world.deliver()
    return notice


@pytest.mark.parametrize(
    "change", ["select 1", "update purchases set status = 'expired', expires_at = vpnd_now()"]
)
async def test_what_is_missing_is_paid_by_one_press(world: World, change: str) -> None:
    """The notice asks for exactly what is missing, also after the purchase's time, and then all is switched on."""
    notice = await _pay_in_part(world)
    await world.change(change)

    page = await world.press(ANNA, notice.data("Pay the missing 49 ₽"))
    again = await world.press(ANNA, notice.data("Pay the missing 49 ₽"))
    assert page[1].buttons == again[1].buttons
    assert page[1].has("Pay 49 ₽")
    assert [order.amount for order in world.yookassa.orders.values()] == [19900, 4900]
    world.yookassa.paid.add("yoo-2")
    done = await world.press(ANNA, page[1].data("I’ve paid"))

    assert "It’s paid" in words_of(done)
    assert "Payment received" in (await world.told())[0]
    assert await balance_of(world, ANNA) == 0
    late = await world.press(ANNA, notice.data("Pay the missing 49 ₽"))
    assert "It’s paid" in words_of(late)


async def test_a_closed_purchase_that_was_paid_in_part_says_what_is_missing(world: World) -> None:
    """ "I've paid" for it names the rest and offers to pay it."""
    await _pay_in_part(world)
    (row,) = await world.sql("select public_id from purchases")
    await world.change("update purchases set status = 'expired'")

    calls = await world.press(ANNA, callbacks.Paid(row["public_id"]))

    assert "Only <b>49 ₽</b> is missing" in words_of(calls)
    assert calls[1].has("Pay the missing 49 ₽")


async def test_a_purchase_that_was_not_paid_in_part_is_not_reopened(world: World) -> None:
    """Completing is for what was paid in part; anything else is told how it stands."""
    await world.press(ANNA, callbacks.Pay("yookassa", await world.offer("basic", 30)))
    (row,) = await world.sql("select public_id from purchases")
    await world.change("update purchases set status = 'expired'")

    calls = await world.press(ANNA, callbacks.Complete(row["public_id"]))

    assert "invoice is closed" in words_of(calls)
    assert await purchases(world) == [("yookassa", "expired")]


async def test_what_is_missing_of_stars_is_an_invoice(world: World) -> None:
    """The rest of a purchase in Stars comes as an invoice over exactly that."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    payload = calls[-1].parameters["payload"]
    await world.paid(ANNA, payload, 100, "one")
    ((_, (notice,)),) = await world.deliver()

    calls = await world.press(ANNA, notice.data("Pay the missing 50 ⭐"))
    invoice = next(call for call in calls if call.method == "sendInvoice")
    (answer,) = await world.pre_checkout(ANNA, payload, 50)
    await world.paid(ANNA, payload, 50, "two")

    assert invoice.parameters["prices"][0]["amount"] == 50
    assert answer.parameters["ok"] is True
    assert await purchases(world) == [("stars", "paid")]


async def test_a_page_that_cannot_be_had_is_told_with_a_way_on(world: World) -> None:
    """A provider that is away costs nothing; the same button works when it is back, also for what is missing."""
    notice = await _pay_in_part(world)
    world.yookassa.down = True
    down = await world.press(ANNA, notice.data("Pay the missing"))
    world.yookassa.down = False
    page = await world.press(ANNA, down[1].data("Try again"))

    assert "isn’t answering" in words_of(down)
    assert page[1].has("Pay 49 ₽")
