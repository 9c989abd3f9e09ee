"""Serving ASGI applications: hypercorn's protocol code under a listener and a shutdown of our own.

hypercorn speaks HTTP well, but sends under an unbounded shield: one client that asks for a large answer and never
reads it would keep the whole process alive, past every deadline and cancellation. Two bounds end that here:

* while serving, TCP_USER_TIMEOUT on the listening socket, which accepted ones inherit: the kernel breaks a
  connection whose sent data, or zero window, stood for `USER_TIMEOUT_MS`;
* while stopping, every connection left after the grace is closed under hypercorn's feet. That wakes the shielded
  send with an error it knows, and works for unix sockets and TLS as well.

A client that has gone is not kept either: hypercorn on trio waits out the keep-alive of an idle connection that its client has
closed, and a minute's worth of those may be all that there may be (`_Connection`).

A connection's own failure, say a protocol violation hypercorn did not foresee, ends that connection and nothing
else: strangers on the network must not be able to restart a child of the supervisor.
"""

import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from hypercorn.config import Config
from hypercorn.events import Event, Updated
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from vpnd.config import split_host_port
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal

journal = get_journal("runtime")

# The kernel ends a connection after this long without progress of what was sent; milliseconds.
USER_TIMEOUT_MS: Final = 3000
_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", 18)
BACKLOG: Final = 1024
# A connection more than this is closed at once: descriptors are finite, and the bot needs some too.
MAX_CONNECTIONS: Final = 1024
# How long an idle connection is kept for a next request; Telegram keeps its own open for about as long. Seconds.
KEEP_ALIVE: Final = 60
# A client that has begun a request and sends nothing for this long is gone; longer than any long poll. Seconds.
READ_TIMEOUT: Final = 120
# After connections were cut, their tasks get this long to notice; seconds.
CUT_GRACE: Final = 0.5


@attrs.frozen
class TlsFiles:
    """A certificate chain and its private key, both PEM files."""

    certificate: Path
    key: Path


async def serve_asgi(
    app: Callable[..., Awaitable[None]],
    binds: Sequence[str],
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    graceful_timeout: float = 2.0,
    tls: TlsFiles | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application until `shutdown_trigger` returns.

    Args:
        app: the application; it gets no lifespan events. What it raises becomes a 500 and a journal entry.
        binds: where to listen: ``host:port`` (port 0 takes a free one), ``unix:/path``, or ``fd://N`` for a
            socket inherited from systemd, which is duplicated and so can be served again.
        shutdown_trigger: awaited; its return begins the shutdown.
        graceful_timeout: seconds requests in flight get to finish.
        tls: files to serve TLS with on every bind.
        task_status: told the bound addresses, in the form of `binds` and with real ports.

    Raises:
        OSError: a bind is not to be had, or a TLS file cannot be read.

    Resources: sockets are closed and unix sockets unlinked at the end. Cancellation cuts all connections and is
    bounded by about a second, whatever clients do.
    """
    config = _configure(tls)
    ssl_context = config.create_ssl_context()
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened) for bind in binds for opened in await _open(bind)]
        listeners: list[trio.abc.Listener[Any]] = []
        for sock in sockets:
            plain = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            listeners.append(
                plain if ssl_context is None else trio.SSLListener(plain, ssl_context, https_compatible=True)
            )
        await _Server(app, config, listeners).run(
            shutdown_trigger,
            graceful_timeout,
            partial(task_status.started, [_name(sock) for sock in sockets]),
        )


class _Server:
    """One run of accepting, serving and stopping."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], config: Config, listeners: list[trio.abc.Listener[Any]]
    ) -> None:
        framework: ASGIFramework = app
        self._app = wrap_app(framework, config.wsgi_max_body_size, "asgi")
        self._config = config
        self._listeners = listeners
        self._context = WorkerContext(None)
        self._streams: set[Any] = set()
        self._refusing = False
        self._grace = 0.0

    async def run(
        self,
        shutdown_trigger: Callable[[], Awaitable[object]],
        graceful_timeout: float,
        started: Callable[[], None],
    ) -> None:
        stopping = trio.Event()
        cutter = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_the_rest, stopping, cutter)
            try:
                async with trio.open_nursery() as connections:
                    try:
                        await self._accept(connections, shutdown_trigger, started)
                        self._grace = graceful_timeout
                    finally:
                        stopping.set()
                    await self._context.terminated.set()  # idle connections go now
                    connections.cancel_scope.deadline = trio.current_time() + graceful_timeout
            finally:
                cutter.cancel()

    async def _accept(
        self,
        connections: trio.Nursery,
        shutdown_trigger: Callable[[], Awaitable[object]],
        started: Callable[[], None],
    ) -> None:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, self._connection, self._listeners, handler_nursery=connections)
            )
            started()
            await shutdown_trigger()
            accepting.cancel_scope.cancel()

    async def _connection(self, stream: Any) -> None:
        if len(self._streams) >= MAX_CONNECTIONS:
            metrics.http_server_connections_refused_total.inc()
            if not self._refusing:  # once a flood, not once a connection
                self._refusing = True
                journal.warning(
                    "http.connections_full",
                    message=f"More than {MAX_CONNECTIONS} connections at once; new ones are closed",
                )
            await _cut(stream)
            return
        self._refusing = False
        self._streams.add(stream)
        try:
            await _Connection(self._app, self._config, self._context, ConnectionState({}), stream)
        except* Exception:
            # See the head of the module: a stranger's connection must not end the server.
            journal.exception("http.connection_failed", message="A connection ended with an unforeseen error")
        finally:
            self._streams.discard(stream)

    async def _cut_the_rest(self, stopping: trio.Event, scope: trio.CancelScope) -> None:
        """Close what is left when the grace is over; there is none when the server is cancelled."""
        with scope:
            await stopping.wait()
            await trio.sleep(self._grace + CUT_GRACE)
            for stream in list(self._streams):
                await _cut(stream)


