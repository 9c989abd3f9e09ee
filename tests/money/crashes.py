"""A way to the database on which a connection dies at a chosen point around its COMMIT.

A cut looks like a killed process from the server's side, and like a lost server from ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import trio
from attrs import define, field, frozen

__all__ = ["PLANS", "Crash", "CutProxy", "open_cut_proxy"]


@frozen
class Crash:
    """When a connection dies.

    Attributes:
        at: "statement" before the nth message of the caller, "lost" before COMMIT arrives, "racing" when COMMIT has just
            been sent on, "unheard" when the server has answered it.
        number: which message.
        alone: nobody can be asked afterwards what became of it.
    """

    at: str
    number: int = 0
    alone: bool = False

    @property
    def nothing_happened(self) -> bool:
        """Whether a caller that saw it fail can be sure."""
        return self.at in ("statement", "lost")

    def __str__(self) -> str:
        return f"{self.at}{self.number or ''}{' and nobody to ask' if self.alone else ''}"


PLANS: Final = (
    *(Crash("statement", number) for number in (1, 2, 3, 4, 6, 8)),
    *(Crash(at, alone=alone) for at in ("lost", "racing", "unheard") for alone in (False, True)),
)


@define(eq=False)
class CutProxy:
    """A TCP proxy in front of a server's Unix socket."""

    socket: str
    plan: Crash | None = None
    seen: int = 0
    fired: bool = False
    port: int = 0
    scopes: list[trio.CancelScope] = field(factory=list)

    def arm(self, plan: Crash) -> None:
        """From now on, messages are counted."""
        self.plan, self.seen, self.fired = plan, 0, False

    def disarm(self) -> bool:
        """Let everybody through again; whether a connection was cut."""
        self.plan = None
        return self.fired

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        if self.fired and self.plan is not None and self.plan.alone:
            await client.aclose()
            return
        upstream = await trio.open_unix_socket(self.socket)
        committing = trio.Event()
        async with client, upstream, trio.open_nursery() as nursery:
            nursery.start_soon(self._up, client, upstream, nursery, committing)
            nursery.start_soon(self._down, upstream, client, nursery, committing)

    async def _up(
        self,
        client: trio.SocketStream,
        server: trio.SocketStream,
        nursery: trio.Nursery,
        committing: trio.Event,
    ) -> None:
        try:
            async for chunk in client:
                plan = None if self.fired else self.plan
                if plan is not None:
                    self.seen += 1
                    is_commit = chunk[:1] == b"Q" and b"COMMIT" in chunk
                    dies = self.seen == plan.number or (is_commit and plan.at in ("statement", "lost"))
                    if dies:
                        self.fired = True
                        break
                    if is_commit:
                        committing.set()
                        if plan.at == "racing":
                            self.fired = True
                            await server.send_all(bytes(chunk))
                            break
                await server.send_all(bytes(chunk))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async def _down(
        self,
        server: trio.SocketStream,
        client: trio.SocketStream,
        nursery: trio.Nursery,
        committing: trio.Event,
    ) -> None:
        try:
            async for chunk in server:
                if committing.is_set() and self.plan is not None and self.plan.at == "unheard":
                    self.fired = True
                    break
                await client.send_all(bytes(chunk))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_cut_proxy(url: str) -> AsyncIterator[tuple[CutProxy, str]]:
    """Run a proxy and return it with the URL that leads through it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    proxy = CutProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        proxy.port = listener.socket.getsockname()[1]
        yield proxy, f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}"
        nursery.cancel_scope.cancel()
