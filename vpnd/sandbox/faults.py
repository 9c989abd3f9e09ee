"""Faults on request: a server that refuses, dies, hangs, or does the work and loses the answer.

A fault waits on the board until a matching call takes it. `drop_reply`, `hang_reply` and `5xx_reply` let the call's effect
happen first: they are the cases in which a client cannot know whether its message was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS = frozenset(
    {
        "400", "401", "403", "deactivated", "409", "429", "5xx", "5xx_reply", "garbage", "hang", "hang_reply",
        "drop_reply", "slow", "migrate",
    }
)  # fmt: skip

AFTER_EFFECT = frozenset({"drop_reply", "hang_reply", "5xx_reply"})
"""Kinds whose call is carried out before the answer is lost, or is a server's error instead."""


@attrs.define
class Fault:
    """One entry of the board: `count` more calls of `method` (`*` is any), in `chat_id` if given, fail as `kind`."""

    method: str
    kind: str
    count: int = 1
    chat_id: int | None = None
    retry_after: int = 1
    delay: float = 1.0
    status: int = 502
    description: str | None = None
    migrate_to_chat_id: int | None = None

    def matches(self, method: str, chat_id: int | None) -> bool:
        """Whether a call of `method` in `chat_id` is the one this fault waits for."""
        if self.method not in {"*", method.lower()}:
            return False
        return self.chat_id is None or self.chat_id == chat_id


def fault_from(values: Mapping[str, Any]) -> Fault:
    """Read a fault from a control request; raises ValueError naming what is wrong with it."""
    known = {field.name for field in attrs.fields(Fault)}
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
    fault = Fault(**{"method": "*", "kind": "5xx", **values})
    fault.method = str(fault.method).lower()
    fault.kind = str(fault.kind)
    if fault.kind not in KINDS:
        raise ValueError(f"unknown kind of fault {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
    if fault.kind == "5xx_reply" and "status" not in values:
        fault.status = 500  # the server itself failed; the default of the others is a proxy's
    return fault


class FaultBoard:
    """The faults still to come, oldest first, and the calls that hang at the moment."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._release = trio.Event()
        self.taken: dict[str, int] = {}

    def add(self, fault: Fault) -> None:
        """Put a fault on the board."""
        self._waiting.append(fault)

    def take(self, method: str, chat_id: int | None = None) -> Fault | None:
        """The oldest fault that matches this call, one use of it spent; None for a call that goes well."""
        for fault in self._waiting:
            if fault.matches(method, chat_id):
                fault.count -= 1
                if fault.count <= 0:
                    self._waiting.remove(fault)
                self.taken[fault.kind] = self.taken.get(fault.kind, 0) + 1
                return fault
        return None

    def clear(self) -> None:
        """Forget every fault and let the hanging calls go (their connections are closed without an answer)."""
        self._waiting.clear()
        self._release.set()
        self._release = trio.Event()

    def left(self) -> int:
        """How many failing calls are still to come."""
        return sum(fault.count for fault in self._waiting)

    async def before_effect(self, fault: Fault, refuse: Callable[[Fault], Response]) -> Response | None:
        """What the client of a call that is not carried out gets: silence, rubbish, or the server's own refusal.

        None for a fault that only takes its time: the call goes on. Whatever `refuse` raises passes.
        """
        match fault.kind:
            case "slow":
                await trio.sleep(fault.delay)
                return None
            case "hang":
                return HangingReply(self._release)
            case "garbage":
                return garbage_reply()
            case _:
                return refuse(fault)

    def after_effect(self, fault: Fault, failure: Response) -> Response:
        """What the client of a call that was carried out gets: a hang-up, silence, or the server's `failure`."""
        match fault.kind:
            case "drop_reply":
                return DroppedReply()
            case "hang_reply":
                return HangingReply(self._release)
            case _:
                return failure


_HANG_UP = "vpnd.hang_up"
"""A message of our own between DroppedReply and hanging_up(); no server ever sees it."""


class DroppedReply(Response):
    """Closes the connection instead of answering: the client sees its peer hang up. Needs hanging_up() around the app."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for the end of the connection."""
        await send({"type": _HANG_UP})


def hanging_up(app: ASGIApp) -> ASGIApp:
    """An application whose DroppedReply answers really end their connection, without a byte.

    ASGI has no word for it, and an application that simply returns is answered for with a 500. So hypercorn's own stream is
    told that it is closed before anything was sent, and from that concludes that the connection cannot be used again.
    """

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def inner(message: Message) -> None:
            if message["type"] != _HANG_UP:
                await send(message)
                return
            stream = getattr(send, "__self__", None)
            if not isinstance(stream, HTTPStream):
                raise TypeError("this server's connections cannot be hung up")
            if not stream.closed:
                stream.closed = True
                await stream.send(StreamClosed(stream_id=stream.stream_id))

        await app(scope, receive, inner)

    return outer


class HangingReply(Response):
    """Says nothing until the client gives up or the board is cleared."""

    def __init__(self, released: trio.Event) -> None:
        super().__init__()
        self._released = released

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the disconnection (the request's body was read before) or for the release."""
        async with trio.open_nursery() as nursery:

            async def gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(gone)
            await self._released.wait()
            nursery.cancel_scope.cancel()
        await DroppedReply()(scope, receive, send)


def garbage_reply() -> Response:
    """What a broken proxy says: HTML where JSON was promised."""
    return PlainTextResponse(
        "<html><body><h1>502 Bad Gateway</h1></body></html>", 502, media_type="text/html"
    )
