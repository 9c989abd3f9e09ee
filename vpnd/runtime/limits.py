"""How many may use the database and the network at once, and who goes without when there is not enough.

Three classes share one total. Handlers and payments may use all of it, workers all but five places,
subscription links and admin reads at most three: whatever the workers do, a button finds a place.

A place is two tokens, taken in one order everywhere: first of the class, then of the total. A worker that
waits therefore waits in its class's queue and not in the total's, where it would stand in front of a handler.
The order is the same for all and both tokens are given back together, so two waiting tasks cannot hold what
the other needs. Tokens are borrowed on behalf of an object of the scope's own, not of the task, so that one
task may run several requests.

The wait is bounded and measured apart from the work: a deadline of a query or a request starts when the place
was got.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

import trio
from attrs import define, field, frozen

from vpnd.runtime import metrics

__all__ = [
    "ClassStatistics",
    "LimitClass",
    "LimitScope",
    "LimitWaitTimeout",
    "Limits",
    "LimitsStatistics",
    "ResourceStatistics",
    "as_class",
    "current_class",
    "for_nobody",
]

# What workers leave free for people, and the most that bulk readers get; see the module's idea.
_RESERVED_FROM_WORKERS: Final = 5
_ADMIN_MOST: Final = 3
# Seconds a scope waits for its place when nobody says otherwise (the audited pool's acquire timeout).
DEFAULT_ACQUIRE_TIMEOUT: Final = 10.0


class LimitClass(enum.Enum):
    """On whose behalf something is done; the value is the metric label."""

    HANDLER = "handler"
    WORKER = "worker"
    ADMIN = "admin"


current_class: Final[ContextVar[LimitClass]] = ContextVar("vpnd_limit_class", default=LimitClass.HANDLER)


@contextmanager
def as_class(cls: LimitClass) -> Iterator[None]:
    """Do the block on behalf of ``cls``; tasks spawned inside inherit it for their whole life."""
    token = current_class.set(cls)
    try:
        yield
    finally:
        current_class.reset(token)


_counts: Final[ContextVar[bool]] = ContextVar("vpnd_limit_counts", default=True)


@contextmanager
def for_nobody() -> Iterator[None]:
    """Do the block in its class, but as nobody's service: a mere look, once a second, whether there is anything to do."""
    token = _counts.set(False)
    try:
        yield
    finally:
        _counts.reset(token)


class LimitWaitTimeout(Exception):
    """No place was got in time. Nothing was sent and nothing was held, so the caller may try again."""

    def __init__(self, resource: str, cls: LimitClass, waited: float) -> None:
        super().__init__(f"no {resource} place for class {cls.value} within {waited:.1f} s")
        self.resource = resource
        self.cls = cls
        self.waited = waited


@frozen
class ClassStatistics:
    """One class under one resource; ``waiting`` counts those in the class's own queue."""

    cls: LimitClass
    total: int
    borrowed: int
    waiting: int


@frozen
class ResourceStatistics:
    """One resource at one instant; ``waiting`` counts everybody who has no place yet."""

    total: int
    borrowed: int
    waiting: int
    classes: tuple[ClassStatistics, ...]


@frozen
class LimitsStatistics:
    """Both resources at one instant."""

    database: ResourceStatistics
    http: ResourceStatistics


