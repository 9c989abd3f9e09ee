"""From nothing to a shop: `vpnd init` at a terminal beside a real world, and what it wrote is what the daemon runs on."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import trio
from terminal_kit import at_terminal
from world_kit import a_world, books_of, events, eventually, first_screen, vpnd

from vpnd.sandbox.customer import Customer
from vpnd.sandbox.programs import Program
from vpnd.sandbox.world import ADMIN, BOT_TOKEN, CRYPTO_TOKEN, World

pytestmark = pytest.mark.world

ROOT = Path(__file__).parents[2]

#: The whole of the shortest configuration, in the page that shows it.
TEN_LINES = re.compile(r"^<!-- example: daemon -->\n```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def daemon_on(world: World, config: Path) -> AsyncIterator[list[str]]:
    """The world's daemon, on this configuration; what a test machine decides (ports, folder, journal) comes beside it."""
    metrics = urlsplit(world.metrics_url).netloc
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("VPND_", "CREDENTIALS_"))},
        "VPND_HTTP__LISTEN": urlsplit(world.daemon_http).netloc,
        "VPND_HTTP__METRICS_LISTEN": metrics,
        "VPND_INSTANCE__STATE_DIR": str(world.folder / "state"),
        "VPND_TELEGRAM__API_BASE": world.telegram.base,
        "VPND_LOG__FORMAT": "json",
    }
    lines: list[str] = []
    async with trio.open_nursery() as nursery:
        world.daemon = Program(nursery, "vpnd run", ["vpnd", "run", "--config", str(config)], env=environ)
        world.daemon.listeners.append(lines.append)
        await world.start_daemon()
        yield lines
        assert await world.daemon.terminate() == 0
        nursery.cancel_scope.cancel()


async def test_a_shop_out_of_answers(tmp_path: Path) -> None:
    """A person answers, wrongly at first: each fault is explained and asked again, and the daemon runs on what was written."""
    async with a_world(sandbox=False) as (world, _):
        assert world.node is not None
        config, token = tmp_path / "shop" / "vpnd.toml", world.node.token.reveal()
        elsewhere = urlunsplit(urlsplit(world.database_url)._replace(path="/not_made_yet"))
        words = ["init", "--config", str(config), "--telegram-api-base", world.telegram.base]
        words += ["--cryptopay-api-base", f"{world.cryptopay.base}/api", "--pay", "stars, cryptopay"]

        async with at_terminal(*words) as terminal:
            ask = terminal.answer
            await ask("Token of the bot (not shown): ", BOT_TOKEN.replace("AAsandbox", "AAanother"))
            await terminal.until("no: Telegram refuses the token")
            await terminal.until("@BotFather")
            await ask("Token of the bot (not shown) [the same again]: ", BOT_TOKEN)
            await terminal.until("ok: @sandbox_vpn_bot")
            await ask("Your Telegram id", str(ADMIN))
            await ask("database (not shown) [the PostgreSQL of this machine, as vpnd]: ", elsewhere)
            await terminal.until("no: there is no database not_made_yet")
            await terminal.until("createdb --owner vpnd")
            await ask("[the same again]: ", world.database_url)
            await terminal.until("empty: the daemon makes its schema")
            await ask("Name of the shop [sandbox-vpn]: ", "")
            await ask("[RUB]: ", "gold")
            await terminal.until("no: shop.currency")
            await ask("[RUB]: ", "")
            await ask("[ru, en]: ", "en, ru")
            await ask("Time zone of the shop", "Europe/Berlin")
            await ask("Whom customers write to", "@my_shop_support")
            await ask("Token of the Crypto Pay app (not shown): ", CRYPTO_TOKEN)
            await terminal.until("ok: the app")
            await ask("Public address", "")
            await ask("first VPN node", world.node.name)
            await ask("[https://127.0.0.1:8443]: ", world.node.url)
            await ask("Token of the agent (not shown): ", token)
            await ask(f"(Enter: a public authority signed it) [{world.node.fingerprint}]: ", "")
            await terminal.until("ok: the agent")
            await terminal.until("What is left to do:")
            assert await terminal.end() == 0

        for secret in (BOT_TOKEN, CRYPTO_TOKEN, token, world.database_url, elsewhere):
            assert secret not in terminal.screen
        done = vpnd("check-config", "--config", str(config))
        assert done.returncode == 0, done.stderr

        async with daemon_on(world, config) as lines:
            await first_screen(Customer(world, 1001))
            async with books_of(world) as db:

                async def followed() -> bool:
                    return bool(
                        await db.fetchval(
                            "test.nodes", "select count(*) from nodes where acked_at is not null"
                        )
                    )

                await eventually("the node follows", followed)
            assert events(lines, "telegram.conflict") == []


async def test_ten_lines_are_a_shop(tmp_path: Path) -> None:
    """The shortest configuration that the pages show starts the daemon as it stands there, but for its two secrets."""
    shown = TEN_LINES.search((ROOT / "README.md").read_text("utf-8"))
    assert shown is not None
    text = shown[1]
    assert len(text.splitlines()) <= 10
    async with a_world(sandbox=False, node=False) as (world, _):
        text = re.sub(r'^token = ".*"', f'token = "{BOT_TOKEN}"', text, flags=re.MULTILINE)
        text = re.sub(r'^url = ".*"', f'url = "{world.database_url}"', text, flags=re.MULTILINE)
        config = tmp_path / "vpnd.toml"
        config.write_text(text)
        assert len(text.splitlines()) <= 10

        async with daemon_on(world, config):
            await first_screen(Customer(world, 1001))
