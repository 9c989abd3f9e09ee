"""The whole small world: PostgreSQL, a messenger and two payment providers, a VPN node, and the daemon between them.

Every program is a process of its own, as in life: the daemon can be killed and started again while the world goes on.
Everything listens on loopback, keeps its files in one folder, and dies with this process.

- PostgreSQL: `vpnd.sandbox.postgres`, marked as a sandbox database, so that its business clock may be moved.
- The servers: `python -m vpnd.sandbox`, Telegram's Bot API, Crypto Pay and YooKassa, with their control
  interface under `/sim/`.
- The node: `vpnd node run` with a real Xray core and a REALITY inbound on 127.0.0.2, whose decoy stands here.
- The daemon: `vpnd run`, configured by a file that an operator could have written.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import httpx
import trio
from attrs import define, field, frozen

from vpnd.agent.identity import load_identity
from vpnd.config import DatabaseSettings, NodeSettings, Secret
from vpnd.database.database import open_database
from vpnd.database.migrate import migrate
from vpnd.runtime.limits import Limits
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.postgres import PostgresServer, embedded_postgres
from vpnd.sandbox.programs import Program, ProgramFailed, write_private
from vpnd.sandbox.targets import DECOY_NAME, Targets, open_targets
from vpnd.sandbox.tls import trusted

#: The node's inbound listens here: the core's list of online addresses leaves 127.0.0.1 out.
NODE_HOST: Final = "127.0.0.2"

#: Secrets of the sandbox: they open nothing outside of it, and have the shape of real ones.
BOT_TOKEN: Final = "4242424242:AAsandbox-sandbox-sandbox-sandbox00"  # noqa: S105
CRYPTO_TOKEN: Final = "4242:AAsandboxsandboxsandboxsandboxsand"  # noqa: S105
YOOKASSA_SHOP: Final = "100500"
YOOKASSA_SECRET: Final = "test_sandboxSandboxSandboxSandboxSand"  # noqa: S105
WEBHOOK_SECRET: Final = "sandbox-webhook-secret"  # noqa: S105

#: The sandbox's admin, by Telegram id.
ADMIN: Final = 777

READY_TIMEOUT: Final = 30.0  # seconds


@frozen(kw_only=True)
class WorldOptions:
    """How the world is made.

    Attributes:
        mode: how updates reach the daemon.
        node: whether there is a VPN node; without one the shop still sells.
        lift_limits: whether the messenger's flood limits are lifted, there and in the daemon.
        people: what the daemon lets one person do, presses and messages at once and a second; None: anything, since scripted
            customers are quicker than people.
        expiry_interval: seconds between two looks of the expiry worker.
        daemon_extra: TOML appended to the daemon's configuration.
        sandbox: whether the database is a sandbox, whose business clock moves; else it is an ordinary, empty one.
        durable: whether PostgreSQL waits for its disk.
        agent_prefix: a program (and its arguments) that the node's agent is started by.
        folder: where everything is kept; None: a temporary folder, removed at the end.
    """

    mode: Literal["polling", "webhook"] = "polling"
    node: bool = True
    lift_limits: bool = False
    people: tuple[int, float] | None = None
    expiry_interval: float = 1.0
    daemon_extra: str = ""
    sandbox: bool = True
    durable: bool = True
    agent_prefix: tuple[str, ...] = ()
    folder: Path | None = None


class Control:
    """The control interface of one of the sandbox's servers."""

    def __init__(self, client: httpx.AsyncClient, base: str) -> None:
        """`base` is the server's address, without a path."""
        self._client = client
        self.base = base

    async def get(self, path: str, **params: Any) -> Any:
        """GET `path`; return the decoded answer."""
        return self._read(await self._client.get(self.base + path, params=params))

    async def post(self, path: str, **body: Any) -> Any:
        """POST `body` as JSON; return the decoded answer."""
        return self._read(await self._client.post(self.base + path, json=body))

    @staticmethod
    def _read(answer: httpx.Response) -> Any:
        if answer.is_error:
            raise ProgramFailed(f"{answer.request.url.path}: HTTP {answer.status_code} {answer.text[:300]}")
        return answer.json()


