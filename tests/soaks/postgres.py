"""The PostgreSQL soak: the server is restarted and frozen while customers press and buy.

    ./dev soak postgres [--freeze 60] [--restarts 3] [--mode polling]

What must hold: the daemon is never restarted, every purchase that was paid is delivered, and when the server answers again
every worker, and whoever presses a button, is served within five seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import trio
from attrs import define, field
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1]))

from soaks.kill import Report as Books
from soaks.kill import check, is_receipt

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Customer, NotSeen, buttons_of
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.tour import _INVOICE
from vpnd.sandbox.world import World, WorldOptions, open_world

#: Seconds after which a customer who sees nothing happen presses again.
PRESS_AGAIN = 4.0
#: Seconds in which a customer must have what he paid for after the last outage.
PATIENCE = 60.0
#: Seconds after an outage in which everything goes on.
RECOVERY = 5.0
#: Customers who buy at the same time.
BUYERS = 4
#: Seconds of quiet load before the first outage and after each.
LOAD = 2.0

WORKERS = ("expiry", "purchase_expiry", "activation", "payment_watcher")
#: Every second, so that it can be seen that they go on.
EXTRA = "".join(f"[workers.{name}]\ninterval = 1\n" for name in WORKERS if name != "expiry")


@define
class Outage:
    """What one outage cost. Times are seconds after the server could answer again."""

    what: str
    lasted: float
    workers_after: float | None = None
    button_after: float | None = None


@define
class Report:
    """What was seen."""

    books: Books = field(factory=Books)
    outages: list[Outage] = field(factory=list)
    presses: int = 0
    answers: int = 0
    faults: list[str] = field(factory=list)

    def table(self) -> str:
        """Return the report for people."""
        lines = ["  outage                     lasted   workers after   button after"]
        lines += [
            f"  {one.what:<24} {one.lasted:7.1f} s {_seconds(one.workers_after):>13} {_seconds(one.button_after):>14}"
            for one in self.outages
        ]
        lines.append(f"  {'buttons pressed / answered':<36} {self.presses} / {self.answers}")
        return "\n".join(lines) + "\n" + self.books.table()


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


async def play(
    *,
    freeze: float,
    restarts: int,
    mode: str = "polling",
    recovery: float = RECOVERY,
    durable: bool = True,
    echo: Callable[[str], object] | None = None,
) -> Report:
    """Run the soak and return what was seen; `faults` is empty if everything held.

    Args:
        freeze: seconds for which the server is frozen, once.
        restarts: how often it is restarted.
        mode: how updates reach the daemon.
        recovery: seconds after an outage in which everything must go on.
        durable: whether the server waits for its disk.
        echo: gets every line of the daemon's journal.
    """
    report, began = Report(), perf_counter()
    options = WorldOptions(
        mode=mode, lift_limits=True, expiry_interval=1, daemon_extra=EXTRA, durable=durable
    )
    async with open_world(options) as world:
        if echo is not None:
            world.daemon.listeners.append(echo)
        await world.cryptopay.post("/sim/webhook", retry_first=0.2)
        await world.start_daemon()
        process = world.daemon.process
        pid = process.pid if process is not None else 0
        bought = 0
        over = trio.Event()

        async def buy_on(first: int) -> None:
            """Buy as one customer after the other, until the outages are over."""
            nonlocal bought
            number = first
            while not over.is_set():
                # Counted before it is known to have worked: what was begun has to be finished.
                mine, bought = bought, bought + 1
                try:
                    await Buyer(world, 5000 + mine, report).buy("stars" if number % 2 else "cryptopay")
                except ProgramFailed as error:
                    report.faults.append(str(error))
                number += 1

        async with trio.open_nursery() as nursery:
            for first in range(BUYERS):
                nursery.start_soon(buy_on, first)
            await trio.sleep(LOAD)
            for number in range(restarts):
                await _outage(world, report, f"restart {number + 1}", _restarted(world), recovery)
                await trio.sleep(LOAD)
            if freeze:
                await _outage(world, report, "frozen", _frozen(world, freeze), recovery)
            over.set()
        now = world.daemon.process
        if now is None or now.pid != pid or not world.daemon.running:
            report.faults.append("the daemon did not live through it")
        report.books.purchases = bought
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with open_database(settings, Limits(4, 4), instance_name="soak") as db:
            await check(world, db, report.books, bought)
    report.faults += report.books.faults
    report.books.seconds = perf_counter() - began
    return report


@asynccontextmanager
async def _restarted(world: World) -> AsyncIterator[None]:
    await world.postgres.restart()
    yield


@asynccontextmanager
async def _frozen(world: World, seconds: float) -> AsyncIterator[None]:
    with world.postgres.frozen():
        await trio.sleep(seconds)
    yield


async def _outage(world: World, report: Report, what: str, outage: Any, recovery: float) -> None:
    """Let an outage happen, and measure how long everything takes to go on."""
    began = perf_counter()
    async with outage:
        back, back_at = perf_counter(), time.time()
        one = Outage(what, back - began)
        report.outages.append(one)
        with trio.move_on_after(recovery * 3):
            async with trio.open_nursery() as nursery:

                async def watch_workers() -> None:
                    while min((await last_success(world)).values()) < back_at:
                        await trio.sleep(0.05)
                    one.workers_after = perf_counter() - back

                async def press() -> None:
                    customer = Customer(world, 4000 + len(report.outages))
                    while True:
                        await customer.say("/start")
                        try:
                            await customer.wait_for("the menu", _offers(callbacks.Plans), patience=0.5)
                        except NotSeen:
                            continue
                        one.button_after = perf_counter() - back
                        return

                nursery.start_soon(watch_workers)
                nursery.start_soon(press)
    for name, after in (("workers", one.workers_after), ("a button", one.button_after)):
        if after is None or after > recovery:
            report.faults.append(f"{what}: {name} went on after {_seconds(after)}, not within {recovery:g} s")


async def last_success(world: World) -> dict[str, float]:
    """Return when each worker last succeeded, as Unix time, by its metric."""
    text = (await world.http.get(world.metrics_url)).text
    found = {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "vpnd_worker_last_success_timestamp_seconds"
    }
    return {name: found.get(name, 0.0) for name in WORKERS}


class Buyer:
    """A customer who presses again when nothing happens, as people do, and pays once."""

    def __init__(self, world: World, telegram_id: int, report: Report) -> None:
        self._world = world
        self._report = report
        self._customer = Customer(world, telegram_id, name=f"Customer {telegram_id}")

    async def buy(self, method: str) -> None:
        """Buy one subscription; return when the receipt is there.

        Raises:
            ProgramFailed: it did not come.
        """
        customer = self._customer
        await self._until(self._start, _offers(callbacks.Plans))
        for kind, then in (
            (callbacks.Plans, callbacks.Periods),
            (callbacks.Periods, callbacks.Methods),
            (callbacks.Methods, callbacks.Pay),
        ):
            await self._until(self._presser(lambda a, k=kind: isinstance(a, k)), _offers(then))
        pay = self._presser(lambda a: isinstance(a, callbacks.Pay) and a.method == method)
        if method == "stars":
            message = await self._until(pay, lambda m: "invoice" in m)
            # A buyer whose pre-checkout was not answered in time presses "pay" again.
            with trio.fail_after(PATIENCE * 2):
                while not (await customer.pay_stars(message))["ok"]:
                    await trio.sleep(0.2)
        else:
            message = await self._until(pay, lambda m: bool(_invoice_of(m)))
            hashes = _invoice_of(message)
            invoices = (await self._world.cryptopay.get("/sim/invoices"))["invoices"]
            invoice = next(one for one in invoices if one["hash"] in hashes)
            await self._world.cryptopay.post("/sim/pay", invoice_id=invoice["invoice_id"], deliver=True)
        await customer.wait_for("the receipt", is_receipt, patience=PATIENCE * 2)

    async def _start(self) -> None:
        await self._customer.say("/start")

    def _presser(self, fits: Callable[[Any], bool]) -> Callable[[], Any]:
        async def press() -> None:
            try:
                await self._customer.press("go on", fits)
            except NotSeen:
                raise
            except ProgramFailed as error:
                # The answer to the press before has come between look and press: there is nothing to press any more.
                if "no such button" not in str(error):
                    raise

        return press

    async def _until(self, act: Callable[[], Any], seen: Callable[[Any], bool]) -> Any:
        """Act, and again whenever nothing came of it, until `seen`."""
        customer = self._customer
        with trio.move_on_after(PATIENCE * 2):
            while True:
                since = customer.event
                await act()
                self._report.presses += 1
                try:
                    message = await customer.wait_for(
                        "what comes next", seen, since=since, patience=PRESS_AGAIN
                    )
                except NotSeen:
                    continue
                self._report.answers += 1
                return message
        raise NotSeen(f"customer {customer.id} pressed for {PATIENCE * 2:g} s and nothing came of it")


def _offers(kind: type) -> Callable[[Any], bool]:
    return lambda message: any(
        isinstance(callbacks.decode(button.get("callback_data")), kind) for button in buttons_of(message)
    )


def _invoice_of(message: dict[str, Any]) -> str:
    for button in buttons_of(message):
        if _INVOICE.search(button.get("url", "")):
            return str(button["url"])
    return ""


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--freeze", type=float, default=60.0, help="seconds (default: %(default)s)")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--mode", choices=("polling", "webhook"), default="polling")
    parser.add_argument("--verbose", action="store_true", help="show the daemon's journal")
    arguments = parser.parse_args()
    journal.configure("console")
    report = trio.run(
        lambda: play(
            freeze=arguments.freeze,
            restarts=arguments.restarts,
            mode=arguments.mode,
            echo=print if arguments.verbose else None,
        )
    )
    print(f"PostgreSQL soak, {arguments.mode}:")
    print(report.table())
    for fault in report.faults:
        print(f"  FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
