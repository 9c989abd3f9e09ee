"""The first screen, the invitation, and the choice of a language."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from vpnd.bot.callbacks import Help, Home, Invite, Languages, Periods, Plans, SetLanguage, Subscriptions
from vpnd.bot.markup import code
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.bot.texts import Texts
from vpnd.shop.subscriptions import Subscription


def menu_rows(speech: Speech, subscription: Subscription | None) -> tuple[Row, ...]:
    """The buttons of the first screen; `subscription` is the one that lasts longest, if there is any."""
    rows: list[Row] = []
    if subscription is None:
        rows.append((Button(speech.label("button-buy"), Plans()),))
    else:
        rows.append((Button(speech.label("button-subscription"), Subscriptions()),))
        renew = Periods(subscription.plan_id, subscription.id)
        rows.append(
            (Button(speech.label("button-renew"), renew), Button(speech.label("button-plans"), Plans()))
        )
    rows.append(
        (Button(speech.label("button-help"), Help()), Button(speech.label("button-invite"), Invite()))
    )
    rows.append((Button(speech.label("button-language"), Languages()),))
    return tuple(rows)


def home(
    speech: Speech, name: str, subscription: Subscription | None, now: datetime, *, preface: str | None = None
) -> Screen:
    """The first screen, with how the longest-lasting subscription stands. `preface` is HTML said before it."""
    if subscription is None:
        text = speech.say("home-new", name=name)
    elif subscription.expires_at > now:
        left = speech.left(subscription.expires_at, now)
        text = speech.say("home-active", name=name, until=subscription.expires_at, left=left)
    else:
        text = speech.say("home-expired", name=name, until=subscription.expires_at)
    return Screen(paragraphs(preface, text), menu_rows(speech, subscription))


def invite(speech: Speech, bot_username: str, referral_code: str, guests: int) -> Screen:
    """The customer's own link, and how many came by it."""
    link = f"https://t.me/{bot_username}?start=ref_{referral_code}"
    share = (
        f"https://t.me/share/url?url={quote(link, safe='')}&text={quote(speech.label('alert-share-text'))}"
    )
    return Screen(
        speech.say("invite", link=code(link), count=guests),
        (
            (Button(speech.label("button-share"), url=share),),
            (Button(speech.label("button-home"), Home()),),
        ),
    )


def languages(speech: Speech, texts: Texts) -> Screen:
    """One button a language, each in its own."""
    choices = tuple(
        (Button(texts.plain(language, "button-this-language"), SetLanguage(language)),)
        for language in texts.languages
    )
    return Screen(speech.say("languages"), (*choices, (Button(speech.label("button-home"), Home()),)))
