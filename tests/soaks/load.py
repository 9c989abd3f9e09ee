"""The load soak: the whole world under full load for longer than the audited bot lived, and nothing grows.

    ./dev soak load [--minutes 20] [--subscriptions 60000]

The audited bot went silent after 10 to 11 minutes. Here run the daemon, PostgreSQL, an agent with a real Xray core, Telegram and
the payment providers, and all at once: customers who press buttons, others who buy by Crypto Pay and Stars and get their
receipts, broadcasts one after the other at the full rate, and business time that goes 60 times as fast, so that subscriptions
end, trials are told, renewals are due and reminders fall into place all the time.

Memory, tasks, connections and descriptors are looked at every few seconds, from the daemon's own metrics and from outside. After
the first fifth a straight line is laid through what was seen; it must not climb. At the end `vpnd audit` must exit 0, nothing may
be left over or given up, every purchase must be settled, and the ledger must agree with the balances.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import psutil
import trio
from attrs import define, field

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from _measure import administer, percentile, table
from _people import FIRST, FUNDED, RENEWING, TRIALS, make_shop, people
from soaks.kill import buy_once

from vpnd.bot import callbacks
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Customer
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import World, WorldOptions, open_world
from vpnd.shop import broadcasts

#: Business time goes on by so many seconds, so often. A press lives for 150 s of it, and is lost when nobody took it till then.
STEP, EVERY = 60, 1.0
#: Those who press, and how many of the presses come in a second; those who buy side by side.
PRESSERS, PRESSES = 40, 15.0
BUYERS = 3
#: Customers that Telegram knows, whom broadcasts and notices reach; the others' subscriptions end without a word.
REACHABLE = 400
#: Seconds between two looks.
LOOK = 3.0
#: The share of the time that is warm-up.
WARM = 0.2

#: How far the fitted line may climb from the end of the warm-up to the end: memory in MB, the others in pieces.
CLIMB = {"memory MB": 10.0, "tasks": 8.0, "connections": 2.0, "descriptors": 10.0, "threads": 2.0}
#: The most that may be seen at any time.
MOST = {"memory MB": 200.0, "connections": 16.0}


@define
class Report:
    """What was seen. `seen` has each look's values by name, `at` when it was; seconds."""

    seconds: float = 0.0
    at: list[float] = field(factory=list)
    seen: dict[str, list[float]] = field(factory=dict)
    presses: list[float] = field(factory=list)
    purchases: int = 0
    broadcasts: int = 0
    audit: str = ""
    audit_exit: int | None = None
    counts: dict[str, int] = field(factory=dict)
    faults: list[str] = field(factory=list)

    def climb(self, name: str) -> float:
        """How far the line through what was seen after the warm-up climbs, over all of that time."""
        first = WARM * self.at[-1]
        pairs = [(at, value) for at, value in zip(self.at, self.seen[name], strict=True) if at >= first]
        if len(pairs) < 3:
            return 0.0
        times, values = zip(*pairs, strict=True)
        return statistics.linear_regression(times, values).slope * (times[-1] - times[0])

    def table(self) -> str:
        """Return the report for people."""
        rows = [["", "first", "last", "least", "most", "limit", "climb", "limit", "a minute"]]
        after = (1 - WARM) * self.at[-1] / 60
        for name, values in self.seen.items():
            climb = self.climb(name)
            most = f"{MOST[name]:.0f}" if name in MOST else ""
            rows.append(
                [
                    name,
                    *(f"{one:.1f}" for one in (values[0], values[-1], min(values), max(values))),
                    most,
                    f"{climb:+.2f}",
                    f"{CLIMB[name]:.0f}",
                    f"{climb / after:+.3f}",
                ]
            )
        said = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        middle, worst = (percentile(self.presses or [0.0], share) * 1e3 for share in (0.5, 0.99))
        return "\n".join(
            [
                table(rows),
                f"{len(self.presses)} presses: p50 {middle:.0f} ms, p99 {worst:.0f} ms (by way of the sandbox)",
                f"{self.purchases} purchases with their receipts, {self.broadcasts} broadcasts, {said}",
                f"vpnd audit: exit {self.audit_exit}",
            ]
        )


