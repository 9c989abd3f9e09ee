"""Promo codes: the request to write one, and what became of it."""

from __future__ import annotations

from typing import Final

from vpnd.bot.callbacks import Action, Balance, ForgetPromo, Home, OneSubscription, Plans, Promo
from vpnd.bot.reading import Purse
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money
from vpnd.shop.promos import Entered

# Why a code cannot be used, by the shop's reason.
_REASONS: Final = {
    "unknown": "promo-unknown",
    "early": "promo-early",
    "over": "promo-over",
    "used_up": "promo-used-up",
    "already_used": "promo-already-used",
}


def _home(speech: Speech) -> Row:
    return (Button(speech.label("button-home"), Home()),)


def ask(speech: Speech, purse: Purse) -> Screen:
    """The request to write a code; one that waits already is named and can be taken back."""
    waiting = None
    rows: list[Row] = []
    if purse.code is not None:
        waiting = speech.say("promo-waiting", code=purse.code)
        rows.append((Button(speech.label("button-forget-promo"), ForgetPromo()),))
    return Screen(paragraphs(speech.say("promo"), waiting), (*rows, _home(speech)))


def forgotten(speech: Speech) -> Screen:
    """The code that waited was taken back."""
    another = (Button(speech.label("button-another-promo"), Promo()),)
    return Screen(speech.say("promo-forgotten"), (another, _home(speech)))


def entered(speech: Speech, what: Entered) -> Screen:
    """What a code gives: at once, or with the next purchase."""
    promo = what.promo
    buy: tuple[str, Action] = ("button-buy", Plans())
    if promo.kind == "money" and promo.currency is not None:
        text = speech.say("promo-credited", amount=Money(what.credited, promo.currency))
        way_on: tuple[str, Action] = ("button-balance", Balance())
    elif what.granted is not None:
        period = speech.period(promo.value)
        text = speech.say("promo-granted", bonus=period, until=what.granted.until_at)
        way_on = ("button-subscription", OneSubscription(what.granted.subscription.id))
    elif promo.kind == "days":
        text = speech.say("promo-days", code=promo.code, bonus=speech.period(promo.value))
        way_on = buy
    else:
        text = speech.say("promo-percent", code=promo.code, percent=promo.value)
        way_on = buy
    label, action = way_on
    return Screen(text, ((Button(speech.label(label), action),), _home(speech)))


def why_not(speech: Speech, reason: str) -> str:
    """Why a code cannot be used, kindly."""
    return speech.say(_REASONS[reason])


def unavailable(speech: Speech, reason: str) -> Screen:
    """The code cannot be used: why, and the way to write another."""
    another = (Button(speech.label("button-another-promo"), Promo()),)
    return Screen(why_not(speech, reason), (another, _home(speech)))
