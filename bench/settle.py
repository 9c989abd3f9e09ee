"""How fast is a payment settled, beside the same statements by asyncpg on asyncio?

A settlement is a charge that becomes access: purchase, grant, subscription, four ledger entries at most, the node's log and
the receipt, in one transaction. Half of the purchases renew a subscription, half are a customer's first. No two customers'
money shares a transaction.

The statements and their arguments are recorded once, by settling everything in a copy of the database. Then, round by round
and in turn, fresh copies are settled one by one: by vpnd through its bridge, limiter, deadline and clocks, and by a process
that replays the recorded statements with nothing but asyncpg. Last, vpnd settles at 50 a second, come what may.

    ./dev bench settle [--settlements 600] [--rounds 3] [--seconds 20]

Exit 1 when a bar is not met: rate one by one ≥ 0.25 of asyncpg's and ≥ 200/s, p99 at 50/s ≤ 300 ms (medians of the rounds).
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import trio
from _measure import disk, leaves, median, percentile, table

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.database.migrate import migrate
from vpnd.database.scope import Transaction
from vpnd.payments.settle import settle_charge
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.shop.charges import Charge, Outcome
from vpnd.shop.plans import apply_plans, load_plans_file

RATIO_BAR = 0.25
RATE_BAR = 200.0  # a second
P99_BAR = 0.300  # seconds
OPEN_RATE = 50  # a second

#: Customers with one open purchase each; every second one has a subscription already.
PREPARE = """
with people as (
    insert into customers (telegram_id, first_name, language, referral_code)
    select 1000 + n, 'C', 'en', 'CODE' || n from generate_series(1, $1::int) n
    returning id, telegram_id
), offer as (
    select o.id, o.plan_id, p.amount from offers o join prices p on p.offer_id = o.id and p.currency = 'RUB'
    where o.days = 30 order by o.id limit 1
), subscribed as (
    insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at)
    select p.id, offer.plan_id, 's' || translate(lpad(p.id::text, 15, '0'), '0189', 'abcd'), gen_random_uuid(), 'link' || p.id,
           'active', vpnd_now(), vpnd_now() + interval '5 days'
    from people p, offer where p.telegram_id % 2 = 0
), opened as (
    insert into accounts (kind, owner, currency, customer_id, balance) select 'customer', id::text, 'RUB', id, 0 from people
)
insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount, list_amount,
                       request_key, expires_at)
select 'p' || translate(lpad(p.id::text, 15, '0'), '0189', 'abcd'), p.id, offer.id, 'cryptopay', 'RUB', offer.amount, 'RUB',
       offer.amount, offer.amount, 'bench:' || p.id, vpnd_now() + interval '1 hour'
