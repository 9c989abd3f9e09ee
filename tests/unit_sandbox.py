"""Become a program under what a unit allows: its system calls, no new privileges, no memory that is both written and run.

    python unit_sandbox.py UNIT COMMAND…

What systemd does before it starts a service, as far as a process can do it to itself: the filter is read from the unit, its
sets from `systemd-analyze syscall-filter`, and the kernel gets it by libseccomp. Namespaces and capabilities are left out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 38, 65


def sets() -> dict[str, set[str]]:
    """The sets of systemd, as it defines them: names of calls and of other sets."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, set[str]] = {}
    name = ""
    for line in re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = set()
        elif name and line.strip() and not line.strip().startswith("#"):
            found[name].add(line.strip())
    return found


def expand(words: list[str], known: dict[str, set[str]]) -> set[str]:
    """The calls that some words of a unit name."""
    calls: set[str] = set()
    for word in words:
        calls |= expand(sorted(known[word]), known) if word.startswith("@") else {word}
    return calls


def allowed(unit: Path) -> set[str]:
    """The calls that a unit allows; its first line is a list of what is allowed, each next one adds or (~) takes away."""
    known, calls = sets(), set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text("utf-8"), re.MULTILINE):
        if line.startswith("~"):
            calls -= expand(line[1:].split(), known)
        else:
            calls |= expand(line.split(), known)
    return calls


def confine(unit: Path) -> None:
    """Put this process, and all that it becomes or starts, under the unit's bounds.

    Raises OSError when the kernel does not take them.
    """
    calls = allowed(unit)
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for name in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below zero: unknown here, or of another machine
            seccomp.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no new privileges")
    if "MemoryDenyWriteExecute=yes" in unit.read_text("utf-8"):
        libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)  # kernels before 6.3 do not know it
    if seccomp.seccomp_load(context) != 0:
        raise OSError(ctypes.get_errno(), "the filter")


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program is what a test names
