"""The agent's HTTP API: what the daemon asks of a node.

JSON over TLS with a bearer token. The token is compared over bytes in constant time, before anything else of the request
is looked at; a body is read up to a ceiling, and what is wrong with one is answered with the field's name. Decoding
and encoding of long lists happen in threads.
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import attrs
import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vpnd import __version__
from vpnd.agent.apply import Applier
from vpnd.agent.core import Core
from vpnd.agent.model import NAME, BadRequest, Credential, Push, TooManyChanges, parse_push
from vpnd.agent.state import EpochMismatch, State, Watermark
from vpnd.agent.xray_client import CoreError
from vpnd.config import Secret
from vpnd.runtime import metrics
from vpnd.runtime.digest import BUCKETS
from vpnd.runtime.journal import get_journal

journal = get_journal("agent")

#: Largest body, bytes: ten thousand changes take about 1.4 million.
MAX_BODY: Final = 4_000_000
#: Seconds a body may take to arrive.
BODY_DEADLINE: Final = 10.0
#: Seconds a push waits for the core before it is told to come again; the daemon gives up after five.
APPLY_DEADLINE: Final = 4.0
#: Counters in one answer.
USAGE_PAGE: Final = 10_000
#: Bodies of more than a few kilobytes are taken apart one at a time.
_DECODERS: Final = 2

Endpoint = Callable[[Request], Awaitable[Response]]


class _BodyTooLarge(Exception):
    """The body is longer than `MAX_BODY`."""


class _BodyTooSlow(Exception):
    """The body did not arrive within `BODY_DEADLINE`."""


@attrs.define
class AgentApi:
    """The parts that requests are answered from.

    `settled` is the watermark up to which the core, too, is known to hold everything. It starts as the durable copy's,
    because the core is filled from that, and then follows it whenever nothing is under way.
    """

    token: Secret
    core: Core
    state: State
    applier: Applier
    settled: Watermark
    arriving: int = 0
    limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(_DECODERS))

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            ("/v1/status", "GET", self.status),
            ("/v1/changes", "POST", self.changes),
            ("/v1/buckets", "GET", self.buckets),
            ("/v1/bucket", "GET", self.members),
            ("/v1/usage", "GET", self.usage),
            ("/metrics", "GET", self.metrics),
        ]
        return Starlette(
            routes=[Route(path, self._guarded(answer), methods=[method]) for path, method, answer in routes]
        )

    def _guarded(self, answer: Endpoint) -> Endpoint:
        expected = b"Bearer " + self.token.reveal().encode()

        async def guarded(request: Request) -> Response:
            presented = request.headers.get("authorization", "").encode("latin-1", errors="replace")
            # An empty token would be a door for everybody; the settings refuse one, and so does this.
            if not self.token or not hmac.compare_digest(presented, expected):
                return _error(401, "the token is wrong", headers={"www-authenticate": "Bearer"})
            try:
                return await answer(request)
            except BadRequest as error:
                return _error(400, error.message, field=error.field)
            except (TooManyChanges, _BodyTooLarge) as error:
                return _error(413, str(error))
            except (_BodyTooSlow, ClientDisconnect):
                return _error(408, "the body did not arrive")
            except CoreError as error:
                return _error(503, f"the core cannot be asked: {error}", headers={"retry-after": "1"})

        return guarded

    async def status(self, _request: Request) -> Response:
        """``GET /v1/status``: what this node is and how far it follows."""
        watermark = await self.state.watermark()
        if not self.arriving and self.applier.idle:
            self.settled = watermark
        present = self.core.current
        metrics.agent_users.set(watermark.active)
        return JSONResponse(
            {
                "agent": __version__,
                "boot_id": "" if present is None else present.boot_id,
                "epoch": self.settled.epoch,
                "seq": self.settled.seq,
                "users": watermark.active,
                "core": {
                    "state": self.core.state.value,
                    "version": self.core.program.version,
                    "restarts": self.core.restarts,
                },
                "cut": self.applier.means,
                "inbounds": list(self.core.doors.public),
            }
        )

    async def changes(self, request: Request) -> Response:
        """``POST /v1/changes``: take changes over; answered only when they are on the disk and in the core."""
        push = await self._decoded(await _body(request))
        removed = None
        # Counted before the commit: between it and the applier's list, nobody may call the new watermark settled.
        self.arriving += 1
        try:
            applied = await self.state.apply(push)
            metrics.agent_changes_total.labels("applied").inc(len(push.changes) - applied.ignored)
            metrics.agent_changes_total.labels("ignored").inc(applied.ignored)
            with trio.move_on_after(APPLY_DEADLINE):
                removed = await self.applier.carry_out(applied)
        except EpochMismatch as error:
            return JSONResponse({"error": "epoch", "epoch": error.epoch}, status_code=409)
        finally:
            self.arriving -= 1
        if removed is None:
            # It is on the disk and on its way. The same push again changes nothing and is answered when it is there.
            return _error(503, "the core does not hold the changes yet", headers={"retry-after": "1"})
        return await self._encoded(
            {
                "epoch": applied.epoch,
                "seq": applied.seq,
                "applied": len(push.changes) - applied.ignored,
                "ignored": applied.ignored,
                "removed": [attrs.asdict(one) for one in removed.values()],
            }
        )

    async def buckets(self, _request: Request) -> Response:
        """``GET /v1/buckets``: the sums of all that is held, tombstones included."""
        watermark, sums = await self.state.sums()
        rows = [[count, str(total)] for count, total in sums]
        return JSONResponse({"epoch": watermark.epoch, "seq": watermark.seq, "buckets": rows})

    async def members(self, request: Request) -> Response:
        """``GET /v1/bucket?b=3&b=7``: the credentials of some buckets."""
        wanted = request.query_params.getlist("b")
        if not wanted or not all(
            b.isdecimal() and b.isascii() and len(b) <= 3 and int(b) < BUCKETS for b in wanted
        ):
            raise BadRequest(f"must be given, each a number from 0 to {BUCKETS - 1}", "b")
        return await self._encoded({"members": await self.state.members(map(int, wanted))}, _member_rows)

    async def usage(self, request: Request) -> Response:
        """``GET /v1/usage?after=``: bytes since the core started, by name, a page at a time.

        ``next`` is the name to ask after for the next page, null on the last.
        """
        after = request.query_params.get("after", "")
        if after and NAME.fullmatch(after) is None:
            raise BadRequest("must be a credential's name", "after")
        present = self.core.current
        if present is None:
            return JSONResponse({"boot_id": "", "counters": {}, "next": None})
        counters = await present.client.usage()

        def page() -> dict[str, Any]:
            names = sorted(name for name in counters if name > after)
            shown = names[:USAGE_PAGE]
            following = shown[-1] if len(names) > USAGE_PAGE else None
            return {
                "boot_id": present.boot_id,
                "counters": {n: counters[n] for n in shown},
                "next": following,
            }

        return await self._encoded(await trio.to_thread.run_sync(page, limiter=self.limiter))

    async def metrics(self, _request: Request) -> Response:
        """``GET /metrics``: this agent's metrics in Prometheus' text format."""
        return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)

    async def _decoded(self, body: bytes) -> Push:
        def decode() -> Push:
            try:
                document = json.loads(body)
            except (ValueError, RecursionError):
                raise BadRequest("the body must be JSON", "") from None
            return parse_push(document)

        return await trio.to_thread.run_sync(decode, limiter=self.limiter)

    async def _encoded(
        self, document: dict[str, Any], default: Callable[[Any], Any] | None = None
    ) -> Response:
        body = await trio.to_thread.run_sync(
            lambda: json.dumps(document, default=default, separators=(",", ":")).encode(),
            limiter=self.limiter,
        )
        return Response(body, media_type="application/json")


def _member_rows(member: Any) -> dict[str, Any]:
    if isinstance(member, Credential):
        return {"name": member.name, "uuid": member.uuid, "version": member.version, "active": member.active}
    raise TypeError(f"{type(member).__name__} is not JSON")


async def _body(request: Request) -> bytes:
    """Read a body of bounded size in bounded time."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:12]) > MAX_BODY:
        raise _BodyTooLarge(f"a body has at most {MAX_BODY} bytes")
    pieces, size = [], 0
    with trio.move_on_after(BODY_DEADLINE):
        async with aclosing(request.stream()) as stream:
            async for piece in stream:
                size += len(piece)
                if size > MAX_BODY:
                    raise _BodyTooLarge(f"a body has at most {MAX_BODY} bytes")
                pieces.append(piece)
        return b"".join(pieces)
    raise _BodyTooSlow(f"the body took more than {BODY_DEADLINE:g} s")


def _error(
    status: int, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    document: dict[str, Any] = {"error": message}
    if field is not None:
        document["field"] = field
    return JSONResponse(document, status_code=status, headers=None if headers is None else dict(headers))
