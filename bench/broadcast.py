"""How much of what Telegram permits does a broadcast reach, and what do customers notice? vpnd beside two usual ways to send.

The Bot API is our own (`_broadcast_api.py`) and limits sends as Telegram may; the true limiter is unpublished. Three models:

    alone     at most 30 accepted sends in any second, nobody else sends
    beside    the same, and the bot's other traffic, 10 messages a second at random instants, shares the limit
    penalty   as beside, and a refusal blocks every send for 5 s

vpnd is `vpnd run --sandbox`, the whole daemon; its other traffic are customers who write /start and get the first screen as a new
message, and as many who press a button. The two senders beside it (`_broadcast_rivals.py`: one after the other with 0.05 s
between, and 25 at once each second) know nothing of the bot's other traffic. vpnd is also shown with traffic that it cannot know
of, another program with its token. All contestants run at once, each with a world of its own, since at 30 a second they cost next
to nothing. Then vpnd alone has the machine: 100 000 recipients at 1000 a second.

    ./dev bench broadcast [--recipients 3000] [--rivals 1200] [--many 100000] [--only slow|fast]
    ./dev bench broadcast --million    a broadcast to a million customers, watched for its first 60 s

Exit 1 when a bar is missed; the last line is the headline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import httpx
import trio
from _measure import (
    BenchFailed,
    administer,
    cpu_seconds,
    disk,
    first_json,
    leaves,
    percentile,
    program,
    resident_mb,
    run_json,
    table,
)
from _people import make_shop, people
from _rivals import rival_python
from attrs import define, field

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.postgres import PostgresServer, embedded_postgres
from vpnd.shop import broadcasts
from vpnd.shop.segments import Segment

HERE: Final = Path(__file__).parent
TEXT: Final = {"text": {"en": "BROADCAST <b>news</b>"}}
LIMIT, FAST = 30, 1000
OTHERS: Final = 10.0  # metered answers a second, and as many that are not
PENALTY: Final = 5.0
#: A contestant that is not at its end after this is cut off, in seconds.
LONGEST: Final = 240.0
#: Each model: seconds of its penalty, and whether the bot has other traffic.
MODELS: Final = {"alone": (0.0, False), "beside": (0.0, True), "penalty": (PENALTY, True)}

BARS: Final = {"alone": 0.98, "beside": 0.92, "penalty": 0.92, "fast": 0.90}
METERED_BAR, UNMETERED_BAR = 0.100, 0.050  # seconds, p99
COUNT_BAR, FIRST_BAR, FLAT_BAR = 2.0, 3.0, 15.0  # seconds, seconds, MB


@define
class Seen:
    """What one contestant showed in one model."""

    who: str
    model: str
    share: float
    rate: float
    refused: int
    lost: int
    repeated: int
    metered: list[float] = field(factory=list)
    unmetered: list[float] = field(factory=list)
    memory: tuple[float, float] = (0.0, 0.0)
    core: float = 0.0
    cut_off: bool = False

    def row(self) -> list[str]:
        """A row of the table."""
        waits = [
            f"{percentile(each, 0.5) * 1e3:.0f} / {percentile(each, 0.99) * 1e3:.0f}" if each else "-"
            for each in (self.metered, self.unmetered)
        ]
        return [
            f"{self.who}, {self.model}",
            f"{self.rate:.1f}",
            f"{self.share:.1%}",
            str(self.refused),
            f"{self.lost}{' (cut off)' if self.cut_off else ''}",
            str(self.repeated),
            *waits,
            f"{self.memory[1]:.0f}" if self.memory[1] else "-",
            f"{self.core:.0%}" if self.core else "-",
        ]


HEAD: Final = [
    "", "per s", "of permitted", "429s", "lost", "twice", "metered p50 / p99 ms", "unmetered p50 / p99 ms", "MB", "of a core",
]  # fmt: skip


class Api:
    """The bench's side of one world of `_broadcast_api.py`."""

    def __init__(self, base: str, token: str, client: httpx.AsyncClient) -> None:
        self.base, self.token, self._client = base, token, client

    async def order(self, what: str, **parameters: Any) -> Any:
        """Give an order; return what it answers."""
        url = f"{self.base}/load/{what}"
        answer = await self._client.get(url, params={"token": self.token, **parameters})
        return answer.raise_for_status().json()

    async def until_polled(self) -> None:
        """Wait until the bot waits for updates."""
        with trio.move_on_after(60):
            while not (await self.order("polled"))["polled"]:  # noqa: ASYNC110 (another process; it tells nobody)
                await trio.sleep(0.05)
            return
        raise BenchFailed("the bot does not ask for updates")


