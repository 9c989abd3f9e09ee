"""Two thousand steps of a monkey in forty chats: a tenth of what `./dev soak monkey` does."""

from __future__ import annotations

import pytest
import trio
from soaks.monkey import play

pytestmark = pytest.mark.world


@pytest.mark.long
async def test_monkey() -> None:
    """Whatever is pressed, written, sent and paid: everybody is answered, nothing fails, and the books are right."""
    with trio.fail_after(280):
        report = await play(chats=40, steps=2000, seed=7, durable=False)

    print(report.table())
    assert report.faults == []
    assert report.steps == 2000
    assert len(report.pressed) > 20
