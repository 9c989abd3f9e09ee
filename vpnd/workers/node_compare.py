"""Comparing a node with the shop, for when its place in the log is not known.

A new node, a node that lost its disk, a database that was restored: in each case the log does not say what the node lacks.
Both sides sum their credentials into 256 buckets; only buckets whose sums differ are listed and compared name by name.

- What the node lacks, or holds in an older version, is sent.
- What the node holds in a *newer* version than the shop was forgotten by the shop (a restore). The database decides: its
  version is raised above the node's, and the log carries it.
- What the shop does not know at all is a stranger. It is removed only after it was seen in two comparisons, and only while
  strangers are a small share of the node: a foreign or an empty database would make every customer a stranger.

The node is read before the shop, so a credential that is sold meanwhile is never mistaken for a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient
from vpnd.nodes.model import AccessChange, NodeBuckets
from vpnd.runtime.journal import get_journal
from vpnd.shop import access_log
from vpnd.shop.comparison import outrun

journal = get_journal("workers")

#: Credentials that one listing may bring into memory (the agent's own bound is 50 000).
MAX_LISTED: Final = 20_000

#: Credentials sent in one call.
SEND_BATCH: Final = 1_000

#: Strangers are removed only while they are at most this share of what the node holds, or this few.
STRANGERS_SHARE: Final = 0.05
STRANGERS_FEW: Final = 10

#: Strangers kept in mind until the next comparison; the rest is found again by it.
MAX_SUSPECTS: Final = 1_000


@frozen
class Comparison:
    """What a comparison did."""

    epoch: str
    seq: int
    sent: int
    raised: int
    removed: int
    suspects: int


@define
class _Findings:
    """Differences of the buckets listed so far."""

    outdated: list[AccessChange] = field(factory=list)
    forgotten: dict[str, int] = field(factory=dict)
    strangers: dict[str, AccessChange] = field(factory=dict)

    def add(self, theirs: Iterable[AccessChange], ours: Iterable[AccessChange]) -> None:
        held = {change.name: change for change in theirs}
        for change in ours:
            other = held.pop(change.name, None)
            if other is None or other.version < change.version:
                self.outdated.append(change)
            elif other != change:
                self.forgotten[change.name] = other.version
        # A credential that is off and unknown to the shop hurts nobody.
        self.strangers |= {name: change for name, change in held.items() if change.active}


async def compare(db: Database, client: NodeClient, node: str) -> Comparison:
    """Compare `node` with the shop and mend what may be mended; returns the place from which it can be followed.

    Raises:
        NodeError: the node could not be asked or told; nothing is noted, the next comparison starts anew.
        DatabaseError: likewise.
    """
    head = await access_log.head(db)
    theirs = await client.buckets()
    ours = await access_log.buckets(db)
    findings = _Findings()
    for group in _groups(theirs, ours):
        held = await client.members(group)
        findings.add(held, await _shop_members(db, group))
    raised = await outrun(db, findings.forgotten)
    removals = await _judge_strangers(db, node, findings.strangers, sum(b.count for b in theirs.buckets))
    changes = [*findings.outdated, *removals]
    for start in range(0, len(changes), SEND_BATCH):
        await client.push(head.epoch, 0, changes[start : start + SEND_BATCH], adopt=True)
    # Last of all: from here on the node is followed, and what changed since `head` was read comes by the log.
    await client.push(head.epoch, head.last_seq, [], adopt=True)
    return Comparison(
        epoch=head.epoch,
        seq=head.last_seq,
        sent=len(findings.outdated),
        raised=raised,
        removed=len(removals),
        suspects=len(findings.strangers) - len(removals),
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
        page = await access_log.bucket_members(db, group, 5_000, after=after)
        members += [AccessChange(one.name, one.uuid, one.version, one.active) for one in page]
        if len(page) < 5_000:
            return members
        after = page[-1].name


async def _judge_strangers(
    db: Database, node: str, strangers: dict[str, AccessChange], held: int
) -> list[AccessChange]:
    """Return the removals of strangers that were seen before; keep the others in mind."""
    row = await db.fetchrow("nodes.suspects", "select suspects from nodes where name = $1", node)
    before: dict[str, Any] = {} if row is None else row["suspects"]
    seen_twice = [change for name, change in strangers.items() if name in before]
    if len(strangers) > max(STRANGERS_FEW, held * STRANGERS_SHARE):
        journal.error(
            "node.foreign",
            message=f"node {node} holds {len(strangers)} credentials of {held} that the shop does not know; none is removed."
            " Is this the right database?",
            node=node,
            strangers=len(strangers),
            held=held,
        )
        seen_twice = []
    removed = {change.name for change in seen_twice}
    suspects = dict.fromkeys(sorted(strangers.keys() - removed)[:MAX_SUSPECTS], 1)
    if suspects or before:
        async with db.transaction("nodes.suspects") as tx:
            await tx.execute(
                "update nodes set suspects = $2::text::jsonb where name = $1", node, json.dumps(suspects)
            )
    return [AccessChange(change.name, change.uuid, change.version + 1, active=False) for change in seen_twice]
