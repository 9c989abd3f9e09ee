"""How many jobs a second leave the outbox, beside procrastinate and beside the least that PostgreSQL allows?

A job is a row that stands in the database and is handed to a coroutine that does nothing. Three ways to do it, each in a
process of its own on the same durable PostgreSQL, each in a fresh copy of a database in which the jobs stand already:

- vpnd: `vpnd.database.outbox.Relay` as the daemon runs it: lanes, order by key, leases, fencing by attempt, repeats recognised,
  a cancel scope and metrics for each delivery, results written back. Once with jobs that need no order, once with each job
  in a chat of its own, as messages are.
- procrastinate 3.10.0: one worker, concurrency 15, in an environment of its own.
- raw: batches of 100 by SKIP LOCKED, asyncpg on asyncio and nothing else.

Rounds are interleaved, figures are medians.

    ./dev bench outbox [--jobs 5000] [--rounds 3]

Exit 1 when the bar is not met: jobs/s ≥ 20 × procrastinate's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from _measure import administer, disk, leaves, median, run_json, table
from _rivals import QUEUE_RIVALS, rival_python
from attrs import define, field

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.database.migrate import migrate
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import embedded_postgres

RATIO_BAR = 20.0
HERE = Path(__file__).parent

#: Each chat's messages leave in order; here every job has a chat of its own, or none.
FILL = """
    insert into outbox (kind, key, lane, order_key, payload)
    select 'message', 'job:' || n, 'notice', case when $2 then 'chat:' || n end, jsonb_build_object('n', n)
    from generate_series(1, $1::int) n
"""


@define
class Figures:
    """What one of them showed, a value a round."""

    rate: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)  # seconds a job
    memory: list[float] = field(factory=list)  # MB
    extra: list[dict[str, Any]] = field(factory=list)


def opened(url: str) -> Any:
    """A database opened as the daemon opens it."""
    return open_database(DatabaseSettings(url=Secret(url)), Limits(15, 4), instance_name="bench")


async def fill(db: Database, jobs: int, ordered: bool) -> None:
    """Make the schema and the jobs."""
    await migrate(db)
    async with db.transaction("bench.fill", deadline=60.0) as tx:
        await tx.execute(FILL, jobs, ordered)
    await db.write("bench.vacuum", "vacuum (analyze) outbox")


async def measure(jobs: int, rounds: int) -> dict[str, Figures]:
    """Prepare, play all rounds; return the figures of each."""
    python = await trio.to_thread.run_sync(rival_python, QUEUE_RIVALS)
    rivals = HERE / "_outbox_rivals.py"
    ours = [sys.executable, HERE / "_outbox_vpnd.py"]
    contestants: dict[str, tuple[str, list[str | Path]]] = {
        "vpnd": ("plain", ours),
        "vpnd, a chat each": ("chats", ours),
        "procrastinate 3.10.0": ("procrastinate", [python, rivals, "procrastinate"]),
        "raw, batches of 100": ("raw", [sys.executable, rivals, "raw"]),
    }
    figures = {name: Figures() for name in contestants}
    with TemporaryDirectory() as folder:
        print(disk(Path(folder)), flush=True)
        async with embedded_postgres(options=("shared_buffers=256MB",)) as server:
            bases = ("plain", "chats", "procrastinate", "raw")
            await administer(server.url, *(f"create database base_{base}" for base in bases))
            for base, ordered in (("plain", False), ("chats", True)):
                async with opened(server.url_of(f"base_{base}")) as db:
                    await fill(db, jobs, ordered)
            for base in ("procrastinate", "raw"):
                argv = contestants[
                    "procrastinate 3.10.0" if base == "procrastinate" else "raw, batches of 100"
                ][1]
                await run_json(*argv[:-1], f"{base}-fill", server.url_of(f"base_{base}"), str(jobs))
            for number in range(1, rounds + 1):
                for name, (base, argv) in contestants.items():
                    await administer(server.url, f"create database round template base_{base}", "checkpoint")
                    found = await run_json(*argv, server.url_of("round"))
                    await administer(server.url, "drop database round")
                    if found["done"] != jobs:
                        raise RuntimeError(f"{name} has done {found['done']} jobs of {jobs}")
                    note(figures[name], jobs, found)
                    print(f"round {number}  {name:22} {figures[name].rate[-1]:7.0f} jobs/s", flush=True)
    return figures


def note(to: Figures, jobs: int, found: dict[str, Any]) -> None:
    """Keep what a program printed."""
    to.rate.append(jobs / found["seconds"])
    to.cpu.append(found["cpu"] / jobs)
    to.memory.append(found["mb"])
    to.extra.append(found)


def report(figures: dict[str, Figures]) -> int:
    """Print the table and the headline; return the exit code."""
    theirs, least = (median(figures[name].rate) for name in ("procrastinate 3.10.0", "raw, batches of 100"))
    rows = [["", "jobs/s", "× procrastinate", "× raw", "CPU ms/job", "of one core", "memory MB"]]
    for name, one in figures.items():
        rate, cpu = median(one.rate), median(one.cpu)
        rows.append(
            [
                name,
                f"{rate:.0f}",
                f"{rate / theirs:.1f}",
                f"{rate / least:.2f}",
                f"{cpu * 1e3:.3f}",
                f"{rate * cpu:.0%}",
                f"{median(one.memory):.0f}",
            ]
        )
    print(table(rows))
    for name, one in figures.items():
        for what in ("claims", "records"):
            if what in one.extra[-1]:
                count, seconds = one.extra[-1][what]
                print(f"{name}: {count} {what}, {seconds / max(1, count) * 1e3:.1f} ms each")
    worst = min(median(one.rate) for name, one in figures.items() if name.startswith("vpnd"))
    met = worst >= RATIO_BAR * theirs
    print(
        f"outbox: {median(figures['vpnd'].rate):.0f} jobs/s, {median(figures['vpnd, a chat each'].rate):.0f} with a chat each"
        f" = {worst / theirs:.0f} x procrastinate (bar {RATIO_BAR:.0f}), {worst / least:.2f} x raw batches:"
        f" {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    try:
        return report(trio.run(measure, arguments.jobs, arguments.rounds))
    except BaseException as error:
        for leaf in leaves(error):
            print(f"bench failed: {leaf!r}", file=sys.stderr)
        raise


if __name__ == "__main__":
    sys.exit(main())
