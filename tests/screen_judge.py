"""What a customer may be shown, judged on the messages of the sandbox's Telegram: for who plays the bot, by hand or at random.

Nothing here knows a screen by name, so a new one is judged without a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from itertools import product
from typing import Any

from attrs import define, field
from fluent.syntax import FluentParser, ast

from vpnd.bot.callbacks import MAX_BYTES, Action, Home, Languages, SetLanguage, decode
from vpnd.bot.texts import keys, read_locale
from vpnd.sandbox.customer import Message, buttons_of, text_of
from vpnd.sandbox.telegram_entities import utf16_length

#: Longest label of a button, in characters: ours are cut off beyond 40 on a phone, a shop's own titles may be longer.
MAX_LABEL = 64
MAX_TEXT, MAX_CAPTION = 4096, 1024  # UTF-16 units
MAX_ROW, MAX_BUTTONS = 8, 100

_HOLES = re.compile(r"[{}]|\$\w|\bNone\b|\?\?\?|&(?:amp|lt|gt|quot|#\d+);|</?[a-z]+>")
_KEY = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")
_CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)
_LATIN_WORDS = re.compile(r"\b[A-Za-z]{3,}\b")
_HOLE = "\0"


def actions_of(message: Message) -> list[Action]:
    """What the buttons below a message mean."""
    found = [decode(button.get("callback_data")) for button in buttons_of(message)]
    return [action for action in found if action is not None]


def is_home(message: Message) -> bool:
    """Whether this is the first screen: from there everything else is reached, the choice of a language among it."""
    kinds = {type(action) for action in actions_of(message)}
    return Languages in kinds and Home not in kinds and SetLanguage not in kinds


def is_screen(message: Message) -> bool:
    """Whether a message of the bot is a screen: not an invoice, nor Telegram's own word of a payment."""
    return bool(message["from_bot"]) and bool(text_of(message)) and "invoice" not in message


def faults_of(message: Message, language: str) -> list[str]:
    """What is wrong with a message of the bot, one sentence each; empty when nothing."""
    return [*_text_faults(message, language), *_button_faults(message)]


def _text_faults(message: Message, language: str) -> Iterator[str]:
    text = text_of(message)
    if not is_screen(message):
        if "invoice" not in message:
            yield "a message of the bot without words"
        return
    limit = MAX_CAPTION if "photo" in message else MAX_TEXT
    if utf16_length(text) > limit:
        yield f"a text of {utf16_length(text)} units, over {limit}"
    labels = [str(button["text"]) for button in buttons_of(message)]
    for said in (text, *labels):
        if found := _HOLES.search(said):
            yield f"a hole or a tag is left: {found[0]!r} in {said[:200]!r}"
        if left := [word for word in _KEY.findall(said) if word in _keys()]:
            yield f"a key instead of its text: {left[0]}"
    yield from _language_faults(text, language)


def _language_faults(text: str, language: str) -> Iterator[str]:
    """Words of another language. Names, links and titles may be Latin in any; English texts have nothing Cyrillic but names."""
    # What is not ours to translate: links, commands, names with @, apps' and customers' names in Latin letters.
    ours = re.sub(r"\S*://\S+|[@/]\w+", "", text)
    if language == "ru" and not _CYRILLIC.search(ours) and _LATIN_WORDS.search(ours):
        yield f"no Russian word in {text[:200]!r}"
    if language == "en" and len(_CYRILLIC.findall(ours)) > 3 and not _LATIN_WORDS.search(ours):
        yield f"no English word in {text[:200]!r}"


def _button_faults(message: Message) -> Iterator[str]:
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    if any(len(row) > MAX_ROW for row in rows) or len(buttons_of(message)) > MAX_BUTTONS:
        yield "more buttons than a phone shows"
    for button in buttons_of(message):
        label, data = str(button["text"]), button.get("callback_data")
        if not 0 < len(label) <= MAX_LABEL:
            yield f"a label of {len(label)} characters: {label!r}"
        if label != label.strip():
            yield f"blanks around a label: {label!r}"
        if data is not None and (len(data.encode()) > MAX_BYTES or decode(data) is None):
            yield f"a button that cannot be read back: {data!r}"


@cache
def _keys() -> frozenset[str]:
    return frozenset(keys())


@define
class Ways:
    """From any screen home is at most two taps away: what leads where, as it was seen.

    A screen with the button of the first one, or the first itself, needs nothing more. Of the others one button has to lead to a
    screen that has it, whenever it was pressed; `faults` says which do not.
    """

    leads: dict[type[Action], bool] = field(factory=dict)
    without: dict[str, frozenset[type[Action]]] = field(factory=dict)

    def see(self, message: Message, pressed: Action | None = None) -> None:
        """Take in a screen, and what was pressed to come here."""
        if not is_screen(message):
            return
        actions = frozenset(type(action) for action in actions_of(message))
        near = Home in actions or is_home(message)
        if pressed is not None:
            kind = type(pressed)
            self.leads[kind] = self.leads.get(kind, True) and near
        if not near:
            self.without.setdefault(text_of(message)[:120], actions)

    def faults(self) -> list[str]:
        """The screens from which home is more than two taps away."""
        return [
            f"home is more than two taps away from {text!r} (its buttons: {sorted(kind.__name__ for kind in actions)})"
            for text, actions in self.without.items()
            if not any(self.leads.get(kind) for kind in actions)
        ]


# ------------------------------------------------------------------------------------------ which text it is


def says(message: Message, key: str, language: str) -> bool:
    """Whether a message says the text `key`, whatever values stand in it; also as a part of a longer one."""
    return any(pattern.search(text_of(message)) for pattern in _patterns(key, language))


@cache
def _patterns(key: str, language: str) -> tuple[re.Pattern[str], ...]:
    value = _messages(language)[key]
    found = []
    for text in dict.fromkeys(_expand(value)):
        plain = unescape(re.sub(r"<[^>]*>", "", text)).strip()
        found.append(re.compile(".*?".join(re.escape(part) for part in plain.split(_HOLE)), re.DOTALL))
    return tuple(found)


@cache
def _messages(language: str) -> dict[str, Any]:
    body = FluentParser().parse(read_locale(language)).body
    return {entry.id.name: entry.value for entry in body if isinstance(entry, ast.Message)}


def _expand(element: Any) -> Iterator[str]:
    """Every text a pattern can become, with a mark where a value stands."""
    if isinstance(element, ast.Pattern):
        for parts in product(*(list(_expand(part)) for part in element.elements)):
            yield "".join(parts)
    elif isinstance(element, ast.TextElement):
        yield element.value
    elif isinstance(element, ast.Placeable):
        yield from _expand(element.expression)
    elif isinstance(element, ast.SelectExpression):
        for variant in element.variants:
            yield from _expand(variant.value)
    elif isinstance(element, ast.StringLiteral):
        yield str(element.parse()["value"])
    else:
        yield _HOLE
