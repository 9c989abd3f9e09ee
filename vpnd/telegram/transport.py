"""Requests of the Bot API over kept-alive trio streams.

PTB sends through httpx by default, and httpx is what bounds a bot's speed; llhttp on plain trio streams costs a tenth of it.
What makes such a small client safe is a few rules about connections:

* A connection is owned by one call from the moment it is taken until the whole response was read. Only then, and only if
  the server lets it live and has said nothing more, does it become idle again. Whatever else ends a call (an error, a timeout, a
  cancellation) closes the connection: a half-read answer can never be taken for the answer to the next question.
* A kept-alive connection may have been closed by the other side at any time. It is looked at before it is used, and if it
  breaks all the same, the call moves to a fresh connection *once*, provided that this cannot do anything twice: the
  request never left as a whole, or it only reads (`get…`) and no byte of an answer came.
* Nothing here knows a secret by name, so nothing here may print a URL: the bot's token stands in its path.
"""

from __future__ import annotations

import secrets
import select
import ssl
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio
from telegram._utils.defaultvalue import DefaultValue
from telegram.request import BaseRequest, RequestData

from vpnd.runtime import metrics, observations
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.journal import get_journal
from vpnd.telegram.bodies import json_body, multipart_body
from vpnd.telegram.errors import TransportFailure, TransportTimeout
from vpnd.telegram.wire import NotHttp, ResponseReader, TooLong, request_bytes

__all__ = ["DirectRequest", "observe", "open_socket"]

journal = get_journal("telegram")

CONNECTIONS: Final = 64
#: Telegram's servers close idle connections after about a minute; an older one is not worth the doubt.
IDLE_SECONDS: Final = 45.0
CONNECT_TIMEOUT: Final = 5.0
POOL_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 10.0
WRITE_TIMEOUT: Final = 5.0
MEDIA_WRITE_TIMEOUT: Final = 30.0
#: The Bot API's answers are small, a getUpdates batch of 100 a few hundred kB; files may have 20 MB.
MAX_RESPONSE: Final = 8 << 20  # bytes
MAX_FILE: Final = 21 << 20  # bytes
SLOW_SECONDS: Final = 2.0

_READ_SIZE: Final = 65536
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class _Stale(Exception):
    """A connection broke in a way that allows the call to be repeated on another one."""


@attrs.frozen
class _Times:
    """How long a call may connect, write and wait for the answer, in seconds."""

    connecting: float
    writing: float
    reading: float


@attrs.define(eq=False)
class _Connection:
    """A stream; `idle_since` is on trio's clock."""

    stream: trio.abc.Stream
    idle_since: float = 0.0

    def is_stale(self) -> bool:
        """Say whether an idle connection has something to read: the peer's farewell, since we asked nothing."""
        stream = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        if not isinstance(stream, trio.SocketStream):
            return False
        poll = select.poll()  # unlike select(), any descriptor number will do
        poll.register(stream.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))


