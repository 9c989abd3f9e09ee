"""How long does a customer wait for a screen, among a million? vpnd beside python-telegram-bot and aiogram.

200 updates a second on the average, each at a random instant, whatever becomes of the answers (an open loop), from 10 000 chats
whose customers look at the home screen, their subscription, their balance, its history, the plans and their periods; a few
write /start. A million customers with a subscription each stand in the database; the 10 000, spread over them, have money and a
page of history. What is measured is the time from the instant at which an update was due until its screen has arrived whole.

vpnd is `vpnd run --sandbox`, the whole daemon with its inbox, workers, monitors and translated screens; its send limits are
lifted, as the Bot API of our own (`_replies_api.py`) has none. The rivals run on the same database and the same Bot API, make
vpnd's statements by asyncpg, and store, count and translate nothing. Rounds are interleaved, figures are medians of the rounds.

    ./dev bench replies [--customers 1000000] [--chats 10000] [--rate 200] [--rounds 3] [--seconds 30] [--only vpnd]

Exit 1 when vpnd's p99 is over 20 ms, or when anything stays unanswered or is answered with somebody else's screen.
"""

# ruff: noqa: S608  (nothing but constants is pasted into SQL)
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import trio
from _measure import (
    BenchFailed,
    administer,
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
from _people import FIRST, make_shop, people
from _rivals import rival_python
from attrs import define, field

from vpnd.bot import reading
from vpnd.bot.callbacks import Balance, History, Home, Periods, Plans, Subscriptions, encode
from vpnd.bot.screens.balance import PAGE
from vpnd.runtime import journal
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.sandbox.world import BOT_TOKEN
from vpnd.shop import dialogs, ledger, nodes, plans
from vpnd.shop.plans_file import load_plans_file

HERE = Path(__file__).parent
BOTS = ("vpnd", "ptb", "aiogram")
WARM_UP = 3.0  # seconds
#: How long the last updates are waited for, in seconds: what has not come by then never does.
GRACE = 15.0
P99_BAR = 0.020  # seconds

#: Lines of the books of one chat: a page of the history and the beginning of the next.
LINES = 12


@define
class Figures:
    """What one bot showed, a value a round; seconds, shares of a core, MB."""

    p50: list[float] = field(factory=list)
    p99: list[float] = field(factory=list)
    most: list[float] = field(factory=list)
    core: list[float] = field(factory=list)
    memory: list[float] = field(factory=list)
    updates: list[float] = field(factory=list)  # answered a second
    double: list[float] = field(factory=list)  # the Bot API's own share of a core
    late: list[float] = field(factory=list)  # how late the Bot API itself was, p99
    unanswered: list[float] = field(factory=list)
    by_screen: dict[str, list[float]] = field(factory=dict)


def screens(plan_id: str) -> list[tuple[str, int, str]]:
    """What customers look at: name, weight, and what they press or write."""
    return [
        ("home", 25, encode(Home())),
        ("subscriptions", 20, encode(Subscriptions())),
        ("balance", 15, encode(Balance())),
        ("history", 10, encode(History())),
        ("plans", 15, encode(Plans())),
        ("periods", 10, encode(Periods(plan_id))),
        ("start", 5, "/start"),
    ]


def the_plan(customers: int, chats: int) -> dict[str, Any]:
    """What the double and the rivals are told; `$id`, `$ids` and `$text` are the customer's id."""
    portfolio = [reading._PORTFOLIOS, ["$ids", 20, "RUB"]]
    on_sale = [plans._ON_SALE, [plans.OFFERS_LIMIT]]
    known = "select name, inbounds, seen_at from nodes where inbounds <> '[]'::jsonb order by name limit $1"
    looked_at = screens(load_plans_file(None)[0].id)
    return {
        "first": FIRST,
        "chats": [1 + number * (customers // chats) for number in range(chats)],
        "screens": looked_at,
        # His own name and his own money: nobody else's is right.
        "marks": {"home": "C%d", "start": "C%d"},
        "customer": dialogs.CUSTOMER_WITH_EXPECTATION_ANY,
        "statements": {
            "home": [portfolio],
            "start": [portfolio],
            "subscriptions": [portfolio, [known, [nodes.MAX_NODES]]],
            "balance": [[reading._PURSE, ["$id", "RUB"]]],
            "history": [[ledger._STATEMENT, [["customer", "bonus"], "$text", "RUB", PAGE + 1, None]]],
            "plans": [on_sale],
            "periods": [on_sale],
        },
        "buttons": {
            "home": 7,
            "start": 7,
            "subscriptions": 6,
            "balance": 4,
            "history": 3,
            "plans": 4,
            "periods": 5,
        },
    }


def chat_rows(customers: int, chats: int) -> list[str]:
    """Names for all, and money with a history for those who will press."""
    pressing = f"telegram_id > {FIRST} and (telegram_id - {FIRST} - 1) % {customers // chats} = 0"
    return [
        f"update customers set first_name = 'C' || (telegram_id - {FIRST})",
        f"""insert into accounts (kind, owner, currency, customer_id, balance)
            select 'customer', id::text, 'RUB', id, {LINES} * (100 + id % 1000) from customers where {pressing}""",
        "insert into accounts (kind, currency) values ('adjustments', 'RUB') on conflict do nothing",
        f"""insert into ledger (debit_id, credit_id, currency, amount, kind, reference)
            select o.id, a.id, 'RUB', 100 + a.customer_id % 1000, 'adjustment', 'adjustment:bench:' || a.customer_id || ':' || n
            from accounts a cross join accounts o cross join generate_series(1, {LINES}) n
            where a.kind = 'customer' and o.kind = 'adjustments' and o.currency = 'RUB'""",
        *(f"vacuum (analyze) {name}" for name in ("customers", "accounts", "ledger")),
        "checkpoint",
    ]


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

[log]
format = "json"
"""
    )
    return config


class Api:
    """The bench's side of `_replies_api.py`."""

    def __init__(self, base: str, pid: int, client: httpx.AsyncClient) -> None:
        self.base, self.pid, self._client = base, pid, client

    async def order(self, what: str, **parameters: Any) -> Any:
        """Give an order; return what it answers."""
        return (
            (await self._client.get(f"{self.base}/load/{what}", params=parameters)).raise_for_status().json()
        )

    async def until_polled(self) -> None:
        """Wait until a bot waits for updates."""
        with trio.move_on_after(60):
            while not (await self.order("polled"))["polled"]:  # noqa: ASYNC110 (another process; it tells nobody)
                await trio.sleep(0.05)
            return
        raise BenchFailed("the bot does not ask for updates")

    async def settled(self) -> dict[str, Any]:
        """Stop the load, give what is in flight its time, and return the figures."""
        await self.order("stop")
        found: dict[str, Any] = {}
        with trio.move_on_after(GRACE):
            while (found := await self.order("figures"))["waiting"]:  # noqa: ASYNC110 (likewise)
                await trio.sleep(0.05)
        return found


async def measure(
    argv: Sequence[str | Path], name: str, api: Api, rate: float, seconds: float, to: Figures
) -> None:
    """Run one bot for one round."""
    async with program(name, argv) as (child, lines):
        await api.until_polled()
        await api.order("begin", rate=rate)
        await trio.sleep(WARM_UP)
        await api.settled()
        cpu, double, began = cpu_seconds(child.pid), cpu_seconds(api.pid), trio.current_time()
        await api.order("begin", rate=rate)
        await trio.sleep(seconds)
        spent = trio.current_time() - began
        to.core.append((cpu_seconds(child.pid) - cpu) / spent)
        to.double.append((cpu_seconds(api.pid) - double) / spent)
        to.memory.append(resident_mb(child.pid))
        found = await api.settled()
        # A rival that cannot keep up is told by its figures; of vpnd nothing may be left.
        if found["wrong"] or (found["waiting"] and name == "vpnd"):
            raise BenchFailed(
                f"{name}: {found['waiting']} updates stay unanswered, {found['wrong']} answers were wrong\n"
                + "\n".join(lines)
            )
        to.unanswered.append(found["waiting"])
        waits = [one for each in found["latencies"].values() for one in each]
        waits += [float("inf")] * found["waiting"]
        to.updates.append(len(waits) / seconds)
        to.p50.append(percentile(waits, 0.5))
        to.p99.append(percentile(waits, 0.99))
        to.most.append(max(waits))
        to.late.append(percentile(found["late"], 0.99))
        for screen, each in found["latencies"].items():
            to.by_screen.setdefault(screen, []).extend(each)


async def run(arguments: argparse.Namespace) -> dict[str, Figures]:
    """Prepare, play all rounds, and return the figures of each bot."""
    python = await trio.to_thread.run_sync(rival_python)
    with TemporaryDirectory(prefix="vpnd-bench-", dir="/tmp") as name:
        folder = Path(name)
        print(await trio.to_thread.run_sync(disk, folder), flush=True)
        plan = folder / "plan.json"
        plan.write_text(json.dumps(the_plan(arguments.customers, arguments.chats)))
        async with (
            embedded_postgres(options=("shared_buffers=512MB", "max_wal_size=4GB")) as postgres,
            program("the Bot API", [python, HERE / "_replies_api.py", plan]) as (double, lines),
            httpx.AsyncClient(timeout=30, trust_env=False) as client,
        ):
            print(f"{arguments.customers} customers are made", flush=True)
            await make_shop(postgres.url, sandbox=True)
            await administer(
                postgres.url,
                *people(arguments.customers, ends="vpnd_now() + interval '20 days'"),
                *chat_rows(arguments.customers, arguments.chats),
            )
            port = (await first_json(lines, "the Bot API"))["port"]
            api = Api(f"http://127.0.0.1:{port}", double.pid, client)
            config = daemon_config(folder, postgres.url, api.base)
            rivals = [HERE / "_replies_rivals.py"]
            bots: dict[str, list[str | Path]] = {
                "vpnd": [sys.executable, "-m", "vpnd", "run", "--sandbox", "--config", config],
                "ptb": [python, *rivals, "ptb", api.base, postgres.url, plan],
                "aiogram": [python, *rivals, "aiogram", api.base, postgres.url, plan],
            }
            figures = {bot: Figures() for bot in BOTS if bot in arguments.only}
            for number in range(1, arguments.rounds + 1):
                for bot, found in figures.items():
                    await measure(bots[bot], bot, api, arguments.rate, arguments.seconds, found)
                    print(
                        f"round {number} {bot:8} {found.updates[-1]:5.0f} updates/s   p50 {found.p50[-1] * 1e3:6.1f}"
                        f"   p99 {found.p99[-1] * 1e3:6.1f}   max {found.most[-1] * 1e3:6.1f} ms"
                        f"   {found.core[-1]:4.0%} of a core (the double {found.double[-1]:.0%})",
                        flush=True,
                    )
            return figures


def show(figures: dict[str, Figures]) -> None:
    """Print the tables."""
    rows = [
        [
            "",
            "updates/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "unanswered",
            "of a core",
            "memory MB",
            "the double: of a core",
            "late, p99 ms",
        ]
    ]
    for bot, found in figures.items():
        rows.append(
            [
                bot,
                f"{median(found.updates):.0f}",
                *(f"{median(values) * 1e3:.1f}" for values in (found.p50, found.p99, found.most)),
                f"{median(found.unanswered):.0f}",
                f"{median(found.core):.0%}",
                f"{median(found.memory):.0f}",
                f"{median(found.double):.0%}",
                f"{median(found.late) * 1e3:.1f}",
            ]
        )
    print(table(rows))
    for bot, found in figures.items():
        screens_seen = ", ".join(
            f"{screen} {percentile(each, 0.5) * 1e3:.1f} / {percentile(each, 0.99) * 1e3:.1f}"
            for screen, each in found.by_screen.items()
            if each
        )
        print(f"{bot}, p50 / p99 in ms by screen: {screens_seen}")


def judge(figures: dict[str, Figures], rate: float) -> int:
    """Print the bar and the headline; return the exit code."""
    if "vpnd" not in figures:
        print("no bar without vpnd")
        return 0
    ours = figures["vpnd"]
    p99 = median(ours.p99)
    met = p99 <= P99_BAR
    print(f"{'met   ' if met else 'MISSED'}  p99 at {rate:g}/s: {p99 * 1e3:.1f} ms (bar ≤ {P99_BAR * 1e3:g})")
    beside = "".join(
        f"; {bot} {median(found.p50) * 1e3:.1f} / {median(found.p99) * 1e3:.1f} ms, {median(found.core):.0%}, "
        f"{median(found.memory):.0f} MB"
        for bot, found in figures.items()
        if bot != "vpnd"
    )
    print(
        f"replies: vpnd p50 {median(ours.p50) * 1e3:.1f}, p99 {p99 * 1e3:.1f}, max {median(ours.most) * 1e3:.1f} ms,"
        f" {median(ours.core):.0%} of a core, {median(ours.memory):.0f} MB{beside}: {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--chats", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=200.0, help="updates a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each round")
    parser.add_argument("--only", nargs="+", default=list(BOTS), choices=BOTS, metavar="BOT")
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    try:
        figures = trio.run(run, arguments)
    except BaseException as error:
        for leaf in leaves(error):
            if isinstance(leaf, BenchFailed):
                print(leaf, file=sys.stderr)
                return 1
        raise
    show(figures)
    return judge(figures, arguments.rate)


if __name__ == "__main__":
    sys.exit(main())
