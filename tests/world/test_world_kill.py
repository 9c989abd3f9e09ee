"""`kill -9` of the daemon, again and again, while customers buy: a tenth of what `./dev soak kill` does."""

from __future__ import annotations

import pytest
import trio
from soaks.kill import play

pytestmark = [pytest.mark.world, pytest.mark.long]


@pytest.mark.parametrize(("mode", "kills", "purchases"), [("polling", 20, 12), ("webhook", 3, 3)])
async def test_kill_soak(mode: str, kills: int, purchases: int) -> None:
    """Whatever instant the daemon dies in: each purchase is settled once, delivered once, and its link works."""
    with trio.fail_after(180):
        report = await play(kills=kills, purchases=purchases, seed=1, mode=mode, durable=False)

    print(report.table())
    assert report.faults == []
    assert report.kills == kills
    assert report.working_links == purchases
