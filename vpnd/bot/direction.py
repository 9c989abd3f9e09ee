"""Languages that are written from the right, and the invisible marks that keep Latin words and numbers in their place.

Fluent puts each value between isolation marks there, so that a Latin name does not turn the words around it. Two things are
left to be done. A line takes its direction from its first letter outside of those marks, so one that begins with "VPN" gets a
mark before it that counts as a letter from the right. And what is there to be copied (a link, a code, an address within a
tag) must hold no marks: they would be copied along, and a link with them leads nowhere.
"""

from __future__ import annotations

from functools import cache
from html import unescape
from re import DOTALL
from re import compile as pattern
from typing import Final
from unicodedata import bidirectional

from babel import Locale, UnknownLocaleError

__all__ = [
    "FIRST_STRONG_ISOLATE",
    "POP_ISOLATE",
    "RIGHT_TO_LEFT_MARK",
    "is_right_to_left",
    "written_from_the_right",
]

FIRST_STRONG_ISOLATE: Final = "\u2068"
POP_ISOLATE: Final = "\u2069"
RIGHT_TO_LEFT_MARK: Final = "\u200f"

_NO_MARKS: Final = {ord(mark): None for mark in (FIRST_STRONG_ISOLATE, POP_ISOLATE, RIGHT_TO_LEFT_MARK)}
_TO_COPY: Final = pattern(r"<(code|pre)\b[^>]*>.*?</\1>|<[^>]*>", DOTALL)
_TAG: Final = pattern(r"<[^>]*>")
_FROM_THE_RIGHT: Final = ("R", "AL")


@cache
def is_right_to_left(language: str) -> bool:
    """Whether a language, by its code of two letters, is written from the right; one that is unknown is not."""
    try:
        order: str = Locale.parse(language).character_order
    except (UnknownLocaleError, ValueError):
        return False
    return order == "right-to-left"


def written_from_the_right(text: str, *, html: bool) -> str:
    """A text as Fluent made it, with the marks that it lacks and without those that do harm.

    Args:
        text: in a language that is written from the right, with isolation marks around its values.
        html: whether it is Telegram HTML.
    """
    inside: list[tuple[int, int]] = []
    if html:
        text = _TO_COPY.sub(lambda found: found[0].translate(_NO_MARKS), text)
        inside = [found.span() for found in _TO_COPY.finditer(text)]
    lines, at = [], 0
    for line in text.split("\n"):
        within = any(start < at < end for start, end in inside)
        lines.append(line if within or not _begins_astray(line, html=html) else RIGHT_TO_LEFT_MARK + line)
        at += len(line) + 1
    return "\n".join(lines)


def _begins_astray(line: str, *, html: bool) -> bool:
    """Whether a line has letters from the right and would be laid out from the left."""
    seen = unescape(_TAG.sub("", line)) if html else line
    depth = 0
    for letter in seen:
        kind = bidirectional(letter)
        if kind in ("LRI", "RLI", "FSI"):
            depth += 1
        elif kind == "PDI":
            depth = max(0, depth - 1)
        elif depth == 0 and kind in _FROM_THE_RIGHT:
            return False
        elif depth == 0 and kind == "L":
            break
    return any(bidirectional(letter) in _FROM_THE_RIGHT for letter in seen)
