"""The figures of a stretch of days beside the one before it: what an operator looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import reduce
from operator import add
from typing import Final, Literal, get_args

from attrs import frozen

from vpnd.shop.figures import (
    Counts,
    Sum,
    Trials,
    added,
    counts_of,
    days_of,
    sums_of,
    today_in,
    total,
    trials_of,
)
from vpnd.shop.figures_days import DayFigures, figures_of_days
from vpnd.shop.figures_standing import MONTH, Standing, arpu, standing_at
from vpnd.shop.source import Source

__all__ = ["PERIODS", "Health", "Overview", "Period", "change", "health", "overview", "stretch", "summed"]

Period = Literal["today", "yesterday", "week", "month"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
_LENGTHS: Final[dict[Period, int]] = {"today": 1, "yesterday": 1, "week": 7, "month": 30}


@frozen
class Stretch:
    """Money and people of some days together."""

    sums: tuple[Sum, ...]
    counts: Counts


@frozen
class Overview:
    """A period and the one before it.

    Today is set beside yesterday until the same time of day; all others are whole days that are over, the last of them yesterday.
    """

    period: Period
    first: date
    last: date
    now: Stretch
    before: Stretch


def summed(days: Sequence[DayFigures]) -> Stretch:
    """Days together."""
    sums = added(one for day in days for one in day.sums)
    return Stretch(tuple(sums), reduce(add, (day.counts for day in days), Counts()))


def change(now: int, before: int) -> float | None:
    """How much more there is than before, as a share; None where there was nothing (or less) before."""
    return (now - before) / before if before > 0 else None


async def overview(source: Source, zone: str, period: Period) -> Overview:
    """The figures of a period, and of the one before it."""
    today, now = await today_in(source, zone)
    if period == "today":
        return await _today(source, zone, today, now)
    last = today - timedelta(days=1)
    return await stretch(source, zone, period, last - timedelta(days=_LENGTHS[period] - 1), last)


async def stretch(source: Source, zone: str, period: Period, first: date, last: date) -> Overview:
    """Whole days, and as many before them."""
    length = (last - first).days + 1
    days = await figures_of_days(source, zone, first - timedelta(days=length), last)
    # A day may be missing only where the calendar has none; both halves are told apart by their dates.
    newer = [day for day in days if day.day.day >= first]
    older = [day for day in days if day.day.day < first]
    return Overview(period, first, last, summed(newer), summed(older))


async def _today(source: Source, zone: str, today: date, now: datetime) -> Overview:
    yesterday, present = await days_of(source, zone, today - timedelta(days=1), today)
    # By the clock on the wall and not by hours: where the day is an hour longer, it is compared as a day.
    until = min(yesterday.began + (now - present.began), yesterday.ended)
    # The moment itself is in: what has just been paid is what is looked for.
    moment = now + timedelta(microseconds=1)
    return Overview(
        "today",
        today,
        today,
        Stretch(
            tuple(await sums_of(source, present.began, moment)),
            await counts_of(source, present.began, moment),
        ),
        Stretch(
            tuple(await sums_of(source, yesterday.began, until)),
            await counts_of(source, yesterday.began, until),
        ),
    )


@frozen
class Health:
    """How the shop stands now, what the last 30 days' trials came to, and what a payer brings.

    `revenue` is that of the last 30 whole days by currency, which `arpu` divides by the payers of the last 30 days.
    """

    standing: Standing
    trials: Trials
    revenue: dict[str, Sum]
    arpu: dict[str, int]


async def health(source: Source, zone: str) -> Health:
    """Count it, as of now."""
    today, now = await today_in(source, zone)
    standing = await standing_at(source, now)
    trials = await trials_of(source, now - MONTH, now)
    days = await figures_of_days(source, zone, today - MONTH, today - timedelta(days=1))
    revenue = total(summed(days).sums, "revenue")
    return Health(standing, trials, revenue, arpu(standing, revenue))