async def play(
    *, minutes: float, subscriptions: int = 60_000, durable: bool = True, strict: bool = True
) -> Report:
    """Run the soak and return what was seen; `faults` is empty if everything held.

    `strict`: whether `vpnd audit` must exit 0, and the lines must not climb. A few seconds on a busy machine say neither.
    """
    report = Report()
    options = WorldOptions(
        durable=durable,
        expiry_interval=5.0,
        daemon_extra=_faster({"activation": 20, "renewal": 20, "reconcile": 30, "payment_watcher": 10})
        + _faster({"trial_notices": 10, "reminders": 10, "housekeeping": 60}),
    )
    async with open_world(options) as world:
        await fill(world, subscriptions)
        await world.start_daemon()
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with open_database(settings, Limits(4, 4), instance_name="soak") as db:
            began = perf_counter()
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look, world, report, over)
                nursery.start_soon(pass_time, world, over)
                nursery.start_soon(send_broadcasts, db, report, over)
                for number in range(BUYERS):
                    nursery.start_soon(buy, world, report, number, over)
                for number in range(PRESSERS):
                    nursery.start_soon(press, world, report, number, over)
                await trio.sleep(minutes * 60)
                over.set()
            report.seconds = perf_counter() - began
            await settle_down(db, report)
            await audit(world, report, strict=strict)
            await check(db, report)
    if strict:
        report.faults += [
            f"{name} climbs by {report.climb(name):.1f}, more than {limit:g}"
            for name, limit in CLIMB.items()
            if report.climb(name) > limit
        ]
    report.faults += [
        f"{name} reaches {max(report.seen[name]):.1f}, more than {limit:g}"
        for name, limit in MOST.items()
        if max(report.seen[name]) > limit
    ]
    return report


def _faster(intervals: dict[str, float]) -> str:
    return "".join(f"[workers.{name}]\ninterval = {interval}\n" for name, interval in intervals.items())


# ---------------------------------------------------------------------- the load


