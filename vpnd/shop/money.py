"""Money: an integer of minor units and its currency, never a float.

A provider speaks in decimal strings. They are parsed exactly or not at all: a string with more places than
the currency has here is refused, and what could not be parsed is held for an admin with its text kept beside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import field, frozen

__all__ = ["EXPONENTS", "Money", "MoneyError", "exponent_of", "format_decimal", "parse_decimal"]

# The currencies of Crypto Pay's invoices, all with cents of some name.
_HUNDREDTHS: Final = (
    *(
        "USD",
        "EUR",
        "RUB",
        "BYN",
        "UAH",
        "GBP",
        "CNY",
        "KZT",
        "UZS",
        "GEL",
        "TRY",
        "AMD",
        "THB",
        "INR",
        "BRL",
    ),
    *("IDR", "AZN", "AED", "PLN", "ILS", "KGS", "TJS"),
)

# Decimal places of a minor unit. At most 9: a bigint then still holds nine thousand million units.
# ETH and BNB have 18 places on their chains; providers pay them out with fewer.
EXPONENTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_HUNDREDTHS, 2),
    "JPY": 0,
    "KRW": 0,
    "XTR": 0,  # Telegram Stars are whole
    **dict.fromkeys(("USDT", "USDC", "TRX"), 6),
    **dict.fromkeys(("BTC", "LTC", "DOGE"), 8),
    **dict.fromkeys(("TON", "SOL", "ETH", "BNB"), 9),
}

MAX_MINOR: Final = 2**63 - 1  # what a bigint holds
_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,30})?\Z")


class MoneyError(ValueError):
    """The text is no amount of that currency."""


@frozen
class Money:
    """An amount in minor units (kopecks, cents, whole Stars) of one currency."""

    amount: int = field()
    currency: str

    @amount.validator
    def _whole(self, _attribute: object, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise MoneyError(f"an amount is a whole number of minor units, not {type(value).__name__}")


def exponent_of(currency: str) -> int:
    """Decimal places of the currency. Raises MoneyError for one that is not known here."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise MoneyError(f"currency {currency[:16]!r} is not known") from None


def parse_decimal(text: str, currency: str) -> Money:
    """Parse a plain decimal string ("199.00") exactly into minor units.

    Signs, exponents, spaces and separators are refused, and so are places beyond the currency's own unless
    they are zeros. Raises MoneyError.
    """
    places = exponent_of(currency)
    if not _DECIMAL.match(text):
        raise MoneyError(f"{text[:40]!r} is not a plain decimal number")
    scaled = Decimal(text).scaleb(places)
    minor = int(scaled)
    if scaled != minor:
        raise MoneyError(f"{text[:40]} has more than the {places} decimal places of {currency}")
    if minor > MAX_MINOR:
        raise MoneyError(f"{text[:40]} {currency} is more than can be booked")
    return Money(minor, currency)


def format_decimal(money: Money) -> str:
    """The amount as a plain decimal string with all places of its currency: "199.00", "150"."""
    places = exponent_of(money.currency)
    sign = "-" if money.amount < 0 else ""
    digits = str(abs(money.amount)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"
