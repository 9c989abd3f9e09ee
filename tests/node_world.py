"""A node without a core, for tests: the real agent's API and durable copy behind a real socket, with faults to order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import attrs
import trio
from attrs import define, field
from shop_world import ShopWorld
from starlette.responses import Response

from vpnd.agent.api import AgentApi
from vpnd.agent.state import Applied, State, Watermark, open_state
from vpnd.config import NodeSettings, Secret
from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient
from vpnd.nodes.model import AccessChange, PublicInbound
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.runtime.serve import serve_asgi
from vpnd.shop import access_log

TOKEN = "token-of-a-test-node"
INBOUND = PublicInbound(tag="tls", host="vpn.example", port=443, security="tls", sni="vpn.example")


class _NoCore:
    """An applier that has nothing to apply to: what is on the disk is held."""

    idle = True
    means = "sockets"

    async def carry_out(self, _applied: Applied) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {}


@define
class FakeNode:
    """A running node. `faults` says what happens to the next requests of a path: "away" or "lost" (done, but not answered)."""

    state: State
    api: AgentApi
    client: NodeClient
    faults: dict[str, list[str]] = field(factory=dict)
    asked: list[str] = field(factory=list)

    def fail(self, path: str, *kinds: str) -> None:
        """Order faults for the next requests of `path`."""
        self.faults.setdefault(path, []).extend(kinds)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return self.asked.count(path)

    async def held(self) -> dict[str, AccessChange]:
        """All that the node holds, by name."""
        members = await self.state.members(range(256))
        return {m.name: AccessChange(m.name, m.uuid, m.version, m.active) for m in members}

    async def active(self) -> set[str]:
        """The names that are on."""
        return {name for name, change in (await self.held()).items() if change.active}

    async def holds(self, epoch: str, seq: int, changes: Iterable[AccessChange]) -> None:
        """Make it hold these, as if an earlier daemon had told it."""
        await self.client.push(epoch, seq, list(changes), adopt=True)

    async def wipe(self) -> None:
        """Lose the disk."""
        connection = self.state._connection
        await self.state._run(
            lambda: connection.executescript(
                "delete from credentials; delete from buckets; update meta set epoch = null, seq = 0, era = 0;"
            )
        )
        self.api.settled = Watermark(None, 0, 0)


@asynccontextmanager
async def fake_node(folder: Path, name: str = "oslo") -> AsyncIterator[FakeNode]:
    """A node with an empty disk."""
    core = SimpleNamespace(
        current=None,
        state=SimpleNamespace(value="running"),
        program=SimpleNamespace(version="test"),
        restarts=0,
        doors=SimpleNamespace(public=[INBOUND.to_json()]),
    )
    async with open_state(folder) as state, open_http_client(Limits(10, 10)) as http:
        api = AgentApi(Secret(TOKEN), core, state, _NoCore(), settled=await state.watermark())  # type: ignore[arg-type]  # stands for a core
        inner = api.application()
        node: FakeNode | None = None

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert node is not None
            path = scope["path"]
            node.asked.append(path)
            waiting = node.faults.get(path)
            fault = waiting.pop(0) if waiting else None
            if fault is None:
                await inner(scope, receive, send)
                return
            if fault == "lost":
                await inner(scope, receive, _swallow)
            await Response("bad gateway", 502)(scope, receive, send)

        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[list[str]]) -> None:
                await serve_asgi(
                    app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever, task_status=task_status
                )

            (bound,) = await nursery.start(serve)
            settings = NodeSettings(name=name, url=f"http://{bound}", token=Secret(TOKEN))
            node = FakeNode(state, api, NodeClient(settings, http))
            yield node
            nursery.cancel_scope.cancel()


async def _swallow(_message: Any) -> None:
    await trio.lowlevel.checkpoint()


async def shop_holds(db: Database) -> dict[str, AccessChange]:
    """What a node should hold, by name."""
    members = await access_log.bucket_members(db, range(256), 100_000)
    return {m.name: AccessChange(m.name, m.uuid, m.version, m.active) for m in members}


def stranger(name: str, version: int = 1) -> AccessChange:
    """A credential that no shop knows."""
    return AccessChange(name, str(uuid4()), version, active=True)


def newer(change: AccessChange, by: int = 1, **changes: Any) -> AccessChange:
    """A later version of a credential."""
    return attrs.evolve(change, version=change.version + by, **changes)


async def time_passes(shop: ShopWorld, seconds: int = 3600) -> None:
    """Make all that comparisons and the log remember older."""
    await shop.execute(
        "update nodes set suspects = (select coalesce(jsonb_object_agg(key, value::bigint - $1::bigint), '{}')"
        " from jsonb_each_text(suspects))",
        seconds,
    )
    await shop.execute(
        "update access_log set created_at = created_at - make_interval(secs => $1::int),"
        " numbered_at = numbered_at - make_interval(secs => $1::int)",
        seconds,
    )


async def until(holds: Callable[[], Awaitable[Any]], patience: float = 15.0) -> None:
    """Wait until `holds()` is true; sockets and the database decide when, so it is looked at again and again."""
    with trio.fail_after(patience):
        while not await holds():
            await trio.sleep(0.01)


__all__ = [
    "INBOUND",
    "TOKEN",
    "FakeNode",
    "fake_node",
    "newer",
    "shop_holds",
    "stranger",
    "time_passes",
    "until",
]
