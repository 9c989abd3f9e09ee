"""What people send beside words: a picture, a sticker, a voice, a place, a contact, as the Bot API tells them.

A person's files are small and always the same, since nobody looks at them: what matters is that a bot gets what it did not
ask for.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from vpnd.sandbox.control_kit import Refused
from vpnd.sandbox.parameters import Upload
from vpnd.sandbox.telegram_entities import command_entities
from vpnd.sandbox.telegram_media import media_content, store
from vpnd.sandbox.telegram_server import TelegramServer
from vpnd.sandbox.telegram_state import Json, Person

_SIDE: Final = 90  # pixels


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_picture() -> bytes:
    """A small grey PNG."""
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)
    rows = (b"\x00" + b"\x80" * _SIDE) * _SIDE
    pieces = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in pieces)


def _file(size: int, **more: Any) -> Json:
    """The fields that all files have."""
    return {
        "file_id": "CAAC" + secrets.token_urlsafe(40),
        "file_unique_id": "AgAD" + secrets.token_urlsafe(9),
        "file_size": size,
        **more,
    }


def _photo(server: TelegramServer, _person: Person) -> Json:
    return media_content(store(server, Upload("photo.png", grey_picture()), "photo"))


def _document(server: TelegramServer, _person: Person) -> Json:
    return media_content(store(server, Upload("receipt.pdf", b"%PDF-1.4\n%%EOF\n"), "document"))


def _sticker(_server: TelegramServer, _person: Person) -> Json:
    kind = {"type": "regular", "is_animated": False, "is_video": False}
    thumbnail = _file(4_000, width=128, height=128)
    sticker = _file(
        17_000, width=512, height=512, emoji="👍", set_name="sandbox", **kind, thumbnail=thumbnail
    )
    return {"sticker": sticker}


def _voice(_server: TelegramServer, _person: Person) -> Json:
    return {"voice": _file(9_000, duration=3, mime_type="audio/ogg")}


def _location(_server: TelegramServer, _person: Person) -> Json:
    return {"location": {"latitude": 52.370216, "longitude": 4.895168}}


def _contact(_server: TelegramServer, person: Person) -> Json:
    return {
        "contact": {"phone_number": "+31000000000", "first_name": person.first_name, "user_id": person.id}
    }


_KINDS: Final[dict[str, Callable[[TelegramServer, Person], Json]]] = {
    "photo": _photo,
    "document": _document,
    "sticker": _sticker,
    "voice": _voice,
    "location": _location,
    "contact": _contact,
}
#: What can be sent beside words.
KINDS: Final = tuple(_KINDS)
_WITH_CAPTION: Final = ("photo", "document", "voice")


def content_of(server: TelegramServer, person: Person, values: Json) -> Json:
    """The content of what a person sends: `text`, or one of `KINDS` as `kind`, with the text as its caption if it can have one.

    Raises Refused for a kind that there is not.
    """
    text, kind = str(values.get("text") or ""), values.get("kind", "text")
    entities = command_entities(text)
    if kind == "text":
        if not text:
            raise Refused("a message of text needs a text")
        return {"text": text, "entities": entities} if entities else {"text": text}
    make = _KINDS.get(str(kind))
    if make is None:
        raise Refused(f"kind must be text or one of {', '.join(KINDS)}")
    content = make(server, person)
    if text and kind in _WITH_CAPTION:
        content |= {"caption": text, "caption_entities": entities} if entities else {"caption": text}
    return content