def token_of(number: int) -> str:
    """A token of the right shape for each world."""
    return f"{4242424200 + number}:AAsandbox-sandbox-sandbox-sandbox00"


def daemon_config(folder: Path, name: str, database_url: str, api: Api, per_second: float) -> Path:
    """Write a daemon's configuration; nothing in it is special but the rate."""
    state = folder / f"state-{name}"
    state.mkdir()
    web, metrics = free_port(), free_port()
    config = folder / f"{name}.toml"
    config.write_text(
        f"""
[instance]
name = "{name.replace("_", "-")}"
state_dir = "{state}"

[telegram]
token = "{api.token}"
api_base = "{api.base}"

[database]
url = "{database_url}"

[http]
listen = "127.0.0.1:{web}"
metrics_listen = "127.0.0.1:{metrics}"

[limits]
telegram_per_second = {per_second}

[log]
format = "json"
"""
    )
    return config


@asynccontextmanager
async def the_shop(
    server: PostgresServer, name: str, customers: int, *more: str, **kinds: str
) -> AsyncIterator[Database]:
    """A database of its own with so many customers; `kinds` and `more` make them differ."""
    url = server.url_of(name)
    await administer(server.url, f"create database {name}")
    await make_shop(url, sandbox=True)
    await administer(url, *people(customers, ends="vpnd_now() + interval '20 days'", **kinds), *more)
    async with open_database(DatabaseSettings(url=Secret(url)), Limits(3, 3), instance_name="bench") as db:
        yield db


async def begin(db: Database, segment: Segment | None = None) -> int:
    """Begin a broadcast, as an operator's yes does; the daemon finds it within two seconds."""
    number = await broadcasts.create(
        db, content=TEXT, segment=segment or Segment(), created_by="bench", title="bench"
    )
    await broadcasts.start(db, number)
    return number


async def finished(db: Database, number: int, patience: float) -> bool:
    """Wait until it is done; whether it was in time."""
    with trio.move_on_after(patience):
        while True:
            found = await broadcasts.progress(db, number)
            if found is not None and found.state == "done":
                return True
            await trio.sleep(0.5)
    return False


# ---------------------------------------------------------------------- contestants


async def play_vpnd(
    server: PostgresServer,
    folder: Path,
    api: Api,
    model: str,
    recipients: int,
    *,
    limit: int = LIMIT,
    foreign: float = 0.0,
) -> Seen:
    """The whole daemon in one model."""
    penalty, others = MODELS.get(model, (0.0, True))
    if foreign:
        others = False
    name = f"vpnd_{model}"
    async with the_shop(server, name, recipients) as db:
        config = daemon_config(folder, name, server.url_of(name), api, limit)
        argv = [sys.executable, "-m", "vpnd", "run", "--sandbox", "--config", config]
        async with program(name, argv) as (child, lines):
            await api.until_polled()
            await trio.sleep(6)  # the workers begin within five seconds
            await api.order("begin", limit=limit, penalty=penalty, foreign=foreign, customers=recipients)
            memory, spent, began = resident_mb(child.pid), cpu_seconds(child.pid), perf_counter()
            if others:
                await api.order("press", metered=OTHERS, unmetered=OTHERS)
            number = await begin(db)
            in_time = await finished(db, number, LONGEST)
            core = (cpu_seconds(child.pid) - spent) / (perf_counter() - began)
            highest = resident_mb(child.pid)
            await api.order("calm")
            await trio.sleep(2)
            found = await api.order("figures")
            if found["waiting"]:
                raise BenchFailed(
                    f"{name}: {found['waiting']} customers stay unanswered\n" + "\n".join(lines)
                )
    seen = judged("vpnd", model, found, recipients, limit)
    seen.metered, seen.unmetered = found["waits"]["metered"], found["waits"]["unmetered"]
    seen.memory, seen.core, seen.cut_off = (memory, highest), core, not in_time
    return seen