class _Connection(TCPServer):
    """A connection that ends when its client has said that nothing more will come and has the answer that it waits for."""

    _ended = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._ended = True
        # The connection ends with its last task, and this one waits for a next request.
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        # An answer's end makes a connection idle; at the same moment its client may have been seen to go.
        if not (self._ended and isinstance(event, Updated)):
            await super().protocol_send(event)


async def _cut(stream: Any) -> None:
    """Close a connection at once: under TLS its transport, for a goodbye would wait for the peer."""
    await trio.aclose_forcefully(getattr(stream, "transport_stream", stream))


def _configure(tls: TlsFiles | None) -> Config:
    config = Config()
    config.include_server_header = False
    config.logger_class = _JournalLogger
    config.errorlog = None  # else hypercorn hangs a handler of its own into the standard logging
    config.keep_alive_timeout = KEEP_ALIVE
    config.read_timeout = READ_TIMEOUT
    if tls is not None:
        config.certfile, config.keyfile = str(tls.certificate), str(tls.key)
    return config


class _JournalLogger(Logger):
    """hypercorn's logger interface, writing into the journal. There is no access log: metrics count requests."""

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """Drop a request's line: paths carry subscription tokens."""

    async def critical(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.error("http.server", message=_text(message, args))

    async def error(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.error("http.server", message=_text(message, args))

    async def warning(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.warning("http.server", message=_text(message, args))

    async def info(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.info("http.server", message=_text(message, args))

    async def debug(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.debug("http.server", message=_text(message, args))

    async def exception(self, message: str, *args: Any, **_kwargs: Any) -> None:
        journal.exception("http.app_failed", message=_text(message, args))


def _text(message: str, args: tuple[Any, ...]) -> str:
    return message % args if args else message


async def _open(bind: str) -> list[AbstractContextManager[socket.socket]]:
    """Return the sockets of one bind, each as a context that closes it."""
    if bind.startswith("unix:"):
        return [_unix(Path(bind.removeprefix("unix:")))]
    if bind.startswith("fd://"):
        return [_inherited(int(bind.removeprefix("fd://")))]
    host, port = split_host_port(bind)
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if port == 0:
        found = found[:1]  # two families would get two different ports
    return [_tcp(family, address) for family, _type, _proto, _name, address in dict.fromkeys(found)]


@contextmanager
def _tcp(family: int, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _tune(sock)
        sock.bind(address)
        sock.listen(BACKLOG)
        yield sock


@contextmanager
def _inherited(number: int) -> Iterator[socket.socket]:
    with socket.socket(fileno=os.dup(number)) as sock:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(f"fd://{number} is not a stream socket")
        _tune(sock)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
        yield sock


@contextmanager
def _unix(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _remove_stale(place)
        sock.bind(str(place))
        ours = place.lstat().st_ino
        try:
            sock.listen(BACKLOG)
            yield sock
        finally:
            try:
                if place.lstat().st_ino == ours:  # a successor may have bound its own by now
                    place.unlink()
            except FileNotFoundError:
                journal.debug("http.socket_gone", message=f"{place} was removed by someone else")


def _remove_stale(place: Path) -> None:
    """Remove the socket of a process that is gone; leave one that still answers, so that bind() fails."""
    try:
        if not stat.S_ISSOCK(place.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
        except BlockingIOError:
            return  # its queue is full: it lives


def _tune(sock: socket.socket) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def _name(sock: socket.socket) -> str:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{address}"
    host = f"[{address[0]}]" if sock.family == socket.AF_INET6 else address[0]
    return f"{host}:{address[1]}"
