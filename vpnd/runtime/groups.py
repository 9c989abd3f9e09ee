"""Exception groups, for people: a group of one error is that error; and two things at once that raise as if they were one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

__all__ = ["beside", "plainest"]

T = TypeVar("T")


def plainest(error: BaseException) -> BaseException:
    """Return the one error inside a group of one, however deep; the group itself when there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def beside(aside: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]]) -> T:
    """Begin `aside` in a task of its own, do `work` in this one meanwhile, and return its result when both have ended.

    What `work` raises is raised as it is, when `aside` has ended; `aside` deals with its own failures, and one that it lets
    through comes in a group. A cancellation ends both.
    """
    error: Exception | None = None
    result: T
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aside)
        try:
            result = await work()
        except Exception as failure:
            error = failure
    if error is not None:
        try:
            raise error
        finally:
            error = None  # the frame holds the error and the error its frames: a cycle for each failure
    return result
