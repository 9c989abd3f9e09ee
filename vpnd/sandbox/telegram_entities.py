"""Formatted text: Telegram's HTML parse mode, entities given as such, and the length rules.

The parser follows the grammar of Telegram's server, including its complaints with byte offsets, so that a text that would be
refused there is refused here. Offsets and lengths of entities count UTF-16 code units, as everywhere in the Bot API.
"""

from __future__ import annotations

import html
import re
from typing import Any

import attrs

from vpnd.sandbox.telegram_errors import ApiError, bad_request

Entity = dict[str, Any]

TAGS = {
    "a": "text_link", "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler", "span": "spoiler",
    "code": "code", "pre": "pre", "blockquote": "blockquote", "tg-emoji": "custom_emoji",
}  # fmt: skip

PRIORITY = {
    "blockquote": 0, "expandable_blockquote": 0, "pre": 10, "code": 20, "text_link": 49, "bold": 90, "italic": 91,
    "underline": 92, "strikethrough": 93, "spoiler": 94, "custom_emoji": 99,
}  # fmt: skip
"""How entities over the same text are ordered, outer first."""

_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(lt|gt|amp|quot));?")
_PLAIN = re.compile(r"[^<&]+")
_COMMAND = re.compile(r"(?<![\w/])/[A-Za-z0-9_]{1,64}(?:@\w{3,32})?")


def utf16_length(text: str) -> int:
    """The length in UTF-16 code units, the unit of entities and of the 4096 limit."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


@attrs.define
class _Open:
    tag: str
    argument: str
    offset: int


class _HtmlParser:
    """One pass over the source; `text` grows as the markup is eaten."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.text: list[str] = []
        self.length = 0
        self.stack: list[_Open] = []
        self.entities: list[Entity] = []

    def fail(self, what: str, position: int) -> ApiError:
        offset = len(self.source[:position].encode())
        return bad_request(f"can't parse entities: {what.replace('@', f'at byte offset {offset}')}")

    def peek(self) -> str:
        return self.source[self.at] if self.at < len(self.source) else ""

    def skip_spaces(self) -> None:
        while self.peek().isspace():
            self.at += 1

    def until(self, stops: str) -> str:
        start = self.at
        while (c := self.peek()) and not c.isspace() and c not in stops:
            self.at += 1
        return self.source[start : self.at]

    def emit(self, piece: str) -> None:
        self.text.append(piece)
        self.length += utf16_length(piece)

    def reference(self) -> str | None:
        """A character reference at the cursor, eaten; None when the ampersand is only an ampersand."""
        match = _REFERENCE.match(self.source, self.at)
        if match is None:
            return None
        self.at = match.end()
        whole = match.group()
        return html.unescape(whole if whole.endswith(";") else whole + ";")

    def plain_text(self) -> None:
        match = _PLAIN.match(self.source, self.at)
        piece = match.group() if match is not None else self.source[self.at]
        self.emit(piece)
        self.at += len(piece)

    def run(self) -> tuple[str, list[Entity]]:
        while c := self.peek():
            if c == "&" and (piece := self.reference()) is not None:
                self.emit(piece)
            elif c != "<":
                self.plain_text()
            elif self.source.startswith("</", self.at):
                self.end_tag()
            else:
                self.start_tag()
        if self.stack:
            tag = self.stack[-1].tag
            raise bad_request(
                f"can't parse entities: Can't find end tag corresponding to start tag \"{tag}\""
            )
        self.entities.sort(key=lambda e: (e["offset"], -e["length"], PRIORITY[e["type"]]))
        return "".join(self.text), self.entities

    def start_tag(self) -> None:
        begin = self.at
        self.at += 1
        tag = self.until(">").lower()
        if not self.peek():
            raise self.fail("Unclosed start tag @", begin)
        if tag not in TAGS:
            raise self.fail(f'Unsupported start tag "{tag}" @', begin)
        argument = self.attributes(tag, begin)
        self.at += 1
        if tag == "span" and argument != "tg-spoiler":
            raise self.fail('Tag "span" must have class "tg-spoiler" @', begin)
        self.stack.append(_Open(tag, argument, self.length))

    def attributes(self, tag: str, begin: int) -> str:
        """Eat a tag's attributes up to its `>`; the one value that matters to this tag."""
        argument = ""
        while True:
            self.skip_spaces()
            if self.peek() == ">":
                return argument
            name = self.until("=>").lower()
            if not name:
                raise self.fail(f'Empty attribute name in the tag "{tag}" @', begin)
            self.skip_spaces()
            value = ""
            if self.peek() == "=":
                self.at += 1
                self.skip_spaces()
                value = self.value(begin)
            if not self.peek():
                raise self.fail("Unclosed start tag @", begin)
            if (tag, name) in {("a", "href"), ("span", "class"), ("code", "class"), ("tg-emoji", "emoji-id")}:
                argument = value
            elif (tag, name) == ("blockquote", "expandable"):
                argument = "expandable"

    def value(self, begin: int) -> str:
        quote = self.peek()
        if not quote:
            raise self.fail("Unclosed start tag @", begin)
        if quote not in "'\"":
            start = self.at
            while (c := self.peek()) and (c.isalnum() or c in ".-"):
                self.at += 1
            if (c := self.peek()) and not c.isspace() and c != ">":
                raise self.fail("Unexpected end of name token @", start)
            return self.source[start : self.at].lower()
        self.at += 1
        found: list[str] = []
        while (c := self.peek()) and c != quote:
            piece = self.reference() if c == "&" else None
            if piece is None:
                piece = c
                self.at += 1
            found.append(piece)
        if not self.peek():
            raise self.fail("Unclosed start tag @", begin)
        self.at += 1
        return "".join(found)

    def end_tag(self) -> None:
        begin = self.at
        self.at += 2
        if not self.stack:
            raise self.fail("Unexpected end tag @", begin)
        name = self.until(">").lower()
        self.skip_spaces()
        if self.peek() != ">":
            raise self.fail("Unclosed end tag @", begin)
        self.at += 1
        opened = self.stack.pop()
        if name and name != opened.tag:
            raise self.fail(f'Unmatched end tag @, expected "</{opened.tag}>", found "</{name}>"', begin)
        self.close(opened)

    def close(self, opened: _Open) -> None:
        entity: Entity = {
            "type": TAGS[opened.tag],
            "offset": opened.offset,
            "length": self.length - opened.offset,
        }
        if entity["length"] == 0:
            return
        if opened.tag == "a":
            url = opened.argument or "".join(self.text)[-entity["length"] :]
            # A link to nowhere is not an error at Telegram: its text stays, without the link.
            if not re.match(r"(?i)(https?|tg|ton|mailto|tel):|[\w-]+\.[\w.-]+", url):
                return
            entity["url"] = url
        elif opened.tag == "tg-emoji":
            entity["custom_emoji_id"] = opened.argument
        elif opened.tag == "blockquote" and opened.argument:
            entity["type"] = "expandable_blockquote"
        elif opened.tag == "pre":
            inner = self.entities[-1] if self.entities else None
            same = inner is not None and all(inner[k] == entity[k] for k in ("offset", "length"))
            if same and inner is not None and inner["type"] == "code":
                self.entities.pop()
                language = inner.pop("_class", "")
                if language.startswith("language-"):
                    entity["language"] = language.removeprefix("language-")
        elif opened.tag == "code" and opened.argument:
            entity["_class"] = opened.argument
        self.entities.append(entity)


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """The plain text and the entities of an HTML text; raises ApiError (400, `can't parse entities: …`)."""
    text, entities = _HtmlParser(source).run()
    for entity in entities:
        entity.pop("_class", None)
    return text, entities


