"""Figures: what a day brought and how the shop stands, against an oracle in plain Python over a shop that lives some weeks."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from figures_oracle import Life, open_life
from shop_world import ShopWorld

from vpnd.shop import figures_days, figures_standing
from vpnd.shop.figures import (
    Counts,
    Day,
    Sum,
    Trials,
    days_of,
    sums_of,
    today_in,
    total,
    totals_by,
    trials_of,
)
from vpnd.shop.figures_days import DayFigures, days_to_keep, figures_of_days, keep_day, kept_days
from vpnd.shop.figures_overview import change, health, overview
from vpnd.shop.figures_standing import MONTH, Standing, arpu, standing_at
from vpnd.shop.source import Source

pytestmark = pytest.mark.postgres


async def lived(shop: ShopWorld, seed: int, zone: str, steps: int = 60) -> Life:
    """A shop after some weeks."""
    life = await open_life(shop, seed, zone)
    await life.live(steps)
    return life


async def all_days(life: Life) -> list[date]:
    """Every day of its life, and the one before."""
    first = min(life.day(at) for at, _ in life.people) - timedelta(days=1)
    last = life.day(await life.now())
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@pytest.mark.parametrize(
    ("seed", "zone"), [(1, "UTC"), (2, "America/New_York"), (3, "Asia/Kolkata"), (4, "Pacific/Auckland")]
)
async def test_every_day_is_what_the_oracle_says(shop: ShopWorld, seed: int, zone: str) -> None:
    """Money and people of each day, by the shop's own clock; once counted and once kept, the same."""
    life = await lived(shop, seed, zone)
    days = await all_days(life)
    money, people = life.sums_by_day(), life.counts_by_day()

    for _ in ("counted", "kept"):
        found = await figures_of_days(shop.db, zone, days[0], days[-1])

        assert [one.day.day for one in found] == days
        for one in found:
            assert list(one.sums) == money.get(one.day.day, []), one.day
            assert one.counts == people.get(one.day.day, Counts()), one.day
    kept = await kept_days(shop.db, zone, await days_of(shop.db, zone, days[0], days[-1]))
    assert (
        len(kept) >= len(days) - 3
    )  # the present day, one that has just ended, and the one before the shop opened


