"""A transaction scope from its first statement to its end; `Database.transaction` opens it.

The interesting part is the end. COMMIT has three outcomes: it happened, it did not, and we were not told. For
the third case a writing scope fetches its transaction id in the same hop just before COMMIT, so that another
connection can ask the server what became of it. When the old backend still sits in the transaction (the
network between us broke before COMMIT reached it), it is ended by that id: from then on the answer is final.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import asyncpg
import trio

from vpnd.database import Row
from vpnd.database.bridge import Bridge, Seat
from vpnd.database.connect import IDLE_IN_TRANSACTION_MS, LOCK_TIMEOUT_MS
from vpnd.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseUnavailable,
    QueryError,
    is_connection_lost,
    translate,
)
from vpnd.database.sites import Site
from vpnd.runtime.journal import get_journal

__all__ = ["SETTLE_TIME", "Transaction", "begin_statement"]

#: Seconds in which the outcome of a lost COMMIT must be learned.
SETTLE_TIME: Final = 3.0
#: A scope whose deadline is above this tells the server so; all others live with the session's
#: statement_timeout.
SESSION_DEADLINE: Final = 5.0

_OWN_XID: Final = "select pg_current_xact_id_if_assigned()::text"
# backend_xid has 32 bits, the id of a transaction 64: it is compared by its lower half among the sessions of
# this database.
_OUTCOME: Final = """
    select pg_xact_status($1::text::xid8) as status,
           (select count(pg_terminate_backend(a.pid)) from pg_stat_activity a
             where a.datname = current_database() and a.pid <> pg_backend_pid()
               and a.backend_xid::text::bigint = $1::text::bigint & 4294967295
               and a.state not like 'active%') as ended