def given_entities(value: Any, text: str) -> list[Entity]:
    """Entities a client computed itself; those outside the text are dropped, as Telegram does."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(e, dict) for e in value):
        raise bad_request("can't parse entities: expected an Array of MessageEntity")
    length = utf16_length(text)
    kept = []
    for entity in value:
        if not {"type", "offset", "length"} <= entity.keys():
            raise bad_request("can't parse entities: Can't find field \"offset\"")
        begin, size = entity["offset"], entity["length"]
        if begin >= 0 and size > 0 and begin + size <= length:
            kept.append({key: item for key, item in entity.items() if item is not None})
    return kept


def formatted(source: str, parse_mode: str, entities: Any) -> tuple[str, list[Entity]]:
    """A text as it will be shown: parsed, and trimmed at both ends with its entities moved along."""
    if parse_mode and parse_mode.lower() != "html":
        raise bad_request("unsupported parse_mode")
    text, found = parse_html(source) if parse_mode else (source, given_entities(entities, source))
    left = utf16_length(text) - utf16_length(text.lstrip())
    text = text.strip()
    length = utf16_length(text)
    shown = []
    for entity in found:
        start = max(0, entity["offset"] - left)
        end = min(length, entity["offset"] + entity["length"] - left)
        if end > start:
            shown.append({**entity, "offset": start, "length": end - start})
    return text, shown


def command_entities(text: str) -> list[Entity]:
    """The bot commands in what a person typed."""
    return [
        {
            "type": "bot_command",
            "offset": utf16_length(text[: match.start()]),
            "length": utf16_length(match.group()),
        }
        for match in _COMMAND.finditer(text)
    ]
