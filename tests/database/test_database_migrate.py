"""The schema moves forward once, whoever asks and however often."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from database_kit import database_settings

from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import (
    Migration,
    MigrationDrift,
    SchemaTooNew,
    ServerTooOld,
    load_migrations,
    migrate,
    pending,
)
from vpnd.runtime.limits import Limits

FILES = (
    Migration(1, "pre", "one", "create table one (id int);"),
    Migration(2, "post", "two", "drop table one; create table two (id int)"),
    Migration(3, "pre", "three", "create table three (id int); insert into three values (3);"),
)


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    async with open_database(
        database_settings(empty_database_url), Limits(10, 10), instance_name="migrate"
    ) as db:
        yield db


async def tables(db: Database) -> set[str]:
    return {
        row[0]
        for row in await db.fetch(
            "test.tables", "select tablename from pg_tables where schemaname = 'public'"
        )
    }


async def test_the_packages_own_files_apply_to_an_empty_database_and_only_once(empty: Database) -> None:
    """An empty database gets the whole schema; the second run finds nothing to do."""
    assert await pending(empty) == load_migrations()
    assert await migrate(empty) == load_migrations()
    assert await migrate(empty) == ()
    assert await pending(empty) == ()
    assert {"inbox", "outbox", "leases", "schema_migrations"} <= await tables(empty)


async def test_post_files_may_be_put_off(empty: Database) -> None:
    """`pre` leaves out what takes things away from older code; `post` does it later."""
    assert [m.version for m in await migrate(empty, phase="pre", migrations=FILES)] == [1, 3]
    assert "one" in await tables(empty)
    assert [m.version for m in await pending(empty, migrations=FILES)] == [2]
    assert [m.version for m in await migrate(empty, phase="post", migrations=FILES)] == [2]
    assert await tables(empty) == {"two", "three", "schema_migrations"}


async def test_several_at_once_apply_each_file_once(empty: Database) -> None:
    """Daemons that start together wait for each other, and each file is applied by one of them."""
    applied: list[int] = []

    async def one() -> None:
        applied.extend(m.version for m in await migrate(empty, migrations=FILES))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
    assert sorted(applied) == [1, 2, 3]
    assert await empty.fetchval("test.read", "select count(*) from three") == 1


async def test_a_failed_file_leaves_nothing(empty: Database) -> None:
    """A file is applied as a whole or not at all; those before it stay."""
    broken = (*FILES[:1], Migration(2, "pre", "broken", "create table half (id int); select no_such_column;"))
    with pytest.raises(DatabaseError):
        await migrate(empty, migrations=broken)
    assert await tables(empty) == {"one", "schema_migrations"}


async def test_an_edited_file_is_an_error(empty: Database) -> None:
    """A file that was applied and then edited is told, before anything else is applied."""
    await migrate(empty, migrations=FILES[:1])
    edited = (Migration(1, "pre", "one", "create table one (id bigint);"), *FILES[1:])
    with pytest.raises(MigrationDrift):
        await migrate(empty, migrations=edited)
    with pytest.raises(MigrationDrift):
        await pending(empty, migrations=edited)


async def test_a_schema_from_the_future_is_an_error(empty: Database) -> None:
    """Old code refuses a schema that newer code has moved."""
    await migrate(empty, migrations=FILES)
    with pytest.raises(SchemaTooNew):
        await migrate(empty, migrations=FILES[:1])


async def test_an_old_server_is_an_error(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server below the oldest that we know is refused in a sentence instead of in the middle of a file."""
    monkeypatch.setattr("vpnd.database.migrate.MINIMUM_SERVER", 990_000)
    with pytest.raises(ServerTooOld, match="99"):
        await migrate(empty, migrations=FILES)
    assert await tables(empty) == set()
