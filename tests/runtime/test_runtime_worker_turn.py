"""Sweeps that share a turn have one batch under way between them; items and sweeps without a turn wait for nobody."""

from __future__ import annotations

from collections.abc import Sequence

import trio
import trio.testing

from vpnd.runtime.courtesy import Turns
from vpnd.runtime.worker import Poison, Sweep, WorkerRunner


async def one(after: int | None, _limit: int) -> list[int]:
    """One row is due."""
    await trio.lowlevel.checkpoint()
    return [1] if after is None else []


async def test_sweeps_take_turns_by_the_batch(autojump_clock: object) -> None:
    """Two sweeps at once: never two statements at once, and neither has to wait for all of the other."""
    order: list[str] = []
    under_way = most = 0
    left = {"first": 5, "second": 5}

    def sweeping(name: str) -> Sweep:
        async def keys(after: int | None, _limit: int) -> list[int]:
            await trio.lowlevel.checkpoint()
            first = 0 if after is None else after + 1
            return list(range(first, first + 10)) if left[name] else []

        async def sweep(_keys: Sequence[int]) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            order.append(name)
            await trio.sleep(0.1)
            under_way -= 1
            left[name] -= 1
            return 10

        return Sweep(name, interval=60, deadline=50, batch=10, keys=keys, sweep=sweep)

    turn = Turns()
    async with trio.open_nursery() as nursery:
        for name in left:
            nursery.start_soon(WorkerRunner(sweeping(name), turn=turn).run_once)

    assert most == 1
    assert sorted(order[:4]) == ["first", "first", "second", "second"]
    assert not turn.taken


async def test_a_sweep_that_hangs_in_its_turn_gives_it_back(autojump_clock: object) -> None:
    """Its deadline ends the turn, and the other sweep goes on."""
    done: list[str] = []

    async def hang(_keys: Sequence[int]) -> int:
        await trio.sleep_forever()
        return 0

    async def work(_keys: Sequence[int]) -> int:
        done.append("worked")
        return 0

    turn = Turns()
    hanging = WorkerRunner(Sweep("hangs", interval=60, deadline=2, batch=10, keys=one, sweep=hang), turn=turn)
    working = WorkerRunner(
        Sweep("works", interval=60, deadline=50, batch=10, keys=one, sweep=work), turn=turn
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hanging.run_once)
        await trio.sleep(0.1)
        nursery.start_soon(working.run_once)

    assert hanging.statistics().last_outcome == "timeout"
    assert done == ["worked"]


async def test_waiting_for_its_turn_costs_a_sweep_none_of_its_time(autojump_clock: object) -> None:
    """The deadline counts from the turn on: whoever waited longer than that has hung in nothing and skips nothing."""
    given: list[object] = []
    poisoned: list[Poison] = []

    async def slow(_keys: Sequence[int]) -> int:
        await trio.sleep(30)
        return 0

    async def keys(after: int | None, _limit: int) -> list[int]:
        return [1, 2] if after is None else []

    async def quick(due: Sequence[int]) -> int:
        given.extend(due)
        await trio.sleep(3)
        return len(due)

    turn = Turns()
    first = WorkerRunner(Sweep("slow", interval=60, deadline=50, batch=10, keys=one, sweep=slow), turn=turn)
    spec = Sweep(
        "quick", interval=60, deadline=5, batch=10, keys=keys, sweep=quick, on_poison=poisoned.append
    )
    second = WorkerRunner(spec, turn=turn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run_once)
        await trio.sleep(0.1)
        nursery.start_soon(second.run_once)

    assert given == [1, 2]
    assert second.statistics().last_outcome == "ok"
    assert poisoned == []


async def test_a_stop_ends_the_wait_for_a_turn(autojump_clock: object) -> None:
    """Cancellation is not held up by a turn that does not come."""
    turn = Turns()
    began: list[bool] = []

    async def sweep(_keys: Sequence[int]) -> int:
        began.append(True)
        return 0

    waiting = WorkerRunner(
        Sweep("waits", interval=60, deadline=5, batch=10, keys=one, sweep=sweep), turn=turn
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep, turn)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(20) as scope:
            await waiting.run_once()

        assert scope.cancelled_caught
        assert not began
        nursery.cancel_scope.cancel()
    assert not turn.taken


async def _keep(turn: Turns) -> None:
    """Take the turn and keep it."""
    async with turn.turn():
        await trio.sleep_forever()
