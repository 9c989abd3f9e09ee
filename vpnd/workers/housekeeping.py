"""The worker that clears what nobody needs any more, an hour at a time, in bounded batches.

All chores are one sweep: a page of keys may end one chore and begin the next, and an iteration that runs out of time goes on in
the chore, and behind the row, where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from vpnd.database.database import Database
from vpnd.runtime.worker import Sweep
from vpnd.shop.housekeeping import CHORES, Place

__all__ = ["housekeeping"]

#: The number of the chore, and a row's place in it.
Key = tuple[int, Place]

_BATCH: Final = 1000


def housekeeping(db: Database) -> Sweep[Key]:
    """Clear passed log rows, old inbox and outbox rows and the other chores of `vpnd.shop.housekeeping`."""

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        number, place = (0, None) if after is None else after
        found: list[Key] = []
        while number < len(CHORES) and len(found) < limit:
            places = await CHORES[number].find(db, limit - len(found), place)
            found += [(number, one) for one in places]
            if len(found) < limit:
                number, place = number + 1, None
        return found

    async def sweep(due: Sequence[Key]) -> int:
        cleared = 0
        for number, rows in groupby(due, key=lambda key: key[0]):
            cleared += await CHORES[number].clear(db, [place for _, place in rows])
        return cleared

    return Sweep("housekeeping", interval=3600, deadline=600, batch=_BATCH, keys=keys, sweep=sweep)
