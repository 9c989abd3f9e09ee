"""Finding and destroying TCP sockets."""

from __future__ import annotations

import contextlib
import socket

import pytest

from vpnd.agent import cutoff


@contextlib.contextmanager
def connections(*hosts):
    """Give the port of a listener for both families and a pair of sockets for each client address."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        port = listener.getsockname()[1]
        pairs = []
        for host in hosts:
            target = "::1" if ":" in host else "127.0.0.1"
            near = stack.enter_context(
                socket.create_connection((target, port), timeout=5, source_address=(host, 0))
            )
            far, _address = listener.accept()
            pairs.append((near, stack.enter_context(far)))
        yield port, pairs


@pytest.fixture
def _may_destroy():
    hindrance = cutoff.probe()
    if hindrance:
        pytest.skip(f"sockets cannot be destroyed here: {hindrance}")


def test_open_sockets_are_listed_with_plain_addresses():
    """A v4 peer of a v6 listener is listed as v4, and the listener itself is not."""
    with connections("127.0.0.3", "::1") as (port, _pairs):
        assert sorted(found.peer for found in cutoff.open_sockets(port)) == ["127.0.0.3", "::1"]


@pytest.mark.usefixtures("_may_destroy")
def test_only_the_named_peer_is_cut():
    """His socket ends on both sides; a neighbour's on the same port goes on."""
    with connections("127.0.0.3", "127.0.0.4", "::1") as (port, pairs):
        closed = cutoff.destroy({"::ffff:127.0.0.3"}, {port})
        (cut, _), (kept, kept_far), _six = pairs

        assert closed == {"127.0.0.3": 1}
        with pytest.raises(OSError):  # noqa: PT011 - reset or aborted, as the kernel likes
            cut.sendall(b"x") or cut.recv(1) or cut.sendall(b"x")
        kept.sendall(b"still here")
        assert kept_far.recv(64) == b"still here"


@pytest.mark.usefixtures("_may_destroy")
def test_a_v6_peer_is_cut():
    """Addresses of both families are found."""
    with connections("::1") as (port, _pairs):
        assert cutoff.destroy({"::1"}, {port}) == {"::1": 1}
        assert cutoff.open_sockets(port) == []


def test_other_ports_are_left_alone():
    """The same peer on a port that is not an inbound's keeps his connection."""
    with connections("127.0.0.3") as (port, pairs), connections("127.0.0.3") as (other, _pairs):
        assert port != other
        assert [found.peer for found in cutoff.open_sockets(port)] == ["127.0.0.3"]
        pairs[0][0].sendall(b"x")


@pytest.mark.parametrize(
    ("spelling", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_addresses_have_one_spelling(spelling, plain):
    """The core and the kernel write the same address differently."""
    assert cutoff.canonical(spelling) == plain
