"""Paying: what to do now, and how a payment stands."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from vpnd.bot.callbacks import (
    Action,
    Balance,
    Complete,
    Home,
    InvoiceAgain,
    Paid,
    PayFromBalance,
    Plans,
    Subscriptions,
    TopUp,
    TopUpAmount,
)
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech
from vpnd.bot.ways import Target
from vpnd.payments.terms import TopUps
from vpnd.shop.money import Money
from vpnd.shop.purchases import Purchase

#: How each provider with a page of its own is paid.
_PAGES: Final = {"cryptopay": "pay-cryptopay", "yookassa": "pay-yookassa"}


def subject(speech: Speech, purchase: Purchase, title: str) -> str:
    """What a purchase is of, as plain text: plan and period, or the balance. `title` is the plan's."""
    if purchase.kind == "topup":
        return speech.label("subject-topup")
    period = speech.period(purchase.days)
    if purchase.bonus_days:
        bonus = speech.period(purchase.bonus_days)
        return speech.label("subject-access-bonus", title=title, period=period, bonus=bonus)
    return speech.label("subject-access", title=title, period=period)


def _due(purchase: Purchase) -> Money:
    """What is to be paid now."""
    return Money(purchase.missing, purchase.currency)


def _home(speech: Speech) -> Row:
    return (Button(speech.label("button-home"), Home()),)


def target_of(purchase: Purchase) -> Target:
    """What a purchase is for, as its buttons say it."""
    return Target(purchase.subscription_id or 0, purchase.fresh)


def _way_back(speech: Speech, purchase: Purchase) -> tuple[Row, Row]:
    """Another method, and home: below every screen on which a purchase is paid."""
    if purchase.offer_id is None:
        action: Action = TopUpAmount(purchase.shop_amount)
    else:
        action = target_of(purchase).methods(purchase.offer_id)
    return (Button(speech.label("button-other-method"), action),), _home(speech)


def by_page(
    speech: Speech, what: str, purchase: Purchase, url: str, expires_at: datetime, now: datetime
) -> Screen:
    """Where to pay on a provider's page, and the question whether it is done."""
    minutes = max(1, math.ceil((expires_at - now).total_seconds() / 60))
    text = speech.say(_PAGES[purchase.method], what=what, price=_due(purchase), minutes=minutes)
    return Screen(
        text,
        (
            (Button(speech.label("button-pay", price=_due(purchase)), url=url),),
            (Button(speech.label("button-check-paid"), Paid(purchase.public_id)),),
            *_way_back(speech, purchase),
        ),
    )


def stars(speech: Speech, what: str, purchase: Purchase, *, sent_before: bool) -> Screen:
    """The words above a Stars invoice, which is a message of its own."""
    key = "pay-stars-waiting" if sent_before else "pay-stars"
    text = speech.say(key, what=what, price=_due(purchase))
    again = Button(speech.label("button-invoice-again"), InvoiceAgain(purchase.public_id))
    rows = [(again,)] if sent_before else []
    return Screen(text, (*rows, *_way_back(speech, purchase)))


def stars_monthly(speech: Speech, what: str, purchase: Purchase, url: str) -> Screen:
    """Where a subscription in Stars begins: Telegram opens such a link by itself."""
    text = speech.say("pay-stars-monthly", what=what, price=_due(purchase))
    pay = Button(speech.label("button-pay-monthly", price=_due(purchase)), url=url)
    return Screen(text, ((pay,), *_way_back(speech, purchase)))


def confirm_balance(speech: Speech, what: str, purchase: Purchase, have: int) -> Screen:
    """The question whether a purchase is to be paid from the balance, with what is left then."""
    left = Money(have - purchase.amount, purchase.currency)
    return Screen(
        speech.say("pay-balance", what=what, price=_due(purchase), left=left),
        (
            (
                Button(
                    speech.label("button-pay-balance", price=_due(purchase)),
                    PayFromBalance(purchase.public_id),
                ),
            ),
            *_way_back(speech, purchase),
        ),
    )


def short_balance(
    speech: Speech, what: str, purchase: Purchase, have: int, topups: TopUps, *, can_fill: bool
) -> Screen:
    """The balance does not hold the price: what is missing, and how to get it there."""
    missing = purchase.amount - have
    currency = purchase.currency
    text = speech.say(
        "pay-balance-short",
        what=what,
        price=_due(purchase),
        have=Money(have, currency),
        missing=Money(missing, currency),
        fill="yes" if can_fill else "no",
    )
    rows: list[Row] = []
    if can_fill:
        rows.append((top_up_by(speech, missing, currency, topups),))
    if purchase.offer_id is not None:
        again = target_of(purchase).pay("balance", purchase.offer_id)
        rows.append((Button(speech.label("button-retry"), again),))
    return Screen(text, (*rows, *_way_back(speech, purchase)))


def top_up_by(speech: Speech, missing: int, currency: str, topups: TopUps) -> Button:
    """A button that fills the balance by what is missing: not less than can be filled, nor more."""
    amount = max(missing, topups.least)
    if amount > topups.most:
        return Button(speech.label("button-top-up"), TopUp())
    return Button(speech.label("button-top-up-by", amount=Money(amount, currency)), TopUpAmount(amount))


def standing(speech: Speech, purchase: Purchase, now: datetime | None = None) -> Screen:
    """The answer to "I have paid"; `now` is business time, after which an unpaid purchase is closed."""
    home = _home(speech)
    kind = purchase.kind
    if purchase.status == "paid":
        own = Balance() if kind == "topup" else Subscriptions()
        key = "button-balance" if kind == "topup" else "button-subscription"
        return Screen(speech.say("pay-done", kind=kind), ((Button(speech.label(key), own),), home))
    if purchase.status == "refunded":
        return Screen(speech.say("pay-refunded"), ((Button(speech.label("button-buy"), Plans()),), home))
    if purchase.status == "pending" and (now is None or purchase.expires_at > now):
        return _pending(speech, purchase)
    if 0 < purchase.received < purchase.amount and kind == "access":
        rest = Money(purchase.missing, purchase.currency)
        complete = Button(speech.label("button-complete", price=rest), Complete(purchase.public_id))
        return Screen(speech.say("pay-incomplete", missing=rest), ((complete,), home))
    again = (
        Button(speech.label("button-top-up"), TopUp())
        if kind == "topup"
        else Button(speech.label("button-buy"), Plans())
    )
    return Screen(speech.say("pay-closed", kind=kind), ((again,), home))


def _pending(speech: Speech, purchase: Purchase) -> Screen:
    text = speech.say("pay-pending", kind=purchase.kind)
    rows: list[Row] = [(Button(speech.label("button-check-paid"), Paid(purchase.public_id)),)]
    invoice = purchase.invoice
    if (
        invoice is not None
        and invoice.url
        and invoice.status == "active"
        and invoice.amount == purchase.missing
    ):
        rows.insert(0, (Button(speech.label("button-pay", price=_due(purchase)), url=invoice.url),))
    return Screen(text, (*rows, _home(speech)))


def provider_down(speech: Speech, purchase: Purchase, retry: Action) -> Screen:
    """The provider did not make an invoice: try again, or pay another way."""
    return Screen(
        speech.say("pay-provider-down"),
        ((Button(speech.label("button-retry"), retry),), *_way_back(speech, purchase)),
    )
