"""QR codes, drawn in a child process: at most two at once, each in time or not at all (`vpnd.bot.child_drawing` says why).

A picture that fails is no reason to keep a link from anybody: the caller sends the link in words instead.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from hashlib import sha256
from typing import Final

import trio

from vpnd.bot.child_drawing import NotDrawn, draw_in_child
from vpnd.bot.counters import qr_pictures_total
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.journal import get_journal

log = get_journal("bot")

DEADLINE: Final = 5.0  # seconds for one picture, the wait for a place not counted
PLACE_WAIT: Final = 10.0  # seconds for a place; whoever waited longer gets the link in words
AT_ONCE: Final = 2
CACHED: Final = 64  # pictures of a few kB; a customer often looks twice
COMMAND: Final = (sys.executable, "-m", "vpnd.bot.qr_child")


class QrDrawer:
    """Draws and remembers pictures. One a daemon; it owns no task and needs no closing."""

    def __init__(self, command: tuple[str, ...] = COMMAND, *, deadline: float = DEADLINE) -> None:
        self._command = command
        self._deadline = deadline
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()

    async def draw(self, text: str) -> bytes | None:
        """The QR code of `text` as a PNG, or None when it could not be drawn in time.

        A cancelled drawing kills its child. Must not be awaited inside a transaction scope.
        """
        refuse_if_held("drawing a QR code")
        # The key is a digest, so that the cache holds no link.
        key = sha256(text.encode()).digest()
        png = self._cache.get(key)
        if png is not None:
            self._cache.move_to_end(key)
            qr_pictures_total.labels("cached").inc()
            return png
        png = await self._draw(text)
        if png is None:
            qr_pictures_total.labels("failed").inc()
            return None
        qr_pictures_total.labels("drawn").inc()
        self._cache[key] = png
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return png

    async def _draw(self, text: str) -> bytes | None:
        with trio.move_on_after(PLACE_WAIT) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            log.warning("qr.failed", message="a QR code was not drawn: no place in time", reason="busy")
            return None
        try:
            return await self._in_child(text)
        finally:
            self._places.release()

    async def _in_child(self, text: str) -> bytes | None:
        try:
            return await draw_in_child(self._command, text.encode(), deadline=self._deadline)
        except NotDrawn as error:
            log.warning("qr.failed", message=f"a QR code was not drawn: {error}", reason=str(error))
            return None
