"""For operators: the bot's texts, and which ways to pay are offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    OneText,
    ResetText,
    ResetTextNow,
    TextLanguages,
    WayOff,
    WaysToPay,
    WaySwitch,
    WriteText,
    WrittenTexts,
)
from vpnd.bot.markup import Markup, escape
from vpnd.bot.screens.catalogue import back, confirm
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.bot.text_editing import EditedText, key_number
from vpnd.shop.text_overrides import TextOverride

#: Texts of one page or one answer, and letters of each that are shown there.
PAGE: Final = 8
_LINE: Final = 60
#: Letters that are shown of a text, and of the one that it replaces: both fit into Telegram's 4096.
_TEXT: Final = 2500
_ORIGINAL: Final = 900
_KEY: Final = 38  # letters of a key on a button
_FAULTS: Final = 6
_FAULT: Final = 300


def _source(text: str, most: int) -> Markup:
    """A pattern as it is written, letter for letter; a value in braces stays a value in braces."""
    shown = text if len(text) <= most else text[: most - 1] + "…"
    safe = escape(shown).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")
    return Markup(f"<pre>{safe}</pre>")


def _short(text: str) -> Markup:
    line = " ".join(text.split())
    safe = escape(line if len(line) <= _LINE else line[: _LINE - 1] + "…")
    return Markup(safe.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;"))


def languages(speech: Speech) -> Screen:
    """The languages whose texts can be edited."""
    buttons = [
        Button(speech.label("button-texts-in", language=language), WrittenTexts(number))
        for number, language in enumerate(speech.texts.languages)
    ]
    rows: list[Row] = [tuple(buttons[start : start + 3]) for start in range(0, len(buttons), 3)]
    return Screen(speech.say("texts"), (*rows, back(speech, Catalogue())))


def _buttons(language: int, keys: Sequence[str]) -> list[Row]:
    return [(Button(key[:_KEY], OneText(language, key_number(key))),) for key in keys]


def written(speech: Speech, language: int, name: str, page: int, found: Sequence[TextOverride]) -> Screen:
    """A page of what was written in the bot in a language, and the request to write what to look for."""
    shown = found[page * PAGE : (page + 1) * PAGE]
    lines = [speech.say("text-line", key=one.key, text=_short(one.body)) for one in shown]
    rows = _buttons(language, [one.key for one in shown])
    if len(found) > (page + 1) * PAGE:
        rows.append((Button(speech.label("button-older"), WrittenTexts(language, page + 1)),))
    text = paragraphs(
        speech.say("texts-written", language=name), "\n".join(lines) or None, speech.say("texts-search")
    )
    return Screen(text, (*rows, back(speech, TextLanguages())))


def found_texts(speech: Speech, language: int, found: Sequence[EditedText]) -> Screen:
    """What was found, with a button each."""
    lines = [speech.say("text-line", key=one.key, text=_short(one.said)) for one in found]
    head = speech.say("texts-found") if lines else speech.say("texts-not-found")
    rows = _buttons(language, [one.key for one in found])
    return Screen(paragraphs(head, "\n".join(lines)), (*rows, back(speech, WrittenTexts(language))))


def text(speech: Speech, language: int, one: EditedText, *, preface: str | None = None) -> Screen:
    """A text as it is said, what it may use, where it is from, and what it replaces."""
    number = key_number(one.key)
    rows: list[Row] = [(Button(speech.label("button-text-write"), WriteText(language, number)),)]
    replaced: list[str] = []
    if one.written is not None:
        rows.append((Button(speech.label("button-text-reset"), ResetText(language, number)),))
        replaced = [speech.say("text-replaces"), _source(one.folder or one.original, _ORIGINAL)]
    head = speech.say(
        "text-one",
        key=one.key,
        language=one.language,
        origin="bot" if one.written is not None else "folder" if one.folder is not None else "package",
        by="–" if one.written is None else one.written.changed_by,
        at="–" if one.written is None else f"{one.written.changed_at:%Y-%m-%d %H:%M} UTC",
        values=_values(one),
    )
    return Screen(
        paragraphs(preface, head, _source(one.said, _TEXT), *replaced),
        (*rows, back(speech, WrittenTexts(language))),
    )


def _values(one: EditedText) -> Markup:
    return Markup(", ".join(f"<code>&#123; &#36;{name} &#125;</code>" for name in one.values) or "–")


def write(speech: Speech, language: int, one: EditedText, faults: Sequence[str] = ()) -> Screen:
    """The request to write a text; with what is wrong with the last words."""
    wrong = None
    if faults:
        lines = [speech.say("text-fault", fault=_fault(fault)) for fault in faults[:_FAULTS]]
        wrong = "\n".join([speech.say("text-refused"), *lines])
    ask = speech.say("text-ask", key=one.key, language=one.language, values=_values(one))
    return Screen(paragraphs(wrong, ask), (back(speech, OneText(language, key_number(one.key))),))


def _fault(fault: str) -> Markup:
    safe = escape(fault[:_FAULT])
    return Markup(safe.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;"))


def reset(speech: Speech, language: int, one: EditedText, asked: int) -> Screen:
    """The question whether a text is to be said as before."""
    number = key_number(one.key)
    said = paragraphs(
        speech.say("text-reset-confirm", key=one.key), _source(one.folder or one.original, _TEXT)
    )
    return confirm(speech, said, ResetTextNow(language, number, asked), OneText(language, number))


# ------------------------------------------------------------------------------------------ ways to pay


def ways(
    speech: Speech, set_up: Sequence[str], offered: Sequence[str], *, preface: str | None = None
) -> Screen:
    """The ways to pay that are set up, and which of them are offered."""
    lines = [
        speech.say("way-line", method=method, state="on" if method in offered else "off") for method in set_up
    ]
    rows: list[Row] = [
        (
            Button(
                speech.label("button-way", method=method, state="on" if method in offered else "off"),
                WayOff(method) if method in offered else WaySwitch(method, 1, 0),
            ),
        )
        for method in set_up
    ]
    return Screen(
        paragraphs(preface, speech.say("ways"), "\n".join(lines)), (*rows, back(speech, Catalogue()))
    )


def way_off(speech: Speech, method: str, *, last: bool, asked: int) -> Screen:
    """The question whether a way to pay is to be offered no longer."""
    said = speech.say("way-off-confirm", method=method, last="yes" if last else "no")
    return confirm(speech, said, WaySwitch(method, 0, asked), WaysToPay())
