"""The composition root: the tree it builds, what it refuses, what it says of itself, and how it stops."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from attrs import define
from database_kit import database_settings
from telegram import BotCommandScopeAllPrivateChats

from vpnd.bot.texts import read_locale
from vpnd.config import (
    CryptoPaySettings,
    HttpSettings,
    InstanceSettings,
    NodeSettings,
    Secret,
    Settings,
    ShopSettings,
    TelegramSettings,
    WorkerSettings,
)
from vpnd.daemon import Daemon, open_daemon, tree
from vpnd.daemon import parts as module
from vpnd.database.database import Database, open_database
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import Limits
from vpnd.runtime.sdnotify import service_manager
from vpnd.runtime.service import Service
from vpnd.sandbox import cryptopay_api, telegram_server
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.servers import open_sandbox
from vpnd.sandbox.tls import trusted
from vpnd.shop.plans import offers_on_sale
from vpnd.shop.settlement import Outcome, SettlementResult
from vpnd.telegram.sender import Lane

PLANS = """
[[plans]]
id = "basic"
titles = {{ en = "Basic", ru = "Базовый" }}

[[plans.offers]]
days = 30
prices = {{ RUB = "{price}", XTR = "150" }}
"""


@define
class Running:
    """A daemon at work, and what is around it."""

    daemon: Daemon
    service: Service
    heard: Callable[[], list[str]]
    http: httpx.AsyncClient
    ended: trio.Event
    reload_now: trio.MemorySendChannel[None]


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """What a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def settings_of(
    database_url: str, folder: Path, telegram: str = "http://127.0.0.1:9", **changes: Any
) -> Settings:
    """A shop on loopback with every part that can be switched on."""
    values = {
        "instance": InstanceSettings(name="test", state_dir=folder / "state"),
        "telegram": TelegramSettings(token=Secret(telegram_server.DEFAULT_TOKEN), api_base=telegram),
        "database": database_settings(database_url),
        "cryptopay": CryptoPaySettings(
            token=Secret(cryptopay_api.DEFAULT_TOKEN), api_base="http://127.0.0.1:9"
        ),
        "http": HttpSettings(listen=f"127.0.0.1:{free_port()}", metrics_listen=f"127.0.0.1:{free_port()}"),
    }
    return Settings(**(values | changes))


def heard(sock: socket.socket) -> list[str]:
    """The lines that came since the last look."""
    lines: list[str] = []
    while True:
        try:
            lines += sock.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines


@asynccontextmanager
async def running(
    settings: Settings,
    notify: socket.socket,
    *,
    sandbox: bool = False,
    reread: Callable[[], Settings] | None = None,
) -> AsyncIterator[Running]:
    """The daemon at work, between servers that stand for the world; it is stopped in order at the end."""
    async with open_sandbox() as world:
        # Workers begin at random within the first seconds: whoever they ask is there, or they complain in the midst of a test.
        telegram = attrs.evolve(settings.telegram, api_base=world.telegram_url)
        cryptopay = attrs.evolve(settings.cryptopay, api_base=f"{world.cryptopay_url}/api")
        settings = attrs.evolve(settings, telegram=telegram, cryptopay=cryptopay)
        reload_now, reloads = trio.open_memory_channel[None](1)
        ended = trio.Event()
        base = f"http://{settings.http.listen}"
        async with (
            service_manager({"NOTIFY_SOCKET": str(notify.getsockname())}) as manager,
            httpx.AsyncClient(base_url=base, verify=trusted(), trust_env=False, timeout=20) as http,
            open_daemon(settings, sandbox=sandbox, reread=reread) as daemon,
            trio.open_nursery() as nursery,
        ):
            service = Service(manager, reloads)

            async def run() -> None:
                await daemon.run(service)
                ended.set()

            nursery.start_soon(run)
            yield Running(daemon, service, lambda: heard(notify), http, ended, reload_now)
            service.stopping.set()
            with trio.fail_after(15):
                await ended.wait()


