"""Plays every flow on the daemon under its unit: `play.py DATABASE_URL CONFIG`. Runs inside the booted system.

First the tour of `vpnd demo --tour`, then each script of tests/conversations, which judge every screen. At the end nothing may
be left undone, no update may have failed, and the books must be right.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import httpx
import scripts_around
import scripts_buying
import scripts_catalogue
import scripts_desk
import scripts_operating
import scripts_operators
import trio
from person import Person
from screen_judge import Ways
from world_checks import inbox_faults, money_faults, nothing_left

from vpnd.config import DatabaseSettings, Secret, load_settings
from vpnd.database.database import open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.targets import Targets
from vpnd.sandbox.tour import Tour, play
from vpnd.sandbox.world import Control, World, WorldOptions

SCRIPTS = (
    *scripts_around.SCRIPTS,
    *scripts_buying.SCRIPTS,
    *scripts_operators.SCRIPTS,
    *scripts_operating.SCRIPTS,
    *scripts_catalogue.SCRIPTS,
    *scripts_desk.SCRIPTS,
)

#: Longest that the tour, or one script, may take, in seconds.
LONGEST = 120.0


@asynccontextmanager
async def visiting(database_url: str, config: Path) -> AsyncIterator[World]:
    """The world as a visitor has it: its parts are units of this system."""
    settings = load_settings(config, os.environ, role="daemon")
    where = json.loads(Path("/run/targets.json").read_text())
    targets = Targets(
        int(where["http_port"]),
        int(where["https_port"]),
        int(where["decoy_port"]),
        Path(where["certificate"]),
        Path(where["private_key"]),
    )
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        world = World(
            folder=Path("/var/tmp"),
            options=WorldOptions(),
            postgres=None,  # type: ignore[arg-type]  # its parts are the system's
            database_url=database_url,
            telegram=Control(client, "http://127.0.0.1:9001"),
            cryptopay=Control(client, "http://127.0.0.1:9002"),
            yookassa=Control(client, "http://127.0.0.1:9003"),
            targets=targets,
            daemon=None,  # type: ignore[arg-type]
            daemon_http="http://127.0.0.1:8080",
            metrics_url="http://127.0.0.1:9464/metrics",
            agent=None,
            node=settings.nodes[0],
            http=client,
            config_path=config,
        )
        await world.telegram.post("/sim/limits", lifted=True)
        await world.cryptopay.post("/sim/webhook", url=f"{world.daemon_http}/webhooks/cryptopay")
        await world.yookassa.post("/sim/webhook", url=f"{world.daemon_http}/webhooks/yookassa")
        yield world


async def main(database_url: str, config: Path) -> int:
    """Play it; return how many did not hold."""
    faults, began = 0, perf_counter()
    async with visiting(database_url, config) as world:
        with trio.fail_after(LONGEST):
            await play(world, Tour())
        ways = Ways()
        for number, script in enumerate(SCRIPTS):
            person = Person(world, 100_000 + 10 * number, "en", ways)
            start = perf_counter()
            try:
                with trio.fail_after(LONGEST):
                    await script(person)
                print(f"  {script.__name__:<30} {perf_counter() - start:6.1f} s")
            except Exception as error:
                faults += 1
                print(f"  {script.__name__}: {type(error).__name__}: {str(error)[:1500]}")
        settings = DatabaseSettings(url=Secret(database_url), pool_min=0)
        async with open_database(settings, Limits(2, 2), instance_name="player") as books:
            with trio.fail_after(LONGEST):
                while not await nothing_left(books):
                    await trio.sleep(0.1)
            wrong = [*ways.faults(), *await inbox_faults(books), *await money_faults(books)]
        for fault in wrong:
            print(f"  {fault}")
        faults += len(wrong)
    print(f"the tour and {len(SCRIPTS)} scripts in {perf_counter() - began:.0f} s; {faults} did not hold")
    return faults


if __name__ == "__main__":
    sys.exit(1 if trio.run(main, sys.argv[1], Path(sys.argv[2])) else 0)
