"""The monkey: hundreds of chats in which all is pressed, written, sent and paid at random, and nobody may be left standing.

    ./dev soak monkey [--chats 500] [--steps 20000] [--seed 1]

The whole daemon in the sandbox's world, with a node. A step is one chat's: a button of what it shows or once showed, two taps at
once, a command, a link's /start, any words, a picture or a sticker, a bill paid (also twice, too much or too little), the bot
blocked. Between steps business time goes on, by a minute or by a month. Steps are taken a few chats at a time, each by a chat of
its own, and the next ones wait for their answers; so the same seed wishes the same things wherever the same messages stand.

What must hold, each time: a press is stopped (its callback answered), it and every private message have a visible answer, what is
shown is in order (`screen_judge`), and a group hears nothing. At the end: home was never more than two taps away, no update
failed, no error in the journal, every charge of the providers is settled and became one thing, the books are right.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter

import trio
from attrs import define

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from _measure import percentile, table
from monkey_chat import Chat, Seen
from world_checks import inbox_faults, journal_faults, money_faults, nothing_left

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Customer
from vpnd.sandbox.world import World, WorldOptions, open_world

#: The first chat; the others are numbered on.
FIRST = 200_000

#: Steps taken side by side, each in another chat.
TOGETHER = 8

#: After so many faults there is nothing new to learn.
ENOUGH = 20

#: More charges than there can be.
EVERYTHING = 100_000
#: Promo codes that there are.
CODES = {"MONKEYLESS": ("percent", "25"), "MONKEYDAYS": ("days", "7"), "MONKEYGIFT": ("money", "50")}

#: How far time goes at once, in seconds.
LEAPS = (60, 60, 60, 3600, 3600, 6 * 3600, 86_400, 86_400, 3 * 86_400, 30 * 86_400)

#: Rounds between two leaps, on the average.
LEAP_EVERY = 30

EXTRA = """
[trial]
hours = 72
[referral]
levels = ["0:10"]
[stars]
topup_rate = "1.5"
""" + "".join(
    f"[workers.{name}]\ninterval = 2\n"
    for name in (
        "activation",
        "renewal",
        "renewal_notices",
        "reminders",
        "trial_notices",
        "payment_watcher",
        "yookassa_watcher",
    )
)


@define
class Report(Seen):
    """The same, with what the whole of it was."""

    chats: int = 0
    seconds: float = 0.0

    def table(self) -> str:
        """Return the report for people."""
        rows = [["step", "times", "p50 ms", "p99 ms", "max ms"]]
        for kind, waits in sorted(self.waits.items()):
            figures = (percentile(waits, 0.5), percentile(waits, 0.99), max(waits))
            rows.append([kind, str(len(waits)), *(f"{one * 1e3:.0f}" for one in figures)])
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        buttons = ", ".join(f"{name} {count}" for name, count in self.pressed.most_common())
        return f"{table(rows)}\n{counts}\nbuttons of {len(self.pressed)} kinds: {buttons}"


# ------------------------------------------------------------------------------------------ the whole of it


async def play(*, chats: int, steps: int, seed: int = 1, durable: bool = True) -> Report:
    """Play; `faults` of the report is empty if everything held."""
    report = Report(seed, chats=chats)
    began = perf_counter()
    lines: list[str] = []
    async with open_world(WorldOptions(durable=durable, lift_limits=True, daemon_extra=EXTRA)) as world:
        world.daemon.listeners.append(lines.append)
        await world.start_daemon()
        for code, words in CODES.items():
            await shell(world, "promo", "add", code, *words, "--per-customer", "2")
        players = [a_chat(world, report, number) for number in range(chats)]
        await take_steps(world, report, players, steps, lines)
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with open_database(settings, Limits(3, 3), instance_name="monkey") as db:
            await judge_all(world, db, report, players)
        report.faults += [f"journal: {fault}" for fault in journal_faults(lines)]
    report.seconds = perf_counter() - began
    return report


def a_chat(world: World, report: Report, number: int) -> Chat:
    """A chat with randomness of its own."""
    language = ("en", "ru")[number % 2]
    person = Customer(world, FIRST + number, name=("Ann", "Аня")[number % 2], language=language)
    return Chat(world, report, person, Random(f"{report.seed}:{number}"), {language})


async def take_steps(world: World, report: Report, players: list[Chat], steps: int, lines: list[str]) -> None:
    """All steps, a few chats at a time; time goes on in between."""
    random = Random(report.seed)
    while report.steps < steps and len(report.faults) < ENOUGH:
        async with trio.open_nursery() as nursery:
            for chat in random.sample(players, min(TOGETHER, steps - report.steps, len(players))):
                report.steps += 1
                nursery.start_soon(chat.play, report.steps)
        if random.randrange(LEAP_EVERY) == 0:
            await world.advance(random.choice(LEAPS))
            report.counts["leaps of time"] += 1
        if report.steps % 1000 < TOGETHER:
            print(
                f"  step {report.steps}, {len(report.faults)} faults, {len(lines)} lines of journal",
                flush=True,
            )


async def judge_all(world: World, db: Database, report: Report, players: list[Chat]) -> None:
    """What must hold when everything has come to rest."""
    with trio.move_on_after(120):
        while not await nothing_left(db):
            await trio.sleep(0.2)
    if not await nothing_left(db):
        report.faults.append("something is left over after two minutes of rest")
    for chat in players:
        await chat.look()
    sent = await world.telegram.get("/sim/sent")
    report.faults += [f"the bot spoke in the group {chat}" for chat in sent if int(chat) < 0]
    report.faults += report.ways.faults()
    report.faults += await inbox_faults(db)
    report.faults += await money_faults(db)
    report.faults += await unsettled(world, db)
    row = await db.fetchrow(
        "monkey.counts",
        """select (select count(*) from inbox) as updates, (select count(*) from settlements) as charges,
                  (select count(*) from grants) as grants, (select count(*) from subscriptions) as subscriptions,
                  (select count(*) from trials) as trials, (select count(*) from outbox where status = 'done') as notices,
                  (select count(*) from outbox where status = 'dead') as dead_letters""",
    )
    assert row is not None
    report.counts.update(dict(row.items()))
    if row["dead_letters"]:
        report.faults.append(f"{row['dead_letters']} notices were given up")


async def unsettled(world: World, db: Database) -> list[str]:
    """Charges that a provider took and the books do not have."""
    stars = (await world.telegram.get("/sim/charges"))["charges"]
    crypto = (await world.cryptopay.get("/sim/invoices", limit=EVERYTHING))["invoices"]
    cards = (await world.yookassa.get("/sim/payments", limit=EVERYTHING))["payments"]
    taken = {
        *(("stars", str(one["charge_id"])) for one in stars),
        *(("cryptopay", str(one["invoice_id"])) for one in crypto if one["status"] == "paid"),
        *(("yookassa", str(one["id"])) for one in cards if one["status"] == "succeeded"),
    }
    missing = set(taken)
    with trio.move_on_after(60):
        while missing:
            rows = await db.fetch(
                "monkey.charges", "select provider, charge_id from settlements limit 100000"
            )
            missing = taken - {(row["provider"], row["charge_id"]) for row in rows}
            await trio.sleep(0.5)
    return [f"the charge {charge} of {provider} is not settled" for provider, charge in sorted(missing)]


async def shell(world: World, *words: str) -> None:
    """A command of the operator's."""
    command = [sys.executable, "-m", "vpnd", *words, "--config", str(world.config_path)]
    await trio.run_process(command, capture_stdout=True, env=dict(os.environ))


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    report = trio.run(partial(play, chats=arguments.chats, steps=arguments.steps, seed=arguments.seed))
    print(report.table())
    for fault in report.faults:
        print(f"  FAULT {fault}")
    print(
        f"monkey, seed {report.seed}: {report.chats} chats, {report.steps} steps in {report.seconds:.0f} s,"
        f" {report.counts['updates']} updates, {len(report.faults)} faults"
    )
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