@define
class World:
    """A running world."""

    folder: Path
    options: WorldOptions
    postgres: PostgresServer
    database_url: str
    telegram: Control
    cryptopay: Control
    yookassa: Control
    targets: Targets
    daemon: Program
    daemon_http: str
    metrics_url: str
    agent: Program | None
    node: NodeSettings | None
    http: httpx.AsyncClient
    config_path: Path
    journal: list[str] = field(factory=list)

    async def start_daemon(self, *, wait: bool = True) -> None:
        """Start the daemon; with `wait`, return when it serves customers."""
        await self.daemon.start()
        if wait:
            await self.daemon_ready()

    async def daemon_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Return when `/readyz` says so.

        Raises:
            ProgramFailed: the daemon ended, or `timeout` seconds passed.
        """
        last = "no answer yet"
        with trio.move_on_after(timeout):
            while self.daemon.running:
                try:
                    answer = await self.http.get(f"{self.daemon_http}/readyz")
                    if answer.status_code == 200:
                        return
                    last = answer.text
                except httpx.TransportError as error:
                    last = repr(error)
                await trio.sleep(0.05)
        raise self.daemon.failure(f"is not ready: {last}")

    async def advance(self, seconds: int) -> None:
        """Move business time forward, everywhere."""
        await self.telegram.post("/sim/clock", advance=seconds)


@asynccontextmanager
async def open_world(options: WorldOptions | None = None) -> AsyncIterator[World]:
    """Make a world without its daemon (`World.start_daemon` starts that) and end it with the block.

    Raises:
        ProgramFailed: a part did not come up; the message has its last words.
        PostgresError: PostgreSQL did not.
    """
    options = options or WorldOptions()
    async with AsyncExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(TemporaryDirectory(prefix="vpnd-", dir="/tmp")))
        postgres = await stack.enter_async_context(embedded_postgres(durable=options.durable))
        if options.sandbox:
            await prepare_database(postgres.url)
        http = await stack.enter_async_context(
            httpx.AsyncClient(verify=trusted(), timeout=60, trust_env=False)
        )
        targets = await stack.enter_async_context(open_targets(folder))
        nursery = await stack.enter_async_context(trio.open_nursery())
        # Registered after the nursery: whatever ends the block ends its programs first.
        stack.callback(nursery.cancel_scope.cancel)
        telegram, cryptopay, yookassa = await _start_servers(
            nursery, http, postgres.url if options.sandbox else None
        )
        agent, node = (
            (await _start_node(nursery, folder, targets, options.agent_prefix))
            if options.node
            else (None, None)
        )
        web, metrics = free_port(), free_port()
        config = folder / "vpnd.toml"
        write_private(
            config,
            _daemon_config(
                options,
                folder,
                postgres.url,
                telegram=telegram.base,
                cryptopay=cryptopay.base,
                yookassa=yookassa.base,
                web=web,
                metrics=metrics,
            )
            + (_nodes_table(node) if node else "")
            + options.daemon_extra,
        )
        await cryptopay.post("/sim/webhook", url=f"http://127.0.0.1:{web}/webhooks/cryptopay")
        await yookassa.post("/sim/webhook", url=f"http://127.0.0.1:{web}/webhooks/yookassa")
        if options.lift_limits:
            await telegram.post("/sim/limits", lifted=True)
        flags = ["--sandbox"] if options.sandbox else []
        daemon = Program(nursery, "vpnd run", ["vpnd", "run", *flags, "--config", str(config)])
        world = World(
            folder=folder,
            options=options,
            postgres=postgres,
            database_url=postgres.url,
            telegram=telegram,
            cryptopay=cryptopay,
            yookassa=yookassa,
            targets=targets,
            daemon=daemon,
            daemon_http=f"http://127.0.0.1:{web}",
            metrics_url=f"http://127.0.0.1:{metrics}/metrics",
            agent=agent,
            node=node,
            http=http,
            config_path=config,
        )
        try:
            yield world
        finally:
            with trio.CancelScope(shield=True):
                # The daemon first and in order, so that it is not seen dying of the world's end.
                await daemon.stop()


async def prepare_database(url: str) -> None:
    """Bring the schema up to date and mark the database as a sandbox."""
    settings = DatabaseSettings(url=Secret(url))
    async with open_database(settings, Limits(5, 5), instance_name="sandbox") as db:
        await migrate(db)
        async with db.transaction("sandbox.mark") as tx:
            await tx.execute("insert into sandbox_clock default values on conflict do nothing")


async def _start_servers(
    nursery: trio.Nursery, http: httpx.AsyncClient, database_url: str | None
) -> tuple[Control, Control, Control]:
    servers = Program(
        nursery,
        "the sandbox's servers",
        [
            *("vpnd.sandbox", "--bot-token", BOT_TOKEN, "--crypto-token", CRYPTO_TOKEN),
            *("--yookassa-shop", YOOKASSA_SHOP, "--yookassa-secret", YOOKASSA_SECRET),
            *(("--database-url", database_url) if database_url else ()),
        ],
    )
    await servers.start()
    ports = await servers.wait_for_json("telegram_port", READY_TIMEOUT)
    return (
        Control(http, f"http://127.0.0.1:{ports['telegram_port']}"),
        Control(http, f"http://127.0.0.1:{ports['cryptopay_port']}"),
        Control(http, f"http://127.0.0.1:{ports['yookassa_port']}"),
    )


async def _start_node(
    nursery: trio.Nursery, folder: Path, targets: Targets, prefix: tuple[str, ...]
) -> tuple[Program, NodeSettings]:
    """Start the agent; return it and what the daemon has to know of it."""
    state = folder / "node"
    state.mkdir(mode=0o700, exist_ok=True)
    identity = await trio.to_thread.run_sync(load_identity, state)
    token, listen = secrets.token_urlsafe(32), free_port()
    config = folder / "node.toml"
    write_private(
        config,
        f"""
