"""What the shop knows of a customer, what is deleted if he wants it, what is kept and why."""

from __future__ import annotations

from datetime import datetime

from vpnd.bot.callbacks import Help, Home
from vpnd.bot.own_callbacks import ForgetMe, ForgetMeNow, MyData
from vpnd.bot.screens.help import support_line, support_row
from vpnd.bot.screens.screen import Button, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.erasure import Holdings
from vpnd.shop.money import Money


def overview(speech: Speech, support: str | None) -> Screen:
    """What is known, and that it can be deleted."""
    return Screen(
        paragraphs(speech.say("my-data"), support_line(speech, support)),
        (
            (Button(speech.label("button-forget-me"), ForgetMe()),),
            support_row(speech, support),
            (Button(speech.label("button-back"), Help()), Button(speech.label("button-home"), Home())),
        ),
    )


def seconds_of(moment: datetime) -> int:
    """When a question was asked, as its button carries it."""
    return int(moment.timestamp())


def confirm(speech: Speech, there_is: Holdings, currency: str, *, preface: str | None = None) -> Screen:
    """The question: what ends, what is deleted, what is kept and why, and what becomes of the balance."""
    access = None
    if there_is.active and there_is.until is not None:
        access = speech.say("forget-me-access", count=there_is.active, until=there_is.until)
    stars = speech.say("forget-me-stars") if there_is.charged_by_stars else None
    money = None
    if there_is.balance:
        money = speech.say("forget-me-balance", balance=Money(there_is.balance, currency))
    yes = Button(speech.label("button-forget-me-yes"), ForgetMeNow(seconds_of(there_is.now)))
    return Screen(
        paragraphs(preface, speech.say("forget-me"), access, stars, money, speech.say("forget-me-kept")),
        (
            (yes,),
            (Button(speech.label("button-back"), MyData()), Button(speech.label("button-home"), Home())),
        ),
    )


def too_late(speech: Speech) -> str:
    """What is said above the question when the answer came to an old one."""
    return speech.say("forget-me-again")


def done(speech: Speech) -> Screen:
    """It is done. Whoever goes on is new."""
    return Screen(speech.say("forget-me-done"), ((Button(speech.label("button-start-anew"), Home()),),))
