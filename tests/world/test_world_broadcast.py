"""`kill -9` of the daemon in the middle of a broadcast: three kills of the twenty that `./dev soak broadcast-kill` does."""

from __future__ import annotations

import pytest
import trio
from soaks.broadcast_kill import play

pytestmark = [pytest.mark.world, pytest.mark.long]


async def test_broadcast_kill_soak() -> None:
    """Whatever instant the daemon dies in: everybody has it, and no more came twice than was in flight, counted."""
    with trio.fail_after(120):
        report = await play(kills=3, recipients=900, seed=1, durable=False)

    print(report.table())
    assert report.faults == []
    assert len(report.kills) == 3
    assert report.delivered == 900
