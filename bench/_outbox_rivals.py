"""The other side of `outbox.py`: `_outbox_rivals.py MODE URL [JOBS]`. Prints one line of JSON.

Modes, each a process of its own; JOBS trivial jobs stand in the database before any clock runs:

- `procrastinate-fill` and `procrastinate`: procrastinate as its documentation says: one worker, concurrency 15, jobs that are
  an empty coroutine, until the queue is empty. Finished jobs are kept, as we keep ours.
- `raw-fill` and `raw`: the least that can be done: claim 100 rows with SKIP LOCKED, run an empty coroutine for each, mark them
  as done; two statements a batch by asyncpg on asyncio, without retries, leases, fencing, metrics or order.

Imports nothing of vpnd.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

CONCURRENCY = 15
BATCH = 100

TABLE = """
create table jobs (
    id bigint generated always as identity primary key, kind text not null, payload jsonb not null,
    status text not null default 'ready', available_at timestamptz not null default clock_timestamp(),
    attempt integer not null default 0, lease_until timestamptz, finished_at timestamptz
);
create index jobs_ready on jobs (available_at, id) where status = 'ready';
"""
FILL = "insert into jobs (kind, payload) select 'job', jsonb_build_object('n', n) from generate_series(1, $1::int) n"
CLAIM = """
update jobs j set attempt = attempt + 1, lease_until = clock_timestamp() + interval '1 minute',
                  available_at = clock_timestamp() + interval '1 minute'
from (select id from jobs where status = 'ready' and available_at <= clock_timestamp()
      order by available_at, id limit $1 for update skip locked) due
where j.id = due.id
returning j.id, j.kind, j.payload
"""
DONE = "update jobs set status = 'done', finished_at = clock_timestamp() where id = any($1::bigint[])"


def report(seconds: float, cpu: float, done: int) -> None:
    """Print what was seen."""
    memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "cpu": cpu, "done": done, "mb": memory}))


async def raw(url: str, jobs: int) -> None:
    """One consumer, batch after batch."""
    import asyncpg

    connection = await asyncpg.connect(url)
    done = 0

    async def job(_payload: str) -> None:
        nonlocal done
        done += 1

    if jobs:
        await connection.execute(TABLE)
        await connection.execute(FILL, jobs)
        await connection.execute("vacuum (analyze) jobs")
    else:
        cpu, began = time.process_time(), time.perf_counter()
        while rows := await connection.fetch(CLAIM, BATCH):
            for row in rows:
                await job(row["payload"])
            await connection.execute(DONE, [row["id"] for row in rows])
        report(time.perf_counter() - began, time.process_time() - cpu, done)
    await connection.close()


async def procrastinate(url: str, jobs: int) -> None:
    """One worker until nothing is left."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, max_size=CONCURRENCY + 5))
    done = 0

    @app.task(name="job")
    async def job(n: int) -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        if jobs:
            await app.schema_manager.apply_schema_async()
            for start in range(0, jobs, 1000):
                await job.batch_defer_async(*({"n": n} for n in range(start, min(jobs, start + 1000))))
            return
        cpu, began = time.process_time(), time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=CONCURRENCY, install_signal_handlers=False)
        report(time.perf_counter() - began, time.process_time() - cpu, done)


def main() -> None:
    """Run one mode."""
    mode, url = sys.argv[1:3]
    jobs = int(sys.argv[3]) if mode.endswith("-fill") else 0
    asyncio.run({"raw": raw, "procrastinate": procrastinate}[mode.removesuffix("-fill")](url, jobs))


if __name__ == "__main__":
    from _outbox_rivals import (
        main as imported,
    )  # procrastinate warns of an application that stands in a program

    imported()
