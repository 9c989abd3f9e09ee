"""Ports of the sandbox's programs."""

from __future__ import annotations

import errno
import socket

import pytest

from vpnd.sandbox import ports
from vpnd.sandbox.ports import free_port


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    """Only four ports are there, of which none was given."""
    monkeypatch.setattr(ports, "PORTS", range(20_100, 20_104))
    monkeypatch.setattr(ports, "_given", set())
    return ports.PORTS


def test_no_port_is_given_twice() -> None:
    """Two programs of one world never get the same port, however often is asked."""
    given = [free_port() for _ in range(500)]

    assert len(set(given)) == len(given)


def test_no_port_is_one_that_outgoing_connections_use() -> None:
    """A port stays its program's while that is down: no connection takes it for its own end."""
    assert ports.PORTS.stop <= 32_768
    assert all(free_port() in ports.PORTS for _ in range(50))


def test_a_taken_port_is_passed_over_and_a_lack_is_said(few: range) -> None:
    """What somebody listens on is not given; when nothing is left that is an error with the range in it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", few[1]))

        assert {free_port() for _ in range(3)} == {few[0], few[2], few[3]}
        with pytest.raises(OSError, match=r"no free port on 127\.0\.0\.1 between 20100 and 20103"):
            free_port()


def test_a_host_that_is_not_ours_is_an_error_at_once() -> None:
    """A wrong address is told as what it is, not as a lack of ports."""
    with pytest.raises(OSError, match="Cannot assign") as told:
        free_port("192.0.2.1")
    assert told.value.errno == errno.EADDRNOTAVAIL
