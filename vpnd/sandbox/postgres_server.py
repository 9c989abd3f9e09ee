"""A PostgreSQL server that runs here: where it is, and what can be done to it while a world turns."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import trio

from vpnd.runtime.process import ChildProcess

#: The role and the database that every new data directory gets.
ROLE: Final = "vpnd"
DATABASE: Final = "vpnd"
PORT: Final = 5432  # only a part of the socket's name


def url_of(directory: str, database: str) -> str:
    """Return the URL of a database behind the socket in `directory`, as its owner."""
    return f"postgresql://{ROLE}@/{database}?host={quote(directory, safe='')}&port={PORT}"


class PostgresError(RuntimeError):
    """No binaries, a directory out of reach, or a server that did not come up; the message says which."""


#: Starts a server; `task_status.started` gets the postmaster's child process.
_Serve = Callable[..., Awaitable[None]]


class PostgresServer:
    """A running server. It can be stopped, started again on the same data and socket, and frozen.

    Those three are for the task tree that opened it (`embedded_postgres`), not for other threads.

    Attributes:
        url: of the database `vpnd`, as its owner.
        host: the directory of the socket.
        port: the number in the socket's name.
        data_dir: its data.
    """

    def __init__(self, host: str, data_dir: Path, nursery: trio.Nursery, serve: _Serve) -> None:
        """Declare a server whose socket stands in `host`; `serve` runs it, as a child of `nursery`."""
        self.url = url_of(host, DATABASE)
        self.host = host
        self.port = PORT
        self.data_dir = data_dir
        self._nursery = nursery
        self._serve = serve
        self._child: ChildProcess | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    @property
    def pid(self) -> int:
        """Return the number of the postmaster, of the last one if there is none now."""
        if self._child is None:
            raise PostgresError("this server was never started")
        return self._child.pid

    def url_of(self, database: str) -> str:
        """Return the URL of another database of this server."""
        return url_of(self.host, database)

    async def start(self) -> None:
        """Start the server; returns when it takes connections.

        Raises:
            PostgresError: it runs already, or did not come up.
        """
        if not self._ended.is_set():
            raise PostgresError("this server runs already")
        self._child = await self._nursery.start(self._run)

    async def stop(self) -> None:
        """Stop the server fast: open transactions are rolled back, clients lose their connections. Bounded."""
        self._scope.cancel()
        await self._ended.wait()

    async def restart(self) -> None:
        """Stop the server fast and start it again."""
        await self.stop()
        await self.start()

    async def _run(self, *, task_status: trio.TaskStatus[ChildProcess]) -> None:
        self._ended = trio.Event()
        try:
            with trio.CancelScope() as self._scope:
                await self._serve(task_status=task_status)
        finally:
            self._ended.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold still every process of the server for as long as the block lasts.

        For its clients this is the worst of outages: connections stay open, and nothing answers.
        """
        postmaster = psutil.Process(self.pid)
        held: list[psutil.Process] = []
        try:
            # The postmaster first: then it can make no child that we would miss.
            postmaster.suspend()
            held.append(postmaster)
            for child in postmaster.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # a backend that has just ended
                    child.suspend()
                    held.append(child)
            yield
        finally:
            for process in reversed(held):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
