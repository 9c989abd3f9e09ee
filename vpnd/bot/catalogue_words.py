"""What operators write for the catalogue, read exactly or not at all: ids and titles, numbers, amounts, codes, customers."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vpnd.bot.amounts import read_amount
from vpnd.shop.money import EXPONENTS
from vpnd.shop.promos import PromoKind, code_name

__all__ = [
    "DiscountWish",
    "PromoWish",
    "currency_number",
    "currency_numbered",
    "read_discount",
    "read_number",
    "read_priced",
    "read_promo",
]

_BASE: Final = 36
_NUMBERED: Final = {int(currency, _BASE): currency for currency in EXPONENTS}
_MOST_PERCENT: Final = 99
_MOST_DAYS: Final = 3660
_MOST_DIGITS: Final = 9


def currency_number(currency: str) -> int:
    """A currency as a button carries it: its letters as a number of base 36."""
    return int(currency, _BASE)


def currency_numbered(number: int) -> str | None:
    """The currency of a number; None for one that is not known here."""
    return _NUMBERED.get(number)


def read_number(text: str, least: int, most: int) -> int | None:
    """A whole number in these bounds; None for anything else."""
    word = text.strip()
    if not (word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS):
        return None
    return int(word) if least <= int(word) <= most else None


def read_priced(text: str) -> tuple[str, int] | None:
    """A currency and an amount of it, in minor units: "USD 2.50". None for anything else."""
    currency, _, amount = text.strip().partition(" ")
    name = currency.upper()
    if name not in EXPONENTS:
        return None
    found = read_amount(amount, name)
    return None if found is None else (name, found)


@frozen
class PromoWish:
    """A code that somebody wants: its name, and what it gives (percent, days, or minor units of `currency`)."""

    code: str
    value: int
    currency: str | None


def read_promo(text: str, kind: PromoKind, currency: str) -> PromoWish | None:
    """A code and what it gives: "SPRING 25". Money is of the shop's `currency`. None for anything else."""
    word, _, gives = text.strip().partition(" ")
    try:
        code = code_name(word)
    except ValueError:
        return None
    if kind == "money":
        value = read_amount(gives, currency)
    else:
        bare = gives.strip().removesuffix("%").strip()
        value = read_number(bare, 1, _MOST_PERCENT if kind == "percent" else _MOST_DAYS)
    return None if value is None else PromoWish(code, value, currency if kind == "money" else None)


@frozen
class DiscountWish:
    """A discount that somebody wants for a customer: his Telegram id or @name, percent, days (0: for good)."""

    who: str
    percent: int
    days: int


def read_discount(text: str) -> DiscountWish | None:
    """Whom, how many percent, and for how many days if not for good: "@anna 15 30". None for anything else."""
    parts = text.split()
    if not 2 <= len(parts) <= 3:
        return None
    percent = read_number(parts[1].removesuffix("%"), 1, _MOST_PERCENT)
    days = read_number(parts[2], 1, 36_500) if len(parts) == 3 else 0
    return (
        None if percent is None or days is None else DiscountWish(parts[0].removeprefix("@"), percent, days)
    )