[agent]
listen = "127.0.0.1:{listen}"
token = "{token}"
state = "{state}"
public_host = "{NODE_HOST}"
allow_private_targets = true

[[agent.inbounds]]
tag = "reality"
listen = "{NODE_HOST}"
port = {free_port(NODE_HOST)}
security = "reality"
sni = "{DECOY_NAME}"
target = "{targets.decoy}"

[log]
format = "json"
""",
    )
    agent = Program(nursery, "vpnd node run", ["vpnd", "node", "run", "--config", str(config)], prefix=prefix)
    await agent.start()
    return agent, NodeSettings(
        name="amsterdam",
        url=f"https://127.0.0.1:{listen}",
        token=Secret(token),
        fingerprint=identity.fingerprint,
    )


def _nodes_table(node: NodeSettings) -> str:
    return f"""
[[nodes]]
name = "{node.name}"
url = "{node.url}"
token = "{node.token.reveal()}"
fingerprint = "{node.fingerprint}"
"""


def _daemon_config(
    options: WorldOptions,
    folder: Path,
    database_url: str,
    *,
    telegram: str,
    cryptopay: str,
    yookassa: str,
    web: int,
    metrics: int,
) -> str:
    state = folder / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    lifted = "telegram_per_second = 0\ntelegram_per_chat = 0\n" if options.lift_limits else ""
    burst, rate = options.people or (0, 0.0)
    lifted += f"user_burst = {burst}\nuser_per_second = {rate}\n"
    return f"""
[instance]
name = "demo"
state_dir = "{state}"

[shop]
currency = "RUB"
support = "@demo_support"

[telegram]
token = "{BOT_TOKEN}"
api_base = "{telegram}"
mode = "{options.mode}"
webhook_secret = "{WEBHOOK_SECRET}"
admins = [{ADMIN}]

[database]
url = "{database_url}"

[cryptopay]
token = "{CRYPTO_TOKEN}"
api_base = "{cryptopay}/api"

[yookassa]
shop_id = "{YOOKASSA_SHOP}"
secret_key = "{YOOKASSA_SECRET}"
api_base = "{yookassa}/v3"

[http]
listen = "127.0.0.1:{web}"
public_url = "http://127.0.0.1:{web}"
metrics_listen = "127.0.0.1:{metrics}"

[limits]
{lifted}
[workers.expiry]
interval = {options.expiry_interval}

[log]
format = "json"
"""