def _share(cls: LimitClass, total: int) -> int:
    """Return how many of ``total`` places a class may use; never less than one."""
    if cls is LimitClass.WORKER:
        return max(1, total - _RESERVED_FROM_WORKERS)
    if cls is LimitClass.ADMIN:
        # A third at most: with a very small pool, three bulk reads must not be all of it.
        return min(_ADMIN_MOST, max(1, total // 3))
    return total


class _Resource:
    """The limiters of one resource and its cached metric children."""

    def __init__(self, name: str, total: int) -> None:
        _check_total(name, total)
        self.name = name
        self.served = 0
        self.total = trio.CapacityLimiter(total)
        self.classes = {cls: trio.CapacityLimiter(_share(cls, total)) for cls in LimitClass}
        self.waits = {cls: metrics.limit_wait_seconds.labels(name, cls.value) for cls in LimitClass}
        self.timeouts = {cls: metrics.limit_wait_timeouts_total.labels(name, cls.value) for cls in LimitClass}

    def resize(self, total: int) -> None:
        _check_total(self.name, total)
        self.total.total_tokens = total
        for cls, limiter in self.classes.items():
            limiter.total_tokens = _share(cls, total)

    def statistics(self) -> ResourceStatistics:
        whole = self.total.statistics()
        classes = []
        for cls, limiter in self.classes.items():
            part = limiter.statistics()
            classes.append(
                ClassStatistics(cls, int(part.total_tokens), part.borrowed_tokens, part.tasks_waiting)
            )
        return ResourceStatistics(
            total=int(whole.total_tokens),
            borrowed=whole.borrowed_tokens,
            waiting=whole.tasks_waiting + sum(part.waiting for part in classes),
            classes=tuple(classes),
        )


def _check_total(name: str, total: int) -> None:
    if total < 1:
        raise ValueError(f"the {name} limit must be at least 1, got {total}")


@define(eq=False)
class LimitScope:
    """One place, for the length of an ``async with`` block; ``waited`` tells how long it took to get, in
    seconds.

    Entering raises :exc:`LimitWaitTimeout` when the bound passes. A cancellation while waiting leaves nothing
    taken. A scope is used once.
    """

    _resource: _Resource
    _cls: LimitClass
    _timeout: float
    waited: float = field(default=0.0, init=False)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._take_at_once():
            await self._wait_for_place()
        self._resource.waits[self._cls].observe(self.waited)
        self._resource.served += self._cls is LimitClass.HANDLER and _counts.get()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resource.total.release_on_behalf_of(self)
        self._resource.classes[self._cls].release_on_behalf_of(self)

    def _take_at_once(self) -> bool:
        """Take both tokens if both are free now. Nobody is overtaken: trio hands a returned token straight to a waiter."""
        of_class = self._resource.classes[self._cls]
        try:
            of_class.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            return False
        try:
            self._resource.total.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            of_class.release_on_behalf_of(self)
            return False
        return True

    async def _wait_for_place(self) -> None:
        started = trio.current_time()
        of_class = self._resource.classes[self._cls]
        got_it = False
        with trio.move_on_after(self._timeout):
            await of_class.acquire_on_behalf_of(self)
            try:
                await self._resource.total.acquire_on_behalf_of(self)
            except BaseException:
                of_class.release_on_behalf_of(self)
                raise
            got_it = True
        self.waited = trio.current_time() - started
        if not got_it:
            self._resource.timeouts[self._cls].inc()
            raise LimitWaitTimeout(self._resource.name, self._cls, self.waited)


class Limits:
    """The capacity limiters of one process.

    Args:
        database_total: most database connections in use at once, at least 1.
        http_total: most outgoing HTTP requests at once, at least 1.
        acquire_timeout: how long a scope waits for its place unless told otherwise, seconds; ``math.inf`` for
            ever.

    Raises:
        ValueError: a total is below 1.
    """

    def __init__(
        self, database_total: int, http_total: int, *, acquire_timeout: float = DEFAULT_ACQUIRE_TIMEOUT
    ) -> None:
        self._database = _Resource("database", database_total)
        self._http = _Resource("http", http_total)
        self.acquire_timeout = acquire_timeout

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<Limits database {now.database.borrowed}/{now.database.total} ({now.database.waiting} waiting),"
            f" http {now.http.borrowed}/{now.http.total} ({now.http.waiting} waiting)>"
        )

    def database(self, cls: LimitClass | None = None, *, acquire_timeout: float | None = None) -> LimitScope:
        """Return a scope that holds one database place; the class is the current one unless told."""
        return self._scope(self._database, cls, acquire_timeout)

    def http(self, cls: LimitClass | None = None, *, acquire_timeout: float | None = None) -> LimitScope:
        """Return a scope that holds one place for an outgoing HTTP request; the class is the current one unless told."""
        return self._scope(self._http, cls, acquire_timeout)

    def resize(self, *, database_total: int | None = None, http_total: int | None = None) -> None:
        """Change the totals of a running process; who holds a place keeps it, and more are admitted at once."""
        if database_total is not None:
            self._database.resize(database_total)
        if http_total is not None:
            self._http.resize(http_total)

    @property
    def served(self) -> int:
        """How many database places were had for people since the start: by handlers, and by what sends to them.

        Not those of `for_nobody`.
        """
        return self._database.served

    def statistics(self) -> LimitsStatistics:
        """Return what is in use and who waits, now."""
        return LimitsStatistics(self._database.statistics(), self._http.statistics())

    def _scope(self, resource: _Resource, cls: LimitClass | None, timeout: float | None) -> LimitScope:
        bound = self.acquire_timeout if timeout is None else timeout
        if math.isnan(bound) or bound < 0:
            raise ValueError(f"a wait must be bounded by zero or more seconds, got {bound}")
        return LimitScope(resource, cls or current_class.get(), bound)
