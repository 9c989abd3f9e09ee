"""Names of transaction sites and queries, and the clocks that run under them.

A name is a constant of the program: it labels metrics and tells an operator where a connection was held. So
its form is checked, and so is that there are not ever more of them (a name built from a customer's id would
be both a leak and an endless number of time series).
"""

from __future__ import annotations

import re
import time
from typing import Final

from vpnd.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseTimeout,
    DatabaseUnavailable,
    IntegrityError,
    PoolTimeout,
    SerializationFailure,
    UniqueViolation,
)
from vpnd.runtime import metrics, observations
from vpnd.runtime.journal import get_journal

__all__ = ["ACQUIRE_SLOW", "HOLD_LONG", "MOST_SITES", "Site", "count_error", "site_named"]

#: Seconds of waiting for a connection, and of holding one, from which a line is written.
ACQUIRE_SLOW: Final = 2.0
HOLD_LONG: Final = 1.0
#: More names than this are not names but data.
MOST_SITES: Final = 500

_FORM: Final = re.compile(r"[a-z][a-z0-9_.]+")
_sites: Final[dict[str, Site]] = {}
_journal = get_journal("database")

# From the most special to the most general: the first that fits names the kind.
_KINDS: Final[tuple[tuple[type[DatabaseError], str], ...]] = (
    (PoolTimeout, "pool_timeout"),
    (DatabaseUnavailable, "unavailable"),
    (DatabaseTimeout, "timeout"),
    (CommitUnknown, "commit_unknown"),
    (UniqueViolation, "unique_violation"),
    (IntegrityError, "integrity"),
    (SerializationFailure, "serialization"),
)


class Site:
    """One name with its metrics at hand. Made by `site_named`."""

    __slots__ = ("_duration", "_hold", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._duration = metrics.db_operation_duration_seconds.labels(name)
        self._hold = metrics.db_hold_seconds.labels(name)

    def waited(self, seconds: float) -> None:
        """A connection was had after so many seconds, limiter and pool together."""
        metrics.db_acquire_wait_seconds.observe(seconds)
        observations.ACQUIRE.note(seconds, self.name)
        if seconds > ACQUIRE_SLOW:
            _journal.warning(
                "database.acquire_slow",
                message=f"{self.name} waited {seconds:.2f}s for a connection",
                tag="[DB_ACQUIRE_SLOW]",
                site=self.name,
                seconds=round(seconds, 3),
            )

    def held(self, since: float) -> None:
        """The connection taken at `since` (of `time.perf_counter`) was given back just now."""
        seconds = time.perf_counter() - since
        self._hold.observe(seconds)
        # A migration holds one on purpose, before anything is served.
        if not self.name.startswith("migrate."):
            observations.HELD.note(seconds, self.name)
        if seconds > HOLD_LONG:
            _journal.warning(
                "database.hold_long",
                message=f"{self.name} held a connection for {seconds:.2f}s",
                tag="[DB_HOLD_LONG]",
                site=self.name,
                seconds=round(seconds, 3),
            )

    def seated(self, used: int, most: int) -> None:
        """A connection was taken; so many of all are in use now."""
        observations.POOL_USED.note(used, self.name, limit=most)

    def read(self, rows: int) -> None:
        """A statement returned so many rows."""
        observations.READ.note(rows, self.name)

    def took(self, since: float) -> None:
        """The operation that began at `since` has ended."""
        self._duration.observe(time.perf_counter() - since)


def site_named(name: str) -> Site:
    """Return the site of this name, the same object each time.

    Raises:
        ValueError: the name has a form that no constant of ours has, or there are too many names.
    """
    site = _sites.get(name)
    if site is None:
        if _FORM.fullmatch(name) is None:
            raise ValueError(f"{name!r} cannot name a query: use a constant like 'shop.open_purchase'")
        if len(_sites) >= MOST_SITES:
            raise ValueError(
                f"{name!r} is the {MOST_SITES + 1}th name of a query: names are constants, not data"
            )
        site = _sites[name] = Site(name)
    return site


def count_error(error: DatabaseError) -> None:
    """Count a failed operation by its kind."""
    kind = next((kind for sort, kind in _KINDS if isinstance(error, sort)), "query")
    metrics.db_errors_total.labels(kind).inc()
