"""Paying: what to do now, and how a payment stands."""

from __future__ import annotations

import math
from datetime import datetime

from vpnd.bot.callbacks import Home, InvoiceAgain, Methods, Paid, Pay, Plans, Subscriptions
from vpnd.bot.screens.screen import Button, Screen
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money
from vpnd.shop.purchases import Purchase


def _price(purchase: Purchase) -> Money:
    return Money(purchase.amount, purchase.currency)


def _other_method(speech: Speech, purchase: Purchase) -> Button:
    return Button(
        speech.label("button-other-method"), Methods(purchase.offer_id, purchase.subscription_id or 0)
    )


def cryptopay(
    speech: Speech, title: str, purchase: Purchase, url: str, expires_at: datetime, now: datetime
) -> Screen:
    """Where to pay by Crypto Pay, and the question whether it is done."""
    minutes = max(1, math.ceil((expires_at - now).total_seconds() / 60))
    text = speech.say(
        "pay-cryptopay",
        title=title,
        period=speech.period(purchase.days),
        price=_price(purchase),
        minutes=minutes,
    )
    return Screen(
        text,
        (
            (Button(speech.label("button-pay", price=_price(purchase)), url=url),),
            (Button(speech.label("button-check-paid"), Paid(purchase.public_id)),),
            (_other_method(speech, purchase),),
        ),
    )


def stars(speech: Speech, title: str, purchase: Purchase, *, sent_before: bool) -> Screen:
    """The words above a Stars invoice, which is a message of its own."""
    key = "pay-stars-waiting" if sent_before else "pay-stars"
    text = speech.say(key, title=title, period=speech.period(purchase.days), price=_price(purchase))
    again = Button(speech.label("button-invoice-again"), InvoiceAgain(purchase.public_id))
    rows = [(again,)] if sent_before else []
    return Screen(text, (*rows, (_other_method(speech, purchase),)))


def standing(speech: Speech, purchase: Purchase, now: datetime | None = None) -> Screen:
    """The answer to "I have paid"; `now` is business time, after which an unpaid purchase is closed."""
    home = (Button(speech.label("button-home"), Home()),)
    if purchase.status == "paid":
        return Screen(
            speech.say("pay-done"), ((Button(speech.label("button-subscription"), Subscriptions()),), home)
        )
    if purchase.status == "pending" and (now is None or purchase.expires_at > now):
        check = (Button(speech.label("button-check-paid"), Paid(purchase.public_id)),)
        invoice = purchase.invoice
        if invoice is not None and invoice.url and invoice.status == "active":
            pay = (Button(speech.label("button-pay", price=_price(purchase)), url=invoice.url),)
            return Screen(speech.say("pay-pending"), (pay, check, home))
        return Screen(speech.say("pay-pending"), (check, home))
    return Screen(speech.say("pay-closed"), ((Button(speech.label("button-buy"), Plans()),), home))


def provider_down(speech: Speech, purchase: Purchase, retry: Pay) -> Screen:
    """The provider did not make an invoice: try again, or pay another way."""
    return Screen(
        speech.say("pay-provider-down"),
        ((Button(speech.label("button-retry"), retry),), (_other_method(speech, purchase),)),
    )
