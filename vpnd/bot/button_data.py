"""How a button carries its meaning: at most 64 bytes, versioned, one or two letters for the action and its arguments after it.

`1p.basic.0` reads: format 1, action `p` (periods of a plan), plan `basic`, renewing nothing. A number is written
in base 36; so that it fits whatever they are, an action holds at most four numbers, or a word and two (a second word is one
of the house's own, and short).
"""

import re
from collections.abc import Callable, Mapping
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


def is_word(text: str) -> bool:
    """Whether a button can carry it as a word."""
    return _WORD.fullmatch(text) is not None


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
    return text if is_word(text) else None


_READERS: Final[dict[type, Callable[[str], int | str | None]]] = {int: _read_number, str: _read_word}


def write(letter: str, action: Action) -> str:
    """The data of an action that `letter` stands for.

    Raises:
        ValueError: an argument that cannot be carried (a negative number, a word with strange letters), or too many of them.
    """
    parts = [VERSION + letter]
    for value in attrs.astuple(action):
        if isinstance(value, str):
            if not is_word(value):
                raise ValueError(f"{value!r} is no word that a button can carry")
            parts.append(value)
        else:
            parts.append(_write_number(value))
    data = _SEPARATOR.join(parts)
    if len(data) > MAX_BYTES:  # all of it is ASCII
        raise ValueError(f"{action} takes {len(data)} bytes, and a button carries {MAX_BYTES}")
    return data


def read(data: str | None, letters: Mapping[str, type[Action]]) -> Action | None:
    """The action of a button's data; None for an older format or anything else that cannot be read."""
    if not data or len(data.encode(errors="replace")) > MAX_BYTES or not data.startswith(VERSION):
        return None
    head, *texts = data.split(_SEPARATOR)
    kind = letters.get(head[len(VERSION) :])
    if kind is None:
        return None
    fields = attrs.fields(kind)
    if len(fields) != len(texts):
        return None
    values = [_READERS[field.type or str](text) for field, text in zip(fields, texts, strict=True)]
    if any(value is None for value in values):
        return None
    return kind(*values)
