"""Turns for statements that read or write much, so that those which a customer waits for find a processor of the server free.

A database server on a small machine has two processors. Two sweeps at once, or one without a pause, and every short statement
waits behind them. So the heavy ones of a process take turns, one at a time; and when people were served meanwhile, be it with a
message that waited, the next turn begins only after a rest as long as the last one took. With nobody there nothing is lost: looks
of the relays and the numberer whether there is anything to do are no service to anybody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from vpnd.runtime.limits import Limits

__all__ = ["LONGEST_REST", "Turns"]

#: The rest after a turn is as long as the turn, but not longer than this; seconds.
LONGEST_REST: Final = 0.5


class Turns:
    """The turns of one process.

    Args:
        limits: tells whether people are being served; without it there are no rests.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
        self._one = trio.CapacityLimiter(1)
        self._not_before = float("-inf")
        self._began = 0.0
        self._served = 0

    @property
    def taken(self) -> bool:
        """Whether somebody has the turn, or waits for the end of the rest with it in hand."""
        return self._one.borrowed_tokens > 0

    async def acquire(self) -> None:
        """Take the turn when it comes. A cancellation while waiting leaves it to the next."""
        await self._one.acquire()
        try:
            if trio.current_time() < self._not_before:
                await trio.sleep_until(self._not_before)
        except BaseException:
            self._one.release()
            raise
        self._began, self._served = trio.current_time(), self._people()

    def release(self) -> None:
        """Give the turn back; the task that took it does."""
        now = trio.current_time()
        if self._people() != self._served:
            self._not_before = now + min(now - self._began, LONGEST_REST)
        self._one.release()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the turn for the block."""
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    def _people(self) -> int:
        return 0 if self._limits is None else self._limits.served
