"""What differs between a node and the shop: which buckets are listed, and what two lists of credentials say of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field

from vpnd.database.database import Database
from vpnd.nodes.model import AccessChange, NodeBuckets
from vpnd.shop import access_log
from vpnd.shop.nodes import Memory
from vpnd.workers.node_hands import Doubt, Late

__all__ = ["MAX_LISTED", "MAX_SUSPECTS", "STRANGER_AGE", "Differences", "Doubts", "groups", "shop_members"]

#: Credentials that one listing may bring into memory (the agent's own bound is 50 000).
MAX_LISTED: Final = 20_000

#: Credentials of the shop read by one query: turning 5 000 rows into changes held the loop for 53 ms.
SHOP_PAGE: Final = 2_000

#: What takes something away is done when it was first seen so at least this many seconds ago.
STRANGER_AGE: Final = 30

#: Doubts kept in mind until the next comparison; the rest is found again by the next.
MAX_SUSPECTS: Final = 1_000


@define
class Differences:
    """What differs in one group of buckets; `switched` is by how many more will be on there once it has what it lacks."""

    late: dict[Late, list[AccessChange]] = field(factory=lambda: {"missing": [], "older": []})
    given: dict[str, int] = field(factory=dict)
    doubts: list[Doubt] = field(factory=list)
    buried: dict[int, tuple[int, int]] = field(factory=dict)
    switched: int = 0

    @classmethod
    def between(cls, theirs: Iterable[AccessChange], ours: Iterable[AccessChange]) -> Differences:
        found = cls()
        held = {change.name: change for change in theirs}
        for change in ours:
            other = held.pop(change.name, None)
            if change.active and (other is None or not other.active):
                found.switched += 1
            if other is None:
                found.late["missing"].append(change)
            elif other.version < change.version:
                found.switched -= other.active and not change.active
                found.late["older"].append(change)
            elif other != change:
                loses = other.active and (not change.active or other.uuid != change.uuid)
                if loses:
                    found.doubts.append(Doubt("newer", other))
                else:
                    found.given[change.name] = other.version
        for change in held.values():
            if change.active:
                found.doubts.append(Doubt("stranger", change))
            else:  # hurts nobody, and stays in the node's sums
                count, total = found.buried.get(change.bucket, (0, 0))
                found.buried[change.bucket] = (count + 1, total + change.value)
        return found


@define
class Doubts:
    """The doubts of all groups: all are counted, a bounded number is kept."""

    memory: Memory
    strangers: int = 0
    newer: int = 0
    fresh: int = 0
    due: list[Doubt] = field(factory=list)
    waiting: list[Doubt] = field(factory=list)

    def add(self, doubts: Iterable[Doubt]) -> None:
        for doubt in doubts:
            self.strangers += doubt.kind == "stranger"
            self.newer += doubt.kind == "newer"
            first_seen = self.memory.first_seen.get(doubt.theirs.name)
            if first_seen is None:
                if self.fresh < MAX_SUSPECTS - len(self.memory.first_seen):
                    self.fresh += 1
                    self.waiting.append(doubt)
            elif self.memory.now - first_seen >= STRANGER_AGE:
                self.due.append(doubt)  # not more than were kept in mind
            else:
                self.waiting.append(doubt)

    def first_seen(self, left: Iterable[Doubt]) -> dict[str, int]:
        names = [doubt.theirs.name for doubt in left]
        return {name: self.memory.first_seen.get(name, self.memory.now) for name in names}


def groups(
    theirs: NodeBuckets, ours: Sequence[tuple[int, int]], buried: Mapping[int, tuple[int, int]] | None = None
) -> list[list[int]]:
    """Return the buckets that differ, in groups that bring at most `MAX_LISTED` credentials (or one bucket) each.

    What is known to be `buried` on the node makes no difference.
    """
    groups: list[list[int]] = []
    room = 0
    for number, (bucket, own) in enumerate(zip(theirs.buckets, ours, strict=True)):
        count, total = (buried or {}).get(number, (0, 0))
        if (bucket.count - count, bucket.sum - total) == own:
            continue
        size = max(bucket.count, own[0])
        if not groups or size > room:
            groups.append([])
            room = MAX_LISTED
        groups[-1].append(number)
        room -= size
    return groups


async def shop_members(db: Database, group: Sequence[int]) -> list[AccessChange]:
    members: list[AccessChange] = []
    after: str | None = None
    while True:
        page = await access_log.bucket_members(db, group, SHOP_PAGE, after=after)
        members += [AccessChange(one.name, one.uuid, one.version, one.active) for one in page]
        if len(page) < SHOP_PAGE:
            return members
        after = page[-1].name
