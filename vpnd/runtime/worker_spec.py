"""What a worker is, as data: its kinds, what its functions are told, and what it needs of a lease.

`vpnd.runtime.worker` runs them and explains the rules.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from vpnd.config import WorkerSettings
from vpnd.runtime.courtesy import Turns

Item = TypeVar("Item")
Key = TypeVar("Key")


class LeaseLike(Protocol):
    """What a runner needs of a lease."""

    async def hold(self) -> bool:
        """Take or renew the lease; return whether it is ours."""
        ...


@attrs.frozen
class Poison:
    """A row or an item that failed alone."""

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
class Sweep(Generic[Key]):
    """A worker that does many rows with one statement.

    Attributes:
        name: its name in logs, metrics and ``[workers.<name>]``.
        interval: seconds between iterations.
        deadline: seconds an iteration may take.
        batch: most rows a statement may do, and most keys in memory.
        keys: ``await keys(after, limit)`` returns the next keys in order, strictly after `after` (None: the first).
        sweep: ``await sweep(keys)`` does the rows of these keys, as far as they are still due, and nothing else; returns how
            many it did. With no keys it does nothing, and shows by that whether the statement works.
        jitter: share of the interval by which it is varied to both sides.
        on_poison: told of each row that fails alone.
    """

    name: str
    interval: float
    deadline: float
    batch: int
    keys: Callable[[Key | None, int], Awaitable[Sequence[Key]]]
    sweep: Callable[[Sequence[Key]], Awaitable[int]]
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
        one_page: an iteration is one page, always the first: its source puts last what was looked at last.

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
    one_page: bool = False


@attrs.frozen
class Job:
    """A worker whose iteration is one piece of work, which bounds its own steps and knows where it goes on.

    Attributes:
        work: ``await work()`` does it and returns how many things it did. What it raises fails the iteration.

    The others are those of `Sweep`.
    """

    name: str
    interval: float
    deadline: float
    work: Callable[[], Awaitable[int]]
    jitter: float = 0.1


WorkerSpec = Sweep[Any] | ItemWorker[Any] | Job


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
    async def turn(self, turn: Turns | None) -> AsyncIterator[None]:
        """Hold the turn, if there are turns. The iteration's clock stands while it is waited for."""
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
    """Return `spec` with what an operator set for it; a `Job` has no batch. Whether it is enabled is the caller's question."""
    names = ("interval", "deadline") if isinstance(spec, Job) else ("interval", "deadline", "batch")
    changes = {name: value for name in names if (value := getattr(settings, name)) is not None}
    return attrs.evolve(spec, **changes)
