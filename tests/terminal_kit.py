"""A terminal for tests: a program of ours at a pseudo-terminal of its own, typed at and read as by a person."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from attrs import define, field

#: As a login does: the terminal at standard input becomes the controlling one, at which passwords are asked, and Ctrl-C is heard.
_LOGIN = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@define
class Terminal:
    """What is on the screen, and the keyboard."""

    process: trio.Process
    master: int
    screen: str = ""
    _read: int = field(default=0)

    async def until(self, words: str, *, patience: float = 60.0) -> str:
        """Wait until `words` come behind what was waited for before; return what came up to their end."""
        with trio.move_on_after(patience):
            while (found := self.screen.find(words, self._read)) < 0:
                if not await self._hear():
                    break
            else:
                came = self.screen[self._read : found + len(words)]
                self._read = found + len(words)
                return came
        raise AssertionError(f"{words!r} did not come; the screen: {self.screen[-3000:]}")

    async def type(self, line: str, *, end: str = "\n") -> None:
        """Type a line."""
        await trio.lowlevel.checkpoint()
        os.write(self.master, (line + end).encode())

    async def waits(self, *, patience: float = 20.0) -> None:
        """Wait until the program sleeps, as it does in reading: a Ctrl-C between its prompt and that would not be heard."""
        state = Path(f"/proc/{self.process.pid}/stat")
        with trio.fail_after(patience):
            while state.read_text().rpartition(")")[2].split()[0] != "S":
                await trio.sleep(0.005)

    async def answer(self, prompt: str, line: str) -> str:
        """Wait for a prompt, and type the answer; return what was on the screen before it."""
        came = await self.until(prompt)
        # What is typed before the echo is off would be shown, by any program: the prompt comes after that.
        await self.type(line)
        return came

    async def end(self, *, patience: float = 60.0) -> int:
        """Read on to the end of the program, and return how it ended."""
        with trio.fail_after(patience):
            while await self._hear():
                pass
            return await self.process.wait()

    async def _hear(self) -> bool:
        """Read what is there; False at the end."""
        await trio.lowlevel.wait_readable(self.master)
        try:
            came = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the other side any more
            return False
        self.screen += came.decode(errors="replace").replace("\r\n", "\n")
        return bool(came)


@asynccontextmanager
async def at_terminal(*words: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Terminal]:
    """Run `vpnd …` at a terminal for the time of the block; it is killed at its end if it still runs."""
    clean = {
        name: text for name, text in os.environ.items() if not name.startswith(("VPND_", "CREDENTIALS_"))
    }
    master, slave = pty.openpty()
    try:
        command = [sys.executable, "-c", _LOGIN, sys.executable, "-m", "vpnd", *words]
        async with trio.open_nursery() as nursery:
            run = partial(
                trio.run_process, command, stdin=slave, stdout=slave, stderr=slave, env={**clean, **(env or {})},
                start_new_session=True, check=False,
            )  # fmt: skip
            process = await nursery.start(run)
            os.close(slave)
            slave = -1
            yield Terminal(process, master)
            nursery.cancel_scope.cancel()
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)