@pytest.mark.parametrize("lives", [False, True])
async def test_days_before_the_shop_opened_are_not_counted(
    shop: ShopWorld, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new shop that is asked for two years answers at once: not a statement for a day on which there was nothing."""
    if lives:
        await shop.customer()
    today, _ = await today_in(shop.db, "UTC")
    counted: list[date] = []

    async def count(source: Source, day: Day) -> DayFigures:
        counted.append(day.day)
        return DayFigures(day, (), Counts())

    monkeypatch.setattr(figures_days, "_count", count)
    found = await figures_of_days(shop.db, "UTC", today - timedelta(days=730), today)

    assert len(found) == 731
    assert counted in ([today], [today - timedelta(days=1), today]) if lives else counted == []


@pytest.mark.parametrize("seed", [5, 6])
async def test_the_standing_is_what_the_oracle_says(
    shop: ShopWorld, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access, paying, MRR, churn and retention, now and at moments that are over; however customers fall into pages."""
    monkeypatch.setattr(figures_standing, "PAGE", 3)
    life = await lived(shop, seed, "UTC", steps=110)
    now = await life.now()

    for moment in (
        now,
        now - timedelta(days=3),
        now - MONTH,
        now - timedelta(days=40),
        now - timedelta(days=400),
    ):
        assert (await standing_at(shop.db, moment)).as_json() == await life.standing(moment)
    ended = await trials_of(shop.db, now - MONTH, now)
    assert (ended.ended, ended.converted) == life.trials_in(now - MONTH, now)


async def test_the_ledger_is_added_up_in_steps(shop: ShopWorld) -> None:
    """A stretch of weeks is the sum of its days, and nothing at a border is told twice or left out."""
    life = await lived(shop, 7, "Europe/Berlin", steps=40)
    began, ended = min(at for at, _ in life.people), await life.now()
    middle = life.sums[len(life.sums) // 2][0]

    whole = await sums_of(shop.db, began, ended + timedelta(seconds=1))
    halves = [
        *await sums_of(shop.db, began, middle),
        *await sums_of(shop.db, middle, ended + timedelta(seconds=1)),
    ]

    assert total(whole, "revenue") == total(halves, "revenue")
    assert sum(one.gross for one in whole) == sum(one.gross for _, one in life.sums)


async def test_a_day_begins_by_the_shops_clock(shop: ShopWorld) -> None:
    """Also the days on which that clock is changed: one has 23 hours, one has 25, and none overlap."""
    spring = await days_of(shop.db, "Europe/Berlin", date(2026, 3, 28), date(2026, 3, 30))
    autumn = await days_of(shop.db, "Europe/Berlin", date(2026, 10, 24), date(2026, 10, 26))

    assert [one.ended - one.began for one in spring] == [timedelta(hours=n) for n in (24, 23, 24)]
    assert [one.ended - one.began for one in autumn] == [timedelta(hours=n) for n in (24, 25, 24)]
    assert spring[0].ended == spring[1].began
    assert spring[0].began == datetime.fromisoformat("2026-03-27T23:00:00+00:00")


async def test_currencies_are_never_mixed(shop: ShopWorld) -> None:
    """Stars and rubles stand beside each other, by method and by plan."""
    customer = await shop.customer()
    for method in ("stars", "cryptopay"):
        await shop.settle(shop.charge(await shop.buy(customer, method)))
    await shop.fill(customer, 5000)
    _, now = await today_in(shop.db, "UTC")
    sums = await sums_of(shop.db, now - timedelta(hours=1), now + timedelta(seconds=1))

    assert {one.currency for one in totals_by(sums, "revenue", "method")} == {"RUB", "XTR"}
    assert [(one.currency, one.plan) for one in totals_by(sums, "revenue", "plan")] == [
        ("RUB", ""),
        ("RUB", "basic"),
        ("XTR", "basic"),
    ]
    assert set(total(sums, "sales")) == {"RUB"}


async def test_periods_are_compared_with_the_ones_before(shop: ShopWorld) -> None:
    """Yesterday, a week and a month of whole days; today with yesterday until the same hour."""
    life = await lived(shop, 8, "America/New_York", steps=90)
    money = life.sums_by_day()
    today = life.day(await life.now())

    def of(first: date, days: int) -> list[Sum]:
        wanted = [one for n in range(days) for one in money.get(first + timedelta(days=n), [])]
        return list(total(wanted, "revenue").values())

    for period, length in (("yesterday", 1), ("week", 7), ("month", 30)):
        seen = await overview(shop.db, life.zone, period)  # type: ignore[arg-type]  # of a table
        assert list(total(seen.now.sums, "revenue").values()) == of(today - timedelta(days=length), length)
        assert list(total(seen.before.sums, "revenue").values()) == of(
            today - timedelta(days=2 * length), length
        )
    seen = await overview(shop.db, life.zone, "today")
    assert list(total(seen.now.sums, "revenue").values()) == of(today, 1)
    whole = await health(shop.db, life.zone)
    assert whole.standing.as_json() == await life.standing(await life.now())


async def test_today_is_compared_until_the_same_hour(shop: ShopWorld) -> None:
    """What came later yesterday is not held against a day that is not over."""
    customer = await shop.customer()
    day, now = await today_in(shop.db, "UTC")
    (bounds,) = await days_of(shop.db, "UTC", day, day)
    await shop.advance(bounds.ended - now + timedelta(hours=6))
    await shop.fill(customer, 1000)
    await shop.advance(timedelta(hours=8))
    await shop.fill(customer, 500)
    await shop.advance(timedelta(hours=16, minutes=30))

    seen = await overview(shop.db, "UTC", "today")

    assert total(seen.before.sums, "revenue")["RUB"].gross == 1000
    assert total(seen.now.sums, "revenue") == {}


async def test_a_day_is_kept_when_it_is_over(shop: ShopWorld) -> None:
    """Not before an hour has passed; then with its standing, once, and a replay changes nothing."""
    customer = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(customer)))
    today, now = await today_in(shop.db, "UTC")
    (day,) = await days_of(shop.db, "UTC", today, today)
    assert await days_to_keep(shop.db, "UTC", now, back=5) == []
    await shop.advance(day.ended - now + timedelta(minutes=30))
    assert await days_to_keep(shop.db, "UTC", day.ended + timedelta(minutes=30), back=5) == []
    await shop.advance(timedelta(hours=1))

    (due,) = await days_to_keep(shop.db, "UTC", day.ended + timedelta(minutes=90), back=5)
    first = await keep_day(shop.db, "UTC", due)
    again = await keep_day(shop.db, "UTC", due)

    assert due == day
    assert first == again
    assert first.standing is not None
    assert (first.standing.paying, first.standing.mrr) == (1, {"RUB": 19900})
    assert await days_to_keep(shop.db, "UTC", day.ended + timedelta(minutes=90), back=5) == []


def test_shares_without_anything_to_divide_by_are_none() -> None:
    """A new shop has no churn, no conversion and no change; not zero, and no error."""
    assert Standing().churn is None
    assert Standing().retention is None
    assert Trials().share is None
    assert arpu(Standing(), {}) == {}
    assert change(5, 0) is None
    assert change(5, -3) is None
    assert change(15, 10) == 0.5