async def fill(world: World, count: int) -> None:
    """Subscriptions that end one after the other in business time; some renew, some are trials."""
    await make_shop(world.database_url, sandbox=True)
    ends = f"vpnd_now() + make_interval(secs => 600 + n::float8 * 90000 / {count})"
    await administer(
        world.database_url,
        *people(
            count,
            ends=ends,
            renews="case when n % 50 = 0 then 'balance' else 'off' end",
            trial="n % 20 = 1",
            reachable=f"n % {max(1, count // REACHABLE)} = 0",
        )[:2],
        TRIALS,
        FUNDED % RENEWING,
        "vacuum (analyze)",
    )
    told = [FIRST + n for n in range(1, count + 1) if n % max(1, count // REACHABLE) == 0]
    await world.telegram.post("/sim/chats", ids=told)


async def pass_time(world: World, over: trio.Event) -> None:
    """Let business time go fast."""
    while not over.is_set():
        await world.advance(STEP)
        with trio.move_on_after(EVERY):
            await over.wait()


async def send_broadcasts(db: Database, report: Report, over: trio.Event) -> None:
    """Keep a broadcast running, with a pause between two."""
    while not over.is_set():
        number = await broadcasts.create(
            db,
            content={"text": {"en": "News", "ru": "Новости"}},
            segment=broadcasts.Segment(),
            created_by="soak",
        )
        await broadcasts.start(db, number)
        while not over.is_set():
            found = await broadcasts.progress(db, number)
            if found is not None and found.state == "done":
                report.broadcasts += 1
                break
            await trio.sleep(1)
        with trio.move_on_after(5):
            await over.wait()


async def buy(world: World, report: Report, number: int, over: trio.Event) -> None:
    """One new customer after the other buys."""
    while not over.is_set():
        try:
            await buy_once(world, number, "stars" if (number // BUYERS) % 2 else "cryptopay")
            report.purchases += 1
        except (ProgramFailed, trio.TooSlowError) as error:
            report.faults.append(f"purchase {number}: {error!r:.300}")
        number += BUYERS
        with trio.move_on_after(1):
            await over.wait()


async def press(world: World, report: Report, number: int, over: trio.Event) -> None:
    """A customer who goes to his balance and back for ever; each screen is a press that somebody answers."""
    customer = Customer(world, 900_000 + number, name=f"Presser {number}")

    def is_a(kind: type[callbacks.Action]) -> Callable[[callbacks.Action], bool]:
        return lambda action: isinstance(action, kind)

    pause = PRESSERS / PRESSES
    try:
        await customer.say("/start")
        await customer.wait_for_button("go to the balance", is_a(callbacks.Balance))
        with trio.move_on_after(pause * number / PRESSERS):
            await over.wait()
        here, there = callbacks.Balance, callbacks.Home
        while not over.is_set():
            due = perf_counter() + pause
            began = perf_counter()
            since = await customer.press("go on", is_a(here))
            await customer.wait_for_button("go on", is_a(there), since=since)
            report.presses.append(perf_counter() - began)
            here, there = there, here
            with trio.move_on_after(max(0.0, due - perf_counter())):
                await over.wait()
    except (ProgramFailed, trio.TooSlowError) as error:
        report.faults.append(f"presser {number}: {error!r:.300}")


# ---------------------------------------------------------------------- looking


async def look(world: World, report: Report, over: trio.Event) -> None:
    """Look at the daemon every few seconds."""
    assert world.daemon.process is not None
    process = psutil.Process(world.daemon.process.pid)
    began = perf_counter()
    while not over.is_set():
        text = (await world.http.get(world.metrics_url)).text
        report.at.append(perf_counter() - began)
        for name, value in {
            "memory MB": process.memory_info().rss / 1e6,
            "tasks": _metric(text, "vpnd_tasks_running"),
            "connections": sum(
                _metric(text, f'vpnd_db_connections{{state="{state}"}}') for state in ("used", "idle")
            ),
            "descriptors": float(process.num_fds()),
            "threads": float(process.num_threads()),
        }.items():
            report.seen.setdefault(name, []).append(value)
        with trio.move_on_after(LOOK):
            await over.wait()


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def settle_down(db: Database, report: Report) -> None:
    """Wait until nothing is on its way."""
    waiting = """select (select count(*) from inbox where done_at is null)
                      + (select count(*) from outbox where status = 'ready' and kind <> 'admin_alert')
                      + (select count(*) from access_log where seq is null)
                      + (select count(*) from nodes n, access_head h where n.seq < h.last_seq)"""
    with trio.move_on_after(120):
        while await db.fetchval("soak.rest", waiting):
            await trio.sleep(0.5)
        return
    report.faults.append(f"{await db.fetchval('soak.rest', waiting)} are left over after two minutes of rest")


async def audit(world: World, report: Report, *, strict: bool) -> None:
    """Have the daemon judge itself, by the command an operator has."""
    done = await trio.run_process(
        [sys.executable, "-m", "vpnd", "audit", "--config", str(world.config_path)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    report.audit = (done.stdout + done.stderr).decode()
    report.audit_exit = done.returncode
    if not done.stdout:
        report.faults.append(f"vpnd audit says nothing: {done.stderr.decode()[:300]}")
    elif strict and done.returncode != 0:
        report.faults.append(f"vpnd audit exits {done.returncode}")


async def check(db: Database, report: Report) -> None:
    """Hold the books against what was done."""
    row = await db.fetchrow(
        "soak.counts",
        """select (select count(*) from subscriptions where status = 'expired') as expired,
                  (select count(*) from subscriptions where status = 'active' and expires_at < vpnd_now() - interval '1 hour')
                      as overdue,
                  (select count(*) from purchases where origin = 'renewal' and status = 'paid') as renewed,
                  (select count(*) from trial_notices) as trial_notices,
                  (select count(*) from outbox where status = 'done') as delivered,
                  (select count(*) from outbox where status = 'dead') as dead_letters,
                  (select count(*) from inbox where outcome = 'failed') as failed_updates,
                  (select count(*) from settlements where outcome <> 'settled') as odd_settlements,
                  (select count(*) from purchases where origin = 'customer' and status = 'paid') as paid""",
        deadline=60.0,
    )
    assert row is not None
    report.counts = dict(row.items())
    for what in ("overdue", "dead_letters", "failed_updates", "odd_settlements"):
        if report.counts[what]:
            report.faults.append(f"{report.counts[what]} {what}")
    if report.counts["paid"] < report.purchases:
        report.faults.append(
            f"{report.purchases} customers have a receipt, {report.counts['paid']} purchases are paid"
        )
    wrong = await db.fetchval(
        "soak.balances",
        """with sides as (
               select credit_id as account, amount from ledger union all select debit_id, -amount from ledger),
             sums as (select account, sum(amount) as total from sides group by account)
           select count(*) from accounts a left join sums s on s.account = a.id
           where a.balance is not null and a.balance <> coalesce(s.total, 0)""",
        deadline=60.0,
    )
    if wrong:
        report.faults.append(f"{wrong} cached balances disagree with the ledger")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--subscriptions", type=int, default=60_000)
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    report = trio.run(_played(minutes=arguments.minutes, subscriptions=arguments.subscriptions))
    print(report.audit)
    print(f"load soak, {report.seconds / 60:.1f} minutes, {arguments.subscriptions} subscriptions:")
    print(report.table())
    tenths = [report.seen["memory MB"][len(report.at) * part // 10] for part in range(10)]
    print(f"memory at each tenth of the time: {', '.join(f'{one:.0f}' for one in tenths)} MB")
    for fault in report.faults:
        print(f"  FAULT {fault}")
    print(f"load soak: {len(report.faults)} faults")
    return 1 if report.faults else 0


def _played(*, minutes: float, subscriptions: int) -> Callable[[], Awaitable[Report]]:
    return lambda: play(minutes=minutes, subscriptions=subscriptions)


if __name__ == "__main__":
    sys.exit(main())
