"""`kill -9` of the daemon in a loop while customers pay by every provider at once; nothing may be lost, nothing doubled.

A whole world without a VPN node. Each customer writes to the bot; his purchase is opened and its invoice made beside the
daemon, so that all the dying happens where the money is: between a provider's word and the books. Then he pays, by Crypto
Pay, YooKassa, Stars, or from a balance that he has filled before; the daemon is killed at random instants all the while and
started again, and the sandbox tells every third payment twice. At the end the providers' own lists are held against the books.

    ./dev bench crash-money [--payments 500] [--seed 1]

Exit 1 when a payment was lost or doubled, or the books do not agree.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import trio
from attrs import define, field

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.payments.base import Provider
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.watcher import invoice_for
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime import journal
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Customer, NotSeen
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import (
    BOT_TOKEN,
    CRYPTO_TOKEN,
    YOOKASSA_SECRET,
    YOOKASSA_SHOP,
    World,
    WorldOptions,
    open_world,
)
from vpnd.shop import books, ledger
from vpnd.shop.opening import open_purchase, open_topup
from vpnd.shop.plans import offers_on_sale
from vpnd.shop.pricing import Method, Terms
from vpnd.shop.purchases import Purchase

#: A customer who waits this long for anything has been lost, whatever was killed meanwhile; seconds.
PATIENCE = 180.0
#: Every fourth kill comes while the daemon is still starting; the others so many seconds after it was ready.
STARTING = (0.2, 1.5)
SERVING = (0.05, 2.5)
#: Payments under way at once.
AT_ONCE = 12
#: A new customer comes so often, in seconds: the killing should last.
SPACING = 0.25
METHODS: tuple[Method, ...] = ("cryptopay", "yookassa", "stars", "balance")
FIRST_CUSTOMER = 50_000

#: What is quicker found than by the intervals of a real shop.
RHYTHM = """
[workers.payment_watcher]
interval = 2
[workers.yookassa_watcher]
interval = 2
[workers.stars_sweep]
interval = 5
"""


@define
class Report:
    """What was seen; counts by method."""

    kills: int = 0
    seconds: float = 0.0
    paid: Counter[str] = field(factory=Counter)
    told_twice: Counter[str] = field(factory=Counter)
    charges: Counter[str] = field(factory=Counter)
    settlements: Counter[str] = field(factory=Counter)
    grants: Counter[str] = field(factory=Counter)
    receipts: Counter[str] = field(factory=Counter)
    lost: Counter[str] = field(factory=Counter)
    doubled: Counter[str] = field(factory=Counter)
    faults: list[str] = field(factory=list)

    def table(self) -> str:
        """Return the report for people."""
        head = (
            "",
            "payments",
            "told twice",
            "charges",
            "settlements",
            "grants",
            "receipts",
            "lost",
            "doubled",
        )
        lines = [f"{head[0]:<10}" + "".join(f"{name:>12}" for name in head[1:])]
        columns = (
            self.paid, self.told_twice, self.charges, self.settlements, self.grants, self.receipts, self.lost, self.doubled,
        )  # fmt: skip
        for method in METHODS:
            lines.append(f"{method:<10}" + "".join(f"{column[method]:>12}" for column in columns))
        lines.append(f"{'all':<10}" + "".join(f"{column.total():>12}" for column in columns))
        return "\n".join(lines)


@define
class Shop:
    """The shop's books and providers, beside the daemon."""

    world: World
    db: Database
    providers: dict[str, Provider]
    report: Report
    random: Random

    async def open(self, customer: Customer, method: Method, *, topup: int = 0) -> Purchase:
        """Open a purchase for a customer, or a top-up of so many kopecks."""
        terms = Terms(method, "XTR" if method == "stars" else "RUB")
        row = await self.db.fetchrow(
            "bench.customer", "select id from customers where telegram_id = $1", customer.id
        )
        assert row is not None
        offer = (await offers_on_sale(self.db, 1))[0]
        key = f"bench:{customer.id}:{method}:{topup}"
        common: dict[str, Any] = {
            "customer_id": row["id"],
            "terms": terms,
            "shop_currency": "RUB",
            "request_key": key,
        }
        if topup:
            return await self.db.run("bench.topup", partial(_topup, common, topup))
        return await self.db.run("bench.purchase", partial(_purchase, common, offer.offer_id))

    async def pay(self, customer: Customer, purchase: Purchase) -> None:
        """Pay a purchase at its provider; every third payment is told twice."""
        twice = self.random.randrange(3) == 0
        method = purchase.method
        if method == "stars":
            await self._pay_stars(customer, purchase, times=2 if twice else 1)
        else:
            control = self.world.cryptopay if method == "cryptopay" else self.world.yookassa
            invoice = await invoice_for(
                self.db,
                self.providers[method],
                purchase,
                description="bench",
                return_url="https://example.org/",
            )
            name = "invoice_id" if method == "cryptopay" else "payment_id"
            number: Any = int(invoice.external_id) if method == "cryptopay" else invoice.external_id
            await control.post("/sim/pay", **{name: number}, deliver=2 if twice else True)
        self.report.told_twice[method] += twice

    async def _pay_stars(self, customer: Customer, purchase: Purchase, *, times: int) -> None:
        answer = await self.world.http.post(
            f"{self.world.telegram.base}/bot{BOT_TOKEN}/createInvoiceLink",
            json={
                "title": "bench",
                "description": "bench",
                "payload": purchase.public_id,
                "currency": "XTR",
                "prices": [{"label": "bench", "amount": purchase.amount}],
            },
        )
        link = answer.json()["result"]
        with trio.fail_after(PATIENCE):
            # Whoever is asked while the daemon is dead is not answered in time, and presses "pay" again.
            while not (await customer.pay_link(link, repeat=times))["ok"]:  # noqa: ASYNC110 (another process)
                await trio.sleep(0.2)

    async def until(self, what: str, sql: str, *args: object) -> None:
        """Wait until a statement finds something true."""
        with trio.move_on_after(PATIENCE):
            while not await self.db.fetchval("bench.until", sql, *args):  # noqa: ASYNC110 (another process)
                await trio.sleep(0.1)
            return
        raise ProgramFailed(f"{PATIENCE:.0f} s passed without {what}")


