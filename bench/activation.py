"""How long is the way from a payment to access? Purchases one after another in a whole world with a real agent and Xray core.

One customer renews again and again: business time moves past the end of his subscription, the node cuts him off, he orders
anew, and then the payment provider's signed webhook arrives. His client core runs all the time, since his credential stays
the same. Two times count from the webhook's first byte:

- until the agent has acknowledged the change, after its durable copy and the core hold it. Read from what the daemon itself
  notes when the acknowledgement comes in (`nodes.acked_at`, PostgreSQL's clock without the sandbox's offset; all is one
  machine, so it is ours, too).
  Nothing polls the agent meanwhile; the note comes a little after the acknowledgement, so the error is to our disadvantage.
- until the first page has come through the client core. Attempts begin when the webhook has been answered, one after
  another, as an impatient customer would press reload.

PostgreSQL is durable, the agent's copy is fsynced; loopback has no distance, so a node's round trip is to be added in life.

    ./dev bench activation [--purchases 200]

Exit 1 when the bar is not met: p99 to the acknowledgement ≤ 100 ms, p99 to the first page ≤ 300 ms.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil
import trio
from _measure import BenchFailed, disk, leaves, percentile, resident_mb, table
from attrs import define, field

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.client_core import client_core
from vpnd.sandbox.cryptopay_webhook import signature
from vpnd.sandbox.customer import Customer, buttons_of, code_of, links_behind
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.targets import PAGE
from vpnd.sandbox.world import CRYPTO_TOKEN, World, WorldOptions, open_world

ACK_BAR = 0.100  # seconds
PAGE_BAR = 0.300
DAY = 86_400  # seconds
PATIENCE = 20.0  # seconds for anything to happen
#: Pause between two attempts. Each costs three TLS handshakes on this same machine: too many would be all that is measured.
RELOAD = 0.02  # seconds
CLIENT_ADDRESS = "127.0.0.3"

INVOICE = re.compile(r"IV[A-Za-z0-9_-]+")
#: One row of the node's: since when has it acknowledged the newest change?
ACKED = """
    select extract(epoch from n.acked_at - (vpnd_now() - now()))::float8 as at, n.seq = h.last_seq
           and not exists (select from access_log where seq is null) as all
      from nodes n, access_head h limit 1
"""


@define
class Figures:
    """What was seen, in seconds, one a purchase; memory in MB."""

    answer: list[float] = field(factory=list)
    ack: list[float] = field(factory=list)
    page: list[float] = field(factory=list)
    attempts: int = 0
    overtaken: int = 0
    daemon_mb: float = 0.0
    agent_mb: float = 0.0
    core_mb: float = 0.0


async def order(world: World, customer: Customer) -> int:
    """Go through the bot's screens to an invoice; return its number."""
    since = customer.event
    await customer.say("/start")
    await customer.wait_for("the first screen", lambda m: bool(buttons_of(m)), since=since)
    since = await customer.press("see the plans", lambda a: isinstance(a, callbacks.Plans), since=since)
    since = await customer.press("choose a plan", lambda a: isinstance(a, callbacks.Periods), since=since)
    since = await customer.press("choose a period", lambda a: isinstance(a, callbacks.Methods), since=since)
    since = await customer.press(
        "pay by crypto", lambda a: isinstance(a, callbacks.Pay) and a.method == "cryptopay", since=since
    )
    message = await customer.wait_for(
        "the invoice", lambda m: any(INVOICE.search(b.get("url", "")) for b in buttons_of(m)), since=since
    )
    url = next(b["url"] for b in buttons_of(message) if INVOICE.search(b.get("url", "")))
    invoices = (await world.cryptopay.get("/sim/invoices", limit=5))["invoices"]
    return int(next(one["invoice_id"] for one in invoices if one["hash"] in url))


