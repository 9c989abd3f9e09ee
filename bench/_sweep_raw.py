"""The same statements by asyncpg on asyncio, and nothing else: `_sweep_raw.py URL RECORDING DAYS…`. Prints one line of JSON.

Imports nothing of vpnd: trio-asyncio would replace asyncio's loop in this process.
"""

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path

import asyncpg

DAY = 86_400
STATUS = Path("/proc/self/status")


async def main(url: str, recording: str, *days: str) -> None:
    """Replay each day's sweep, statement after statement on one connection."""
    sweeps = pickle.loads(Path(recording).read_bytes())  # noqa: S301 (written by the bench a moment ago)
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    for _method, sql, _args in {
        one[1]: one for sweep in sweeps for one in sweep if one[0] not in ("begin", "commit")
    }.values():
        await connection._prepare(sql, use_cache=True)  # ours are ready, too, by an idle iteration
    found = []
    for day, statements in zip(days, sweeps, strict=True):
        await connection.execute("update sandbox_clock set offset_seconds = $1", int(day) * DAY + DAY // 2)
        Path("/proc/self/clear_refs").write_text("5")
        cpu, began = time.process_time(), time.perf_counter()
        for method, sql, args in statements:
            if method in ("begin", "commit"):
                await connection.execute(sql)
            else:
                await getattr(connection, "fetch" if method == "alone" else method)(sql, *args)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        memory = int(STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
        found.append({"seconds": seconds, "cpu": cpu, "mb": memory})
    left = await connection.fetchval(
        "select count(*) from subscriptions where status = 'active' and expires_at <= vpnd_now()"
    )
    await connection.close()
    if left:
        raise SystemExit(f"{left} subscriptions are on still: what was replayed was not what was recorded")
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
