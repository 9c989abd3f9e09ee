"""What a broadcast sends, as it is kept in its row.

{"copy": {"from_chat_id", "message_id"}}        a message of any kind is copied
{"text": {language: html}}                      each recipient gets the text in his language, else the shop's first
{"notice": {"template", …}}                     put into words for each recipient, and served before the others
"buttons": [[{"text", "url"}, …], …]            below either of the first two
"b": {…}                                        another message and buttons for a share of the recipients
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = [
    "MOST_BUTTONS",
    "VARIANT_B",
    "Buttons",
    "ButtonsUnreadable",
    "check",
    "is_complete",
    "read_buttons",
    "variant",
    "write_buttons",
]

#: The key of the second variant.
VARIANT_B: Final = "b"
MOST_BUTTONS: Final = 12
_MOST_IN_ROW: Final = 3
_LABEL: Final = 64  # letters: what a phone shows of a label, and some
_URL: Final = 512
_KINDS: Final = ("copy", "text", "notice")
_SCHEMES: Final = frozenset({"http", "https", "tg"})
_BETWEEN: Final = re.compile(r"\s+[-–—]\s+(?=\S+$)")

Buttons = Sequence[Sequence[Mapping[str, str]]]


class ButtonsUnreadable(ValueError):
    """A line is no button.

    Attributes:
        line: its number, counted from 1.
        fault: "form", "label", "address", "row" or "many".
    """

    def __init__(self, line: int, fault: str) -> None:
        self.line = line
        self.fault = fault
        super().__init__(f"line {line}: {_FAULTS[fault]}")


_FAULTS: Final = {
    "form": "a button is written as: label - https://…",
    "label": f"a label has 1 to {_LABEL} letters",
    "address": f"an address begins with https://, http:// or tg://, and has at most {_URL} letters",
    "row": f"at most {_MOST_IN_ROW} buttons stand in one row",
    "many": f"there are at most {MOST_BUTTONS} buttons",
}


def check(content: Mapping[str, Any]) -> None:
    """Raise ValueError for what cannot be sent."""
    for part in (content, *([content[VARIANT_B]] if VARIANT_B in content else ())):
        if sum(kind in part for kind in _KINDS) != 1:
            raise ValueError("a broadcast either copies a message, has a text, or is a notice")


def is_complete(content: Mapping[str, Any]) -> bool:
    """Whether there is something to send, in each variant."""
    try:
        check(content)
    except ValueError:
        return False
    return True


def variant(content: Mapping[str, Any], *, has_b: bool) -> Mapping[str, Any]:
    """What one recipient gets."""
    if has_b and VARIANT_B in content:
        found: Mapping[str, Any] = content[VARIANT_B]
        return found
    return content


def read_buttons(text: str) -> Buttons:
    """Read lines of `label - https://…`; a line is a row, whose buttons stand between `|`. Raises ButtonsUnreadable."""
    rows: list[list[dict[str, str]]] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for number, line in lines:
        row = [_read_button(number, one) for one in line.split("|")]
        if len(row) > _MOST_IN_ROW:
            raise ButtonsUnreadable(number, "row")
        rows.append(row)
        if sum(map(len, rows)) > MOST_BUTTONS:
            raise ButtonsUnreadable(number, "many")
    return rows


def _read_button(line: int, text: str) -> dict[str, str]:
    parts = _BETWEEN.split(text.strip(), maxsplit=1)
    if len(parts) != 2:
        raise ButtonsUnreadable(line, "form")
    label, url = parts[0].strip(), parts[1].strip()
    if not 1 <= len(label) <= _LABEL:
        raise ButtonsUnreadable(line, "label")
    try:
        address = urlsplit(url)
    except ValueError:
        raise ButtonsUnreadable(line, "address") from None
    if address.scheme not in _SCHEMES or not address.netloc or len(url) > _URL:
        raise ButtonsUnreadable(line, "address")
    return {"text": label, "url": url}


def write_buttons(rows: Buttons) -> str:
    """The lines that `read_buttons` would read them from."""
    return "\n".join(" | ".join(f"{one['text']} - {one['url']}" for one in row) for row in rows)
