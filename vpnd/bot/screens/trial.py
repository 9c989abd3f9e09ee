"""The trial: what it is, the link it brings, and why there is none."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vpnd.bot.callbacks import Home, OneSubscription, Plans, StartTrial, Subscriptions
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.reading import Held
from vpnd.bot.screens.connecting import platform_rows
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.subscription import copy_row, link_block
from vpnd.bot.speech import Speech
from vpnd.shop.trial import Reason

# Why there is no trial, by the shop's reason.
_REASONS: Final[dict[Reason, str]] = {
    "off": "trial-off",
    "paused": "trial-paused",
    "used": "trial-used",
    "active": "trial-active",
    "bought": "trial-bought",
    "no_plan": "trial-off",
}


def offer(speech: Speech, title: str, hours: int) -> Screen:
    """What is tried and for how long, and the button that begins it. `title` is the plan's."""
    return Screen(
        speech.say("trial", title=title, period=speech.hours(hours)),
        (
            (Button(speech.label("button-start-trial"), StartTrial()),),
            (Button(speech.label("button-plans"), Plans()), Button(speech.label("button-home"), Home())),
        ),
    )


def started(speech: Speech, held: Held, connect: ConnectInfo, now: datetime) -> Screen:
    """It has begun: the link and its QR code, as after a purchase."""
    until = held.subscription.expires_at
    head = speech.say(
        "trial-started", title=held.title(speech.language), until=until, left=speech.left(until, now)
    )
    own = (Button(speech.label("button-subscription"), OneSubscription(held.subscription.id)),)
    home = (Button(speech.label("button-home"), Home()),)
    rows: list[Row] = [*platform_rows(speech, held.subscription.id), own, home]
    link = link_block(speech, connect, most=1)
    if link is None:
        return Screen(paragraphs(head, speech.say("receipt-no-link")), tuple(rows))
    rows.insert(0, copy_row(speech.label("button-copy"), connect))
    return Screen(paragraphs(head, link, speech.say("connect-steps")), tuple(rows), qr=connect.best)


def unavailable(speech: Speech, reason: Reason) -> Screen:
    """There is no trial for this customer: why, and what there is instead."""
    home = (Button(speech.label("button-home"), Home()),)
    if reason == "active":
        way_on = Button(speech.label("button-subscription"), Subscriptions())
    else:
        way_on = Button(speech.label("button-buy"), Plans())
    return Screen(speech.say(_REASONS[reason]), ((way_on,), home))
