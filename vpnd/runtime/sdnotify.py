"""The service manager's side door: readiness, status, watchdog and inherited sockets (sd_notify(3)).

Messages are datagrams of ``KEY=value`` lines to the socket in $NOTIFY_SOCKET, a path or, with ``@``, an abstract
name. Without that variable every call does nothing, so nothing above has to ask where it runs. A message that the
manager does not take at once is dropped and told: no service should wait for the one who watches it.
"""

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import trio

from vpnd.runtime.journal import get_journal

journal = get_journal("runtime")

# The first inherited descriptor (sd_listen_fds(3)).
LISTEN_FDS_START: Final = 3


class ServiceManager:
    """What we can tell systemd. Made by `service_manager`."""

    def __init__(self, sock: socket.socket | None, watchdog_period: float | None) -> None:
        self._socket = sock
        #: Seconds between two pings, half of what the manager asked for; None when it watches nothing.
        self.watchdog_period: Final = watchdog_period

    @property
    def present(self) -> bool:
        """Whether anybody listens."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """Say that the service stands, with a line for ``systemctl status``. Also ends a reload."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Change the line of ``systemctl status``."""
        self._send(*_status(text))

    def stopping(self, status: str = "") -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1", *_status(status))

    def reloading(self) -> None:
        """Say that a reload began; `ready` ends it. The time tells the manager which reload is meant."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    async def watchdog(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Ping the watchdog for as long as `probe` ends in time; for ever idle when no watchdog is set.

        A probe that returns and one that raises both prove that we are alive: a server that is down is no reason
        to be killed. Only one that hangs withholds the ping. It gets half of a period, so that one late answer
        does not cost two pings.
        """
        task_status.started()
        if self.watchdog_period is None:
            await trio.sleep_forever()
        hung = False
        while True:
            due = trio.current_time() + self.watchdog_period
            with trio.move_on_after(self.watchdog_period / 2) as scope:
                try:
                    await probe()
                except* Exception as group:
                    # An answer all the same; what is wrong with the boundary is told where it is used.
                    journal.debug(
                        "watchdog.probe_failed", message="The probe answered with an error", exc_info=group
                    )
            if not scope.cancelled_caught:
                self._send("WATCHDOG=1")
            elif not hung:
                journal.error("watchdog.probe_hangs", message="The probe hangs; the watchdog gets no ping")
            hung = scope.cancelled_caught
            await trio.sleep_until(due)

    def _send(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            journal.warning("sdnotify.lost", message=f"The service manager took no message: {error.strerror}")


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())}"] if text else []


@asynccontextmanager
async def service_manager(environ: Mapping[str, str] = os.environ) -> AsyncIterator[ServiceManager]:
    """Connect to the service manager named in `environ`, if there is one, for the time of the block.

    $WATCHDOG_PID is respected: a watchdog that is meant for another process is not ours to feed.
    """
    sock = _connect(environ.get("NOTIFY_SOCKET", ""))
    try:
        yield ServiceManager(sock, _watchdog_period(environ))
    finally:
        if sock is not None:
            sock.close()


def _connect(name: str) -> socket.socket | None:
    if not name:
        return None
    if name[0] not in "/@":
        journal.warning("sdnotify.unknown", message="NOTIFY_SOCKET is neither a path nor an abstract name")
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.connect(f"\0{name[1:]}" if name[0] == "@" else name)
    except OSError as error:
        sock.close()
        journal.warning(
            "sdnotify.unreachable", message=f"The service manager cannot be reached: {error.strerror}"
        )
        return None
    return sock


def _watchdog_period(environ: Mapping[str, str]) -> float | None:
    """Return half of $WATCHDOG_USEC in seconds, if the watchdog is meant for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    asked = environ.get("WATCHDOG_USEC", "")
    if not asked.isascii() or not asked.isdigit() or int(asked) == 0:
        return None
    return int(asked) / 2e6


def listen_fds(environ: Mapping[str, str] = os.environ) -> dict[str, list[str]]:
    """Return the sockets inherited by activation as binds, ``fd://N``, by their names ($LISTEN_FDNAMES).

    Sockets without a name stand under ``""``. They are meant for us only if $LISTEN_PID says so.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[str]] = {}
    for position in range(int(count)):
        number = LISTEN_FDS_START + position
        os.set_inheritable(number, False)
        name = names[position] if position < len(names) else ""
        found.setdefault(name, []).append(f"fd://{number}")
    return found
