"""The arithmetic of limits: what is granted never exceeds them, whatever the order of calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.telegram.buckets import Bucket, RollingWindow

STEPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4)), max_size=120)


@given(steps=STEPS, limit=st.integers(1, 12), seconds=st.floats(0.1, 5))
def test_no_window_holds_more_than_its_limit(
    steps: list[tuple[float, int]], limit: int, seconds: float
) -> None:
    """In any span of `seconds`, at most `limit` tokens are granted."""
    window, now, granted = RollingWindow(limit, seconds), 0.0, []
    for pause, count in steps:
        now += pause
        if window.free_at(count) <= now:
            window.take(now, count)
            granted += [now] * min(count, limit)
        for end in granted:
            assert sum(1 for at in granted if end <= at < end + seconds * (1 - 1e-9)) <= limit


@given(steps=STEPS, rate=st.floats(0.1, 40), burst=st.integers(1, 8))
def test_no_bucket_gives_more_than_burst_and_rate(
    steps: list[tuple[float, int]], rate: float, burst: int
) -> None:
    """In any span of t seconds, at most burst + rate * t tokens are granted."""
    bucket, now, granted = Bucket(rate, burst), 0.0, []
    for pause, wanted in steps:
        count = min(wanted, burst)
        now += pause
        if bucket.free_at(count) <= now:
            bucket.take(now, count)
            granted += [now] * count
        for begin in granted:
            assert sum(1 for at in granted if at >= begin) <= burst + rate * (now - begin) + 1e-6


@given(limit=st.integers(2, 30), lower=st.integers(1, 30))
def test_a_lowered_window_obeys_the_lower_limit_at_once(limit: int, lower: int) -> None:
    """A limit learned from a refusal holds for tokens that were given before it, too."""
    window = RollingWindow(limit, 1.0)
    window.limit = min(lower, limit)
    given_at_zero = 0
    while window.free_at() <= 0.0:
        window.take(0.0)
        given_at_zero += 1

    assert given_at_zero == window.limit


def test_a_free_window_is_free_exactly_when_its_oldest_token_leaves() -> None:
    """The window tells the time of the next token and is idle when nothing is left in it."""
    window = RollingWindow(2, 1.0)
    window.take(10.0)
    window.take(10.5)

    assert window.free_at() == pytest.approx(11.0)
    assert not window.is_idle(11.4)
    assert window.is_idle(11.5)


def test_a_rate_of_zero_lifts_the_limit() -> None:
    """A bucket without a rate refuses nothing and remembers nothing."""
    bucket = Bucket(0.0, 5)
    for _ in range(100):
        bucket.take(1.0)

    assert bucket.free_at() <= 1.0
    assert bucket.is_idle(1.0)
