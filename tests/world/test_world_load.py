"""Everything at once in the whole world: half a minute of what `./dev soak load` does for twenty."""

from __future__ import annotations

import pytest
import trio
from soaks.load import play

pytestmark = [pytest.mark.world, pytest.mark.long]


async def test_load_soak() -> None:
    """Under load nobody waits in vain, every purchase is settled, nothing is given up, and `vpnd audit` answers."""
    with trio.fail_after(170):
        report = await play(minutes=0.4, subscriptions=1500, durable=False, strict=False)

    print(report.audit)
    print(report.table())
    assert report.faults == []
    assert report.purchases > 0
    assert len(report.presses) > 50
