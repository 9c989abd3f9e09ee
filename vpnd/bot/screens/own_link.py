"""A subscription's own name, and a new link for it."""

from __future__ import annotations

from datetime import timedelta

from vpnd.bot.callbacks import Home, OneSubscription
from vpnd.bot.own_callbacks import Rotate, RotateNow, Unname
from vpnd.bot.reading import Held
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.titles import LONGEST

_MINUTE = timedelta(minutes=1)


def back_row(speech: Speech, subscription_id: int) -> Row:
    """Back to the subscription, or home."""
    return (
        Button(speech.label("button-back"), OneSubscription(subscription_id)),
        Button(speech.label("button-home"), Home()),
    )


def ask_for_name(speech: Speech, held: Held, *, too_long: bool = False) -> Screen:
    """The request to write a name; one that there is can be taken away. `too_long`: what was written was."""
    subscription = held.subscription
    text = speech.say("rename-again" if too_long else "rename", most=LONGEST)
    now = None if subscription.title is None else speech.say("rename-now", title=subscription.title)
    rows: list[Row] = []
    if subscription.title is not None:
        rows.append((Button(speech.label("button-unname"), Unname(subscription.id)),))
    return Screen(paragraphs(text, now), (*rows, back_row(speech, subscription.id)))


def confirm_rotation(speech: Speech, held: Held) -> Screen:
    """The question whether the link is to be made anew, and what that ends."""
    subscription = held.subscription
    yes = Button(speech.label("button-rotate-yes"), RotateNow(subscription.id))
    text = speech.say("rotate", title=held.called(speech.language))
    return Screen(text, ((yes,), back_row(speech, subscription.id)))


def rotated(speech: Speech) -> str:
    """What is said above the subscription with its new link."""
    return speech.say("rotate-done")


def rotated_before(speech: Speech, held: Held, wait: timedelta) -> Screen:
    """It was made anew a moment ago: when it may be again."""
    minutes = -(-wait // _MINUTE)
    again = Button(speech.label("button-retry"), Rotate(held.subscription.id))
    text = speech.say("rotate-too-soon", title=held.called(speech.language), minutes=minutes)
    return Screen(text, ((again,), back_row(speech, held.subscription.id)))
