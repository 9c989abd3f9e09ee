"""Cancellation, lost connections and silent servers: whatever happens, a scope tells the truth and gives its connection back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import trio
from database_kit import database_settings
from database_proxy import Proxy, open_proxy

from vpnd.database.database import Database, open_database
from vpnd.database.errors import CommitUnknown, DatabaseError, DatabaseTimeout, DatabaseUnavailable
from vpnd.runtime.limits import Limits
from vpnd.sandbox.postgres import embedded_postgres

# b is written last and its deferred trigger makes COMMIT slow, so that deadlines fall into every part of a scope.
TABLES = """
    create table a (id int primary key); create table b (id int primary key);
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.004); return null; end $$;
    create constraint trigger slow_commit after insert on b deferrable initially deferred
        for each row execute function slow();
"""
POOL = 5


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Database]:
    async with open_database(
        database_settings(database_url, pool_max=POOL), Limits(POOL, POOL), instance_name="storm"
    ) as db:
        async with db.transaction("test.tables") as tx:
            await tx.script(TABLES)
        yield db


async def unit(db: Database, number: int, deadline: float = 5.0) -> None:
    async with db.transaction("test.unit", deadline=deadline) as tx:
        await tx.execute("insert into a values ($1)", number)
        await tx.fetchval("select pg_sleep(0.003)")
        await tx.execute("insert into b values ($1)", number)


async def ids(db: Database, table: str) -> set[int]:
    return {row[0] for row in await db.fetch("test.ids", f"select id from {table} limit 9999")}  # noqa: S608 (a or b)


async def assert_usable(db: Database, places: int = POOL) -> None:
    """Every place of the pool serves, all at the same time, and none is left in use."""
    barrier = trio.Event()
    arrived = []

    async def use() -> None:
        async with db.transaction("test.use") as tx:
            await tx.fetchval("select 1")
            arrived.append(1)
            if len(arrived) == places:
                barrier.set()
            await barrier.wait()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(places):
                nursery.start_soon(use)
    # The keeper may be looking just now whether the server is back.
    await _until(lambda: db.statistics().used == 0)


async def storm(
    db: Database, numbers: range, rng: random.Random
) -> tuple[Counter[str], set[int], set[int], set[int]]:
    """Run units under random deadlines; return counts and who was told committed, not committed, and unknown."""
    outcomes: Counter[str] = Counter()
    committed: set[int] = set()
    refused: set[int] = set()
    unknown: set[int] = set()
    todo = iter(numbers)

    async def worker() -> None:
        for number in todo:
            span = rng.choice([(0, 0.02), (0.01, 0.08), (0.05, 0.4)])
            deadline = rng.uniform(*span)
            try:
                with trio.move_on_after(deadline if number % 3 else 9) as scope:
                    await unit(db, number, 9 if number % 3 else deadline)
            except CommitUnknown:
                outcomes["unknown"] += 1
                unknown.add(number)
            except DatabaseError as error:
                outcomes[type(error).__name__] += 1
                refused.add(number)
            else:
                outcomes["cancelled" if scope.cancelled_caught else "committed"] += 1
                (refused if scope.cancelled_caught else committed).add(number)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(worker)
    return outcomes, committed, refused, unknown


async def judge(db: Database, committed: set[int], refused: set[int]) -> None:
    a, b = await ids(db, "a"), await ids(db, "b")
    assert a ^ b == set(), "torn: half of a transaction is there"
    assert committed - a == set(), "lost: reported as committed and not there"
    assert refused & a == set(), "committed, though reported as cancelled or failed"


async def test_cancellation_storm(pool: Database) -> None:
    """600 scopes under random deadlines, their own and their callers': none is torn, lost or misreported, no connection leaks."""
    outcomes, committed, refused, unknown = await storm(pool, range(600), random.Random(5))
    assert outcomes["cancelled"] > 50
    assert outcomes["DatabaseTimeout"] > 20
    assert outcomes["committed"] > 100
    assert unknown == set()
    await judge(pool, committed, refused)
    await assert_usable(pool)


