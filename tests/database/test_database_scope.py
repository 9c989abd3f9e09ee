"""Transaction scopes and single reads on a real server."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
import trio
from database_kit import database_settings

from vpnd.database.database import Database, open_database
from vpnd.database.errors import (
    DatabaseTimeout,
    DatabaseUnavailable,
    IntegrityError,
    PoolTimeout,
    QueryError,
    UniqueViolation,
)
from vpnd.database.scope import Transaction
from vpnd.runtime.held import HeldConnectionError, refuse_if_held
from vpnd.runtime.limits import LimitClass, Limits


@pytest.fixture
async def table(db: Database) -> Database:
    async with db.transaction("test.table") as tx:
        await tx.script("create table a (id int primary key, v int); create table b (id int)")
    return db


async def count(db: Database) -> int:
    value: int = await db.fetchval("test.count", "select count(*) from a")
    return value


async def test_commit_is_visible(table: Database) -> None:
    """What a scope wrote is there after it, and a read sees it."""
    async with table.transaction("test.write") as tx:
        assert await tx.execute("insert into a select generate_series(1, $1)", 3) == 3
    assert await count(table) == 3


async def test_an_error_rolls_back_and_leaves_as_itself(table: Database) -> None:
    """A body's own error undoes the scope, is not wrapped in anything, and leaves the connection usable."""
    with pytest.raises(ZeroDivisionError):
        async with table.transaction("test.write") as tx:
            await tx.execute("insert into a values (1)")
            _ = 1 / 0
    assert await count(table) == 0
    assert table.statistics().used == 0


async def test_a_scope_without_statements_takes_no_connection(database_url: str) -> None:
    """The connection is taken by the first statement, so an empty scope costs nothing."""
    async with open_database(database_settings(database_url), Limits(2, 2), instance_name="test") as db:
        async with db.transaction("test.nothing"):
            pass
        assert db.statistics().connects == 0


async def test_after_commit_runs_after_commit_only(table: Database) -> None:
    """Callbacks run once the commit stands, outside of the scope, and not at all after a rollback."""
    told: list[str] = []

    def tell() -> None:
        refuse_if_held("a wake-up")
        told.append("committed")

    async with table.transaction("test.write") as tx:
        tx.after_commit(tell)
        await tx.execute("insert into a values (1)")
        assert told == []
    assert told == ["committed"]
    with pytest.raises(KeyError):
        async with table.transaction("test.write") as tx:
            tx.after_commit(tell)
            await tx.execute("insert into a values (2)")
            raise KeyError
    assert told == ["committed"]


async def test_values_keep_their_types(db: Database) -> None:
    """JSON comes and goes as Python objects, uuids as UUID, numerics as Decimal."""
    number, document = uuid.uuid4(), {"a": [1, None, "ж"], "b": {"c": True}}
    row = await db.fetchrow("test.types", "select $1::uuid, $2::jsonb, $3::numeric, $4::json, array[$2]::jsonb[]",
                            number, document, Decimal("0.1"), [1])  # fmt: skip
    assert row is not None
    assert tuple(row) == (number, document, Decimal("0.1"), [1], [document])


async def test_a_unique_violation_names_its_constraint_and_no_value(table: Database) -> None:
    """Whoever catches it learns which key it was; the value that collided is in no message."""
    async with table.transaction("test.write") as tx:
        await tx.execute("insert into a values ($1)", 424242)
    with pytest.raises(UniqueViolation) as caught:
        async with table.transaction("test.write") as tx:
            await tx.execute("insert into a values ($1)", 424242)
    assert caught.value.constraint == "a_pkey"
    assert isinstance(caught.value, IntegrityError)
    assert "424242" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_a_wrong_argument_is_told_without_the_argument(db: Database) -> None:
    """An argument that does not fit is named by its number; its value may be a secret."""
    with pytest.raises(QueryError, match=r"argument \$1") as caught:
        await db.fetch("test.read", "select $1::int", "hunter2")
    assert "hunter2" not in str(caught.value)


