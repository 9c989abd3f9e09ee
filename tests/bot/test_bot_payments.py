"""Buying through the bot: taps, invoices, pre-checkouts, receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from bot_world import ANNA, BORIS, TERMS, Call, World, open_world

from vpnd.bot import callbacks, notices, ordering
from vpnd.bot.speech import Speech
from vpnd.bot.texts import Texts
from vpnd.database.database import Database
from vpnd.database.errors import CommitUnknown, DatabaseUnavailable
from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Drop, OutboxItem, Retry
from vpnd.payments.base import PaymentUnavailable
from vpnd.payments.stars import PreCheckoutAnswer, Refusal
from vpnd.shop.subscriptions import expire_due
from vpnd.telegram.errors import Rejected, RetryLater

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db, admins=(ANNA, BORIS)) as world:
        yield world


def invoice_of(calls: list[Call]) -> Call:
    """The Stars invoice among these calls."""
    return next(call for call in calls if call.method == "sendInvoice")


async def test_from_plan_to_link_by_stars(world: World) -> None:
    """The whole way: plans, period, method, invoice, payment; then the receipt with link and picture."""
    plans = (await world.press(ANNA, callbacks.Plans()))[1]
    periods = (await world.press(ANNA, plans.data("Basic")))[1]
    assert "<b>16%</b> less" in periods.text
    methods = (await world.press(ANNA, periods.data("3 months")))[1]
    assert "499 ₽" in methods.text
    calls = await world.press(ANNA, methods.data("Stars"))
    assert [call.method for call in calls] == ["answerCallbackQuery", "editMessageText", "sendInvoice"]
    invoice = invoice_of(calls)
    assert invoice.parameters["currency"] == "XTR"
    assert invoice.parameters["prices"] == [{"label": "VPN: 3 months", "amount": 400}]

    (answer,) = await world.pre_checkout(ANNA, invoice.parameters["payload"], 400)
    assert answer.parameters["ok"] is True
    assert await world.paid(ANNA, invoice.parameters["payload"], 400) == []
    ((outcome, (receipt,)),) = await world.deliver()

    (row,) = await world.sql("select link_token, status from subscriptions")
    assert outcome == Delivered()
    assert receipt.method == "sendPhoto"
    assert receipt.files
    assert "Payment received" in receipt.text
    assert f"<code>https://vpn.example.org/sub/{row['link_token']}</code>" in receipt.text
    assert row["status"] == "active"


async def test_a_double_tap_on_stars_buys_once(world: World) -> None:
    """Two taps open one purchase and send one invoice; the second tap says where it is."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))

    first = await world.press(ANNA, wish)
    second = await world.press(ANNA, wish)

    assert len(await world.sql("select id from purchases")) == 1
    assert "sendInvoice" in [call.method for call in first]
    assert [call.method for call in second] == ["answerCallbackQuery", "editMessageText"]
    again = await world.press(ANNA, second[1].data("again"))
    assert invoice_of(again).parameters["payload"] == invoice_of(first).parameters["payload"]


async def killed(*_: Any, **__: Any) -> Any:
    """Stands for a `kill -9` at this place."""
    raise KeyboardInterrupt


async def test_a_replayed_tap_sends_the_invoice_that_may_be_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update played again after a kill opens nothing new, but sends the invoice that it may not have sent; once that is noted,
    another replay sends nothing."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))

    with monkeypatch.context() as patch:
        patch.setattr(ordering, "note_invoice_sent", killed)
        with pytest.RaisesGroup(KeyboardInterrupt):
            await world.press(ANNA, wish, update_id=9001)
    calls = await world.press(ANNA, wish, update_id=9001)
    once_more = await world.press(ANNA, wish, update_id=9001)

    assert len(await world.sql("select id from purchases")) == 1
    assert invoice_of(calls).parameters["currency"] == "XTR"
    assert "sendInvoice" not in [call.method for call in once_more]


