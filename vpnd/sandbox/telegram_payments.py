"""Telegram Stars: invoices, the pre-checkout question, payments, refunds and the bot's statement.

The bot's side are the methods; the payer's side is `pay()`, which plays one purchase as Telegram does: the pre-checkout query, at
most ten seconds for its answer, then the `successful_payment` message. Its options are the ways in which reality departs from
that: no question at all, the same message twice, a message that never comes, other money than asked for, somebody else paying.
What becomes of a subscription after its first payment is told in telegram_subscriptions.
"""

from __future__ import annotations

import secrets
from typing import Any

import attrs
import trio

from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.telegram_errors import QUERY_TOO_OLD, bad_request
from vpnd.sandbox.telegram_messages import read_keyboard, read_reply, shown_to_bot
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_stars import Charge, Checkout, Invoice, Subscription
from vpnd.sandbox.telegram_state import Chat, Json, Person

MAX_STARS = 100_000
SUBSCRIPTION_PERIOD = 2_592_000
MAX_SUBSCRIPTION_STARS = 10_000


def read_invoice(call: Parameters) -> Invoice:
    """An invoice in Stars, checked; raises ApiError."""
    for name in ("title", "description", "payload", "currency", "prices"):
        if not call.has(name):
            raise bad_request(f'parameter "{name}" is required')
    if len(call.text("title")) > 32:
        raise bad_request("INVOICE_TITLE_INVALID")
    if len(call.text("description")) > 255:
        raise bad_request("INVOICE_DESCRIPTION_INVALID")
    if not 1 <= len(call.text("payload").encode()) <= 128:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    if call.text("currency") != "XTR":
        # Every other currency needs the token of a payment provider, and there is none in this world.
        raise bad_request(
            "CURRENCY_INVALID" if len(call.text("currency")) != 3 else "PAYMENT_PROVIDER_INVALID"
        )
    if call.has("provider_token"):
        raise bad_request("STARS_INVOICE_INVALID")
    if call.integer("max_tip_amount") or call.structure("suggested_tip_amounts"):
        raise bad_request("STARS_INVOICE_INVALID")
    amount = _read_price(call.structure("prices"))
    period = call.integer("subscription_period")
    if period and (period != SUBSCRIPTION_PERIOD or amount > MAX_SUBSCRIPTION_STARS):
        raise bad_request(
            "SUBSCRIPTION_PERIOD_INVALID" if period != SUBSCRIPTION_PERIOD else "STARS_AMOUNT_INVALID"
        )
    return Invoice(call.text("title"), call.text("description"), call.text("payload"), amount, period)


def _read_price(prices: Any) -> int:
    if not isinstance(prices, list) or not all(isinstance(price, dict) for price in prices):
        raise bad_request("can't parse labeled prices: expected an Array of LabeledPrice")
    if len(prices) != 1:
        raise bad_request("STARS_INVOICE_INVALID")
    amount = prices[0].get("amount")
    if not prices[0].get("label") or not isinstance(amount, int) or isinstance(amount, bool):
        raise bad_request("can't parse labeled prices: LabeledPrice must have a label and an integer amount")
    if not 1 <= amount <= MAX_STARS:
        raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
    return amount


@method("sendInvoice")
async def send_invoice(server: TelegramServer, call: Parameters) -> Any:
    """An invoice as a message, with a pay button first in its keyboard."""
    chat = server.chat(call)
    invoice = read_invoice(Parameters({k: v for k, v in call.values.items() if k != "subscription_period"}))
    keyboard = read_keyboard(call, invoice=True)
    if not keyboard:
        pay = {"text": f"Pay ⭐️{invoice.amount}", "pay": True}
        keyboard = {"reply_markup": {"inline_keyboard": [[pay]]}}
    elif not keyboard["reply_markup"]["inline_keyboard"][0][0].get("pay"):
        raise bad_request("the first button of an invoice must be a pay button")
    message = server.send(chat, {**read_reply(call, chat), "invoice": invoice.api(), **keyboard})
    server.cashier.invoices[chat.id, message.id] = invoice
    return shown_to_bot(message)


@method("createInvoiceLink")
async def create_invoice_link(server: TelegramServer, call: Parameters) -> Any:
    """An invoice as a link that anybody can pay, as often as he likes."""
    invoice = read_invoice(call)
    link = f"https://t.me/${secrets.token_urlsafe(12)}"
    server.cashier.links[link] = invoice
    return link


@method("answerPreCheckoutQuery")
async def answer_pre_checkout_query(server: TelegramServer, call: Parameters) -> Any:
    """Yes or no to a purchase; too late after ten seconds."""
    checkout = server.cashier.checkouts.pop(call.text("pre_checkout_query_id"), None)
    if checkout is None:
        raise bad_request(QUERY_TOO_OLD)
    checkout.ok = call.boolean("ok")
    checkout.error = call.text("error_message")
    if not checkout.ok and not checkout.error:
        raise bad_request("ERROR_TEXT_EMPTY")
    checkout.answered.set()
    return True


