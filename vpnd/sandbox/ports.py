"""Ports for programs that are started later, and once more after a kill.

A port that the kernel names (a bind to 0) will not do: it comes out of the range that outgoing connections have their own ends
in, so that one of those may hold it while its program is down, and two questions in a row may have the same answer. So ports are
drawn from below that range, and none is given twice.
"""

from __future__ import annotations

import errno
import secrets
import socket
from typing import Final

__all__ = ["free_port"]

#: Ports that are given. Outgoing connections take theirs from 32 768 up, unless net.ipv4.ip_local_port_range says otherwise.
PORTS: Final = range(12_000, 32_768)
#: Draws before it is said that there is none: of so many ports that many are hardly ever taken.
DRAWS: Final = 1_000

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that is free on `host` now, and that this process was not given before, on whatever host.

    Raises:
        OSError: none was found; EADDRNOTAVAIL if `host` is no address of this machine.
    """
    for _ in range(DRAWS):
        port = secrets.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as attempt:
            try:
                attempt.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _given.add(port)
        return port
    raise OSError(errno.EADDRINUSE, f"no free port on {host} between {PORTS.start} and {PORTS.stop - 1}")
