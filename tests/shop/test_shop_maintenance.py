"""The announcement of work on a node: once for a node and a start, to whoever has access."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
import trio
from shop_world import ShopWorld

from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.broadcasts import Segment
from vpnd.shop.maintenance import MEANT, Maintenance, announce, announced, moment_in_zone

START = datetime(2026, 12, 1, 2, tzinfo=UTC)
WORK = Maintenance("berlin", START, START + timedelta(hours=2), others=True)


async def test_it_is_announced_once(shop: ShopWorld) -> None:
    """The same node and start is the same work, however long it takes; another start or node is another."""
    first, again, longer = [
        await announce(shop.db, what, by="shell:x")
        for what in (WORK, WORK, attrs.evolve(WORK, ends_at=START + timedelta(hours=5)))
    ]
    other, later = [
        await announce(shop.db, attrs.evolve(WORK, **changes), by="shell:x")
        for changes in ({"node": "oslo"}, {"starts_at": START + timedelta(hours=1)})
    ]

    assert first[1]
    assert again == longer == (first[0], False)
    assert other[1]
    assert later[1]
    assert len({first[0], other[0], later[0]}) == 3
    assert await announced(shop.db, WORK) == first[0]
    assert await announced(shop.db, attrs.evolve(WORK, node="rome")) is None


async def test_of_two_at_once_one_begins_it(shop: ShopWorld) -> None:
    """Two operators who press Enter together make one broadcast."""
    results: list[tuple[int, bool]] = []

    async def one() -> None:
        results.append(await announce(shop.db, WORK, by="shell:x"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)

    assert len({number for number, _ in results}) == 1
    assert [new for _, new in results].count(True) == 1
    assert await shop.db.fetchval("test", "select count(*) from broadcasts") == 1


async def test_whoever_has_access_is_meant(shop: ShopWorld) -> None:
    """The count before and the recipients afterwards are the same people: with access, reachable, each once."""
    nobody, one, several, gone = [await shop.customer(number) for number in (1, 2, 3, 4)]
    for customer in (one, several, several, gone):
        await shop.grant(customer)
    await shop.execute("update customers set reachable = false where id = $1", gone.id)

    assert await broadcasts.reach(shop.db, MEANT) == 2
    assert await broadcasts.reach(shop.db, Segment(active=False)) == 1
    made, _ = await announce(shop.db, WORK, by="shell:x")
    while await broadcast_rows.fill(shop.db, made):
        pass
    rows = await shop.db.fetch("test", "select customer_id from broadcast_recipients order by 1")
    assert [row["customer_id"] for row in rows] == [one.id, several.id]
    assert nobody.id not in [row["customer_id"] for row in rows]


async def test_counting_goes_page_by_page(shop: ShopWorld) -> None:
    """However many there are, one statement looks at a page of customers."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code)"
        " select n, 'en', 'c' || n from generate_series(1, 50) n"
    )

    assert await broadcasts.reach(shop.db, Segment(), page=7) == 50
    assert await broadcasts.reach(shop.db, MEANT, page=7) == 0


@pytest.mark.parametrize(
    ("zone", "hour"), [("UTC", 2), ("Europe/Moscow", 23), ("America/New_York", 7), ("Asia/Kathmandu", 20)]
)
async def test_a_clock_in_a_zone(shop: ShopWorld, zone: str, hour: int) -> None:
    """The operator's clock is the shop's, summer time and broken hours included."""
    at, now = await moment_in_zone(shop.db, datetime.fromisoformat("2026-12-01 02:00"), zone)

    assert at.astimezone(UTC).hour == hour
    assert now.tzinfo is not None


@pytest.mark.parametrize("content", [{}, {"text": {}, "notice": {}}, {"copy": {}, "text": {}}])
async def test_a_broadcast_is_one_thing(shop: ShopWorld, content: dict[str, object]) -> None:
    """A copy, a text or a notice, and not two of them."""
    with pytest.raises(ValueError, match="or is a notice"):
        await broadcasts.create(shop.db, content=content, segment=Segment(), created_by="x")
