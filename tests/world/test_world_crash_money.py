"""`kill -9` of the daemon while customers pay by every provider at once: a tenth of what `./dev bench crash-money` does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from crash_money import METHODS, play

pytestmark = [pytest.mark.world, pytest.mark.long]


async def test_no_payment_is_lost_or_doubled() -> None:
    """Whatever instant the daemon dies in, however often a payment is told: one settlement, one grant, one receipt."""
    with trio.fail_after(240):
        report = await play(payments=48, seed=1, durable=False)

    print(report.table())
    assert report.faults == []
    assert report.kills >= 2  # a slow machine starts the daemon slowly
    assert report.told_twice.total() >= 5
    assert all(report.grants[method] == 12 for method in METHODS)
