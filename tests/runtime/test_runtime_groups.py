"""Two things at once that raise as if they were one."""

from __future__ import annotations

import pytest
import trio

from vpnd.runtime.groups import beside, plainest


def test_a_group_of_one_is_that_error() -> None:
    """However deep; a group of several stays one."""
    error = ValueError("x")
    several = ExceptionGroup("", [error, error])
    assert plainest(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    assert plainest(several) is several


async def test_both_are_done_at_once(autojump_clock: trio.abc.Clock) -> None:
    """The result is that of the work, when the other has ended too; it takes as long as the longer of the two."""
    done: list[str] = []

    async def aside() -> None:
        await trio.sleep(2)
        done.append("aside")

    async def work() -> str:
        await trio.sleep(1)
        done.append("work")
        return "result"

    began = trio.current_time()
    assert await beside(aside, work) == "result"
    assert done == ["work", "aside"]
    assert trio.current_time() - began == pytest.approx(2)


async def test_a_failure_of_the_work_is_raised_as_it_is() -> None:
    """No group, and the other has ended."""
    done: list[str] = []

    async def aside() -> None:
        await trio.lowlevel.checkpoint()
        done.append("aside")

    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await beside(aside, work)
    assert done == ["aside"]


async def test_a_cancellation_ends_both(autojump_clock: trio.abc.Clock) -> None:
    """Neither outlives the scope that the caller stands in."""
    ended: list[str] = []

    async def forever(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    with trio.move_on_after(1) as scope:
        await beside(lambda: forever("aside"), lambda: forever("work"))
    assert scope.cancelled_caught
    assert sorted(ended) == ["aside", "work"]
