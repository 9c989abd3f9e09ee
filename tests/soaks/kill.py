"""The kill soak: `kill -9` of the daemon at random instants while customers buy, and a restart each.

    ./dev soak kill [--kills 200] [--purchases 50] [--seed 1] [--mode polling]

What must hold at the end, for every purchase that a provider says was paid: one settlement, one grant, one link that works,
and its receipt. A receipt may come twice only from the instant between Telegram's acceptance and our record of it; such a
repeat shows as a second attempt in the outbox, and is counted. The ledger sums to zero and agrees with the cached balances.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from random import Random
from time import perf_counter

import trio
from attrs import define, field

sys.path.insert(0, str(Path(__file__).parents[2]))

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.client_core import client_core, fetch_through
from vpnd.sandbox.customer import Customer, buttons_of, code_of, links_behind
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.targets import PAGE
from vpnd.sandbox.tour import _INVOICE
from vpnd.sandbox.world import World, WorldOptions, open_world

#: A customer who waits this long for anything has been lost, whatever was killed meanwhile.
PATIENCE = 90.0  # seconds

#: Uptime of the daemon between two kills, in seconds: from "still importing" to "in the middle of several purchases".
UPTIME = (0.2, 2.4)


@define
class Report:
    """What was seen."""

    kills: int = 0
    purchases: int = 0
    seconds: float = 0.0
    settlements: int = 0
    grants: int = 0
    working_links: int = 0
    receipts: int = 0
    repeats: int = 0
    repeats_counted: int = 0
    faults: list[str] = field(factory=list)

    def table(self) -> str:
        """Return the report for people."""
        rows = [
            ("kill -9 of the daemon", self.kills),
            ("purchases paid", self.purchases),
            ("settlements", self.settlements),
            ("grants", self.grants),
            ("working links", self.working_links),
            ("customers with a receipt", self.receipts),
            ("receipts that came twice (counted)", f"{self.repeats} ({self.repeats_counted})"),
            ("faults", len(self.faults)),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"  {name:<36} {value}" for name, value in rows)


async def play(
    *, kills: int, purchases: int, seed: int, mode: str = "polling", durable: bool = True
) -> Report:
    """Run the soak and return what was seen; `faults` is empty if everything held."""
    report, began = Report(), perf_counter()
    options = WorldOptions(
        mode=mode,
        lift_limits=True,
        durable=durable,
        daemon_extra="[workers.payment_watcher]\ninterval = 2\n[workers.activation]\ninterval = 5\n",
    )
    async with open_world(options) as world:
        await world.start_daemon()
        random = Random(seed)
        limit = trio.CapacityLimiter(6)
        killed = trio.Event()

        async def buy(number: int) -> None:
            async with limit:
                try:
                    await buy_once(world, number, "stars" if number % 2 else "cryptopay")
                    report.purchases += 1
                except ProgramFailed as error:
                    report.faults.append(str(error))

        async def buyers() -> None:
            """Keep customers buying for as long as the killing goes on, and until each has bought."""
            async with trio.open_nursery() as nursery:
                for number in range(purchases):
                    nursery.start_soon(buy, number)
                    # Spread over the whole time of the killing.
                    with trio.move_on_after(kills * sum(UPTIME) / 2 / purchases):
                        await killed.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(buyers)
            for _ in range(kills):
                await trio.sleep(random.uniform(*UPTIME))
                await world.daemon.kill()
                report.kills += 1
                await world.start_daemon(wait=False)
            killed.set()
            await world.daemon_ready()
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with open_database(settings, Limits(4, 4), instance_name="soak") as db:
            await check(world, db, report, purchases)
    report.seconds = perf_counter() - began
    return report


async def buy_once(world: World, number: int, method: str) -> None:
    """One customer buys one subscription; returns when the receipt is there."""
    customer = Customer(
        world, 5000 + number, name=f"Customer {number}", language="ru" if number % 3 else "en"
    )
    await customer.say("/start")

    def is_a(kind: type[callbacks.Action]):
        return lambda action: isinstance(action, kind)

    async def press(what, fits, since=0):
        with trio.fail_after(PATIENCE):
            return await customer.press(what, fits, since=since)

    await customer.wait_for("the first screen", lambda m: bool(buttons_of(m)), patience=PATIENCE)
    since = await press("see the plans", is_a(callbacks.Plans))
    await customer.wait_for(
        "the plans",
        lambda m: any(_is(b, callbacks.Periods) for b in buttons_of(m)),
        since=since,
        patience=PATIENCE,
    )
    since = await press("choose a plan", is_a(callbacks.Periods), since)
    await customer.wait_for(
        "the periods",
        lambda m: any(_is(b, callbacks.Methods) for b in buttons_of(m)),
        since=since,
        patience=PATIENCE,
    )
    since = await press("choose a period", is_a(callbacks.Methods), since)
    await customer.wait_for(
        "the methods",
        lambda m: any(_is(b, callbacks.Pay) for b in buttons_of(m)),
        since=since,
        patience=PATIENCE,
    )
    since = await press(
        f"pay by {method}", lambda a: isinstance(a, callbacks.Pay) and a.method == method, since
    )
    if method == "cryptopay":
        message = await customer.wait_for(
            "the invoice",
            lambda m: any(_INVOICE.search(b.get("url", "")) for b in buttons_of(m)),
            since=since,
            patience=PATIENCE,
        )
        url = next(b["url"] for b in buttons_of(message) if _INVOICE.search(b.get("url", "")))
        invoices = (await world.cryptopay.get("/sim/invoices"))["invoices"]
        invoice = next(one for one in invoices if one["hash"] in url)
        await world.cryptopay.post("/sim/pay", invoice_id=invoice["invoice_id"], deliver=True)
    else:
        message = await customer.wait_for(
            "the invoice", lambda m: "invoice" in m, since=since, patience=PATIENCE
        )
        with trio.fail_after(PATIENCE):
            # A buyer whose pre-checkout was not answered in time presses "pay" again.
            while not (await customer.pay_stars(message))["ok"]:
                await trio.sleep(0.2)
    await customer.wait_for("the receipt", is_receipt, since=since, patience=PATIENCE)


def _is(button: dict, kind: type[callbacks.Action]) -> bool:
    return isinstance(callbacks.decode(button.get("callback_data")), kind)


def is_receipt(message: dict) -> bool:
    """Whether a message of the bot is a receipt: it carries the link."""
    return message["from_bot"] and bool(code_of(message)) and "invoice" not in message


async def check(world: World, db: Database, report: Report, purchases: int) -> None:
    """Hold what customers see and what the books say against what the providers say."""
    await settle_down(db)
    row = await db.fetchrow(
        "soak.books",
        """select (select count(*) from settlements where outcome = 'settled') as settlements,
                  (select count(*) from settlements) as charges,
                  (select count(*) from grants) as grants,
                  (select count(distinct subscription_id) from grants) as subscriptions,
                  (select count(*) from purchases where status = 'paid') as paid""",
    )
    report.settlements, report.grants = row["settlements"], row["grants"]
    for name in ("settlements", "charges", "grants", "subscriptions", "paid"):
        if row[name] != purchases:
            report.faults.append(f"{row[name]} {name} for {purchases} paid purchases")
    seen = await receipts(world, purchases)
    report.receipts = sum(1 for count in seen.values() if count)
    report.repeats = sum(count - 1 for count in seen.values() if count > 1)
    report.repeats_counted = await db.fetchval(
        "soak.repeats", "select count(*) from outbox where kind = 'message' and attempt > 1"
    )
    if report.receipts != purchases:
        report.faults.append(f"{report.receipts} customers of {purchases} have a receipt")
    if report.repeats > report.repeats_counted:
        report.faults.append(
            f"{report.repeats} receipts came twice, {report.repeats_counted} attempts are recorded"
        )
    report.working_links = await working_links(world, purchases)
    if report.working_links != purchases:
        report.faults.append(f"{report.working_links} links of {purchases} work")
    wrong = await db.fetch(
        "soak.balances",
        """with sides as (
               select credit_id as account, currency, amount from ledger
               union all select debit_id, currency, -amount from ledger),
             sums as (select account, sum(amount) as total from sides group by account)
           select a.id from accounts a left join sums s on s.account = a.id
           where a.balance is not null and a.balance <> coalesce(s.total, 0) limit 10""",
    )
    if wrong:
        report.faults.append(f"{len(wrong)} cached balances disagree with the ledger")
    total = await db.fetchval(
        "soak.revenue",
        """select coalesce(sum(l.amount), 0) - (select coalesce(sum(shop_amount), 0) from purchases where status = 'paid')
           from ledger l join accounts a on a.id = l.credit_id where a.kind = 'revenue'""",
    )
    if total:
        report.faults.append(f"revenue and prices of paid purchases differ by {total}")


async def settle_down(db: Database) -> None:
    """Wait until nothing is left in inbox and outbox and every subscription is on."""
    with trio.fail_after(60):
        while await db.fetchval(
            "soak.rest",
            """select exists (select from inbox where done_at is null)
                   or exists (select from outbox where status = 'ready')
                   or exists (select from subscriptions where status = 'active' and activated_at is null)""",
        ):
            await trio.sleep(0.1)


async def receipts(world: World, purchases: int) -> Counter[int]:
    """Count the receipts in each customer's chat."""
    seen: Counter[int] = Counter()
    for number in range(purchases):
        customer = Customer(world, 5000 + number)
        await customer.look()
        seen[number] = sum(1 for message in customer.messages.values() if is_receipt(message))
    return seen


async def working_links(world: World, purchases: int) -> int:
    """Count the customers whose link leads to the page."""
    working = 0
    for number in range(purchases):
        customer = Customer(world, 5000 + number)
        await customer.look()
        copied = [code_of(message)[0] for message in customer.messages.values() if is_receipt(message)]
        if not copied:
            continue
        links = await links_behind(world.http, copied[0])
        async with client_core(links[0], source_ip=f"127.0.1.{number + 1}") as socks:
            working += await fetch_through(socks, world.targets.page_url) == PAGE
    return working


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--purchases", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=("polling", "webhook"), default="polling")
    arguments = parser.parse_args()
    journal.configure("console")
    report = trio.run(
        lambda: play(
            kills=arguments.kills, purchases=arguments.purchases, seed=arguments.seed, mode=arguments.mode
        )
    )
    print(f"kill soak, seed {arguments.seed}, {arguments.mode}:")
    print(report.table())
    for fault in report.faults:
        print(f"  FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
