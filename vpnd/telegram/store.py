"""The inbox as this room sees it: where updates lie until their handlers have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import attrs

from vpnd.database import Row
from vpnd.telegram.update import StoredUpdate

__all__ = ["Backlog", "InboxStore", "Rest"]

#: Sleeps after the store has failed: for so many seconds, or until it is back.
Rest = Callable[[float], Awaitable[None]]


@attrs.frozen
class Backlog:
    """How many stored updates are not finished, and the age of the oldest in seconds (0 when there is none)."""

    pending: int
    oldest_age: float


class InboxStore(Protocol):
    """What intake and queues need of the inbox. Every method may raise `vpnd.database.errors.DatabaseError`."""

    async def store(self, updates: Sequence[StoredUpdate]) -> Mapping[int, Row | None]:
        """Store all in one statement; return the ids that were not there before.

        With each comes what was read of its sender by the way, a row with his `telegram_id`; None if nothing was.
        """

    async def finish(self, outcomes: Sequence[tuple[int, str]]) -> None:
        """Mark updates as ended: pairs of update_id and "done", "failed" or "dropped"."""

    async def unfinished(self, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return unfinished updates with an id above `after`, in order."""

    async def of_queue(self, queue_key: int, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return one queue's unfinished updates with an id above `after`, in order."""

    async def backlog(self) -> Backlog:
        """Measure what is not finished."""