async def test_terminate_storm(pool: Database, database_url: str) -> None:
    """While an admin kills random backends every 20 ms nothing is torn, lost or misreported, and the pool recovers."""
    async with open_database(database_settings(database_url), Limits(2, 2), instance_name="killer") as killer:
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                while True:
                    await trio.sleep(0.02)
                    await killer.fetch(
                        "test.kill",
                        """select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'vpnd storm'
                            and datname = current_database() order by random() limit 1""",
                    )

            nursery.start_soon(kill)
            outcomes, committed, refused, unknown = await storm(pool, range(300), random.Random(6))
            nursery.cancel_scope.cancel()
    assert outcomes["DatabaseUnavailable"] > 0
    assert unknown == set()
    await judge(pool, committed, refused)
    await assert_usable(pool)


@pytest.mark.parametrize("where", ["before", "acquire", "body", "commit"])
async def test_a_cancellation_in_each_part(pool: Database, where: str) -> None:
    """A cancellation before COMMIT rolls back and is reported; in COMMIT it is the commit that is reported."""
    with trio.CancelScope() as scope:
        if where == "before":
            scope.cancel()
        async with pool.transaction("test.part") as tx:
            if where == "acquire":
                scope.cancel()
            await tx.execute("insert into a values (1)")
            if where == "body":
                scope.cancel()
            await tx.execute("insert into b values (1)")
            if where == "commit":
                trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
    if where == "commit":
        # Cancelled while COMMIT (and the deferred trigger in it) ran: it was not given up.
        assert not scope.cancelled_caught
        assert await ids(pool, "a") == {1}
    else:
        assert scope.cancelled_caught
        assert await ids(pool, "a") == set()
    await assert_usable(pool)


async def test_a_deadline_in_a_read_leaves_the_connection_in_order(pool: Database) -> None:
    """A read that is out of time is cancelled at the server, and its connection is used again."""
    await pool.fetch("test.read", "select 1")
    before = pool.statistics().connects
    with pytest.raises(DatabaseTimeout):
        await pool.fetch("test.read", "select pg_sleep(4)", deadline=0.05)
    assert await pool.fetchval("test.read", "select 1") == 1
    assert pool.statistics().connects == before


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[tuple[Proxy, Database]]:
    async with open_proxy(database_url) as proxy:
        settings = database_settings(proxy.url, pool_max=POOL)
        async with open_database(settings, Limits(POOL, POOL), instance_name="proxied") as db:
            async with db.transaction("test.tables") as tx:
                await tx.script(TABLES)
            yield proxy, db
            proxy.thaw()


@pytest.mark.parametrize("how", ["read", "scope", "caller", "commit", "idle"])
async def test_a_frozen_server(proxied: tuple[Proxy, Database], how: str) -> None:
    """A server that stops answering delays nobody by more than his deadline and a bounded grace; afterwards all is well."""
    proxy, db = proxied
    started = trio.current_time()
    bound = 5.0  # far from the time a thaw would come: it comes afterwards only
    if how == "read":
        proxy.freeze()
        with pytest.raises(DatabaseTimeout):
            await db.fetch("test.read", "select 1", deadline=0.1)
    elif how == "scope":
        with pytest.raises(DatabaseTimeout):
            async with db.transaction("test.frozen", deadline=0.2) as tx:
                await tx.execute("insert into a values (1)")
                proxy.freeze()
                await tx.execute("insert into b values (1)")
    elif how == "caller":
        with trio.move_on_after(0.2) as scope:
            async with db.transaction("test.frozen") as tx:
                await tx.execute("insert into a values (1)")
                proxy.freeze()
                await tx.execute("insert into b values (1)")
        assert scope.cancelled_caught
    elif how == "commit":
        with pytest.raises(CommitUnknown):
            async with db.transaction("test.frozen", deadline=0.2) as tx:
                await tx.execute("insert into a values (1)")
                await tx.execute("insert into b values (1)")
                proxy.mute_before = lambda chunk: b"COMMIT" in chunk and (proxy.freeze() or True)
    else:
        proxy.freeze()
        with pytest.raises(DatabaseUnavailable):
            await db.probe()
    assert trio.current_time() - started < bound
    proxy.mute_before = lambda chunk: False
    proxy.thaw()
    await _until_reachable(db)
    await assert_usable(db)
    assert db.statistics().used == 0


async def test_a_lost_commit_answer_is_settled_as_committed(proxied: tuple[Proxy, Database]) -> None:
    """COMMIT happened and its answer was lost: another connection is asked, and the scope succeeds."""
    proxy, db = proxied
    proxy.deaf_after = lambda chunk: b"COMMIT" in chunk
    told = []
    async with db.transaction("test.lost", deadline=0.3) as tx:
        tx.after_commit(lambda: told.append(1))
        await tx.execute("insert into a values (1)")
        await tx.execute("insert into b values (1)")
    proxy.deaf_after = lambda chunk: False
    assert told == [1]
    assert await ids(db, "a") == {1}
    await assert_usable(db)


