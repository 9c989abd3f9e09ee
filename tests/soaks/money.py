"""The money soak: a random walk over everything that moves money, with crashes around COMMIT, against an oracle.

    ./dev soak money [--steps 100000] [--rounds 1000] [--seed 1] [--example 1]

The steps are those of the Hypothesis machine in tests/money. After each of them everything that stands in the database is
compared with what a model in plain Python says must stand there. At the end pairs of transactions that take their locks from
opposite ends are let loose on each other, and none may deadlock. A fault names its example: --example N --steps 60 plays it
again alone.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from time import perf_counter

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from money.barrier import MEETINGS, deadlocks, release, sums_are_right
from money.play import Chance, Ground, begin_play, next_step, open_ground, reset
from shop_world import ShopWorld

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.database.migrate import migrate
from vpnd.runtime import journal
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.plans import offers_on_sale
from vpnd.shop.promos import PromoUnavailable

#: Steps of one example.
LENGTH = 60


async def walk(ground: Ground, steps: int, seed: int, first: int) -> list[str]:
    """Play so many steps from this example on; returns the faults, at most one for each example."""
    faults: list[str] = []
    done, example = 0, first - 1
    began = perf_counter()
    while done < steps and len(faults) < 3:
        example += 1
        random = Random(f"{seed}:{example}")
        choose = Chance(random)
        play = await begin_play(ground)
        try:
            for _ in range(min(LENGTH, steps - done)):
                name = next_step(play, random)
                ground.count("step", name)
                done += 1
                await getattr(play, f"do_{name}")(choose)
                await play.check()
        except Exception:  # any error is a fault, told with the example that leads to it
            story = "\n".join(f"    {line}" for line in play.steps)
            faults.append(f"example {example} of seed {seed}:\n{story}\n{traceback.format_exc()}")
            print(f"FAULT {faults[-1]}", flush=True)
        play.finish()
        if example % 50 == 0:
            rate = done / (perf_counter() - began)
            print(
                f"  {done:>7} steps, {example} examples, {rate:.0f} steps/s, {len(faults)} faults", flush=True
            )
    ground.tally["run", "steps"] = done
    ground.tally["run", "seconds"] = round(perf_counter() - began)
    return faults


async def meet(ground: Ground, rounds: int) -> list[str]:
    """Let transactions that come from opposite ends meet; returns the faults."""
    await reset(ground.db)
    shop = ShopWorld(ground.db, await offers_on_sale(ground.db))
    faults: list[str] = []
    for number in range(rounds):
        meeting = MEETINGS[number % len(MEETINGS)]
        before = deadlocks()
        for result in await release(shop, await meeting(shop)):
            if isinstance(result, Exception) and not isinstance(
                result, (InsufficientBalance, PromoUnavailable)
            ):
                faults.append(f"{meeting.__name__}, round {number}: {result!r}")
        ground.count("meeting", meeting.__name__)
        ground.tally["run", "deadlocks"] += int(deadlocks() - before)
        if deadlocks() > before:
            faults.append(f"{meeting.__name__}, round {number}: a deadlock")
        if number % 50 == 49 or number == rounds - 1:
            await sums_are_right(shop)
        if len(faults) > 10:
            break
    return faults


def table(tally: Counter[tuple[str, str]]) -> str:
    """What was counted, for people."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for (group, which), count in sorted(tally.items()):
        groups.setdefault(group, []).append((which, count))
    lines = []
    for group, rows in groups.items():
        lines.append(f"  {group} ({sum(count for _, count in rows)})" if group != "run" else "  run")
        lines += [f"    {which:<44} {count:>8}" for which, count in rows]
    return "\n".join(lines)


async def play(steps: int, rounds: int, seed: int, first: int) -> int:
    """Run it on a server of its own."""
    async with embedded_postgres(durable=False) as server:
        settings = DatabaseSettings(url=Secret(server.url), pool_min=0)
        async with open_database(settings, Limits(4, 4), instance_name="soak") as db:
            await migrate(db)
        async with open_ground(server.url) as ground:
            faults = await walk(ground, steps, seed, first)
            met = await meet(ground, rounds)
            print(f"money soak, seed {seed}:")
            print(table(ground.tally))
            for fault in met:
                print(f"FAULT {fault}")
            faults += met
            print(f"  faults {len(faults)}")
    return 1 if faults else 0


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--example", type=int, default=1, help="the first example; one has 60 steps")
    arguments = parser.parse_args()
    journal.configure("console", level="critical")
    return trio.run(play, arguments.steps, arguments.rounds, arguments.seed, arguments.example)


if __name__ == "__main__":
    sys.exit(main())
