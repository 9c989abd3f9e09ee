"""Writes down which updates have ended, many in one statement.

Handlers do not wait for it. An update whose end was not written yet when the process is killed is played again; its effects
are keyed by it, so that costs a repeated reply at most.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

import trio

from vpnd.database.errors import DatabaseError
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.telegram.store import InboxStore, Rest

__all__ = ["Finisher"]

journal = get_journal("telegram")

BATCH: Final = 500
#: A write that was begun is given this many seconds, cancelled or not: half of the repeats after a restart hang on it.
WRITE_TIME: Final = 2.0


class Finisher:
    """Collects ended updates and marks them in the inbox.

    Args:
        store: the inbox.
        settled: told which ids have been written.
        rest: sleeps after the store has failed, for so many seconds or until it is back.
        gather: seconds in which ends are gathered for one write; `flush` waits for nothing.
    """

    def __init__(
        self,
        store: InboxStore,
        settled: Callable[[list[int]], None],
        *,
        rest: Rest = trio.sleep,
        gather: float = 0.0,
    ) -> None:
        self._store = store
        self._rest = rest
        self._settled = settled
        self._gather = gather
        self._pending: list[tuple[int, str]] = []
        self._writing = trio.Lock()
        self._wake = trio.Event()
        self._rng = Random()  # noqa: S311  spreads retries, guards nothing

    @property
    def pending(self) -> int:
        """How many ended updates are not written yet."""
        return len(self._pending)

    def unwritten(self) -> list[int]:
        """Return the ids of the updates that have ended and are not written yet."""
        return [update_id for update_id, _ in self._pending]

    def finish(self, update_id: int, outcome: str) -> None:
        """Have an update marked as ended, soon."""
        self._pending.append((update_id, outcome))
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write whenever there is something, until cancelled; a database that is away is waited for."""
        task_status.started()
        failures = 0
        while True:
            await self._wake.wait()
            if self._gather:
                await trio.sleep(self._gather)
            self._wake = trio.Event()
            try:
                await self.flush()
                failures = 0
            except DatabaseError as error:
                failures += 1
                if failures == 1:
                    journal.warning(
                        "telegram.inbox_not_written",
                        message=f"ended updates could not be marked, will try again: {error}",
                        pending=self.pending,
                    )
                await self._rest(jittered_backoff(failures, 0.2, 5.0, self._rng))
                self._wake.set()

    async def flush(self) -> None:
        """Write all that is pending now.

        Raises:
            DatabaseError: it could not be written; nothing is forgotten.
        """
        async with self._writing:
            while self._pending:
                batch = self._pending[:BATCH]
                with trio.CancelScope(shield=True), trio.move_on_after(WRITE_TIME) as scope:
                    await self._store.finish(batch)
                if scope.cancelled_caught:
                    raise DatabaseError("the inbox did not answer in time", site="inbox.finish")
                del self._pending[: len(batch)]
                self._settled([update_id for update_id, _ in batch])
                await trio.lowlevel.checkpoint_if_cancelled()