async def test_a_swallowed_error_is_no_commit(table: Database) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error; a scope makes it one."""
    with pytest.raises(QueryError):
        async with table.transaction("test.write") as tx:
            await tx.execute("insert into a values (1)")
            with pytest.raises(QueryError):
                await tx.execute("select no_such_column from a")
    assert await count(table) == 0


async def test_a_deferred_constraint_fails_the_commit(table: Database) -> None:
    """A constraint that is checked in COMMIT is reported like any other, and nothing is committed."""
    async with table.transaction("test.table") as tx:
        await tx.script("create table c (a int references a deferrable initially deferred)")
    with pytest.raises(IntegrityError):
        async with table.transaction("test.write") as tx:
            await tx.execute("insert into c values (7)")
    assert await table.fetchval("test.read", "select count(*) from c") == 0


async def test_scopes_and_reads_do_not_nest(db: Database) -> None:
    """Inside a scope a second one, a read beside it and whatever asks `refuse_if_held` are refused, in child tasks too."""
    refused = []

    async def child() -> None:
        with pytest.raises(HeldConnectionError):
            await db.fetch("test.read", "select 1")
        refused.append("child")

    async with db.transaction("test.outer"):
        with pytest.raises(HeldConnectionError):
            async with db.transaction("test.inner"):
                raise AssertionError
        with pytest.raises(HeldConnectionError):
            await db.fetch("test.read", "select 1")
        with pytest.raises(HeldConnectionError):
            refuse_if_held("an HTTP request")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
    assert refused == ["child"]
    assert await db.fetchval("test.read", "select 1") == 1


async def test_two_tasks_cannot_share_a_scope_at_once(db: Database) -> None:
    """A connection runs one statement at a time: a second one is a fault of the program and told as one."""
    async with db.transaction("test.shared") as tx:
        await tx.fetchval("select 1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.fetchval, "select pg_sleep(0.05)")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="two tasks"):
                await tx.fetchval("select 1")


async def test_a_scope_is_over_when_it_is_over(db: Database) -> None:
    """A transaction object that escaped its scope is of no use."""
    async with db.transaction("test.escape") as tx:
        await tx.fetchval("select 1")
    with pytest.raises(RuntimeError, match="over"):
        await tx.fetchval("select 1")


@pytest.mark.parametrize("name", ["", "Shop", "shop.chat_id 5", "1st", "shop-open"])
async def test_names_are_constants(db: Database, name: str) -> None:
    """A name that no constant has is refused before anything is asked."""
    with pytest.raises(ValueError, match="cannot name"):
        await db.fetch(name, "select 1")


@pytest.mark.parametrize(
    "sql", ["insert into inbox values (1)", "with x as (delete from inbox returning 1) select * from x"]
)
async def test_a_single_read_reads(db: Database, sql: str) -> None:
    """A read may be asked twice, so a statement that writes is refused outside of a scope."""
    with pytest.raises(ValueError, match="reads only"):
        await db.fetch("test.read", sql)


@pytest.mark.parametrize("deadline", [5.0, 6.0])
async def test_a_single_write_is_a_transaction_of_its_own(table: Database, deadline: float) -> None:
    """It has committed when it returns, gives back its rows, rolls back when it fails, and is refused inside a scope."""
    sql = "insert into a values ($1) returning id"
    rows = await table.write("test.write", sql, 7, deadline=deadline)
    assert [row["id"] for row in rows] == [7]
    assert await table.fetchval("test.read", "select count(*) from a") == 1
    with pytest.raises(UniqueViolation):
        await table.write("test.write", "insert into a values (8), (7)", deadline=deadline)
    assert await table.fetchval("test.read", "select count(*) from a") == 1
    async with table.transaction("test.scope") as tx:
        await tx.execute("insert into a values (9)")
        with pytest.raises(HeldConnectionError):
            await table.write("test.write", sql, 10, deadline=deadline)


async def test_a_read_only_scope_refuses_writes(table: Database) -> None:
    """A write in a read-only scope is its own fault and says nothing about the server."""
    with pytest.raises(QueryError) as caught:
        async with table.transaction("test.read_only", read_only=True) as tx:
            await tx.execute("insert into a values (1)")
    assert not caught.value.boundary_down


async def test_the_wait_for_a_connection_is_bounded(database_url: str) -> None:
    """Who gets no connection within the acquire timeout is told so, and nothing was sent for him."""
    settings = database_settings(database_url, acquire_timeout=0.1)
    async with open_database(settings, Limits(1, 1), instance_name="test") as db:
        async with db.transaction("test.holder") as tx, trio.open_nursery() as nursery:
            await tx.fetchval("select 1")
            done = trio.Event()
            nursery.start_soon(_expect_pool_timeout, db, done)
            await done.wait()


async def _expect_pool_timeout(db: Database, done: trio.Event) -> None:
    # As a stranger: a task that does not stand in the scope. Its context is a fresh one.
    import contextvars

    async def ask() -> None:
        with pytest.raises(PoolTimeout):
            await db.fetch("test.read", "select 1")
        done.set()

    async with trio.open_nursery() as nursery:
        task = trio.lowlevel.spawn_system_task(ask, context=contextvars.Context())
        del task, nursery
        await done.wait()


async def test_workers_leave_connections_for_handlers(database_url: str) -> None:
    """Whatever workers hold, a handler finds a connection."""
    async with open_database(database_settings(database_url), Limits(6, 6), instance_name="test") as db:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(_hold, db)
            await trio.testing.wait_all_tasks_blocked(0.01)
            with trio.fail_after(3):
                assert await db.fetchval("test.read", "select 1") == 1
            nursery.cancel_scope.cancel()


async def _hold(db: Database) -> None:
    async with db.transaction("test.worker", cls=LimitClass.WORKER) as tx:
        await tx.fetchval("select pg_sleep(3)")


async def test_no_statement_is_compiled_or_spread(db: Database) -> None:
    """Both are for reports: a claim of a long queue was compiled for 500 ms, and sums took all of the server's processors."""
    for name, value in (("jit", "off"), ("max_parallel_workers_per_gather", "0")):
        assert await db.fetchval("test.read", "select current_setting($1)", name) == value


