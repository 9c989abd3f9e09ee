"""Lag: whoever holds the loop is named with its line, whether it computes or waits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import vpnd
from vpnd.monitors import lag
from vpnd.monitors.lag import StackSampler, StepTimer, monitor_lag, watch_steps
from vpnd.runtime import metrics
from vpnd.runtime.journal import capture

#: Seconds of a step that count as a block here; long enough for a busy machine not to reach it by itself.
THRESHOLD = 0.1

#: A block goes on until the sampler has seen it, and not longer than this, in seconds.
PATIENCE = 20.0


def compute(timer: StepTimer) -> None:
    """Hold the loop with the processor, as an endless loop does."""
    since, seen = time.thread_time(), timer.seen
    until = time.monotonic() + PATIENCE
    while (time.thread_time() - since < THRESHOLD * 1.2 or timer.seen == seen) and time.monotonic() < until:
        pass


def block(timer: StepTimer) -> None:
    """Hold the loop without the processor, as a synchronous socket does."""
    since, seen = time.monotonic(), timer.seen
    while time.monotonic() - since < THRESHOLD * 1.5 or timer.seen == seen:
        if time.monotonic() - since > PATIENCE:
            return
        time.sleep(THRESHOLD / 4)


async def run_in_task(timer: StepTimer, hold: Any) -> None:
    """Do it in one step of a task with a name of its own."""

    async def culprit() -> None:
        hold(timer)
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(culprit, name="the culprit")


@pytest.mark.parametrize(("hold", "kind"), [(compute, "busy"), (block, "blocked")])
async def test_a_task_that_holds_the_loop_is_named_with_its_line(hold: Any, kind: str) -> None:
    """Both kinds of blocks are found and told apart by the processor's clock; a call that blocks uses none of it."""
    with watch_steps(THRESHOLD) as timer:
        await run_in_task(timer, hold)

    (report,) = (one for one in timer.reports if one.task == "the culprit")
    assert report.kind == kind
    assert report.wall >= THRESHOLD
    assert (report.cpu >= THRESHOLD) == (kind == "busy")
    assert report.line is not None
    assert report.line.startswith(f"{__file__}:")
    assert report.line.endswith(f" {hold.__name__}")


async def test_short_steps_are_not_reported() -> None:
    """However many there are, and whatever they come to together."""
    with watch_steps(PATIENCE) as timer:
        for _ in range(1000):
            await trio.lowlevel.checkpoint()

    assert timer.reports == []


async def test_a_wait_of_a_task_is_no_block() -> None:
    """A task that sleeps lets the others run: nothing is held."""
    with watch_steps(THRESHOLD) as timer:
        await trio.sleep(THRESHOLD * 1.5)

    assert [report for report in timer.reports if report.kind == "busy"] == []


async def test_the_journal_tells_both_kinds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tag to look for, two events, and the counter that an alarm stands on."""
    timers: list[StepTimer] = []
    real = lag.StepTimer

    def noted(*args: Any) -> StepTimer:
        timers.append(real(*args))
        return timers[0]

    monkeypatch.setattr(lag, "StepTimer", noted)
    before = metrics.loop_blocks_total._value.get()

    def told(name: str) -> bool:
        return any(line.event == name and line.fields["task"] == "the culprit" for line in lines)

    with capture() as lines:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    lambda task_status: monitor_lag(
                        interval=0.01, threshold=THRESHOLD, task_status=task_status
                    )
                )
                await run_in_task(timers[0], compute)
                await run_in_task(timers[0], block)
                while not (told("loop.lag") and told("loop.blocked")):
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    assert {line.tag for line in lines if line.event.startswith("loop.")} == {"[EVENT_LOOP_LAG]"}
    assert metrics.loop_blocks_total._value.get() - before >= 2
    assert metrics.loop_lag_worst_seconds._value.get() >= THRESHOLD
    assert all("a blocking call" in line.message for line in lines if line.event == "loop.blocked")


def test_a_line_that_was_taken_too_late_is_no_other_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sampler saw of an earlier step is not told of the next one."""
    timer = StepTimer(0.0)
    timer.seen = (timer.wall_start, "earlier.py:1 culprit")
    task: Any = SimpleNamespace(name="innocent")

    timer.before_task_step(task)
    monkeypatch.setattr(time, "perf_counter", lambda: timer.wall_start + 1.0)
    timer.after_task_step(task)

    (report,) = timer.reports
    assert (report.task, report.line) == ("innocent", None)


def test_reports_have_a_bound() -> None:
    """A loop that blocks all the time does not fill the memory before anybody reads of it."""
    timer = StepTimer(0.0)
    task: Any = SimpleNamespace(name="t")
    for _ in range(lag.MAX_PENDING + 10):
        timer.before_task_step(task)
        timer.wall_start -= 1.0
        timer.after_task_step(task)

    assert len(timer.reports) == lag.MAX_PENDING


def test_the_innermost_line_of_ours_is_told() -> None:
    """A block inside a library is told by the line of ours that called it, wherever the program is installed."""
    package = Path(vpnd.__file__).parent
    library: Any = SimpleNamespace(
        f_code=SimpleNamespace(co_filename="/opt/vpnd/lib/python3/socket.py", co_name="recv"), f_lineno=7
    )
    outer: Any = SimpleNamespace(
        f_code=SimpleNamespace(co_filename=f"{package}/cli.py", co_name="main"), f_lineno=1, f_back=None
    )
    ours: Any = SimpleNamespace(
        f_code=SimpleNamespace(co_filename=f"{package}/shop/money.py", co_name="count"),
        f_lineno=3,
        f_back=outer,
    )
    library.f_back = ours

    assert lag._describe(library) == "shop/money.py:3 count"
    library.f_back = None
    assert lag._describe(library) == "/opt/vpnd/lib/python3/socket.py:7 recv"
    assert lag._describe(None) is None


def test_the_sampler_ends_with_its_watch() -> None:
    """No thread is left behind."""
    sampler = StackSampler(StepTimer(), threading.get_ident())
    sampler.start()
    sampler.stop()

    assert not sampler._thread.is_alive()
