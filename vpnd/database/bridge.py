"""asyncpg lives on an asyncio loop, the daemon on trio; this module is the one plank between the two.

The idea. A *hop* runs one asyncio coroutine and waits for it from trio. What makes hops hard is cancellation:
asyncio delivers it once and a coroutine may sit on it, PostgreSQL may not answer, and a COMMIT that was sent
cannot be unsent. So there are two kinds of hop, and both end in time:

- An *interruptible* hop passes trio's cancellation on. What it left on the connection is mended by the hop
  that ends the scope.
- A *patient* hop (COMMIT, ROLLBACK, mending) ignores cancellation, since its outcome must be known, but from
  the moment it is cancelled its patience is bounded.

A hop that outstays its grace is not cancelled once more: `Connection.terminate()` is called, which is
synchronous, wakes every waiter on that connection, and cannot be swallowed by an `except` or `finally` on the
way. For the same reason no coroutine here awaits anything on its way out of a cancellation.

The pool is our own: a stack of idle connections under a limiter. asyncpg's pool resets every connection with
a round trip, reconnects in tasks of its own and leaves timers behind on this loop; we have one rule instead:
a scope never changes its session (no SET without LOCAL, no LISTEN, no session locks, no temporary tables), so
a connection that is outside a transaction is clean. The most recently used connection is taken first. One
that the server closed is recognised by its socket before it is used.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, Protocol, TypeVar

import asyncpg
import outcome
import trio
import trio_asyncio
from attrs import define, frozen

from vpnd.config import DatabaseSettings
from vpnd.database.connect import open_connection
from vpnd.database.errors import DatabaseUnavailable, is_connection_lost, translate
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.groups import plainest
from vpnd.runtime.journal import get_journal

__all__ = ["GRACE", "Bridge", "BridgeStatistics", "Seat", "open_bridge"]

T = TypeVar("T")

#: Seconds a connection gets to come back to order after its scope was cancelled; then it is terminated.
GRACE: Final = 0.5
#: A caller that gave up a connect after this many seconds counts as a failed attempt to connect.
SILENT_CONNECT: Final = 1.0
#: Back-off between attempts to connect, in seconds.
RECONNECT_FIRST: Final = 0.05
RECONNECT_CAP: Final = 1.0
#: While it is in doubt whether the server can be reached: how often a connection is tried, and for how long; seconds.
REGAIN_INTERVAL: Final = 0.5
REGAIN_TIME: Final = 6.0

_USED, _IDLE = metrics.db_connections.labels("used"), metrics.db_connections.labels("idle")
_journal = get_journal("database")


class _Terminable(Protocol):
    def terminate(self) -> None: ...


@define(eq=False)
class Seat:
    """A place in the pool and the connection that sits on it, once there is one.

    The asyncio side fills `connection` the moment it has one, so that the trio side can terminate it whatever became of the hop.
    """

    connection: Any = None

    def terminate(self) -> None:
        """Cut the connection now, without waiting; every coroutine that waits on it wakes with an error."""
        if self.connection is not None:
            try:
                self.connection.terminate()
            except (asyncpg.InterfaceError, AttributeError):
                pass  # it was closed between our look and our call

    @property
    def usable(self) -> bool:
        return self.connection is not None and not self.connection.is_closed()


@frozen
class BridgeStatistics:
    """A look at the pool; counts since the start."""

    idle: int
    used: int
    most: int
    connects: int
    connect_failures: int
    terminated: int
    down: bool


class Bridge:
    """The asyncio loop, the connections on it, and the hops to them. Made by `open_bridge`."""

    def __init__(self, loop: Any, settings: DatabaseSettings, instance_name: str) -> None:
        self._loop = loop
        # Coroutines run in a copy of the context the loop was opened in: trio-asyncio finds its loop by a
        # context variable, and the task that asks may have been spawned before the loop was opened, or stand
        # inside another loop.
        self._context = contextvars.copy_context()
        self._settings = settings
        self._application = f"vpnd {instance_name}"[:60]
        self._idle: list[Any] = []
        self._used = 0
        self._closing = False
        self._connects = 0
        self._failures = 0  # in a row
        self._failures_total = 0
        self._terminated = 0
        self._not_before = 0.0
        self._doubt = trio.Event()  # something went wrong that an outage might explain
        self._back = trio.Event()  # set, and replaced, when a doubt has ended well
        self._rng = Random()  # noqa: S311 (spreads a herd, guards nothing)
        self.occupied = (0, settings.pool_max)  #: connections in use, and of how many
        metrics.db_connections_max.set(settings.pool_max)

    # ------------------------------------------------------------------ hops

    async def hop(
        self,
        coro: Coroutine[Any, Any, T],
        seat: _Terminable,
        *,
        patient: bool = False,
        hurry: bool = False,
        grace: float = GRACE,
    ) -> T:
        """Run one coroutine on the asyncio side and return its result.

        Args:
            coro: what to run; consumed in any case.
            seat: what to terminate when the coroutine outstays its welcome.
            patient: do not pass a cancellation on; the result is returned even if the caller is cancelled meanwhile.
            hurry: behave as if a cancellation had come already: the grace begins now.
            grace: seconds from a cancellation to `seat.terminate()`.

        Raises:
            trio.Cancelled: the caller was cancelled and the coroutine did end by that (never for patient hops).
        """
        if self._closing:
            coro.close()
            raise DatabaseUnavailable("the database is closed")
        task = trio.lowlevel.current_task()
        raise_cancel: Callable[[], Any] | None = None
        told = False

        async def carried() -> None:
            # It tells its end itself: a callback of the future's would come a turn of the loop later.
            nonlocal told
            result = await outcome.acapture(lambda: coro)
            told = True
            trio.lowlevel.reschedule(task, result)

        def wake(done: asyncio.Future[None]) -> None:
            if not told:  # cancelled before its first step, so that it never came to tell
                coro.close()
                trio.lowlevel.reschedule(task, outcome.capture(done.result))

        future: asyncio.Task[None] = self._loop.create_task(carried(), context=self._context.copy())

        def on_cancel(raiser: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancel
            raise_cancel = raiser
            self._loop.call_later(grace, self._overrun, future, seat, patient)
            if not patient:
                future.add_done_callback(wake, context=self._context.copy())
                future.cancel()
            return trio.lowlevel.Abort.FAILED  # we go on waiting: the coroutine's end is what we report

        if hurry:
            self._loop.call_later(grace, self._overrun, future, seat, patient)
        try:
            value: T = await trio.lowlevel.wait_task_rescheduled(on_cancel)
        except asyncio.CancelledError:
            if raise_cancel is not None and not patient:
                raise_cancel()
            # Nobody of ours cancelled: asyncpg does that to its own tasks when a connection is torn down.
            raise DatabaseUnavailable("the connection was torn down") from None
        return value

    def _overrun(self, future: asyncio.Future[Any], seat: _Terminable, patient: bool) -> None:
        if future.done():
            return
        self._terminated += 1
        self._doubt.set()
        _journal.warning(
            "database.connection_terminated",
            message="A connection did not come back to order in time after a cancellation and was cut.",
        )
        seat.terminate()
        if not patient:
            future.cancel()  # it may be waiting for something else than the connection (a lookup, a connect)
        # The server is silent; connections that lie idle reach the same silence and would cost a deadline each.
        self.expire_idle()

    # ------------------------------------------------------------------ connections

    async def take(self, seat: Seat, *, fresh: bool = False) -> None:
        """Seat a connection: an idle one that lives, else a new one. Runs on the asyncio side.

        Args:
            seat: gets the connection.
            fresh: pass over the idle ones; used after one of them proved dead.

        Raises:
            DatabaseUnavailable: no connection can be had, or none is tried for now (back-off).
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if not connection.is_closed():
                self._seated(seat, connection)
                return
            connection.terminate()
        self._seated(seat, await self.connect())

    def _seated(self, seat: Seat, connection: Any) -> None:
        seat.connection = connection
        self._used += 1
        self._gauge()

    def give_back(self, seat: Seat) -> None:
        """Take the connection from the seat: back to the idle ones when it is in order, else it is cut."""
        connection, seat.connection = seat.connection, None
        if connection is None:
            return
        self._used -= 1
        if connection.is_closed():
            self._doubt.set()
        if connection.is_closed() or connection.is_in_transaction() or self._closing:
            connection.terminate()
        elif self._used + len(self._idle) >= self._settings.pool_max:
            connection.terminate()  # a probe's or a settlement's, taken beside the limiter
        else:
            self._idle.append(connection)
        self._gauge()

    def drop(self, seat: Seat) -> None:
        """Cut the seat's connection; it is not used again."""
        connection, seat.connection = seat.connection, None
        if connection is not None:
            self._used -= 1
            connection.terminate()
            self._gauge()

    def expire_idle(self, keep: int = 0) -> None:
        """Cut the idle connections, the longest unused first, down to `keep`."""
        while len(self._idle) > keep:
            self._idle.pop(0).terminate()
        self._gauge()

    def _gauge(self) -> None:
        self.occupied = (self._used, self._settings.pool_max)
        _USED.set(self._used)
        _IDLE.set(len(self._idle))

    async def connect(self) -> Any:
        """Open a connection with our codecs and timeouts. Runs on the asyncio side.

        After a failure no attempt is made for a while (50 ms, doubling to 1 s): callers are told at once.

        Raises:
            DatabaseUnavailable: with the reason, but never with the address or the user.
        """
        if self._loop.time() < self._not_before:
            raise DatabaseUnavailable("the server could not be reached a moment ago")
        started = self._loop.time()
        try:
            connection = await open_connection(self._settings, self._application)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            OSError,
            TimeoutError,
            asyncpg.InternalClientError,
        ) as error:
            self._failed()
            reason = translate(error, "connect")
            raise DatabaseUnavailable(reason.message, sqlstate=reason.sqlstate) from None
        except asyncio.CancelledError:
            # An impatient caller says nothing about the server; one that waited for long met a silent one.
            if self._loop.time() - started > SILENT_CONNECT:
                self._failed()
            raise
        if self._failures:
            _journal.info(
                "database.reachable", message="The database answers again.", failures=self._failures
            )
        self._failures, self._not_before = 0, 0.0
        self._connects += 1
        return connection

    def _failed(self) -> None:
        self._failures += 1
        self._failures_total += 1
        self._doubt.set()
        wait = jittered_backoff(self._failures, RECONNECT_FIRST, RECONNECT_CAP, self._rng)
        self._not_before = self._loop.time() + wait
        if self._failures == 1:
            _journal.warning("database.unreachable", message="The database cannot be reached.")

    # ------------------------------------------------------------------ keeping

    async def keep(self) -> None:
        """Hold `pool_min` connections ready and let those above it go when they are not needed. Never returns.

        Runs as a child task; a server that is down is met with silence: callers are told by themselves.
        """
        while True:
            await self.top_up()
            self.expire_idle(keep=max(self._settings.pool_min, self._used))
            with trio.move_on_after(60):
                await self._doubt.wait()
            if self._doubt.is_set():
                await self._regain()

    async def _regain(self) -> None:
        """Try until the server lets us in, then wake whoever rests until it does."""
        while True:
            if await self._reach():
                break
            await trio.sleep(REGAIN_INTERVAL)
        self._doubt = trio.Event()
        back, self._back = self._back, trio.Event()
        back.set()

    async def _reach(self) -> bool:
        seat = Seat()
        try:
            with trio.move_on_after(REGAIN_TIME):
                await self.hop(self.take(seat, fresh=True), seat)
                return True
        except DatabaseUnavailable:
            return False
        finally:
            self.give_back(seat)
        return False

    async def wait_back(self) -> None:
        """Wait until the server can be reached again after something went wrong that an outage may explain."""
        await self._back.wait()

    async def top_up(self) -> None:
        """Open connections until `pool_min` exist, or until one cannot be had."""
        while self._used + len(self._idle) < self._settings.pool_min:
            seat = Seat()
            try:
                await self.hop(self.take(seat, fresh=True), seat)
            except DatabaseUnavailable:
                return
            finally:
                self.give_back(seat)

    async def close(self) -> None:
        """Say goodbye to idle connections, bounded, and cut whatever is left."""
        idle, self._idle = self._idle, []

        async def part() -> None:
            await asyncio.gather(*(connection.close() for connection in idle), return_exceptions=True)

        class Rest:
            def terminate(self) -> None:
                for connection in idle:
                    connection.terminate()

        rest = Rest()
        with trio.move_on_after(GRACE):
            # Interruptible although we are on the way out: the caller shields us, this scope bounds us.
            await self.hop(part(), rest, grace=0)
        rest.terminate()
        self._closing = True
        self._gauge()

    def statistics(self) -> BridgeStatistics:
        """Count the connections now."""
        return BridgeStatistics(
            idle=len(self._idle),
            used=self._used,
            most=self._settings.pool_max,
            connects=self._connects,
            connect_failures=self._failures_total,
            terminated=self._terminated,
            down=self._failures > 0,
        )