async def test_an_invoice_that_telegram_did_not_take_is_not_said_to_be_in_the_chat(world: World) -> None:
    """A press that opens a purchase and fails before its invoice is there leaves the next one to send it: nobody is told to look
    for a message that was never sent."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))
    world.telegram.fail("sendInvoice", "Bad Request: CURRENCY_INVALID")

    with pytest.raises(Rejected):
        await world.press(ANNA, wish)
    calls = await world.press(ANNA, wish)
    (purchase,) = await world.sql("select public_id, invoice_sent_at is not null as noted from purchases")

    assert invoice_of(calls).parameters["payload"] == purchase["public_id"]
    assert "in the message below" in calls[1].text
    assert purchase["noted"]


async def test_a_purchase_whose_commit_went_unheard_gets_its_invoice_by_the_next_tap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that goes away with the answer to a commit leaves an open purchase without an invoice; the next tap sends it."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))
    opened = ordering.open_access

    async def unheard(*arguments: Any, **named: Any) -> Any:
        await opened(*arguments, **named)
        raise CommitUnknown("the server went away", site="bot.open_purchase")

    with monkeypatch.context() as patch:
        patch.setattr(ordering, "open_access", unheard)
        with pytest.raises(CommitUnknown):
            await world.press(ANNA, wish)
    assert len(await world.sql("select id from purchases")) == 1
    calls = await world.press(ANNA, wish)

    assert len(await world.sql("select id from purchases")) == 1
    assert invoice_of(calls).parameters["currency"] == "XTR"


async def test_an_invoice_that_was_sent_but_not_noted_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer has his invoice: a database that is away by then is not his trouble. The next tap sends it once more."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable("the server went away", site="purchases.invoice_sent")

    with monkeypatch.context() as patch:
        patch.setattr(ordering, "note_invoice_sent", away)
        first = await world.press(ANNA, wish)
    second = await world.press(ANNA, wish)

    assert invoice_of(first).parameters == invoice_of(second).parameters


async def test_a_double_tap_on_crypto_buys_once(world: World) -> None:
    """Two taps lead to the same invoice of the same purchase."""
    wish = callbacks.Pay("cryptopay", await world.offer("basic", 30))

    first = await world.press(ANNA, wish)
    second = await world.press(ANNA, wish)

    assert len(world.cryptopay.invoices) == 1
    assert len(await world.sql("select id from purchases")) == 1
    assert first[1].buttons[0]["url"] == second[1].buttons[0]["url"] == "https://t.me/CryptoBot?start=IV501"
    assert "60 minutes" in first[1].text


async def test_an_invoice_missing_after_a_kill_is_made_by_the_next_tap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between the purchase and its invoice leaves a purchase that the next tap completes."""
    wish = callbacks.Pay("cryptopay", await world.offer("basic", 30))

    with monkeypatch.context() as patch:
        patch.setattr(ordering, "invoice_for", killed)
        # From the task of the press, beside the one that stops the button's clock: in a group.
        with pytest.RaisesGroup(KeyboardInterrupt):
            await world.press(ANNA, wish)
    calls = await world.press(ANNA, wish)

    assert calls[1].buttons[0]["url"].startswith("https://t.me/CryptoBot")
    assert (
        len(await world.sql("select id from purchases"))
        == len(await world.sql("select id from invoices"))
        == 1
    )


async def test_a_provider_that_is_down_is_told_with_a_way_on(world: World) -> None:
    """Without the provider there is a kind word and a button that tries again, which then works."""
    world.cryptopay.down = True
    calls = await world.press(ANNA, callbacks.Pay("cryptopay", await world.offer("basic", 30)))
    assert "isn’t answering" in calls[1].text

    world.cryptopay.down = False
    calls = await world.press(ANNA, calls[1].data("Try again"))

    assert "CryptoBot?start" in calls[1].buttons[0]["url"]
    assert len(await world.sql("select id from purchases")) == 1


async def test_i_have_paid_asks_the_provider_at_once(world: World) -> None:
    """ "I've paid" does not wait for a webhook: it asks, settles, and says so."""
    calls = await world.press(ANNA, callbacks.Pay("cryptopay", await world.offer("basic", 30)))
    check = calls[1].data("I’ve paid")

    pending = await world.press(ANNA, check)
    world.cryptopay.invoices[501]["status"] = "paid"
    paid = await world.press(ANNA, check)
    twice = await world.press(ANNA, check)

    assert "hasn’t arrived" in pending[1].text
    assert "It’s paid" in paid[1].text
    assert "It’s paid" in twice[1].text
    assert len(await world.sql("select id from settlements")) == 1


async def test_i_have_paid_survives_a_silent_provider(world: World) -> None:
    """When the provider cannot be asked, the customer is told to wait, and nothing fails."""
    calls = await world.press(ANNA, callbacks.Pay("cryptopay", await world.offer("basic", 30)))
    world.cryptopay.down = True

    answer = await world.press(ANNA, calls[1].data("I’ve paid"))

    assert "hasn’t arrived" in answer[1].text


