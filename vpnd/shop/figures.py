"""What a stretch of time brought: money, and people. From the ledger and the tables of record, in SQL, currency by currency.

The definitions; `docs/operations.md` ("Figures") tells them to operators.

- **Revenue** is money that comes from outside: a transfer from a provider (or from what was held for nobody) to the shop's
  own books. So a top-up is revenue when it is paid, and a purchase from the balance is none: its money came before. A second
  charge is revenue if it stays (on the balance), and none if it is held and goes back. `gross` is what came, `back` what was
  asked to go out again, counted on the day it was decided and not on the day of the sale; what a provider would not pay out
  and is the customer's again is taken off `back` that day. It is counted in the money that was paid.
- **Sales** are access that was sold, for whatever it was paid with, the balance and bonuses too, in the shop's currency: what a
  plan brings. `back` is what of it was undone.
- **Rewards** are what hosts were given for their guests, and what of it was taken back.
- A **new customer** wrote to the bot for the first time. A **new paying** one bought access for the first time with money of his
  own (a bonus is none). A **guest** is a new customer who came by an invitation; a **paying guest** one who became a paying one.
- A **trial** that is over in a stretch of time has **converted** if who had it has paid since, be it after its end.

A day begins and ends by the clock of the shop's time zone, also on the days on which that clock is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal

from attrs import evolve, field, frozen

from vpnd.shop.source import Source, fetch, fetchrow, turn_of

__all__ = [
    "Counts",
    "Day",
    "Sum",
    "Trials",
    "Window",
    "counts_of",
    "days_of",
    "month_of",
    "sums_of",
    "total",
    "totals_by",
    "trials_of",
]

What = Literal["revenue", "sales", "rewards"]

#: So much of the ledger is added up by one statement.
STEP: Final = timedelta(hours=6)
#: Days of one question, at most: a little over three years.
MOST_DAYS: Final = 1200
_DEADLINE: Final = 20.0  # seconds for one step
_GROUPS: Final = 5000  # of method, plan and currency; more than any shop has


@frozen
class Window:
    """From `began` until before `ended`, in UTC."""

    began: datetime
    ended: datetime


@frozen
class Day:
    """A day of the shop's clock and where it begins and ends in UTC: 23 to 25 hours."""

    day: date
    began: datetime
    ended: datetime


@frozen
class Sum:
    """Money of one kind, currency, method and plan, in minor units; `net` is what is left of it.

    Attributes:
        method: the provider, "balance" for sales from it; nothing for rewards.
        plan: nothing for what buys no plan.
        count: charges, sales, rewards.
    """

    what: What
    currency: str
    method: str
    plan: str
    gross: int
    back: int
    count: int

    @property
    def net(self) -> int:
        """What came in less what went back."""
        return self.gross - self.back


@frozen
class Counts:
    """People of a stretch of time."""

    new_customers: int = 0
    new_paying: int = 0
    guests: int = 0
    paying_guests: int = 0
    trials_started: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.new_customers + other.new_customers,
            self.new_paying + other.new_paying,
            self.guests + other.guests,
            self.paying_guests + other.paying_guests,
            self.trials_started + other.trials_started,
        )


@frozen
class Trials:
    """Trials that ended, and how many of who had them have paid since."""

    ended: int = 0
    converted: int = field(default=0)

    @property
    def share(self) -> float | None:
        """The conversion; None where no trial ended."""
        return self.converted / self.ended if self.ended else None


# ------------------------------------------------------------------------------------------ days


_DAYS: Final = """
select $2::date + n as day, (($2::date + n)::timestamp at time zone $1) as began,
       (($2::date + n + 1)::timestamp at time zone $1) as ended
from generate_series(0, least($3::date - $2::date, $4::integer - 1)) n order by n limit $4
"""
_TODAY: Final = "select (vpnd_now() at time zone $1)::date as day, vpnd_now() as now"


async def days_of(source: Source, zone: str, first: date, last: date) -> list[Day]:
    """The days from `first` to `last`, both included, by the clock of `zone`; at most `MOST_DAYS` of them."""
    rows = await fetch(source, "figures.days", _DAYS, zone, first, last, MOST_DAYS)
    return [Day(row["day"], row["began"], row["ended"]) for row in rows]


async def today_in(source: Source, zone: str) -> tuple[date, datetime]:
    """The day that it is in `zone`, and the business time."""
    row = await fetchrow(source, "figures.today", _TODAY, zone)
    if row is None:
        raise RuntimeError("a select without a table returned no row")
    return row["day"], row["now"]


def month_of(day: date) -> date:
    """The first day of a day's month: by what days are added up to months."""
    return day.replace(day=1)


# ------------------------------------------------------------------------------------------ money


