"""The child that keeps the switches' snapshot fresh: what another process has paused is paused here within seconds."""

from __future__ import annotations

from random import Random
from typing import Final, NoReturn

import trio

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.shop.switches import Switchboard

__all__ = ["REFRESH_EVERY", "watch_switches"]

journal = get_journal("workers")

REFRESH_EVERY: Final = 15.0  # seconds
RETRY_FIRST: Final = 0.5
RETRY_CAP: Final = 15.0


async def watch_switches(
    db: Database,
    board: Switchboard,
    *,
    every: float = REFRESH_EVERY,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Renew the snapshot for ever. A database that is away leaves the last one in force, and is told once."""
    task_status.started()
    failures = 0
    random = Random()  # noqa: S311  jitter is no secret
    while True:
        try:
            await board.refresh()
        except DatabaseError as error:
            failures += 1
            if failures == 1:
                journal.warning(
                    "switches.not_read",
                    message=f"the switches cannot be read, the last known are in force: {error}",
                )
            await db.rest(jittered_backoff(failures, RETRY_FIRST, RETRY_CAP, random))
        else:
            failures = 0
            await trio.sleep(every)