@pytest.mark.parametrize(
    "change",
    [
        "update offers set on_sale = false",
        "update plans set on_sale = false",
        "delete from prices where currency = 'XTR'",
    ],
)
async def test_an_offer_that_is_gone_is_not_sold(world: World, change: str) -> None:
    """A pay button older than the shop opens nothing and says so."""
    wish = callbacks.Pay("stars", await world.offer("basic", 30))
    await world.change(change)

    calls = await world.press(ANNA, wish)

    assert "no longer on sale" in calls[1].text
    assert await world.sql("select id from purchases") == []


async def test_an_unknown_method_or_offer_is_not_sold(world: World) -> None:
    """Forged data names nothing that can be bought."""
    for wish in (callbacks.Pay("gold", 1), callbacks.Pay("stars", 10**15), callbacks.Methods(10**15)):
        calls = await world.press(ANNA, wish)

        assert "no longer on sale" in calls[1].text


async def test_a_method_that_is_not_set_up_is_not_offered(db: Database) -> None:
    """Without Crypto Pay there is no such button, and an old one opens nothing."""
    terms = {method: own for method, own in TERMS.items() if method != "cryptopay"}
    async with open_world(db, providers={}, terms=terms) as world:
        offer = await world.offer("basic", 30)

        methods = (await world.press(ANNA, callbacks.Methods(offer)))[1]
        pay = (await world.press(ANNA, callbacks.Pay("cryptopay", offer)))[1]

        assert not any("Crypto" in button["text"] for button in methods.buttons)
        assert "no longer on sale" in pay.text


@pytest.mark.parametrize(
    ("change", "payer", "amount", "words"),
    [
        (None, BORIS, 150, "don’t know"),
        (None, ANNA, 1, "price has changed"),
        ("update purchases set expires_at = now() - interval '1 hour'", ANNA, 150, "out of date"),
        ("update purchases set status = 'paid'", ANNA, 150, "already paid"),
        ("update offers set on_sale = false", ANNA, 150, "price has changed"),
        ("delete from purchases", ANNA, 150, "don’t know"),
    ],
)
async def test_a_pre_checkout_that_must_not_pass(
    world: World, change: str | None, payer: int, amount: int, words: str
) -> None:
    """The last moment to say no is used: wrong payer, price, time, state."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    payload = invoice_of(calls).parameters["payload"]
    if change:
        await world.change(change)

    (answer,) = await world.pre_checkout(payer, payload, amount)

    assert answer.parameters["ok"] is False
    assert words in answer.parameters["error_message"]


def test_every_refusal_has_its_words() -> None:
    """Whatever the check refuses, the payer is told why in words."""
    for reason in get_args(Refusal):
        assert ordering.refusal_text(Speech(Texts.load(), "ru"), PreCheckoutAnswer(False, reason))


async def test_a_payment_told_twice_counts_once(world: World) -> None:
    """A repeated successful_payment settles nothing twice and sends one receipt."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    payload = invoice_of(calls).parameters["payload"]

    await world.paid(ANNA, payload, 150)
    await world.paid(ANNA, payload, 150)

    assert len(await world.sql("select id from settlements")) == 1
    assert len(await world.deliver()) == 1


async def test_paying_twice_is_told_and_refunded(world: World) -> None:
    """A second Stars charge for one purchase goes back, and the customer is told."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    payload = invoice_of(calls).parameters["payload"]

    await world.paid(ANNA, payload, 150, "one")
    await world.paid(ANNA, payload, 150, "two")
    told = await world.deliver()
    ((refund, (call,)),) = await world.deliver("refund_stars")

    assert "paid twice" in told[1][1][0].text
    assert "150 ⭐" in told[1][1][0].text
    assert isinstance(refund, Delivered)
    assert (call.method, call.parameters["user_id"]) == ("refundStarPayment", ANNA)
    assert call.parameters["telegram_payment_charge_id"] == "two"


async def test_a_renewal_keeps_the_link_and_says_so(world: World) -> None:
    """Renewing goes straight to the periods of the same plan, and the receipt says that nothing changes."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    await world.paid(ANNA, invoice_of(calls).parameters["payload"], 150, "one")
    await world.deliver()

    menu = (await world.press(ANNA, callbacks.Home()))[1]
    periods = (await world.press(ANNA, menu.data("Renew")))[1]
    methods = (await world.press(ANNA, periods.data("1 month")))[1]
    calls = await world.press(ANNA, methods.data("Stars"))
    await world.paid(ANNA, invoice_of(calls).parameters["payload"], 150, "two")
    ((_, (receipt,)),) = await world.deliver()

    assert receipt.method == "sendMessage"
    assert "Renewed" in receipt.text
    (row,) = await world.sql("select expires_at > now() + interval '59 days' as long from subscriptions")
    assert row["long"]


