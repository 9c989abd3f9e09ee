"""The same statements by asyncpg on asyncio, and nothing else: `_settle_raw.py URL RECORDING FIRST COUNT`.

Prints one line of JSON: seconds, the latency of each settlement, and resident memory. Imports nothing of vpnd: trio-asyncio
would replace asyncio's loop in this process.
"""

import asyncio
import json
import pickle
import sys
from pathlib import Path
from time import perf_counter

import asyncpg
import psutil


async def main(url: str, recording: str, first: int, count: int) -> None:
    """Replay `count` settlements from the `first` on, one after another, each in a transaction of its own."""
    settlements = pickle.loads(Path(recording).read_bytes())  # noqa: S301 (written by the bench a moment ago)
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    latencies = []
    began = perf_counter()
    for statements in settlements[first : first + count]:
        since = perf_counter()
        await connection.execute("BEGIN")
        for method, sql, args in statements:
            await getattr(connection, method)(sql, *args)
        await connection.execute("COMMIT")
        latencies.append(perf_counter() - since)
    seconds = perf_counter() - began
    await connection.close()
    memory = psutil.Process().memory_info().rss / 1e6
    print(json.dumps({"seconds": seconds, "latencies": latencies, "mb": memory}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
