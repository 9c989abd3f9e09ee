"""Photos and documents: uploads, files sent again by id, and downloads."""

from __future__ import annotations

import hashlib
import secrets
import struct
from typing import Any

from vpnd.sandbox.parameters import Parameters, Upload
from vpnd.sandbox.telegram_errors import bad_request
from vpnd.sandbox.telegram_messages import read_caption, read_keyboard, read_reply, shown_to_bot
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_state import Json, StoredFile

MAX_PHOTO = 10 * 1024 * 1024
MAX_DOCUMENT = 50 * 1024 * 1024


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG; None for what is neither."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        return int(width), int(height)
    if content.startswith(b"\xff\xd8"):
        return _jpeg_size(content)
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return int(width), int(height)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def store(server: TelegramServer, upload: Upload, kind: str) -> StoredFile:
    """Keep an upload; raises ApiError for what Telegram would not take."""
    content = upload.content
    if not content:
        raise bad_request("file must be non-empty")
    size = picture_size(content) if kind == "photo" else None
    if kind == "photo":
        if len(content) > MAX_PHOTO:
            raise bad_request("file is too big")
        if size is None:
            raise bad_request("IMAGE_PROCESS_FAILED")
        if sum(size) > 10_000 or max(size) > 20 * max(1, min(size)):
            raise bad_request("PHOTO_INVALID_DIMENSIONS")
    elif len(content) > MAX_DOCUMENT:
        raise bad_request("file is too big")
    number = len(server.state.files) + 1
    suffix = {"photo": "jpg"}.get(kind, upload.filename.rpartition(".")[2] or "bin")
    width, height = size or (0, 0)
    stored = StoredFile(
        file_id=("AgAC" if kind == "photo" else "BQAC") + secrets.token_urlsafe(40),
        unique_id="AQAD" + hashlib.sha256(content).hexdigest()[:12],
        path=f"{kind}s/file_{number}.{suffix}",
        filename=upload.filename,
        content=content,
        kind=kind,
        width=width,
        height=height,
    )
    server.state.files[stored.file_id] = stored
    return stored


def take_file(server: TelegramServer, call: Parameters, reference: str, name: str, kind: str) -> StoredFile:
    """The file that a call means: its own part, an `attach://` part, or the id of a file sent before."""
    if name in call.files:
        return store(server, call.files[name], kind)
    if reference.startswith("attach://"):
        part = call.files.get(reference.removeprefix("attach://"))
        if part is None:
            raise bad_request(f"there is no {kind} in the request")
        return store(server, part, kind)
    if not reference:
        raise bad_request(f"there is no {kind} in the request")
    if "://" in reference:
        raise bad_request("failed to get HTTP URL content")
    stored = server.state.files.get(reference)
    if stored is None:
        raise bad_request("wrong remote file identifier specified: Wrong string length")
    if stored.kind != kind:
        names = {"photo": "Photo", "document": "Document"}
        raise bad_request(f"can't use file of type {names[stored.kind]} as {names[kind]}")
    return stored


def media_content(stored: StoredFile) -> Json:
    """A file as message content."""
    common = {"file_id": stored.file_id, "file_unique_id": stored.unique_id, "file_size": len(stored.content)}
    if stored.kind == "photo":
        return {"photo": [{**common, "width": stored.width, "height": stored.height}]}
    return {"document": {**common, "file_name": stored.filename}}


async def _send_file(server: TelegramServer, call: Parameters, kind: str) -> Any:
    chat = server.chat(call)
    stored = take_file(server, call, call.text(kind), kind, kind)
    content = {
        **read_reply(call, chat),
        **media_content(stored),
        **read_caption(call),
        **read_keyboard(call),
    }
    return shown_to_bot(server.send(chat, content))


@method("sendPhoto")
async def send_photo(server: TelegramServer, call: Parameters) -> Any:
    """A picture, uploaded or known by its id."""
    return await _send_file(server, call, "photo")


@method("sendDocument")
async def send_document(server: TelegramServer, call: Parameters) -> Any:
    """A file, uploaded or known by its id."""
    return await _send_file(server, call, "document")


@method("getFile")
async def get_file(server: TelegramServer, call: Parameters) -> Any:
    """Where a file can be downloaded: `/file/bot<token>/<file_path>`."""
    stored = server.state.files.get(call.text("file_id"))
    if stored is None:
        raise bad_request("invalid file_id")
    return {
        "file_id": stored.file_id,
        "file_unique_id": stored.unique_id,
        "file_size": len(stored.content),
        "file_path": stored.path,
    }
