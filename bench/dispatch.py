"""How fast is a button answered? vpnd beside python-telegram-bot and aiogram, the same handler in all three.

The handler: `/profile` → a SELECT by key among a million rows → one sendMessage. Updates come by long polling from a Bot API of
our own that costs next to nothing (`_bot_api.py`); PostgreSQL is durable and shared by all. vpnd is the whole daemon: every
update is stored in the inbox before its offset is confirmed, queued by chat, counted, and marked as done. The rivals do
none of that. Flood limits are lifted in vpnd (the rivals have none), since they would be all that is measured.

Rounds are interleaved, figures are medians of the rounds. Two loads:

- closed: 32 customers who write again as soon as they are answered: how much can it do?
- open: 100 customers a second, come what may: how long does one wait?

    ./dev bench dispatch [--rounds 3] [--seconds 8] [--only vpnd]

Exit 1 when the bar is not met: closed loop ≥ 1.0 × aiogram, p99 at 100/s ≤ 1.5 × aiogram's, memory < half of aiogram's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import trio
from _measure import (
    BenchFailed,
    cpu_seconds,
    disk,
    first_json,
    leaves,
    median,
    percentile,
    program,
    resident_mb,
    table,
)
from _rivals import rival_python
from attrs import define, field

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.database.migrate import migrate
from vpnd.runtime.limits import Limits
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.sandbox.world import BOT_TOKEN

HERE = Path(__file__).parent
IN_FLIGHT = 32
RATE = 100
WARM_UP = 2.0  # seconds

THROUGHPUT_BAR = 1.0
LATENCY_BAR = 1.5
MEMORY_BAR = 0.5

TABLE = """
    create table bench_customers as
    select id::bigint, (id::bigint * 7919 % 1000003) as balance, now() + id * interval '1 minute' as expires_at
      from generate_series(1, 1000000) as id;
    alter table bench_customers add primary key (id);
"""


@define
class Figures:
    """What one bot showed, a value a round."""

    rate: list[float] = field(factory=list)  # updates a second, closed loop
    closed_p50: list[float] = field(factory=list)  # seconds
    closed_p99: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)  # seconds an update
    open_p50: list[float] = field(factory=list)
    open_p99: list[float] = field(factory=list)
    open_max: list[float] = field(factory=list)
    memory: list[float] = field(factory=list)  # MB at the end


class BotApi:
    """The bench's side of `_bot_api.py`."""

    def __init__(self, base: str, client: httpx.AsyncClient) -> None:
        self.base = base
        self._client = client

    async def order(self, what: str) -> Any:
        """Give an order; return what it answers."""
        return (await self._client.get(f"{self.base}/load/{what}")).raise_for_status().json()

    async def until_polled(self) -> None:
        """Wait until a bot waits for updates."""
        with trio.move_on_after(60):
            while not (await self.order("polled"))["polled"]:  # noqa: ASYNC110 (another process; it tells nobody)
                await trio.sleep(0.05)
            return
        raise BenchFailed("the bot does not ask for updates")

    async def settled(self) -> dict[str, Any]:
        """Stop the load, give what is in flight a moment, and return the figures."""
        await self.order("stop")
        with trio.move_on_after(5):
            while (await self.order("figures"))["unanswered"]:  # noqa: ASYNC110 (likewise)
                await trio.sleep(0.02)
        figures: dict[str, Any] = await self.order("figures")
        if figures["wrong"] or figures["unanswered"]:
            raise BenchFailed(f"{figures['wrong']} answers were wrong, {figures['unanswered']} did not come")
        return figures


async def measure(argv: Sequence[str | Path], name: str, api: BotApi, seconds: float, to: Figures) -> None:
    """Run one bot for one round."""
    async with program(name, argv) as (child, _lines):
        await api.until_polled()
        await api.order(f"closed?users={IN_FLIGHT}")
        await trio.sleep(WARM_UP)
        cpu = cpu_seconds(child.pid)
        await api.order("reset")
        began = trio.current_time()
        await trio.sleep(seconds)
        latencies = (await api.order("figures"))["latencies"]
        to.rate.append(len(latencies) / (trio.current_time() - began))
        to.cpu.append((cpu_seconds(child.pid) - cpu) / max(1, len(latencies)))
        to.closed_p50.append(percentile(latencies, 0.50))
        to.closed_p99.append(percentile(latencies, 0.99))
        await api.settled()
        await trio.sleep(0.5)

        await api.order(f"open?rate={RATE}")
        await trio.sleep(WARM_UP / 2)
        await api.order("reset")
        await trio.sleep(seconds)
        latencies = (await api.settled())["latencies"]
        to.open_p50.append(percentile(latencies, 0.50))
        to.open_p99.append(percentile(latencies, 0.99))
        to.open_max.append(max(latencies))
        to.memory.append(resident_mb(child.pid))


def daemon_config(folder: Path, database_url: str, api_base: str) -> Path:
    """Write the daemon's configuration; nothing in it is special but the lifted limits."""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    config = folder / "vpnd.toml"
    config.write_text(
        f"""
[instance]
name = "bench"
state_dir = "{state}"

[telegram]
token = "{BOT_TOKEN}"
api_base = "{api_base}"

[database]
url = "{database_url}"

[http]
listen = "127.0.0.1:{free_port()}"
metrics_listen = "127.0.0.1:{free_port()}"

[limits]
telegram_per_second = 0
telegram_per_chat = 0
user_burst = 0

[log]
format = "json"
"""
    )
    return config


