"""A reload: what of the configuration counts at once, what waits for the next start, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from attrs import define, field
from node_world import TOKEN, fake_node
from test_daemon import Running, ready, running, settings_of, until

from vpnd.config import (
    ConfigError,
    Fault,
    LimitsSettings,
    NodeSettings,
    Secret,
    Settings,
    ShopSettings,
    TelegramSettings,
    WorkerSettings,
)
from vpnd.config.differences import differences
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.runtime import metrics
from vpnd.runtime.journal import capture
from vpnd.runtime.journal_lines import Entry


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """What a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@define
class Reloading:
    """A running daemon, and the configuration that it would read now."""

    life: Running
    wanted: Callable[[], Settings]
    said: list[str] = field(factory=list)

    async def reload(self, wanted: Callable[[], Settings]) -> list[Entry]:
        """Have it read this; returns what it said until it was READY again."""
        self.wanted = wanted
        self.said.extend(self.life.heard())
        before = self.said.count("READY=1")

        async def told() -> bool:
            self.said.extend(self.life.heard())
            return self.said.count("READY=1") > before

        with capture() as lines:
            await self.life.reload_now.send(None)
            await until(told)
        return lines

    @property
    def status(self) -> str:
        """The last line of `systemctl status`."""
        return [line for line in self.said if line.startswith("STATUS=")][-1].removeprefix("STATUS=")


@asynccontextmanager
async def reloading(settings: Settings, notify: socket.socket) -> AsyncIterator[Reloading]:
    """A daemon that serves; its limits are what a file that says nothing of them makes of the pool."""
    limits = attrs.evolve(settings.limits, database=settings.database.pool_max)
    settings = attrs.evolve(settings, limits=limits)
    box: list[Reloading] = []
    async with running(settings, notify, reread=lambda: box[0].wanted()) as life:
        box.append(Reloading(life, lambda: life.daemon.settings))
        await until(lambda: ready(life))

        async def stands() -> bool:
            box[0].said.extend(life.heard())
            return "READY=1" in box[0].said

        await until(stands)
        yield box[0]


def node(name: str, **options: str) -> NodeSettings:
    """A node that nobody answers for."""
    return NodeSettings(name=name, url=options.get("url", "http://127.0.0.1:9"), token=Secret("t"))


async def test_limits_count_at_once(database_url: str, tmp_path: Path, notify_socket: socket.socket) -> None:
    """Every key of [limits] is in force when READY is said again, within what the pool was opened with."""
    async with reloading(settings_of(database_url, tmp_path), notify_socket) as it:
        daemon = it.life.daemon
        limits = LimitsSettings(
            database=7,
            http=5,
            telegram_per_second=3.0,
            telegram_per_chat=0.0,
            user_burst=2,
            user_per_second=0.5,
        )
        lines = await it.reload(lambda: attrs.evolve(daemon.settings, limits=limits))

        assert (daemon.limits.statistics().database.total, daemon.limits.statistics().http.total) == (7, 5)
        assert daemon.telegram.sender.statistics().limit == 3
        assert (daemon.telegram.guard._burst, daemon.telegram.guard._rate) == (2, 0.5)
        [told] = [line for line in lines if line.event == "config.reread"]
        assert "limits.http 64 → 5" in told.message
        assert "limits.user_burst 20 → 2" in told.message
        assert not [line for line in lines if line.event == "config.needs_restart"]

        more = attrs.evolve(limits, database=900)
        lines = await it.reload(lambda: attrs.evolve(daemon.settings, limits=more))
        assert daemon.limits.statistics().database.total == daemon.settings.database.pool_max
        [later] = [line for line in lines if line.event == "config.needs_restart"]
        assert later.fields["keys"] == "limits.database"


