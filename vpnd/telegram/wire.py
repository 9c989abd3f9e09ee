"""HTTP/1.1 as it goes over one connection: a request as bytes, and a response as llhttp reads it.

The parser is llhttp, which is Node's, by way of httptools; in Python the same work is a twentieth of all that a reply costs.
What the parser does not bound is bounded here: how long an answer and its headers may be.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httptools

__all__ = ["NotHttp", "ResponseReader", "TooLong", "request_bytes"]

#: Longest status line and headers, with what an answer in chunks says of its chunks, in bytes.
HEADERS_BOUND: Final = 64 << 10

_VISIBLE: Final = re.compile(r"[!-~]+")


class NotHttp(Exception):
    """What came is no HTTP response, or not one to a request of ours."""


class TooLong(Exception):
    """The response is longer than was agreed to."""


def request_bytes(method: str, target: str, host: str, content_type: str, body: bytes | None) -> bytes:
    """Return a request as it is written to the connection; `body` None: it has none (GET).

    Raises:
        ValueError: the target holds what would end the request's first line.
    """
    if not _VISIBLE.fullmatch(target):
        raise ValueError("a request's target is visible ASCII")
    if body is None:
        return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii")
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class ResponseReader:
    """Reads one response, to a request that was neither HEAD nor CONNECT, from the bytes as they come.

    Args:
        bound: longest body in bytes.
    """

    __slots__ = (
        "_body_size",
        "_bound",
        "_chunks",
        "_ended",
        "_extra",
        "_lasting",
        "_measured",
        "_parser",
        "_raw",
        "status",
    )

    def __init__(self, bound: int) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._bound = bound
        self._chunks: list[bytes] = []
        self._body_size = 0
        self._raw = 0
        self._measured = False
        self._ended = False
        self._extra = False
        self._lasting = False
        self.status = 0  #: 0 until the headers were read

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A response begins; a second one answers nothing that was asked."""
        self._extra = self._ended

    def on_header(self, name: bytes, _value: bytes) -> None:
        """One header."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._measured = True

    def on_headers_complete(self) -> None:
        """The status is known."""
        if not self._ended:
            self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body_size += len(data)
        if self._body_size <= self._bound and not self._ended:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        """The response has ended; one that only announces another (1xx) is none."""
        if self._ended:
            return
        if self.status < 200:
            self.status, self._measured = 0, False
        else:
            self._ended = True
            # To be asked now: afterwards the parser speaks of the message after this one.
            self._lasting = bool(self._parser.should_keep_alive())

    # What the transport calls.

    @property
    def ended(self) -> bool:
        """Whether the response is whole."""
        return self._ended

    @property
    def body(self) -> bytes:
        """The body, as far as it has come."""
        return b"".join(self._chunks)

    def can_be_followed(self) -> bool:
        """Whether another request may go over the connection, now that the response has ended."""
        return self._lasting and not self._extra

    def feed(self, data: bytes) -> None:
        """Take in bytes; b"" is the end of the stream.

        Raises:
            NotHttp: they are no HTTP.
            TooLong: the bound is passed.
        """
        if not data:
            # Without a length of its own, a body ends where the connection does (RFC 9112, 6.3).
            self._ended = self.status != 0 and not self._measured
            self._extra = True
            return
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._ended:
                raise NotHttp from None
            self._extra = (
                True  # the answer was whole; what follows it is no concern of ours, nor is this connection
            )
        if self._body_size > self._bound or self._raw > self._bound + HEADERS_BOUND:
            raise TooLong