"""

_journal = get_journal("database")


def begin_statement(deadline: float, *, read_only: bool, pgbouncer: bool) -> str:
    """BEGIN, with the timeouts that belong to this scope in the same round trip when the session's do not
    fit."""
    begin = "BEGIN READ ONLY" if read_only else "BEGIN"
    if deadline > SESSION_DEADLINE or pgbouncer:
        begin += f"; SET LOCAL statement_timeout = {max(1, int((deadline - 0.5) * 1000))}"
    if pgbouncer:
        begin += f"; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"
        begin += f"; SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}"
    return begin


class Transaction:
    """An open transaction scope. Statements run one at a time; the first one takes the connection and begins.

    Every method raises `DatabaseError` and, when cancelled, lets the scope roll back. After a failed
    statement PostgreSQL refuses all further ones: let the error leave the scope.
    """

    __slots__ = (
        "_after_commit", "_begin", "_bridge", "_busy", "_commit_sent", "_over", "_read_only", "_seat", "_since", "_site",
        "_wait_since", "_xid",
    )  # fmt: skip

    def __init__(self, bridge: Bridge, site: Site, *, begin: str, read_only: bool, wait_since: float) -> None:
        self._bridge = bridge
        self._site = site
        self._begin = begin
        self._read_only = read_only
        self._seat = Seat()
        self._after_commit: list[Callable[[], object]] = []
        self._busy = False
        self._over = False
        self._commit_sent = False
        self._xid: str | None = None
        self._wait_since = wait_since
        self._since = 0.0  # when the connection was had; 0 before

    @property
    def site(self) -> str:
        """The name the scope was opened under."""
        return self._site.name

    # ------------------------------------------------------------------ statements

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """Run one statement and return all its rows: bound them with LIMIT."""
        rows: list[Row] = await self._statement(_fetch, sql, args)
        self._site.read(len(rows))
        return rows

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        """Run one statement and return its first row, or None."""
        row: Row | None = await self._statement(_fetchrow, sql, args)
        return row

    async def fetchval(self, sql: str, *args: object) -> Any:
        """Run one statement and return the first column of its first row, or None."""
        return await self._statement(_fetchval, sql, args)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it touched (0 for a statement that touches none)."""
        tag: str = await self._statement(_execute, sql, args)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, args: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of arguments, pipelined; `unnest` is faster still where it can be
        used."""
        await self._statement(_executemany, sql, (list(args),))

    async def script(self, sql: str) -> None:
        """Run several statements without arguments, in one round trip."""
        await self._statement(_script, sql, ())

    def note_xid(self, xid: str) -> None:
        """Take the transaction id that a statement of the body brought along; COMMIT need not ask for it then."""
        self._xid = xid

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call `callback` (synchronous) once this scope has committed; not at all otherwise."""
        self._after_commit.append(callback)

    async def _statement(
        self, work: Callable[..., Coroutine[Any, Any, Any]], sql: str, args: Sequence[object]
    ) -> Any:
        if self._over:
            raise RuntimeError(f"the transaction scope {self.site!r} is over")
        if self._busy:
            raise RuntimeError(f"two tasks use the transaction scope {self.site!r} at once")
        self._busy = True
        try:
            if self._since:
                return await self._bridge.hop(work(self._seat.connection, sql, args), self._seat)
            return await self._bridge.hop(self._first(work, sql, args), self._seat)
        except (DatabaseError, trio.Cancelled):
            raise
        except Exception as error:
            raise self._told(error) from None
        finally:
            self._busy = False

    def _told(self, error: Exception) -> DatabaseError:
        """What the caller is told of a failure. In a frame of its own: an error must not hold the frames it left by."""
        failure = translate(error, self.site, read_only=self._read_only)
        if failure.boundary_down and failure.sqlstate == "25006":
            self._bridge.expire_idle()  # they lead to the same standby
            self._seat.terminate()
        return failure

    async def _first(
        self, work: Callable[..., Coroutine[Any, Any, Any]], sql: str, args: Sequence[object]
    ) -> Any:
        """Acquire, BEGIN and the first statement, on the asyncio side."""
        await self._bridge.take(self._seat)
        try:
            await self._seat.connection.execute(self._begin)
        except Exception as error:
            if not is_connection_lost(error):
                raise
            # The connection died while it lay idle. Nothing was asked of it yet, so asking another one is
            # safe.
            self._bridge.drop(self._seat)
            await self._bridge.take(self._seat, fresh=True)
            await self._seat.connection.execute(self._begin)
        self._since = time.perf_counter()
        self._site.waited(self._since - self._wait_since)
        self._site.seated(*self._bridge.occupied)
        return await work(self._seat.connection, sql, args)

    # ------------------------------------------------------------------ the end

    async def commit(self) -> None:
        """Commit and give the connection back; called by the scope, not by its body.

        Raises:
            DatabaseError: nothing was committed; or, as `CommitUnknown`, it cannot be known.
            trio.Cancelled: the scope was cancelled before COMMIT was sent; `rollback` is then still to be
                called.
        """
        if self._seat.connection is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._over = True
            try:
                await self._bridge.hop(self._commit(self._seat.connection), self._seat, patient=True)
            except Exception as error:
                await self._commit_failed(error)
            finally:
                self.release()
        self._over = True

    def run_callbacks(self) -> None:
        """Run what `after_commit` collected; the scope calls it after it has let go of everything."""
        for callback in self._after_commit:
            try:
                callback()
            except Exception:
                # The commit stands; whoever wanted to be woken will be found by his own interval.
                _journal.exception(
                    "database.after_commit_failed",
                    message="A callback after a commit failed.",
                    site=self.site,
                )

    async def _commit(self, connection: Any) -> None:
        if not self._read_only and self._xid is None:
            self._xid = await connection.fetchval(_OWN_XID)
        self._commit_sent = True
        if await connection.execute("COMMIT") != "COMMIT":
            # A body that swallowed the error of a statement: the server answers COMMIT with ROLLBACK, and no
            # error.
            raise QueryError("a statement had failed, so the transaction was rolled back", site=self.site)

    async def _commit_failed(self, error: Exception) -> None:
        """Return if the transaction was committed after all; else raise what became of it."""
        told = isinstance(error, QueryError) or (
            isinstance(error, asyncpg.PostgresError) and not is_connection_lost(error)
        )
        if told or not self._commit_sent:
            raise translate(error, self.site, read_only=self._read_only) from None
        if self._xid is None:
            return  # it wrote nothing, so there was nothing to commit
        self.release()
        status = await self._settle(self._xid)
        if status == "committed":
            return
        if status == "aborted":
            raise DatabaseUnavailable(
                "the connection was lost in COMMIT, nothing was committed", site=self.site
            )
        raise CommitUnknown(
            "the connection was lost in COMMIT and its outcome could not be learned", site=self.site
        )

    async def _settle(self, xid: str) -> str | None:
        """Ask the server what became of the transaction, on new connections, until it says so or time is up."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SETTLE_TIME):
            while True:
                seat = Seat()
                try:
                    status = await self._bridge.hop(self._ask(seat, xid), seat)
                    if status != "in progress":
                        return status
                except Exception as error:  # any reason not to be told now is a reason to ask again
                    _journal.debug(
                        "database.settle_again", message="Not told yet.", error=type(error).__name__
                    )
                finally:
                    self._bridge.drop(seat)
                await trio.sleep(0.05)
        return None

    async def _ask(self, seat: Seat, xid: str) -> str | None:
        await self._bridge.take(seat, fresh=True)
        row = await seat.connection.fetchrow(_OUTCOME, xid)
        status: str | None = row["status"]
        return status

    async def rollback(self) -> None:
        """Roll back and give the connection back; called by the scope. Never raises, bounded even when
        cancelled."""
        self._over = True
        if self._seat.usable:
            try:
                await self._bridge.hop(
                    _script(self._seat.connection, "ROLLBACK", ()), self._seat, patient=True
                )
            except Exception as error:  # why the scope ends is what its caller must learn, not this
                self._seat.terminate()
                _journal.debug(
                    "database.rollback_failed", message="A rollback failed.", error=type(error).__name__
                )
        self.release()

    def release(self) -> None:
        """Give the connection back if there still is one; a connection that is not in order is cut."""
        if self._seat.connection is None:
            return
        self._bridge.give_back(self._seat)
        if self._since:
            self._site.held(self._since)


# The asyncio side of the statements. They are functions and not bound methods of the connection, since at the
# time the first one is chosen there is no connection yet.


async def _fetch(connection: Any, sql: str, args: Sequence[object]) -> Any:
    return await connection.fetch(sql, *args)


async def _fetchrow(connection: Any, sql: str, args: Sequence[object]) -> Any:
    return await connection.fetchrow(sql, *args)


async def _fetchval(connection: Any, sql: str, args: Sequence[object]) -> Any:
    return await connection.fetchval(sql, *args)


async def _execute(connection: Any, sql: str, args: Sequence[object]) -> Any:
    return await connection.execute(sql, *args)


async def _executemany(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    return await connection.executemany(sql, args[0])


async def _script(connection: Any, sql: str, _args: Sequence[object]) -> Any:
    return await connection.execute(sql)
