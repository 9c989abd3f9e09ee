"""Comparing a node with the shop, for when its place in the log is not known, and now and then to prove that nothing drifted.

A new node, a node that lost its disk, a database that was restored: in each case the log does not say what the node lacks.
Both sides sum their credentials into 256 buckets; only buckets whose sums differ are listed and compared name by name, a
bounded group of buckets at a time.

- What the node lacks, or holds in an older version, is sent.
- What the node holds in a *newer* version than the shop was forgotten by the shop (a restore). The database decides: its
  version is raised above the node's, and the log carries it.
- What the shop does not know at all is a stranger. It is removed only when it was seen so before, some time ago, and only
  while strangers are a small share of the node: a foreign or an empty database would make every customer a stranger.

The node is read before the shop, so a credential that is sold meanwhile is never mistaken for a stranger. Nothing is concluded
from a node that gives no answer: an error leaves everything as it was noted before, and the next comparison starts anew.

The node is told the place in the log from which it is followed last of all, with the place 0 before. A node that greets from
there was left in the midst of a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient
from vpnd.nodes.model import AccessChange, NodeBuckets
from vpnd.runtime.journal import get_journal
from vpnd.shop import access_log, nodes
from vpnd.shop.comparison import outrun
from vpnd.shop.nodes import Suspects

journal = get_journal("workers")

#: Credentials that one listing may bring into memory (the agent's own bound is 50 000).
MAX_LISTED: Final = 20_000

#: Credentials of the shop read by one query.
SHOP_PAGE: Final = 5_000

#: Credentials sent in one call.
SEND_BATCH: Final = 1_000

#: A stranger is removed when it was first seen at least this many seconds ago.
STRANGER_AGE: Final = 30

#: Strangers are removed only while they are at most this share of what the node holds, or this few.
STRANGERS_SHARE: Final = 0.05
STRANGERS_FEW: Final = 10

#: Strangers kept in mind until the next comparison, and removed by one; the rest is found again by the next.
MAX_SUSPECTS: Final = 1_000


@frozen
class Comparison:
    """What a comparison did.

    Attributes:
        epoch, seq: the place in the log from which the node can be followed.
        sent: credentials that the node lacked or held in an older version.
        raised: versions of the shop that were raised above the node's.
        removed: strangers that were removed.
        suspects: strangers that were left alone, to be looked at again.
        foreign: they are too many to be strangers; none was removed.
    """

    epoch: str
    seq: int
    sent: int
    raised: int
    removed: int
    suspects: int
    foreign: bool


@define
class _Differences:
    """What differs in one group of buckets."""

    outdated: list[AccessChange] = field(factory=list)
    forgotten: dict[str, int] = field(factory=dict)
    strangers: list[AccessChange] = field(factory=list)

    @classmethod
    def between(cls, theirs: Iterable[AccessChange], ours: Iterable[AccessChange]) -> _Differences:
        found = cls()
        held = {change.name: change for change in theirs}
        for change in ours:
            other = held.pop(change.name, None)
            if other is None or other.version < change.version:
                found.outdated.append(change)
            elif other != change:
                found.forgotten[change.name] = other.version
        # A credential that is off and unknown to the shop hurts nobody.
        found.strangers = [change for change in held.values() if change.active]
        return found


@define
class _Strangers:
    """The strangers of all groups: all are counted, a bounded number is kept."""

    known: Suspects
    count: int = 0
    due: list[AccessChange] = field(factory=list)
    waiting: dict[str, int] = field(factory=dict)

    def add(self, strangers: Iterable[AccessChange]) -> None:
        for change in strangers:
            self.count += 1
            first_seen = self.known.first_seen.get(change.name)
            if first_seen is not None and self.known.now - first_seen >= STRANGER_AGE:
                self.due.append(change)  # not more than were kept in mind
            elif first_seen is not None or len(self.waiting) < MAX_SUSPECTS:
                self.waiting[change.name] = self.known.now if first_seen is None else first_seen


async def compare(db: Database, client: NodeClient, node: str) -> Comparison:
    """Compare `node` with the shop and mend what may be mended; returns the place from which it can be followed.

    Raises:
        NodeError: the node could not be asked or told; no stranger is noted, the next comparison starts anew.
        DatabaseError: likewise.
    """
    head = await access_log.head(db)
    theirs = await client.buckets()
    ours = await access_log.buckets(db)
    strangers = _Strangers(await nodes.suspects(db, node))
    sent = raised = 0
    for group in _groups(theirs, ours):
        held = await client.members(group)
        found = _Differences.between(held, await _shop_members(db, group))
        strangers.add(found.strangers)
        raised += await outrun(db, found.forgotten)
        await _send(client, head.epoch, found.outdated)
        sent += len(found.outdated)
    foreign = _are_foreign(node, strangers.count, sum(bucket.count for bucket in theirs.buckets))
    removals = [] if foreign else _removals(strangers.due)
    await _send(client, head.epoch, removals)
    # From here on the node is followed: what changed since `head` was read comes by the log.
    await client.push(head.epoch, head.last_seq, [], adopt=True)
    await _keep_in_mind(db, node, strangers, removed=bool(removals))
    return Comparison(
        epoch=head.epoch,
        seq=head.last_seq,
        sent=sent,
        raised=raised,
        removed=len(removals),
        suspects=strangers.count - len(removals),
        foreign=foreign,
    )


def _groups(theirs: NodeBuckets, ours: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the buckets that differ, in groups that bring at most `MAX_LISTED` credentials (or one bucket) each."""
    groups: list[list[int]] = []
    room = 0
    for number, (bucket, own) in enumerate(zip(theirs.buckets, ours, strict=True)):
        if (bucket.count, bucket.sum) == own:
            continue
        size = max(bucket.count, own[0])
        if not groups or size > room:
            groups.append([])
            room = MAX_LISTED
        groups[-1].append(number)
        room -= size
    return groups


async def _shop_members(db: Database, group: Sequence[int]) -> list[AccessChange]:
    members: list[AccessChange] = []
    after: str | None = None
    while True:
        page = await access_log.bucket_members(db, group, SHOP_PAGE, after=after)
        members += [AccessChange(one.name, one.uuid, one.version, one.active) for one in page]
        if len(page) < SHOP_PAGE:
            return members
        after = page[-1].name


async def _send(client: NodeClient, epoch: str, changes: Sequence[AccessChange]) -> None:
    for start in range(0, len(changes), SEND_BATCH):
        await client.push(epoch, 0, changes[start : start + SEND_BATCH], adopt=True)


def _are_foreign(node: str, strangers: int, held: int) -> bool:
    """Whether these are so many that the database, and not the node, must be the wrong one; says so."""
    if strangers <= max(STRANGERS_FEW, held * STRANGERS_SHARE):
        return False
    journal.error(
        "node.foreign",
        message=f"node {node} holds {strangers} credentials of {held} that the shop does not know; none is removed."
        " Is this the right database?",
        node=node,
        strangers=strangers,
        held=held,
    )
    return True


def _removals(strangers: Iterable[AccessChange]) -> list[AccessChange]:
    return [AccessChange(change.name, change.uuid, change.version + 1, active=False) for change in strangers]


async def _keep_in_mind(db: Database, node: str, strangers: _Strangers, *, removed: bool) -> None:
    kept: Mapping[str, int] = strangers.waiting
    if not removed:  # they are due still, when they are few again
        kept = {c.name: strangers.known.first_seen[c.name] for c in strangers.due} | strangers.waiting
    if kept != strangers.known.first_seen:
        await nodes.save_suspects(db, node, kept)
