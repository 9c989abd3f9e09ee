"""Pictures drawn in a child process: at most so many at once, each in time or not at all.

Drawing is CPU work; in the daemon it would stop everybody else's buttons for its tens of milliseconds, and a thread would still
hold the interpreter. A picture that fails is no reason to keep anything from anybody: the caller sends words instead.
"""

from __future__ import annotations

import os
import subprocess
from typing import Final

import trio

__all__ = ["PNG", "NotDrawn", "draw_in_child"]

#: What every PNG begins with.
PNG: Final = b"\x89PNG\r\n\x1a\n"
# What a child needs to find its interpreter and packages; our secrets may stand in the rest of the environment.
_KEPT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")


class NotDrawn(Exception):
    """There is no picture; the message says why, without what was to be drawn."""


async def draw_in_child(command: tuple[str, ...], data: bytes, *, deadline: float) -> bytes:
    """Give `data` to a child's standard input and return the PNG of its standard output.

    Args:
        deadline: seconds; a child that takes longer is killed, and so is that of a cancelled caller.

    Raises NotDrawn.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        with trio.fail_after(deadline):
            done = await trio.run_process(
                command,
                stdin=data,
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
                env=environment,
            )
    except trio.TooSlowError:
        raise NotDrawn(f"it took longer than {deadline:g} s") from None
    except OSError as error:
        raise NotDrawn(f"the child could not be started: {error.strerror}") from error
    if done.returncode == 0 and done.stdout.startswith(PNG):
        return bytes(done.stdout)
    raise NotDrawn(f"the child ended with {done.returncode}")
