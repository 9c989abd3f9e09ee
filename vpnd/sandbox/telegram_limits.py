"""Telegram's flood limits: messages a second in all, a second a chat, and a minute a group.

Only accepted messages count. The numbers are the advice of Telegram's own FAQ; the short burst a chat is allowed is one more than
the usual advice, so that a client that paces itself exactly is not refused for a jitter on the wire. They run on real time.
"""

from __future__ import annotations

import math
from collections import deque

import attrs
import trio

from vpnd.sandbox.telegram_errors import flood


@attrs.define
class FloodLimits:
    """The limits and what was counted against them; `lifted` switches them all off."""

    per_second: int = 30
    per_chat: float = 1.0
    chat_burst: int = 6
    group_per_minute: int = 20
    lifted: bool = False
    refused: int = 0
    accepted: int = 0
    busiest_second: int = 0
    first_at: float | None = None
    last_at: float | None = None
    _window: deque[float] = attrs.field(factory=deque)
    _buckets: dict[int, tuple[float, float]] = attrs.field(factory=dict)
    _groups: dict[int, deque[float]] = attrs.field(factory=dict)

    def admit(self, chat_id: int) -> None:
        """Count one message to `chat_id`; raises ApiError 429 with retry_after when it is one too many."""
        now = trio.current_time()
        while self._window and self._window[0] <= now - 1.0:
            self._window.popleft()
        if not self.lifted:
            wait = max(self._wait_total(now), self._wait_chat(chat_id, now), self._wait_group(chat_id, now))
            if wait > 0:
                self.refused += 1
                raise flood(max(1, math.ceil(wait)))
        self._count(chat_id, now)

    def _wait_total(self, now: float) -> float:
        return self._window[0] + 1.0 - now if len(self._window) >= self.per_second else 0.0

    def _level(self, chat_id: int, now: float) -> float:
        level, at = self._buckets.get(chat_id, (float(self.chat_burst), now))
        return min(self.chat_burst, level + (now - at) * self.per_chat)

    def _wait_chat(self, chat_id: int, now: float) -> float:
        if self.per_chat <= 0:
            return 0.0
        level = self._level(chat_id, now)
        return 0.0 if level >= 1.0 else (1.0 - level) / self.per_chat

    def _wait_group(self, chat_id: int, now: float) -> float:
        if chat_id >= 0:
            return 0.0
        sent = self._groups.setdefault(chat_id, deque())
        while sent and sent[0] <= now - 60.0:
            sent.popleft()
        return sent[0] + 60.0 - now if len(sent) >= self.group_per_minute else 0.0

    def _count(self, chat_id: int, now: float) -> None:
        self.accepted += 1
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now
        self._window.append(now)
        self.busiest_second = max(self.busiest_second, len(self._window))
        if self.lifted:
            return
        self._buckets[chat_id] = (self._level(chat_id, now) - 1.0, now)
        if chat_id < 0:
            self._groups.setdefault(chat_id, deque()).append(now)
        if len(self._buckets) > 100_000:
            full = [c for c in self._buckets if self._level(c, now) >= self.chat_burst]
            for chat in full:
                del self._buckets[chat]

    def statistics(self) -> dict[str, float | int | bool | None]:
        """What was accepted and refused, for the control API; times are on the sandbox's monotonic clock."""
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "busiest_second": self.busiest_second,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "lifted": self.lifted,
        }