def _log_only(_loop: object, context: dict[str, Any]) -> None:
    """Write what asyncio has to say about stray tasks to the journal.

    trio-asyncio's own handler would raise it inside the loop's nursery and so end the daemon.
    """
    error = context.get("exception")
    _journal.warning(
        "database.asyncio_stray",
        message="The asyncio side reported a stray error.",
        what=str(context.get("message", ""))[:200],
        error=type(error).__name__ if error is not None else "",
        lost=error is not None and is_connection_lost(error),
    )


@asynccontextmanager
async def open_bridge(settings: DatabaseSettings, instance_name: str) -> AsyncIterator[Bridge]:
    """Open the asyncio loop and the (still empty) pool on it; leave by closing both within about a second.

    An error raised in the block leaves it as it was raised: the groups that the loop's two nurseries would
    wrap around it are taken off when nothing else is in them.
    """
    failure: BaseException | None = None
    try:
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(_log_only)
            bridge = Bridge(loop, settings, instance_name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bridge.keep, name="database pool")
                try:
                    yield bridge
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    nursery.cancel_scope.cancel()
                    with trio.CancelScope(shield=True):
                        await bridge.close()
    except BaseExceptionGroup as group:
        if failure is not None and plainest(group) is failure:
            raise failure from failure.__cause__
        raise
