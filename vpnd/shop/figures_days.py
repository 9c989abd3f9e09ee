"""Days that are over are counted once and kept, so that a year of figures costs one read.

A day is kept an hour after its end: a transfer carries the time at which its transaction began, and none is open for as long.
Nothing of a kept day changes later, since the ledger is only appended to: what is given back is told on the day it was decided.
How the shop stood at a day's end can be counted later too, from what the grants still say; a refund in between then shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.figures import Counts, Day, Sum, counts_of, days_of, sums_of, today_in
from vpnd.shop.figures_standing import Standing, standing_at, standing_from_json
from vpnd.shop.source import Source, as_json, fetch, fetchrow, from_json, in_transaction

__all__ = ["SETTLED", "DayFigures", "days_to_keep", "figures_of_days", "keep_day", "kept_days"]

#: After so long nothing is added to a day that is over.
SETTLED: Final = timedelta(hours=1)
_ROWS: Final = 100_000  # of money, in one read: a year of a large shop


@frozen
class DayFigures:
    """What a day brought. `standing` is that of its end, if it was counted."""

    day: Day
    sums: tuple[Sum, ...]
    counts: Counts
    standing: Standing | None = None


_KEPT: Final = """
select day, new_customers, new_paying, guests, paying_guests, trials_started, standing from figure_days
where time_zone = $1 and day >= $2 and day <= $3 order by day limit 2000
"""
_MONEY: Final = """
select day, what, currency, method, plan_id as plan, gross, back, count from figure_day_money
where time_zone = $1 and day >= $2 and day <= $3 order by day, what, currency, method, plan_id limit $4
"""


async def kept_days(source: Source, zone: str, days: Sequence[Day]) -> dict[date, DayFigures]:
    """What of these days is kept."""
    if not days:
        return {}
    first, last = days[0].day, days[-1].day
    known = {row["day"]: row for row in await fetch(source, "figures.kept", _KEPT, zone, first, last)}
    money: dict[date, list[Sum]] = {}
    for row in await fetch(source, "figures.kept_money", _MONEY, zone, first, last, _ROWS):
        values: dict[str, Any] = dict(row.items())
        money.setdefault(values.pop("day"), []).append(Sum(**values))
    return {
        day.day: _day_figures(day, known[day.day], money.get(day.day, [])) for day in days if day.day in known
    }


def _day_figures(day: Day, row: Row, sums: list[Sum]) -> DayFigures:
    values = dict(row.items())
    del values["day"]
    standing = values.pop("standing")
    return DayFigures(
        day,
        tuple(sums),
        Counts(**values),
        None if standing is None else standing_from_json(from_json(standing)),
    )


async def figures_of_days(
    source: Source, zone: str, first: date, last: date, *, keep: bool = True
) -> list[DayFigures]:
    """The days from `first` to `last`, from what is kept; what is missing is counted now, and kept if it is over.

    The present day is counted as far as it has come; days that are to come are left out. Standings are those that
    are kept. Before the shop opened there was nothing: such days are neither counted nor kept, however many are asked for.
    """
    today, now = await today_in(source, zone)
    days = await days_of(source, zone, first, min(last, today))
    known = await kept_days(source, zone, days)
    opened = await _opened(source) if len(known) < len(days) else None
    found: list[DayFigures] = []
    for day in days:
        one = known.get(day.day)
        if one is None and (opened is None or day.ended <= opened):
            one = DayFigures(day, (), Counts(), Standing())
        elif one is None:
            one = await _count(source, day)
            if keep and day.ended + SETTLED <= now:
                await _write(source, zone, one)
        found.append(one)
    return found


_OPENED: Final = """
select least((select min(created_at) from customers), (select created_at from ledger order by id limit 1)) as opened
"""


async def _opened(source: Source) -> datetime | None:
    """A moment before which nobody came and no money moved; None: nothing has been yet.

    The first row of the ledger need not be the earliest, since each carries the time that its transaction began at.
    """
    row = await fetchrow(source, "figures.opened", _OPENED)
    return None if row is None or row["opened"] is None else row["opened"] - SETTLED


async def _count(source: Source, day: Day) -> DayFigures:
    sums = await sums_of(source, day.began, day.ended)
    return DayFigures(day, tuple(sums), await counts_of(source, day.began, day.ended))


async def keep_day(source: Source, zone: str, day: Day) -> DayFigures:
    """Count a day that is over with its standing, and keep it; safe when done twice."""
    known = (await kept_days(source, zone, [day])).get(day.day)
    figures = await _count(source, day) if known is None else known
    standing = figures.standing or await standing_at(source, day.ended)
    whole = DayFigures(day, figures.sums, figures.counts, standing)
    await _write(source, zone, whole)
    return whole


_MISSING: Final = """
select ($2::date - n) as day from generate_series(0, $3::integer - 1) n
where not exists (select from figure_days f where f.time_zone = $1 and f.day = $2::date - n and f.standing is not null)
  and (($2::date - n + 1)::timestamp at time zone $1) > (select min(created_at) from customers)
order by n limit $3
"""


async def days_to_keep(source: Source, zone: str, now: datetime, *, back: int) -> list[Day]:
    """Days that are over and not kept yet with their standing, the newest first, at most `back` days ago."""
    today, _ = await today_in(source, zone)
    rows = await fetch(source, "figures.missing", _MISSING, zone, today - timedelta(days=1), back)
    if not rows:
        return []
    wanted = {row["day"] for row in rows}
    days = await days_of(source, zone, min(wanted), max(wanted))
    return [day for day in reversed(days) if day.day in wanted and day.ended + SETTLED <= now]


_WRITE_DAY: Final = """
insert into figure_days (time_zone, day, new_customers, new_paying, guests, paying_guests, trials_started, standing)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
on conflict (time_zone, day) do update set standing = coalesce(figure_days.standing, excluded.standing)
"""
_WRITE_MONEY: Final = """
insert into figure_day_money (time_zone, day, what, currency, method, plan_id, gross, back, count)
select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[])
on conflict do nothing
"""


async def _write(source: Source, zone: str, figures: DayFigures) -> None:
    counts, sums = figures.counts, figures.sums
    standing = None if figures.standing is None else as_json(figures.standing.as_json())

    async def body(tx: Transaction) -> None:
        await tx.execute(
            _WRITE_DAY, zone, figures.day.day, counts.new_customers, counts.new_paying, counts.guests,
            counts.paying_guests, counts.trials_started, standing,
        )  # fmt: skip
        await tx.execute(
            _WRITE_MONEY, zone, figures.day.day, [s.what for s in sums], [s.currency for s in sums],
            [s.method for s in sums], [s.plan for s in sums], [s.gross for s in sums], [s.back for s in sums],
            [s.count for s in sums],
        )  # fmt: skip

    await in_transaction(source, "figures.keep", body)
