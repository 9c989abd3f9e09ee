"""The customer's subscriptions: how they stand, their links, their QR codes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vpnd.bot.callbacks import Home, OneSubscription, Plans, QrCode, Subscriptions
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.markup import Markup, code
from vpnd.bot.own_callbacks import Connect, Rename, Rotate
from vpnd.bot.reading import Held
from vpnd.bot.screens.keeping import go_on, keeping_rows, renewal_line
from vpnd.bot.screens.screen import MAX_COPY, Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech

_LINKS_SHOWN = 3  # more would push the buttons off a phone's screen; the page carries them all


def link_block(speech: Speech, connect: ConnectInfo, most: int = _LINKS_SHOWN) -> str | None:
    """The page, else at most `most` links, each tap-to-copy; None when no node has told us where it is yet."""
    shown = [connect.page_url] if connect.page_url else list(connect.links[:most])
    if not shown:
        return None
    return speech.say("link-block", link=Markup("\n\n".join(code(link) for link in shown)))


def copy_row(label: str, connect: ConnectInfo) -> Row:
    """A button that copies the link, where Telegram allows one so long."""
    best = connect.best
    return (Button(label, copy=best),) if best is not None and len(best) <= MAX_COPY else ()


def nothing(speech: Speech) -> Screen:
    """No subscription yet."""
    return Screen(
        speech.say("subscription-none"),
        ((Button(speech.label("button-buy"), Plans()),), (Button(speech.label("button-home"), Home()),)),
    )


def several(speech: Speech, held: Sequence[Held], now: datetime) -> Screen:
    """One button a subscription."""
    rows = tuple((Button(_name_of(speech, one, now), OneSubscription(one.subscription.id)),) for one in held)
    return Screen(speech.say("subscriptions"), (*rows, (Button(speech.label("button-home"), Home()),)))


def _name_of(speech: Speech, held: Held, now: datetime) -> str:
    """What a subscription is called on its button: its owner's name, else the plan and until when."""
    subscription = held.subscription
    state = "active" if subscription.expires_at > now else "expired"
    if subscription.title is not None:
        return speech.label("button-named-subscription", title=subscription.title, state=state)
    title = held.title(speech.language)
    return speech.label("button-one-subscription", title=title, state=state, until=subscription.expires_at)


def one(
    speech: Speech,
    held: Held,
    connect: ConnectInfo,
    now: datetime,
    *,
    others: bool = False,
    preface: str | None = None,
) -> Screen:
    """One subscription: its state, its link while it is on, and what can be done with it. `preface` is HTML said before."""
    subscription = held.subscription
    title, until = held.called(speech.language), subscription.expires_at
    renew = (go_on(speech, subscription),)
    home = Button(speech.label("button-home"), Home())
    back = (Button(speech.label("button-back"), Subscriptions()), home) if others else (home,)
    if not subscription.active or until <= now:
        text = paragraphs(preface, speech.say("subscription-expired", title=title, until=until))
        return Screen(text, (renew, back))
    if subscription.activated_at is None:
        head = speech.say("subscription-starting", title=title, until=until)
    else:
        head = speech.say("subscription-active", title=title, until=until, left=speech.left(until, now))
    link = link_block(speech, connect)
    rows: list[Row] = []
    if link is not None:
        rows.append(copy_row(speech.label("button-copy"), connect))
        rows.append(
            (
                Button(speech.label("button-qr"), QrCode(subscription.id)),
                Button(speech.label("button-how-to-connect"), Connect(subscription.id)),
            )
        )
    own = (
        Button(speech.label("button-rename"), Rename(subscription.id)),
        Button(speech.label("button-rotate"), Rotate(subscription.id)),
    )
    rows += [renew, *keeping_rows(speech, held), own, back]
    text = paragraphs(preface, head, link or speech.say("subscription-no-server"), renewal_line(speech, held))
    return Screen(text, tuple(rows))


def qr_code(speech: Speech, held: Held, connect: ConnectInfo) -> Screen:
    """The link as a picture, in a message of its own."""
    caption = speech.say("qr-caption", title=held.called(speech.language))
    return Screen(caption, _below_qr(speech, held), qr=connect.best)


def qr_failed(speech: Speech, held: Held, connect: ConnectInfo) -> Screen:
    """The link in words, when it could not be drawn."""
    return Screen(
        paragraphs(speech.say("qr-unavailable"), link_block(speech, connect)), _below_qr(speech, held)
    )


def _below_qr(speech: Speech, held: Held) -> tuple[Row, Row]:
    own = Button(speech.label("button-subscription"), OneSubscription(held.subscription.id))
    return (own,), (Button(speech.label("button-home"), Home()),)
