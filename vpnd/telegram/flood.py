"""What one person may ask of the bot in a short time: a bucket of tokens for each, in a map that cannot grow.

It is asked before an update's handlers run, so what is over the limit costs no read of the database. Only presses and messages
are limited. Whatever carries money, a buyer who waits at the till, and news about the bot's own membership never are.

Over the limit a press is still answered, for its button waits; a message gets one patient answer, then silence until its
sender has been calm for as long as his bucket needs to fill, or a minute has passed.

The map forgets whoever's bucket is full again: it remembers nothing of him. If more people than it holds are busy at once, the
one who has been silent for the longest is forgotten, and may begin anew: better too patient with one than without a bound.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from vpnd.telegram.buckets import Bucket
from vpnd.telegram.update import StoredUpdate, private_chat_of

__all__ = ["MOST_PEOPLE", "TELL_EVERY", "FloodGuard", "TooFast", "Verdict"]

#: People who are remembered at once; with 20 presses that come back at two a second, each for ten seconds after his last.
MOST_PEOPLE: Final = 10_000
#: Seconds between two answers to messages of somebody who goes on.
TELL_EVERY: Final = 60.0

LIMITED: Final = frozenset({"message", "callback_query"})

#: Called with an update that is not handled, whose sender is to be told to wait.
TooFast = Callable[[StoredUpdate], Awaitable[None]]


class Verdict(enum.Enum):
    """What is to be done with an update."""

    HANDLE = "handle"
    TELL = "tell"
    SILENCE = "silence"


@attrs.define(eq=False)
class _Person:
    bucket: Bucket
    told_at: float = float("-inf")


class FloodGuard:
    """Judges updates by who sent them.

    Args:
        burst: presses and messages of one person at once; 0 lifts the limit.
        per_second: how many come back to him in a second; 0 lifts the limit.
        most: people remembered at once.
    """

    def __init__(self, burst: int, per_second: float, *, most: int = MOST_PEOPLE) -> None:
        self._burst = burst
        self._rate = per_second if burst > 0 else 0.0
        self._most = most
        self._people: dict[int, _Person] = {}

    def limit(self, burst: int, per_second: float) -> None:
        """Judge by other limits from now on; everybody begins with a full bucket."""
        self._burst = burst
        self._rate = per_second if burst > 0 else 0.0
        self._people.clear()

    def __len__(self) -> int:
        """How many people are remembered."""
        return len(self._people)

    def judge(self, update: StoredUpdate, now: float) -> Verdict:
        """Take a token for an update and say what is to be done with it; `now` in seconds of any steady clock."""
        if self._rate <= 0 or update.kind not in LIMITED:
            return Verdict.HANDLE
        # In a private chat the key is the sender's; a group, where nothing is answered, is as one.
        person = self._people.pop(update.queue_key, None) or _Person(Bucket(self._rate, self._burst))
        self._people[update.queue_key] = person
        self._forget(now)
        if person.bucket.free_at() <= now:
            person.bucket.take(now)
            return Verdict.HANDLE
        if update.kind == "callback_query":
            return Verdict.TELL
        if private_chat_of(update.payload) is None or now - person.told_at < TELL_EVERY:
            return Verdict.SILENCE
        person.told_at = now
        return Verdict.TELL

    def _forget(self, now: float) -> None:
        """Let go of who has been silent for the longest: those whose bucket is full, and whoever is too many."""
        for _ in range(2):
            key = next(iter(self._people))
            if len(self._people) <= self._most and not self._people[key].bucket.is_idle(now):
                return
            if len(self._people) > 1:
                del self._people[key]
