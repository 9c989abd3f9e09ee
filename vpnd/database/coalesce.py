"""Many small calls at once become one, and a lone call waits for nobody.

The idea is the turnstile. Whoever comes when nobody is inside goes through at once, with whoever comes in the
same turn of the loop (updates that were fetched together ask together). Whoever comes meanwhile waits; when the
one inside is done, the first of those waiting goes in and takes the work of all of them along. So the size of a
batch adapts to the load by itself, there is no timer and no added delay at low load, and there is no background
task: the work is always done by one of the callers, in his own cancel scope. When he is cancelled, the work of
the others goes back to the head of the queue and the next of them leads.

A read never joins a query that is under way already, although the key may be the same: that query may have
been answered before its caller's own last write was committed.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import trio
from attrs import define, field

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.runtime.held import refuse_if_held

__all__ = ["Batcher", "Loader", "RowsLoader", "Shared"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@define(eq=False)
class _Caller(Generic[Item, Result]):
    item: Item
    turn: trio.Event = field(factory=trio.Event)  # his work is done, or he is to lead
    done: bool = False
    result: Any = None
    error: Exception | None = None


class _Turnstile(Generic[Item, Result]):
    """`work` gets the items of one batch and returns their results in the same order."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[Sequence[Result]]], max_batch: int) -> None:
        if max_batch < 1:
            raise ValueError("a batch has at least one item")
        self._work = work
        self._max_batch = max_batch
        self._waiting: deque[_Caller[Item, Result]] = deque()
        self._inside = False

    async def pass_through(self, item: Item) -> Result:
        caller: _Caller[Item, Result] = _Caller(item)
        self._waiting.append(caller)
        if self._inside:
            await self._wait(caller)
            if caller.done:
                if caller.error is not None:
                    raise caller.error
                result: Result = caller.result
                return result
        self._inside = True
        try:
            await trio.lowlevel.checkpoint()  # the others of this turn of the loop
        except BaseException:
            self._waiting.remove(caller)  # first of all, and nobody has taken him in hand
            self._next()
            raise
        return await self._lead(caller)

    async def _wait(self, caller: _Caller[Item, Result]) -> None:
        try:
            await caller.turn.wait()
        except trio.Cancelled:
            if caller.done:
                raise  # his item went along with others'; its outcome is one that he does not hear
            if caller in self._waiting:
                self._waiting.remove(caller)
            caller.done = True  # whoever has it in hand need not put it back
            if caller.turn.is_set():  # he was called to lead in the same instant
                self._next()
            raise

    async def _lead(self, leader: _Caller[Item, Result]) -> Result:
        """Do the work of the leader and of those waiting behind him; the leader stands first in the queue."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
        try:
            results = await self._work([caller.item for caller in batch])
        except Exception as error:
            for caller in batch:
                if caller is not leader:
                    # Each gets an object of his own: a traceback grows with every task that raises it.
                    caller.error = copy.copy(error).with_traceback(None)
                    self._tell(caller)
            raise
        except BaseException:
            self._waiting.extendleft(
                caller for caller in reversed(batch) if caller is not leader and not caller.done
            )
            raise
        else:
            for caller, result in zip(batch, results, strict=True):
                caller.result = result
                self._tell(caller)
            own: Result = leader.result
            return own
        finally:
            self._next()

    def _tell(self, caller: _Caller[Item, Result]) -> None:
        caller.done = True
        caller.turn.set()

    def _next(self) -> None:
        self._inside = bool(self._waiting)
        if self._waiting:
            self._waiting[0].turn.set()


class RowsLoader:
    """Reads the rows of a key; concurrent reads are joined into one `= any($1)` query.

    Args:
        db: where to read.
        name: of the query, for metrics.
        sql: has `$1`, an array of keys, and bounds the rows of each.
        key_column: the column of the result that holds the key.
        arguments: `$2` and so on, the same for all.
        max_batch: most keys in one query.
    """

    def __init__(
        self, db: Database, name: str, sql: str, key_column: str, *arguments: object, max_batch: int = 500
    ) -> None:
        self._db = db
        self._name = name
        self._sql = sql
        self._key_column = key_column
        self._arguments = arguments
        self._turnstile: _Turnstile[Hashable, list[Row]] = _Turnstile(self._load, max_batch)

    async def rows(self, key: Hashable) -> list[Row]:
        """Return the rows of `key` as they are now, in the order in which the query has them.

        Raises:
            HeldConnectionError: the caller stands in a transaction scope.
            DatabaseError: as `Database.fetch`, for everybody in the batch.
        """
        refuse_if_held(f"a joined read ({self._name!r})")
        return await self._turnstile.pass_through(key)

    async def _load(self, keys: list[Hashable]) -> list[list[Row]]:
        rows = await self._db.fetch(self._name, self._sql, list(dict.fromkeys(keys)), *self._arguments)
        by_key: dict[Hashable, list[Row]] = {}
        for row in rows:
            by_key.setdefault(row[self._key_column], []).append(row)
        return [by_key.get(key, []) for key in keys]


class Loader(RowsLoader):
    """The same for keys with one row at most."""

    async def get(self, key: Hashable) -> Row | None:
        """Return the row of `key` as it is now, or None; raises as `rows`."""
        found = await self.rows(key)
        return found[0] if found else None


class Shared(Generic[Result]):
    """Reads what is the same for everybody; concurrent reads are one, and what was read a moment ago is good enough.

    Args:
        read: the read; it names its own query.
        fresh: seconds for which a value is handed out again, counted from when its read began; 0: not at all, only reads that
            wait at the same time are joined. For screens: what is decided by it must be read where it is decided.
    """

    def __init__(self, read: Callable[[], Awaitable[Result]], *, fresh: float = 0.0) -> None:
        self._read = read
        self._fresh = fresh
        self._kept: tuple[float, Result] | None = None
        self._changes = 0
        self._turnstile: _Turnstile[None, Result] = _Turnstile(self._load, 10_000)

    async def get(self) -> Result:
        """Return the value: not older than `fresh`, or read after this call began.

        Raises:
            HeldConnectionError: the caller stands in a transaction scope.
            DatabaseError: as the read, for everybody who waits for it.
        """
        refuse_if_held("a shared read")
        kept = self._kept
        if kept is not None and trio.current_time() - kept[0] < self._fresh:
            return kept[1]
        return await self._turnstile.pass_through(None)

    def forget(self) -> None:
        """Hand out nothing that was read before now: whoever has changed it in this process calls this after the commit."""
        self._changes += 1
        self._kept = None

    async def _load(self, callers: list[None]) -> list[Result]:
        began, changes = trio.current_time(), self._changes
        value = await self._read()
        if self._fresh and changes == self._changes:
            self._kept = (began, value)
        return [value] * len(callers)


class Batcher(Generic[Item]):
    """Group commit: `add` returns when the flush that carried the item has returned.

    Args:
        flush: writes a batch, all or nothing; it may get an item again when it was cancelled.
        max_batch: most items in one flush.
    """

    def __init__(self, flush: Callable[[list[Item]], Awaitable[None]], max_batch: int = 1000) -> None:
        self._flush = flush
        self._turnstile: _Turnstile[Item, None] = _Turnstile(self._write, max_batch)

    async def add(self, item: Item) -> None:
        """Have the item written. An error of the flush is raised for every item in it.

        Cancellation: an item that waits is withdrawn; one that another caller is writing just then may be
        written.
        """
        await self._turnstile.pass_through(item)

    async def _write(self, items: list[Item]) -> list[None]:
        await self._flush(items)
        return [None] * len(items)
