"""What comes over a connection, read as HTTP or refused."""

from __future__ import annotations

import pytest

from vpnd.telegram.wire import HEADERS_BOUND, NotHttp, ResponseReader, TooLong, request_bytes

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


def read(*pieces: bytes, bound: int = 100) -> ResponseReader:
    reader = ResponseReader(bound)
    for piece in pieces:
        reader.feed(piece)
    return reader


@pytest.mark.parametrize(
    ("pieces", "body", "lasts"),
    [
        ((LENGTH + b"abc",), b"abc", True),
        ((LENGTH[:20], LENGTH[20:] + b"a", b"bc"), b"abc", True),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",), b"abc", True),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", LENGTH + b"abc"), b"abc", True),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), b"", True),
        ((b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",), b"abc", False),
        ((b"HTTP/1.0 200 OK\r\n\r\nab", b"c", b""), b"abc", False),
        ((LENGTH + b"abc" + LENGTH + b"xyz",), b"abc", False),
        ((LENGTH + b"abc\r\nnonsense",), b"abc", False),
    ],
)
def test_a_response_ends_where_it_says(pieces: tuple[bytes, ...], body: bytes, lasts: bool) -> None:
    """Whatever way a body is measured it is read whole; a connection on which more was said than asked is not used again."""
    reader = read(*pieces)
    assert reader.ended
    assert reader.status in (200, 204)
    assert reader.body == body
    assert reader.can_be_followed() is lasts


@pytest.mark.parametrize("pieces", [(LENGTH + b"ab", b""), (b"HTTP/1.1 200 OK\r\nContent-Le", b"")])
def test_half_a_response_is_none(pieces: tuple[bytes, ...]) -> None:
    """A connection that breaks within a measured body, or within the headers, has not answered."""
    assert not read(*pieces).ended


@pytest.mark.parametrize(
    "answer",
    [
        b"hello world\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(answer: bytes) -> None:
    """Nothing that could be read in two ways is read in either."""
    with pytest.raises(NotHttp):
        read(answer)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEADERS_BOUND * 2]
)
def test_nothing_grows_without_a_bound(answer: bytes) -> None:
    """A body longer than agreed, and headers without an end, are cut."""
    with pytest.raises(TooLong):
        read(answer)


def test_a_target_cannot_end_the_line() -> None:
    """What is put into the first line of a request is visible ASCII."""
    for target in ("/a b", "/a\r\nX: y", "/ä", ""):
        with pytest.raises(ValueError, match="visible"):
            request_bytes("GET", target, "h", "", None)
    assert request_bytes("GET", "/a", "h", "", None) == b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    assert request_bytes("POST", "/a", "h", "t/t", b"ab").endswith(b"Content-Length: 2\r\n\r\nab")
