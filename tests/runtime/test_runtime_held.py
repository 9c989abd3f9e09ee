"""The mark of an open transaction scope."""

from __future__ import annotations

import pytest
import trio

from vpnd.runtime.held import HeldConnectionError, current_mark, open_mark, refuse_if_held


def test_nothing_is_refused_outside_a_scope() -> None:
    """Without a scope, everything may wait."""
    refuse_if_held("an HTTP request")
    assert current_mark() is None


def test_refusal_names_the_deed_and_the_site() -> None:
    """The error says what was tried and which scope forbids it."""
    with (
        open_mark("settle a charge") as mark,
        pytest.raises(HeldConnectionError, match="settle a charge") as refusal,
    ):
        assert current_mark() is mark
        refuse_if_held("an HTTP request to cryptopay")

    assert refusal.value.site == "settle a charge"
    assert refusal.value.what == "an HTTP request to cryptopay"


def test_scopes_do_not_nest() -> None:
    """A second scope in the same task is refused, and the first stays open and closes as usual."""
    with open_mark("outer") as outer:
        with pytest.raises(HeldConnectionError, match="second transaction scope"), open_mark("inner"):
            pytest.fail("the inner scope was entered")
        assert current_mark() is outer

    assert outer.closed
    with open_mark("next"):
        pass


def test_an_error_closes_the_mark() -> None:
    """Whatever ends the scope frees the task."""
    with pytest.raises(ZeroDivisionError), open_mark("fails"):
        raise ZeroDivisionError

    refuse_if_held("an HTTP request")


async def test_child_is_accused_while_open_and_free_afterwards() -> None:
    """A task spawned inside a scope is refused while the scope is open and free as soon as it is closed."""
    closed, seen = trio.Event(), []

    async def child(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with pytest.raises(HeldConnectionError):
            refuse_if_held("a message")
        seen.append("accused")
        task_status.started()
        await closed.wait()
        refuse_if_held("a message")
        with open_mark("its own"):
            seen.append("free")

    async with trio.open_nursery() as nursery:
        with open_mark("handler"):
            await nursery.start(child)
        closed.set()

    assert seen == ["accused", "free"]


async def test_siblings_do_not_see_each_other() -> None:
    """A mark belongs to the task that opened it, not to the process."""
    opened, done = trio.Event(), trio.Event()

    async def holder() -> None:
        with open_mark("holder"):
            opened.set()
            await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(holder)
        await opened.wait()
        refuse_if_held("an HTTP request")
        done.set()


async def test_cancellation_closes_the_mark() -> None:
    """A cancelled scope leaves nobody accused."""
    with trio.CancelScope() as scope, open_mark("cancelled") as mark:
        scope.cancel()
        await trio.sleep_forever()

    assert mark.closed
    refuse_if_held("an HTTP request")