async def webhook(world: World, invoice_id: int) -> bytes:
    """Have the invoice paid without telling anybody; return the request that Crypto Pay would send."""
    paid = (await world.cryptopay.post("/sim/pay", invoice_id=invoice_id, deliver=False))["invoice"]
    message = {
        "update_id": invoice_id,
        "update_type": "invoice_paid",
        "request_date": paid["paid_at"],
        "payload": paid,
    }
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    head = (
        "POST /webhooks/cryptopay HTTP/1.1\r\n"
        f"Host: {world.daemon_http.removeprefix('http://')}\r\n"
        "Content-Type: application/json\r\n"
        f"crypto-pay-api-signature: {signature(CRYPTO_TOKEN, body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def fetch(socks_port: int, port: int) -> bool:
    """Try once to get the page through the client core; plain SOCKS 5, so that nothing of ours takes time."""
    try:
        with trio.move_on_after(1.0):
            async with await trio.open_tcp_stream("127.0.0.1", socks_port) as stream:
                await stream.send_all(b"\x05\x01\x00")
                if await stream.receive_some(2) != b"\x05\x00":
                    return False
                await stream.send_all(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
                if not (await stream.receive_some(10)).startswith(b"\x05\x00"):
                    return False
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: page\r\n\r\n")
                answer = bytearray()
                while piece := await stream.receive_some(65536):
                    answer += piece
                    if answer.endswith(PAGE):
                        return True  # the core passes the end of the connection on much later
    except (OSError, trio.BrokenResourceError):
        pass  # this is how a closed door looks
    return False


async def all_acknowledged(db: Database) -> float:
    """Wait until the node has acknowledged all that was committed; return when that was, Unix time."""
    with trio.move_on_after(PATIENCE):
        while True:
            row = await db.fetchrow("bench.acked", ACKED)
            if row is not None and row["all"]:
                return float(row["at"])
            await trio.sleep(0.01)
    raise BenchFailed("the node does not acknowledge")


async def expire(world: World, db: Database, socks: int) -> None:
    """Let the subscription end; return when no page comes through any more."""
    days = await db.fetchval("bench.days", "select max(days) from grants limit 1")
    await world.advance(days * DAY + 60)
    with trio.move_on_after(PATIENCE):
        on = "select count(*) from subscriptions where status = 'active'"
        while await db.fetchval("bench.on", on):  # noqa: ASYNC110 (other processes; they tell nobody)
            await trio.sleep(0.02)
        await all_acknowledged(db)
        while await fetch(socks, world.targets.http_port):  # noqa: ASYNC110 (likewise)
            await trio.sleep(0.02)
        return
    raise BenchFailed("the subscription does not end")


async def pay(world: World, db: Database, socks: int, request: bytes, figures: Figures) -> None:
    """Send the webhook and take the two times."""
    async with await trio.open_tcp_stream("127.0.0.1", int(world.daemon_http.rpartition(":")[2])) as stream:
        began, began_unix = time.perf_counter(), time.time()
        await stream.send_all(request)
        answer = await stream.receive_some(4096)
        while answer and not answer.endswith(b"}"):
            answer += await stream.receive_some(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchFailed(f"the webhook was answered {bytes(answer[:60])!r}")
        answered = time.perf_counter() - began
        with trio.move_on_after(PATIENCE):
            while not await fetch(socks, world.targets.http_port):
                figures.attempts += 1
                await trio.sleep(RELOAD)
            fetched = time.perf_counter() - began
            acknowledged = await all_acknowledged(db) - began_unix
            if b'"settled"' not in answer:
                figures.overtaken += (
                    1  # the daemon's own look at open invoices found the payment before we told
                )
                return
            figures.answer.append(answered)
            figures.ack.append(acknowledged)
            figures.page.append(fetched)
            return
        raise BenchFailed("no page came through the client core")


def weigh(world: World, figures: Figures) -> None:
    """Note what daemon, agent and the agent's core keep in memory."""
    assert world.daemon.process is not None
    assert world.agent is not None
    assert world.agent.process is not None
    figures.daemon_mb = resident_mb(world.daemon.process.pid)
    figures.agent_mb = resident_mb(world.agent.process.pid)
    children = psutil.Process(world.agent.process.pid).children(recursive=True)
    figures.core_mb = max((resident_mb(child.pid) for child in children), default=0.0)


async def first_purchase(world: World, customer: Customer) -> str:
    """Buy for the first time; return the link that was bought."""
    invoice = await order(world, customer)
    since = customer.event
    await world.cryptopay.post("/sim/pay", invoice_id=invoice, deliver=True)
    receipt = await customer.wait_for("the receipt", lambda m: bool(code_of(m)), since=since)
    links = await links_behind(world.http, code_of(receipt)[0])
    return links[0]


async def run(purchases: int) -> Figures:
    """Play it all."""
    figures = Figures()
    async with open_world(WorldOptions(lift_limits=True, expiry_interval=0.1)) as world:
        print(await trio.to_thread.run_sync(disk, world.folder), flush=True)
        await world.start_daemon()
        customer = Customer(world, 1001)
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=1)
        async with open_database(settings, Limits(3, 3), instance_name="bench") as db:
            link = await first_purchase(world, customer)
            async with client_core(link, source_ip=CLIENT_ADDRESS) as socks:
                await all_acknowledged(db)
                if not await fetch(socks, world.targets.http_port):
                    raise BenchFailed("the link that was bought leads nowhere")
                for number in range(1, purchases + 1):
                    await expire(world, db, socks)
                    invoice = await order(world, customer)
                    await trio.sleep(0.05)  # what ordering has set in motion comes to rest first
                    await pay(world, db, socks, await webhook(world, invoice), figures)
                    if number % 50 == 0:
                        print(f"{number} purchases", flush=True)
                weigh(world, figures)
    return figures


def show(figures: Figures) -> None:
    """Print what was seen."""
    rows = [["from the webhook's first byte, ms", "min", "p50", "p99", "max"]]
    parts: Sequence[tuple[str, Sequence[float]]] = (
        ("to its answer", figures.answer),
        ("to the agent's acknowledgement", figures.ack),
        ("to the first page", figures.page),
    )
    for name, seen in parts:
        marks: list[float] = [min(seen), percentile(seen, 0.5), percentile(seen, 0.99), max(seen)]
        rows.append([name, *(f"{mark * 1e3:.1f}" for mark in marks)])
    print(table(rows))
    print(
        f"{figures.attempts / len(figures.page):.1f} attempts a purchase met a closed door; {figures.overtaken} purchases"
        " were left out, since the payment watcher was faster than our webhook"
    )
    print(
        f"memory: daemon {figures.daemon_mb:.0f} MB, agent {figures.agent_mb:.0f} MB, its core {figures.core_mb:.0f} MB"
    )


def judge(figures: Figures) -> bool:
    """Print the bars and the headline; return whether both are met."""
    ack, page = percentile(figures.ack, 0.99), percentile(figures.page, 0.99)
    for what, value, bar in (("acknowledgement", ack, ACK_BAR), ("first page", page, PAGE_BAR)):
        print(
            f"{'met   ' if value <= bar else 'MISSED'}  {what}: p99 {value * 1e3:.0f} ms (bar {bar * 1e3:.0f})"
        )
    print(
        f"activation: {len(figures.ack)} purchases, p99 {ack * 1e3:.0f} ms to the agent's acknowledgement,"
        f" {page * 1e3:.0f} ms to the first page"
    )
    return ack <= ACK_BAR and page <= PAGE_BAR


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--purchases", type=int, default=200)
    options = parser.parse_args()
    found: list[Any] = []
    try:
        found.append(trio.run(run, options.purchases))
    except* (BenchFailed, ProgramFailed) as group:
        for error in leaves(group):
            print(error, file=sys.stderr)
    if not found:
        return 1
    show(found[0])
    return 0 if judge(found[0]) else 1


if __name__ == "__main__":
    sys.exit(main())
