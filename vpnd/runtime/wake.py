"""A wake-up: work exists, look for it now instead of at the next tick.

Wake-ups coalesce: however many came while the sleeper was busy, he looks once. None is lost: one that comes between
his last look and his sleep ends the sleep at once.
"""

from __future__ import annotations

import trio


class Wake:
    """A flag that one sleeper waits for and anybody in the loop's thread may raise."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def __call__(self) -> None:
        """Raise the flag; cheap, synchronous, and safe to call as often as one likes."""
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Sleep until the flag is raised, at most `timeout` seconds, and lower it; tell whether it was raised."""
        with trio.move_on_after(timeout):
            await self._event.wait()
        raised = self._event.is_set()
        if raised:
            self._event = trio.Event()
        return raised
