"""Waiting times between attempts."""

from __future__ import annotations

from random import Random

__all__ = ["jittered_backoff"]

# 2**40 s is 35 000 years: the exponent is clipped only so that a counter that ran for months cannot overflow
# a float.
_MAX_EXPONENT = 40


def jittered_backoff(attempt: int, first: float, cap: float, rng: Random) -> float:
    """Return the seconds to wait before attempt number ``attempt + 1``.

    The ceiling doubles with every attempt, from ``first`` seconds to ``cap`` seconds, and the result is drawn
    evenly from the upper half of it. The lower bound keeps a broken neighbour from being hammered; the drawn
    half spreads a herd that failed together.

    Args:
        attempt: how many attempts failed so far, 1 for the first; smaller values count as 1.
        first: ceiling after the first failure, in seconds, positive.
        cap: highest ceiling, in seconds, at least ``first``.
        rng: the source of chance; tests hand in a seeded one.

    Raises:
        ValueError: ``first`` is not positive or ``cap`` is below ``first``.
    """
    if not 0 < first <= cap:
        raise ValueError(f"back-off wants 0 < first <= cap, got first={first} cap={cap}")
    exponent = min(max(attempt, 1) - 1, _MAX_EXPONENT)
    ceiling = min(cap, first * 2.0**exponent)
    return rng.uniform(ceiling / 2, ceiling)
