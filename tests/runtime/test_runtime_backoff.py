"""Waiting times between attempts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.runtime.backoff import jittered_backoff


@given(st.integers(-5, 100_000), st.floats(0.01, 10), st.floats(10, 10_000), st.integers())
def test_wait_stays_in_the_upper_half_of_its_ceiling(
    attempt: int, first: float, cap: float, seed: int
) -> None:
    """Whatever the attempt, the wait is at least half of its ceiling and never above the cap."""
    wait = jittered_backoff(attempt, first, cap, Random(seed))
    ceiling = min(cap, first * 2.0 ** min(max(attempt, 1) - 1, 40))
    assert ceiling / 2 <= wait <= ceiling <= cap


def test_ceiling_doubles_up_to_the_cap() -> None:
    """0.5, 1, 2 … and then the cap."""

    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    waits = [jittered_backoff(attempt, 0.5, 30.0, Highest()) for attempt in range(1, 9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(("first", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_senseless_bounds_are_refused(first: float, cap: float) -> None:
    """A back-off that would not wait, or whose cap is below its start, is a fault of the program."""
    with pytest.raises(ValueError, match="back-off"):
        jittered_backoff(1, first, cap, Random(0))
