"""A node on the loopback address for tests: targets behind it, the agent in this process, a daemon's client for it."""

from __future__ import annotations

import contextlib
import itertools
import uuid as uuid_module

import attrs
import httpx
import trio

from vpnd.agent.main import AgentStanding, run_agent
from vpnd.config import AgentSettings, InboundSettings, NodeSettings, Secret, Settings
from vpnd.nodes.client import NodeClient
from vpnd.nodes.links import vless_link
from vpnd.nodes.model import AccessChange, PublicInbound
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.sandbox.client_core import client_core, through
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.targets import DECOY_NAME, Targets, open_targets

TOKEN = "token-of-a-test-node"
#: The core never counts 127.0.0.1 as online, so the node listens here and customers come from .3 on.
NODE_IP = "127.0.0.2"
EPOCH = "epoch1"

_numbers = itertools.count(1)


def person(name: str, version: int = 1, *, active: bool = True) -> AccessChange:
    """A credential of its own for a name."""
    return AccessChange(name, str(uuid_module.uuid4()), version, active)


def turned_off(change: AccessChange) -> AccessChange:
    """The next version of a credential, off."""
    return attrs.evolve(change, version=change.version + 1, active=False)


def agent_settings(folder, targets: Targets, *, listen: str = "127.0.0.1:0", **other) -> Settings:
    """A node with a REALITY and a TLS door."""
    inbounds = (
        InboundSettings(
            tag="reality", listen=NODE_IP, port=free_port(NODE_IP), sni=DECOY_NAME, target=targets.decoy
        ),
        InboundSettings(
            tag="tls",
            listen=NODE_IP,
            port=free_port(NODE_IP),
            security="tls",
            sni=DECOY_NAME,
            certificate=targets.certificate,
            key=targets.private_key,
        ),
    )
    agent = AgentSettings(
        **{
            "listen": listen,
            "token": Secret(TOKEN),
            "state": folder,
            "public_host": NODE_IP,
            "allow_private_targets": True,
            "inbounds": inbounds,
        }
        | other
    )
    return Settings(agent=agent)


async def until(condition, patience: float = 20.0) -> None:
    """Wait until `condition()` holds; the kernel and other processes decide when, so it is looked at again and again."""
    with trio.fail_after(patience):
        held = condition()
        while not held:
            await trio.sleep(0.01)
            held = condition()


@attrs.define
class Node:
    """A running node and the ways to it."""

    targets: Targets
    settings: Settings
    standing: AgentStanding
    client: NodeClient
    seq: int = 0

    @property
    def core(self):
        """The keeper of the core."""
        return self.standing.core

    def link(self, change: AccessChange, tag: str = "reality") -> str:
        """A customer's link to a door."""
        public = next(p for p in self.core.doors.public if p["tag"] == tag)
        return vless_link(PublicInbound.parse(public), change.uuid, "test")

    @contextlib.asynccontextmanager
    async def app(self, change: AccessChange, source_ip: str, tag: str = "reality", *, mux: bool = False):
        """A customer's app, from an address of its own."""
        link = self.link(change, tag)
        async with client_core(link, source_ip=source_ip, ca=self.targets.certificate, mux=mux) as socks:
            yield socks

    async def push(self, *changes: AccessChange, adopt: bool = False):
        """Push as a daemon does, with the next number of the log."""
        self.seq += 1
        return await self.client.push(EPOCH, self.seq, changes, adopt=adopt)


@contextlib.asynccontextmanager
async def node(folder, targets: Targets, settings: Settings | None = None):
    """Run an agent on `folder` and give it with a client that pins its certificate."""
    settings = settings or agent_settings(folder, targets)
    async with trio.open_nursery() as nursery:
        standing = await nursery.start(run_agent, settings)
        with trio.fail_after(20):
            await standing.core.running()
        async with open_http_client(Limits(5, 10)) as http:
            yield Node(targets, settings, standing, node_client(standing, http))
        nursery.cancel_scope.cancel()


def node_client(standing: AgentStanding, http, **other) -> NodeClient:
    """A daemon's client for a standing agent."""
    given = {
        "name": f"node{next(_numbers)}",
        "url": f"https://{standing.addresses[0]}",
        "token": Secret(TOKEN),
        "fingerprint": standing.fingerprint,
    }
    return NodeClient(NodeSettings(**given | other), http)


class Download:
    """A download through a customer's app that goes on until somebody ends it."""

    def __init__(self, socks: int, url: str) -> None:
        self._socks, self._url = socks, url
        self.bytes = 0
        self.flowing = trio.Event()
        self.ended = trio.Event()

    async def run(self) -> None:
        """Download until it breaks."""
        try:
            async with (
                through(self._socks, timeout=30) as client,
                client.stream("GET", self._url) as response,
            ):
                async with contextlib.aclosing(response.aiter_raw()) as pieces:
                    async for piece in pieces:
                        self.bytes += len(piece)
                        self.flowing.set()
        except (httpx.HTTPError, OSError):
            pass  # which is how a cut looks from here
        self.ended.set()

    async def goes_on(self) -> bool:
        """Whether more bytes still arrive."""
        enough = self.bytes + 100_000
        await until(lambda: self.bytes >= enough or self.ended.is_set())
        return self.bytes >= enough


@contextlib.asynccontextmanager
async def world(tmp_path, **other):
    """Targets and a node that leads to them."""
    async with open_targets(tmp_path) as targets:
        folder = tmp_path / "state"
        async with node(folder, targets, agent_settings(folder, targets, **other)) as running:
            yield running
