"""What a worker is, as data: its two kinds, what its functions are told, and what it needs of a lease.

`vpnd.runtime.worker` runs them and explains the rules.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from vpnd.config import WorkerSettings

Item = TypeVar("Item")


class LeaseLike(Protocol):
    """What a runner needs of a lease."""

    async def hold(self) -> bool:
        """Take or renew the lease; return whether it is ours."""
        ...


@attrs.frozen
class Poison:
    """A row or an item that failed alone. `key` is None where a sweep knows its rows by limit only."""

    worker: str
    key: Any
    error: BaseException


@attrs.frozen
class WorkerStatistics:
    """A worker at one moment. Durations are seconds; `last_success` and `last_end` are Unix times, None before the first."""

    name: str
    interval: float
    awake: bool
    paused: bool
    iterations: int
    failures: int
    failures_in_a_row: int
    timeouts: int
    items: int
    item_failures: int
    last_outcome: str | None
    last_duration: float | None
    last_success: float | None
    last_end: float | None


@attrs.frozen
class SweepContext:
    """What a sweep's function is told.

    Attributes:
        worker: its name.
        deadline_at: trio's time at which the iteration is cut.
        skip: rows at the head of the order to leave alone (`OFFSET`); always 0 for a sweep by keys.
        keys: the keys to do; None for a sweep by limit.
    """

    worker: str
    deadline_at: float
    skip: int = 0
    keys: tuple[Any, ...] | None = None

    def remaining(self) -> float:
        """Return the seconds left for this iteration, never below zero."""
        return max(0.0, self.deadline_at - trio.current_time())


@attrs.frozen
class Sweep:
    """A worker that does a batch with one statement.

    Attributes:
        name: its name in logs, metrics and ``[workers.<name>]``.
        interval: seconds between iterations.
        deadline: seconds an iteration may take.
        batch: most rows a statement may do, and most keys in memory.
        sweep: ``await sweep(context, limit)`` does up to `limit` rows and returns how many it did.
        keys: ``await keys(after, limit)`` returns the next keys in order, strictly after `after` (None: the first).
        jitter: share of the interval by which it is varied to both sides.
        on_poison: told of each row that fails alone.
    """

    name: str
    interval: float
    deadline: float
    batch: int
    sweep: Callable[[SweepContext, int], Awaitable[int]]
    keys: Callable[[Any, int], Awaitable[Sequence[Any]]] | None = None
    jitter: float = 0.1
    on_poison: Callable[[Poison], object] | None = None


@attrs.frozen
class ItemWorker(Generic[Item]):
    """A worker that does a page of items one by one, with a checkpoint in between.

    Attributes:
        page: ``await page(after, limit)`` returns the next items in order, strictly after the key `after`.
        handle: does one item. What it raises is that item's failure and nobody else's.
        key: returns an item's key, which pages are ordered by.
        item_deadline: seconds one item may take; None leaves it the iteration's.

    The others are those of `Sweep`.
    """

    name: str
    interval: float
    deadline: float
    batch: int
    page: Callable[[Any, int], Awaitable[Sequence[Item]]]
    handle: Callable[[Item], Awaitable[object]]
    key: Callable[[Item], Hashable]
    jitter: float = 0.1
    on_poison: Callable[[Poison], object] | None = None
    item_deadline: float | None = None


WorkerSpec = Sweep | ItemWorker[Any]


@attrs.define
class Iteration:
    """The tally of one iteration. `worked` says that a statement succeeded, `unsaid` waits for that.

    `scope` is the cancel scope around all of it, and `waited` the seconds it spent waiting for turns.
    """

    scope: trio.CancelScope
    waited: float = 0.0
    fetched: int = 0
    done: int = 0
    failed: int = 0
    worked: bool = False
    hung_at: Any = None
    unsaid: list[Poison] = attrs.Factory(list)

    @asynccontextmanager
    async def turn(self, turn: trio.CapacityLimiter | None) -> AsyncIterator[None]:
        """Hold the turn, if there is one. The iteration's clock stands while it is waited for."""
        if turn is None:
            yield
            return
        began, deadline = trio.current_time(), self.scope.deadline
        self.scope.deadline = math.inf  # whoever has the turn has a deadline too
        try:
            await turn.acquire()
        finally:
            waited = trio.current_time() - began
            self.waited += waited
            self.scope.deadline = deadline + waited
        try:
            yield
        finally:
            turn.release()


def configured(spec: WorkerSpec, settings: WorkerSettings) -> WorkerSpec:
    """Return `spec` with what an operator set for it. Whether it is enabled is the caller's question."""
    changes = {
        name: value
        for name in ("interval", "deadline", "batch")
        if (value := getattr(settings, name)) is not None
    }
    return attrs.evolve(spec, **changes)
