"""Every flow of the customer's bot, as a short script in English and in Russian, on the real daemon over real sockets.

All scripts share one world, made at the first and ended after the last; each has a customer of his own. Time only goes forward.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import scripts_around
import scripts_buying
import scripts_catalogue
import scripts_desk
import scripts_operating
import scripts_operators
import trio
from person import Person
from screen_judge import Ways
from world_checks import inbox_faults, journal_faults, money_faults, nothing_left

from vpnd.bot.texts import LANGUAGES
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.tls import trusted
from vpnd.sandbox.world import Control, World, WorldOptions

pytestmark = pytest.mark.world

HOST = Path(__file__).parents[1] / "world" / "world_host.py"
SCRIPTS = (
    *scripts_around.SCRIPTS,
    *scripts_buying.SCRIPTS,
    *scripts_operators.SCRIPTS,
    *scripts_operating.SCRIPTS,
    *scripts_catalogue.SCRIPTS,
    *scripts_desk.SCRIPTS,
)
EXTRA = """
[trial]
hours = 72
[referral]
levels = ["0:10"]
""" + "".join(
    f"[workers.{name}]\ninterval = 1\n"
    for name in ("activation", "renewal", "renewal_notices", "reminders", "trial_notices", "payment_watcher")
)
#: Longest one script may take, in seconds: a hang is a failure.
LONGEST = 90.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Where the world is, as its host says, and the journal of its daemon so far."""
    journal = tmp_path_factory.mktemp("world") / "journal"
    options = json.dumps({"durable": False, "lift_limits": True, "daemon_extra": EXTRA})
    command = [sys.executable, str(HOST), str(journal), options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "the world did not come up"
        yield json.loads(first) | {"journal": journal}
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def ways() -> Ways:
    """What leads where, in all scripts together."""
    return Ways()


@pytest.fixture
async def world(host: dict[str, Any]) -> AsyncIterator[World]:
    """The world, as a visitor has it: its servers and addresses."""
    async with httpx.AsyncClient(verify=trusted(), timeout=60, trust_env=False) as client:
        there = partial(Control, client)
        yield World(
            folder=Path(host["folder"]),
            options=WorldOptions(),
            postgres=None,  # type: ignore[arg-type]  # its parts are the host's
            database_url=host["database_url"],
            telegram=there(host["telegram"]),
            cryptopay=there(host["cryptopay"]),
            yookassa=there(host["yookassa"]),
            targets=SimpleNamespace(page_url=host["page_url"]),  # type: ignore[arg-type]
            daemon=None,  # type: ignore[arg-type]
            daemon_http=host["daemon_http"],
            metrics_url=host["metrics_url"],
            agent=None,
            node=None,
            http=client,
            config_path=Path(host["config_path"]),
        )


@pytest.fixture
async def books(world: World) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=Secret(world.database_url), pool_min=0)
    async with open_database(settings, Limits(2, 2), instance_name="test") as db:
        yield db


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_conversation(script: Any, language: str, world: World, ways: Ways) -> None:
    """Each step of the script is answered as `person` demands, and the script holds."""
    number = 100_000 + 10 * SCRIPTS.index(script) + LANGUAGES.index(language)
    with trio.fail_after(LONGEST):
        await script(Person(world, number, language, ways))


async def test_after_all_conversations(host: dict[str, Any], ways: Ways, books: Database) -> None:
    """No screen was a dead end, nothing failed, nothing was complained of in the journal, and the books are right."""
    with trio.fail_after(LONGEST):
        while not await nothing_left(books):
            await trio.sleep(0.1)

    assert ways.faults() == []
    assert await inbox_faults(books) == []
    assert await money_faults(books) == []
    assert journal_faults(host["journal"].read_text().splitlines()) == []
