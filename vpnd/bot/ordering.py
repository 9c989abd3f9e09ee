"""From a tap on a pay button to something that can be paid, and how a payment stands.

Three steps, none inside another: the purchase is committed; the provider is asked, with no connection held; the
invoice is noted. A kill between them leaves a purchase without an invoice, which the next tap finds and completes. A
second tap finds the open purchase, and with it the same invoice: however often a button is pressed, one thing is
bought. What is paid from the balance is asked about first; the answer names the purchase, which is its charge.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.bot.callbacks import Action, Complete
from vpnd.bot.reading import business_now, plan_title, purse_of
from vpnd.bot.screens import payment
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit, note_in_passing
from vpnd.bot.ways import Target, Way, ways_to_fill
from vpnd.database.scope import Transaction
from vpnd.payments import stars
from vpnd.payments.base import PaymentError
from vpnd.payments.settle import settle_charge
from vpnd.payments.watcher import invoice_for
from vpnd.runtime.journal import get_journal
from vpnd.shop.balance import BALANCE, charge_of
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.opening import open_purchase, open_topup
from vpnd.shop.pricing import Terms
from vpnd.shop.purchases import Purchase, note_invoice_sent, purchase_of, reopen_purchase
from vpnd.shop.settlement import PurchaseClosed
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
class Opened:
    """A purchase, and the business time it was opened or found at."""

    purchase: Purchase
    now: datetime


# ------------------------------------------------------------------------------------------ opening


async def open_access(visit: Visit, way: Way, offer_id: int, target: Target) -> Opened:
    """Open a purchase of an offer or find the open one, in one transaction.

    Raises OfferUnavailable, and PromoUnavailable for a code that cannot be used any more.
    """

    async def body(tx: Transaction) -> Opened:
        purchase = await open_purchase(
            tx,
            customer_id=visit.customer.id,
            offer_id=offer_id,
            terms=way.terms,
            request_key=visit.request_key,
            shop_currency=visit.deps.currency,
            subscription_id=target.renews or None,
            fresh=target.fresh,
            recurring=way.monthly,
        )
        return await _opened(tx, purchase)

    return await visit.deps.db.run("bot.open_purchase", body)


async def open_filling(visit: Visit, terms: Terms, asked: int, amount: int) -> Opened:
    """Open a top-up of the balance or find the open one: `asked` in the method's currency, worth `amount`.

    Raises OfferUnavailable for less than the method takes.
    """

    async def body(tx: Transaction) -> Opened:
        purchase = await open_topup(
            tx,
            customer_id=visit.customer.id,
            terms=terms,
            amount=asked,
            shop_amount=amount,
            shop_currency=visit.deps.currency,
            request_key=visit.request_key,
        )
        return await _opened(tx, purchase)

    return await visit.deps.db.run("bot.open_topup", body)


async def _opened(tx: Transaction, purchase: Purchase) -> Opened:
    return Opened(purchase, await tx.fetchval("select vpnd_now()"))


# ------------------------------------------------------------------------------------------ how to pay


async def present(visit: Visit, opened: Opened, retry: Action) -> None:
    """Show how to pay what is missing of a purchase, by its method; `retry` is the button that comes here again."""
    purchase = opened.purchase
    if purchase.status != "pending":  # an update played again, after its purchase had been paid
        await visit.show(payment.standing(visit.speech, purchase))
        return
    what = await _subject(visit, purchase)
    if purchase.method == BALANCE:
        await _ask_about_balance(visit, purchase, what)
    elif purchase.method != stars.NAME:
        await _show_page(visit, opened, what, retry)
    elif purchase.recurring:
        await _show_monthly(visit, purchase, what)
    else:
        # Not "whoever opened it has sent it": a press can open a purchase and fail before its invoice is on its way.
        sent = purchase.invoice_sent_at is not None
        await visit.show(payment.stars(visit.speech, what, purchase, sent_before=sent))
        if not sent:
            await _send_invoice(visit, purchase, what)


async def _subject(visit: Visit, purchase: Purchase) -> str:
    title = ""
    if purchase.plan_id is not None:
        title = await plan_title(visit.deps.db, purchase.plan_id, visit.speech.language)
    return payment.subject(visit.speech, purchase, title)


async def _show_page(visit: Visit, opened: Opened, what: str, retry: Action) -> None:
    """Make the invoice, unless there is an open one, and show where to pay it."""
    purchase, deps = opened.purchase, visit.deps
    provider = deps.providers.get(purchase.method)
    try:
        if provider is None:
            raise PaymentError(f"{purchase.method} is not set up any more")
        invoice = await invoice_for(
            deps.db,
            provider,
            purchase,
            description=_description(visit.speech, purchase, what),
            return_url=deps.return_url,
            now=opened.now,
        )
    except PaymentError as error:
        log.warning(
            "bot.invoice_failed",
            message=f"no invoice for {purchase.public_id}: {error}",
            provider=purchase.method,
        )
        await visit.show(payment.provider_down(visit.speech, purchase, retry))
        return
    await visit.show(
        payment.by_page(visit.speech, what, purchase, invoice.url, invoice.expires_at, opened.now)
    )


def _description(speech: Speech, purchase: Purchase, what: str) -> str:
    if purchase.kind == "topup":
        return speech.label("invoice-description-topup")
    return speech.label("invoice-description", what=what)


def _invoice(speech: Speech, purchase: Purchase, what: str) -> stars.StarsInvoice:
    if purchase.kind == "topup":
        title = speech.label("invoice-title-topup")
    else:
        title = speech.label("invoice-title", period=speech.period(purchase.days))
    return stars.invoice_parameters(purchase, title=title, description=_description(speech, purchase, what))


async def _send_invoice(visit: Visit, purchase: Purchase, what: str) -> None:
    """Send the Stars invoice as a message of its own, and note that; where that fails, the next tap sends it once more."""
    invoice = _invoice(visit.speech, purchase, what)
    await visit.deps.sender.call(Lane.REPLY, "send_invoice", chat_id=visit.chat_id, **invoice.as_request())
    if purchase.invoice_sent_at is None:
        await note_in_passing(
            "that an invoice was sent", lambda: note_invoice_sent(visit.deps.db, purchase.id)
        )


async def _show_monthly(visit: Visit, purchase: Purchase, what: str) -> None:
    """Have Telegram make a link, which is the only way that a subscription in Stars can begin."""
    invoice = _invoice(visit.speech, purchase, what)
    url = await visit.deps.sender.call(Lane.REPLY, "create_invoice_link", **invoice.as_request())
    await visit.show(payment.stars_monthly(visit.speech, what, purchase, url))


async def _ask_about_balance(visit: Visit, purchase: Purchase, what: str) -> None:
    """Ask whether to pay from the balance, or say what it lacks."""
    deps = visit.deps
    have = (await purse_of(deps.db, visit.customer.id, deps.currency)).total
    if have >= purchase.amount:
        await visit.show(payment.confirm_balance(visit.speech, what, purchase, have))
        return
    missing = max(purchase.amount - have, deps.topups.least)
    can_fill = bool(ways_to_fill(deps.terms, deps.topups, deps.currency, missing))
    await visit.show(
        payment.short_balance(visit.speech, what, purchase, have, deps.topups, can_fill=can_fill)
    )


async def send_invoice_again(visit: Visit, public_id: str) -> bool:
    """Send a Stars invoice once more. False if there is no such purchase of this customer."""
    purchase = await purchase_of(visit.deps.db, public_id, visit.customer.telegram_id)
    if purchase is None:
        return False
    now = await business_now(visit.deps.db)
    if (
        purchase.method != stars.NAME
        or purchase.recurring
        or purchase.status != "pending"
        or purchase.expires_at <= now
    ):
        await visit.show(payment.standing(visit.speech, purchase, now))
        return True
    await _send_invoice(visit, purchase, await _subject(visit, purchase))
    return True


# ------------------------------------------------------------------------------------------ paying


async def pay_from_balance(visit: Visit, public_id: str) -> bool:
    """Take the price of a purchase from the balance, once. False if there is no such purchase of this customer."""
    deps, who = visit.deps, visit.customer.telegram_id
    purchase = await purchase_of(deps.db, public_id, who)
    if purchase is None or purchase.method != BALANCE:
        return False
    now = await business_now(deps.db)
    if purchase.status == "pending" and purchase.expires_at > now:
        try:
            await settle_charge(deps.db, charge_of(purchase), on_commit=deps.on_settled)
        except InsufficientBalance:  # spent since he was asked
            await _ask_about_balance(visit, purchase, await _subject(visit, purchase))
            return True
        except PurchaseClosed as closed:
            log.info("bot.purchase_closed", message=f"{public_id} was not paid from the balance: {closed}")
        purchase = await purchase_of(deps.db, public_id, who) or purchase
    await visit.show(payment.standing(visit.speech, purchase, now))
    return True


async def complete(visit: Visit, public_id: str) -> bool:
    """Show how to pay what is still missing of a purchase that was paid in part. False if it is not this customer's."""
    who = visit.customer.telegram_id

    async def body(tx: Transaction) -> tuple[bool, Opened | None]:
        reopened = await reopen_purchase(tx, public_id, who)
        purchase = await purchase_of(tx, public_id, who)
        return reopened, None if purchase is None else await _opened(tx, purchase)

    reopened, opened = await visit.deps.db.run("bot.complete", body)
    if opened is None:
        return False
    if reopened:
        await present(visit, opened, Complete(public_id))
    else:
        await visit.show(payment.standing(visit.speech, opened.purchase, opened.now))
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
    """Ask the provider about the purchase's invoice, and settle it if it is paid: somebody is waiting for it."""
    invoice = purchase.invoice
    if invoice is None or invoice.status == "expired":
        return False
    provider = visit.deps.providers.get(invoice.provider)
    if provider is None:
        return False
    try:
        states = await provider.invoice_states([invoice.external_id])
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
