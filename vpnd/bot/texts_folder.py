"""The texts that an operator has written himself: a folder with a file a language, `en.ftl`, `de.ftl`.

A file of a language that the package has holds only what is to be changed. Each of its texts is judged alone: one with a
fault is named with what to do about it, the package's own stands in its place, and all others count. A file of another
language brings that language; it has to be whole, since there is nothing that could stand in for what is missing.

Nothing that stands in the folder can break the bot, or keep it busy: files and texts are bounded in size, in choices and in
depth, and what is refused is refused here, in a thread, and not when a customer waits for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from attrs import frozen
from babel import Locale, UnknownLocaleError
from fluent.syntax import FluentParser, ast

from vpnd.bot.texts import (
    FALLBACK,
    LANGUAGES,
    Texts,
    check_locales,
    expand,
    faults_of,
    messages,
    read_locale,
    variables,
)

__all__ = ["TextFault", "TextsFolder", "judge", "load_texts", "read_texts_folder"]

#: A whole language is 60 kB.
MOST_BYTES: Final = 256 * 1024
MOST_FILES: Final = 40
#: UTF-16 units. Screens are put together from several texts, and Telegram takes 4096; with its HTML a text may have more, but
#: Fluent gives up a piece of 2500.
MOST_LENGTH: Final = 2000
MOST_WITH_HTML: Final = 2400
#: Ways through the choices of one text: each is checked.
MOST_WAYS: Final = 128
MOST_DEPTH: Final = 5
#: So many keys are named of what a language lacks.
MOST_NAMED: Final = 12

_FILE: Final = re.compile(r"([a-z]{2})\.ftl")
_KEY: Final = re.compile(r"-?([a-zA-Z][a-zA-Z0-9_-]*) *=")


@frozen
class TextFault:
    """One thing that is wrong: in which file, with which text ("" for the file itself), and what to do about it."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.message) if part)


@frozen
class TextsFolder:
    """What a folder has to say: texts that replace the package's, by language, whole languages, and what was refused."""

    overrides: Mapping[str, str]
    brought: Mapping[str, str]
    faults: tuple[TextFault, ...]


def load_texts(
    languages: Sequence[str], folder: Path | None, written: Mapping[str, str] | None = None
) -> tuple[Texts, tuple[TextFault, ...]]:
    """The texts of these languages with what the operator's folder (None: there is none) says otherwise, and its faults.

    `written` is what was written in the bot, judged already: Fluent by language. It counts over the folder's.
    Reads files: call it in a thread.
    """
    found = TextsFolder({}, {}, ()) if folder is None else read_texts_folder(folder)
    lacking = tuple(
        TextFault(
            "[shop] languages",
            language,
            f"nobody has its texts, so it is not offered: take it out, or bring a whole {language}.ftl by [shop] texts_dir",
        )
        for language in languages
        if language not in LANGUAGES and language not in found.brought
    )
    overrides = dict(found.overrides)
    for language, source in (written or {}).items():
        overrides[language] = f"{overrides.get(language, '')}\n{source}"
    texts = Texts.load(languages, overrides=overrides, brought=found.brought)
    return texts, (*found.faults, *lacking)


def read_texts_folder(folder: Path) -> TextsFolder:
    """Read and judge a folder. Blocks for the time that its files take; never raises."""
    overrides: dict[str, str] = {}
    brought: dict[str, str] = {}
    faults: list[TextFault] = []
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".ftl"))
    except OSError as error:
        fault = TextFault(
            str(folder), "", f"cannot be read ({error.strerror}): make it a folder that the daemon may read"
        )
        return TextsFolder({}, {}, (fault,))
    if len(names) > MOST_FILES:
        faults.append(
            TextFault(str(folder), "", f"holds {len(names)} files; only the first {MOST_FILES} are read")
        )
    for name in names[:MOST_FILES]:
        file = _File(name)
        try:
            file.read(folder / name)
        except RecursionError:
            file.fault(
                "", "is nested too deeply to be read: close the braces, and take choices out of choices"
            )
            file.accepted = ""
        faults += file.faults
        if file.accepted:
            (overrides if file.language in LANGUAGES else brought)[file.language] = file.accepted
    return TextsFolder(overrides, brought, tuple(faults))