from people p, offer
"""


def sibling(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def opened(url: str) -> Any:
    """A database opened as the daemon opens it."""
    return open_database(DatabaseSettings(url=Secret(url)), Limits(15, 4), instance_name="bench")


async def charges_of(db: Database) -> list[Charge]:
    """One charge for each purchase, of its price."""
    rows = await db.fetch(
        "bench.purchases", "select public_id, amount from purchases order by id limit 1000000", deadline=60.0
    )
    return [
        Charge("cryptopay", f"charge-{n}", row["amount"], "RUB", str(row["amount"]), payload=row["public_id"])
        for n, row in enumerate(rows)
    ]


async def record(url: str, place: Path) -> None:
    """Settle everything once and keep every statement with its arguments, by settlement."""
    settlements: list[list[tuple[str, str, tuple[object, ...]]]] = []
    original = Transaction._statement

    async def recording(self: Transaction, work: Any, sql: str, args: Any) -> Any:
        settlements[-1].append((work.__name__.lstrip("_"), sql, tuple(args)))
        return await original(self, work, sql, args)

    async with opened(url) as db:
        charges = await charges_of(db)
        Transaction._statement = recording  # type: ignore[method-assign]
        try:
            for charge in charges:
                settlements.append([])
                await settle_charge(db, charge)
        finally:
            Transaction._statement = original  # type: ignore[method-assign]
    place.write_bytes(pickle.dumps(settlements))


async def one_by_one(url: str, first: int, count: int) -> tuple[float, list[float]]:
    """Settle by vpnd, one after another; seconds in all, and of each."""
    latencies: list[float] = []
    async with opened(url) as db:
        charges = (await charges_of(db))[first : first + count]
        began = perf_counter()
        for charge in charges:
            since = perf_counter()
            result = await settle_charge(db, charge)
            latencies.append(perf_counter() - since)
            assert result.outcome is Outcome.SETTLED
        return perf_counter() - began, latencies


async def raw(url: str, recording: Path, first: int, count: int) -> dict[str, Any]:
    """The same by asyncpg alone, in a process of its own."""
    script = Path(__file__).with_name("_settle_raw.py")
    done = await trio.run_process(
        [sys.executable, str(script), url, str(recording), str(first), str(count)], capture_stdout=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def open_loop(url: str, first: int, count: int) -> list[float]:
    """Settle at a fixed rate, whatever the earlier ones take; latency from when each was due."""
    latencies: list[float] = []

    async def one(db: Database, charge: Charge, due: float) -> None:
        await settle_charge(db, charge)
        latencies.append(trio.current_time() - due)

    async with opened(url) as db:
        charges = (await charges_of(db))[first : first + count]
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, charge in enumerate(charges):
                due = began + number / OPEN_RATE
                await trio.sleep_until(due)
                nursery.start_soon(one, db, charge, due)
    return latencies


async def measure(arguments: argparse.Namespace) -> int:
    """Prepare, record, measure, print; return the exit code."""
    count, warm = arguments.settlements, 50
    spaced = OPEN_RATE * arguments.seconds
    ours: list[tuple[float, list[float]]] = []
    theirs: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        print(disk(Path(folder)))
        recording = Path(folder) / "statements"
        async with embedded_postgres(durable=True) as server:
            base = sibling(server.url, "base")
            async with opened(server.url) as admin:

                async def copy(name: str, template: str = "base") -> str:
                    await admin.write("bench.copy", f"create database {name} template {template}")
                    return sibling(server.url, name)

                await admin.write("bench.create", "create database base")
                async with opened(base) as db:
                    await migrate(db)
                    await apply_plans(db, load_plans_file(None))
                    async with db.transaction("bench.prepare", deadline=120.0) as tx:
                        await tx.execute(PREPARE, max(count + warm, spaced))
                await record(await copy("recorded"), recording)
                for number in range(arguments.rounds):
                    mine, other = await copy(f"ours{number}"), await copy(f"theirs{number}")
                    await one_by_one(mine, 0, warm)
                    ours.append(await one_by_one(mine, warm, count))
                    await raw(other, recording, 0, warm)
                    theirs.append(await raw(other, recording, warm, count))
                waits = [
                    percentile(await open_loop(await copy(f"open{number}"), 0, spaced), 0.99)
                    for number in range(arguments.rounds)
                ]
    return report(count, ours, theirs, waits)


def report(
    count: int,
    ours: list[tuple[float, list[float]]],
    theirs: list[dict[str, Any]],
    waits: list[float],
) -> int:
    """Print the table and the headline; return the exit code."""
    rate, other = (
        median([count / seconds for seconds, _ in ours]),
        median([count / one["seconds"] for one in theirs]),
    )
    rows = [["one by one", "settlements/s", "p50 ms", "p99 ms", "MB"]]
    for name, speed, rounds, memory in (
        ("vpnd", rate, [waits for _, waits in ours], psutil.Process().memory_info().rss / 1e6),
        ("asyncpg, the same statements", other, [one["latencies"] for one in theirs], theirs[-1]["mb"]),
    ):
        middle = median([percentile(one, 0.5) for one in rounds]) * 1e3
        worst = median([percentile(one, 0.99) for one in rounds]) * 1e3
        rows.append([name, f"{speed:.0f}", f"{middle:.1f}", f"{worst:.1f}", f"{memory:.0f}"])
    print(table(rows))
    ratio, wait = rate / other, median(waits)
    print(f"at {OPEN_RATE}/s: p99 of the rounds {', '.join(f'{one * 1e3:.0f}' for one in waits)} ms")
    met = ratio >= RATIO_BAR and rate >= RATE_BAR and wait <= P99_BAR
    print(
        f"settle: {rate:.0f}/s = {ratio:.2f} x asyncpg (bar {RATIO_BAR}, {RATE_BAR:.0f}/s), p99 at {OPEN_RATE}/s"
        f" {wait * 1e3:.0f} ms (bar {P99_BAR * 1e3:.0f}): {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settlements", type=int, default=600, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="at the fixed rate")
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    try:
        return trio.run(measure, arguments)
    except BaseException as error:
        for leaf in leaves(error):
            print(f"bench failed: {leaf!r}", file=sys.stderr)
        raise


if __name__ == "__main__":
    sys.exit(main())