def judged(who: str, model: str, found: dict[str, Any], recipients: int, limit: int) -> Seen:
    """The share of what was permitted beside the others that was reached, from its first message to its last."""
    seconds = max(found["seconds"], 1e-9)
    rate = (found["sends"] - 1) / seconds
    return Seen(
        who=who,
        model=model,
        share=rate / (limit - found["meanwhile"] / seconds),
        rate=rate,
        refused=found["refused"],
        lost=recipients - found["recipients"],
        repeated=found["repeated"],
    )


async def play_rival(python: Path, api: Api, shape: str, model: str, recipients: int) -> Seen:
    """One of the two senders in one model."""
    penalty, others = MODELS[model]
    foreign = OTHERS if others else 0.0
    await api.order("begin", limit=LIMIT, penalty=penalty, foreign=foreign, customers=recipients)
    told = await run_json(
        python,
        HERE / "_broadcast_rivals.py",
        api.base,
        api.token,
        shape,
        str(recipients),
        f"{LONGEST / 1.5:g}",
    )
    await api.order("calm")
    found = await api.order("figures")
    # A sender that is cut off has lost nobody yet, and is judged by its rate.
    seen = judged(shape, model, found, recipients, LIMIT)
    seen.cut_off = "cut off" in told
    return seen


# ---------------------------------------------------------------------- the three parts


async def play_slow(
    arguments: argparse.Namespace, server: PostgresServer, folder: Path, apis: Apis
) -> list[Seen]:
    """All contestants in all models at once."""
    results: list[Seen] = []

    async def vpnd(model: str, **options: Any) -> None:
        results.append(await play_vpnd(server, folder, apis.next(), model, arguments.recipients, **options))
        say(results[-1])

    async def rival(shape: str, model: str) -> None:
        results.append(await play_rival(apis.python, apis.next(), shape, model, arguments.rivals))
        say(results[-1])

    async with trio.open_nursery() as nursery:
        for model in MODELS:
            nursery.start_soon(vpnd, model)
            for shape in ("sequential", "burst"):
                nursery.start_soon(rival, shape, model)

        async def strangers() -> None:
            await vpnd("strangers", foreign=OTHERS)

        nursery.start_soon(strangers)
    order = ["vpnd", "sequential", "burst"]
    return sorted(results, key=lambda one: (order.index(one.who), [*MODELS, "strangers"].index(one.model)))


def say(seen: Seen) -> None:
    """Tell that one is at its end."""
    print(f"  {', '.join(seen.row()[:6])}", flush=True)


@define
class Apis:
    """The Bot API's program, and a world of it for each who asks."""

    base: str
    client: httpx.AsyncClient
    python: Path
    made: int = 0

    def next(self) -> Api:
        """A new world."""
        self.made += 1
        return Api(self.base, token_of(self.made), self.client)


@define
class Million:
    """What a broadcast to a million showed in its first minute."""

    counted: int
    count_seconds: float
    counts: dict[str, float]
    first_seconds: float
    sent: int
    share: float
    memory: list[float]
    filled: int


