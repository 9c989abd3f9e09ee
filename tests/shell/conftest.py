"""The fixture `shop`: a real database with the example plans on sale."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld, open_world

from vpnd.database.database import Database


@pytest.fixture
async def shop(db: Database) -> ShopWorld:
    """A shop with the example plans."""
    return await open_world(db)
