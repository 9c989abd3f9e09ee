"""The numberer: gives the access log's committed rows their numbers, and wakes the followers.

A commit in this process wakes it at once. Rows that another instance committed are found by the clock, by one instance at a
time (the lease); numbering is correct with any number of numberers, so the lease only saves work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NoReturn

import trio

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import for_nobody
from vpnd.runtime.wake import Wake
from vpnd.runtime.worker import LeaseLike
from vpnd.shop import access_log

journal = get_journal("workers")

#: Longest a row that another instance committed waits for its number.
LOOK_EVERY: Final = 1.0  # seconds

#: Back-off while the database is away, in seconds.
RETRY_FIRST: Final = 0.2
RETRY_CAP: Final = 5.0


class Numberer:
    """Numbers what was committed; runs as one child of the supervisor."""

    def __init__(self, db: Database, lease: LeaseLike, *, followers: Sequence[Callable[[], None]]) -> None:
        """`lease` decides who looks by the clock; `followers` are woken when numbers were given."""
        self._db = db
        self._lease = lease
        self._followers = followers
        self.wake: Final = Wake()
        self._random = Random()  # noqa: S311  jitter is no secret

    async def number_all(self) -> int:
        """Number everything that is committed and visible; return how many rows that were."""
        total = 0
        while True:
            numbered = await access_log.number(self._db)
            total += numbered
            if numbered:
                self._tell()
            if numbered < access_log.NUMBER_LIMIT:
                return total

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Number for ever. A database that is away is told once, and tried again with back-off.

        It counts as a handler for the limits: what a customer has just paid for waits for it.
        """
        task_status.started()
        failures = 0
        woken = True
        while True:
            try:
                if woken:
                    await self.number_all()
                else:
                    with for_nobody():
                        if await self._lease.hold():
                            await self.number_all()
            except DatabaseError as error:
                failures += 1
                if failures == 1:
                    journal.warning("numberer.failed", message=f"the access log cannot be numbered: {error}")
                await self._db.rest(jittered_backoff(failures, RETRY_FIRST, RETRY_CAP, self._random))
                woken = True
                continue
            if failures:
                journal.info("numberer.back", message="the access log is numbered again")
                # An attempt whose end we never learned may have given numbers: then there is nothing left that would tell.
                self._tell()
                failures = 0
            woken = await self.wake.wait(LOOK_EVERY)

    def _tell(self) -> None:
        for wake_follower in self._followers:
            wake_follower()
