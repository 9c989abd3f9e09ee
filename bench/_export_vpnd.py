"""One export by the shop's own code in a process of its own: what it took, and what it held. Prints a line of JSON.

_export_vpnd.py DATABASE_URL TABLE FILE PAGE
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import LimitClass, Limits, as_class
from vpnd.shop.exports import export_csv, plan_export
from vpnd.shop.figures import today_in
from vpnd.shop.figures_days import figures_of_days
from vpnd.shop.figures_overview import health, overview


def resident() -> float:
    """MB that the process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def main(url: str, what: Any, path: Path, page: int) -> None:
    """Export, and tell."""
    journal.configure("console", level="warning")
    async with open_database(DatabaseSettings(url=Secret(url)), Limits(15, 4), instance_name="bench") as db:
        await db.fetchval("bench.first", "select 1")
        idle, peak, steps = resident(), 0.0, [time.perf_counter()]

        def told(_progress: object) -> None:
            nonlocal peak
            peak = max(peak, resident())
            steps.append(time.perf_counter())

        async with trio.open_nursery() as nursery:
            longest = await nursery.start(watch, db)
            with as_class(LimitClass.ADMIN):
                began, cpu = time.perf_counter(), time.process_time()
                plan = await plan_export(db, what)
                done = await export_csv(db, plan, path, page=page, told=told)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            nursery.cancel_scope.cancel()
        figures = {
            "rows": done.rows, "mb": done.size / 1e6, "seconds": seconds, "cpu": cpu, "idle": idle,
            "peak": max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6), "transaction": longest[0],
            "page": max(later - earlier for earlier, later in pairwise(steps)),
        }  # fmt: skip
        print(json.dumps(figures), flush=True)


async def watch(db: Database, task_status: trio.TaskStatus[list[float]]) -> None:
    """Look fifty times a second how long the oldest transaction of this process has been open, as the server sees it."""
    longest = [0.0]
    task_status.started(longest)
    while True:
        seen = await db.fetchval(
            "bench.longest",
            "select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8 from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' limit 1",
        )
        longest[0] = max(longest[0], seen)
        await trio.sleep(0.02)


async def figures(url: str) -> None:
    """Count the figures of the shop, and tell how long each took."""
    journal.configure("console", level="warning")
    async with open_database(DatabaseSettings(url=Secret(url)), Limits(15, 4), instance_name="bench") as db:
        took: dict[str, float] = {}

        async def clock(name: str, body: Callable[[], Awaitable[object]]) -> None:
            began = time.perf_counter()
            await body()
            took[name] = time.perf_counter() - began

        with as_class(LimitClass.ADMIN):
            await clock("30 days and the 30 before, first seen", lambda: overview(db, "UTC", "month"))
            await clock("the same again", lambda: overview(db, "UTC", "month"))
            await clock("today", lambda: overview(db, "UTC", "today"))
            await clock("how the shop stands", lambda: health(db, "UTC"))
            today, _ = await today_in(db, "UTC")
            await clock("a year", lambda: figures_of_days(db, "UTC", today - timedelta(days=364), today))
            await clock(
                "a year again", lambda: figures_of_days(db, "UTC", today - timedelta(days=364), today)
            )
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "figures":
        trio.run(figures, sys.argv[1])
    else:
        trio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
