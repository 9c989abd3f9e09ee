"""The parameters of a call of the Bot API as the body of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from telegram.request import RequestData

__all__ = ["json_body", "multipart_body"]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


def json_body(parameters: Mapping[str, Any]) -> bytes:
    """Return the parameters of a call as its body; those that are None are left out.

    Raises:
        TypeError: one of them is no JSON: a file, or an object of PTB's.
    """
    return _ENCODER.encode({name: value for name, value in parameters.items() if value is not None}).encode()


def multipart_body(data: RequestData, boundary: str) -> bytes:
    """Encode parameters and files as RFC 7578 has it."""
    lines: list[bytes] = []
    for name, value in data.json_parameters.items():
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode()
        )
        lines += [value.encode(), b"\r\n"]
    for name, (filename, content, mime) in data.multipart_data.items():
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"; filename="{_quoted(filename)}"'
        lines += [f"--{boundary}\r\n{head}\r\nContent-Type: {mime}\r\n\r\n".encode()]
        lines += [content if isinstance(content, bytes) else content.read(), b"\r\n"]
    lines.append(f"--{boundary}--\r\n".encode())
    return b"".join(lines)


def _quoted(name: str) -> str:
    # What browsers do (HTML, "multipart/form-data encoding algorithm").
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
