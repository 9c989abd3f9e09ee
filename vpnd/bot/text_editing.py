"""Texts that are written in the bot: what they look like to whoever edits them, how they are judged, and how they come to count.

A text is said as it was written in the bot, else as in the folder of `[shop] texts_dir`, else as in the package. What is written
in the bot is judged as a file of the folder is, when it is written and again whenever it is read: an update may make it unfit.

Reading and judging parse whole languages: call what says so in a thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import trio
from attrs import frozen
from fluent.syntax import FluentParser, FluentSerializer, ast

from vpnd.bot.texts import FALLBACK, LANGUAGES, Texts, parse, read_locale, variables
from vpnd.bot.texts_folder import TextFault, judge, load_texts, read_texts_folder
from vpnd.shop.source import Source
from vpnd.shop.text_overrides import TextOverride, list_overrides

__all__ = [
    "EditedText",
    "compose",
    "faults_in",
    "find_texts",
    "key_number",
    "key_numbered",
    "read_texts",
    "text_of",
]

#: What stands for a file where a fault of a text from the bot is told.
PLACE: Final = "written in the bot"
_MARGIN: Final = "    "
# What a line of a text cannot begin with, as Fluent would read it as something else.
_SPECIAL: Final = "[*.}"


@frozen(kw_only=True)
class EditedText:
    """A text as whoever edits it sees it, in one language. All but `values` are patterns in Fluent.

    Attributes:
        original: the package's; in the fallback language, where the language is one that the operator has brought.
        folder: the folder's, if it says something else.
        written: what was written in the bot.
        values: what the text may use.
    """

    language: str
    key: str
    original: str
    folder: str | None
    written: TextOverride | None
    values: tuple[str, ...]

    @property
    def said(self) -> str:
        """What counts."""
        return self.written.body if self.written is not None else self.folder or self.original


def key_number(key: str) -> int:
    """A number for a key, which a button can carry; the same in every version."""
    return zlib.crc32(key.encode())


@cache
def _numbered() -> Mapping[int, str]:
    return {key_number(key): key for key in _package(FALLBACK)}


def key_numbered(number: int) -> str | None:
    """The key of a number; None if there is none, or not any more. Parses at its first call: for a thread."""
    return _numbered().get(number)


@cache
def _package(language: str) -> Mapping[str, Any]:
    """The entries of the package's file, by key."""
    return _by_key(parse(read_locale(language if language in LANGUAGES else FALLBACK)))


def _entries(source: str) -> dict[str, Any]:
    return _by_key(FluentParser().parse(source))


def _by_key(resource: ast.Resource) -> dict[str, Any]:
    return {entry.id.name: entry for entry in resource.body if isinstance(entry, ast.Message)}


def _pattern(entry: Any) -> str:
    """The text of an entry as it is written, without its key and margin."""
    bare = ast.Message(entry.id, value=entry.value)
    _, _, body = FluentSerializer().serialize_entry(bare).partition("=")
    first, *rest = body.strip("\n").split("\n")
    return "\n".join([first.strip(), *(line.removeprefix(_MARGIN) for line in rest)]).strip()


def _folder(language: str, folder: Path | None) -> Mapping[str, Any]:
    if folder is None:
        return {}
    found = read_texts_folder(folder)
    return _entries(found.overrides.get(language) or found.brought.get(language) or "")


def text_of(
    key: str, language: str, folder: Path | None, written: Sequence[TextOverride]
) -> EditedText | None:
    """One text; None if the bot has none of this key. Reads files and parses: for a thread."""
    return next(_texts([key], language, folder, written), None)


def _texts(
    keys: Sequence[str], language: str, folder: Path | None, written: Sequence[TextOverride]
) -> Iterator[EditedText]:
    package, own = _package(language), _folder(language, folder)
    known = {one.key: one for one in written if one.language == language}
    for key in keys:
        if key in package:
            yield EditedText(
                language=language,
                key=key,
                original=_pattern(package[key]),
                folder=_pattern(own[key]) if key in own else None,
                written=known.get(key),
                values=tuple(sorted(variables(package[key].value))),
            )


def find_texts(
    words: str, language: str, folder: Path | None, written: Sequence[TextOverride], most: int
) -> list[EditedText]:
    """Texts whose key or words contain `words`, in the order of the package, at most `most`. Parses: for a thread."""
    wanted = " ".join(words.lower().split())
    found: list[EditedText] = []
    for text in _texts(list(_package(language)), language, folder, written):
        said = " ".join(text.said.lower().split())
        if wanted in text.key or wanted in said:
            found.append(text)
            if len(found) == most:
                break
    return found


def compose(key: str, words: str) -> str:
    """What somebody wrote, as an entry of Fluent: each line with a margin, so that none can be read as another entry."""
    lines: list[str] = []
    depth = 0
    for line in words.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").strip().split("\n"):
        text = line.rstrip()
        if depth <= 0 and text.strip()[:1] and text.strip()[0] in _SPECIAL:
            bare = text.strip()
            text = f'{{ "{bare[0]}" }}{bare[1:]}'
        lines.append(_MARGIN + text if text.strip() else "")
        depth += line.count("{") - line.count("}")
    return f"{key} =\n" + "\n".join(lines) + "\n"


def faults_in(key: str, language: str, words: str) -> tuple[str | None, tuple[str, ...]]:
    """Judge what somebody wrote for a text, as `vpnd check-config` judges a file; for a thread.

    Returns the pattern as it is kept, and nothing; or None and what is wrong with it, as ends of sentences.
    """
    source = compose(key, words)
    accepted, faults = judge(language, source, PLACE)
    if faults:
        return None, tuple(dict.fromkeys(fault.message for fault in faults))
    entries = _entries(accepted)
    if list(entries) != [key]:
        return None, ("is no text: write words",)
    return _pattern(entries[key]), ()


def _judged(written: Sequence[TextOverride]) -> tuple[dict[str, str], list[TextFault]]:
    """The entries that may be used, by language, and what is wrong with the others."""
    sources: dict[str, list[str]] = {}
    for one in written:
        sources.setdefault(one.language, []).append(compose(one.key, one.body))
    accepted: dict[str, str] = {}
    faults: list[TextFault] = []
    for language, parts in sources.items():
        accepted[language], found = judge(language, "\n".join(parts), PLACE)
        faults += found
    return accepted, faults


def _load(
    languages: Sequence[str], folder: Path | None, written: Sequence[TextOverride]
) -> tuple[Texts, tuple[TextFault, ...]]:
    accepted, faults = _judged(written)
    texts, others = load_texts(languages, folder, accepted)
    return texts, (*others, *faults)


async def read_texts(
    languages: Sequence[str], folder: Path | None, source: Source | None = None
) -> tuple[Texts, tuple[TextFault, ...]]:
    """The texts that count, and what is wrong with those that do not; in a thread. None: no database can be asked yet.

    Raises DatabaseError.
    """
    written = [] if source is None else await list_overrides(source)
    return await trio.to_thread.run_sync(_load, languages, folder, written)
