"""What came in today: by provider and currency, since midnight UTC, in one bounded read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from shop_world import open_world

from vpnd.database.database import Database
from vpnd.shop import takings
from vpnd.shop.takings import takings_today

pytestmark = pytest.mark.postgres


async def test_a_day_without_charges_is_empty(db: Database) -> None:
    """Nothing is made up."""
    await open_world(db)
    assert await takings_today(db) == []


async def test_charges_are_summed_by_provider_and_currency(db: Database) -> None:
    """Of today alone: what was settled on another day is that day's."""
    world = await open_world(db)
    customer = await world.customer()
    yesterday = await world.buy(customer)
    await world.settle(world.charge(yesterday))
    await world.advance(timedelta(days=1))
    first, second = await world.buy(customer), await world.buy(customer)
    stars = await world.buy(customer, "stars")
    for purchase in (first, second, stars):
        await world.settle(world.charge(purchase))

    today = {one.provider: one for one in await takings_today(db)}
    assert set(today) == {"cryptopay", "stars"}
    assert (today["cryptopay"].charges, today["cryptopay"].amount) == (2, first.amount + second.amount)
    assert (today["stars"].currency, today["stars"].amount) == ("XTR", stars.amount)
    assert not today["stars"].more


async def test_more_charges_than_are_looked_at_are_told(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy day's sum is a least, and says so."""
    monkeypatch.setattr(takings, "MOST", 2)
    world = await open_world(db)
    customer = await world.customer()
    for _ in range(3):
        await world.settle(world.charge(await world.buy(customer)))

    (one,) = await takings_today(db)
    assert (one.charges, one.more) == (2, True)
