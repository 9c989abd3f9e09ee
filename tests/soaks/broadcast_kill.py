"""The broadcast's kill soak: `kill -9` of the daemon at random instants of one broadcast, and a restart each.

    ./dev soak broadcast-kill [--kills 20] [--recipients 5000] [--seed 1]

Limits are raised to shorten it. What must hold at the end: everybody has it. Telegram has no key that makes a repeat harmless, so
what was being sent when the daemon died may come twice: at most the messages that were in flight then, which are counted here by
the claims that a kill leaves open, and by the broadcast's own figure "perhaps twice".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import trio
from attrs import define, field

sys.path.insert(0, str(Path(__file__).parents[2]))

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.world import World, WorldOptions, open_world
from vpnd.shop import broadcasts
from vpnd.shop.segments import Segment

#: Telegram ids of the recipients begin behind this.
FIRST = 500_000
#: A broadcast that stands still for this long has been lost, in seconds.
PATIENCE = 60.0
TEXT = "A message for everybody"

_CROWD = """
insert into customers (telegram_id, first_name, language, referral_code)
select $1 + n, 'C', 'en', 'soak' || n from generate_series(1, $2) n
"""
#: What was in hand when the daemon died. Some of it was only claimed, and had not left.
_IN_FLIGHT = """
select count(*) from broadcast_recipients where broadcast_id = $1 and state = 'waiting' and lease_holder is not null
"""


@define
class Report:
    """What was seen. `in_flight` is counted at each kill."""

    kills: list[tuple[int, int]] = field(factory=list)  # recorded as sent, and in flight
    recipients: int = 0
    delivered: int = 0
    arrived: int = 0
    repeated: int = 0
    counted: int = 0
    seconds: float = 0.0
    faults: list[str] = field(factory=list)

    @property
    def in_flight(self) -> int:
        """Messages that were in hand at all kills together."""
        return sum(open_claims for _, open_claims in self.kills)

    def table(self) -> str:
        """Return the report for people."""
        rows: list[tuple[str, Any]] = [
            (f"kill {number}: recorded as sent, in flight", f"{sent:>6} {flying:>5}")
            for number, (sent, flying) in enumerate(self.kills, 1)
        ]
        rows += [
            ("recipients", self.recipients),
            ("have it", self.delivered),
            ("messages that arrived", self.arrived),
            ("came twice", self.repeated),
            ("in flight at all kills", self.in_flight),
            ("counted by vpnd as perhaps twice", self.counted),
            ("faults", len(self.faults)),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"  {name:<44} {value}" for name, value in rows)


async def play(*, kills: int, recipients: int, seed: int, durable: bool = True) -> Report:
    """Run the soak and return what was seen; `faults` is empty if everything held."""
    report, began = Report(recipients=recipients), perf_counter()
    options = WorldOptions(node=False, lift_limits=True, durable=durable)
    async with open_world(options) as world:
        settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
        async with open_database(settings, Limits(3, 3), instance_name="soak") as db:
            await world.start_daemon()
            await populate(world, db, recipients)
            number = await broadcasts.create(
                db, content={"text": {"en": TEXT}}, segment=Segment(), created_by="soak", title="soak"
            )
            await broadcasts.start(db, number)
            random = Random(seed)
            # Each kill comes after a random part of its share of the recipients, so that all of them meet the broadcast running.
            for kill in range(kills):
                least = recipients * kill // (kills + 1)
                at = least + random.randrange(1, max(2, recipients // (kills + 1)))
                await until_sent(db, number, at)
                await trio.sleep(random.uniform(0, 0.03))
                await world.daemon.kill()
                await note_kill(db, number, report)
                await world.start_daemon(wait=False)
            await world.daemon_ready()
            await until_done(db, number)
            await check(world, db, number, report)
    report.seconds = perf_counter() - began
    return report


async def populate(world: World, db: Database, recipients: int) -> None:
    """Make the recipients, and a chat for each of them."""
    async with db.transaction("soak.crowd") as tx:
        await tx.execute(_CROWD, FIRST, recipients)
    await world.telegram.post("/sim/chats", first=FIRST + 1, count=recipients)


async def until_sent(db: Database, number: int, least: int) -> None:
    """Wait until so many are recorded as sent."""
    with trio.fail_after(PATIENCE):
        while (await state(db, number)).sent < least:
            await trio.sleep(0.01)


async def until_done(db: Database, number: int) -> None:
    """Wait for the end, for as long as it goes on."""
    seen, since = -1, trio.current_time()
    while True:
        found = await state(db, number)
        if found.state == "done":
            return
        if found.served != seen:
            seen, since = found.served, trio.current_time()
        if trio.current_time() - since > PATIENCE:
            raise AssertionError(f"the broadcast stands still: {found}")
        await trio.sleep(0.1)


async def state(db: Database, number: int) -> broadcasts.Progress:
    """How far it is."""
    found = await broadcasts.progress(db, number)
    assert found is not None
    return found


async def note_kill(db: Database, number: int, report: Report) -> None:
    """Count what was in hand when the daemon died."""
    report.kills.append(
        ((await state(db, number)).sent, await db.fetchval("soak.in_flight", _IN_FLIGHT, number))
    )


async def check(world: World, db: Database, number: int, report: Report) -> None:
    """Hold what arrived against what was written down."""
    sent = await world.telegram.get("/sim/sent")
    # Nobody writes to these chats but the broadcast.
    arrived = {int(chat): count for chat, count in sent.items() if int(chat) > FIRST and count}
    found = await state(db, number)
    report.delivered, report.arrived = len(arrived), sum(arrived.values())
    report.repeated, report.counted = report.arrived - report.delivered, found.repeated
    if report.delivered != report.recipients:
        report.faults.append(f"{report.recipients - report.delivered} recipients have nothing")
    if (found.sent, found.failed, found.unreachable) != (report.recipients, 0, 0):
        report.faults.append(
            f"the figures are {found.sent} sent, {found.failed} failed, {found.unreachable} gone"
        )
    if report.repeated > report.in_flight:
        report.faults.append(f"{report.repeated} came twice, {report.in_flight} were in flight")
    if report.repeated > report.counted:
        report.faults.append(f"{report.repeated} came twice, {report.counted} are counted")
    if arrived and max(arrived.values()) > 1 + len(report.kills):
        report.faults.append("somebody has it more often than the daemon died")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--recipients", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    journal.configure("console")
    report = trio.run(
        lambda: play(kills=arguments.kills, recipients=arguments.recipients, seed=arguments.seed)
    )
    print(f"broadcast kill soak, seed {arguments.seed}:")
    print(report.table())
    for fault in report.faults:
        print(f"  FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
