"""SIGTERM while something hangs: the daemon is down at once, and what it did not finish is played again."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
import trio
from world_kit import a_world, books_of, choose, eventually, first_screen, invoice_of, is_a

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer, text_of

pytestmark = pytest.mark.world

#: Seconds the daemon may take to end: two by its own promise; the rest is for CI's machines.
DOWN_WITHIN = 4.0


async def hanging(world: Any) -> None:
    """Wait until a call hangs at the messenger."""

    async def look() -> bool:
        return bool((await world.telegram.get("/sim/stats"))["faults"]["taken"].get("hang"))

    await eventually("a call hangs", look)


async def test_sigterm_during_a_hung_send() -> None:
    """A handler whose send hangs keeps the daemon up for a moment only; its update stays unfinished and is played again."""
    async with a_world(node=False) as (world, lines), books_of(world) as db:
        await world.start_daemon()
        customer = Customer(world, 1001)
        await first_screen(customer)
        for method in ("sendMessage", "editMessageText", "editMessageCaption"):
            await world.telegram.post("/sim/fault", method=method, kind="hang", count=100)
        since = await customer.press("see the plans", is_a(callbacks.Plans))
        await hanging(world)

        began = perf_counter()
        with trio.fail_after(20):
            status = await world.daemon.terminate()
        took = perf_counter() - began
        print(f"SIGTERM during a hung send: down in {took:.2f} s")

        assert status == 0, lines[-5:]
        assert took < DOWN_WITHIN
        unfinished = await db.fetch(
            "test.unfinished", "select kind from inbox where done_at is null limit 10"
        )
        assert [row["kind"] for row in unfinished] == ["callback_query"]

        await world.telegram.post("/sim/reset")
        await world.start_daemon()
        await customer.wait_for_button("choose a plan", is_a(callbacks.Periods), since=since)

        async def none_left() -> bool:
            return not await db.fetchval(
                "test.left", "select exists (select from inbox where done_at is null)"
            )

        await eventually("every update is finished", none_left)


async def test_sigterm_with_a_payment_in_flight() -> None:
    """A payment that was being settled when the daemon was told to stop is settled wholly, once, and its receipt comes."""
    async with a_world(node=False) as (world, _), books_of(world) as db:
        await world.start_daemon()
        customer = Customer(world, 1001)
        invoice = await invoice_of(world, await choose(customer, "cryptopay"))
        # Receipts hang, and so does the settlement, on a lock that somebody else holds.
        for method in ("sendMessage", "sendPhoto"):
            await world.telegram.post("/sim/fault", method=method, kind="hang", count=100)
        async with db.transaction("test.lock", deadline=20) as tx:
            await tx.execute("lock table settlements in access exclusive mode")
            await world.cryptopay.post("/sim/pay", invoice_id=invoice["invoice_id"], deliver=True)

            async def waits() -> bool:
                return bool(
                    await tx.fetchval(
                        "select exists (select from pg_locks where not granted and relation = 'settlements'::regclass)"
                    )
                )

            await eventually("the settlement waits for the lock", waits)
            began = perf_counter()
            with trio.fail_after(20):
                status = await world.daemon.terminate()
            print(f"SIGTERM with a payment in flight: down in {perf_counter() - began:.2f} s")
        assert status == 0
        assert perf_counter() - began < DOWN_WITHIN
        assert await _money(db) in ((0, 0, 0), (1, 1, 1)), "a payment is half done"

        await world.telegram.post("/sim/reset")
        await world.start_daemon()
        await customer.wait_for("the receipt", lambda m: "Payment received" in text_of(m))
        assert await _money(db) == (1, 1, 1)


async def _money(db: Any) -> tuple[int, int, int]:
    row = await db.fetchrow(
        "test.money",
        """select (select count(*) from settlements) as settlements, (select count(*) from grants) as grants,
                  (select count(*) from purchases where status = 'paid') as paid""",
    )
    return row["settlements"], row["grants"], row["paid"]
