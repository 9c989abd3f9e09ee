"""The arithmetic of Telegram's limits. No clock, no waiting: callers bring the time and do the sleeping.

Two shapes are needed. A *rolling window* holds "at most n in any m seconds", exactly, by remembering the last n times; a
token bucket that allows a burst of n would let 2n through in one second. A *bucket* holds "r a second, with bursts of b",
as one number: the time at which it would be full again.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["Bucket", "RollingWindow"]


class RollingWindow:
    """At most `limit` tokens in any `seconds`.

    `limit` may be lowered and raised again between 1 and the limit it was made with.
    """

    __slots__ = ("_times", "limit", "most", "seconds")

    def __init__(self, limit: int, seconds: float) -> None:
        self.most = limit
        self.limit = limit
        self.seconds = seconds
        self._times: deque[float] = deque(maxlen=limit)

    def free_at(self, count: int = 1) -> float:
        """Return when `count` tokens may be taken; a time in the past means now. More than `limit` count as `limit`."""
        # The token that must have left the window is the one `limit - count` places before the newest.
        back = self.limit - min(count, self.limit) + 1
        return self._times[-back] + self.seconds if len(self._times) >= back else 0.0

    def take(self, now: float, count: int = 1) -> None:
        """Take `count` tokens at time `now`."""
        for _ in range(min(count, self.most)):
            self._times.append(now)

    def follow(self, former: RollingWindow) -> None:
        """Take over the newest tokens of another window: a changed limit is no reason to send more within one second."""
        self._times.extend(former._times)

    def is_idle(self, now: float) -> bool:
        """Say whether every token has left the window."""
        return not self._times or self._times[-1] + self.seconds <= now


@attrs.define
class Bucket:
    """`rate` tokens a second, at most `burst` at once; a rate of 0 or less is no limit."""

    rate: float
    burst: int
    full_at: float = 0.0

    def free_at(self, count: int = 1) -> float:
        """Return when `count` tokens may be taken; a time in the past means now. More than `burst` count as `burst`."""
        if self.rate <= 0:
            return 0.0
        return self.full_at - (self.burst - min(count, self.burst)) / self.rate

    def take(self, now: float, count: int = 1) -> None:
        """Take `count` tokens at time `now`."""
        if self.rate > 0:
            self.full_at = max(self.full_at, now) + count / self.rate

    def is_idle(self, now: float) -> bool:
        """Say whether it is full again and so remembers nothing."""
        return self.full_at <= now
