"""Choosing: plan, period, way to pay. Prices are shown in the shop's currency and asked in the method's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vpnd.bot.callbacks import Action, Home, OneSubscription, Periods, Plans, Subscriptions
from vpnd.bot.markup import Markup
from vpnd.bot.reading import Purse
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.bot.ways import Target, Way
from vpnd.shop.money import EXPONENTS, Money
from vpnd.shop.plans import Offer
from vpnd.shop.pricing import Price, discounted

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


def terms_rows(speech: Speech, terms_url: str | None) -> tuple[Row, ...]:
    """The button that opens the terms, in a shop that has written them down."""
    return ((Button(speech.label("button-terms"), url=terms_url),),) if terms_url is not None else ()


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


def plans(
    speech: Speech,
    offers: Sequence[Offer],
    shop_currency: str,
    *,
    preface: str | None = None,
    terms_url: str | None = None,
) -> Screen:
    """The plans on sale. One plan only: its periods at once, there being nothing to choose. `preface` is HTML said before.

    `terms_url` leads to what a customer agrees to by paying.
    """
    if not offers:
        text = paragraphs(preface, speech.say("plans-none"))
        return Screen(text, ((Button(speech.label("button-home"), Home()),),))
    by_plan: dict[str, list[Offer]] = {}
    for offer in offers:
        by_plan.setdefault(offer.plan_id, []).append(offer)
    if len(by_plan) == 1:
        only = periods(speech, next(iter(by_plan)), offers, shop_currency)
        *others, back = only.rows
        return Screen(paragraphs(preface, only.text), (*others, *terms_rows(speech, terms_url), back))
    rows: list[Row] = []
    for plan_id, own in by_plan.items():
        cheapest = min((_shown_price(offer, shop_currency) for offer in own), key=lambda price: price.amount)
        label = speech.label("button-plan", title=own[0].title(speech.language), price=cheapest)
        rows.append((Button(label, Periods(plan_id)),))
    rows += terms_rows(speech, terms_url)
    rows.append((Button(speech.label("button-home"), Home()),))
    return Screen(paragraphs(preface, speech.say("plans")), tuple(rows))


def periods(
    speech: Speech,
    plan_id: str,
    offers: Sequence[Offer],
    shop_currency: str,
    target: Target = Target(),  # noqa: B008 (frozen)
) -> Screen:
    """The periods of one plan, with what the longer ones save. The plan must be among `offers`."""
    own = [offer for offer in offers if offer.plan_id == plan_id]
    lines: list[str] = []
    rows: list[Row] = []
    for offer in own:
        price = _shown_price(offer, shop_currency)
        saving = saving_percent(offer, own, shop_currency)
        period = speech.period(offer.days)
        action = target.methods(offer.offer_id)
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
    rows.append(_back_from_periods(speech, offers, target))
    key = "periods-renew" if target.renews else "periods-more" if target.fresh else "periods"
    # The lines are finished HTML already.
    text = speech.say(key, title=own[0].title(speech.language), list=Markup("\n".join(lines)))
    about = own[0].description(speech.language)
    said = None if about is None else speech.say("period-description", text=about)
    return Screen(paragraphs(text, said), tuple(rows))


def _back_from_periods(speech: Speech, offers: Sequence[Offer], target: Target) -> Row:
    home = Button(speech.label("button-home"), Home())
    back: Action | None = None
    if target.renews:
        back = OneSubscription(target.renews)
    elif target.fresh:
        back = Subscriptions()
    elif len({offer.plan_id for offer in offers}) > 1:
        back = Plans()
    return (home,) if back is None else (Button(speech.label("button-back"), back), home)


def methods(
    speech: Speech,
    offer: Offer,
    ways: Sequence[tuple[Way, Price]],
    purse: Purse,
    shop_currency: str,
    target: Target = Target(),  # noqa: B008 (frozen)
    *,
    preface: str | None = None,
    terms_url: str | None = None,
) -> Screen:
    """The ways to pay for one offer, each at its price, with the discount there is. `preface` is HTML said before it.

    `terms_url` leads to what a customer agrees to by paying.
    """
    rows: list[Row] = []
    for way, price in ways:
        asked = Money(price.amount, price.currency)
        if way.method == "balance":
            label = speech.label("button-method-balance", have=Money(purse.total, shop_currency))
        else:
            label = speech.label(f"button-method-{way.word}", price=asked)
        rows.append((Button(label, target.pay(way.word, offer.offer_id)),))
    title, period = offer.title(speech.language), speech.period(offer.days)
    if not rows:
        text = speech.say("methods-none", title=title, period=period)
    else:
        text = _price_of_offer(speech, offer, purse, shop_currency)
    monthly = speech.say("methods-monthly") if any(way.monthly for way, _ in ways) else None
    question = speech.say("methods-question") if rows else None
    agreed = speech.say("methods-terms") if rows and terms_url is not None else None
    rows += terms_rows(speech, terms_url)
    back = Button(speech.label("button-back"), target.periods(offer.plan_id))
    rows.append((back, Button(speech.label("button-home"), Home())))
    return Screen(
        paragraphs(preface, text, _promo_line(speech, purse) if rows else None, monthly, question, agreed),
        tuple(rows),
    )


def _price_of_offer(speech: Speech, offer: Offer, purse: Purse, shop_currency: str) -> str:
    title, period, price = (
        offer.title(speech.language),
        speech.period(offer.days),
        _shown_price(offer, shop_currency),
    )
    if not purse.percent:
        return speech.say("methods", title=title, period=period, price=price)
    less = Money(discounted(price.amount, purse.percent), price.currency)
    return speech.say(
        "methods-discounted", title=title, period=period, list=price, price=less, percent=purse.percent
    )


def _promo_line(speech: Speech, purse: Purse) -> str | None:
    if not purse.code_counts:
        return None
    if purse.promo_days:
        return speech.say("methods-promo-days", code=purse.code, bonus=speech.period(purse.promo_days))
    return speech.say("methods-promo", code=purse.code)