async def _topup(common: dict[str, Any], amount: int, tx: Any) -> Purchase:
    return await open_topup(tx, amount=amount, shop_amount=amount, **common)


async def _purchase(common: dict[str, Any], offer_id: int, tx: Any) -> Purchase:
    return await open_purchase(tx, offer_id=offer_id, **common)


async def buy_once(shop: Shop, number: int, method: Method) -> None:
    """One customer pays one purchase; returns when the books have it."""
    customer = Customer(shop.world, FIRST_CUSTOMER + number, name=f"Customer {number}")
    await customer.say("/start")
    await customer.wait_for("the first screen", lambda m: m["from_bot"], patience=PATIENCE)
    if method == "balance":
        topup = await shop.open(customer, "yookassa" if number % 8 == 3 else "cryptopay", topup=25_000)
        await shop.pay(customer, topup)
        await shop.until("the top-up", "select status = 'paid' from purchases where id = $1", topup.id)
        await _buy_from_balance(shop, customer)
    else:
        purchase = await shop.open(customer, method)
        await shop.pay(customer, purchase)
        await shop.until(
            f"{method} {purchase.public_id}",
            "select status = 'paid' from purchases where id = $1",
            purchase.id,
        )
    shop.report.paid[method] += 1


async def _buy_from_balance(shop: Shop, customer: Customer) -> None:
    """Go through the bot's screens, confirm twice like an impatient person, and wait until the books have it."""

    # Screens are edited in place: the newest message always has the button that comes next.
    await customer.say("/buy")
    await _press(customer, "choose a plan", _is_a(callbacks.Periods))
    await _press(customer, "choose a period", _is_a(callbacks.Methods))
    await _press(customer, "pay from the balance", _by_balance)
    for _ in range(2):
        try:
            await customer.press("confirm", _is_a(callbacks.PayFromBalance))
        except ProgramFailed:
            break  # the screen has changed already: it was sold
    await shop.until(
        "the sale",
        "select exists (select from purchases p join customers c on c.id = p.customer_id"
        " where c.telegram_id = $1 and p.method = 'balance' and p.status = 'paid')",
        customer.id,
    )


def _is_a(kind: type[callbacks.Action]) -> Callable[[callbacks.Action], bool]:
    return lambda action: isinstance(action, kind)


def _by_balance(action: callbacks.Action) -> bool:
    return isinstance(action, callbacks.Pay) and action.method == "balance"


