"""Choosing: plan, period, way to pay. Prices are shown in the shop's currency and asked in the method's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vpnd.bot.callbacks import Home, Methods, OneSubscription, Pay, Periods, Plans
from vpnd.bot.markup import Markup
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech
from vpnd.shop.money import EXPONENTS, Money
from vpnd.shop.plans import Offer
from vpnd.shop.purchases import Method, price_currency

_MONTH: Final = timedelta(days=30).days
_LEAST_SAVING: Final = 3  # percent; less is rounding, not an argument


def _shown_price(offer: Offer, shop_currency: str) -> Money:
    """The price in the shop's currency; an offer without one shows the first it has."""
    if shop_currency in offer.prices:
        return Money(offer.prices[shop_currency], shop_currency)
    currency = min(offer.prices)
    return Money(offer.prices[currency], currency)


def _monthly(price: Money, days: int) -> Money:
    """What the price comes to a month, rounded to whole units where that hides nothing (below 1 % of it)."""
    amount = round(price.amount * _MONTH / days)
    unit = 10 ** EXPONENTS.get(price.currency, 0)
    if amount > 100 * unit // 2:
        amount = round(amount / unit) * unit
    return Money(amount, price.currency)


def saving_percent(offer: Offer, offers: Sequence[Offer], shop_currency: str) -> int:
    """How much less a day costs than in the plan's shortest period, in whole percent, never rounded up."""
    mine = _shown_price(offer, shop_currency)
    shortest = min(
        (other for other in offers if other.plan_id == offer.plan_id), key=lambda other: other.days
    )
    theirs = _shown_price(shortest, shop_currency)
    if theirs.currency != mine.currency or shortest.days == offer.days:
        return 0
    full = theirs.amount * offer.days
    return max(0, (full - mine.amount * shortest.days) * 100 // full)


def plans(speech: Speech, offers: Sequence[Offer], shop_currency: str) -> Screen:
    """The plans on sale. One plan only: its periods at once, there being nothing to choose."""
    if not offers:
        return Screen(speech.say("plans-none"), ((Button(speech.label("button-home"), Home()),),))
    by_plan: dict[str, list[Offer]] = {}
    for offer in offers:
        by_plan.setdefault(offer.plan_id, []).append(offer)
    if len(by_plan) == 1:
        return periods(speech, next(iter(by_plan)), offers, shop_currency)
    rows: list[Row] = []
    for plan_id, own in by_plan.items():
        cheapest = min((_shown_price(offer, shop_currency) for offer in own), key=lambda price: price.amount)
        label = speech.label("button-plan", title=own[0].title(speech.language), price=cheapest)
        rows.append((Button(label, Periods(plan_id)),))
    rows.append((Button(speech.label("button-home"), Home()),))
    return Screen(speech.say("plans"), tuple(rows))


def periods(
    speech: Speech, plan_id: str, offers: Sequence[Offer], shop_currency: str, renews: int = 0
) -> Screen:
    """The periods of one plan, with what the longer ones save. The plan must be among `offers`."""
    own = [offer for offer in offers if offer.plan_id == plan_id]
    lines: list[str] = []
    rows: list[Row] = []
    for offer in own:
        price = _shown_price(offer, shop_currency)
        saving = saving_percent(offer, own, shop_currency)
        period = speech.period(offer.days)
        action = Methods(offer.offer_id, renews)
        if saving >= _LEAST_SAVING:
            monthly = _monthly(price, offer.days)
            lines.append(
                speech.say("period-line-saving", period=period, price=price, monthly=monthly, percent=saving)
            )
            label = speech.label("button-period-saving", period=period, price=price, percent=saving)
        else:
            lines.append(speech.say("period-line", period=period, price=price))
            label = speech.label("button-period", period=period, price=price)
        rows.append((Button(label, action),))
    several = len({offer.plan_id for offer in offers}) > 1
    back = OneSubscription(renews) if renews else Plans() if several else Home()
    rows.append((Button(speech.label("button-home" if isinstance(back, Home) else "button-back"), back),))
    key = "periods-renew" if renews else "periods"
    # The lines are finished HTML already.
    text = speech.say(key, title=own[0].title(speech.language), list=Markup("\n".join(lines)))
    return Screen(text, tuple(rows))


def methods(
    speech: Speech, offer: Offer, shop_currency: str, available: Sequence[Method], renews: int = 0
) -> Screen:
    """The ways to pay for one offer: those that are set up and that it has a price for."""
    rows: list[Row] = []
    for method in available:
        currency = price_currency(method, shop_currency)
        if currency in offer.prices and shop_currency in offer.prices:
            price = Money(offer.prices[currency], currency)
            label = speech.label(f"button-method-{method}", price=price)
            rows.append((Button(label, Pay(method, offer.offer_id, renews)),))
    title, period = offer.title(speech.language), speech.period(offer.days)
    if rows:
        text = speech.say("methods", title=title, period=period, price=_shown_price(offer, shop_currency))
    else:
        text = speech.say("methods-none", title=title, period=period)
    rows.append((Button(speech.label("button-back"), Periods(offer.plan_id, renews)),))
    return Screen(text, tuple(rows))
