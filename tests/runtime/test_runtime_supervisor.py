"""Supervision, on a mock clock."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnd.runtime import journal
from vpnd.runtime.supervisor import (
    ChildSpec,
    ChildState,
    EssentialChildDied,
    RestartIntensityExceeded,
    Stopping,
    Supervisor,
)


def _on_mock_clock(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run on a clock that jumps; made here because hypothesis refuses a fixture that lives for one test."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def _forever(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


class _Mortal:
    """A child that dies after each of the given lives, and then lives for ever."""

    def __init__(self, lives: list[float], *, returns: bool = False) -> None:
        self.lives = list(lives)
        self.births: list[float] = []
        self.deaths: list[float] = []
        self.returns = returns

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.births.append(trio.current_time())
        task_status.started()
        await trio.sleep(self.lives.pop(0) if self.lives else float("inf"))
        self.deaths.append(trio.current_time())
        if not self.returns:
            raise ValueError("mortal")


def _spec(name: str, run: Any, **options: Any) -> ChildSpec:
    return ChildSpec(name, run, **options)


@pytest.mark.parametrize("returns", [False, True])
async def test_a_dead_child_is_restarted_alone(autojump_clock: trio.testing.MockClock, returns: bool) -> None:
    """A death, by exception or by return, restarts this child and leaves the others alone."""
    neighbour, mortal = _Mortal([]), _Mortal([1.0], returns=returns)
    supervisor = Supervisor([_spec("neighbour", neighbour), _spec("mortal", mortal)])

    with journal.capture() as entries:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await trio.sleep(10)
            statistics = supervisor.statistics()
            supervisor.stop()

    assert len(mortal.births) == 2
    assert len(neighbour.births) == 1
    assert statistics.standing
    assert [(child.name, child.deaths) for child in statistics.children] == [("neighbour", 0), ("mortal", 1)]
    said = [entry.event for entry in entries]
    assert said == ["child.died", "child.restarted"]


async def test_children_start_in_order_and_stop_in_reverse(autojump_clock: trio.testing.MockClock) -> None:
    """Each child is ready before the next one begins; the last to start is the first to end."""
    story: list[str] = []

    def child(name: str) -> Any:
        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            story.append(f"{name} begins")
            await trio.sleep(1)
            story.append(f"{name} ready")
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                story.append(f"{name} ends")

        return _spec(name, run)

    supervisor = Supervisor([child("a"), child("b")])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.stop()

    assert story == ["a begins", "a ready", "b begins", "b ready", "b ends", "a ends"]
    assert {child.state for child in supervisor.statistics().children} == {ChildState.STOPPED}


async def test_a_child_that_never_gets_ready_holds_nobody_up(autojump_clock: trio.testing.MockClock) -> None:
    """After the start timeout, or an early death, the next child has its turn."""

    async def stuck(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    async def stillborn(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()
        if len(later.births) == 0:
            raise ValueError("stillborn")
        task_status.started()
        await trio.sleep_forever()

    later = _Mortal([])
    supervisor = Supervisor([_spec("stuck", stuck), _spec("stillborn", stillborn), _spec("later", later)])
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            assert len(later.births) == 1
            supervisor.stop()


async def test_an_orderly_child_finishes_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    """A child with a `Stopping` is asked and waited for; one that overstays is cancelled."""
    polite, deaf = Stopping(), Stopping()
    ends: list[tuple[str, float]] = []

    async def finishing(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await polite.wait()
        await trio.sleep(2)
        ends.append(("finished", trio.current_time()))

    async def overstaying(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            ends.append(("cancelled", trio.current_time()))

    supervisor = Supervisor(
        [
            _spec("deaf", overstaying, stopping=deaf, stop_timeout=3),
            _spec("polite", finishing, stopping=polite),
        ]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        began = trio.current_time()
        supervisor.stop()

    assert [(how, round(at - began)) for how, at in ends] == [("finished", 2), ("cancelled", 5)]


async def test_a_child_may_finish(autojump_clock: trio.testing.MockClock) -> None:
    """The return of a child that may finish is no death and brings no restart."""
    once = _Mortal([1.0], returns=True)
    supervisor = Supervisor([_spec("once", once, may_finish=True)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await trio.sleep(100)

        assert len(once.births) == 1
        assert supervisor.statistics().standing
        supervisor.stop()


async def test_the_death_of_an_essential_child_ends_all(autojump_clock: trio.testing.MockClock) -> None:
    """Without an essential child the others are stopped in order and the supervisor raises."""
    with pytest.raises(EssentialChildDied) as caught:
        await Supervisor([_spec("a", _forever), _spec("heart", _Mortal([1.0]), essential=True)]).run()

    assert isinstance(caught.value.__cause__, ValueError)


async def test_cancellation_passes(autojump_clock: trio.testing.MockClock) -> None:
    """A cancelled supervisor ends at once, children in any state, and nothing is counted as a death."""
    mortal = _Mortal([0.1, 0.1])
    supervisor = Supervisor([_spec("a", _forever), _spec("b", mortal, backoff_first=30)])
    with trio.move_on_after(5) as scope:
        await supervisor.run()

    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(scope.deadline)
    assert [child.deaths for child in supervisor.statistics().children] == [0, 1]


async def test_a_child_that_fails_while_it_is_stopped(autojump_clock: trio.testing.MockClock) -> None:
    """An error on the way out is told, and neither restarts the child nor fails the stop."""
    stopping = Stopping()
    births: list[None] = []

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        births.append(None)
        task_status.started()
        await stopping.wait()
        raise ValueError("last words")

    supervisor = Supervisor([_spec("a", run, stopping=stopping)])
    with journal.capture() as entries:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            supervisor.stop()

    assert births == [None]
    assert [entry.event for entry in entries] == ["child.died"]


def test_two_children_of_one_name_are_refused() -> None:
    """A name stands for one child in the journal and in metrics."""
    with pytest.raises(ValueError, match="one name"):
        Supervisor([_spec("a", _forever), _spec("a", _forever)])


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(
        st.lists(st.sampled_from([0.0, 0.3, 5.0, 11.0, 29.0, 70.0]), max_size=8), min_size=1, max_size=3
    ),
    max_deaths=st.integers(0, 5),
    seed=st.integers(0, 2**16),
)
def test_intensity_and_backoff(lives: list[list[float]], max_deaths: int, seed: int) -> None:
    """It gives up at exactly the first death that is one too many in its window, and never waits out of bounds."""
    window, first, cap = 60.0, 0.5, 8.0
    mortals = [_Mortal(own) for own in lives]
    specs = [
        _spec(f"m{number}", mortal, backoff_first=first, backoff_cap=cap)
        for number, mortal in enumerate(mortals)
    ]
    supervisor = Supervisor(specs, max_deaths=max_deaths, window=window, rng=Random(seed))

    async def main() -> bool:
        with trio.move_on_after(2000):
            try:
                await supervisor.run()
            except RestartIntensityExceeded:
                return True
        return False

    gave_up = _on_mock_clock(main)

    deaths = sorted(at for mortal in mortals for at in mortal.deaths)
    crowded = [
        index
        for index, at in enumerate(deaths)
        if sum(0 <= at - other <= window for other in deaths[: index + 1]) > max_deaths
    ]
    assert gave_up == bool(crowded)
    if crowded:
        # Children that died in the very same instant may all have gone before the stop reached them.
        assert all(deaths[index] == deaths[crowded[0]] for index in crowded)
    for mortal in mortals:
        attempt = 0
        for born, died, again in zip(mortal.births, mortal.deaths, mortal.births[1:], strict=False):
            attempt = 1 if died - born > cap else attempt + 1
            ceiling = min(cap, first * 2 ** (attempt - 1))
            assert ceiling / 2 - 1e-9 <= again - died <= ceiling + 1e-9


async def test_a_child_comes_and_goes_while_the_others_live(autojump_clock: trio.testing.MockClock) -> None:
    """One that is added stands where it was put, is supervised as any other, and is forgotten when it was removed."""
    first, last, late = _Mortal([]), _Mortal([]), _Mortal([1.0])
    supervisor = Supervisor([_spec("first", first), _spec("last", last)], rng=Random(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.add(_spec("late", late), after="first")
        await trio.sleep(5)
        assert [child.name for child in supervisor.statistics().children] == ["first", "late", "last"]
        assert len(late.births) == 2
        with pytest.raises(ValueError, match="one name: late"):
            supervisor.add(_spec("late", late), after="first")
        with pytest.raises(ValueError, match="no child nobody"):
            supervisor.add(_spec("other", late), after="nobody")
        await supervisor.remove("late")
        await supervisor.remove("late")
        assert [child.name for child in supervisor.statistics().children] == ["first", "last"]
        supervisor.add(_spec("late", late), after="last")
        await trio.sleep(1)
        assert len(late.births) == 3
        supervisor.stop()
        await trio.sleep(1)

    assert {child.state for child in supervisor.statistics().children} == {ChildState.STOPPED}
    assert len(first.births) == len(last.births) == 1


async def test_no_child_is_added_to_what_stops(autojump_clock: trio.testing.MockClock) -> None:
    """A reload that meets a stop starts nothing that would have to be stopped again."""
    late = _Mortal([])
    supervisor = Supervisor([_spec("one", _forever)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.stop()
        supervisor.add(_spec("late", late), after="one")

    assert late.births == []
