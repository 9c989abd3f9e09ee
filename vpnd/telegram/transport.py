"""PTB's requests on h11 over kept-alive trio streams.

PTB sends through httpx by default, and httpx is what bounds a bot's speed; h11 on plain trio streams costs a third of it.
What makes such a small client safe is a few rules about connections:

* A connection is owned by one call from the moment it is taken until the whole response was read. Only then, and only if
  h11 says that both sides are done, does it become idle again. Whatever else ends a call (an error, a timeout, a
  cancellation) closes the connection: a half-read answer can never be taken for the answer to the next question.
* A kept-alive connection may have been closed by the other side at any time. It is looked at before it is used, and if it
  breaks all the same, the call moves to a fresh connection *once*, provided that this cannot do anything twice: the
  request never left as a whole, or it only reads (`get…`) and no byte of an answer came.
* Nothing here knows a secret by name, so nothing here may print a URL: the bot's token stands in its path.
"""

from __future__ import annotations

import json
import secrets
import select
import ssl
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import h11
import trio
from telegram._utils.defaultvalue import DefaultValue
from telegram.request import BaseRequest, RequestData

from vpnd.runtime import metrics, observations
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.journal import get_journal
from vpnd.telegram.errors import TransportFailure, TransportTimeout

__all__ = ["H11Request", "observe", "open_socket"]

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


@attrs.define(eq=False)
class _Connection:
    """A stream with the protocol's state; `idle_since` is on trio's clock."""

    stream: trio.abc.Stream
    protocol: h11.Connection = attrs.Factory(lambda: h11.Connection(h11.CLIENT))
    idle_since: float = 0.0
    used: bool = False

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


class H11Request(BaseRequest):
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
        "_headers",
        "_host",
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
        self._headers = [("Host", parts.netloc.rpartition("@")[2])]
        self._connect = connect
        self._read_timeout = read_timeout
        self._places = trio.Semaphore(connections, max_value=connections)
        self._idle: list[_Connection] = []

    def __repr__(self) -> str:
        return f"<H11Request idle={len(self._idle)} free={self._places.value}/{self._places.max_value}>"

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
        refuse_if_held("a call of the Bot API")
        if not url.startswith(self._origin + "/"):
            raise TransportFailure("a URL of another server than the configured one", maybe_sent=False)
        target = url[len(self._origin) :]
        operation = "getFile" if method == "GET" else target.rpartition("/")[2]
        has_files = request_data is not None and request_data.contains_files
        message = self._encode(method, target, request_data)
        writing = _seconds(write_timeout, MEDIA_WRITE_TIMEOUT if has_files else WRITE_TIMEOUT)
        reading = _seconds(read_timeout, self._read_timeout)
        began = perf_counter()
        outcome = "cancelled"
        try:
            await self._take_place(_seconds(pool_timeout, POOL_TIMEOUT))
            try:
                status, body = await self._send(
                    message,
                    safe_to_repeat=operation.startswith("get"),
                    connect_timeout=_seconds(connect_timeout, CONNECT_TIMEOUT),
                    writing=writing,
                    reading=reading,
                    bound=MAX_FILE if method == "GET" else MAX_RESPONSE,
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
            observe(
                operation, outcome, perf_counter() - began, POOL_TIMEOUT + CONNECT_TIMEOUT + writing + reading
            )
        return status, body

    def _encode(self, method: str, target: str, data: RequestData | None) -> list[h11.Event]:
        headers = self._headers
        body = b""
        if data is not None:
            if data.contains_files:
                boundary = secrets.token_hex(16)
                body = _multipart(data, boundary)
                content_type = f"multipart/form-data; boundary={boundary}"
            else:
                body = json.dumps(data.parameters, separators=(",", ":")).encode()  # half the cost of a form
                content_type = "application/json"
            headers = [*headers, ("Content-Type", content_type)]
        if method != "GET":
            headers = [*headers, ("Content-Length", str(len(body)))]
        events: list[h11.Event] = [h11.Request(method=method, target=target, headers=headers)]
        if body:
            events.append(h11.Data(data=body))
        events.append(h11.EndOfMessage())
        return events

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
        self,
        message: list[h11.Event],
        *,
        safe_to_repeat: bool,
        connect_timeout: float,
        writing: float,
        reading: float,
        bound: int,
    ) -> tuple[int, bytes]:
        """Exchange on an idle connection if there is one, and once more on a fresh one if that was stale."""
        connection = await self._idle_connection()
        if connection is not None:
            try:
                return await self._exchange(connection, message, safe_to_repeat, writing, reading, bound)
            except _Stale:
                journal.debug(
                    "telegram.stale_connection", message="a kept connection was closed by the server"
                )
        connection = await self._fresh_connection(connect_timeout)
        try:
            return await self._exchange(connection, message, False, writing, reading, bound)
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
        self,
        connection: _Connection,
        message: list[h11.Event],
        safe_to_repeat: bool,
        writing: float,
        reading: float,
        bound: int,
    ) -> tuple[int, bytes]:
        """Write the request and read the response; the connection is idle again afterwards or closed."""
        protocol = connection.protocol
        data = b"".join([protocol.send(event) or b"" for event in message])
        written = kept = False
        result: tuple[int, bytes] | None = None
        try:
            # One scope whose deadline moves: it costs as much as everything else here that is not h11.
            with trio.move_on_after(writing) as scope:
                try:
                    await connection.stream.send_all(data)
                except (OSError, trio.BrokenResourceError):
                    # The kernel never took over the last byte, so the server cannot have seen a whole request.
                    raise _Stale from None
                written = True
                scope.deadline = trio.current_time() + reading
                result = await self._read(connection, bound, safe_to_repeat=safe_to_repeat)
            if result is None:
                seconds = reading if written else writing
                raise TransportTimeout(
                    f"no answer within {seconds:g} s" if written else f"not written within {seconds:g} s",
                    maybe_sent=written,
                )
            if protocol.our_state is h11.DONE and protocol.their_state is h11.DONE:
                protocol.start_next_cycle()
                connection.idle_since = trio.current_time()
                self._idle.append(connection)
                kept = True
        except h11.RemoteProtocolError:
            raise TransportFailure("the answer is not HTTP", maybe_sent=True) from None
        else:
            return result
        finally:
            if not kept:
                await trio.aclose_forcefully(connection.stream)

    async def _read(self, connection: _Connection, bound: int, *, safe_to_repeat: bool) -> tuple[int, bytes]:
        protocol, stream = connection.protocol, connection.stream
        status, size = 0, 0
        chunks: list[bytes] = []
        heard = False
        try:
            while True:
                event = protocol.next_event()
                if event is h11.NEED_DATA:
                    data = await stream.receive_some(_READ_SIZE)
                    if not data and not heard:
                        break
                    heard = True
                    protocol.receive_data(bytes(data))
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                    if size > bound:
                        raise TransportFailure(f"the answer is longer than {bound} bytes", maybe_sent=True)
                    chunks.append(bytes(event.data))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.EndOfMessage):
                    return status, b"".join(chunks)
        except (OSError, trio.BrokenResourceError):
            pass  # told apart below, together with a farewell in good order
        if safe_to_repeat and not heard:
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


def _multipart(data: RequestData, boundary: str) -> bytes:
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
