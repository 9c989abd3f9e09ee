"""vpnd's side of `sweep.py`: `_sweep_vpnd.py URL DAYS… [--record FILE]`. Prints one line of JSON.

Moves business time to each of the days in turn and has the daemon's own expiry worker do what is due. With `--record`, every
statement with its arguments is written down, a list for each day.
"""

import argparse
import json
import pickle
import time
from pathlib import Path
from typing import Any

import trio

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.database.leases import Instance, Lease
from vpnd.database.scope import Transaction
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.runtime.worker import WorkerRunner
from vpnd.workers import periodic

DAY = 86_400
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

#: What the recorder notes: how (`fetch` by itself, a method in a transaction, or COMMIT), statement, arguments.
Note = tuple[str, str, tuple[object, ...]]


def peak_mb() -> float:
    """The most resident memory since the last `forget_peak`, MB."""
    return int(STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def forget_peak() -> None:
    """Begin anew with the peak."""
    CLEAR.write_text("5")


def record_into(notes: list[list[Note]]) -> None:
    """Have every statement noted in the last of the lists."""
    read, statement, commit = Database._read, Transaction._statement, Transaction.commit

    async def reading(self: Database, site: Any, sql: str, args: Any, *rest: Any, **options: Any) -> Any:
        notes[-1].append(("alone", sql, tuple(args)))
        return await read(self, site, sql, args, *rest, **options)

    async def stating(self: Transaction, work: Any, sql: str, args: Any) -> Any:
        if not self._since:
            notes[-1].append(("begin", self._begin, ()))
        notes[-1].append((work.__name__.lstrip("_"), sql, tuple(args)))
        return await statement(self, work, sql, args)

    async def committing(self: Transaction) -> None:
        notes[-1].append(("commit", "COMMIT", ()))
        await commit(self)

    Database._read = reading  # type: ignore[method-assign]
    Transaction._statement = stating  # type: ignore[method-assign]
    Transaction.commit = committing  # type: ignore[method-assign]


async def main(url: str, days: list[int], recording: Path | None) -> None:
    """Do each day's sweep."""
    found: list[dict[str, float]] = []
    notes: list[list[Note]] = [[]]
    async with open_database(DatabaseSettings(url=Secret(url)), Limits(15, 4), instance_name="bench") as db:
        lease = Lease(db, "worker expiry", Instance("bench", "bench"))
        runner = WorkerRunner(periodic.expiry(db, wake=()), lease=lease)
        await runner.run_once()  # nothing is due yet: connections and statements are made ready
        if recording is not None:
            record_into(notes)
        for day in days:
            await db.write(
                "bench.clock", "update sandbox_clock set offset_seconds = $1", day * DAY + DAY // 2
            )
            notes.append([])
            forget_peak()
            items = runner.statistics().items
            cpu, began = time.process_time(), time.perf_counter()
            outcome = await runner.run_once()
            found.append(
                {
                    "seconds": time.perf_counter() - began,
                    "cpu": time.process_time() - cpu,
                    "rows": runner.statistics().items - items,
                    "mb": peak_mb(),
                }
            )
            recorded = list(notes)
            assert outcome == "ok", outcome
    if recording is not None:
        recording.write_bytes(pickle.dumps(recorded[1:]))
    print(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("days", type=int, nargs="+")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    journal.configure("console", level="error")
    trio.run(main, arguments.url, arguments.days, arguments.record)
