"""A step that holds the loop is told by the task that made it."""

from __future__ import annotations

import time

import trio

from vpnd.monitors.lag import watch_steps

THRESHOLD = 0.01  # seconds


async def reckon() -> None:
    """Compute for longer than the threshold without a checkpoint, by this thread's own clock."""
    end = time.thread_time() + 3 * THRESHOLD
    while time.thread_time() < end:
        pass


async def test_a_step_that_computes_too_long_is_reported_with_its_task() -> None:
    """However loaded the machine is, the task that kept everybody waiting has its name in a report."""
    with watch_steps(THRESHOLD) as timer:
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reckon)

    (report,) = [one for one in timer.reports if one.task.endswith("reckon")]
    assert report.kind == "busy"
    assert report.wall >= report.cpu * 0.9 >= THRESHOLD
