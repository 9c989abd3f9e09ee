"""From a tap on a pay button to something that can be paid, and how a payment stands.

Three steps, none inside another: the purchase is committed; the provider is asked, with no connection held; the
invoice is noted. A kill between them leaves a purchase without an invoice, which the next tap finds and completes. A
second tap finds the open purchase, and with it the same invoice: however often a button is pressed, one thing is
bought.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen
from telegram import LabeledPrice

from vpnd.bot.callbacks import Pay
from vpnd.bot.reading import business_now, plan_title
from vpnd.bot.screens import payment
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.payments import stars
from vpnd.payments.base import PaymentError
from vpnd.payments.settle import settle_charge
from vpnd.payments.watcher import invoice_for
from vpnd.runtime.journal import get_journal
from vpnd.shop.purchases import METHODS, Method, OfferUnavailable, Purchase, open_purchase, purchase_of
from vpnd.telegram.sender import Lane

log = get_journal("bot")

# What a refused pre-checkout is told as; Telegram shows it in its own window.
_REFUSALS: Final = {
    "unknown_purchase": "alert-check-refused-unknown",
    "not_your_purchase": "alert-check-refused-unknown",
    "already_paid": "alert-check-refused-paid",
    "purchase_expired": "alert-check-refused-expired",
    "wrong_price": "alert-check-refused-changed",
    "off_sale": "alert-check-refused-changed",
    "try_later": "alert-check-refused-repair",
}


@frozen
class _Opened:
    """A purchase, the business time it was opened or found at, and whether it was this update that opened it."""

    purchase: Purchase
    now: datetime
    ours: bool


async def _open(visit: Visit, method: Method, action: Pay) -> _Opened:
    """Open the purchase or find the open one, in one transaction. Raises OfferUnavailable."""

    async def body(tx: Transaction) -> _Opened:
        purchase = await open_purchase(
            tx,
            customer_id=visit.customer.id,
            offer_id=action.offer,
            method=method,
            request_key=visit.request_key,
            shop_currency=visit.deps.currency,
            subscription_id=action.renews or None,
        )
        row = await tx.fetchrow(
            "select vpnd_now() as now, request_key = $2 as ours from purchases where id = $1",
            purchase.id,
            visit.request_key,
        )
        if row is None:
            raise RuntimeError("a purchase vanished inside its own transaction")
        return _Opened(purchase, row["now"], row["ours"])

    return await visit.deps.db.run("bot.open_purchase", body)


async def pay(visit: Visit, action: Pay) -> bool:
    """Show how to pay for an offer. False if it cannot be bought this way any more."""
    method = next((method for method in METHODS if method == action.method), None)
    if method is None or method not in visit.deps.methods:
        return False
    try:
        opened = await _open(visit, method, action)
    except OfferUnavailable:
        return False
    purchase = opened.purchase
    if purchase.status != "pending":  # an update played again, after its purchase had been paid
        await visit.show(payment.standing(visit.speech, purchase))
        return True
    title = await plan_title(visit.deps.db, purchase.plan_id, visit.speech.language)
    if method == "stars":
        await visit.show(payment.stars(visit.speech, title, purchase, sent_before=not opened.ours))
        if opened.ours:
            await _send_invoice(visit, purchase, title)
    else:
        await _show_cryptopay(visit, action, opened, title)
    return True


async def _show_cryptopay(visit: Visit, action: Pay, opened: _Opened, title: str) -> None:
    """Make the invoice, unless there is an open one, and show where to pay it."""
    purchase, speech, client = opened.purchase, visit.speech, visit.deps.cryptopay
    if client is None:
        raise RuntimeError("Crypto Pay is offered although it is not set up")
    description = speech.label("invoice-description", title=title, period=speech.period(purchase.days))
    try:
        invoice = await invoice_for(visit.deps.db, client, purchase, description=description)
    except PaymentError as error:
        log.warning(
            "bot.invoice_failed",
            message=f"no invoice for {purchase.public_id}: {error}",
            provider="cryptopay",
        )
        await visit.show(payment.provider_down(speech, purchase, action))
        return
    await visit.show(payment.cryptopay(speech, title, purchase, invoice.url, invoice.expires_at, opened.now))


async def _send_invoice(visit: Visit, purchase: Purchase, title: str) -> None:
    """Send the Stars invoice as a message of its own."""
    speech = visit.speech
    period = speech.period(purchase.days)
    invoice = stars.invoice_parameters(
        purchase,
        title=speech.label("invoice-title", period=period),
        description=speech.label("invoice-description", title=title, period=period),
    )
    await visit.deps.sender.call(
        Lane.REPLY,
        "send_invoice",
        chat_id=visit.chat_id,
        title=invoice.title,
        description=invoice.description,
        payload=invoice.payload,
        provider_token=invoice.provider_token,
        currency=invoice.currency,
        prices=[LabeledPrice(invoice.label, invoice.amount)],
    )


async def send_invoice_again(visit: Visit, public_id: str) -> bool:
    """Send a Stars invoice once more. False if there is no such purchase of this customer."""
    purchase = await purchase_of(visit.deps.db, public_id, visit.customer.telegram_id)
    if purchase is None:
        return False
    now = await business_now(visit.deps.db)
    if purchase.method != stars.NAME or purchase.status != "pending" or purchase.expires_at <= now:
        await visit.show(payment.standing(visit.speech, purchase, now))
        return True
    await _send_invoice(
        visit, purchase, await plan_title(visit.deps.db, purchase.plan_id, visit.speech.language)
    )
    return True


async def show_standing(visit: Visit, public_id: str) -> bool:
    """How a purchase stands, asking the provider at once. False if there is no such purchase of this customer."""
    purchase = await purchase_of(visit.deps.db, public_id, visit.customer.telegram_id)
    if purchase is None:
        return False
    if purchase.status != "paid" and await _settle_if_paid(visit, purchase):
        purchase = await purchase_of(visit.deps.db, public_id, visit.customer.telegram_id) or purchase
    await visit.show(payment.standing(visit.speech, purchase, await business_now(visit.deps.db)))
    return True


async def _settle_if_paid(visit: Visit, purchase: Purchase) -> bool:
    """Ask Crypto Pay about the purchase's invoice, and settle it if it is paid: somebody is waiting for it."""
    client, invoice = visit.deps.cryptopay, purchase.invoice
    if client is None or invoice is None or invoice.provider != client.name or invoice.status == "expired":
        return False
    try:
        states = await client.get_invoices([invoice.external_id])
    except PaymentError as error:
        # The webhook and the watcher will tell; the customer is told to wait, which is true.
        log.warning("bot.invoice_unchecked", message=f"an invoice could not be asked about: {error}")
        return False
    paid = [state.charge for state in states if state.charge is not None]
    for charge in paid:
        await settle_charge(visit.deps.db, charge, on_commit=visit.deps.on_settled)
    return bool(paid)


def refusal_text(speech: Speech, answer: stars.PreCheckoutAnswer) -> str | None:
    """What the payer reads when his payment is not let through; None when it is."""
    return None if answer.error is None else speech.label(_REFUSALS[answer.error])
