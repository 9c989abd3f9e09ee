"""What screens are made of, each in one read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.shop.source import from_json
from vpnd.shop.subscriptions import Subscription, subscription_from_row

_LIMIT: Final = 20  # subscriptions of one person on one screen

_PORTFOLIO: Final = """
select vpnd_now() as now, p.titles, s.*
from (values (1)) as always (one)
left join lateral (
    select * from subscriptions where customer_id = $1
    order by (status = 'active') desc, expires_at desc, id limit $2
) s on true
left join plans p on p.id = s.plan_id
order by (s.status = 'active') desc, s.expires_at desc, s.id
"""
_HELD_BY_ID: Final = """
select p.titles, s.* from subscriptions s join plans p on p.id = s.plan_id where s.id = $1
"""
# Counted as far as a person cares to read; it is a number on a screen.
_GUESTS: Final = """
select count(*) from (select from customers where referrer_id = $1 limit 10000) guests
"""


@frozen
class Held:
    """A subscription with the titles of its plan by language."""

    subscription: Subscription
    titles: Mapping[str, str]

    def title(self, language: str) -> str:
        """The plan's title in the language, else in English, else in any."""
        return _title(self.titles, language, self.subscription.plan_id)


@frozen
class Portfolio:
    """A customer's subscriptions, those that are on and last longest first, and the business time they were read at."""

    now: datetime
    held: tuple[Held, ...]

    @property
    def foremost(self) -> Subscription | None:
        """The one that is on and lasts longest, else the one that ended last."""
        return self.held[0].subscription if self.held else None

    def find(self, subscription_id: int) -> Held | None:
        """One of them; None for somebody else's, which does not exist for this customer."""
        return next((held for held in self.held if held.subscription.id == subscription_id), None)


def _title(titles: Mapping[str, str], language: str, plan_id: str) -> str:
    return titles.get(language) or titles.get("en") or next(iter(titles.values()), plan_id)


def _held(row: Row) -> Held:
    return Held(subscription_from_row(row), from_json(row["titles"]))


async def portfolio(db: Database, customer_id: int) -> Portfolio:
    """All subscriptions of a customer that fit on a screen, and the time; one read."""
    rows = await db.fetch("bot.portfolio", _PORTFOLIO, customer_id, _LIMIT)
    return Portfolio(rows[0]["now"], tuple(_held(row) for row in rows if row["id"] is not None))


async def held_by_id(db: Database, subscription_id: int) -> Held | None:
    """A subscription for a notice of the shop's own; never for a person's input."""
    row = await db.fetchrow("bot.subscription", _HELD_BY_ID, subscription_id)
    return None if row is None else _held(row)


async def plan_title(db: Database, plan_id: str, language: str) -> str:
    """A plan's title, also of one that is no longer on sale."""
    titles = await db.fetchval("bot.plan_title", "select titles from plans where id = $1", plan_id)
    return _title(from_json(titles) if titles else {}, language, plan_id)


async def business_now(db: Database) -> datetime:
    """The business time of the database."""
    now: datetime = await db.fetchval("bot.now", "select vpnd_now()")
    return now


async def guests_of(db: Database, customer_id: int) -> int:
    """How many came by this customer's link, counted up to 10 000."""
    return int(await db.fetchval("bot.guests", _GUESTS, customer_id))