async def prepare(url: str) -> None:
    """Make the daemon's schema and the million customers."""
    settings = DatabaseSettings(url=Secret(url), pool_min=0)
    async with open_database(settings, Limits(2, 2), instance_name="bench") as db:
        await migrate(db)
        async with db.transaction("bench.fill", deadline=120) as tx:
            await tx.script(TABLE)
        # Otherwise the server would tidy up after this, and write it to its disk, while somebody is measured.
        await db.write("bench.vacuum", "vacuum (analyze) bench_customers")
        await db.write("bench.checkpoint", "checkpoint")


async def run(rounds: int, seconds: float, only: Sequence[str]) -> dict[str, Figures]:
    """Play all rounds; return the figures of each bot."""
    python = await trio.to_thread.run_sync(rival_python)
    with TemporaryDirectory(prefix="vpnd-bench-", dir="/tmp") as name:
        folder = Path(name)
        print(await trio.to_thread.run_sync(disk, folder), flush=True)
        async with (
            embedded_postgres(options=("shared_buffers=256MB",)) as postgres,
            program("the Bot API", [python, HERE / "_bot_api.py"]) as (_api, lines),
            httpx.AsyncClient(timeout=30, trust_env=False) as client,
        ):
            await prepare(postgres.url)
            port = (await first_json(lines, "the Bot API"))["port"]
            api = BotApi(f"http://127.0.0.1:{port}", client)
            config = daemon_config(folder, postgres.url, api.base)
            rivals = HERE / "_dispatch_rivals.py"
            bots: dict[str, list[str | Path]] = {
                "vpnd": [sys.executable, HERE / "_dispatch_vpnd.py", config],
                "ptb": [python, rivals, "ptb", api.base, postgres.url],
                "aiogram": [python, rivals, "aiogram", api.base, postgres.url],
            }
            figures = {bot: Figures() for bot in bots if bot in only}
            for number in range(1, rounds + 1):
                for bot, found in figures.items():
                    await measure(bots[bot], bot, api, seconds, found)
                    print(
                        f"round {number} {bot:8} {found.rate[-1]:6.0f} updates/s"
                        f"   p99 at {RATE}/s {found.open_p99[-1] * 1e3:5.1f} ms",
                        flush=True,
                    )
            return figures


def show(figures: dict[str, Figures]) -> None:
    """Print the table."""
    rows = [
        [
            "",
            "updates/s",
            "× aiogram",
            "p50 ms",
            "p99 ms",
            "CPU ms/update",
            f"p50 at {RATE}/s",
            "p99",
            "max",
            "memory MB",
        ]
    ]
    aiogram = figures.get("aiogram")
    for bot, found in figures.items():
        ratio = median(found.rate) / median(aiogram.rate) if aiogram else float("nan")
        rows.append(
            [
                bot,
                f"{median(found.rate):.0f}",
                f"{ratio:.2f}",
                f"{median(found.closed_p50) * 1e3:.1f}",
                f"{median(found.closed_p99) * 1e3:.1f}",
                f"{median(found.cpu) * 1e3:.2f}",
                f"{median(found.open_p50) * 1e3:.1f}",
                f"{median(found.open_p99) * 1e3:.1f}",
                f"{median(found.open_max) * 1e3:.1f}",
                f"{median(found.memory):.0f}",
            ]
        )
    print(table(rows))


def judge(figures: dict[str, Figures]) -> bool:
    """Print the bars and the headline; return whether all are met."""
    if not {"vpnd", "aiogram"} <= figures.keys():
        print("no bar without both vpnd and aiogram")
        return True
    ours, theirs = figures["vpnd"], figures["aiogram"]
    speed = median(ours.rate) / median(theirs.rate)
    wait = median(ours.open_p99) / median(theirs.open_p99)
    memory = median(ours.memory) / median(theirs.memory)
    met = True
    for what, value, bar, good in (
        ("updates/s, closed loop", speed, f"≥ {THROUGHPUT_BAR}", speed >= THROUGHPUT_BAR),
        (f"p99 at {RATE}/s", wait, f"≤ {LATENCY_BAR}", wait <= LATENCY_BAR),
        ("memory", memory, f"< {MEMORY_BAR}", memory < MEMORY_BAR),
    ):
        print(f"{'met   ' if good else 'MISSED'}  {what}: {value:.2f} × aiogram's (bar {bar})")
        met = met and good
    print(
        f"dispatch: vpnd {median(ours.rate):.0f} updates/s = {speed:.2f} × aiogram, p99 at {RATE}/s"
        f" {median(ours.open_p99) * 1e3:.1f} ms ({wait:.2f} ×), {median(ours.memory):.0f} MB ({memory:.2f} ×)"
    )
    return met


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each load")
    parser.add_argument("--only", nargs="+", default=["vpnd", "ptb", "aiogram"], metavar="BOT")
    options = parser.parse_args()
    figures: dict[str, Figures] = {}
    try:
        figures = trio.run(run, options.rounds, options.seconds, options.only)
    except* BenchFailed as group:
        for error in leaves(group):
            print(error, file=sys.stderr)
    if not figures:
        return 1
    show(figures)
    return 0 if judge(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
