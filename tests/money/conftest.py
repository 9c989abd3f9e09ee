"""The fixture `shop`: a real database with the example plans on sale."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld, open_world

from vpnd.database.database import Database
from vpnd.shop.referrals import apply_levels


@pytest.fixture
async def shop(db: Database) -> ShopWorld:
    """A shop with the example plans and two levels of rewards."""
    await apply_levels(db, [(0, 10), (2, 20)])
    return await open_world(db)
