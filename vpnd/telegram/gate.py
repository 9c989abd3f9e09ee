"""An inbox that is closed until the schema stands.

Until then the table may be missing, or be an older release's. Whoever asks is told that the database is not available, which is
what it means to him: he keeps his update, and the customer hears that we are being repaired.

An ordinary start takes a moment too, and nobody should hear of repairs because of it: whoever comes within `PATIENCE`
of the start waits at the gate until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from vpnd.database import Row
from vpnd.database.errors import DatabaseUnavailable
from vpnd.telegram.store import Backlog, InboxStore
from vpnd.telegram.update import StoredUpdate

__all__ = ["GatedInbox"]


#: Seconds from the start in which the schema usually stands; only then its absence is called an outage.
PATIENCE: Final = 5.0


class GatedInbox:
    """`store` behind a gate that opens once, when `ready` is set; see `vpnd.telegram.store.InboxStore`."""

    def __init__(self, store: InboxStore, ready: trio.Event) -> None:
        self._store = store
        self._ready = ready
        self._patience_ends = trio.current_time() + PATIENCE

    async def _check(self) -> None:
        if self._ready.is_set():
            return
        with trio.move_on_at(self._patience_ends):
            await self._ready.wait()
        if not self._ready.is_set():
            raise DatabaseUnavailable("the schema is not up to date yet")

    async def store(self, updates: Sequence[StoredUpdate]) -> Mapping[int, Row | None]:
        """Store all in one statement; return the ids that were not there before, each with what is known of its sender."""
        await self._check()
        return await self._store.store(updates)

    async def finish(self, outcomes: Sequence[tuple[int, str]]) -> None:
        """Mark updates as ended."""
        await self._check()
        await self._store.finish(outcomes)

    async def unfinished(self, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return unfinished updates with an id above `after`, in order."""
        await self._check()
        return await self._store.unfinished(after, limit)

    async def of_queue(self, queue_key: int, after: int, limit: int) -> Sequence[StoredUpdate]:
        """Return one queue's unfinished updates with an id above `after`, in order."""
        await self._check()
        return await self._store.of_queue(queue_key, after, limit)

    async def backlog(self) -> Backlog:
        """Measure what is not finished."""
        await self._check()
        return await self._store.backlog()
