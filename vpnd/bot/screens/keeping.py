"""What can be done with a subscription beside paying for it: how it renews itself, and another plan for the rest of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from vpnd.bot.callbacks import (
    ChangeNow,
    ChangePlan,
    ChangeTo,
    Home,
    MorePeriods,
    OneSubscription,
    Periods,
    Plans,
    Renewal,
    StopStars,
    StopStarsNow,
)
from vpnd.bot.reading import Held
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech
from vpnd.shop.plan_change import PlanChange
from vpnd.shop.subscriptions import Subscription

_MILLION: Final = 1_000_000
_LARGEST_RATE: Final = 2**63 - 1  # what a button can carry


def rate_of(change: PlanChange) -> int:
    """The rate of a change as its button carries it: new seconds for a million old ones."""
    rate = (change.rate * Decimal(_MILLION)).to_integral_value(ROUND_HALF_EVEN)
    return min(int(rate), _LARGEST_RATE)


def go_on(speech: Speech, subscription: Subscription) -> Button:
    """How a subscription goes on: it is renewed in its plan; a trial becomes whatever is bought."""
    if subscription.trial:
        return Button(speech.label("button-choose-plan"), Plans())
    return Button(speech.label("button-renew"), Periods(subscription.plan_id, subscription.id))


def renewal_line(speech: Speech, held: Held) -> str | None:
    """How a subscription goes on by itself; nothing for one that was only ever given."""
    subscription = held.subscription
    if subscription.renews == "stars":
        return speech.say("renews-stars")
    if subscription.renews == "balance":
        return speech.say("renews-balance")
    return None if subscription.offer_id is None else speech.say("renews-off")


def keeping_rows(speech: Speech, held: Held) -> list[Row]:
    """The buttons for all of this below a subscription that is on."""
    subscription = held.subscription
    rows: list[Row] = []
    if subscription.renews == "stars":
        rows.append((Button(speech.label("button-stop-stars"), StopStars(subscription.id)),))
    elif subscription.renews == "balance":
        rows.append((Button(speech.label("button-renewal-off"), Renewal(subscription.id, 0)),))
    elif subscription.offer_id is not None:
        rows.append((Button(speech.label("button-renewal-on"), Renewal(subscription.id, 1)),))
    if subscription.trial:
        return rows  # it becomes whatever is bought
    more = Button(speech.label("button-one-more"), MorePeriods(subscription.plan_id))
    if held.can_change:
        rows.append((Button(speech.label("button-change-plan"), ChangePlan(subscription.id)),))
    rows.append((more,))
    return rows


def _back(speech: Speech, subscription_id: int) -> Row:
    return (
        Button(speech.label("button-back"), OneSubscription(subscription_id)),
        Button(speech.label("button-home"), Home()),
    )


def stop_stars(speech: Speech, held: Held) -> Screen:
    """The question whether Telegram is to charge no more."""
    subscription = held.subscription
    text = speech.say("stop-stars", title=held.called(speech.language), until=subscription.expires_at)
    yes = Button(speech.label("button-stop-stars-yes"), StopStarsNow(subscription.id))
    return Screen(text, ((yes,), _back(speech, subscription.id)))


def other_plans(
    speech: Speech, held: Held, choices: Sequence[tuple[str, PlanChange]], now: datetime
) -> Screen:
    """The plans that what is left can be changed to, with their titles and how long it would last in each."""
    subscription = held.subscription
    title = held.title(speech.language)
    if not choices:
        return Screen(speech.say("change-none", title=title), (_back(speech, subscription.id),))
    rows: list[Row] = []
    for name, change in choices:
        label = speech.label("button-change-to", title=name, left=speech.left(change.expires_at, now))
        rows.append((Button(label, ChangeTo(subscription.id, change.to_plan)),))
    left = speech.left(subscription.expires_at, now)
    return Screen(speech.say("change-plan", title=title, left=left), (*rows, _back(speech, subscription.id)))


def confirm_change(
    speech: Speech, held: Held, name: str, change: PlanChange, now: datetime, *, preface: str | None = None
) -> Screen:
    """The question whether to change to this plan, and what becomes of the time that is left."""
    subscription = held.subscription
    text = speech.say(
        "change-confirm",
        title=held.title(speech.language),
        other=name,
        before=speech.left(subscription.expires_at, now),
        after=speech.left(change.expires_at, now),
        until=change.expires_at,
    )
    yes = Button(
        speech.label("button-change-yes"), ChangeNow(subscription.id, change.to_plan, rate_of(change))
    )
    back = (
        Button(speech.label("button-back"), ChangePlan(subscription.id)),
        Button(speech.label("button-home"), Home()),
    )
    return Screen(f"{preface}\n\n{text}" if preface else text, ((yes,), back))


def no_change(speech: Speech, subscription_id: int, key: str) -> Screen:
    """This plan cannot be changed, and why not."""
    return Screen(speech.say(key), (_back(speech, subscription_id),))
