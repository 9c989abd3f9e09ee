"""How the shop stands at one moment: who has access, who pays for it, and what that comes to in a month.

The definitions, each of a moment T; "30 days" are 720 hours.

- **with access**: customers with a grant that runs at T: bought, given, a code's or a trial's.
- **paying**: customers with a bought one. A purchase from the balance or by bonus is one; a trial or a gift is none.
- **MRR**: each bought grant that runs at T, normalised to 30 days at what was paid: the price, in the money in which it was
  asked, less what of it was given back by now, times 30 days, divided by the length of the grant as it is now. Rounded down
  to a minor unit a grant, and summed by currency.
- **payers of 30 days**: customers who were paying at some moment of the 30 days before T. **ARPU** is the net revenue of these
  30 days divided by them, currency by currency: one who pays in Stars counts in the rubles' divisor too.
- **churn**: of those who were paying 30 days before T, the share that is not at T.
- **retention**: of those who paid for the first time from 60 until 30 days before T, the share that is paying at T.

Customers are gone through by their ids, so many of them by a statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import asdict, field, frozen

from vpnd.shop.figures import Sum
from vpnd.shop.source import Source, fetchrow, turn_of

__all__ = ["MONTH", "Standing", "arpu", "standing_at", "standing_from_json"]

MONTH: Final = timedelta(days=30)
#: Ids of customers that one statement goes through.
PAGE: Final = 20_000
_DEADLINE: Final = 20.0


@frozen
class Standing:
    """How the shop stands at a moment; the module says what each means. `mrr` holds minor units by currency."""

    access: int = 0
    paying: int = 0
    payers: int = 0
    before: int = 0
    stayed: int = 0
    newcomers: int = 0
    newcomers_stayed: int = 0
    mrr: Mapping[str, int] = field(factory=dict)

    @property
    def churn(self) -> float | None:
        """The share that left within 30 days; None where nobody was paying then."""
        return (self.before - self.stayed) / self.before if self.before else None

    @property
    def retention(self) -> float | None:
        """The share of newcomers that stayed; None where there were none."""
        return self.newcomers_stayed / self.newcomers if self.newcomers else None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a row."""
        return asdict(self)


def standing_from_json(values: Mapping[str, Any]) -> Standing:
    """What `Standing.as_json` wrote."""
    return Standing(**values)


def arpu(standing: Standing, month: Mapping[str, Sum]) -> dict[str, int]:
    """Net revenue a payer by currency, in minor units rounded down, from the totals of the 30 days before the moment."""
    if not standing.payers:
        return {}
    return {currency: one.net // standing.payers for currency, one in month.items()}


# $1 $2 ids of customers, $3 the moment, $4 and $5 the moments 30 and 60 days before it.
_PAGE: Final = """
with held as (
    select s.customer_id, g.kind = 'purchase' and g.purchase_id is not null as paid, g.from_at, g.until_at, g.purchase_id
    from subscriptions s join grants g on g.subscription_id = s.id
    where s.customer_id > $1 and s.customer_id <= $2 and g.until_at > $4 and g.from_at <= $3 and g.until_at > g.from_at
), person as (
    select customer_id,
           bool_or(from_at <= $3 and until_at > $3) as access,
           bool_or(paid and from_at <= $3 and until_at > $3) as paying,
           bool_or(paid and from_at < $3) as payer,
           bool_or(paid and from_at <= $4) as before
    from held group by customer_id
), newcomer as (
    select c.id, coalesce(p.paying, false) as stayed
    from customers c left join person p on p.customer_id = c.id
    where c.id > $1 and c.id <= $2 and c.first_paid_at >= $5 and c.first_paid_at < $4
), monthly as (
    select b.currency, sum(div(b.amount::numeric * (b.shop_amount - b.refunded) * 2592000,
                               b.shop_amount * extract(epoch from h.until_at - h.from_at))) as amount
    from held h join purchases b on b.id = h.purchase_id
    where h.paid and h.from_at <= $3 and h.until_at > $3
    group by b.currency
)
select count(*) filter (where access) as access, count(*) filter (where paying) as paying,
       count(*) filter (where payer) as payers, count(*) filter (where before) as before,
       count(*) filter (where before and paying) as stayed,
       (select count(*) from newcomer) as newcomers, (select count(*) from newcomer where stayed) as newcomers_stayed,
       (select array_agg(currency order by currency) from monthly) as currencies,
       (select array_agg(amount::bigint order by currency) from monthly) as amounts
from person limit 1
"""


async def standing_at(source: Source, moment: datetime) -> Standing:
    """Count all customers as they stood at `moment`, which is now or was. A second or two for a million."""
    newest = await fetchrow(
        source, "figures.newest", "select coalesce(max(id), 0) as id from customers limit 1"
    )
    last = 0 if newest is None else int(newest["id"])
    counts: dict[str, int] = {}
    mrr: dict[str, int] = {}
    for after in range(0, last, PAGE):
        async with turn_of(source):
            row = await fetchrow(
                source, "figures.standing", _PAGE, after, min(after + PAGE, last), moment, moment - MONTH,
                moment - 2 * MONTH, deadline=_DEADLINE,
            )  # fmt: skip
        if row is None:
            continue
        for name in _COUNTED:
            counts[name] = counts.get(name, 0) + row[name]
        for currency, amount in zip(row["currencies"] or (), row["amounts"] or (), strict=True):
            mrr[currency] = mrr.get(currency, 0) + amount
    return Standing(**counts, mrr=mrr)


_COUNTED: Final = ("access", "paying", "payers", "before", "stayed", "newcomers", "newcomers_stayed")