async def until(holds: Callable[[], Awaitable[Any]], patience: float = 20.0) -> None:
    """Wait until `holds()` is true; sockets and other processes decide when, so it is looked at again and again."""
    with trio.fail_after(patience):
        while not await holds():
            await trio.sleep(0.01)


async def mark_as_sandbox(db: Database) -> None:
    """Make it a database whose clock can be moved."""
    async with db.transaction("test") as tx:
        await tx.execute("insert into sandbox_clock default values")


async def ready(life: Running) -> bool:
    """Whether `/readyz` says so."""
    try:
        return (await life.http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


# -- the tree


async def test_what_brings_work_in_starts_last_and_stops_first(database_url: str, tmp_path: Path) -> None:
    """The order of the children is the order of starting; stopping goes the other way."""
    nodes = (NodeSettings(name="oslo", url="http://127.0.0.1:9", token=Secret("t")),)
    settings = settings_of(database_url, tmp_path, nodes=nodes)
    _send, reloads = trio.open_memory_channel[None](1)
    async with service_manager({}) as manager, open_daemon(settings) as daemon:
        specs = daemon.children(Service(manager, reloads))

    assert [spec.name for spec in specs] == [
        "schema",
        "numberer",
        "node oslo",
        "outbox",
        "payouts stars",
        "payouts cryptopay",
        "payouts yookassa",
        "switches",
        "texts",
        "worker expiry",
        "worker purchase_expiry",
        "worker activation",
        "worker renewal",
        "worker renewal_notices",
        "worker books",
        "worker payment_watcher",
        "worker reconciliation_cryptopay",
        "worker stars_sweep",
        "worker trial_notices",
        "worker reminders",
        "worker reconcile",
        "worker housekeeping",
        "worker activity",
        "worker alert_mutes",
        "worker figures",
        "worker exports",
        "broadcasts",
        "broadcast progress",
        "recovery",
        "lag monitor",
        "monitors",
        "control",
        "commands",
        "telegram",
        "metrics",
        "web",
        "reload",
        "watchdog",
        "status",
    ]
    assert {spec.name for spec in specs if spec.may_finish} == {"schema", "web"}
    assert not any(spec.essential for spec in specs)


async def test_what_is_not_configured_is_not_in_the_tree(database_url: str, tmp_path: Path) -> None:
    """No provider, no watcher; a worker that was switched off, no metrics listener: no child."""
    settings = attrs.evolve(
        settings_of(
            database_url, tmp_path, cryptopay=CryptoPaySettings(), http=HttpSettings(metrics_listen="")
        ),
        workers={"expiry": WorkerSettings(enabled=False)},
    )
    _send, reloads = trio.open_memory_channel[None](1)
    async with service_manager({}) as manager, open_daemon(settings) as daemon:
        names = {spec.name for spec in daemon.children(Service(manager, reloads))}

    assert not {"metrics", "worker payment_watcher", "worker expiry"} & names
    assert not {name for name in names if name.startswith("node ")}


# -- a life


async def test_a_life_from_ready_to_the_last_child(
    empty_database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """An empty database becomes a shop, READY comes with a status, and after the stop no child is left."""
    settings = settings_of(empty_database_url, tmp_path)
    async with running(settings, notify_socket) as life:
        await until(lambda: ready(life))
        said: list[str] = []

        async def told() -> bool:
            said.extend(life.heard())
            return "READY=1" in said

        await until(told)
        assert "STATUS=serving customers; 0 nodes" in said
        assert len(await offers_on_sale(life.daemon.db)) > 0

    states = {child.name: child.state.value for child in life.daemon.supervisor.statistics().children}
    assert set(states.values()) == {"stopped"}
    assert [child for child in life.daemon.supervisor.statistics().children if child.deaths] == []


@pytest.mark.parametrize("sandbox", [False, True])
async def test_the_wrong_kind_of_database_is_refused(
    db: Database, database_url: str, tmp_path: Path, notify_socket: socket.socket, sandbox: bool
) -> None:
    """A shop does not touch a sandbox, nor a sandbox a shop: no plans, no readiness, and the reason in the status."""
    if not sandbox:
        await mark_as_sandbox(db)
    with capture() as lines:
        async with running(settings_of(database_url, tmp_path), notify_socket, sandbox=sandbox) as life:
            await until(lambda: _true(any(line.event == "database.not_ready" for line in lines)))
            await until(lambda: _true(any(line.event == "daemon.standing" for line in lines)))
            answer = await life.http.get("/readyz")
            webhook = await paid_webhook(life.http)
            status = life.daemon.status_line()

    assert answer.status_code == 503
    assert "sandbox" in answer.json()["missing"]["database"]
    assert status.startswith("database: ")
    assert webhook.status_code == 503
    assert await db.fetchval("test", "select count(*) from plans") == 0


async def test_a_profile_that_cannot_be_read_is_no_reason_to_stop(
    empty_database_url: str, tmp_path: Path, notify_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that nobody understands is told and asked for again later: five deaths of a child would end the daemon."""

    async def unreadable(_bot: object) -> int:
        raise AttributeError("'bool' object has no attribute 'copy'")

    monkeypatch.setattr("vpnd.daemon.tree.set_profile", unreadable)
    with capture() as lines:
        async with running(settings_of(empty_database_url, tmp_path), notify_socket) as life:
            await until(lambda: ready(life))
            await until(lambda: _true(any(line.event == "telegram.commands_not_set" for line in lines)))
            (child,) = (one for one in life.daemon.supervisor.statistics().children if one.name == "commands")

    assert child.deaths == 0


async def test_the_sandboxes_own_database_is_taken(
    db: Database, database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """With the mark, a sandbox serves."""
    await mark_as_sandbox(db)
    async with running(settings_of(database_url, tmp_path), notify_socket, sandbox=True) as life:
        await until(lambda: ready(life))


async def test_without_a_database_it_stands_and_says_what_is_missing(
    tmp_path: Path, notify_socket: socket.socket
) -> None:
    """READY is said all the same, so that systemd does not kill what only waits; the status names the database."""
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    said: list[str] = []
    async with running(settings_of(url, tmp_path), notify_socket) as life:

        async def told() -> bool:
            said.extend(life.heard())
            return "READY=1" in said

        await until(told)
        assert (await life.http.get("/healthz")).status_code == 200
        assert (await life.http.get("/readyz")).status_code == 503

    assert any(line.startswith("STATUS=database: ") for line in said)


async def test_a_node_that_is_away_is_in_the_status(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """Customers are served, and the operator sees which node lags behind."""
    nodes = (NodeSettings(name="oslo", url=f"http://127.0.0.1:{free_port()}", token=Secret("t")),)
    async with running(settings_of(database_url, tmp_path, nodes=nodes), notify_socket) as life:
        await until(lambda: ready(life))
        await until(lambda: _true(life.daemon.followers[0].away))

        assert life.daemon.status_line() == "serving customers; 1 node; node oslo: away"


async def test_a_node_that_is_no_longer_configured_is_forgotten(
    db: Database, database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """It leaves customers' profiles, and no longer holds up the log; the journal says so once."""
    async with db.transaction("test") as tx:
        await tx.execute("insert into nodes (name) values ('gone'), ('oslo')")
    nodes = (NodeSettings(name="oslo", url="http://127.0.0.1:9", token=Secret("t")),)
    with capture() as lines:
        async with running(settings_of(database_url, tmp_path, nodes=nodes), notify_socket) as life:
            await until(lambda: ready(life))

    rows = await db.fetch("test", "select name from nodes")
    assert [row["name"] for row in rows] == ["oslo"]
    assert [line.fields["nodes"] for line in lines if line.event == "nodes.forgotten"] == ["gone"]


async def test_a_reload_applies_the_plans(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """RELOADING, then READY, and the new price is on sale; a file that is wrong changes nothing and ends nothing."""
    plans = tmp_path / "plans.toml"
    plans.write_text(PLANS.format(price="100.00"), "utf-8")
    settings = settings_of(database_url, tmp_path, shop=ShopSettings(plans=plans))
    said: list[str] = []

    async with running(settings, notify_socket) as life:

        async def told_ready(times: int) -> bool:
            said.extend(life.heard())
            return said.count("READY=1") >= times

        async def price() -> int:
            (offer,) = await offers_on_sale(life.daemon.db)
            return offer.prices["RUB"]

        await until(lambda: told_ready(1))
        assert await price() == 10_000
        plans.write_text(PLANS.format(price="250.00"), "utf-8")
        await life.reload_now.send(None)
        await until(lambda: told_ready(2))
        assert await price() == 25_000
        plans.write_text("this is no plan", "utf-8")
        with capture() as lines:
            await life.reload_now.send(None)
            await until(lambda: told_ready(3))
        assert await price() == 25_000
        assert not life.ended.is_set()

    assert [line.event for line in lines if line.level == "error"] == ["plans.unusable"]
    assert said.count("RELOADING=1") == 2


async def test_a_reload_reads_the_texts(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """New words are said from then on and the menu is set again; a fault is told and costs its own text only."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "en.ftl").write_text("help = One.\ncommand-buy = Buy it\n")
    settings = settings_of(database_url, tmp_path, shop=ShopSettings(texts_dir=folder))
    said: list[str] = []

    async with running(settings, notify_socket) as life:
        bot = life.daemon.bot

        async def told_ready(times: int) -> bool:
            said.extend(life.heard())
            return said.count("READY=1") >= times

        async def menu_says(words: str) -> bool:
            commands = await bot.sender.call(
                Lane.NOTICE, "get_my_commands", scope=BotCommandScopeAllPrivateChats(), language_code="en"
            )
            return any(command.description == words for command in commands)

        await until(lambda: told_ready(1))
        await until(lambda: menu_says("Buy it"))
        assert bot.texts.format("en", "help") == "One."
        (folder / "en.ftl").write_text("help = Two.\nhome-new = <b>Hi\ncommand-buy = Get it\n")
        with capture() as lines:
            await life.reload_now.send(None)
            await until(lambda: told_ready(2))
        assert bot.texts.format("en", "help") == "Two."
        assert "Hello, Jo" in bot.texts.format("en", "home-new", name="Jo")
        await until(lambda: menu_says("Get it"))
        assert not life.ended.is_set()

    (refused,) = [line.fields for line in lines if line.event == "texts.refused"]
    assert (refused["file"], refused["key"], refused["remedy"]) == (
        "en.ftl",
        "home-new",
        "<b> is never closed",
    )


async def test_a_language_comes_and_goes_with_a_reload(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """A whole language is spoken and has a menu from the reload on, and neither after the one that finds it gone."""
    folder = tmp_path / "texts"
    folder.mkdir()
    settings = settings_of(database_url, tmp_path, shop=ShopSettings(texts_dir=folder))

    async with running(settings, notify_socket) as life:
        bot = life.daemon.bot

        async def menus() -> list[int]:
            scope = BotCommandScopeAllPrivateChats()
            return [
                len(
                    await bot.sender.call(Lane.NOTICE, "get_my_commands", scope=scope, language_code=language)
                )
                for language in ("en", "de")
            ]

        async def there_are(german: bool) -> bool:
            english, other = await menus()
            return english > 0 and (other == english if german else other == 0)

        await until(lambda: there_are(False))
        (folder / "de.ftl").write_text(read_locale("en"), "utf-8")
        await life.reload_now.send(None)
        await until(lambda: there_are(True))
        assert bot.texts.languages == ("en", "ru", "de")
        (folder / "de.ftl").unlink()
        await life.reload_now.send(None)
        await until(lambda: there_are(False))
        assert bot.texts.languages == ("en", "ru")


async def test_a_webhook_under_way_is_answered_before_the_end(
    database_url: str, tmp_path: Path, notify_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop lets a payment be settled and its sender know; whoever comes later finds the door closed."""
    arrived, release = trio.Event(), trio.Event()

    async def slow(_db: Database, _charge: object, **_rest: object) -> SettlementResult:
        arrived.set()
        await release.wait()
        return SettlementResult(Outcome.SETTLED, settlement_id=1)

    monkeypatch.setattr(module, "settle_charge", slow)
    monkeypatch.setattr(tree, "DRAIN_GRACE", 10.0)
    answers: list[int] = []

    async with running(settings_of(database_url, tmp_path), notify_socket) as life:
        await until(lambda: ready(life))

        async def pay() -> None:
            answers.append((await paid_webhook(life.http)).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pay)
            await arrived.wait()
            life.service.stopping.set()
            await until(lambda: _closed(life))
            release.set()
        assert answers == [200]


# -- the command


def test_migrate_ends_with_its_outcome(empty_database_url: str, tmp_path: Path) -> None:
    """0 when the schema is up to date, also the second time; 1 when the database cannot be had."""
    for url, code in (
        (empty_database_url, 0),
        (empty_database_url, 0),
        (f"postgresql://nobody@127.0.0.1:{free_port()}/nothing", 1),
    ):
        with command("migrate", url, tmp_path) as child:
            assert child.wait(60) == code


async def test_a_migration_that_was_interrupted_does_not_look_done(
    empty_database_url: str, tmp_path: Path
) -> None:
    """A first SIGTERM ends it, with 1: a script that goes on after it would go on without a schema."""
    async with (
        open_database(database_settings(empty_database_url), Limits(5, 5), instance_name="test") as db,
        trio.open_nursery() as nursery,
    ):
        waits = trio.Event()
        nursery.start_soon(wait_for_a_waiter, db, waits)  # outside of the scope below
        async with db.transaction("test", deadline=60) as tx:
            await tx.execute("create table schema_migrations (version integer)")
            with command("migrate", empty_database_url, tmp_path) as child:
                await waits.wait()
                child.send_signal(signal.SIGTERM)
                code = await trio.to_thread.run_sync(child.wait, 30)

    assert code == 1


async def wait_for_a_waiter(db: Database, waits: trio.Event) -> None:
    """Set `waits` when a session of this database waits for a lock."""

    async def somebody() -> bool:
        sql = (
            "select exists (select from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock')"
        )
        return bool(await db.fetchval("test", sql))

    await until(somebody)
    waits.set()


class command:  # noqa: N801  used as a verb
    """`vpnd <word>` in a process of its own, ended with the block."""

    def __init__(self, word: str, url: str, folder: Path) -> None:
        self._argv = [sys.executable, "-m", "vpnd", word]
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("VPND_")} | {
            "VPND_TELEGRAM__TOKEN": telegram_server.DEFAULT_TOKEN,
            "VPND_DATABASE__URL": url,
            "VPND_INSTANCE__STATE_DIR": str(folder),
        }

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(self._argv, env=self._env, stderr=subprocess.PIPE)
        return self._child

    def __exit__(self, *_exc: object) -> None:
        self._child.kill()
        self._child.communicate(timeout=30)


async def paid_webhook(http: httpx.AsyncClient) -> httpx.Response:
    """Crypto Pay's word that an invoice was paid, with its signature."""
    payload = {
        "invoice_id": 1, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "199.00", "payload": "p",
    }  # fmt: skip
    body = json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": payload}).encode()
    key = sha256(cryptopay_api.DEFAULT_TOKEN.encode()).digest()
    headers = {"crypto-pay-api-signature": hmac.new(key, body, sha256).hexdigest()}
    return await http.post("/webhooks/cryptopay", content=body, headers=headers)


async def _closed(life: Running) -> bool:
    host, _, port = life.daemon.settings.http.listen.rpartition(":")
    try:
        await (await trio.open_tcp_stream(host, int(port))).aclose()
    except OSError:
        return True
    return False


async def _true(value: bool) -> bool:
    return value