async def play_million(
    server: PostgresServer, folder: Path, api: Api, customers: int, seconds: float
) -> Million:
    """Count segments, begin, and watch the first minute."""
    async with the_shop(server, "million", customers, *BELONGINGS, **KINDS) as db:
        counts: dict[str, float] = {}
        counted = 0
        config = daemon_config(folder, "million", server.url_of("million"), api, LIMIT)
        argv = [sys.executable, "-m", "vpnd", "run", "--sandbox", "--config", config]
        async with program("million", argv) as (child, _lines):
            await api.until_polled()
            await trio.sleep(6)
            await api.order("begin", limit=LIMIT, penalty=0, foreign=0, customers=customers)
            await api.order("press", metered=1, unmetered=OTHERS)
            for name, segment in SEGMENTS.items():
                began = perf_counter()
                counted = await broadcasts.reach(db, segment)
                counts[f"{name} ({counted:,})"] = perf_counter() - began
            memory = [resident_mb(child.pid)]
            before = (await api.order("figures"))["now"]
            number = await begin(db)
            for _ in range(int(seconds)):
                await trio.sleep(1)
                memory.append(resident_mb(child.pid))
            found = await api.order("figures")
            standing = await broadcasts.progress(db, number)
            await api.order("calm")
    if not found["sends"] or standing is None:
        raise BenchFailed("nothing was sent in the first minute")
    permitted = LIMIT - found["meanwhile"] / max(found["seconds"], 1.0)
    return Million(
        counted=counted,
        count_seconds=max(counts.values()),
        counts=counts,
        first_seconds=found["first"] - before,
        sent=found["sends"],
        share=(found["sends"] - 1) / found["seconds"] / permitted,
        memory=memory,
        filled=standing.total,
    )


#: Customers of a million that differ: SQL about customer number `n`, and what half of them have paid and own.
KINDS: Final = {
    "language": "case when n % 4 = 0 then 'ru' else 'en' end",
    "created": "vpnd_now() - make_interval(days => n % 60)",
    "trial": "n % 10 = 3",
}
BELONGINGS: Final = (
    """
    insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount, status,
                           request_key, received, expires_at, paid_at)
    select 'p' || translate(lpad(customer_id::text, 16, '0'), '0189', 'abcd'), customer_id, offer_id, 'yookassa', 'RUB', 19900,
           'RUB', 19900, 'paid', 'bench:' || customer_id, 19900, vpnd_now(), vpnd_now()
    from subscriptions where customer_id % 2 = 0
    """,
    """
    insert into accounts (kind, owner, currency, customer_id, balance)
    select 'customer', id::text, 'RUB', id, id % 3 * 5000 from customers where id % 2 = 0
    """,
    "vacuum (analyze) purchases",
    "vacuum (analyze) accounts",
    "checkpoint",
)

SEGMENTS: Final = {
    "all": Segment(),
    "active": Segment(active=True),
    "never bought": Segment(bought=False),
    "expired since 5 days": Segment(expired_days=5),
    "balance under 100": Segment(balance_under=10_000, currency="RUB"),
    "brought nobody, idle since 30 days, active, English": Segment(
        brought=False, idle_days=30, active=True, languages=["en"]
    ),
    "has bought, has a balance, active, no trial": Segment(
        bought=True, balance_over=0, currency="RUB", active=True, trial=False
    ),
}


# ---------------------------------------------------------------------- judging


def judge_slow(results: list[Seen]) -> list[bool]:
    """Print the bars of the three models."""
    met = []
    for seen in results:
        if seen.who != "vpnd" or seen.model not in BARS:
            continue
        met += judge_one(seen)
    return met


def judge_one(seen: Seen) -> list[bool]:
    """Print the bars of one run of vpnd."""
    found = [
        bar(
            f"{seen.model}: {seen.share:.1%} of permitted",
            seen.share >= BARS[seen.model],
            f"≥ {BARS[seen.model]:.0%}",
        )
    ]
    found.append(
        bar(
            f"{seen.model}: {seen.lost} lost, {seen.repeated} twice",
            seen.lost == 0 and not seen.repeated,
            "none",
        )
    )
    for name, waits, most in (
        ("metered", seen.metered, METERED_BAR),
        ("unmetered", seen.unmetered, UNMETERED_BAR),
    ):
        if waits:
            p99 = percentile(waits, 0.99)
            found.append(
                bar(
                    f"{seen.model}: {name} replies p99 {p99 * 1e3:.0f} ms",
                    p99 <= most,
                    f"≤ {most * 1e3:.0f} ms",
                )
            )
    return found


def bar(what: str, met: bool, wanted: str) -> bool:
    """Print one bar."""
    print(f"{'met   ' if met else 'MISSED'}  {what} (bar {wanted})")
    return met


