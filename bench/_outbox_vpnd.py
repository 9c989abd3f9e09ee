"""vpnd's side of `outbox.py`: `_outbox_vpnd.py URL`. Runs the relay until nothing is left; prints one line of JSON."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from vpnd.config import DatabaseSettings, Secret
from vpnd.database import outbox
from vpnd.database.database import open_database
from vpnd.database.outbox import Delivered, Delivery, OutboxItem, Relay
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits

WAITING = "select count(*) from outbox where status = 'ready'"


async def main(url: str) -> None:
    """Do all jobs that stand in the database."""
    spent: dict[str, list[float]] = {"claims": [], "records": []}

    def timed(kind: str, statement: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def timing(*args: Any, **options: Any) -> Any:
            since = time.perf_counter()
            try:
                return await statement(*args, **options)
            finally:
                spent[kind].append(time.perf_counter() - since)

        return timing

    outbox.claim, outbox.complete = timed("claims", outbox.claim), timed("records", outbox.complete)
    all_delivered = trio.Event()
    done = 0

    async def deliver(_item: OutboxItem) -> Delivery:
        nonlocal done
        done += 1
        if done == jobs:
            all_delivered.set()
        return Delivered()

    settings = DatabaseSettings(url=Secret(url))
    async with open_database(settings, Limits(15, 4), instance_name="bench") as db:
        jobs = await db.fetchval("bench.jobs", WAITING)
        relay = Relay(db, ("message",), deliver, holder="bench")
        cpu, began = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await all_delivered.wait()
            # A job is done when it is recorded: the last results are on their way still.
            while await db.fetchval("bench.rest", WAITING):  # noqa: ASYNC110 (the relay tells nobody)
                await trio.sleep(0.002)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            nursery.cancel_scope.cancel()
    memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    told = {kind: (len(times), sum(times)) for kind, times in spent.items()}
    print(json.dumps({"seconds": seconds, "cpu": cpu, "done": done, "mb": memory, **told}))


if __name__ == "__main__":
    journal.configure("console", level="warning")
    trio.run(main, sys.argv[1])
