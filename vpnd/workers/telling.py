"""The workers that tell customers what is to come: the notices of a trial, and reminders. Each is a sweep by keys, bounded,
with a hard deadline, and safe when run twice.

What is due, to whom, and when not, is `vpnd.shop.trial`'s and `vpnd.shop.reminders`' to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from vpnd.config import QuietHours
from vpnd.database.database import Database
from vpnd.runtime.worker import Sweep
from vpnd.shop.reminders import due_reminders, tell_reminders
from vpnd.shop.trial import due_trial_notices, tell_trial_notices

#: (moment, id): what the pages are ordered by.
Key = tuple[datetime, int]

_INTERVAL: Final = 300.0
_DEADLINE: Final = 120.0
_BATCH: Final = 500


def trial_notices(
    db: Database, *, time_zone: str, quiet_hours: QuietHours, wake: Callable[[], None]
) -> Sweep[Key]:
    """Tell who is trying what is due of his trial; `wake` is for what sends it."""

    async def tell(ids: Sequence[int]) -> tuple[int, int]:
        return await tell_trial_notices(db, ids, time_zone, quiet_hours)

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await due_trial_notices(db, limit, after)

    return _telling("trial_notices", keys, tell, wake)


def reminders(
    db: Database, currency: str, *, time_zone: str, quiet_hours: QuietHours, wake: Callable[[], None]
) -> Sweep[Key]:
    """Remind of what is about to end and of what has ended; `wake` is for what sends it."""

    async def tell(ids: Sequence[int]) -> tuple[int, int]:
        return await tell_reminders(db, currency, ids, time_zone, quiet_hours)

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await due_reminders(db, limit, after)

    return _telling("reminders", keys, tell, wake)


def _telling(
    name: str,
    keys: Callable[[Key | None, int], Awaitable[Sequence[Key]]],
    tell: Callable[[Sequence[int]], Awaitable[tuple[int, int]]],
    wake: Callable[[], None],
) -> Sweep[Key]:
    async def sweep(due: Sequence[Key]) -> int:
        done, told = await tell([key for _moment, key in due])
        if told:
            wake()
        return done

    return Sweep(name, interval=_INTERVAL, deadline=_DEADLINE, batch=_BATCH, keys=keys, sweep=sweep)
