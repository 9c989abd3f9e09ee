"""`vpnd demo --tour`: a customer's whole life, played without a person, each step proven.

What counts as a proof is what a customer could see himself (a page that came through the link, a download that died),
and what the books say; never what a part claims of itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

import httpx
import trio

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.nodes.client import NodeClient
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.sandbox.client_core import client_core, fetch_through, through
from vpnd.sandbox.customer import Customer, Message, buttons_of, code_of, links_behind, text_of
from vpnd.sandbox.targets import PAGE
from vpnd.sandbox.world import World

#: The customer of the tour comes from here: a core never counts 127.0.0.1 as online.
CLIENT_ADDRESS: Final = "127.0.0.3"

DAY: Final = 86_400  # seconds

#: Longest an expired customer's connection may live after the shop has said so. A cut takes milliseconds; restarts of the
#: core, where it cannot be cut, are spaced by ten seconds.
CUT_OFF_WITHIN: Final = 20.0  # seconds

_INVOICE: Final = re.compile(r"IV[A-Za-z0-9_-]+")


class NotProven(Exception):
    """A step of the tour did not hold."""


class Tour:
    """Prints each step with its time and its proof."""

    def __init__(self, write: Callable[[str], None] = print) -> None:
        """`write` gets each line."""
        self._write = write
        self._began = self._last = perf_counter()
        self.steps = 0

    def step(self, what: str, proof: str) -> None:
        """Tell that a step held."""
        now = perf_counter()
        self.steps += 1
        self._write(f"  {self.steps:2}. {what:<34} {now - self._last:7.3f} s   {proof}")
        self._last = now

    def end(self) -> None:
        """Tell that the whole tour held."""
        self._write(f"The tour is over: {self.steps} steps held in {perf_counter() - self._began:.1f} s.")


class Download:
    """An endless download through the VPN: how one sees that somebody was cut off."""

    def __init__(self) -> None:
        self.bytes = 0
        self.begun = trio.Event()
        self.ended = trio.Event()

    async def run(self, socks_port: int, url: str) -> None:
        """Download until the connection ends."""
        try:
            async with through(socks_port, timeout=5.0) as client, client.stream("GET", url) as answer:
                async for chunk in answer.aiter_raw():
                    self.bytes += len(chunk)
                    self.begun.set()
        except (httpx.HTTPError, OSError):
            pass  # this is the end we are waiting for; who waits for it tells
        finally:
            self.ended.set()


async def play(world: World, tour: Tour) -> None:
    """Play the tour in a world whose daemon is ready.

    Raises:
        NotProven: a step did not hold.
        ProgramFailed: the bot did not show what was expected, or a program ended.
    """
    customer = Customer(world, 1001, name="Alex")
    async with _books(world) as db:
        await _start(customer, tour)
        receipt = await _buy_by_crypto(world, customer, tour, db)
        link = await _link_of(world, receipt, tour)
        async with client_core(link, source_ip=CLIENT_ADDRESS) as socks, trio.open_nursery() as nursery:
            await _connect(world, socks, tour, "connect with the link")
            download = Download()
            nursery.start_soon(download.run, socks, world.targets.secure_drip_url)
            with trio.fail_after(10):
                await download.begun.wait()
            await _let_time_pass(world, customer, tour, db)
            await _see_cut_off(world, socks, download, tour)
            await _renew_by_stars(customer, tour, db)
            await _connect(world, socks, tour, "connect again, same link")
            nursery.cancel_scope.cancel()
        await _check_books(db, tour)
    tour.end()


async def _start(customer: Customer, tour: Tour) -> None:
    await customer.say("/start")
    message = await customer.wait_for("the shop's first screen", lambda m: bool(buttons_of(m)))
    tour.step("/start", f"the bot answers with {len(buttons_of(message))} buttons")


async def _choose(customer: Customer, method: str) -> int:
    """Go from any screen with the plans' button to the invoice; return the chat's event before the last press."""
    since = await customer.press("see the plans", lambda a: isinstance(a, callbacks.Plans))
    since = await customer.press("choose a plan", lambda a: isinstance(a, callbacks.Periods), since=since)
    since = await customer.press("choose a period", lambda a: isinstance(a, callbacks.Methods), since=since)
    return await customer.press(
        f"pay by {method}", lambda a: isinstance(a, callbacks.Pay) and a.method == method, since=since
    )


async def _buy_by_crypto(world: World, customer: Customer, tour: Tour, db: Database) -> Message:
    since = await _choose(customer, "cryptopay")
    message = await customer.wait_for(
        "the invoice's address",
        lambda m: any(_INVOICE.search(b.get("url", "")) for b in buttons_of(m)),
        since=since,
    )
    url = next(b["url"] for b in buttons_of(message) if _INVOICE.search(b.get("url", "")))
    invoices = (await world.cryptopay.get("/sim/invoices"))["invoices"]
    invoice = next(one for one in invoices if one["hash"] in url)
    tour.step(
        "choose a plan, pay by Crypto Pay", f"invoice {invoice['invoice_id']} over {invoice['amount']} RUB"
    )
    since = customer.event
    await world.cryptopay.post("/sim/pay", invoice_id=invoice["invoice_id"], deliver=True)
    receipt = await _receipt(customer, since)
    row = await db.fetchrow(
        "tour.settlement",
        "select amount, currency from settlements where charge_id = $1",
        str(invoice["invoice_id"]),
    )
    if row is None:
        raise NotProven("the receipt came, but the charge is not in the books")
    tour.step(
        "webhook → receipt with link and QR", f"settled: {row['amount'] / 100:.2f} {row['currency']}, once"
    )
    return receipt


async def _receipt(customer: Customer, since: int) -> Message:
    return await customer.wait_for("the receipt with a link", lambda m: bool(code_of(m)), since=since)


async def _link_of(world: World, receipt: Message, tour: Tour) -> str:
    if not receipt.get("photo"):
        raise NotProven("the receipt has no QR code")
    links = await links_behind(world.http, code_of(receipt)[0])
    if len(links) != 1:
        raise NotProven(f"the receipt leads to {len(links)} links instead of one")
    tour.step("open the link", f"{links[0].split('@')[1].split('?')[0]}, REALITY + Vision")
    return links[0]


async def _connect(world: World, socks: int, tour: Tour, what: str) -> None:
    """Fetch the page through the VPN; the node may be told of a renewal a moment after the receipt."""
    with trio.move_on_after(10):
        while True:
            body = await fetch_through(socks, world.targets.page_url)
            if body == PAGE:
                tour.step(what, f"a page of {len(body):,} bytes came through a real client core")
                return
            await trio.sleep(0.05)
    raise NotProven("no page came through the link")


async def _let_time_pass(world: World, customer: Customer, tour: Tour, db: Database) -> None:
    days = await db.fetchval("tour.days", "select max(days) from grants limit 1")
    since = customer.event
    await world.advance(days * DAY + 60)
    await customer.wait_for(
        "word that the subscription has ended",
        lambda m: m["event"] > since and any(_is_renewal(b) for b in buttons_of(m)),
        since=since,
    )
    status = await db.fetchval("tour.status", "select status from subscriptions order by id limit 1")
    if status != "expired":
        raise NotProven(f"the subscription is {status}, not expired")
    tour.step(f"{days} days pass", "expired in the database, the customer was told")


def _is_renewal(button: dict[str, Any]) -> bool:
    action = callbacks.decode(button.get("callback_data"))
    return isinstance(
        action, callbacks.Plans | callbacks.Periods | callbacks.Methods | callbacks.OneSubscription
    )


async def _see_cut_off(world: World, socks: int, download: Download, tour: Tour) -> None:
    with trio.move_on_after(CUT_OFF_WITHIN):
        await download.ended.wait()
    if not download.ended.is_set():
        raise NotProven(f"the open download lives {CUT_OFF_WITHIN:g} s after the end")
    how = (
        "its sockets were destroyed"
        if await _means_of_cutting(world) == "sockets"
        else "by a restart of the core, since CAP_NET_ADMIN is missing"
    )
    tour.step("the open connection is dead", f"{download.bytes:,} bytes came until the cut; {how}")
    if await fetch_through(socks, world.targets.page_url, deadline=3.0) is not None:
        raise NotProven("a new connection was let in after the end")
    tour.step("a new connection is refused", "no page comes through the link")


async def _means_of_cutting(world: World) -> str:
    """Ask the node how it ends open connections."""
    if world.node is None:
        raise NotProven("this world has no node")
    async with open_http_client(Limits(1, 1)) as http:
        return (await NodeClient(world.node, http).status()).cut


async def _renew_by_stars(customer: Customer, tour: Tour, db: Database) -> None:
    await customer.say("/start")
    await customer.wait_for("the shop's first screen", lambda m: bool(buttons_of(m)), since=customer.event)
    since = await _choose(customer, "stars")
    invoice = await customer.wait_for("the Stars invoice", lambda m: "invoice" in m, since=since)
    price = invoice["invoice"]["total_amount"]
    tour.step("renew, pay by Telegram Stars", f"invoice over {price} Stars")
    since = customer.event
    paid = await customer.pay_stars(invoice)
    if not paid["ok"]:
        raise NotProven(f"the pre-checkout was refused: {paid['error']}")
    receipt = await customer.wait_for(
        "word of the renewal", lambda m: bool(text_of(m)) and "invoice" not in m, since=since
    )
    grants = await db.fetchval("tour.grants", "select count(*) from grants")
    if grants != 2:
        raise NotProven(f"two purchases gave {grants} grants")
    tour.step("Stars paid → receipt", f"{text_of(receipt).splitlines()[0]!r}")


async def _check_books(db: Database, tour: Tour) -> None:
    rows = await db.fetch(
        "tour.books",
        """select currency, sum(amount) as moved, count(*) as transfers,
                  (select count(*) from settlements) as charges, (select count(*) from grants) as grants
           from ledger group by currency order by currency limit 10""",
    )
    imbalance = await db.fetch(
        "tour.imbalance",
        """select currency, sum(amount) as total from (
               select currency, amount from ledger union all select currency, -amount from ledger) sides
           group by currency having sum(amount) <> 0 limit 10""",
    )
    if imbalance:
        raise NotProven("the ledger does not sum to zero")
    entries = ", ".join(f"{row['transfers']} in {row['currency']}" for row in rows)
    tour.step(
        "the books",
        f"{rows[0]['charges']} charges, {rows[0]['grants']} grants, ledger entries: {entries}; sum 0",
    )


@asynccontextmanager
async def _books(world: World) -> AsyncIterator[Database]:
    """The shop's database, to look things up."""
    settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
    async with open_database(settings, Limits(3, 3), instance_name="tour") as db:
        yield db