@method("refundStarPayment")
async def refund_star_payment(server: TelegramServer, call: Parameters) -> Any:
    """Give a payment back, once; the payer's chat gets a `refunded_payment` message."""
    charge = server.cashier.charges.get(call.text("telegram_payment_charge_id"))
    if not call.has("user_id") or call.integer("user_id") not in server.state.people:
        raise bad_request("USER_ID_INVALID")
    if charge is None or charge.payer.id != call.integer("user_id"):
        raise bad_request("CHARGE_NOT_FOUND")
    if charge.refunded_at is not None:
        raise bad_request("CHARGE_ALREADY_REFUNDED")
    if server.cashier.balance < charge.amount:
        raise bad_request("BALANCE_TOO_LOW")
    tell_refund(server, charge)
    return True


def tell_refund(server: TelegramServer, charge: Charge) -> int | None:
    """Give a charge back and say so in the payer's chat; the update's id."""
    server.cashier.give_back(charge, server.clock.stamp())
    chat = server.state.open_chat(charge.payer.id)
    return server.say(chat, charge.payer, {"refunded_payment": charge.refund()})[1]


@method("getMyStarBalance")
async def get_my_star_balance(server: TelegramServer, call: Parameters) -> Any:
    """Stars the bot owns."""
    return {"amount": server.cashier.balance}


@method("getStarTransactions")
async def get_star_transactions(server: TelegramServer, call: Parameters) -> Any:
    """The statement, oldest first; a refund carries the id of its charge."""
    offset, limit = call.integer("offset"), call.integer("limit", 100)
    if offset < 0 or not 1 <= limit <= 100:
        raise bad_request("wrong offset or limit specified")
    return {"transactions": [entry.api() for entry in server.cashier.statement[offset : offset + limit]]}


# ---------------------------------------------------------------------------- the payer's side


@attrs.define
class Purchase:
    """One purchase to play.

    `amount` and `currency` replace the invoice's own in everything the bot hears; `charged_amount` replaces the
    amount only in the payment itself. `repeat` makes that many messages of the payment, each with an update of its
    own; with `deliver=False` the payer sees one, and the bot does not hear of it (until the control's `deliver`).
    """

    chat: Chat
    payer: Person
    invoice: Invoice
    pre_checkout: bool = True
    deliver: bool = True
    repeat: int = 1
    amount: int | None = None
    charged_amount: int | None = None
    currency: str = "XTR"


async def pay(server: TelegramServer, purchase: Purchase) -> Json:
    """Play a purchase; `{ok, charge_id, update_ids}` or `{ok: false, error}`. Takes up to ten seconds when nobody answers."""
    invoice = purchase.invoice
    amount = invoice.amount if purchase.amount is None else purchase.amount
    if purchase.pre_checkout:
        error = await _ask(server, purchase, amount)
        if error is not None:
            return {"ok": False, "error": error}
    if purchase.charged_amount is not None:
        amount = purchase.charged_amount
    charge = _charge(server, purchase, amount)
    update_ids = show_payment(server, purchase.chat, charge, times=purchase.repeat if purchase.deliver else 0)
    return {"ok": True, "charge_id": charge.id, "update_ids": update_ids}


def _charge(server: TelegramServer, purchase: Purchase, amount: int) -> Charge:
    """The money moves; with an invoice that repeats, a subscription begins."""
    invoice, payer = purchase.invoice, purchase.payer
    charge = Charge(payer, invoice.payload, amount, server.clock.stamp(), purchase.currency)
    if invoice.subscription_period:
        charge.paid_until = charge.at + invoice.subscription_period
        charge.subscription = Subscription(payer, invoice, charge.paid_until)
        server.cashier.subscriptions.append(charge.subscription)
    server.cashier.book(charge)
    invoice.payers.add(payer.id)
    return charge


def show_payment(server: TelegramServer, chat: Chat, charge: Charge, *, times: int = 1) -> list[int | None]:
    """The payment's message, dated as the charge is: `times` over and told each time; or once and not told, for 0."""
    update_ids = []
    for number in range(max(times, 1)):
        content = {"date": charge.at, "successful_payment": charge.payment()}
        charge.message = chat, server.state.post(chat, charge.payer.api(), content)
        if number < times:
            update_ids.append(server.tell_message(*charge.message))
            charge.told += 1
    return update_ids


async def _ask(server: TelegramServer, purchase: Purchase, amount: int) -> str | None:
    """The pre-checkout question; None when the bot agrees, else why there is no payment."""
    query_id = str(secrets.randbits(62))
    checkout = server.cashier.checkouts[query_id] = Checkout()
    query = {
        "id": query_id,
        "from": purchase.payer.api(),
        "currency": purchase.currency,
        "total_amount": amount,
        "invoice_payload": purchase.invoice.payload,
    }
    server.tell_query("pre_checkout_query", query, purchase.payer)
    try:
        with trio.move_on_after(server.cashier.checkout_seconds):
            await checkout.answered.wait()
    finally:
        server.cashier.checkouts.pop(query_id, None)
    if not checkout.answered.is_set():
        return "the bot did not answer the pre-checkout query in time"
    return None if checkout.ok else checkout.error
