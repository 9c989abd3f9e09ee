"""Sockets that systemd holds: they are served in place of the configured ones, and outlive the daemon's start anew."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpnd.runtime.journal import capture
from vpnd.sandbox.ports import free_port
from vpnd.web.listeners import binds_of

#: What systemd does for a service: the socket is descriptor 3, and LISTEN_PID says whose it is.
HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "vpnd", "run", "--config", sys.argv[2]])
"""

CONFIGURATION = """\
[instance]
state_dir = "{state}"
[shop]
support = "@nobody"
[telegram]
token = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
api_base = "http://127.0.0.1:{nobody}"
[database]
url = "postgresql://nobody@127.0.0.1:{nobody}/nothing"
[http]
listen = "127.0.0.1:{nobody}"
metrics_listen = ""
"""


def test_each_socket_by_its_name() -> None:
    """A socket takes the place of what was configured; one without a name is the public one."""
    assert binds_of("a:1", "", {}) == {"http": ["a:1"], "metrics": []}
    assert binds_of("a:1", "b:2", {"http": ["fd://3", "fd://4"]}) == {
        "http": ["fd://3", "fd://4"],
        "metrics": ["b:2"],
    }
    for name in ("vpnd.socket", "unknown", ""):
        assert binds_of("a:1", "b:2", {name: ["fd://3"], "metrics": ["fd://4"]}) == {
            "http": ["fd://3"],
            "metrics": ["fd://4"],
        }


def test_a_socket_that_nobody_serves_is_told_of() -> None:
    """Whoever connected there would wait for ever, so the misspelt name is in the journal, with the right ones."""
    with capture() as said:
        binds = binds_of("a:1", "b:2", {"htttp": ["fd://3"]})

    assert binds == {"http": ["a:1"], "metrics": ["b:2"]}
    (entry,) = said
    assert (entry.event, entry.level) == ("http.socket_unknown", "warning")
    assert "'htttp'" in entry.message
    assert "http or metrics" in entry.message


@contextmanager
def a_daemon(config: Path, inherited: socket.socket) -> Iterator[None]:
    """The real daemon with a socket handed over, until it has stopped in order."""
    process = subprocess.Popen(
        [sys.executable, "-c", HAND_OVER, str(inherited.fileno()), str(config)],
        pass_fds=[inherited.fileno()],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


def ask(address: tuple[str, int]) -> socket.socket:
    """Connect and ask; the answer is read later."""
    client = socket.create_connection(address, timeout=60)
    client.sendall(b"GET /healthz HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")
    return client


def answer(client: socket.socket) -> bytes:
    """All that is answered, until the end."""
    with client:
        told = b""
        while piece := client.recv(4096):
            told += piece
        return told


def test_nobody_is_refused_while_the_daemon_is_started_anew(tmp_path: Path) -> None:
    """Who connects before it runs, between two lives, or after, is answered: the socket is open all the time."""
    config = tmp_path / "vpnd.toml"
    config.write_text(CONFIGURATION.format(state=tmp_path / "state", nobody=free_port()), "utf-8")
    (tmp_path / "state").mkdir()
    os.chmod(config, 0o600)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as held:
        address = held.getsockname()
        early = ask(address)
        with a_daemon(config, held):
            answers = [answer(early), answer(ask(address))]
        waiting = [ask(address) for _ in range(10)]  # nobody runs
        with a_daemon(config, held):
            answers += [answer(client) for client in waiting]

    assert len(answers) == 12
    assert all(one.startswith(b"HTTP/1.1 200") for one in answers)
