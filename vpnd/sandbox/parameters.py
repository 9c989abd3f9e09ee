"""Reads a call's parameters wherever a client put them: query string, urlencoded form, JSON or multipart.

Both sandboxed APIs take all four, and the real clients use all four. Values keep the type they arrived with (JSON has numbers,
forms have only text), so every getter accepts both spellings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import attrs
from starlette.datastructures import UploadFile
from starlette.requests import Request

MAX_BODY = 55 * 1024 * 1024
"""Bytes of a request that are read at most: Telegram takes uploads of 50 MB."""


class BadParameter(ValueError):
    """A parameter cannot be read; `name` tells which, the text tells why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


@attrs.frozen
class Upload:
    """An uploaded file."""

    filename: str
    content: bytes


@attrs.define
class Parameters:
    """The values of one call and the files that came with it."""

    values: dict[str, Any] = attrs.field(factory=dict)
    files: dict[str, Upload] = attrs.field(factory=dict)

    def has(self, name: str) -> bool:
        """Whether the parameter was given and is neither null nor an empty text."""
        return self.values.get(name) not in (None, "")

    def text(self, name: str, default: str = "") -> str:
        """A text; numbers are spelled out, as a form would have done."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number; raises BadParameter for anything else."""
        if not self.has(name):
            return default
        value = self.values[name]
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise BadParameter(name, f"{name} must be an integer")
        try:
            return int(value)
        except (TypeError, ValueError):
            raise BadParameter(name, f"{name} must be an integer") from None

    def boolean(self, name: str, default: bool = False) -> bool:
        """A truth value: true, yes, 1 (in any case) are true."""
        if not self.has(name):
            return default
        return str(self.values[name]).lower() in {"true", "yes", "1"}

    def structure(self, name: str) -> Any:
        """A JSON value, whether it came as JSON or as text that holds JSON; None when absent."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise BadParameter(name, f"can't parse {name} JSON object") from None


class TooLarge(Exception):
    """The request's body is larger than MAX_BODY."""


async def _read_body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


async def read_parameters(request: Request) -> Parameters:
    """Everything the request carries; the body's values win over the query's.

    Raises:
        BadParameter: the body is not what its content type says.
        TooLarge: the body is larger than 55 MB.
    """
    found = Parameters(dict(parse_qsl(request.url.query, keep_blank_values=True)))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        await _read_multipart(request, found)
        return found
    body = await _read_body(request)
    if not body:
        return found
    readers: dict[str, Callable[[bytes], dict[str, Any]]] = {
        "application/json": _json_object,
        "application/x-www-form-urlencoded": _urlencoded,
    }
    reader = readers.get(kind)
    if reader is not None:
        found.values.update(reader(body))
    return found


async def _read_multipart(request: Request, found: Parameters) -> None:
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise TooLarge
    async with request.form(max_files=20, max_fields=200, max_part_size=MAX_BODY) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                found.files[name] = Upload(value.filename or name, await value.read())
            else:
                found.values[name] = value


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise BadParameter("body", "can't parse request body as JSON") from None
    if not isinstance(value, dict):
        raise BadParameter("body", "request body must be a JSON object")
    return value


def _urlencoded(body: bytes) -> dict[str, Any]:
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True))
    except UnicodeDecodeError:
        raise BadParameter("body", "request body must be encoded in UTF-8") from None
