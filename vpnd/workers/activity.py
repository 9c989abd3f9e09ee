"""The worker that notes when customers were last there; see `vpnd.shop.activity`."""

from __future__ import annotations

from collections.abc import Sequence

from vpnd.database.database import Database
from vpnd.runtime.worker import Sweep
from vpnd.shop.activity import Seen, finished_after, note

__all__ = ["activity"]


def activity(db: Database) -> Sweep[Seen]:
    """Go through the updates that have ended since the last time."""

    async def keys(after: Seen | None, limit: int) -> Sequence[Seen]:
        return await finished_after(db, after, limit)

    async def sweep(due: Sequence[Seen]) -> int:
        return await note(db, due)

    return Sweep("activity", interval=600, deadline=120, batch=1000, keys=keys, sweep=sweep)
