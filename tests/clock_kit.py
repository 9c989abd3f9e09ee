"""Moving business time to where a test needs it."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from shop_world import ShopWorld

#: No quiet hours.
OFF = (time(0), time(0))


async def now(shop: ShopWorld) -> datetime:
    """Business time."""
    moment: datetime = await shop.db.fetchval("test", "select vpnd_now()")
    return moment


async def go_to(shop: ShopWorld, moment: datetime) -> None:
    """Move business time to (just past) a moment."""
    await shop.advance(moment - await now(shop) + timedelta(seconds=1))


async def go_to_hour(shop: ShopWorld, hour: int, minute: int = 0) -> datetime:
    """Move business time on to the next such time of the day, UTC; returns it."""
    here = await now(shop)
    there = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if there <= here:
        there += timedelta(days=1)
    await go_to(shop, there)
    return there