def judge_million(found: Million) -> list[bool]:
    """Print the figures and the bars of the million."""
    print(table([["segment", "seconds"], *([name, f"{value:.2f}"] for name, value in found.counts.items())]))
    shown = ", ".join(f"{value:.0f}" for value in found.memory[::10])
    print(
        f"memory each 10 s, MB: {shown}; recipients written down in that minute: {found.filled:,}; sent: {found.sent:,}"
    )
    grown = max(found.memory[10:]) - min(found.memory[5:10])
    counted, first = found.count_seconds, found.first_seconds
    return [
        bar(
            f"the slowest count of a million took {counted:.2f} s", counted < COUNT_BAR, f"< {COUNT_BAR:g} s"
        ),
        bar(f"the first message left after {first:.2f} s", first < FIRST_BAR, f"< {FIRST_BAR:g} s"),
        bar(f"memory grew by {grown:.1f} MB after ten seconds", grown <= FLAT_BAR, f"≤ {FLAT_BAR:g} MB"),
        bar(f"{found.share:.1%} of permitted", found.share >= BARS["beside"], f"≥ {BARS['beside']:.0%}"),
    ]


async def run(arguments: argparse.Namespace) -> int:
    """Play what was asked for; return the exit code."""
    python = await trio.to_thread.run_sync(rival_python)
    with TemporaryDirectory(prefix="vpnd-bench-", dir="/tmp") as name:
        folder = Path(name)
        print(await trio.to_thread.run_sync(disk, folder), flush=True)
        async with (
            embedded_postgres(options=("shared_buffers=512MB", "max_wal_size=4GB")) as server,
            program("the Bot API", [python, HERE / "_broadcast_api.py"]) as (_double, lines),
            httpx.AsyncClient(timeout=30, trust_env=False) as client,
        ):
            port = (await first_json(lines, "the Bot API"))["port"]
            apis = Apis(f"http://127.0.0.1:{port}", client, Path(python))
            if arguments.million:
                found = await play_million(
                    server, folder, apis.next(), arguments.customers, arguments.seconds
                )
                met = judge_million(found)
                print(
                    f"broadcast to {arguments.customers:,}: counted in {found.count_seconds:.2f} s, first message after"
                    f" {found.first_seconds:.2f} s, {found.sent:,} in {arguments.seconds:.0f} s,"
                    f" {max(found.memory):.0f} MB: {'met' if all(met) else 'MISSED'}"
                )
                return 0 if all(met) else 1
            return await play_both(arguments, server, folder, apis)


async def play_both(arguments: argparse.Namespace, server: PostgresServer, folder: Path, apis: Apis) -> int:
    """The three models, then the thousand a second."""
    results: list[Seen] = []
    if arguments.only != "fast":
        results += await play_slow(arguments, server, folder, apis)
    if arguments.only != "slow":
        results.append(await play_vpnd(server, folder, apis.next(), "fast", arguments.many, limit=FAST))
    print(table([HEAD, *(seen.row() for seen in results)]))
    met = judge_slow(results)
    shares = ", ".join(f"{seen.model} {seen.share:.1%}" for seen in results if seen.who == "vpnd")
    others = ", ".join(f"{seen.who} {seen.model} {seen.share:.0%}" for seen in results if seen.who != "vpnd")
    lost = sum(seen.lost for seen in results if seen.who == "vpnd")
    print(
        f"broadcast: vpnd reaches of the permitted rate {shares}; {lost} lost"
        f"{f'; {others}' if others else ''}: {'met' if all(met) else 'MISSED'}"
    )
    return 0 if all(met) else 1


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipients", type=int, default=3000, help="of vpnd in the three models")
    parser.add_argument("--rivals", type=int, default=1200, help="recipients of the two senders")
    parser.add_argument("--many", type=int, default=100_000, help="recipients at 1000 a second")
    parser.add_argument("--only", choices=("slow", "fast"))
    parser.add_argument(
        "--million", action="store_true", help="watch the first minute of a broadcast to a million"
    )
    parser.add_argument("--customers", type=int, default=1_000_000, help="with --million")
    parser.add_argument("--seconds", type=float, default=60.0, help="with --million")
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    try:
        return trio.run(run, arguments)
    except* BenchFailed as group:
        for error in leaves(group):
            print(f"broadcast: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
