"""Loop lag: which task's step held the loop, for how long, and on which line.

A sleep that wakes late (the usual probe) sees about half of the blocks and names none. Two parts see all of them:

- `StepTimer`, a trio Instrument: two clocks read around every step (about 1 µs). A step over the threshold is
  reported with its task's name. When it reports, the culprit's frame has been left already, so it cannot tell the line.
- `StackSampler`, a thread: while a step is over its threshold, it takes the loop thread's stack once, live.
  That gives the line.

A step counts by its CPU time; its wall time is printed beside it. On a busy machine the kernel takes the processor away
from a step that did nothing wrong, and an operator should not be sent after it.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import trio
from attrs import frozen

from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal

journal = get_journal("monitors")

#: CPU seconds of one step from which the journal tells of it (the audit's threshold).
LAG_THRESHOLD: Final = 0.2

#: The processor's clock is read at most this often, in seconds: unlike the wall's it costs a system call, a twelfth of a busy
#: daemon's time when made before each step. What short steps used since the last reading is booked to the long one after them.
CPU_CLOCK_EVERY: Final = 0.002

#: The sampler looks this often; a block shorter than the threshold plus this may go without its line.
SAMPLE_INTERVAL: Final = 0.05  # seconds

#: Reports kept for the reporting task; a loop that blocks more often than this between two reports loses the rest.
MAX_PENDING: Final = 100


@frozen
class LagReport:
    """One step that held the loop."""

    task: str
    cpu: float  # seconds
    wall: float  # seconds
    line: str | None


class StepTimer(trio.abc.Instrument):
    """Times every step of every task of the loop it is added to."""

    def __init__(
        self, threshold: float = LAG_THRESHOLD, observe: Callable[[float], None] | None = None
    ) -> None:
        """Time steps; collect those over `threshold` CPU seconds; hand each wall time of 1 ms or more to `observe`."""
        self.threshold = threshold
        self.reports: list[LagReport] = []
        self.line: str | None = None
        self.busy = False
        self.task_name = ""
        # Set here, because an instrument added from inside a task sees the end of a step whose start it missed.
        self.wall_start = time.perf_counter()
        self._cpu_wall = self.wall_start
        self._cpu_start = time.thread_time()
        self._observe = observe

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when the step begins."""
        self.task_name = task.name
        self.wall_start = now = time.perf_counter()
        if now - self._cpu_wall > CPU_CLOCK_EVERY:
            self._cpu_wall = now
            self._cpu_start = time.thread_time()
        self.busy = True

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Report the step if it held the loop."""
        wall = time.perf_counter() - self.wall_start
        self.busy = False
        if wall < 0.001:
            return
        cpu = time.thread_time() - self._cpu_start
        if self._observe is not None:
            self._observe(wall)
        if cpu >= self.threshold and len(self.reports) < MAX_PENDING:
            self.reports.append(LagReport(task.name, cpu, wall, self.line))
        self.line = None


def _describe(frame: FrameType | None) -> str | None:
    """Return `file:line function` of the innermost frame that is ours, else of the innermost."""
    if frame is None:
        return None
    stack = traceback.extract_stack(frame)
    ours = [entry for entry in stack if "/vpnd/" in entry.filename]
    entry = (ours or list(stack))[-1]
    return f"{entry.filename.rpartition('/vpnd/')[2] or entry.filename}:{entry.lineno} {entry.name}"


class StackSampler:
    """A thread that takes the loop thread's stack while a step is too long."""

    def __init__(self, timer: StepTimer, thread_id: int) -> None:
        """Watch the steps that `timer` sees in the thread `thread_id`."""
        self._timer = timer
        self._thread_id = thread_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vpnd-lag-sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended (at most one sampling interval)."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        seen = 0.0
        while not self._stop.wait(SAMPLE_INTERVAL):
            start = self._timer.wall_start
            if self._timer.busy and start != seen and time.perf_counter() - start > self._timer.threshold / 2:
                seen = start
                self._timer.line = _describe(sys._current_frames().get(self._thread_id))  # noqa: SLF001  the documented way to another thread's stack


@contextmanager
def watch_steps(threshold: float = LAG_THRESHOLD) -> Iterator[StepTimer]:
    """Time the steps of the running loop for as long as the block lasts; yields the timer, whose `reports` grow."""
    timer = StepTimer(threshold, metrics.loop_lag_seconds.observe)
    sampler = StackSampler(timer, threading.get_ident())
    trio.lowlevel.add_instrument(timer)
    sampler.start()
    try:
        yield timer
    finally:
        sampler.stop()
        trio.lowlevel.remove_instrument(timer)


async def monitor_lag(
    *,
    interval: float = 1.0,
    threshold: float = LAG_THRESHOLD,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Tell the journal, every `interval` seconds, of steps that took `threshold` CPU seconds or more."""
    with watch_steps(threshold) as timer:
        task_status.started()
        while True:
            await trio.sleep(interval)
            reports, timer.reports = timer.reports, []
            for report in reports:
                metrics.loop_blocks_total.inc()
                journal.warning(
                    "loop.lag",
                    message=f"task {report.task} held the loop for {report.cpu:.3f} s of CPU time ({report.wall:.3f} s wall)"
                    + (f" in {report.line}" if report.line else ""),
                    tag="[EVENT_LOOP_LAG]",
                    task=report.task,
                    cpu=round(report.cpu, 3),
                    wall=round(report.wall, 3),
                    line=report.line,
                )
