"""Transaction scopes, named reads and single writes: the only ways to the database above this room.

The idea. What a caller can do wrong with a connection is made impossible or loud here: a connection is held
from the first statement of a scope to its end and nowhere else; each scope and read has a fixed name, a
deadline, a class of limits, and a clock on its wait and its hold; nothing else that could wait for the
network runs inside (`vpnd.runtime.held`).

A scope crosses the bridge as seldom as it can: acquire, BEGIN and the first statement are one hop, each
further statement is one, and COMMIT with the return of the connection is one. A single read is one hop and
has no BEGIN at all, and so is a single write, whose fate after a lost connection nobody asks for.

What a caller may rely on when he is cancelled or out of time:

- before COMMIT was sent, the scope ends with a rollback, and the cancellation (or `DatabaseTimeout`) is
  reported;
- once COMMIT was sent, its outcome is reported and not the cancellation. A server that does not answer within
  half a second of the cancellation is cut off, and a new connection asks `pg_xact_status()` what became of
  the transaction. Only if that cannot be learned within 3 s either does the scope raise `CommitUnknown`.

The limits decide how many connections are in use (`pool_max` of them by default, and no more than that are kept); one more
while `probe` finds none idle, and one more for each lost COMMIT while its outcome is asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from random import Random
from typing import Any, Final, TypeVar, TypeVarTuple

import trio

from vpnd.config import DatabaseSettings
from vpnd.database import Row
from vpnd.database.bridge import Bridge, BridgeStatistics, Seat, open_bridge
from vpnd.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseTimeout,
    DatabaseUnavailable,
    PoolTimeout,
    SerializationFailure,
    is_connection_lost,
    translate,
)
from vpnd.database.scope import SESSION_DEADLINE, Transaction, begin_statement
from vpnd.database.sites import Site, count_error, site_named
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.courtesy import Turns
from vpnd.runtime.held import open_mark, refuse_if_held
from vpnd.runtime.limits import LimitClass, Limits, LimitScope, LimitWaitTimeout

__all__ = ["PROBE_TIME", "Database", "Transaction", "open_database"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds in which a probe has an answer or a clear error.
PROBE_TIME: Final = 2.0
#: First and longest wait between the attempts of `Database.run`, in seconds.
RETRY_FIRST: Final = 0.01
RETRY_CAP: Final = 0.5


class Database:
    """The database as the rooms above see it. Made by `open_database`; opening it never fails for a server that is down."""

    def __init__(self, bridge: Bridge, settings: DatabaseSettings, limits: Limits) -> None:
        self._bridge = bridge
        self._limits = limits
        self._pgbouncer = settings.pgbouncer
        self._acquire_timeout = settings.acquire_timeout
        self._rng = Random()  # noqa: S311 (spreads repetitions, guards nothing)
        #: Whoever runs statements that read or write much, one after the other, runs each in a turn, outside of any scope.
        self.turns: Final = Turns(limits)

    @asynccontextmanager
    async def transaction(
        self, site: str, *, deadline: float = 5.0, cls: LimitClass | None = None, read_only: bool = False
    ) -> AsyncIterator[Transaction]:
        """Open a transaction scope: it commits when the block ends, and rolls back when an error leaves it.

        Args:
            site: the constant name of this place in the program, like `shop.settle`.
            deadline: seconds for the whole scope, counted from when its turn has come.
            cls: the class of limits; by default that of the calling task.
            read_only: the server refuses writes; there is nothing whose commit could be unknown then.

        Raises:
            HeldConnectionError: the caller stands in a scope already.
            PoolTimeout: its turn did not come within the acquire timeout.
            DatabaseTimeout: the deadline passed; rolled back.
            DatabaseUnavailable: the server cannot be had or was lost; nothing was committed.
            CommitUnknown: see the module's text.
            DatabaseError: others, by what the statements met.
        """
        named = site_named(site)
        with open_mark(site):
            try:
                wait_since = time.perf_counter()
                place = await self._take_turn(named, cls)
                try:
                    begin = begin_statement(deadline, read_only=read_only, pgbouncer=self._pgbouncer)
                    tx = Transaction(
                        self._bridge, named, begin=begin, read_only=read_only, wait_since=wait_since
                    )
                    since = time.perf_counter()
                    try:
                        with trio.move_on_after(deadline) as scope:
                            try:
                                yield tx
                                await tx.commit()
                            except BaseException:
                                await tx.rollback()
                                raise
                        if scope.cancelled_caught:
                            raise DatabaseTimeout(f"not done within {deadline:g}s, rolled back", site=site)
                    finally:
                        named.took(since)
                finally:
                    await place.__aexit__(None, None, None)
            except DatabaseError as error:
                count_error(error)
                raise
        tx.run_callbacks()

    async def run(
        self,
        site: str,
        body: Callable[[Transaction, *Ts], Awaitable[T]],
        *args: *Ts,
        deadline: float = 5.0,
        attempts: int = 5,
        cls: LimitClass | None = None,
    ) -> T:
        """Run `body(tx, *args)` in a scope, and again when the server asks for it (serialization failures and deadlocks).

        `body` must not have effects outside of its transaction, since it may run several times. The deadline
        holds for all attempts together; other errors are not retried.

        Raises:
            SerializationFailure: the last attempt failed by it too.
            DatabaseError: as `transaction`.
        """
        until = trio.current_time() + deadline
        attempt = 1
        while True:
            try:
                left = max(0.0, until - trio.current_time())
                async with self.transaction(site, deadline=left, cls=cls) as tx:
                    result = await body(tx, *args)
            except SerializationFailure:
                wait = jittered_backoff(attempt, RETRY_FIRST, RETRY_CAP, self._rng)
                if attempt >= attempts or trio.current_time() + wait >= until:
                    raise
                metrics.db_retries_total.inc()
                attempt += 1
                await trio.sleep(wait)
            else:
                return result

    # ------------------------------------------------------------------ single reads

    async def fetch(
        self, name: str, sql: str, *args: object, deadline: float = 5.0, cls: LimitClass | None = None
    ) -> list[Row]:
        """Run one reading statement in one hop, without BEGIN, and return its rows: bound them with LIMIT.

        Asked once more, on a fresh connection, when the one it was asked on proves dead.

        Raises:
            ValueError: the statement does not look like a read (it might be asked twice, so it must be).
            HeldConnectionError, PoolTimeout, DatabaseTimeout, DatabaseUnavailable, DatabaseError: as
                `transaction`.
        """
        _require_read(sql)
        site = site_named(name)
        refuse_if_held(f"a read beside the scope ({name!r})")
        try:
            wait_since = time.perf_counter()
            place = await self._take_turn(site, cls)
            try:
                return await self._read(site, sql, args, deadline, wait_since)
            finally:
                await place.__aexit__(None, None, None)
        except DatabaseError as error:
            count_error(error)
            raise

    async def fetchrow(
        self, name: str, sql: str, *args: object, deadline: float = 5.0, cls: LimitClass | None = None
    ) -> Row | None:
        """Like `fetch`, for the first row or None."""
        rows = await self.fetch(name, sql, *args, deadline=deadline, cls=cls)
        return rows[0] if rows else None

    async def fetchval(
        self, name: str, sql: str, *args: object, deadline: float = 5.0, cls: LimitClass | None = None
    ) -> Any:
        """Like `fetch`, for the first column of the first row, or None."""
        rows = await self.fetch(name, sql, *args, deadline=deadline, cls=cls)
        return rows[0][0] if rows else None

    # ------------------------------------------------------------------ single writes

    async def write(
        self, name: str, sql: str, *args: object, deadline: float = 5.0, cls: LimitClass | None = None
    ) -> list[Row]:
        """Run one writing statement as a transaction of its own, and return its rows.

        One round trip where a scope takes four. The price: when the connection is lost, nobody asks what
        became of the statement. So this is for statements whose caller can live with not knowing and may simply
        run them again, like keeping an update under its number or marking one as done; money takes a scope.

        Raises:
            CommitUnknown: the connection was lost, and the statement may have been carried out.
            DatabaseTimeout: the deadline passed; likewise.
            HeldConnectionError, PoolTimeout, DatabaseUnavailable, DatabaseError: as `transaction`; then it was
                not carried out.
        """
        site = site_named(name)
        refuse_if_held(f"a write beside the scope ({name!r})")
        try:
            wait_since = time.perf_counter()
            place = await self._take_turn(site, cls)
            try:
                return await self._read(site, sql, args, deadline, wait_since, writes=True)
            finally:
                await place.__aexit__(None, None, None)
        except DatabaseError as error:
            count_error(error)
            raise

    async def _read(
        self,
        site: Site,
        sql: str,
        args: tuple[object, ...],
        deadline: float,
        wait_since: float,
        *,
        writes: bool = False,
    ) -> list[Row]:
        seat = Seat()
        reading = _Reading(self._bridge, seat, site, sql, args, wait_since, once=writes)
        if deadline > SESSION_DEADLINE or self._pgbouncer:
            reading.begin = begin_statement(deadline, read_only=not writes, pgbouncer=self._pgbouncer)
        in_order = False
        since = time.perf_counter()
        try:
            with trio.move_on_after(deadline):
                rows = await self._bridge.hop(reading.run(), seat)
                in_order = True
                site.read(len(rows))
                return rows
        except trio.Cancelled:
            raise
        except Exception as error:
            raise self._told(error, reading, writes=writes) from None
        finally:
            if not in_order and seat.usable:
                await self._mend(seat)
            self._bridge.give_back(seat)
            site.took(since)
            if reading.since:
                site.held(reading.since)
        raise DatabaseTimeout(f"not read within {deadline:g}s", site=site.name)

    def _told(self, error: Exception, reading: _Reading, *, writes: bool) -> DatabaseError:
        """What the caller is told of a failure. In a frame of its own: an error must not hold the frames it left by."""
        site = reading.site.name
        ours = isinstance(error, DatabaseError)
        failure = error if isinstance(error, DatabaseError) else translate(error, site, read_only=not writes)
        if writes and failure.boundary_down and failure.sqlstate == "25006":
            self._bridge.expire_idle()  # they lead to the same standby
            reading.seat.terminate()
        elif writes and reading.since and (ours or is_connection_lost(error)):
            return CommitUnknown(
                "the connection was lost, the statement may have been carried out", site=site
            )
        return failure

    async def _mend(self, seat: Seat) -> None:
        """Wait, bounded, until the server took notice of a cancellation; a connection that fails in this is cut."""
        try:
            await self._bridge.hop(_come_to_order(seat.connection), seat, patient=True, hurry=True)
        except Exception:  # what the read ended by is on its way already; the connection is cut
            seat.terminate()

    # ------------------------------------------------------------------ around

    async def _take_turn(self, site: Site, cls: LimitClass | None) -> LimitScope:
        """Take a place under the class's limit, to be left by `__aexit__`; the wait for it is bounded and cancellable.

        No context manager: for a read of a row, that would cost as much as the limiter itself.
        """
        place = self._limits.database(cls, acquire_timeout=self._acquire_timeout)
        try:
            await place.__aenter__()
        except LimitWaitTimeout as error:
            site.waited(error.waited)
            raise PoolTimeout(f"no connection came free within {error.waited:.1f}s", site=site.name) from None
        return place

    async def wait_back(self) -> None:
        """Wait for the next end of an outage: the server lets us in again after it had not, or seemed not to."""
        await self._bridge.wait_back()

    async def rest(self, seconds: float) -> None:
        """Sleep after a failure, but no longer than until the server is back: back-off is not for who can be helped."""
        with trio.move_on_after(seconds):
            await self.wait_back()

    async def probe(self) -> None:
        """Ask the server for a sign of life, past all limits; ends within 2 s (and the grace of a cut connection).

        Raises:
            DatabaseUnavailable: with the reason.
        """
        seat = Seat()

        async def ask() -> None:
            await self._bridge.take(seat)
            try:
                await seat.connection.fetchval("select 1")
            except Exception as error:
                if not is_connection_lost(error):
                    raise
                self._bridge.drop(seat)
                await self._bridge.take(seat, fresh=True)
                await seat.connection.fetchval("select 1")

        answered = False
        try:
            with trio.move_on_after(PROBE_TIME):
                await self._bridge.hop(ask(), seat)
                answered = True
        except (DatabaseError, trio.Cancelled):
            raise
        except Exception as error:
            raise DatabaseUnavailable(translate(error, "probe").message, site="probe") from None
        finally:
            if answered:
                self._bridge.give_back(seat)
            else:
                self._bridge.drop(seat)
        if not answered:
            raise DatabaseUnavailable(f"no answer within {PROBE_TIME:g}s", site="probe")

    def statistics(self) -> BridgeStatistics:
        """Connections now and counts since the start."""
        return self._bridge.statistics()


async def _come_to_order(connection: Any) -> None:
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
    else:
        await connection.fetchval("select 1")


class _Reading:
    """One statement on the asyncio side, with its one repetition unless it is to be sent `once`."""

    def __init__(
        self,
        bridge: Bridge,
        seat: Seat,
        site: Site,
        sql: str,
        args: tuple[object, ...],
        wait_since: float,
        *,
        once: bool,
    ) -> None:
        self.begin: str | None = None
        self.since = 0.0
        self._once = once
        self._bridge, self.seat, self.site = bridge, seat, site
        self._sql, self._args, self._wait_since = sql, args, wait_since

    async def run(self) -> list[Row]:
        await self._bridge.take(self.seat)
        self.since = time.perf_counter()
        self.site.waited(self.since - self._wait_since)
        self.site.seated(*self._bridge.occupied)
        try:
            return await self._ask()
        except Exception as error:
            if self._once or not is_connection_lost(error):
                raise
            self._bridge.drop(self.seat)
            await self._bridge.take(self.seat, fresh=True)
            return await self._ask()

    async def _ask(self) -> list[Row]:
        connection = self.seat.connection
        if self.begin is None:
            rows: list[Row] = await connection.fetch(self._sql, *self._args)
            return rows
        await connection.execute(self.begin)
        rows = await connection.fetch(self._sql, *self._args)
        await connection.execute("COMMIT")
        return rows


_READS: Final = re.compile(r"\s*(?:--[^\n]*\n\s*)*(select|with|values|table|show|explain)\b", re.IGNORECASE)
_WRITES: Final = re.compile(
    r"\b(insert\s+into|update\s+[\w.\"]+\s+(\w+\s+)?set|delete\s+from|merge\s+into|for\s+(no\s+key\s+)?update|for\s+(key\s+)?share)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def _require_read(sql: str) -> None:
    if _READS.match(sql) is None or _WRITES.search(sql) is not None:
        raise ValueError("fetch outside of a transaction scope is for reads only: it may be asked twice")


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings, limits: Limits, *, instance_name: str
) -> AsyncIterator[Database]:
    """Open the database for as long as the block runs. A server that is down is no obstacle: calls say so by
    themselves.

    Args:
        settings: the `[database]` section.
        limits: how many connections each class may use.
        instance_name: shown in `pg_stat_activity`.

    Resource handling: runs the asyncio loop and one task that keeps `pool_min` connections ready. On the way
    out, cancelled or not, connections are closed within half a second or cut.
    """
    async with open_bridge(settings, instance_name) as bridge:
        yield Database(bridge, settings, limits)
