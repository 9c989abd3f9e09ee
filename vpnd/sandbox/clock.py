"""The sandbox's own business clock.

Everything that ages by *business* time here (an invoice's expiry, an update's life, a message's date) reads this clock. It is
real time plus an offset, and the offset only grows. When a database is given, the same step is written to its `sandbox_clock`
row first, so that `vpnd_now()` and this clock never disagree for longer than one statement. Flood limits, long polls and
retries run on real time: a test that skips a month must not lift them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.runtime.limits import LimitClass, Limits

_ADVANCE = """
insert into sandbox_clock (offset_seconds) values ($1)
on conflict (only_row) do update set offset_seconds = sandbox_clock.offset_seconds + excluded.offset_seconds
returning offset_seconds
"""


class SandboxClock:
    """Real time plus an offset of whole seconds; `database_url` names the database that shares the offset, if any.

    What is called `on_move` does what has come due, after each `advance`.
    """

    def __init__(self, database_url: str | None = None) -> None:
        self._database_url = database_url
        self.offset = 0
        self.on_move: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since the epoch, in the sandbox's business time."""
        return time.time() + self.offset

    def stamp(self) -> int:
        """The business time as Telegram writes dates: whole seconds."""
        return int(self.now())

    def iso(self, moment: float | None = None) -> str:
        """`moment` (or now) as ISO 8601 with milliseconds and `Z`, the way Crypto Pay writes it."""
        when = datetime.fromtimestamp(self.now() if moment is None else moment, UTC)
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def advance(self, seconds: int) -> int:
        """Move the clock forward by `seconds` (>= 0); the new offset.

        With a database the row is changed first: if that fails, nothing has moved and the error is raised.
        """
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        if self._database_url is None:
            self.offset += seconds
        else:
            self.offset = max(self.offset, await _advance_database(self._database_url, seconds))
        for moved in self.on_move:
            moved()
        return self.offset

    async def follow_database(self) -> None:
        """Take over the offset that the database already holds (a sandbox opened again); a no-op without a database."""
        await self.advance(0)


async def _advance_database(url: str, seconds: int) -> int:
    """One short-lived connection for one statement: the clock is moved a few times a minute, by tests and by people."""
    settings = DatabaseSettings(url=Secret(url), pool_min=0, pool_max=1)
    async with (
        open_database(settings, Limits(1, 1), instance_name="sandbox-clock") as db,
        db.transaction("sandbox.clock", cls=LimitClass.HANDLER) as tx,
    ):
        return int(await tx.fetchval(_ADVANCE, seconds))
