"""Loop lag: which task's step held the loop, for how long, how, and on which line.

A sleep that wakes late (the usual probe) sees about half of the blocks and names none. Two parts see all of them:

- `StepTimer`, a trio Instrument: a clock read around every step (about 1 µs). A step over the threshold is
  reported with its task's name. When it reports, the culprit's frame has been left already, so it cannot tell the line.
- `StackSampler`, a thread: while a step is over half of its threshold, it takes the loop thread's stack once, live.
  That gives the line. (C code that keeps the interpreter to itself all the time keeps it from the sampler too.)

There are two ways to hold the loop, and they are told apart by the processor's clock:

- **busy**: the step *computed* for that long. What it did belongs into a thread, or into smaller steps.
- **blocked**: the time passed and the step computed little. It waited inside a call that stops the whole thread: a sleep, a
  synchronous socket, a file on a slow disk. Or nothing is wrong with it, and the machine was too busy to let it run; then
  such lines come from all kinds of tasks, and the line they name is never the same.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, Literal, NoReturn

import trio
from attrs import frozen

import vpnd
from vpnd.runtime import metrics, observations
from vpnd.runtime.journal import get_journal

journal = get_journal("monitors")

#: Seconds of one step from which the journal tells of it (the audit's threshold).
LAG_THRESHOLD: Final = 0.2

#: The processor's clock is read at most this often, in seconds: unlike the wall's it costs a system call, a twelfth of a busy
#: daemon's time when made before each step. What short steps used since the last reading is booked to the long one after them.
CPU_CLOCK_EVERY: Final = 0.002

#: The sampler looks this often, and at what took this long: before a step breaks the audit's 50 ms, its line is known.
SAMPLE_INTERVAL: Final = 0.02  # seconds
SAMPLE_AFTER: Final = 0.025

#: Tasks whose steps are a worker's: of supervised children, by how their names begin.
WORKERS: Final = ("worker ", "node ", "outbox", "payouts ", "numberer")

#: Reports kept for the reporting task; a loop that blocks more often than this between two reports loses the rest.
MAX_PENDING: Final = 100

#: The gauge of the longest step looks back this far, in seconds: farther than a scrape comes late.
WORST_OF: Final = 60.0

#: Where our own code lies: the line that is told is the innermost one of ours.
_OURS: Final = f"{Path(vpnd.__file__).parent}/"


@frozen
class LagReport:
    """One step that held the loop; see the module's text for the two kinds."""

    task: str
    kind: Literal["busy", "blocked"]
    cpu: float  # seconds
    wall: float  # seconds
    line: str | None


class StepTimer(trio.abc.Instrument):
    """Times every step of every task of the loop it is added to."""

    def __init__(
        self, threshold: float = LAG_THRESHOLD, observe: Callable[[float], None] | None = None
    ) -> None:
        """Time steps; collect those over `threshold` seconds; hand each wall time of 1 ms or more to `observe`."""
        self.threshold = threshold
        self.reports: list[LagReport] = []
        #: What the sampler saw: the start of a step, and the line that it stood on.
        self.seen: tuple[float, str | None] = (0.0, None)
        self.busy = False
        #: The longest step since somebody set this back to 0, in seconds.
        self.worst = 0.0
        #: Steps since somebody set this back to 0.
        self.steps = 0
        # Set here, because an instrument added from inside a task sees the end of a step whose start it missed.
        self.wall_start = time.perf_counter()
        self._cpu_wall = self.wall_start
        self._cpu_start = time.thread_time()
        self._observe = observe

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when the step begins."""
        self.wall_start = now = time.perf_counter()
        if now - self._cpu_wall > CPU_CLOCK_EVERY:
            self._cpu_wall = now
            self._cpu_start = time.thread_time()
        self.busy = True

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Report the step if it held the loop."""
        wall = time.perf_counter() - self.wall_start
        self.busy = False
        self.steps += 1
        if wall < observations.SHORTEST:
            return
        self.worst = max(self.worst, wall)
        # What short steps used since the clock was last read is booked to this one, which cannot have used more than it took.
        cpu = min(time.thread_time() - self._cpu_start, wall)
        start, line = self.seen
        if start != self.wall_start:
            line = None
        if self._observe is not None:
            self._observe(wall)
            name, where = task.name, line or ""
            observations.BLOCKING.note(cpu, name, where)
            observations.LAG.note(wall, name, where)
            if name.startswith(WORKERS):
                observations.YIELD.note(cpu, name, where)
        if wall >= self.threshold and len(self.reports) < MAX_PENDING:
            kind: Literal["busy", "blocked"] = "busy" if cpu >= self.threshold else "blocked"
            self.reports.append(LagReport(task.name, kind, cpu, wall, line))

    def count_short(self) -> None:
        """Tell the record of the day of the steps that were too short to be timed, since the last call."""
        steps, self.steps = self.steps, 0
        if steps:
            for measure in (observations.BLOCKING, observations.LAG):
                measure.note(observations.SHORTEST, "any", count=steps)