def judge(language: str, source: str, name: str) -> tuple[str, list[TextFault]]:
    """Judge texts of one language that stand in no file: what may be used of them, and the faults of the others.

    `name` is what stands for a file in the faults. Parses the language's texts: call it in a thread.
    """
    file = _File(name)
    file.language = language
    try:
        file.judge(source, read_locale(language if language in LANGUAGES else FALLBACK))
    except RecursionError:
        return "", [TextFault(name, "", "is nested too deeply to be read: take choices out of choices")]
    return file.accepted, file.faults


class _File:
    """One file: what may be used of it (`accepted`, Fluent), and its faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.language = ""
        self.accepted = ""
        self.faults: list[TextFault] = []

    def fault(self, key: str, message: str) -> None:
        self.faults.append(TextFault(self.name, key, message))

    def read(self, place: Path) -> None:
        found = _FILE.fullmatch(self.name)
        if found is None:
            self.fault("", "is called by no language: name it by two small letters, like de.ftl")
            return
        self.language = found[1]
        if not _has_plural_rules(self.language):
            self.fault(
                "",
                f"{self.language!r} is a language that nobody knows plural rules of: name it by its ISO 639-1 code",
            )
            return
        source = self._source(place)
        if source is None:
            return
        if self.language in LANGUAGES:
            self.judge(source, read_locale(self.language))
            return
        self.judge(source, read_locale(FALLBACK))
        if self.faults:
            self.fault(
                "", "does not bring its language before these faults are mended: every text has to be right"
            )
            self.accepted = ""
        else:
            self._judge_whole(source)

    def _source(self, place: Path) -> str | None:
        """The text of the file; None, with a fault, for one that cannot be had. What is no file is not waited for."""
        try:
            # Without O_NONBLOCK a pipe would hold us until somebody writes into it.
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                self.fault("", "is no file: put the texts themselves there")
                return None
            with os.fdopen(descriptor, "rb") as stream:
                data = stream.read(MOST_BYTES + 1)
        except OSError as error:
            self.fault("", f"cannot be read ({error.strerror}): let the daemon's user read it")
            return None
        if len(data) > MOST_BYTES:
            self.fault("", f"is larger than {MOST_BYTES // 1024} kB: keep only the texts that you change")
            return None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            self.fault("", f"is not UTF-8 (line {line}): save it as UTF-8")
            return None
        if "\x00" in text:
            self.fault("", "holds zero bytes: save it as UTF-8 text")
            return None
        return text.replace("\r\n", "\n")

    def judge(self, source: str, package: str) -> None:
        """Keep the texts that are right, name the others."""
        known = messages(self.language, package, [])
        entries = FluentParser().parse(source).body
        times: dict[str, int] = {}
        for entry in entries:
            if isinstance(entry, ast.Message):
                times[entry.id.name] = times.get(entry.id.name, 0) + 1
        terms = {entry.id.name: _plain_words(entry) for entry in entries if isinstance(entry, ast.Term)}
        kept: list[str] = []
        for entry in entries:
            if isinstance(entry, ast.Junk):
                self._junk(entry, source)
            elif isinstance(entry, ast.Term):
                if terms[entry.id.name] is None:
                    self.fault(f"-{entry.id.name}", "may only be plain words, without values and choices")
                else:
                    kept.append(_slice(source, entry))
            elif isinstance(entry, ast.Message):
                key = entry.id.name
                wrong = list(islice(_faults(entry, known, terms, times[key]), 10))
                for fault in dict.fromkeys(wrong):
                    self.fault(key, fault)
                if not wrong:
                    kept.append(_slice(source, entry))
        self.accepted = "\n".join(kept)

    def _junk(self, junk: Any, source: str) -> None:
        text = junk.content or ""
        found = _KEY.match(text)
        line = source[: junk.span.start].count("\n") + 1
        why = f": {junk.annotations[0].message}" if junk.annotations else ""
        self.fault(
            found[1] if found else "",
            f"cannot be read (line {line}{why}): write `key = text`, indent its further lines by spaces, and close each {{",
        )

    def _judge_whole(self, source: str) -> None:
        """A language of its own has every text, each with every value."""
        faults = [
            fault.removeprefix(f"{self.language}: ")
            for fault in check_locales({FALLBACK: read_locale(FALLBACK), self.language: source})
        ]
        if faults:
            named = "; ".join(faults[:MOST_NAMED])
            more = f"; and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
            self.fault("", f"is not whole, so its language is not offered: {named}{more}")
            self.accepted = ""


def _faults(
    message: Any, known: Mapping[str, Any], terms: Mapping[str, str | None], times: int
) -> Iterator[str]:
    """What is wrong with one text, as ends of sentences that say what to do."""
    key = message.id.name
    if key not in known:
        yield "is no text of the bot: compare its name with the package's en.ftl, or take it out"
        return
    if times > 1:
        yield "is there more than once: keep one of them"
        return
    if message.attributes:
        yield "has attributes, which nobody reads: keep its text alone"
        return
    shape = list(islice(_shape(message.value, terms, MOST_DEPTH), 1))
    if shape:
        yield shape[0]
        return
    if (ways := _ways(message.value)) > MOST_WAYS:
        yield f"has {ways} ways through its choices; {MOST_WAYS} are the most: make fewer of them"
        return
    allowed = variables(known[key])
    for name in sorted(variables(message.value) - allowed):
        values = ", ".join(f"${one}" for one in sorted(allowed)) or "none"
        yield f"uses ${name}, which is not given to it; there are: {values}"
    yield from faults_of(key, message.value, MOST_LENGTH)
    can_be_empty = any(not text.strip() for text in expand(known[key]))
    for text in expand(message.value):
        if not re.sub(r"<[^>]*>", "", text).strip() and not can_be_empty:
            yield "can be empty: Telegram sends no empty text"
        if len(text.encode("utf-16-le")) // 2 > MOST_WITH_HTML:
            yield f"is longer than {MOST_WITH_HTML} characters with its HTML: make it shorter"


def _shape(node: Any, terms: Mapping[str, str | None], depth: int) -> Iterator[str]:
    """Whether a pattern is made of what a text may be made of; words that stand for others are put in their place."""
    if depth < 0:
        yield "has choices within choices within choices: make it simpler"
    elif isinstance(node, ast.Pattern):
        for element in node.elements:
            yield from _shape(element, terms, depth)
    elif isinstance(node, ast.Placeable):
        if isinstance(node.expression, ast.TermReference):
            term = node.expression
            words = terms.get(term.id.name)
            if words is None or term.attribute or term.arguments:
                yield f"uses -{term.id.name}, which is not defined in this file as plain words"
            else:
                node.expression = ast.StringLiteral(words.replace("\\", "\\\\").replace('"', '\\"'))
        else:
            yield from _shape(node.expression, terms, depth - 1)
    elif isinstance(node, ast.SelectExpression):
        yield from _shape(node.selector, terms, depth)
        for variant in node.variants:
            yield from _shape(variant.value, terms, depth)
    elif isinstance(node, ast.MessageReference):
        yield f"refers to the text {node.id.name}: write the words out"
    elif isinstance(node, ast.FunctionReference):
        yield f"calls {node.id.name}(): write the value alone"
    elif not isinstance(
        node, ast.TextElement | ast.VariableReference | ast.StringLiteral | ast.NumberLiteral
    ):
        yield "holds what a text cannot hold: write words, values and choices"


def _ways(node: Any) -> int:
    """How many texts a pattern can become."""
    if isinstance(node, ast.Pattern):
        return prod(_ways(element) for element in node.elements)
    if isinstance(node, ast.Placeable):
        return _ways(node.expression)
    if isinstance(node, ast.SelectExpression):
        return sum(_ways(variant.value) for variant in node.variants)
    return 1


def _plain_words(term: Any) -> str | None:
    """What a term stands for; None for one that is more than words."""
    words = ""
    for element in term.value.elements:
        if isinstance(element, ast.TextElement):
            words += element.value
        elif isinstance(element, ast.Placeable) and isinstance(element.expression, ast.StringLiteral):
            words += str(element.expression.parse()["value"])
        else:
            return None
    return None if term.attributes else words


def _slice(source: str, entry: Any) -> str:
    return source[entry.span.start : entry.span.end]


def _has_plural_rules(language: str) -> bool:
    try:
        Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        return False
    return True
