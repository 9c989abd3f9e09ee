"""Turns for heavy statements: one at a time, and a rest after each while people are being served."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from vpnd.runtime.courtesy import LONGEST_REST, Turns
from vpnd.runtime.limits import LimitClass, Limits, for_nobody


async def begun(turns: Turns, took: float) -> float:
    """Take a turn, keep it for so long, and return when it began."""
    async with turns.turn():
        at = trio.current_time()
        await trio.sleep(took)
    return at


@pytest.mark.parametrize(("took", "rest"), [(0.2, 0.2), (3.0, LONGEST_REST)])
async def test_a_rest_follows_when_people_were_served(
    autojump_clock: trio.testing.MockClock, took: float, rest: float
) -> None:
    """As long as the turn, up to a limit; a turn nobody waited beside is followed at once."""
    limits = Limits(10, 10)
    turns = Turns(limits)
    first = await begun(turns, took)
    assert await begun(turns, took) == pytest.approx(first + took)
    async with turns.turn():
        at = trio.current_time()
        async with limits.database(LimitClass.HANDLER):
            await trio.sleep(took)

    assert await begun(turns, took) == pytest.approx(at + took + rest)


async def test_a_worker_is_no_person(autojump_clock: trio.testing.MockClock) -> None:
    """Only handlers are made room for."""
    limits = Limits(10, 10)
    turns = Turns(limits)
    async with turns.turn():
        at = trio.current_time()
        async with limits.database(LimitClass.WORKER):
            await trio.sleep(1)

    assert await begun(turns, 0) == pytest.approx(at + 1)


async def test_a_look_whether_there_is_anything_to_do_serves_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has its place like a handler, and no rest is made for it; what is begun in it for somebody counts again."""
    limits = Limits(10, 10)
    turns = Turns(limits)
    async with turns.turn():
        at = trio.current_time()
        with for_nobody():
            async with limits.database():
                await trio.sleep(1)
    assert await begun(turns, 0) == pytest.approx(at + 1)
    async with turns.turn():
        with for_nobody():
            pass
        async with limits.database():
            await trio.sleep(0.2)
    assert await begun(turns, 0) == pytest.approx(at + 1.4)


async def test_whoever_is_cancelled_in_the_rest_leaves_the_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The rest is over for the next one when it would have been for him."""
    limits = Limits(10, 10)
    turns = Turns(limits)
    async with turns.turn(), limits.database(LimitClass.HANDLER):
        at = trio.current_time()
        await trio.sleep(0.4)
    with trio.move_on_after(0.1) as scope:
        await turns.acquire()

    assert scope.cancelled_caught
    assert not turns.taken
    assert await begun(turns, 0) == pytest.approx(at + 0.8)
