"""What a button carries: at most 64 bytes, versioned, one letter for the action and its arguments after it.

`1p.basic.0` reads: format 1, action `p` (periods of a plan), plan `basic`, renewing nothing. A number is written
in base 36. What a button says is a wish, never a proof: whoever handles it checks that the thing named
belongs to the one who pressed. Data of another version, or that cannot be read, decodes to None, and the customer is
told kindly that the button is an old one.
"""

import re
from collections.abc import Callable
from typing import Final

import attrs

VERSION: Final = "1"
MAX_BYTES: Final = 64  # Telegram's limit of callback_data
_SEPARATOR: Final = "."
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_NUMBER: Final = re.compile(r"0|[1-9a-z][0-9a-z]{0,12}")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MAX_NUMBER: Final = 2**63 - 1  # what a bigint key can hold


@attrs.frozen
class Action:
    """A button's meaning. Subclasses hold only `int` (keys, never negative) and `str` (lower-case words)."""


@attrs.frozen
class Home(Action):
    """The first screen."""


@attrs.frozen
class Plans(Action):
    """The plans on sale."""


@attrs.frozen
class Periods(Action):
    """The periods of one plan; `renews` is the subscription to prolong, or 0."""

    plan: str
    renews: int = 0


@attrs.frozen
class Methods(Action):
    """The ways to pay for one offer."""

    offer: int
    renews: int = 0


@attrs.frozen
class Pay(Action):
    """Pay for an offer by a method."""

    method: str
    offer: int
    renews: int = 0


@attrs.frozen
class Paid(Action):
    """ "I have paid": look whether the purchase is settled."""

    purchase: str


@attrs.frozen
class InvoiceAgain(Action):
    """Send the Stars invoice of a purchase once more."""

    purchase: str


@attrs.frozen
class Subscriptions(Action):
    """The customer's subscriptions."""


@attrs.frozen
class OneSubscription(Action):
    """One subscription with its link."""

    subscription: int


@attrs.frozen
class QrCode(Action):
    """The link of a subscription as a picture."""

    subscription: int


@attrs.frozen
class Help(Action):
    """The choice of a platform."""


@attrs.frozen
class HelpFor(Action):
    """How to connect on one platform."""

    platform: str


@attrs.frozen
class Languages(Action):
    """The choice of a language."""


@attrs.frozen
class SetLanguage(Action):
    """Speak this language from now on."""

    language: str


@attrs.frozen
class Invite(Action):
    """The customer's referral link."""


_LETTERS: Final[dict[str, type[Action]]] = {
    "h": Home,
    "b": Plans,
    "p": Periods,
    "m": Methods,
    "y": Pay,
    "d": Paid,
    "i": InvoiceAgain,
    "s": Subscriptions,
    "o": OneSubscription,
    "q": QrCode,
    "w": Help,
    "f": HelpFor,
    "l": Languages,
    "g": SetLanguage,
    "r": Invite,
}
_LETTER_OF: Final = {kind: letter for letter, kind in _LETTERS.items()}


def _write_number(value: int) -> str:
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value} is no key")
    digits = ""
    while True:
        value, rest = divmod(value, 36)
        digits = _DIGITS[rest] + digits
        if not value:
            return digits


def _read_number(text: str) -> int | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = int(text, 36)
    return value if value <= _MAX_NUMBER else None


def _read_word(text: str) -> str | None:
    return text if _WORD.fullmatch(text) else None


_READERS: Final[dict[type, Callable[[str], int | str | None]]] = {int: _read_number, str: _read_word}


def encode(action: Action) -> str:
    """The button data of an action.

    Raises:
        ValueError: an argument that cannot be carried (a negative number, a word with strange letters).
    """
    parts = [VERSION + _LETTER_OF[type(action)]]
    for value in attrs.astuple(action):
        if isinstance(value, str):
            if not _WORD.fullmatch(value):
                raise ValueError(f"{value!r} is no word that a button can carry")
            parts.append(value)
        else:
            parts.append(_write_number(value))
    return _SEPARATOR.join(parts)


def decode(data: str | None) -> Action | None:
    """The action of a button's data; None for an older format or anything else that cannot be read."""
    if not data or len(data.encode(errors="replace")) > MAX_BYTES or not data.startswith(VERSION):
        return None
    head, *texts = data.split(_SEPARATOR)
    kind = _LETTERS.get(head[len(VERSION) :])
    if kind is None:
        return None
    fields = attrs.fields(kind)
    if len(fields) != len(texts):
        return None
    values = [_READERS[field.type or str](text) for field, text in zip(fields, texts, strict=True)]
    if any(value is None for value in values):
        return None
    return kind(*values)
