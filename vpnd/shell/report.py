"""`vpnd report`: the shop's figures as one HTML file with charts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import trio
from attrs import evolve

from vpnd.config import Settings
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.whole_file import to_disk, whole_file
from vpnd.shell.report_page import Contents, page
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.figures import MOST_DAYS, today_in, trials_of
from vpnd.shop.figures_days import SETTLED, DayFigures, figures_of_days, keep_day, kept_days
from vpnd.shop.figures_overview import health

__all__ = ["report"]

#: Seconds that may be spent on counting how the shop stood at the ends of days that nobody has counted yet.
PATIENCE: Final = 20.0


def report(settings: Settings, *, days: int, first: date | None, last: date | None, out: Path | None) -> int:
    """Run the command; return its exit code.

    Args:
        days: so many whole days until yesterday, unless `first` is given.
        first, last: the days of the report, both included; without `last`, until yesterday.
        out: the file; None: a name with the day, in the present folder.
    """

    async def body(shop: OpenShop) -> int:
        with as_class(LimitClass.ADMIN):
            contents = await _contents(shop, days, first, last)
        path = out or Path(f"vpnd-report-{contents.days[-1].day.day}.html")
        try:
            await trio.to_thread.run_sync(_write, path, page(contents))
        except OSError as error:
            raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
        sys.stdout.write(f"{path}: {contents.days[0].day.day} to {contents.days[-1].day.day}\n")
        return 0

    return run_command(settings, body)


async def _contents(shop: OpenShop, days: int, first: date | None, last: date | None) -> Contents:
    zone = shop.settings.shop.time_zone
    today, now = await today_in(shop.db, zone)
    until = min(last or today - timedelta(days=1), today)
    since = first or until - timedelta(days=days - 1)
    length = (until - since).days + 1
    if length < 1:
        raise CommandFailed(
            f"there is nothing to tell: it is {today} in {zone}, and the report would begin on {since}"
        )
    if 2 * length > MOST_DAYS:
        raise CommandFailed(f"at most {MOST_DAYS // 2} days fit into one report, and these are {length}")
    found = await figures_of_days(shop.db, zone, since - timedelta(days=length), until)
    before, chosen = found[:length], found[length:]
    present = await health(shop.db, zone)
    trials = await trials_of(shop.db, chosen[0].day.began, chosen[-1].day.ended, seen=now)
    return Contents(
        name=shop.settings.instance.name,
        zone=zone,
        made=now,
        days=await _with_standings(shop, zone, chosen),
        before=before,
        standing=present.standing,
        trials=trials,
        arpu=present.arpu,
    )


async def _with_standings(shop: OpenShop, zone: str, days: Sequence[DayFigures]) -> list[DayFigures]:
    """The days with how the shop stood at their ends: what is kept, and what more there is time to count, the newest first."""
    known = await kept_days(shop.db, zone, [one.day for one in days])
    found = {one.day.day: known.get(one.day.day, one) for one in days}
    _, now = await today_in(shop.db, zone)
    with trio.move_on_after(PATIENCE):
        for one in reversed(days):
            if found[one.day.day].standing is None and one.day.ended + SETTLED <= now:
                whole = await keep_day(shop.db, zone, one.day)
                found[one.day.day] = evolve(one, standing=whole.standing)
    return [found[one.day.day] for one in days]


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
        to_disk(file)
