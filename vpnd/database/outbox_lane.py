"""One lane of a relay: what it has in hand, and when it wants more."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from attrs import define, field

from vpnd.database.outbox_rows import OutboxItem

__all__ = ["QUICK", "QUICK_BATCHES", "Lane"]

#: A lane that has begun all it had in hand within so many seconds waits for claims and not for the world: it claims ahead, and
#: batches that grow to this many times the usual one.
QUICK: Final = 0.25
QUICK_BATCHES: Final = 5


@define(eq=False)
class Lane:
    """What is in hand of one lane.

    `more`: its last claim was full, so there may be more. `quick`: see `QUICK`. `waiting` has each item with the end of its time.
    """

    name: str
    batch: int
    waiting: deque[tuple[OutboxItem, float]] = field(factory=deque)
    in_flight: set[int] = field(factory=set)
    more: bool = False
    quick: bool = False
    claimed_at: float = -math.inf

    def ready_for_more(self) -> bool:
        """Whether a batch may be claimed: when all is begun, or before, where that takes no time."""
        return len(self.waiting) <= self.batch if self.quick and self.more else not self.waiting
