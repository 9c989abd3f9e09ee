"""The inbox in the database, as `vpnd.telegram.store.InboxStore`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from vpnd.database import Row, inbox
from vpnd.database.database import Database
from vpnd.telegram.store import Backlog
from vpnd.telegram.update import StoredUpdate

__all__ = ["DatabaseInbox"]


class DatabaseInbox:
    """The table `inbox`.

    Args:
        sender: what is read of an update's sender when it is stored, see `vpnd.database.inbox.store`; it has a column
            `telegram_id`. Nothing is read without.
    """

    def __init__(self, db: Database, *, sender: str | None = None) -> None:
        self._db = db
        self._sender = sender

    async def store(self, updates: Sequence[StoredUpdate]) -> dict[int, Row | None]:
        """Store all in one statement; return the ids that were not there before, each with what is known of its sender."""
        rows = await inbox.store(
            self._db,
            [inbox.NewUpdate(u.update_id, u.queue_key, u.kind, u.payload, u.carries_money) for u in updates],
            sender=self._sender,
        )
        return {update_id: None if row.get("telegram_id") is None else row for update_id, row in rows.items()}

    async def finish(self, outcomes: Sequence[tuple[int, str]]) -> None:
        """Mark updates as ended, all in one statement."""
        await inbox.finish(self._db, cast("Sequence[tuple[int, inbox.Outcome]]", outcomes))

    async def unfinished(self, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return unfinished updates with an id above `after`, in order."""
        return [_ours(row) for row in await inbox.unfinished(self._db, limit=limit, after=after)]

    async def of_queue(self, queue_key: int, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return one queue's unfinished updates with an id above `after`, in order."""
        return [_ours(row) for row in await inbox.of_queue(self._db, queue_key, limit=limit, after=after)]

    async def backlog(self) -> Backlog:
        """Measure what is not finished."""
        found = await inbox.statistics(self._db)
        return Backlog(found.pending, found.oldest_age)


def _ours(row: inbox.StoredUpdate) -> StoredUpdate:
    return StoredUpdate(
        row.update_id, row.queue_key, row.kind, row.carries_money, row.payload, row.received_at
    )
