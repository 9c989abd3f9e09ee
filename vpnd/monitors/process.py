"""The process: processor, memory, descriptors, and the tasks of its loop by name.

The kernel is asked in a thread, and the task tree is walked on the loop, up to a bound: a thousand tasks take less than a
millisecond.
"""

from __future__ import annotations

import errno
import resource
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import psutil
import trio

from vpnd.monitors import gauges
from vpnd.monitors.alarms import Alarm, Alarms
from vpnd.runtime import metrics, observations
from vpnd.runtime.heap import trim_heap
from vpnd.runtime.journal import get_journal

__all__ = ["ALARMS", "ProcessMonitor", "ProcessPicture"]

journal = get_journal("monitors")

#: Seconds between two looks; the processor's share is that of the time between.
INTERVAL: Final = 5.0
#: The audit's share of one core from which the journal tells, and how long it stays silent then; seconds.
HIGH_CPU: Final = 0.8
SAY_AGAIN: Final = 60.0
#: Memory is noted this often, in seconds, and compared with what was noted so many times ago: an hour.
MEMORY_EVERY: Final = 60.0
MEMORY_NOTES: Final = 60
#: Seconds after which free memory is given back to the system.
TRIM_EVERY: Final = 30.0
#: What a start takes is no growth; seconds.
WARM_UP: Final = 600.0
#: Tasks looked at, and names kept apart in the metric: the rest is counted as "other".
MOST_TASKS: Final = 20_000
MOST_NAMES: Final = 40

_MB: Final = 1024 * 1024

ALARMS: Final = (
    Alarm("cpu", "share of one core in use", "of 1", 0.8, 0.6, raise_after=60),
    Alarm("memory", "resident memory", "MB", 400, 300),
    Alarm("memory_growth", "growth of resident memory within an hour", "MB", 64, 32),
    Alarm("tasks", "tasks of the loop", "tasks", 5000, 2500),
    Alarm("descriptors", "open files, of those that may be open", "of 1", 0.8, 0.6),
)


@attrs.frozen
class ProcessPicture:
    """The process at the last look; bytes, shares of one core, counts."""

    cpu: float
    memory: int
    memory_growth: int
    descriptors: int
    descriptors_max: int
    sockets: int
    tasks: int
    tasks_by_name: dict[str, int]


class ProcessMonitor:
    """Looks at the process every few seconds."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._process = psutil.Process()
        self._began = time.monotonic()
        self._used: tuple[float, float] | None = None  # when, and the processor's seconds until then
        self._memory: deque[int] = deque(maxlen=MEMORY_NOTES)
        self._memory_noted = float("-inf")
        self._said_at = float("-inf")
        self._trimmed_at = self._began
        self._names: set[str] = set()
        #: None before the first look.
        self.picture: ProcessPicture | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Look for ever."""
        task_status.started()
        while True:
            try:
                await self.look()
            except (OSError, psutil.Error) as error:
                # What is watched must not end the watching: without a free descriptor nothing can be read at all.
                journal.debug("monitor.blind", message=f"the process cannot be looked at: {error}")
                if isinstance(error, OSError) and error.errno == errno.EMFILE:
                    self._alarms.update("descriptors", 1.0)
            await trio.sleep(INTERVAL)

    async def look(self) -> ProcessPicture:
        """Look once: set the gauges, feed the alarms, keep the picture."""
        seen = await trio.to_thread.run_sync(self._ask_kernel)
        names = tasks_by_name()
        picture = self.picture = ProcessPicture(
            **seen, tasks=sum(names.values()), tasks_by_name=dict(names.most_common(MOST_NAMES))
        )
        self._set_gauges(picture, names)
        self._say_cpu(picture.cpu)
        update = self._alarms.update
        update("cpu", picture.cpu)
        update("memory", picture.memory / _MB)
        update("memory_growth", max(0, picture.memory_growth) / _MB)
        update("tasks", picture.tasks, next(iter(picture.tasks_by_name), ""))
        update("descriptors", picture.descriptors / max(1, picture.descriptors_max))
        return picture

    def _ask_kernel(self) -> dict[str, Any]:
        """Ask what the kernel knows of us, and give back what is free; blocks for up to a few milliseconds."""
        now, times = time.monotonic(), self._process.cpu_times()
        if now - self._trimmed_at >= TRIM_EVERY:
            self._trimmed_at = now
            trim_heap()
        used = times.user + times.system
        former, self._used = self._used, (now, used)
        memory = self._process.memory_info().rss
        descriptors = list(Path("/proc/self/fd").iterdir())
        return {
            "cpu": 0.0 if former is None else max(0.0, (used - former[1]) / max(1e-3, now - former[0])),
            "memory": memory,
            "memory_growth": self._growth(now, memory),
            "descriptors": len(descriptors),
            "descriptors_max": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "sockets": sum(map(_is_socket, descriptors)),
        }

    def _growth(self, now: float, memory: int) -> int:
        """Return how much more it is than an hour ago, or than after the warm-up."""
        if now - self._began < WARM_UP:
            return 0
        if now - self._memory_noted >= MEMORY_EVERY:
            self._memory_noted = now
            self._memory.append(memory)
        return memory - self._memory[0]

    def _set_gauges(self, picture: ProcessPicture, names: Counter[str]) -> None:
        metrics.process_cpu_ratio.set(picture.cpu)
        metrics.process_resident_memory_bytes.set(picture.memory)
        gauges.memory_growth_bytes.set(picture.memory_growth)
        gauges.open_descriptors.set(picture.descriptors)
        gauges.open_descriptors_max.set(picture.descriptors_max)
        gauges.open_sockets.set(picture.sockets)
        gauges.tasks_total.set(picture.tasks)
        for name, _ in names.most_common(MOST_NAMES):
            if len(self._names) < MOST_NAMES:
                self._names.add(name)
        other = picture.tasks
        for name in self._names:
            gauges.tasks.labels(name).set(names[name])
            other -= names[name]
        gauges.tasks.labels("other").set(other)

    def _say_cpu(self, cpu: float) -> None:
        observations.CPU.note(cpu, "the process")
        now = trio.current_time()
        if cpu > HIGH_CPU and now - self._said_at >= SAY_AGAIN:
            self._said_at = now
            journal.warning(
                "process.high_cpu",
                message=f"{cpu:.0%} of one core over {INTERVAL:g} s",
                tag="[HIGH_CPU]",
                cpu=round(cpu, 3),
            )


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:
        return False  # closed meanwhile


def tasks_by_name(root: trio.lowlevel.Task | None = None) -> Counter[str]:
    """Count the loop's tasks by what they run, `MOST_TASKS` of them at most.

    A supervised child counts under its own name, a connection's or a chat's task under the function that it runs.
    """
    top = root if root is not None else trio.lowlevel.current_root_task()
    counted: Counter[str] = Counter()
    waiting: list[trio.lowlevel.Task] = [] if top is None else [top]
    seen = 0
    while waiting and seen < MOST_TASKS:
        task = waiting.pop()
        seen += 1
        counted[_plain(task.name)] += 1
        waiting.extend(_children(task.child_nurseries))
    return counted


def _children(nurseries: Iterable[trio.Nursery]) -> Iterable[trio.lowlevel.Task]:
    for nursery in nurseries:
        yield from nursery.child_tasks


def _plain(name: str) -> str:
    """Shorten a function's full name to its last two parts; a child's name stays as it is."""
    return ".".join(name.split(".")[-2:]) if name.startswith("vpnd.") else name[:60]
