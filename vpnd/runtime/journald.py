"""The native protocol of systemd's journal: one AF_UNIX datagram an entry.

Source of the format: systemd, ``docs/JOURNAL_NATIVE_PROTOCOL.md``. A field is ``KEY=value\\n``; a value that
holds a line break is ``KEY\\n``, its length as a 64-bit little-endian number, the value, ``\\n``. An entry
too large for a datagram goes into a sealed memory file whose descriptor is the only content of the datagram.

Nothing here waits: an entry the journal does not take at once is dropped and counted. A daemon that stands
still because its journal is slow would be worse than a gap in the journal.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import Final

from vpnd.runtime import metrics

__all__ = ["SOCKET_PATH", "JournalSocket", "encode_entry", "field_name", "stream_matches"]

SOCKET_PATH: Final = "/run/systemd/journal/socket"

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Z0-9_]")
# journald refuses longer names, together with names that begin with a digit or an underscore (the latter are
# its own, trusted ones).
_LONGEST_NAME: Final = 64
# sd_journal_send asks for the same; the kernel clips it to its own maximum, which costs nothing.
_SEND_BUFFER: Final = 8 * 1024 * 1024


def field_name(name: str) -> str:
    """Return ``name`` as journald takes it: ``A-Z0-9_``, no leading underscore or digit, 64 characters at most."""
    cleaned = _NOT_IN_A_NAME.sub("_", name.upper()).lstrip("_0123456789")
    return cleaned[:_LONGEST_NAME] or "FIELD"


def encode_entry(fields: Mapping[str, str]) -> bytes:
    """Return the fields as one entry of the native protocol, in the given order.

    Names must already be fit for journald (:func:`field_name`). Text that is not valid Unicode is escaped,
    never refused.
    """
    parts: list[bytes] = []
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(data)), data))
        else:
            parts.append(b"%s=%s\n" % (name.encode("ascii"), data))
    return b"".join(parts)


def stream_matches(fd: int, variable: str | None) -> bool:
    """Tell whether descriptor ``fd`` is the very stream systemd announced in ``$JOURNAL_STREAM``
    (``device:inode``).

    Only then does what is written there end in the journal, and only then may a program speak to the journal
    directly instead: with its output redirected to a file or a pipe, its user wants it there.
    """
    if not variable:
        return False
    device, _, inode = variable.partition(":")
    try:
        status = os.fstat(fd)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


class JournalSocket:
    """A socket to the journal that never waits. Safe to use from several threads."""

    def __init__(self, path: str = SOCKET_PATH) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def send(self, entry: bytes) -> bool:
        """Hand one encoded entry over; return False when it was dropped (and counted)."""
        try:
            # Addressed anew each time instead of connected once: a restarted journald has a new socket under
            # the old name.
            self._socket.sendto(entry, self._path)
        except OSError as error:
            # ENOBUFS is what some kernels say where others say EMSGSIZE.
            if error.errno in (errno.EMSGSIZE, errno.ENOBUFS) and self._send_as_file(entry):
                return True
            metrics.journal_dropped_total.inc()
            return False
        return True

    def _send_as_file(self, entry: bytes) -> bool:
        """Send the entry as a sealed memory file; the seals are what lets journald map it without fear of changes."""
        try:
            fd = os.memfd_create("vpnd-journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return False
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            self._socket.sendmsg([], rights, 0, self._path)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True
