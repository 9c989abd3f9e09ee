"""How long does it take to switch off 1 000, 10 000 or 100 000 subscriptions that end at once, of a million?

The daemon's own expiry worker does it (lease, keyset pages, one statement a batch, poison halved out, clocks on everything),
and beside it a process that replays the very same statements with nothing but asyncpg on asyncio. Each statement ends a batch,
raises versions, writes the nodes' log and the customers' notices. Each plays on a fresh copy of one prepared database, in turn.

Then a whole world with a real agent and a real Xray core: so many end at once, and the time runs until the agent has
acknowledged that all of them are off.

    ./dev bench sweep [--subscriptions 1000000] [--rounds 3] [--node 10000] [--no-node]

Exit 1 when a bar is not met: ≤ 1.5 × the time of asyncpg at each size, peak memory flat within 10 MB from the smallest to the
largest, the node's acknowledgement within one interval (60 s).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import trio
from _measure import BenchFailed, administer, disk, leaves, median, resident_mb, run_json, table
from _people import make_shop, people
from attrs import define, field

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.nodes.client import NodeClient
from vpnd.runtime import journal
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import WorldOptions, open_world

TIME_BAR = 1.5
MEMORY_BAR = 10.0  # MB
NODE_BAR = 60.0  # seconds
HERE = Path(__file__).parent
DAY = 86_400

#: One in a thousand, in a hundred and in ten ends on the days 1, 2 and 3; the rest later.
SHARES = (1000, 100, 10)

#: The figures of another day and another use of the same machine; see the README.
QUOTED = """Others, quoted from an earlier day on this machine (200 000 subscriptions, node calls that cost nothing; not run now):
  1 000 at once:    PasarGuard e81877c 2.29 s, ATCbot 68196ddf (audited) 2.76 s, ATCbot c46438f5 (batches of 100) 2.42 s
  10 000 at once:   PasarGuard 23.5 s and 544 MB, ATCbot 68196ddf stops at 15 s with 5 700 done, ATCbot c46438f5 24.4 s
  40 000 at once:   PasarGuard fails (more than 32 767 query arguments), none is expired
  100 000 at once:  none of them was run; ATCbot by extrapolation 240 s"""


@define
class Figures:
    """What one of the two showed, by size: a value a round."""

    seconds: dict[int, list[float]] = field(factory=dict)
    cpu: dict[int, list[float]] = field(factory=dict)
    memory: dict[int, list[float]] = field(factory=dict)

    def note(self, sizes: list[int], found: list[dict[str, Any]]) -> None:
        """Keep what a program printed."""
        for size, one in zip(sizes, found, strict=True):
            self.seconds.setdefault(size, []).append(one["seconds"])
            self.cpu.setdefault(size, []).append(one["cpu"])
            self.memory.setdefault(size, []).append(one["mb"])


async def sweeps(total: int, rounds: int) -> tuple[Figures, Figures]:
    """Prepare, record, play all rounds; return our figures and theirs."""
    ours, theirs = Figures(), Figures()
    sizes = [total // share for share in SHARES]
    days = [str(number + 1) for number in range(len(sizes))]
    # Spread over the table, as life would have it. 7919 is prime to any count of ours.
    place = f"(n * 7919 % {total})"
    first, second = sizes[0], sizes[0] + sizes[1]
    day = (
        f"case when {place} < {first} then 1 when {place} < {second} then 2"
        f" when {place} < {second + sizes[2]} then 3 else 30 end"
    )
    ends = f"vpnd_now() + make_interval(days => {day}, secs => n % 30000)"
    with TemporaryDirectory() as folder:
        print(disk(Path(folder)), flush=True)
        recording = Path(folder) / "statements"
        async with embedded_postgres(options=("shared_buffers=512MB", "max_wal_size=4GB")) as server:

            async def copy(name: str) -> str:
                await administer(
                    server.url,
                    f"drop database if exists {name}",
                    f"create database {name} template base strategy file_copy",
                    "checkpoint",
                )
                return server.url_of(name)

            await administer(server.url, "create database base")
            await make_shop(server.url_of("base"), sandbox=True)
            began = trio.current_time()
            await administer(server.url_of("base"), *people(total, ends=ends))
            print(f"{total} subscriptions made in {trio.current_time() - began:.0f} s", flush=True)
            mine, other = [sys.executable, HERE / "_sweep_vpnd.py"], [sys.executable, HERE / "_sweep_raw.py"]
            await run_json(*mine, await copy("round"), *days, "--record", recording)
            for number in range(1, rounds + 1):
                for who in (ours, theirs) if number % 2 else (theirs, ours):
                    if who is theirs:
                        theirs.note(sizes, await run_json(*other, await copy("round"), recording, *days))
                        continue
                    found = await run_json(*mine, await copy("round"), *days)
                    if [one["rows"] for one in found] != sizes:
                        raise BenchFailed(
                            f"the worker has done {[one['rows'] for one in found]} and not {sizes}"
                        )
                    ours.note(sizes, found)
                for size in sizes:
                    print(
                        f"round {number}  {size:7}: {ours.seconds[size][-1]:7.3f} s, asyncpg {theirs.seconds[size][-1]:7.3f} s",
                        flush=True,
                    )
    return ours, theirs


async def with_a_node(count: int) -> float:
    """Have `count` of twice as many end in a whole world; return the seconds until the agent has acknowledged all."""
    options = WorldOptions(expiry_interval=1.0)
    total = 2 * count
    async with open_world(options) as world:
        assert world.node is not None
        assert world.agent is not None
        await make_shop(world.database_url, sandbox=True)
        # Nobody is told: only the way to the node is measured.
        ends = "vpnd_now() + make_interval(days => case when n % 2 = 0 then 1 else 30 end, secs => n % 1000)"
        await administer(world.database_url, *people(total, ends=ends, reachable="false"))
        limits = Limits(4, 4)
        settings = DatabaseSettings(url=Secret(world.database_url))
        async with (
            open_database(settings, limits, instance_name="bench") as db,
            open_http_client(limits) as http,
        ):
            agent = NodeClient(world.node, http)

            async def until(sql: str, what: str, patience: float) -> float:
                began = trio.current_time()
                with trio.move_on_after(patience):
                    while not await db.fetchval("bench.until", sql):  # noqa: ASYNC110 (other processes; they tell nobody)
                        await trio.sleep(0.02)
                    return trio.current_time() - began
                raise BenchFailed(f"{what}: not within {patience:g} s")

            await world.start_daemon()
            acked = (
                "select coalesce(bool_and(n.seq = h.last_seq and n.epoch = h.epoch), false)"
                " and not exists (select from access_log where seq is null) from nodes n, access_head h"
            )
            with trio.fail_after(120):
                while (await agent.status()).users < total:  # noqa: ASYNC110 (likewise)
                    await trio.sleep(0.1)
            await until(acked, "the node has everybody", 60)
            began = trio.current_time()
            await world.advance(2 * DAY)
            expired = await until(
                "select not exists (select from subscriptions where status = 'active' and expires_at <= vpnd_now())",
                "the database",
                300,
            )
            await until(acked, "the node's acknowledgement", 300)
            took = trio.current_time() - began
            status = await agent.status()
            if status.users != total - count:
                raise BenchFailed(f"the core serves {status.users} and not {total - count}")
            core = max(
                resident_mb(one.pid)
                for one in psutil.Process(world.agent.process.pid).children(recursive=True)
            )
            print(
                f"real agent and core, {count} of {total}: off in the database after {expired:.1f} s, acknowledged after"
                f" {took:.1f} s (agent {resident_mb(world.agent.process.pid):.0f} MB, core {core:.0f} MB,"
                f" daemon {resident_mb(world.daemon.process.pid):.0f} MB)",
                flush=True,
            )
            return took


def report(ours: Figures, theirs: Figures, node: float | None) -> int:
    """Print the table and the headline; return the exit code."""
    rows = [
        [
            "ended at once",
            "vpnd s",
            "asyncpg s",
            "ratio",
            "rows/s",
            "CPU s",
            "asyncpg's",
            "peak MB",
            "asyncpg's",
        ]
    ]
    ratios: list[float] = []
    for size in ours.seconds:
        mine, other = median(ours.seconds[size]), median(theirs.seconds[size])
        # Of each round, so that an hour in which the disk was slow counts for both.
        ratios.append(median([a / b for a, b in zip(ours.seconds[size], theirs.seconds[size], strict=True)]))
        rows.append(
            [
                f"{size}",
                f"{mine:.3f}",
                f"{other:.3f}",
                f"{ratios[-1]:.2f}",
                f"{size / mine:.0f}",
                f"{median(ours.cpu[size]):.2f}",
                f"{median(theirs.cpu[size]):.2f}",
                f"{median(ours.memory[size]):.1f}",
                f"{median(theirs.memory[size]):.1f}",
            ]
        )
    print(table(rows))
    print(QUOTED)
    peaks = [median(one) for one in ours.memory.values()]
    grown = max(peaks) - peaks[0]
    met = max(ratios) <= TIME_BAR and grown <= MEMORY_BAR and (node is None or node <= NODE_BAR)
    told = "" if node is None else f", acknowledged by a real node after {node:.1f} s (bar {NODE_BAR:.0f})"
    largest = list(ours.seconds)[-1]
    print(
        f"sweep: {largest} in {median(ours.seconds[largest]):.2f} s, {', '.join(f'{one:.2f}' for one in ratios)} x asyncpg"
        f" (bar {TIME_BAR}), memory +{grown:.1f} MB (bar {MEMORY_BAR:.0f}){told}: {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


async def measure(arguments: argparse.Namespace) -> int:
    """Do all of it."""
    ours, theirs = await sweeps(arguments.subscriptions, arguments.rounds)
    node = None if arguments.no_node else await with_a_node(arguments.node)
    return report(ours, theirs, node)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subscriptions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--node", type=int, default=10_000, help="how many end at once on a real node")
    parser.add_argument("--no-node", action="store_true", help="leave the real node out")
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    try:
        return trio.run(measure, arguments)
    except BaseException as error:
        for leaf in leaves(error):
            if isinstance(leaf, BenchFailed | ProgramFailed):
                print(leaf, file=sys.stderr)
                return 1
        raise


if __name__ == "__main__":
    sys.exit(main())