async def test_nodes_come_change_and_go(
    db: Database, database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """A new node is followed, a changed one asked elsewhere, one that is gone forgotten: by followers, comparison, monitors."""
    oslo, rome, bonn = node("oslo"), node("rome"), node("bonn")
    settings = settings_of(database_url, tmp_path, nodes=(oslo, rome))
    async with reloading(settings, notify_socket) as it:
        daemon = it.life.daemon
        async with db.transaction("test") as tx:
            await tx.execute("insert into nodes (name) values ('rome') on conflict do nothing")
        moved = node("oslo", url="http://127.0.0.2:9")
        lines = await it.reload(lambda: attrs.evolve(daemon.settings, nodes=(bonn, moved)))

        [told] = [line for line in lines if line.event == "config.reread"]
        assert told.fields["changes"] == "node oslo changed, node rome removed, node bonn added"
        names = [child.name for child in daemon.supervisor.statistics().children if "node" in child.name]
        assert sorted(names) == ["node bonn", "node oslo"]
        assert sorted(client.name for client in daemon.clients) == ["bonn", "oslo"]
        assert sorted(follower.node for follower in daemon.followers) == ["bonn", "oslo"]
        assert daemon.monitors.nodes.names == ("bonn", "oslo")
        assert await db.fetchval("test", "select count(*) from nodes where name = 'rome'") == 0
        gauge = "vpnd_node_lag_rows"
        assert metrics.REGISTRY.get_sample_value(gauge, {"node": "rome"}) is None
        assert metrics.REGISTRY.get_sample_value(gauge, {"node": "bonn"}) is not None
        assert it.status.startswith("serving customers; 2 nodes")

        lines = await it.reload(lambda: attrs.evolve(daemon.settings, nodes=()))
        assert it.status == "serving customers; 0 nodes"
        assert [(line.event, line.message) for line in lines if line.level == "error"] == []


async def test_a_node_that_was_added_is_told_everything(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """From the reload on it is adopted and kept up to date, as if the daemon had begun with it."""
    async with fake_node(tmp_path, "fresh") as there:
        fresh = NodeSettings(name="fresh", url=there.client._base, token=Secret(TOKEN))
        settings = settings_of(database_url, tmp_path)
        async with reloading(settings, notify_socket) as it:
            daemon = it.life.daemon
            await it.reload(lambda: attrs.evolve(daemon.settings, nodes=(fresh,)))

            async def acknowledged() -> bool:
                seen = await daemon.db.fetchval("test", "select seen_at from nodes where name = 'fresh'")
                return seen is not None

            await until(acknowledged)
            await it.reload(lambda: daemon.settings)
            assert it.status == "serving customers; 1 node"


async def test_a_faulty_configuration_changes_nothing(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """Each fault is told by its key, the status says so until a reload finds it whole, and plans are read all the same."""
    faults = [Fault("limits.http", "0", "must be from 1 to 10000"), Fault("shop.langages", "", "is no key")]

    def refuse() -> Settings:
        raise ConfigError(faults)

    async with reloading(settings_of(database_url, tmp_path), notify_socket) as it:
        daemon = it.life.daemon
        before = daemon.settings
        lines = await it.reload(refuse)

        assert daemon.settings is before
        refused = [line for line in lines if line.event == "config.refused"]
        assert [line.fields["key"] for line in refused] == ["limits.http", "shop.langages"]
        assert [line for line in lines if line.event == "plans.applied"]
        assert it.status == "serving customers; 0 nodes; the reload was refused: limits.http and 1 more"
        await it.reload(lambda: before)
        assert it.status == "serving customers; 0 nodes"


async def test_what_needs_a_restart_is_named(
    database_url: str, tmp_path: Path, notify_socket: socket.socket
) -> None:
    """No value is told, each reload says it anew, and what was asked for meanwhile is not in force."""
    async with reloading(settings_of(database_url, tmp_path), notify_socket) as it:
        daemon = it.life.daemon
        token = "1:" + "x" * 35

        def wanted() -> Settings:
            return attrs.evolve(
                daemon.settings,
                shop=ShopSettings(currency="EUR"),
                telegram=TelegramSettings(token=Secret(token), api_base=daemon.settings.telegram.api_base),
            )

        for _ in range(2):
            lines = await it.reload(wanted)
            [later] = [line for line in lines if line.event == "config.needs_restart"]
            assert later.fields["keys"] == "shop.currency, telegram.token"
            assert token not in str(lines)
        assert daemon.settings.shop.currency == "RUB"


async def test_a_node_is_removed_while_the_database_is_away(
    database_url: str, tmp_path: Path, notify_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is followed no longer; that it may still stand in profiles is an error that names the remedy."""

    async def away() -> None:
        raise DatabaseUnavailable("away")

    settings = settings_of(database_url, tmp_path, nodes=(node("oslo"),))
    async with reloading(settings, notify_socket) as it:
        daemon = it.life.daemon
        monkeypatch.setattr(daemon.schema, "forget_nodes", away)
        lines = await it.reload(lambda: attrs.evolve(daemon.settings, nodes=()))

        told = [line.event for line in lines if line.level == "error"]
        assert told == ["nodes.not_forgotten"], [line.trace for line in lines if line.trace]
        assert daemon.followers == []


def test_differences_are_named_by_their_keys() -> None:
    """Sections, lists of tables and workers, each by the name that an operator looks for."""
    one = Settings(nodes=(node("a"),), workers={"expiry": WorkerSettings(interval=1.0)})
    other = Settings(
        limits=LimitsSettings(http=1),
        nodes=(node("b"),),
        workers={"expiry": WorkerSettings(interval=2.0), "renewal": WorkerSettings()},
    )

    assert differences(one, one) == []
    assert differences(one, other) == ["limits.http", "nodes", "workers.expiry.interval", "workers.renewal"]
