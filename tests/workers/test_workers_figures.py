"""The worker of figures: days are kept, summaries told once, at their hour, and only the newest after an absence."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio
from shop_world import ShopWorld

from vpnd.config import ReportsSettings
from vpnd.runtime.worker import Job
from vpnd.shop.operators import ROLES, set_operator
from vpnd.workers import figures

pytestmark = pytest.mark.postgres

ZONE = "America/New_York"
OWNER = 77


def job(shop: ShopWorld, woken: list[int] | None = None, **options: object) -> Job:
    """The worker, as the roster would make it."""
    return figures.figures(
        shop.db,
        time_zone=ZONE,
        reports=ReportsSettings(**options),  # type: ignore[arg-type]  # of tests
        owners=(OWNER,),
        language="en",
        wake=lambda: None if woken is None else woken.append(1),
    )


async def until(shop: ShopWorld, weekday: int, hour: int) -> datetime:
    """Move business time to the next such weekday and hour by the shop's clock; returns that time."""
    now: datetime = await shop.db.fetchval("test", "select vpnd_now()")
    local = now.astimezone(ZoneInfo(ZONE))
    day = local.date() + timedelta(days=(weekday - local.weekday() - 1) % 7 + 1)
    then = datetime(day.year, day.month, day.day, hour, 5, tzinfo=ZoneInfo(ZONE))
    await shop.advance(then - now)
    return then


async def told(shop: ShopWorld) -> list[tuple[str, str]]:
    """Kind and first day of each summary for the owner."""
    rows = await shop.outbox("summary:")
    return [
        (row["payload"]["args"]["kind"], row["payload"]["args"]["first"])
        for row in rows
        if row["payload"]["chat_id"] == OWNER
    ]


async def test_a_summary_comes_once_at_its_hour(shop: ShopWorld) -> None:
    """Not before, by the shop's clock; and not again, however often the worker runs, also twice at once."""
    await shop.customer()
    woken: list[int] = []
    work = job(shop, woken, hour=9, weekly=False).work
    early = await until(shop, 2, 8)
    await work()
    assert await told(shop) == []
    await shop.advance(timedelta(hours=1))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
    await work()

    assert await told(shop) == [("day", f"{early.date() - timedelta(days=1)}")]
    assert woken == [1]


async def test_after_an_absence_only_the_newest_is_told(shop: ShopWorld) -> None:
    """Five days missed are one summary of yesterday; the week comes once, be it later than on Monday."""
    await shop.customer()
    work = job(shop, hour=9).work
    monday = await until(shop, 0, 10)
    await work()
    first = await told(shop)
    wednesday = await until(shop, 2, 10) + timedelta(days=7)
    await shop.advance(timedelta(days=7))
    await work()
    await work()
    second = (await told(shop))[len(first) :]

    assert first == [
        ("day", f"{monday.date() - timedelta(days=1)}"),
        ("week", f"{monday.date() - timedelta(days=7)}"),
    ]
    assert second == [
        ("day", f"{wednesday.date() - timedelta(days=1)}"),
        ("week", f"{wednesday.date() - timedelta(days=9)}"),
    ]


async def test_whoever_may_see_figures_is_told(shop: ShopWorld) -> None:
    """Each role that may, and the owners of the configuration; nobody twice."""
    await shop.customer()
    async with shop.db.transaction("test") as tx:
        for number, role in enumerate(ROLES):
            await set_operator(tx, 100 + number, role, name="", by="test")
        await set_operator(tx, OWNER, "support", name="", by="test")
    await until(shop, 2, 12)

    await job(shop, weekly=False).work()

    people = [row["payload"]["chat_id"] for row in await shop.outbox("summary:")]
    assert sorted(people) == [OWNER, 100, 101, 103]


async def test_summaries_can_be_switched_off(shop: ShopWorld) -> None:
    """Each by itself; days are kept all the same."""
    await shop.customer()
    await until(shop, 0, 12)
    await job(shop, daily=False, weekly=False).work()

    assert await told(shop) == []
    assert await shop.db.fetchval("test", "select count(*) from figure_days where standing is not null") > 0
    await job(shop, daily=False).work()
    assert [kind for kind, _ in await told(shop)] == ["week"]


async def test_a_new_shop_is_told_of_nothing(shop: ShopWorld) -> None:
    """Before its first day is over there is nothing to sum up."""
    assert await job(shop, hour=0).work() == 0
    await shop.customer()
    assert await job(shop, hour=0).work() == 0


async def test_days_are_kept_as_they_end(shop: ShopWorld) -> None:
    """The newest first, so many in one turn; what is kept is not counted again."""
    await shop.customer()
    await shop.advance(timedelta(days=15, hours=2))
    work = job(shop, daily=False, weekly=False).work

    counts = [await work() for _ in range(3)]

    assert counts[0] == 10
    assert sum(counts) in (15, 16)
    assert counts[2] == 0
