"""The numberer: at once when woken, by the clock for others' commits, and through outages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from node_world import until
from shop_world import ShopWorld

from vpnd.database.errors import CommitUnknown, DatabaseError, DatabaseUnavailable
from vpnd.runtime.journal import capture
from vpnd.shop import access_log
from vpnd.shop.source import Source
from vpnd.workers import numberer as module
from vpnd.workers.numberer import Numberer


class Turn:
    """A lease that is ours or not, as a test likes."""

    def __init__(self, *, ours: bool) -> None:
        self.ours = ours
        self.asked = 0

    async def hold(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.ours


@asynccontextmanager
async def numbering(shop: ShopWorld, turn: Turn) -> AsyncIterator[tuple[Numberer, list[str]]]:
    """A numberer at work, and the list that gets an entry each time its followers are woken."""
    woken: list[str] = []
    numberer = Numberer(shop.db, turn, followers=[lambda: woken.append("a")])
    async with trio.open_nursery() as nursery:
        await nursery.start(numberer.run)
        yield numberer, woken
        nursery.cancel_scope.cancel()


async def unnumbered(shop: ShopWorld) -> int:
    """Rows that wait for a number."""
    return int(await shop.db.fetchval("test", "select count(*) from access_log where seq is null"))


async def test_a_wake_up_numbers_at_once_and_wakes_the_followers(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process committed waits for no clock and no lease."""
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    async with numbering(shop, Turn(ours=False)) as (numberer, woken):
        await until(lambda: _asleep(numberer))
        await shop.grant(await shop.customer())
        numberer.wake()
        await until(lambda: _true(bool(woken)))

        assert await unnumbered(shop) == 0


async def test_others_commits_are_found_by_the_clock_by_whoever_holds_the_lease(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lease nothing is numbered by the clock; with it, everything is."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    turn = Turn(ours=False)
    async with numbering(shop, turn) as (_numberer, woken):
        await until(lambda: _true(turn.asked > 0))
        await shop.grant(await shop.customer())
        asked = turn.asked
        await until(lambda: _true(turn.asked > asked + 2))
        assert (await unnumbered(shop), woken) == (1, [])
        turn.ours = True
        await until(lambda: _true(bool(woken)))

        assert await unnumbered(shop) == 0


async def test_a_long_queue_is_numbered_in_pieces_and_told_piece_by_piece(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followers begin with the first piece while the rest is numbered."""
    monkeypatch.setattr(access_log, "NUMBER_LIMIT", 2)
    real = access_log.number
    monkeypatch.setattr(access_log, "number", lambda source: real(source, 2))
    for _ in range(5):
        await shop.grant(await shop.customer())
    woken: list[str] = []

    total = await Numberer(shop.db, Turn(ours=True), followers=[lambda: woken.append("a")]).number_all()

    assert (total, len(woken), await unnumbered(shop)) == (5, 3, 0)


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), CommitUnknown("who knows")])
async def test_an_outage_is_told_once_and_nothing_is_left_behind(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch, failure: DatabaseError
) -> None:
    """When the database is back, rows are numbered and followers woken, also for numbers whose commit went unseen."""
    monkeypatch.setattr(module, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(module, "RETRY_CAP", 0.001)
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    real = access_log.number
    away = 3

    async def failing(source: Source) -> int:
        nonlocal away
        if away:
            away -= 1
            if isinstance(failure, CommitUnknown):
                await real(source)  # it was carried out, and its answer got lost
            raise failure
        return await real(source)

    monkeypatch.setattr(access_log, "number", failing)
    await shop.grant(await shop.customer())
    with capture() as lines:
        async with numbering(shop, Turn(ours=True)) as (_numberer, woken):
            await until(lambda: _true(bool(woken)))

    assert await unnumbered(shop) == 0
    told = [line.event for line in lines if line.event.startswith("numberer.")]
    assert told == ["numberer.failed", "numberer.back"]


async def _true(value: bool) -> bool:
    return value


async def _asleep(numberer: Numberer) -> bool:
    return bool(numberer.wake._event.statistics().tasks_waiting)
