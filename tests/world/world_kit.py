"""What the tests of the whole world share: a world with its daemon's words, and processes that are looked at from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psutil
import trio
from prometheus_client.parser import text_string_to_metric_families

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Customer, Message, buttons_of
from vpnd.sandbox.tour import _INVOICE
from vpnd.sandbox.world import World, WorldOptions, open_world

#: Nothing in a test lasts longer than this unless it says so, in seconds: CI's machines are slow, and a hang is a failure.
PATIENCE = 30.0


@asynccontextmanager
async def a_world(**options: Any) -> AsyncIterator[tuple[World, list[str]]]:
    """Make a world that forgets its data at a power cut; yield it with the list that gets every line of its daemon."""
    async with open_world(WorldOptions(**{"durable": False, **options})) as world:
        lines: list[str] = []
        world.daemon.listeners.append(lines.append)
        yield world, lines


@asynccontextmanager
async def books_of(world: World) -> AsyncIterator[Database]:
    """The shop's database, to look things up."""
    settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
    async with open_database(settings, Limits(3, 3), instance_name="test") as db:
        yield db


async def eventually(what: str, holds: Callable[[], Awaitable[Any]], *, patience: float = PATIENCE) -> Any:
    """Wait until `holds` returns something true, and return that; fail with `what` after `patience` seconds."""
    with trio.move_on_after(patience):
        while True:
            if found := await holds():
                return found
            await trio.sleep(0.02)
    raise AssertionError(f"{patience:g} s passed and it does not hold that {what}")


def events(lines: list[str], name: str) -> list[dict[str, Any]]:
    """Return the journal entries of one event."""
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == name]


async def said(lines: list[str], name: str, **options: Any) -> dict[str, Any]:
    """Wait until the daemon has said something; return its last word about it."""

    async def look() -> list[dict[str, Any]]:
        return events(lines, name)

    found: list[dict[str, Any]] = await eventually(f"the daemon says {name}", look, **options)
    return found[-1]


def is_a(kind: type) -> Callable[[Any], bool]:
    """Fits a button by what it does."""
    return lambda action: isinstance(action, kind)


async def first_screen(customer: Customer) -> Message:
    """Write /start and return the shop's first screen."""
    since = customer.event
    await customer.say("/start")
    message, _ = await customer.wait_for_button("see the plans", is_a(callbacks.Plans), since=since)
    return message


async def choose(customer: Customer, method: str) -> Message:
    """Go from nothing to an invoice; return its message."""
    await first_screen(customer)
    since = 0
    for kind in (callbacks.Plans, callbacks.Periods, callbacks.Methods):
        since = await customer.press("go on", is_a(kind), since=since)
    since = await customer.press(
        f"pay by {method}", lambda a: isinstance(a, callbacks.Pay) and a.method == method, since=since
    )
    return await customer.wait_for(
        "the invoice", lambda m: "invoice" in m or bool(invoice_url(m)), since=since
    )


def invoice_url(message: Message) -> str:
    """Return the address of a Crypto Pay invoice below a message, or ''."""
    urls = [str(button.get("url", "")) for button in buttons_of(message)]
    return next((url for url in urls if _INVOICE.search(url)), "")


async def invoice_of(world: World, message: Message) -> dict[str, Any]:
    """Return the provider's view of the invoice that a message leads to."""
    invoices = (await world.cryptopay.get("/sim/invoices"))["invoices"]
    found: dict[str, Any] = next(one for one in invoices if one["hash"] in invoice_url(message))
    return found


async def metrics_of(world: World) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the samples on the daemon's metrics listener, by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families((await world.http.get(world.metrics_url)).text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


# ---------------------------------------------------------------------- programs from outside


def vpnd(*words: str, timeout: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", "vpnd", *words], capture_output=True, text=True, timeout=timeout, **options
    )


@contextmanager
def program(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command of ours for the time of the block, its output in pipes; it leads a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "vpnd", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def family_of(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[str]:
    """Return those that still run, for a message."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except psutil.NoSuchProcess:
            continue
    return found