# What crosses from outside (a provider's clearing account, money held for nobody) to the shop's own books, or back.
# A transfer of kind refund_back gives money back to the customer that a provider would not pay out. Where that money had never
# been the shop's (a held charge), it comes in for the first time; else the refund is undone.
_SUMS: Final = """
with moved as (
    select l.amount, l.currency, l.kind, l.reference, l.settlement_id, l.purchase_id, d.kind as debit, c.kind as credit,
           d.kind in ('clearing', 'held') as from_outside, c.kind in ('clearing', 'held') as to_outside
    from ledger l join accounts d on d.id = l.debit_id join accounts c on c.id = l.credit_id
    where l.created_at >= $1 and l.created_at < $2
), crossed as (
    select m.*, m.from_outside and (m.kind = 'reversal' or m.kind = 'refund_back' and not exists (
               select from refunds r
               where r.settlement_id = m.settlement_id and m.reference = 'refund_back:' || r.key and r.source = 'held'
           )) as undone
    from moved m where m.from_outside <> m.to_outside
), told as (
    select 'revenue' as what, currency, settlement_id, purchase_id,
           case when from_outside and not undone then amount else 0 end as gross,
           case when to_outside then amount when undone then -amount else 0 end as back,
           (kind = 'payment')::integer as counted
    from crossed
    union all
    select 'sales', currency, settlement_id, purchase_id,
           case when credit = 'revenue' then amount else 0 end,
           case when debit in ('refunds', 'revenue') then amount when credit = 'refunds' then -amount else 0 end,
           (credit = 'revenue' and kind = 'sale' or kind = 'sale_bonus' and not exists (
               select from ledger o where o.reference = 'sale:' || m.purchase_id))::integer
    from moved m where credit in ('revenue', 'refunds') or debit in ('refunds', 'revenue')
    union all
    select 'rewards', currency, null, null, case when debit = 'referral' then amount else 0 end,
           case when credit = 'referral' then amount else 0 end, (debit = 'referral')::integer
    from moved where 'referral' in (debit, credit)
)
select t.what, t.currency, coalesce(s.provider, '') as method, coalesce(o.plan_id, '') as plan,
       sum(t.gross)::bigint as gross, sum(t.back)::bigint as back, sum(t.counted)::bigint as count
from told t
left join settlements s on s.id = t.settlement_id
left join purchases p on p.id = t.purchase_id
left join offers o on o.id = p.offer_id
group by 1, 2, 3, 4 order by 1, 2, 3, 4 limit $3
"""


async def sums_of(source: Source, began: datetime, ended: datetime) -> list[Sum]:
    """All money from `began` until before `ended`, by kind, currency, method and plan. In steps of some hours each."""
    found: list[Sum] = []
    start = began
    while start < ended:
        until = min(start + STEP, ended)
        async with turn_of(source):
            rows = await fetch(source, "figures.sums", _SUMS, start, until, _GROUPS, deadline=_DEADLINE)
        found += [Sum(**dict(row.items())) for row in rows]
        start = until
    return added(found)


def added(sums: Iterable[Sum]) -> list[Sum]:
    """The same money with what belongs together added up."""
    by_key: dict[tuple[str, str, str, str], Sum] = {}
    for one in sums:
        key = (one.what, one.currency, one.method, one.plan)
        before = by_key.get(key)
        by_key[key] = one if before is None else _plus(before, one)
    return [by_key[key] for key in sorted(by_key)]


def _plus(one: Sum, other: Sum) -> Sum:
    return evolve(
        one, gross=one.gross + other.gross, back=one.back + other.back, count=one.count + other.count
    )


def totals_by(sums: Iterable[Sum], what: What, key: Literal["method", "plan"]) -> list[Sum]:
    """Of one kind of money, by currency and method or by currency and plan."""
    chosen = (one for one in sums if one.what == what)
    return added(evolve(one, plan="") if key == "method" else evolve(one, method="") for one in chosen)


def total(sums: Iterable[Sum], what: What) -> dict[str, Sum]:
    """Of one kind of money, by currency."""
    return {one.currency: one for one in added(evolve(s, method="", plan="") for s in sums if s.what == what)}


# ------------------------------------------------------------------------------------------ people


_COUNTS: Final = """
select n.new_customers, n.guests, p.new_paying, p.paying_guests, t.trials_started
from (select count(*) as new_customers, count(referrer_id) as guests from customers
      where created_at >= $1 and created_at < $2) n,
     (select count(*) as new_paying, count(referrer_id) as paying_guests from customers
      where first_paid_at >= $1 and first_paid_at < $2) p,
     (select count(*) as trials_started from trials where created_at >= $1 and created_at < $2) t
limit 1
"""
_TRIALS: Final = """
select count(*) as ended, count(*) filter (where c.first_paid_at < $3) as converted
from trials t join customers c on c.id = t.customer_id
where t.ends_at >= $1 and t.ends_at < $2 limit 1
"""


async def counts_of(source: Source, began: datetime, ended: datetime) -> Counts:
    """Who came, and who paid for the first time."""
    row = await fetchrow(source, "figures.counts", _COUNTS, began, ended, deadline=_DEADLINE)
    return Counts() if row is None else Counts(**dict(row.items()))


async def trials_of(
    source: Source, began: datetime, ended: datetime, *, seen: datetime | None = None
) -> Trials:
    """Trials that ended then, and who of them has paid until `seen` (by default the end of the stretch)."""
    row = await fetchrow(source, "figures.trials", _TRIALS, began, ended, seen or ended, deadline=_DEADLINE)
    return Trials() if row is None else Trials(row["ended"], row["converted"])


def windows(days: Sequence[Day]) -> Window:
    """All of these days, which follow each other. Raises ValueError for none."""
    if not days:
        raise ValueError("no day, no window")
    return Window(days[0].began, days[-1].ended)
