"""The child that keeps the switches fresh."""

from __future__ import annotations

import pytest
import trio
from shop_world import ShopWorld

from vpnd.database.errors import DatabaseUnavailable
from vpnd.runtime.journal import capture
from vpnd.runtime.worker import WorkerRunner
from vpnd.shop.switches import Switchboard, set_switch
from vpnd.workers import periodic, switchboard
from vpnd.workers.switchboard import watch_switches


async def test_what_another_process_pauses_is_paused_here(shop: ShopWorld) -> None:
    """Within one look; a paused runner begins no iteration, and does what waited when it is resumed."""
    runner = WorkerRunner(periodic.purchase_expiry(shop.db))
    board = Switchboard(shop.db, {"purchase_expiry": runner})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: watch_switches(shop.db, board, every=0.05))
        with trio.fail_after(10):
            await board.loaded.wait()
            await set_switch(shop.db, "purchase_expiry", paused=True, by="another")
            while not runner.statistics().paused:
                await trio.sleep(0.01)
            await set_switch(shop.db, "purchase_expiry", paused=False, by="another")
            while runner.statistics().paused:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_database_that_is_away_leaves_the_switches_as_they_are(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last snapshot is in force, and the outage is told once."""
    monkeypatch.setattr(switchboard, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(switchboard, "RETRY_CAP", 0.001)
    board = Switchboard(shop.db, {})
    await set_switch(shop.db, "shop", paused=True, by="x")
    await board.refresh()
    tries = 0

    async def away() -> None:
        nonlocal tries
        tries += 1
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(board, "refresh", away)
    with capture() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_switches, shop.db, board)
            with trio.fail_after(10):
                while tries < 5:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    assert board.snapshot.paused("shop")
    assert [line.event for line in lines] == ["switches.not_read"]
