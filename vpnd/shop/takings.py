"""What came in today: charges by provider, for an operator's screen.

One bounded read, the newest charges backwards: a day with more of them than that is told as "at least". The books are elsewhere
(`vpnd.shop.books`); this is a look at the till.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vpnd.shop.source import Source, fetch

__all__ = ["MOST", "Takings", "takings_today"]

#: Charges looked at, the newest first.
MOST: Final = 10_000

# Settlements are numbered as they come, so the newest are the last by id; there is no index on their time.
_TODAY: Final = """
with newest as (
    select provider, currency, outcome, amount, created_at from settlements order by id desc limit $1
), day as (
    select date_trunc('day', vpnd_now() at time zone 'UTC') at time zone 'UTC' as began
)
select provider, currency, count(*)::int as charges, sum(amount)::bigint as amount,
       count(*) filter (where outcome = 'held')::int as held,
       (select count(*) from newest, day where created_at >= day.began) >= $1 as more
from newest, day where created_at >= day.began
group by provider, currency order by provider, currency limit 100
"""


@frozen
class Takings:
    """What one provider took in one currency since midnight UTC.

    Attributes:
        amount: minor units.
        held: charges that wait for a person.
        more: there were more charges than were looked at.
    """

    provider: str
    currency: str
    charges: int
    amount: int
    held: int
    more: bool


async def takings_today(source: Source) -> list[Takings]:
    """Return today's charges by provider and currency; purchases from a balance stand under "balance"."""
    rows = await fetch(source, "takings.today", _TODAY, MOST)
    return [Takings(**dict(row.items())) for row in rows]
