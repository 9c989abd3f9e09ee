"""Talking to the service manager."""

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from vpnd.runtime.sdnotify import listen_fds, service_manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path):
    """A manager's socket and its name, of both kinds."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@vpnd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(name if name[0] == "/" else f"\0{name[1:]}")
        yield sock, name


def _heard(sock: socket.socket) -> list[list[str]]:
    heard = []
    while True:
        try:
            heard.append(sock.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return heard


async def test_messages(manager: tuple[socket.socket, str]) -> None:
    """Each call is one datagram of the documented lines; a status is one line, whatever was in it."""
    sock, name = manager

    async with service_manager({"NOTIFY_SOCKET": name}) as sd:
        sd.ready("all\nstands")
        sd.status("still")
        sd.reloading()
        sd.stopping()

    ready, status, reloading, stopping = _heard(sock)
    assert ready == ["READY=1", "STATUS=all stands"]
    assert status == ["STATUS=still"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert stopping == ["STOPPING=1"]


@pytest.mark.parametrize("name", ["", "/nowhere/socket", "tcp:1"])
async def test_nobody_listens(name: str) -> None:
    """Without a manager, or with one that is not there, every call does nothing."""
    async with service_manager({"NOTIFY_SOCKET": name} if name else {}) as sd:
        sd.ready("x")

        assert not sd.present


def _pings(probe: str) -> int:
    """Return how many pings a probe of one kind earns in 10 s of a 2 s watchdog."""
    sent: list[str] = []

    async def answers() -> None:
        await trio.sleep(0.4)

    async def refuses() -> None:
        raise ConnectionRefusedError

    async def hangs() -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with service_manager({"WATCHDOG_USEC": "2000000"}) as sd:
            sd._send = lambda *lines: sent.extend(lines)  # type: ignore[method-assign]  # a recorder
            with trio.move_on_after(9.9):
                await sd.watchdog({"answers": answers, "refuses": refuses, "hangs": hangs}[probe])

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return sent.count("WATCHDOG=1")


@pytest.mark.parametrize(("probe", "expected"), [("answers", 10), ("refuses", 10), ("hangs", 0)])
def test_watchdog(probe: str, expected: int) -> None:
    """At half the period, a probe that answers or fails clearly pings; one that hangs does not."""
    assert _pings(probe) == expected


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
async def test_watchdog_period(environ: dict[str, str], period: float | None) -> None:
    """The period is half of what was asked for, and nothing when another process is meant."""
    async with service_manager(environ) as sd:
        assert sd.watchdog_period == period


def test_listen_fds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inherited sockets are binds by name, from descriptor 3 on, and only when they are meant for us."""
    closed: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "set_inheritable", lambda number, value: closed.append((number, value)))
    environ = {"LISTEN_FDS": "3", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web:web"}

    assert listen_fds(environ) == {"web": ["fd://3", "fd://4"], "": ["fd://5"]}
    assert closed == [(3, False), (4, False), (5, False)]
    assert listen_fds({**environ, "LISTEN_PID": "1"}) == {}
    assert listen_fds({}) == {}
