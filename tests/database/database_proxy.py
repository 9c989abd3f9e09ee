"""A TCP proxy in front of a server's Unix socket, which can freeze, cut and swallow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import trio


class Proxy:
    """`frozen` stops all bytes in both directions; `on_query` sees what clients send and may cut the reply's way."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        query = parse_qs(self._parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._thaw = trio.Event()
        self._thaw.set()
        self.port = 0
        self.connections = 0
        #: Called with each chunk from a client. True: the bytes are delivered, but nothing comes back any more.
        self.deaf_after: Callable[[bytes], bool] = lambda chunk: False
        #: Called with each chunk from a client. True: they are not delivered, and nothing comes back any more.
        self.mute_before: Callable[[bytes], bool] = lambda chunk: False

    @property
    def url(self) -> str:
        return f"postgresql://{self._parts.username}@127.0.0.1:{self.port}{self._parts.path}"

    def freeze(self) -> None:
        self._thaw = trio.Event()

    def thaw(self) -> None:
        self._thaw.set()

    async def serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        deaf = trio.Event()
        try:
            upstream = await trio.open_unix_socket(self._socket)
        except OSError:
            await client.aclose()
            return
        async with client, upstream, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, upstream, nursery, deaf, True)
            nursery.start_soon(self._pump, upstream, client, nursery, deaf, False)

    async def _pump(
        self,
        source: trio.abc.ReceiveStream,
        sink: trio.abc.SendStream,
        nursery: trio.Nursery,
        deaf: trio.Event,
        up: bool,
    ) -> None:
        try:
            async for chunk in source:
                await self._thaw.wait()
                if up and self.mute_before(chunk):
                    deaf.set()
                    await trio.sleep_forever()
                if up and self.deaf_after(chunk):
                    deaf.set()
                if not up and deaf.is_set():
                    continue
                await sink.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_proxy(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        proxy.port = listener.socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
