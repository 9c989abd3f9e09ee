"""What the benches share: children that end with them, memory, and order statistics."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import psutil
import trio

from vpnd.runtime.process import ChildProcess, run_child

#: Seconds for a child to come up.
START_TIME = 180.0


class BenchFailed(Exception):
    """Something did not work, so there is nothing to measure."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors inside of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


@asynccontextmanager
async def program(name: str, argv: Sequence[str | Path]) -> AsyncIterator[tuple[ChildProcess, deque[str]]]:
    """Run a program for as long as the block does; give it and the last lines it wrote."""
    lines: deque[str] = deque(maxlen=40)

    async def run(*, task_status: trio.TaskStatus[ChildProcess]) -> None:
        child = partial(run_child, list(argv), env=dict(os.environ), stdout=lines.append, stderr=lines.append)
        status = await child(stop_timeout=10.0, task_status=task_status)
        raise BenchFailed(f"{name} ended with status {status}:\n" + "\n".join(lines))

    async with trio.open_nursery() as nursery:
        yield await nursery.start(run), lines
        nursery.cancel_scope.cancel()


async def first_json(lines: deque[str], name: str) -> dict[str, Any]:
    """Return the first line that a program wrote, read as JSON."""
    with trio.move_on_after(START_TIME):
        while not lines:  # noqa: ASYNC110 (another process; it tells nobody)
            await trio.sleep(0.01)
        found: dict[str, Any] = json.loads(lines[0])
        return found
    raise BenchFailed(f"{name} says nothing")


async def run_json(*argv: str | Path) -> Any:
    """Run a program to its end; return the JSON that it printed, None if it printed nothing."""
    done = await trio.run_process([str(one) for one in argv], capture_stdout=True)
    return json.loads(done.stdout or b"null")


async def administer(url: str, *statements: str) -> list[Any]:
    """Run statements that may take minutes, each by itself; return the first value of each."""
    found: list[Any] = await run_json(sys.executable, Path(__file__).with_name("_sql.py"), url, *statements)
    return found


def disk(folder: Path, writes: int = 300) -> str:
    """Say how long this disk takes to keep a page: what a commit waits for, and what explains a long one."""
    waits: list[float] = []
    place = folder / "page"
    with place.open("wb", buffering=0) as file:
        for _ in range(writes):
            file.write(b"x" * 8192)
            began = perf_counter()
            os.fdatasync(file.fileno())
            waits.append(perf_counter() - began)
            sleep(0.002)
    place.unlink()
    return (
        f"disk: fdatasync of a page takes {percentile(waits, 0.5) * 1e3:.1f} ms"
        f" (p99 {percentile(waits, 0.99) * 1e3:.1f}, max {max(waits) * 1e3:.1f}); load average {os.getloadavg()[0]:.1f}"
    )


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10⁶ bytes)."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, without its children."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of all lie (the nearest one that was really seen)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The median of a few rounds."""
    return statistics.median(values)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first of them a head, in columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
