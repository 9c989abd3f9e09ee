"""What a purchase costs: the plan's price, less the larger of two discounts, never below what its method can take.

Pure functions. Discounts do not add up, and one is rounded in the shop's favour by less than a minor unit, so that the
parts of a price can never be worth more than the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import frozen

__all__ = ["METHODS", "STARS_CURRENCY", "Method", "Price", "Terms", "discounted", "price_of"]

Method = Literal["cryptopay", "stars", "yookassa", "balance"]
METHODS: Final[tuple[Method, ...]] = ("cryptopay", "stars", "yookassa", "balance")
STARS_CURRENCY: Final = "XTR"


@frozen
class Terms:
    """On which terms a method takes money.

    Attributes:
        currency: what it asks its prices in: the shop's own, Stars, or a coin.
        minimum: the least it takes, in minor units of that currency.
    """

    method: Method
    currency: str
    minimum: int = 1


@frozen
class Price:
    """What is asked (in the method's currency), what is booked (in the shop's), and what both were before the discount."""

    amount: int
    currency: str
    shop_amount: int
    shop_currency: str
    list_amount: int
    discount: int


def discounted(amount: int, percent: int) -> int:
    """An amount less some percent, rounded up to a whole minor unit."""
    return (amount * (100 - percent) + 99) // 100


def price_of(prices: Mapping[str, int], terms: Terms, shop_currency: str, percent: int = 0) -> Price | None:
    """The price of an offer by a method; None if it has none, or if it is worth less than the method takes.

    Args:
        prices: the offer's own, minor units by currency.
        terms: the method's.
        shop_currency: what revenue is booked in.
        percent: the discount. Where it would lead below the method's minimum, the minimum is asked.
    """
    asked, booked = prices.get(terms.currency), prices.get(shop_currency)
    if asked is None or booked is None or asked < terms.minimum:
        return None
    amount = max(discounted(asked, percent), terms.minimum)
    shop_amount = amount if terms.currency == shop_currency else discounted(booked, percent)
    return Price(amount, terms.currency, shop_amount, shop_currency, booked, percent)
