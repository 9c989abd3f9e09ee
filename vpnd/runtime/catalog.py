"""The message catalog: what `journalctl -x` says beneath each of our events (journald's message catalog files).

One source: the tables of events in docs/operations.md, which an operator reads as a page and journald as a file. Each row names
events, what they mean and, where somebody has to act, what to do; `entries` reads them, `render` writes the file. It is
contrib/systemd/vpnd.catalog, made anew by

    python -m vpnd.runtime.catalog < docs/operations.md > contrib/systemd/vpnd.catalog

Format: https://www.freedesktop.org/wiki/Software/systemd/catalog/. An entry begins with `-- ` and the MESSAGE_ID, has a few
headers, an empty line, and text up to the next entry; `@FIELD@` in it is replaced with that field of the journal entry.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from vpnd.runtime.journal_lines import message_id

__all__ = ["Explained", "entries", "render"]

#: Where the page is for who reads a journal far away from the checkout.
PAGE: Final = "https://github.com/vpnd/vpnd/blob/main/docs/operations.md"
#: The remedy of what comes and goes.
PASSES: Final = "Nothing by itself: it is over, or is tried again. If it stays or comes often, look at what the line names."
WIDTH: Final = 78
#: Characters of a subject, the event's name with it.
SUBJECT: Final = 100

_EVENT: Final = re.compile(r"`([a-z_]+\.[a-z_]+)`")
_SECTION: Final = re.compile(r"^## The journal$(.*?)^## ", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^\| *Event *\|")
_RULE: Final = re.compile(r"^\|[-| ]+\|$")


@frozen
class Explained:
    """One event, explained.

    Attributes:
        event: its stable name, from which its MESSAGE_ID is made.
        means: what happened and by what.
        remedy: what to do about it.
    """

    event: str
    means: str
    remedy: str


def entries(page: str) -> list[Explained]:
    """Return every event that the page's section "The journal" explains, in its order.

    Raises:
        ValueError: there is no such section, a row has no meaning, or an event is explained twice.
    """
    section = _SECTION.search(page)
    if section is None:
        raise ValueError('the page has no section "The journal" with another after it')
    found: dict[str, Explained] = {}
    for events, means, remedy in _rows(section[1]):
        for event in events:
            if event in found:
                raise ValueError(f"{event} is explained twice")
            if not means:
                raise ValueError(f"{event} is not explained")
            found[event] = Explained(event, means, remedy)
    return list(found.values())


def _rows(section: str) -> Iterator[tuple[list[str], str, str]]:
    """The rows of the tables of events: names, meaning, remedy."""
    inside = False
    for line in section.splitlines():
        if _HEADING.match(line):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not _RULE.match(line):
            cells = [_plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            yield _EVENT.findall(line.split("|")[1]), cells[1], cells[2] if len(cells) > 2 else PASSES


def _plain(cell: str) -> str:
    """A cell without Markdown: marks go, a link keeps its words and says where they lead."""
    text = re.sub(r"\[([^\]]+)\]\(#([^)]+)\)", rf"\1 ({PAGE}#\2)", cell)
    text = re.sub(r"\[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)", _abroad, text)
    return re.sub(r"`|\*\*", "", text).replace("\\|", "|").strip()


def _abroad(link: re.Match[str]) -> str:
    place = f"{PAGE.rpartition('/')[0]}/{link[2]}{link[3] or ''}"
    return place if link[1] == link[2] else f"{link[1]} ({place})"


def render(explained: list[Explained]) -> str:
    """Return the catalog file."""
    head = (
        "# Explains the events of vpnd beneath their lines in `journalctl -x`.\n"
        "# Made by vpnd.runtime.catalog from docs/operations.md; not edited by hand.\n"
    )
    return head + "".join(_entry(one) for one in explained)


def _entry(one: Explained) -> str:
    short = f"{one.event}: {re.split(r'[;:](?= )', one.means)[0]}"
    return "\n".join(
        [
            "",
            f"-- {message_id(one.event)}",
            f"Subject: {short if len(short) <= SUBJECT else textwrap.shorten(short, SUBJECT, placeholder=' …')}",
            "Defined-By: vpnd",
            f"Documentation: {PAGE}#the-journal",
            "",
            *_paragraph("Means", one.means),
            "",
            *_paragraph("What to do", one.remedy),
            "",
            "All of this event, with its fields:",
            f"    journalctl -o verbose VPND_EVENT={one.event}",
            "",
        ]
    )


def _paragraph(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{name}: {text[:1].upper()}{text[1:]}", WIDTH, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    sys.stdout.write(render(entries(sys.stdin.read())))
