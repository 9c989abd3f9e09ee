"""The first screen, the invitation, and the choice of a language."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from vpnd.bot.callbacks import (
    Balance,
    Help,
    Home,
    Invite,
    Languages,
    Notifications,
    Plans,
    Promo,
    SetLanguage,
    Subscriptions,
    Trial,
)
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.markup import code
from vpnd.bot.own_callbacks import InviteQr
from vpnd.bot.screens.keeping import go_on
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.bot.texts import Texts
from vpnd.shop.money import Money
from vpnd.shop.referrals import ReferralStanding
from vpnd.shop.subscriptions import Subscription


def menu_rows(
    speech: Speech, subscription: Subscription | None, *, trial_hours: int = 0, desk: bool = False
) -> tuple[Row, ...]:
    """The buttons of the first screen; `subscription` is the one that lasts longest, if there is any.

    `trial_hours` is how long a trial is offered to this customer; 0: none. `desk`: he is one of those who run the shop.
    """
    rows: list[Row] = []
    if trial_hours:
        rows.append((Button(speech.label("button-trial", period=speech.hours(trial_hours)), Trial()),))
    if subscription is None:
        rows.append((Button(speech.label("button-buy"), Plans()),))
    else:
        rows.append((Button(speech.label("button-subscription"), Subscriptions()),))
        plans = () if subscription.trial else (Button(speech.label("button-plans"), Plans()),)
        rows.append((go_on(speech, subscription), *plans))
    rows.append(
        (Button(speech.label("button-balance"), Balance()), Button(speech.label("button-promo"), Promo()))
    )
    rows.append(
        (Button(speech.label("button-help"), Help()), Button(speech.label("button-invite"), Invite()))
    )
    rows.append(
        (
            Button(speech.label("button-notifications"), Notifications()),
            Button(speech.label("button-language"), Languages()),
        )
    )
    if desk:
        rows.append((Button(speech.label("button-desk"), Desk()),))
    return tuple(rows)


def home(
    speech: Speech,
    name: str,
    subscription: Subscription | None,
    now: datetime,
    balance: Money,
    *,
    trial_hours: int = 0,
    preface: str | None = None,
    desk: bool = False,
) -> Screen:
    """The first screen: how the longest-lasting subscription stands, and what lies on the balance.

    An empty balance is told to whoever has a subscription; a newcomer has nothing to look for there. `preface` is HTML said
    before it.
    """
    if subscription is None:
        text = speech.say("home-new", name=name)
    elif subscription.expires_at <= now or not subscription.active:
        text = speech.say("home-expired", name=name, until=subscription.expires_at)
    elif subscription.activated_at is None:
        text = speech.say("home-starting", name=name, until=subscription.expires_at)
    else:
        left = speech.left(subscription.expires_at, now)
        text = speech.say("home-active", name=name, until=subscription.expires_at, left=left)
    purse = None if subscription is None and not balance.amount else speech.say("home-balance", total=balance)
    return Screen(
        paragraphs(preface, text, purse), menu_rows(speech, subscription, trial_hours=trial_hours, desk=desk)
    )


def invite_link(bot_username: str, referral_code: str) -> str:
    """The link by which a friend is counted as this customer's guest."""
    return f"https://t.me/{bot_username}?start=ref_{referral_code}"


def invite_qr(speech: Speech, link: str) -> Screen:
    """The link as a picture to be scanned, in a message of its own."""
    back = (
        Button(speech.label("button-invite"), Invite()),
        Button(speech.label("button-home"), Home()),
    )
    return Screen(speech.say("invite-qr", link=code(link)), (back,), qr=link)


def invite(speech: Speech, link: str, standing: ReferralStanding, currency: str) -> Screen:
    """The customer's own link, how many came by it, and what he gets of what they pay; `currency` is of his earnings."""
    share = (
        f"https://t.me/share/url?url={quote(link, safe='')}&text={quote(speech.label('alert-share-text'))}"
    )
    return Screen(
        paragraphs(
            speech.say("invite", link=code(link), count=standing.guests),
            *_rewards(speech, standing, currency),
        ),
        (
            (
                Button(speech.label("button-share"), url=share),
                Button(speech.label("button-qr"), InviteQr()),
            ),
            (Button(speech.label("button-home"), Home()),),
        ),
    )


def _rewards(speech: Speech, standing: ReferralStanding, currency: str) -> Iterator[str | None]:
    """The rewards, in a shop that has any: nothing is promised that does not exist."""
    if not standing.percent and standing.next_at is None:
        return
    yield speech.say("invite-level", percent=standing.percent) if standing.percent else None
    if standing.next_at is not None:
        # The next level may begin with one who has come already, by a change of the levels.
        missing = max(standing.next_at - standing.paying, 1)
        yield speech.say("invite-next", count=missing, percent=standing.next_percent or 0)
    yield speech.say("invite-earned", paying=standing.paying, earned=Money(standing.earned, currency))


def languages(speech: Speech, texts: Texts) -> Screen:
    """One button a language, each in its own."""
    choices = tuple(
        (Button(texts.plain(language, "button-this-language"), SetLanguage(language)),)
        for language in texts.languages
    )
    return Screen(speech.say("languages"), (*choices, (Button(speech.label("button-home"), Home()),)))
