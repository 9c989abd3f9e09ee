"""The sandbox's programs: processes of ours that can be started, killed, started again, and cannot outlive us."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from vpnd.runtime.process import ChildProcess, run_child

#: Hears every line that a program prints.
Listener = Callable[[str], object]


class ProgramFailed(Exception):
    """A program of the sandbox ended, or did not come up in time; the message carries its last words."""


class Program:
    """One program with its arguments; at most one process of it at a time.

    Its output is kept (the last lines) and handed to the listeners. Start it inside `nursery`; when the nursery is
    cancelled it is stopped in order, and when this process is killed it dies with it.
    """

    #: Lines kept for an error's message.
    LAST_WORDS = 30

    def __init__(
        self,
        nursery: trio.Nursery,
        name: str,
        module_arguments: list[str],
        *,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        stop_timeout: float = 10.0,
    ) -> None:
        """Declare `python -m MODULE ARG…` (`module_arguments`) as a program called `name`; nothing is started yet.

        `prefix` is a program that becomes the other one, like `setpriv`, with its arguments.
        """
        self._nursery = nursery
        self._argv = [*prefix, sys.executable, "-m", *module_arguments]
        self._env = env
        self._stop_timeout = stop_timeout
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._ended.set()
        self._changed = trio.Event()
        self.name = name
        self.process: ChildProcess | None = None
        self.returncode: int | None = None
        self.listeners: list[Listener] = []
        self.lines: list[str] = []

    async def start(self) -> ChildProcess:
        """Start the process; returns when it has been executed (not when it is ready).

        Raises:
            ProgramFailed: it runs already.
        """
        if not self._ended.is_set():
            raise ProgramFailed(f"{self.name} runs already")
        self._ended = trio.Event()
        self.lines = []
        self.returncode = None
        process: ChildProcess = await self._nursery.start(self._run)
        return process

    async def _run(self, *, task_status: trio.TaskStatus[ChildProcess]) -> None:
        with trio.CancelScope() as self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    self.process = await nursery.start(
                        lambda task_status: run_child(
                            self._argv,
                            env=self._env,
                            stdout=self._hear,
                            stderr=self._hear,
                            stop_timeout=self._stop_timeout,
                            task_status=task_status,
                        )
                    )
                    task_status.started(self.process)
            finally:
                if self.process is not None:
                    self.returncode = self.process.returncode
                self._ended.set()
                self._tell_change()

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[: -self.LAST_WORDS]
        for listener in self.listeners:
            listener(line)
        self._tell_change()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for_json(self, key: str, timeout: float = 20.0) -> dict[str, Any]:
        """Wait until the program prints a JSON object with `key`, and return it.

        Raises:
            ProgramFailed: it ended, or `timeout` seconds passed.
        """
        with trio.move_on_after(timeout):
            while True:
                for line in self.lines:
                    if line.startswith("{") and key in (found := json.loads(line)):
                        return dict(found)
                if self._ended.is_set():
                    break
                await self._changed.wait()
        raise self.failure("did not come up")

    def failure(self, what: str) -> ProgramFailed:
        """Return an error that says `what` happened, with the program's last words."""
        words = "\n".join(f"  {line}" for line in self.lines) or "  (it printed nothing)"
        return ProgramFailed(f"{self.name} {what} (exit status {self.returncode}); its last words:\n{words}")

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self._ended.is_set()

    async def wait(self) -> int | None:
        """Wait until the process has ended; return its exit status."""
        await self._ended.wait()
        return self.returncode

    async def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would, and wait until it is gone."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGKILL)
            await self._ended.wait()

    async def terminate(self) -> int | None:
        """Ask the process to end with SIGTERM; wait until it has; return its exit status."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGTERM)
            await self._ended.wait()
        return self.returncode

    async def stop(self) -> None:
        """End the process in order, whatever it takes; a no-op when it does not run."""
        if self._scope is not None and self.running:
            self._scope.cancel()
            await self._ended.wait()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
