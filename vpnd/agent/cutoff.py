"""Ending the open connections of a customer who was turned off.

Removing a user from the core refuses new connections only: an open download goes on for up to a day, and a client that
multiplexes opens new requests over its old connection. What ends them is the kernel's socket destruction
(``SOCK_DESTROY`` of the sock_diag netlink family, the same as ``ss -K``): every TCP socket of an inbound's port whose
peer is one of the customer's addresses is closed at both ends, and nobody else's is touched, unless he shares the
address. It needs CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY. Whether both are there is not guessed
from a user id: at start a socket of our own is destroyed, or is not.

Message layouts: linux/netlink.h, linux/inet_diag.h. All functions here block for milliseconds: use a thread.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

import attrs

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SOCK_DESTROY: Final = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTEN, _CLOSE, _TIME_WAIT = 10, 7, 6
#: Every state in which a socket still carries somebody's bytes.
_OPEN_STATES: Final = 0xFFF & ~(1 << _LISTEN | 1 << _CLOSE | 1 << _TIME_WAIT)
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_REQUEST: Final = struct.Struct("=BBBxI")  # family, protocol, extensions, states
#: struct inet_diag_sockid: ports, addresses (16 bytes each), interface, cookie.
_SOCKET_ID_SIZE: Final = 48
_RECEIVE: Final = 1 << 17


class CutOffUnavailable(Exception):
    """This process or this kernel cannot destroy sockets."""


@attrs.frozen
class OpenSocket:
    """A TCP socket of this machine: its peer's address in canonical text, and what names it to the kernel."""

    family: int
    peer: str
    identity: bytes = attrs.field(repr=False)


def canonical(address: str) -> str:
    """Return an address in one spelling; an IPv4 address inside IPv6 (::ffff:192.0.2.1) as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


def open_sockets(port: int) -> list[OpenSocket]:
    """Return the open TCP sockets with local `port`, IPv4 and IPv6; listeners are left out. Raises `OSError`."""
    found: list[OpenSocket] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        # The kernel filters by the local port; zero everywhere else means "any".
        wanted = struct.pack("!HH", port, 0) + bytes(_SOCKET_ID_SIZE - 4)
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _OPEN_STATES) + wanted
        for body in _ask(_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, request):
            identity = body[4 : 4 + _SOCKET_ID_SIZE]
            local, _remote = struct.unpack_from("!HH", identity)
            if local == port:
                size = 4 if body[0] == socket.AF_INET else 16
                found.append(
                    OpenSocket(
                        body[0], canonical(socket.inet_ntop(body[0], identity[20 : 20 + size])), identity
                    )
                )
    return found


def destroy(peers: Collection[str], ports: Collection[int]) -> dict[str, int]:
    """Close every open TCP connection of the local `ports` whose peer's address is in `peers`.

    Returns how many were closed, by canonical address; one that closed by itself meanwhile is not an error. Raises
    `CutOffUnavailable` without the permission or the kernel's support, and `OSError`.
    """
    wanted = {canonical(peer) for peer in peers}
    closed = dict.fromkeys(wanted, 0)
    for port in ports:
        for found in open_sockets(port):
            if found.peer in wanted:
                closed[found.peer] += _destroy(found)
    return closed


def probe() -> str | None:
    """Return None when sockets can be destroyed here, else the reason, by destroying one of our own."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        near = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=2))
        far, _address = listener.accept()
        stack.enter_context(far)
        port = near.getsockname()[1]
        try:
            mine = [found for found in open_sockets(port) if found.peer == "127.0.0.1"]
            closed = sum(_destroy(found) for found in mine)
        except CutOffUnavailable as error:
            return str(error)
        except OSError as error:
            return f"the kernel's list of sockets cannot be read: {error.strerror or error}"
        return None if closed else "the kernel does not list this process's sockets"


def _destroy(found: OpenSocket) -> int:
    request = _REQUEST.pack(found.family, socket.IPPROTO_TCP, 0, 0xFFF) + found.identity
    try:
        list(_ask(_SOCK_DESTROY, _NLM_F_REQUEST | _NLM_F_ACK, request))
    except PermissionError:
        raise CutOffUnavailable("CAP_NET_ADMIN is missing") from None
    except OSError as error:
        if error.errno == errno.ENOENT:
            return 0
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            raise CutOffUnavailable("the kernel was built without CONFIG_INET_DIAG_DESTROY") from None
        raise
    return 1


def _ask(kind: int, flags: int, request: bytes) -> Iterator[bytes]:
    """Send one netlink request and yield the bodies of its answers until the kernel says that it is done."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as channel:
        channel.settimeout(5)
        channel.send(_HEADER.pack(_HEADER.size + len(request), kind, flags, 1, 0) + request)
        while True:
            data = channel.recv(_RECEIVE)
            while len(data) >= _HEADER.size:
                size, answer, _flags, _sequence, _pid = _HEADER.unpack_from(data)
                body = data[_HEADER.size : size]
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield body
                data = data[(size + 3) & ~3 :]
