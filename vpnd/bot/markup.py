"""HTML as Telegram understands it: escaping of values, and a check of the texts that are written by hand.

Telegram refuses a whole message for one wrong tag, so a text that was never checked is a customer who was never
answered. The accepted tags and entities are those of the Bot API's "HTML style" section.
"""

from html import escape as _escape
from html import unescape
from html.parser import HTMLParser
from re import compile as pattern
from typing import Final

_TAG: Final = pattern(r"<[^>]*>")
# Telegram's own reader is stricter than a browser's: no comments, no `<b/>`, and a value without quotes is letters, digits,
# points and hyphens only.
_AS_TELEGRAM_READS: Final = pattern(
    r"""</[A-Za-z][A-Za-z-]*\s*>|<[A-Za-z][A-Za-z-]*(?:\s+[A-Za-z-]+\s*=\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9.-]+(?=[\s>])))*\s*>"""
)
_QUOTED: Final = pattern(r"""=\s*(?:"[^"]*"|'[^']*')""")

ALLOWED_TAGS = frozenset(
    {
        "b",
        "strong",
        "i",
        "em",
        "u",
        "ins",
        "s",
        "strike",
        "del",
        "a",
        "code",
        "pre",
        "blockquote",
        "tg-spoiler",
    }
)
ALLOWED_ENTITIES = frozenset({"lt", "gt", "amp", "quot"})


class Markup(str):
    """Text that is HTML already: `Texts.format` puts it in as it stands instead of escaping it."""

    __slots__ = ()


def escape(value: object) -> str:
    """The value as text that Telegram shows letter for letter in HTML mode."""
    return _escape(str(value), quote=True)


def code(value: object) -> Markup:
    """The value in a tap-to-copy `<code>` element."""
    return Markup(f"<code>{escape(value)}</code>")


class _Checker(HTMLParser):
    """Collects what Telegram would refuse; it never raises."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ALLOWED_TAGS:
            self.faults.append(f"tag <{tag}> is unknown to Telegram")
        if tag == "a" and not dict(attrs).get("href"):
            self.faults.append("<a> without href")
        if tag in self.open:
            self.faults.append(f"<{tag}> inside <{tag}>")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes nothing")
        else:
            self.open.pop()

    def handle_entityref(self, name: str) -> None:
        if name not in ALLOWED_ENTITIES:
            self.faults.append(f"entity &{name}; is unknown to Telegram")

    def handle_data(self, data: str) -> None:
        # The parser hands over what it could not read as a tag or an entity: Telegram would refuse it.
        for letter in "<>&":
            if letter in data:
                self.faults.append(f"a bare {letter!r}")


def html_faults(text: str) -> list[str]:
    """What Telegram would refuse in `text`, as sentences; empty when nothing.

    A bare `>` is accepted by Telegram and refused here: it is nearly always a slip of the pen.
    """
    checker = _Checker()
    checker.feed(text)
    checker.close()
    rest = _AS_TELEGRAM_READS.sub("", text)
    if "<" in rest:
        seen = rest[rest.index("<") :][:20]
        checker.faults.append(f'{seen!r} is no tag that Telegram reads: write it like <a href="address">')
    return [*checker.faults, *(f"<{tag}> is never closed" for tag in checker.open)]


def has_value_in_tag(text: str, value: str) -> bool:
    """Whether `value` stands within a tag and not between quotes there, where another value could break the tag."""
    return any(value in _QUOTED.sub("=", tag) for tag in _TAG.findall(text))


def visible_length(html: str) -> int:
    """How long Telegram finds a text after reading its HTML, in UTF-16 units: never less than it counts."""
    return len(unescape(_TAG.sub("", html)).encode("utf-16-le")) // 2


def fits(html: str, most: int) -> bool:
    """Whether a text is at most `most` UTF-16 units long when Telegram has read its HTML."""
    # Nearly every text is so short that nothing has to be counted.
    return 2 * len(html) <= most or visible_length(html) <= most


def fitting(html: str, most: int) -> str:
    """The beginning of a text that is too long, without its HTML, which could not be cut without breaking it."""
    # A cut through the middle of a letter of two units leaves a half, which is dropped.
    units = unescape(_TAG.sub("", html)).encode("utf-16-le")[: 2 * (most - 1)]
    return escape(units.decode("utf-16-le", errors="ignore").rstrip() + "…")
