"""Starts under bad stars: no database, a sandbox's database; and the plain start of an ordinary shop."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from world_kit import a_world, books_of, choose, events, eventually, first_screen, said

from vpnd.sandbox.customer import Customer, text_of
from vpnd.sandbox.programs import Program
from vpnd.sandbox.world import World

pytestmark = pytest.mark.world


async def not_ready(world: World) -> dict[str, Any]:
    """Wait for the daemon's listener, and return what /readyz says is missing."""

    async def look() -> dict[str, Any] | None:
        try:
            answer = await world.http.get(f"{world.daemon_http}/readyz")
        except OSError:
            return None
        except Exception as error:
            if "connect" in repr(error).lower():
                return None
            raise
        assert answer.status_code == 503
        assert (await world.http.get(f"{world.daemon_http}/healthz")).status_code == 200
        return dict(answer.json()["missing"])

    found: dict[str, Any] = await eventually("the listener answers", look)
    return found


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_start_without_a_database(mode: str) -> None:
    """It says what is missing, tells people, keeps the money's updates out of harm, and goes on when the database is there."""
    async with a_world(mode=mode, node=False) as (world, lines), books_of(world) as db:
        await world.telegram.post("/sim/limits", webhook_retry_first=0.2)
        await world.start_daemon()
        payer, asker = Customer(world, 1001), Customer(world, 1002)
        invoice = await choose(payer, "stars")
        await world.daemon.terminate()
        await world.postgres.stop()
        lines.clear()

        await world.start_daemon(wait=False)
        assert "database" in await not_ready(world)
        assert "cannot be used yet" in (await said(lines, "database.not_ready"))["message"]
        await asker.say("/start")
        # The buyer had been let through before the database went: his payment is a fact.
        assert (await payer.pay_stars(invoice, pre_checkout=False))["ok"]
        await asker.wait_for("word of the repair", lambda m: "being repaired" in text_of(m))
        assert len(events(lines, "database.not_ready")) == 1

        since = payer.event
        await world.postgres.start()
        await world.daemon_ready()
        await payer.wait_for("the receipt", lambda m: "Payment received" in text_of(m), since=since)
        assert await db.fetchval("test.grants", "select count(*) from grants") == 1
        await first_screen(asker)


async def test_a_shop_refuses_a_sandbox_database() -> None:
    """Without --sandbox, a database whose clock can be moved is not touched: it says so, and waits for a better one."""
    async with a_world(node=False) as (world, _), books_of(world) as db, trio.open_nursery() as nursery:
        shop = Program(nursery, "a shop", ["vpnd", "run", "--config", str(world.config_path)])
        lines: list[str] = []
        shop.listeners.append(lines.append)
        await shop.start()

        missing = {}
        with trio.fail_after(30):
            while "sandbox" not in missing.get("database", ""):
                missing = await not_ready(world)
        assert "sandbox" in (await said(lines, "database.not_ready"))["message"]
        assert shop.running
        assert await db.fetchval("test.plans", "select count(*) from plans") == 0
        assert await shop.terminate() == 0


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_plain_start(mode: str) -> None:
    """`vpnd run` with an ordinary configuration and an empty database: it makes its schema and answers a customer."""
    async with a_world(mode=mode, node=False, sandbox=False) as (world, lines):
        await world.start_daemon()
        await first_screen(Customer(world, 1001))

        assert events(lines, "database.ready")
        assert await world.daemon.terminate() == 0