async def open_socket(host: str, port: int, context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect to `host`, with TLS and a verified host name if `context` is given.

    Raises:
        OSError: nobody there.
        trio.BrokenResourceError: the TLS handshake failed.
    """
    tcp = await trio.open_tcp_stream(host, port)
    if context is None:
        return tcp
    stream = trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


class DirectRequest(BaseRequest):
    """PTB's transport for one Bot API server, on trio.

    Args:
        api_base: `https://host[:port][/path]`; plain http only to this machine itself.
        connections: most connections open at once; a call waits for a free one up to `pool_timeout`.
        read_timeout: seconds from the end of the request to the end of the response.
        context: TLS settings; the system's trust store by default.
        connect: opens a stream (host, port, context); tests hand in their own.

    A call may be cancelled at any point; its connection is closed then. `shutdown()` closes the idle ones.

    Raises:
        ValueError: `api_base` is no such URL.
    """

    __slots__ = (
        "_connect",
        "_context",
        "_host",
        "_host_header",
        "_idle",
        "_origin",
        "_places",
        "_port",
        "_read_timeout",
    )

    def __init__(
        self,
        api_base: str,
        *,
        connections: int = CONNECTIONS,
        read_timeout: float = READ_TIMEOUT,
        context: ssl.SSLContext | None = None,
        connect: Callable[[str, int, ssl.SSLContext | None], Awaitable[trio.abc.Stream]] = open_socket,
    ) -> None:
        parts = urlsplit(api_base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the Bot API's base is no http(s) URL")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("without TLS the Bot API may only be on this machine")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._context = (context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._host_header = parts.netloc.rpartition("@")[2]
        self._connect = connect
        self._read_timeout = read_timeout
        self._places = trio.Semaphore(connections, max_value=connections)
        self._idle: list[_Connection] = []

    def __repr__(self) -> str:
        return f"<DirectRequest idle={len(self._idle)} free={self._places.value}/{self._places.max_value}>"

    @property
    def read_timeout(self) -> float:
        """Seconds a call may wait for its answer when it names no other bound."""
        return self._read_timeout

    async def initialize(self) -> None:
        """Do nothing: connections are opened by need."""

    async def shutdown(self) -> None:
        """Close the idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await trio.aclose_forcefully(connection.stream)

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Send one request and return status and body; timeouts are seconds, None means no bound.

        Raises:
            TransportFailure: no whole answer came; `maybe_sent` says whether the request had left.
            HeldConnectionError: the calling task holds a database connection.
        """
        has_files = request_data is not None and request_data.contains_files
        if request_data is None:
            content_type, body = "", b"" if method != "GET" else None
        elif request_data.contains_files:
            boundary = secrets.token_hex(16)
            content_type, body = (
                f"multipart/form-data; boundary={boundary}",
                multipart_body(request_data, boundary),
            )
        else:
            content_type, body = (
                "application/json",
                json_body(request_data.parameters),
            )  # half the cost of a form
        writing = _seconds(write_timeout, MEDIA_WRITE_TIMEOUT if has_files else WRITE_TIMEOUT)
        times = _Times(
            _seconds(connect_timeout, CONNECT_TIMEOUT), writing, _seconds(read_timeout, self._read_timeout)
        )
        return await self._call(url, method, content_type, body, times, _seconds(pool_timeout, POOL_TIMEOUT))

    async def post_json(self, url: str, body: bytes, read_timeout: float | None) -> tuple[int, bytes]:
        """Send one request whose parameters are JSON already; otherwise as `do_request`, without what PTB makes around it.

        `read_timeout` None: the transport's own.
        """
        reading = self._read_timeout if read_timeout is None else read_timeout
        times = _Times(CONNECT_TIMEOUT, WRITE_TIMEOUT, reading)
        return await self._call(url, "POST", "application/json", body, times, POOL_TIMEOUT)

    async def _call(
        self,
        url: str,
        method: str,
        content_type: str,
        body: bytes | None,
        times: _Times,
        pool_timeout: float,
    ) -> tuple[int, bytes]:
        refuse_if_held("a call of the Bot API")
        if not url.startswith(self._origin + "/"):
            raise TransportFailure("a URL of another server than the configured one", maybe_sent=False)
        target = url[len(self._origin) :]
        operation = "getFile" if method == "GET" else target.rpartition("/")[2]
        message = request_bytes(method, target, self._host_header, content_type, body)
        bound = MAX_FILE if method == "GET" else MAX_RESPONSE
        began = perf_counter()
        outcome = "cancelled"
        try:
            await self._take_place(pool_timeout)
            try:
                status, answer = await self._send(
                    message, times, bound, repeatable=operation.startswith("get")
                )
            finally:
                self._places.release()
            outcome = "ok" if status < 400 else "4xx" if status < 500 else "5xx"
        except TransportTimeout:
            outcome = "timeout"
            raise
        except TransportFailure:
            outcome = "unavailable"
            raise
        finally:
            longest = POOL_TIMEOUT + CONNECT_TIMEOUT + times.writing + times.reading
            observe(operation, outcome, perf_counter() - began, longest)
        return status, answer

    async def _take_place(self, pool_timeout: float) -> None:
        try:
            self._places.acquire_nowait()  # the usual case, without a turn of the loop
        except trio.WouldBlock:
            pass
        else:
            return
        with trio.move_on_after(pool_timeout):
            await self._places.acquire()
            return
        raise TransportTimeout("every connection is busy", maybe_sent=False)

    async def _send(
        self, message: bytes, times: _Times, bound: int, *, repeatable: bool
    ) -> tuple[int, bytes]:
        """Exchange on an idle connection if there is one, and once more on a fresh one if that was stale."""
        connection = await self._idle_connection()
        if connection is not None:
            try:
                return await self._exchange(connection, message, times, bound, repeatable=repeatable)
            except _Stale:
                journal.debug(
                    "telegram.stale_connection", message="a kept connection was closed by the server"
                )
        connection = await self._fresh_connection(times.connecting)
        try:
            return await self._exchange(connection, message, times, bound, repeatable=False)
        except _Stale:  # only the write can say so here: a fresh connection broke before the request had left
            raise TransportFailure(
                "the connection broke before the request was sent", maybe_sent=False
            ) from None

    async def _idle_connection(self) -> _Connection | None:
        oldest = trio.current_time() - IDLE_SECONDS
        # What a burst has opened lies at the front and is not asked for again: it must not stay open for ever.
        while self._idle and self._idle[0].idle_since < oldest:
            await trio.aclose_forcefully(self._idle.pop(0).stream)
        while self._idle:
            connection = (
                self._idle.pop()
            )  # the one used last: the least likely to be stale, and few are kept warm
            if connection.idle_since >= oldest and not connection.is_stale():
                return connection
            await trio.aclose_forcefully(connection.stream)
        return None

    async def _fresh_connection(self, connect_timeout: float) -> _Connection:
        stream: trio.abc.Stream | None = None
        try:
            with trio.move_on_after(connect_timeout):
                stream = await self._connect(self._host, self._port, self._context)
        except (OSError, trio.BrokenResourceError) as error:
            # A failed TLS handshake says why in its cause; the address is ours and no secret.
            reason = error.__cause__ or error
            raise TransportFailure(
                f"no connection: {type(reason).__name__}: {reason}", maybe_sent=False
            ) from None
        if stream is None:
            raise TransportTimeout(f"no connection within {connect_timeout:g} s", maybe_sent=False)
        return _Connection(stream)

    async def _exchange(
        self, connection: _Connection, message: bytes, times: _Times, bound: int, *, repeatable: bool
    ) -> tuple[int, bytes]:
        """Write the request and read the response; the connection is idle again afterwards or closed."""
        reader = ResponseReader(bound)
        written = kept = False
        try:
            # One scope whose deadline moves: it costs as much as all the rest of an exchange.
            with trio.move_on_after(times.writing) as scope:
                try:
                    await connection.stream.send_all(message)
                except (OSError, trio.BrokenResourceError):
                    # The kernel never took over the last byte, so the server cannot have seen a whole request.
                    raise _Stale from None
                written = True
                scope.deadline = trio.current_time() + times.reading
                await self._read(connection.stream, reader, bound, repeatable=repeatable)
            if not reader.ended:
                raise TransportTimeout(
                    f"no answer within {times.reading:g} s"
                    if written
                    else f"not written within {times.writing:g} s",
                    maybe_sent=written,
                )
            if reader.can_be_followed():
                connection.idle_since = trio.current_time()
                self._idle.append(connection)
                kept = True
            return reader.status, reader.body
        finally:
            if not kept:
                await trio.aclose_forcefully(connection.stream)

    async def _read(
        self, stream: trio.abc.Stream, reader: ResponseReader, bound: int, *, repeatable: bool
    ) -> None:
        """Read until the response has ended."""
        heard = False
        try:
            while True:
                data = await stream.receive_some(_READ_SIZE)
                if not data and not heard:
                    break
                heard = True
                reader.feed(bytes(data))
                if reader.ended:
                    return
                if not data:
                    break
        except NotHttp:
            raise TransportFailure("the answer is not HTTP", maybe_sent=True) from None
        except TooLong:
            raise TransportFailure(f"the answer is longer than {bound} bytes", maybe_sent=True) from None
        except (OSError, trio.BrokenResourceError):
            pass  # told apart below, together with a farewell in good order
        if repeatable and not heard:
            raise _Stale
        raise TransportFailure("the connection broke before the whole answer came", maybe_sent=True)


def observe(operation: str, outcome: str, seconds: float, ceiling: float = 50.0) -> None:
    """Record one call of the Bot API, which may take `ceiling` seconds, in the metrics, and in the journal when it was slow.

    A long poll is slow by intention and is only counted.
    """
    try:
        observer = _observers[operation, outcome]
    except KeyError:
        observer = metrics.http_client_request_duration_seconds.labels("telegram", operation, outcome)
        _observers[operation, outcome] = observer
    observer.observe(seconds)
    if operation == "getUpdates":
        return
    observations.HTTP_CALL.note(seconds, "telegram", operation)
    observations.HTTP_CEILING.note(seconds, "telegram", operation, ceiling)
    if seconds >= SLOW_SECONDS:
        metrics.http_client_slow_total.labels("telegram").inc()
        journal.warning(
            "http.slow",
            message=f"telegram {operation} took {seconds:.2f} s ({outcome})",
            tag="[HTTP_SLOW]",
            boundary="telegram",
            operation=operation,
            outcome=outcome,
            duration=round(seconds, 3),
        )


# labels() costs as much as the observation itself; the methods a bot uses are few.
_observers: dict[tuple[str, str], Any] = {}


def _seconds(value: Any, default: float) -> float:
    if value is None:
        return float("inf")
    return default if isinstance(value, DefaultValue) else float(value)