async def test_statement_timeout_is_the_servers(db: Database) -> None:
    """A statement over the server's timeout ends as DatabaseTimeout, and the connection is kept."""
    with pytest.raises(DatabaseTimeout) as caught:
        async with db.transaction("test.slow") as tx:
            await tx.script("set local statement_timeout = 20")
            await tx.fetchval("select pg_sleep(2)")
    assert caught.value.sqlstate == "57014"
    assert db.statistics().idle == 1


async def test_a_long_deadline_reaches_the_server(db: Database) -> None:
    """A scope or read with a longer deadline is not cut by the session's statement timeout."""
    async with db.transaction("test.long", deadline=60) as tx:
        assert await tx.fetchval("select current_setting('statement_timeout')") == "59500ms"
    assert (
        await db.fetchval("test.read", "select current_setting('statement_timeout')", deadline=60)
        == "59500ms"
    )
    assert await db.fetchval("test.read", "select current_setting('statement_timeout')") == "4500ms"


async def test_deadlocked_transactions_are_repeated(table: Database) -> None:
    """Of two transactions that lock in opposite orders one is chosen as victim, and `run` repeats it: both succeed."""
    async with table.transaction("test.write") as tx:
        await tx.execute("insert into a values (1, 0), (2, 0)")
    starts: list[trio.Event] = [trio.Event(), trio.Event()]
    runs = []

    async def body(tx: Transaction, me: int) -> None:
        runs.append(me)
        await tx.script("set local deadlock_timeout = 20")
        await tx.execute("update a set v = v + 1 where id = $1", 1 + me)
        starts[me].set()
        await starts[1 - me].wait()
        await tx.execute("update a set v = v + 1 where id = $1", 2 - me)

    async with trio.open_nursery() as nursery:
        for me in (0, 1):
            nursery.start_soon(table.run, "test.deadlock", body, me)
    assert await table.fetch("test.read", "select id, v from a order by id") == [(1, 2), (2, 2)]
    assert len(runs) == 3


async def test_serialization_failures_are_repeated_and_then_told(table: Database) -> None:
    """40001 repeats the body, with what it wrote undone; after the last attempt it is told."""
    from vpnd.database.errors import SerializationFailure

    runs = []

    async def body(tx: Transaction, fail: int) -> int:
        runs.append(fail)
        await tx.execute("insert into a values ($1)", 10 * fail + len(runs))
        if len(runs) <= fail:
            await tx.script("do $$ begin raise exception 'again' using errcode = '40001'; end $$")
        return len(runs)

    assert await table.run("test.run", body, 2) == 3
    assert await count(table) == 1
    runs.clear()
    with pytest.raises(SerializationFailure):
        await table.run("test.run", body, 99, attempts=3)
    assert len(runs) == 3


async def test_a_database_that_is_down_opens_and_says_so() -> None:
    """Opening never fails for a server that is down; calls and probes say so at once, again and again."""
    settings = database_settings("postgresql://nobody@127.0.0.1:1/none", pool_min=2)
    async with open_database(settings, Limits(2, 2), instance_name="test") as db:
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable) as caught:
                await db.fetch("test.read", "select 1")
            assert caught.value.boundary_down
            assert "127.0.0.1" not in str(caught.value)
            with pytest.raises(DatabaseUnavailable):
                await db.probe()
            with pytest.raises(DatabaseUnavailable):
                async with db.transaction("test.write") as tx:
                    await tx.execute("select 1")
        assert db.statistics().down


async def test_an_error_of_the_block_leaves_open_database_as_itself(database_url: str) -> None:
    """The loop's nurseries wrap errors in groups; what the block raised is taken out of them."""
    with pytest.raises(LookupError):
        async with open_database(database_settings(database_url), Limits(2, 2), instance_name="test") as db:
            await db.probe()
            raise LookupError


async def test_tasks_from_outside_the_loop_may_use_it(database_url: str) -> None:
    """A task that was spawned before the database was opened uses it like any other."""
    async with trio.open_nursery() as nursery:
        async with open_database(database_settings(database_url), Limits(2, 2), instance_name="one") as db:
            async with open_database(database_settings(database_url), Limits(2, 2), instance_name="two"):
                done = trio.Event()

                async def ask() -> None:
                    assert await db.fetchval("test.read", "select 1") == 1
                    done.set()

                nursery.start_soon(ask)
                with trio.fail_after(5):
                    await done.wait()


async def test_pgbouncer_mode_sends_no_startup_settings(database_url: str) -> None:
    """With a pooler in between the timeouts travel in the scope, and no statement is prepared by name."""
    settings = database_settings(database_url, pgbouncer=True)
    async with open_database(settings, Limits(2, 2), instance_name="test") as db:
        async with db.transaction("test.pooled") as tx:
            assert await tx.fetchval("select current_setting('lock_timeout')") == "2s"
            assert await tx.fetchval("select current_setting('statement_timeout')") == "4500ms"
            assert await tx.fetchval("select count(*) from pg_prepared_statements where name <> ''") == 0
        assert await db.fetchval("test.read", "select 5") == 5
