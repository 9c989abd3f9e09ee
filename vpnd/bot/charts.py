"""Charts for operators, drawn in a child process: one at a time, in time or not at all.

A picture holds numbers, days, currencies and names of methods and plans, so that it is the same in every language; its caption
says what it shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

import trio
from attrs import asdict, field, frozen

from vpnd.bot.child_drawing import NotDrawn, draw_in_child
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.journal import get_journal

__all__ = ["ChartDrawer", "Panel"]

log = get_journal("bot")

DEADLINE: Final = 5.0  # seconds for one picture, the wait for a place not counted
PLACE_WAIT: Final = 10.0  # seconds for a place
COMMAND: Final = (sys.executable, "-m", "vpnd.bot.chart_child")


@frozen
class Panel:
    """One chart of a picture; several stand below each other.

    Attributes:
        kind: "bars" of one series by label, "lines" of several, or "ranks": a bar for each label, with its value in words.
        head: a few ASCII letters above it: a currency.
        words: of ranks: what is written behind each.
    """

    kind: str
    head: str
    labels: Sequence[str]
    series: Sequence[Sequence[float]]
    words: Sequence[str] = field(factory=tuple)


class ChartDrawer:
    """Draws pictures. One a daemon; it owns no task and needs no closing."""

    def __init__(self, command: tuple[str, ...] = COMMAND, *, deadline: float = DEADLINE) -> None:
        self._command = command
        self._deadline = deadline
        self._places = trio.CapacityLimiter(1)

    async def draw(self, panels: Sequence[Panel]) -> bytes | None:
        """The panels as a PNG, or None when they could not be drawn in time.

        A cancelled drawing kills its child. Must not be awaited inside a transaction scope.
        """
        refuse_if_held("drawing a chart")
        data = json.dumps([asdict(panel) for panel in panels]).encode()
        with trio.move_on_after(PLACE_WAIT) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            log.warning("chart.failed", message="a chart was not drawn: no place in time", reason="busy")
            return None
        try:
            return await draw_in_child(self._command, data, deadline=self._deadline)
        except NotDrawn as error:
            log.warning("chart.failed", message=f"a chart was not drawn: {error}", reason=str(error))
            return None
        finally:
            self._places.release()