def _describe(frame: FrameType | None) -> str | None:
    """Return `file:line function` of the innermost frame that is ours, else of the innermost."""
    innermost = frame
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    found = frame or innermost
    if found is None:
        return None
    place = found.f_code.co_filename.removeprefix(_OURS)
    return f"{place}:{found.f_lineno} {found.f_code.co_name}"


class StackSampler:
    """A thread that takes the loop thread's stack while a step is too long."""

    def __init__(self, timer: StepTimer, thread_id: int) -> None:
        """Watch the steps that `timer` sees in the thread `thread_id`."""
        self._timer = timer
        self._thread_id = thread_id
        self._interval = min(SAMPLE_INTERVAL, timer.threshold / 4)
        self._after = min(SAMPLE_AFTER, timer.threshold / 2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vpnd-lag-sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended, which is at once."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        timer = self._timer
        while not self._stop.wait(self._interval):
            start = timer.wall_start
            late = timer.busy and time.perf_counter() - start > self._after
            if late and timer.seen[0] != start:
                line = _describe(sys._current_frames().get(self._thread_id))  # noqa: SLF001  the documented way to another thread's stack
                # With its start, so that a line that was taken too late is no other step's.
                timer.seen = (start, line)


@contextmanager
def watch_steps(threshold: float = LAG_THRESHOLD) -> Iterator[StepTimer]:
    """Time the steps of the running loop for as long as the block lasts; yields the timer, whose `reports` grow."""
    timer = StepTimer(threshold, metrics.loop_lag_seconds.observe)
    observations.YIELD.fed = True
    sampler = StackSampler(timer, threading.get_ident())
    trio.lowlevel.add_instrument(timer)
    sampler.start()
    try:
        yield timer
    finally:
        observations.YIELD.fed = False
        timer.count_short()
        sampler.stop()
        trio.lowlevel.remove_instrument(timer)


async def monitor_lag(
    *,
    interval: float = 1.0,
    threshold: float = LAG_THRESHOLD,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Tell the journal, every `interval` seconds, of steps that took `threshold` seconds or more."""
    lately: deque[float] = deque(maxlen=max(1, round(WORST_OF / interval)))
    with watch_steps(threshold) as timer:
        task_status.started()
        while True:
            await trio.sleep(interval)
            lately.append(timer.worst)
            timer.worst = 0.0
            metrics.loop_lag_worst_seconds.set(max(lately))
            timer.count_short()
            reports, timer.reports = timer.reports, []
            for report in reports:
                metrics.loop_blocks_total.inc()
                _tell(report)


def _tell(report: LagReport) -> None:
    where = f" in {report.line}" if report.line else ""
    if report.kind == "busy":
        event = "loop.lag"
        said = f"task {report.task} computed for {report.cpu:.3f} s in one step ({report.wall:.3f} s wall){where}"
    else:
        event = "loop.blocked"
        said = (
            f"task {report.task} stopped the loop for {report.wall:.3f} s and computed only {report.cpu:.3f} s of it:"
            f" a blocking call{where}, or a machine that is too busy"
        )
    journal.warning(
        event,
        message=said,
        tag="[EVENT_LOOP_LAG]",
        task=report.task,
        kind=report.kind,
        cpu=round(report.cpu, 3),
        wall=round(report.wall, 3),
        line=report.line,
    )