async def test_a_single_write_is_sent_once_and_its_loss_is_told(pool: Database, database_url: str) -> None:
    """The connection dies under a write: nobody sends it again, and the caller hears that he cannot know."""
    async with trio.open_nursery() as nursery:

        async def kill() -> None:
            async with open_database(
                database_settings(database_url), Limits(2, 2), instance_name="killer"
            ) as killer:
                with trio.fail_after(10):
                    while not await killer.fetchval(
                        "test.kill",
                        """select count(pg_terminate_backend(pid)) from pg_stat_activity
                            where application_name = 'vpnd storm' and query like '%pg_sleep%' and state = 'active'""",
                    ):
                        await trio.sleep(0.01)

        nursery.start_soon(kill)
        with pytest.raises(CommitUnknown):
            await pool.write("test.write", "insert into a select 1 from pg_sleep(4)")
    assert await ids(pool, "a") == set()
    await assert_usable(pool)


async def test_a_commit_that_never_arrived_is_settled_as_not_committed(
    proxied: tuple[Proxy, Database],
) -> None:
    """COMMIT was swallowed on its way: the idle backend is ended by its transaction's id, so the failure is certain."""
    proxy, db = proxied
    proxy.mute_before = lambda chunk: b"COMMIT" in chunk
    with pytest.raises(DatabaseUnavailable, match="nothing was committed"):
        async with db.transaction("test.lost", deadline=0.3) as tx:
            await tx.execute("insert into a values (1)")
            await tx.execute("insert into b values (1)")
    proxy.mute_before = lambda chunk: False
    assert await ids(db, "a") == set()
    await assert_usable(db)


async def test_a_server_restart_under_load() -> None:
    """A restarted server costs calls while it is away and none afterwards; nothing is torn or lost."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        data = Path(directory) / "data"
        async with trio.open_nursery() as outer:
            first = trio.Event()
            moved: list[str] = []

            async def serve(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
                # The socket's directory is fixed, so that both servers have one address.
                async with embedded_postgres(
                    data, options=(f"unix_socket_directories={directory}",), durable=False
                ):
                    task_status.started(f"postgresql://vpnd@/vpnd?host={directory}&port=5432")
                    await stop.wait()
                moved.append("down")

            Path(directory).chmod(0o777)
            url = await outer.start(serve, first)
            settings = database_settings(url, pool_max=POOL)
            async with open_database(settings, Limits(POOL, POOL), instance_name="restart") as db:
                async with db.transaction("test.tables") as tx:
                    await tx.script(TABLES)
                await assert_usable(db)
                committed: set[int] = set()
                refused: set[int] = set()
                numbers = iter(range(100_000))
                running = True

                async def load() -> None:
                    while running:
                        number = next(numbers)
                        try:
                            await unit(db, number)
                        except DatabaseError:
                            refused.add(number)
                        else:
                            committed.add(number)

                async with trio.open_nursery() as nursery:
                    for _ in range(POOL):
                        nursery.start_soon(load)
                    await _until(lambda: len(committed) > 20)
                    first.set()
                    await _until(lambda: moved == ["down"])
                    before = len(committed)
                    await outer.start(serve, trio.Event())
                    await _until(lambda: len(committed) > before + 20)
                    running = False
                assert refused
                await judge(db, committed, refused)
                await assert_usable(db)
            outer.cancel_scope.cancel()


async def test_stale_connections_cost_no_request(pool: Database, database_url: str) -> None:
    """All idle connections were closed by the server: the next scopes and reads do not notice."""
    await assert_usable(pool)
    assert pool.statistics().idle == POOL
    async with open_database(database_settings(database_url), Limits(2, 2), instance_name="killer") as killer:
        await killer.fetch(
            "test.kill",
            """select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'vpnd storm' and datname = current_database()""",
        )
    for number in range(POOL):
        if number % 2:
            assert await pool.fetchval("test.read", "select 1") == 1
        else:
            await unit(pool, number)


async def _until_reachable(db: Database) -> None:
    """Wait out the back-off between attempts to connect."""
    with trio.fail_after(10):
        while True:
            try:
                await db.probe()
            except DatabaseUnavailable:
                await trio.sleep(0.01)
            else:
                return


async def _until(condition) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.005)
