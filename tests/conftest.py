"""What tests of several rooms share: one PostgreSQL server, and a fresh, migrated database for each test that asks.

`VPND_TEST_DATABASE_URL` names another server to use (its role must be allowed to create databases).
"""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
from database_kit import database_settings

from vpnd.database.database import Database, open_database
from vpnd.runtime import redact
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import blocking_postgres

# The suite plays the same examples each time; `--hypothesis-profile explore` draws new ones.
hypothesis.settings.register_profile("suite", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile("suite")

_numbers = itertools.count(1)
_TEMPLATE = f"vpnd_template_{os.getpid()}"

#: Statements of administration and the migration of the template run in a process of their own: this one must be free to open an
#: event loop in each test, and asyncpg outside of a trio-asyncio loop would not work here.
_PREPARE = """
import sys, trio
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.database.migrate import migrate
from vpnd.runtime.limits import Limits

async def main():
    async with open_database(DatabaseSettings(url=Secret(sys.argv[1])), Limits(5, 5), instance_name="template") as db:
        await migrate(db)

trio.run(main)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order and group the tests for several processes (`--dist loadgroup`).

    What takes long comes first, since else the last of it would be waited for at the end. Tests that share something made once
    for their module stay together, the others go to whoever is free.
    """
    items.sort(
        reverse=True, key=lambda item: 2 * any(item.iter_markers("long")) + any(item.iter_markers("world"))
    )
    for item in items:
        info = getattr(item, "_fixtureinfo", None)
        definitions = info.name2fixturedefs.values() if info is not None else ()
        if any(one.scope in ("class", "module") for each in definitions for one in each):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of each later garbage collection: half a million objects that stay anyway."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has registered as a secret masks nothing in the next: in a daemon it would until the process ends."""
    monkeypatch.setattr(redact, "_secrets", set(redact._secrets))
    monkeypatch.setattr(redact, "_known", redact._known)


def _sibling(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


class _Admin:
    """Creates and drops databases through one psql-like child: a connection costs less than a process each time."""

    def __init__(self, url: str) -> None:
        code = (
            "import asyncio, asyncpg, sys\n"
            "async def main():\n"
            "    c = await asyncpg.connect(sys.argv[1])\n"
            "    for line in sys.stdin:\n"
            "        if not line.strip():\n"
            "            break\n"
            "        try:\n"
            "            await c.execute(line)\n"
            "            print('ok', flush=True)\n"
            "        except Exception as error:\n"
            "            print(repr(error), flush=True)\n"
            "asyncio.run(main())\n"
        )
        self._child = subprocess.Popen(
            [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def copy(self, template: str, name: str) -> None:
        """Create a database as a copy of another: by its files, which is twice as fast, where the server can (15 and later)."""
        try:
            self.run(f"create database {name} template {template} strategy file_copy")
        except AssertionError:
            self.run(f"create database {name} template {template}")

    def run(self, statement: str) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(statement + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline().strip()
        assert answer == "ok", f"{statement}: {answer}"

    def close(self) -> None:
        # An empty line ends it: the end of the file would not, while a child of some test still holds the pipe.
        self._child.communicate("\n", timeout=10)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a running server: our own for this session, unless the environment names one."""
    given = os.environ.get("VPND_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with blocking_postgres(durable=False, options=("max_connections=100", "autovacuum=off")) as server:
        yield server.url


@pytest.fixture(scope="session")
def _admin(postgres_url: str) -> Iterator[_Admin]:
    admin = _Admin(postgres_url)
    yield admin
    admin.close()


@pytest.fixture(scope="session")
def _template(postgres_url: str, _admin: _Admin) -> Iterator[str]:
    _admin.run(f"create database {_TEMPLATE}")
    subprocess.run(
        [sys.executable, "-c", _PREPARE, _sibling(postgres_url, _TEMPLATE)], check=True, timeout=60
    )
    yield _TEMPLATE
    _admin.run(f"drop database {_TEMPLATE} with (force)")


@pytest.fixture
def database_url(postgres_url: str, _admin: _Admin, _template: str) -> Iterator[str]:
    """The URL of a fresh database with the whole schema, dropped after the test."""
    name = f"vpnd_test_{os.getpid()}_{next(_numbers)}"
    _admin.copy(_template, name)
    yield _sibling(postgres_url, name)
    _admin.run(f"drop database {name} with (force)")


@pytest.fixture
def empty_database_url(postgres_url: str, _admin: _Admin) -> Iterator[str]:
    """The URL of a database without a schema."""
    name = f"vpnd_empty_{os.getpid()}_{next(_numbers)}"
    _admin.run(f"create database {name}")
    yield _sibling(postgres_url, name)
    _admin.run(f"drop database {name} with (force)")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open database with the whole schema."""
    async with open_database(
        database_settings(database_url), Limits(10, 10), instance_name="test"
    ) as database:
        yield database
