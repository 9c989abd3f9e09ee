"""An amount of money as people write it: "250", "250.50", "1 000,5 ₽". Exact, or not understood at all."""

from __future__ import annotations

import re
from typing import Final

from vpnd.shop.money import MoneyError, exponent_of, parse_decimal

_LONGEST: Final = 40  # characters; no amount is written with more
# What people put around a number; the code of the currency is taken off too.
_SIGNS: Final = re.compile(r"₽|\$|€|⭐|руб(лей|ля|ль)?\.?|р\.?|rub|stars?", re.IGNORECASE)
_GAPS: Final = re.compile(r"[\s\u00a0\u2009\u202f'’_]")
_NUMBER: Final = re.compile(r"[0-9]+(?:[.,][0-9]+)*\Z")
_THOUSANDS: Final = re.compile(r"[1-9][0-9]{0,2}(?:[.,][0-9]{3})+\Z")


def read_amount(text: str, currency: str) -> int | None:
    """Minor units of `currency`; None for what is no amount, is none at all, or has more places than the currency.

    Of two kinds of separators the last one is the decimal point. One kind that only sets groups of three apart is none,
    unless the currency has so many places.
    """
    if len(text) > _LONGEST:
        return None
    bare = _SIGNS.sub("", re.sub(re.escape(currency), "", text, flags=re.IGNORECASE))
    bare = _GAPS.sub("", bare)
    if not bare.isascii() or not _NUMBER.match(bare):
        return None
    try:
        amount = parse_decimal(_plain(bare, exponent_of(currency)), currency).amount
    except MoneyError:
        return None
    return amount or None


def _plain(number: str, places: int) -> str:
    """The number with a point and no other separators; as it is where its separators make no sense."""
    point = max(number.rfind("."), number.rfind(","))
    whole, rest = number[:point], number[point + 1 :]
    if "." in number and "," in number:
        grouped = _THOUSANDS.match(whole) and number[point] not in whole
        return f"{_without_groups(whole)}.{rest}" if grouped else number
    if places < 3 and _THOUSANDS.match(number):
        return _without_groups(number)
    return number.replace(",", ".")


def _without_groups(number: str) -> str:
    return number.replace(".", "").replace(",", "")
