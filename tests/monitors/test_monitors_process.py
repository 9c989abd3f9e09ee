"""The process: processor, memory, descriptors and tasks, as metrics and as alarms."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
from trio.testing import MockClock

from vpnd.monitors import gauges, process
from vpnd.monitors.alarms import Alarms
from vpnd.monitors.process import ALARMS, ProcessMonitor, tasks_by_name
from vpnd.runtime import metrics, observations
from vpnd.runtime.journal import capture


async def nobody(_key: str, _args: object) -> None:
    raise AssertionError("nothing was to be told")


async def test_a_look_sets_the_gauges() -> None:
    """What a scrape shows is what the kernel says of this process."""
    monitor = ProcessMonitor(Alarms(ALARMS, nobody))
    picture = await monitor.look()

    assert picture is monitor.picture
    assert metrics.process_resident_memory_bytes._value.get() == picture.memory > 10_000_000
    assert gauges.open_descriptors._value.get() == picture.descriptors > 2
    assert picture.descriptors_max >= picture.descriptors
    assert gauges.tasks_total._value.get() == picture.tasks >= 2


async def test_an_open_socket_is_counted() -> None:
    """Connections that are never closed are seen to grow."""
    monitor = ProcessMonitor(Alarms(ALARMS, nobody))
    before = (await monitor.look()).sockets
    with socket.socket(), socket.socket():
        assert (await monitor.look()).sockets == before + 2
    assert (await monitor.look()).sockets == before


async def test_tasks_are_counted_by_name() -> None:
    """A leak of tasks has the name of the function that they run."""

    async def leaked() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(leaked)
        nursery.start_soon(leaked, name="worker expiry")
        counted = tasks_by_name()
        nursery.cancel_scope.cancel()

    assert max(counted.values()) == 30
    assert counted["worker expiry"] == 1


async def test_the_walk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks there are, it holds the loop for a moment only."""
    monkeypatch.setattr(process, "MOST_TASKS", 10)
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(trio.sleep_forever)
        assert sum(tasks_by_name().values()) == 10
        nursery.cancel_scope.cancel()


async def test_a_busy_process_is_told_and_alarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 80 % of a core: the tag at once and once a minute; the record has it."""
    monitor = ProcessMonitor(Alarms(ALARMS, nobody))
    with capture() as lines, observations.watching() as watch:
        await monitor.look()
        assert monitor._used is not None
        for _ in range(3):
            monitor._used = (monitor._used[0] - 1.0, monitor._used[1] - 3.0)
            picture = await monitor.look()
        record = watch.records["cpu"]

    assert picture.cpu > 0.8
    assert [line.tag for line in lines if line.event == "process.high_cpu"] == ["[HIGH_CPU]"]
    assert record.over >= 1
    assert record.worst == pytest.approx(metrics.process_cpu_ratio._value.get(), rel=0.5)


async def test_a_process_without_descriptors_is_alarmed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Nothing can be read then, which is what the alarm is about; the monitor lives on."""
    alarms = Alarms(ALARMS, nobody)
    monitor = ProcessMonitor(alarms)

    async def look() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(monitor, "look", look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.run)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    assert [state.alarm.name for state in alarms.raised()] == ["descriptors"]


def test_growth_is_what_came_within_the_hour() -> None:
    """The start's own memory is none, and the first note after the warm-up is what is compared with."""
    monitor = ProcessMonitor(Alarms(ALARMS, nobody))
    began = monitor._began = 1000.0  # whole seconds: a minute is a minute after any sum
    assert monitor._growth(began + 60, 500) == 0
    assert monitor._growth(began + process.WARM_UP, 600) == 0
    assert monitor._growth(began + process.WARM_UP + 1800, 700) == 100
    for minute in range(process.MEMORY_NOTES):
        grown = monitor._growth(began + 4000 + 60 * minute, 1000)
    assert grown == 0