async def test_the_end_of_a_subscription_is_told_with_a_way_back(world: World) -> None:
    """The notice of an expiry carries the button that renews."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    await world.paid(ANNA, invoice_of(calls).parameters["payload"], 150)
    await world.deliver()
    await world.change(
        "update subscriptions set starts_at = now() - interval '9 days', expires_at = now() - interval '1 hour'"
    )
    await expire_due(world.db, 10)

    ((outcome, (notice,)),) = await world.deliver()

    assert outcome == Delivered()
    assert "has ended" in notice.text
    periods = (await world.press(ANNA, notice.data("Renew")))[1]
    assert "renewal" in periods.text


async def test_a_held_payment_reaches_every_admin_once(world: World) -> None:
    """An alert becomes one message for each admin, in his language, and a repeat adds none."""
    await world.say(ANNA, "/start", language="ru")
    await world.paid(BORIS, "pnothingofours", 99)

    ((outcome, sent),) = await world.deliver("admin_alert")
    await world.change("update outbox set status = 'ready' where kind = 'admin_alert'")
    await world.deliver("admin_alert")
    told = await world.deliver()

    assert (outcome, sent) == (Delivered(), [])
    texts = {calls[0].parameters["chat_id"]: calls[0].text for _, calls in told}
    assert "Платёж ждёт" in texts[ANNA]
    assert "needs your decision" in texts[BORIS]
    assert "charge-1" in texts[BORIS]


def item(template: str = "payment_held", **changes: Any) -> OutboxItem:
    """A row of the outbox in hand."""
    args = {"amount": "1.50", "currency": "USD"}
    payload = {"chat_id": ANNA, "template": template, "args": args, "language": "en"} | changes
    return OutboxItem(1, "message", "k", "notice", None, payload, 1, 0, False, False)


@pytest.mark.parametrize(
    ("status", "description", "parameters", "outcome"),
    [
        (403, "Forbidden: bot was blocked by the user", {}, Drop),
        (400, "Bad Request: chat not found", {}, Drop),
        (400, "Bad Request: can't parse entities", {}, Dead),
        (502, "Bad Gateway", {}, BoundaryDown),
        (401, "Unauthorized", {}, BoundaryDown),
    ],
)
async def test_what_becomes_of_a_message_telegram_does_not_take(
    world: World, status: int, description: str, parameters: dict[str, Any], outcome: type
) -> None:
    """Each refusal of Telegram has its one consequence for the row."""
    await world.say(ANNA, "/start")
    world.telegram.fail("sendMessage", description, status, **parameters)

    result = await notices.deliver_message(world.deps, item())

    assert type(result) is outcome
    (row,) = await world.sql("select reachable from customers where telegram_id = $1", ANNA)
    assert row["reachable"] is (outcome is not Drop)


def test_a_pause_asked_for_is_a_retry() -> None:
    """A 429 is tried again when Telegram said; a failure that is not Telegram's is nobody's outcome."""
    later = notices.outcome_of(RetryLater(7.0))

    assert isinstance(later, Retry)
    assert later.after == 7.0
    assert notices.outcome_of(PaymentUnavailable("x")) is None


async def test_a_refused_picture_does_not_cost_the_receipt(world: World) -> None:
    """When Telegram refuses the picture, the words go alone."""
    calls = await world.press(ANNA, callbacks.Pay("stars", await world.offer("basic", 30)))
    await world.paid(ANNA, invoice_of(calls).parameters["payload"], 150)
    world.telegram.fail("sendPhoto", "Bad Request: IMAGE_PROCESS_FAILED")

    ((outcome, sent),) = await world.deliver()

    assert outcome == Delivered()
    assert [call.method for call in sent] == ["sendPhoto", "sendMessage"]
    assert "/sub/" in sent[1].text


async def test_a_notice_nobody_can_render(world: World) -> None:
    """A template of a newer version is told as news; broken values go to the dead letters."""
    assert await notices.deliver_message(world.deps, item("from_the_future")) == Delivered()
    assert isinstance(await notices.deliver_message(world.deps, item("expired")), Dead)
    lost = item("receipt", args={"subscription_id": 404, "expires_at": "2026-01-01T00:00:00+00:00"})
    assert await notices.deliver_message(world.deps, lost) == Delivered()