async def _press(customer: Customer, what: str, fits: Callable[[callbacks.Action], bool]) -> None:
    """Press a button; who sees none for long writes the command again, as people do."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await customer.press(what, fits)
            except NotSeen:
                await customer.say("/buy")
            else:
                return


async def play(*, payments: int, seed: int, durable: bool = True) -> Report:
    """Run it and return what was seen; `faults` is empty if everything held."""
    report, began = Report(), perf_counter()
    options = WorldOptions(mode="webhook", node=False, lift_limits=True, durable=durable, daemon_extra=RHYTHM)
    limits = Limits(8, 16)
    async with open_world(options) as world:
        await world.start_daemon()
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with (
            open_database(settings, limits, instance_name="bench") as db,
            open_http_client(limits) as http,
        ):
            providers: dict[str, Provider] = {
                "cryptopay": CryptoPay(http, Secret(CRYPTO_TOKEN), f"{world.cryptopay.base}/api"),
                "yookassa": YooKassa(
                    http, YOOKASSA_SHOP, Secret(YOOKASSA_SECRET), f"{world.yookassa.base}/v3"
                ),
            }
            shop = Shop(world, db, providers, report, Random(seed))
            await _pay_and_kill(shop, payments, seed)
            await check(shop, payments)
    report.seconds = perf_counter() - began
    return report


async def _pay_and_kill(shop: Shop, payments: int, seed: int) -> None:
    """Let customers pay while the daemon is killed again and again, until each has paid."""
    limiter, done, random = trio.CapacityLimiter(AT_ONCE), trio.Event(), Random(seed + 1)

    async def buy(number: int) -> None:
        async with limiter:
            try:
                await buy_once(shop, number, METHODS[number % len(METHODS)])
            except (ProgramFailed, trio.TooSlowError) as error:
                shop.report.faults.append(f"customer {number}: {error!r}")

    async def everybody() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(payments):
                nursery.start_soon(buy, number)
                await trio.sleep(SPACING)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(everybody)
        while not done.is_set():
            starting = random.randrange(4) == 0
            if not starting:
                await shop.world.daemon_ready()
            with trio.move_on_after(random.uniform(*(STARTING if starting else SERVING))):
                await done.wait()
                break
            await shop.world.daemon.kill()
            shop.report.kills += 1
            await shop.world.start_daemon(wait=False)
    await shop.world.daemon_ready()


async def check(shop: Shop, payments: int) -> None:
    """Hold the providers' own lists against the books."""
    db, report = shop.db, shop.report
    charges = sum(map(len, (await provider_charges(shop)).values()))
    await shop.until("every charge settled", "select count(*) >= $1 from settlements", charges)
    await shop.until(
        "a quiet end",
        "select not exists (select from inbox where done_at is null) and not exists (select from outbox where status = 'ready')",
    )
    for name, ids in (await provider_charges(shop)).items():
        rows = await db.fetch(
            "bench.settled",
            "select charge_id, outcome from settlements where provider = $1 order by id limit 100000",
            name,
            deadline=30.0,
        )
        settled = Counter(row["charge_id"] for row in rows)
        report.charges[name], report.settlements[name] = len(ids), len(rows)
        report.lost[name] = len(ids - settled.keys())
        report.doubled[name] = sum(count - 1 for count in settled.values()) + len(settled.keys() - ids)
        wrong = Counter(row["outcome"] for row in rows if row["outcome"] != "settled")
        if wrong:
            report.faults.append(f"{name}: {dict(wrong)}")
    await _check_purchases(shop, payments)
    if any((await ledger.imbalance(db)).values()):
        report.faults.append("the ledger is not at zero")
    if await books.balance_drift(db):
        report.faults.append("cached balances are not what the ledger says")
    if report.lost.total() or report.doubled.total():
        report.faults.append(f"{report.lost.total()} lost, {report.doubled.total()} doubled")


async def provider_charges(shop: Shop) -> dict[str, set[str]]:
    """What each provider has taken, by its own list; the balance's charges are its purchases."""
    world = shop.world
    crypto = (await world.cryptopay.get("/sim/invoices", limit=100_000))["invoices"]
    card = (await world.yookassa.get("/sim/payments", limit=100_000))["payments"]
    stars = (await world.telegram.get("/sim/charges"))["charges"]
    balance = await shop.db.fetch(
        "bench.balance",
        "select public_id from purchases where method = 'balance' and status = 'paid' order by id limit 100000",
    )
    return {
        "cryptopay": {str(one["invoice_id"]) for one in crypto if one["status"] == "paid"},
        "yookassa": {one["id"] for one in card if one["status"] == "succeeded"},
        "stars": {one["charge_id"] for one in stars},
        "balance": {row["public_id"] for row in balance},
    }


async def _check_purchases(shop: Shop, payments: int) -> None:
    """One grant for each purchase of access, one receipt for each settlement of one, and no balance out of the air."""
    report = shop.report
    rows = await shop.db.fetch(
        "bench.granted",
        """
        select p.method, count(*) as purchases, count(g.id) as grants,
               count(*) filter (where o.status = 'done') as receipts
        from purchases p
        left join grants g on g.purchase_id = p.id
        left join settlements s on s.purchase_id = p.id
        left join outbox o on o.key = 'receipt:' || s.id
        where p.kind = 'access' and p.status = 'paid' group by p.method limit 10
        """,
        deadline=30.0,
    )
    for row in rows:
        report.grants[row["method"]], report.receipts[row["method"]] = row["grants"], row["receipts"]
        if row["grants"] != row["purchases"] or row["receipts"] != row["purchases"]:
            report.faults.append(f"{row['method']}: {dict(row.items())}")
    if report.grants.total() != payments:
        report.faults.append(f"{report.grants.total()} grants for {payments} payments")
    balances = await shop.db.fetchval(
        "bench.balances", "select coalesce(sum(balance), 0) from accounts where kind = 'customer'"
    )
    price = (await offers_on_sale(shop.db, 1))[0].prices["RUB"]
    expected = report.paid["balance"] * (25_000 - price)
    if balances != expected:
        report.faults.append(f"customers hold {balances} kopecks, and should hold {expected}")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--payments", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    report = trio.run(partial(play, payments=arguments.payments, seed=arguments.seed))
    print(report.table())
    for fault in report.faults:
        print(f"  FAULT {fault}")
    print(
        f"crash-money: {report.kills} kills in {report.seconds:.0f} s, {report.paid.total()} payments,"
        f" {report.told_twice.total()} told twice: {report.lost.total()} lost, {report.doubled.total()} doubled,"
        f" {len(report.faults)} faults"
    )
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
