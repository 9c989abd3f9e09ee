"""The ways to pay for an offer, each at its price, and what a purchase is for while it is being chosen.

A way is a method, or Stars that Telegram takes every month by itself: the same method with another promise, and a
button of its own. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from vpnd.bot.callbacks import Action, Methods, MoreMethods, MorePay, MorePeriods, Pay, Periods
from vpnd.payments.stars import MAX_SUBSCRIPTION, SUBSCRIPTION_DAYS
from vpnd.payments.stars import NAME as STARS
from vpnd.payments.terms import TopUps
from vpnd.shop.plans import Offer
from vpnd.shop.pricing import Method, Price, Terms, price_of

#: What a button calls Stars that are taken every month.
MONTHLY: Final = "stars_monthly"
#: The most Stars that one invoice can ask for.
MOST_STARS: Final = 100_000


@frozen
class Target:
    """What is bought: a renewal of the subscription `renews`, one more beside those there are, or as the shop finds."""

    renews: int = 0
    fresh: bool = False

    def periods(self, plan: str) -> Action:
        """The choice of a period for it."""
        return MorePeriods(plan) if self.fresh else Periods(plan, self.renews)

    def methods(self, offer: int) -> Action:
        """The choice of a way to pay for it."""
        return MoreMethods(offer) if self.fresh else Methods(offer, self.renews)

    def pay(self, way: str, offer: int) -> Action:
        """Paying for it in this way."""
        return MorePay(way, offer) if self.fresh else Pay(way, offer, self.renews)


@frozen
class Way:
    """A method and its terms; `monthly`: Telegram goes on charging by itself."""

    word: str
    terms: Terms
    monthly: bool = False

    @property
    def method(self) -> Method:
        """The method that the money comes by."""
        return self.terms.method


def way_named(word: str, terms: Mapping[Method, Terms], *, monthly: bool) -> Way | None:
    """The way that a button names; None for one that is not set up. `monthly`: whether Telegram may charge by itself."""
    if word == MONTHLY:
        own = terms.get(STARS) if monthly else None
        return None if own is None else Way(word, own, monthly=True)
    own = next((one for method, one in terms.items() if method == word), None)
    return None if own is None else Way(word, own)


def can_repeat(offer: Offer, terms: Terms) -> bool:
    """Whether Telegram can charge this offer by itself: a month, at a price that it takes."""
    return offer.days == SUBSCRIPTION_DAYS and offer.prices.get(terms.currency, 0) <= MAX_SUBSCRIPTION


def ways_to_pay(
    offer: Offer, terms: Mapping[Method, Terms], shop_currency: str, percent: int, *, monthly: bool
) -> list[tuple[Way, Price]]:
    """The ways an offer can be paid in, each at what it costs with a discount of so many percent.

    What Telegram charges for ever is not discounted.
    """
    found: list[tuple[Way, Price]] = []
    for method, own in terms.items():
        price = price_of(offer.prices, own, shop_currency, percent)
        if price is not None:
            found.append((Way(method, own), price))
        full = price_of(offer.prices, own, shop_currency)
        if monthly and method == STARS and full is not None and can_repeat(offer, own):
            found.append((Way(MONTHLY, own, monthly=True), full))
    return found


def ways_to_fill(
    terms: Mapping[Method, Terms], topups: TopUps, shop_currency: str, amount: int
) -> list[tuple[Terms, int]]:
    """The methods a balance can be filled by, each with what it asks for in minor units of its own currency.

    A coin is not among them: no price list says what it is worth.
    """
    found: list[tuple[Terms, int]] = []
    for own in terms.values():
        asked: int | None = amount if own.currency == shop_currency else None
        if own.method == "balance":
            continue
        if own.method == STARS:
            asked = topups.stars_for(amount)
        if asked is not None and asked >= own.minimum and (own.method != STARS or asked <= MOST_STARS):
            found.append((own, asked))
    return found
