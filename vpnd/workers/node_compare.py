"""Comparing a node with the shop: when its place in the log is not known, and every ten minutes to prove that nothing drifted.

A new node, a node that lost its disk, a database that was restored: in each case the log does not say what the node lacks.
Both sides sum their credentials into 256 buckets; only buckets whose sums differ are listed and compared name by name, a
bounded group of buckets at a time.

- What the node lacks, or holds in an older version, is sent.
- What the node holds in a *newer* version than the shop was forgotten by the shop (a restore). The database decides: its
  version is raised above the node's, and the log carries it.
- What the shop does not know at all is a stranger, and is switched off.

Two of these take something away: a stranger that is on, and a newer credential that is on there and off, or another, here.
They are *doubts*: taken away only when seen so before, at least half a minute ago, only as many as the caller allows,
and only while the database need not be the wrong one. If it may be, the node is stopped and waits for a person
(`vpnd.shop.node_stops`); meanwhile everything that gives goes on.

The node is read before the shop, so a credential that is sold meanwhile is never mistaken for a stranger. Nothing is concluded
from a node that gives no answer: an error leaves everything as it was noted before, and the next comparison starts anew.

A comparison that *adopts* tells the node the place in the log from which it is followed last of all, with the place 0 before. A
node that greets from there was left in the midst of one. Any other comparison leaves the node's place alone, so it can meet the
follower, another comparison, or itself in another process: whatever it sends is present state with its version, and the node
takes the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

from attrs import define, field, frozen

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeError
from vpnd.nodes.model import AccessChange
from vpnd.runtime.journal import get_journal
from vpnd.shop import access_log, comparison, node_stops, nodes
from vpnd.shop.access_log import Head
from vpnd.shop.node_stops import Judgement, Seen, Stop
from vpnd.workers import node_gauges
from vpnd.workers.node_differences import Differences, Doubts, groups, shop_members
from vpnd.workers.node_hands import Doubt, Hands, Late

journal = get_journal("workers")

#: What the log has carried for less than this is on its way, and no difference.
UNDER_WAY: Final = timedelta(seconds=60)


Place = Literal["followed", "unknown", "ahead"]


class NodeAhead(NodeError):
    """The node has acknowledged numbers that the log never gave: the database is an older copy of itself."""

    def __init__(self, node: str, epoch: str) -> None:
        self.reason = "is ahead of the access log: the database was restored from a backup"
        super().__init__(node, self.reason)
        self.epoch = epoch


@frozen
class Comparison:
    """What a comparison saw and did.

    Attributes:
        epoch, seq: the place in the log from which the node can be followed.
        held: credentials that were on there.
        missing, older, newer, strangers: what differed; what the log is just bringing is not counted.
        sent: credentials that the node lacked or held in an older version.
        raised: versions of the shop that were raised above the node's, at once.
        removed: doubts that were resolved by taking away.
        suspects: doubts that were left, to be looked at again.
        refused: names that the node would not take.
        place: whether the node's place in the log is known here; "ahead" says that this log never had it.
        stop: why nothing may be taken away from this node until a person says so.
        told: the admins are told of that by an alert just written.
    """

    epoch: str
    seq: int
    held: int
    missing: int
    older: int
    newer: int
    strangers: int
    sent: int
    raised: int
    removed: int
    suspects: int
    refused: tuple[str, ...]
    place: Place
    stop: Stop | None
    told: bool

    @property
    def differences(self) -> int:
        """How many credentials differed."""
        return self.missing + self.older + self.newer + self.strangers


async def compare(
    db: Database, client: NodeClient, *, hands: Hands | None = None, removals: int = 0, adopt: bool = False
) -> Comparison:
    """Compare a node with the shop and mend what may be mended.

    Args:
        db: the shop.
        client: the node.
        hands: how it is mended.
        removals: most doubts that may be resolved by taking away.
        adopt: have the node follow this log from now on, whatever it followed before.

    Raises:
        NodeEpochMismatch: the node follows another log and has to be adopted first; not with `adopt`, nor with dry hands.
        NodeAhead: the node is ahead of this log; likewise.
        NodeError: the node could not be asked or told; no doubt is noted, the next comparison starts anew.
        DatabaseError: likewise.
    """
    return await _Run(db, client, hands or Hands(db, client, adopt=adopt), removals, adopt).go()


@define
class _Run:
    """One comparison under way."""

    db: Database
    client: NodeClient
    hands: Hands
    removals: int
    adopt: bool
    place: Place = "unknown"
    users: int = 0
    known: int = 0
    switched: int = 0
    given: int = 0
    sent: int = 0
    raised: int = 0
    late: dict[Late, int] = field(factory=lambda: {"missing": 0, "older": 0})
    refused: list[AccessChange] = field(factory=list)
    doubts: Doubts = field(init=False)
    judged_early: Judgement | None = None

    async def go(self) -> Comparison:
        head = await self._find_place()
        theirs = await self.client.buckets()
        ours = await access_log.buckets(self.db)
        memory = await nodes.memory(self.db, self.client.name)
        self.known = sum(count for count, _ in ours)
        self.doubts = Doubts(memory)
        buried = dict(memory.buried)
        for group in groups(theirs, ours, memory.buried):
            found = await self._mend(head.epoch, group)
            for bucket in group:
                buried.pop(bucket, None)
            buried |= found.buried
            await self._judge_early()
        judgement = await self._judge()
        removed, left = await self._take(head.epoch, judgement)
        if removed and self.refused:
            # A stranger may have stood in the way: to a core, one uuid is one user.
            again = await self.hands.send(head.epoch, self.refused, "missing")
            self.sent += len(self.refused) - len(again)
            self.refused = list(again)
        self._tell_refused()
        if self.adopt:
            # From here on the node is followed: what changed since `head` was read comes by the log.
            await self.client.push(head.epoch, head.last_seq, [], adopt=True)
        first_seen = self.doubts.first_seen(left)
        if not self.hands.dry and (first_seen != memory.first_seen or buried != memory.buried):
            await nodes.save_memory(self.db, self.client.name, first_seen, buried)
        return self._result(head, judgement, removed)

    async def _find_place(self) -> Head:
        # What the node is followed from is read before the node is; whether it is ahead can be judged only after.
        before = await access_log.head(self.db) if self.adopt else None
        status = await self.client.status()
        self.users = status.users
        if before is not None:
            return before
        head = await access_log.head(self.db)
        if status.epoch != head.epoch:
            if not self.hands.dry:
                raise NodeEpochMismatch(self.client.name, status.epoch)
        elif status.seq > head.last_seq:
            self.place = "ahead"
            if not self.hands.dry:
                raise NodeAhead(self.client.name, head.epoch)
        else:
            self.place = "followed"
        return head

    async def _mend(self, epoch: str, group: Sequence[int]) -> Differences:
        held = await self.client.members(group)
        found = Differences.between(held, await shop_members(self.db, group))
        self.doubts.add(found.doubts)
        self.switched += found.switched  # by this comparison, or by the log
        for kind, changes in found.late.items():
            late = await self._without_those_under_way(changes)
            refused = await self.hands.send(epoch, late, kind) if late else ()
            self.refused += refused
            self.late[kind] += len(late)
            self.sent += len(late) - len(refused)
        if found.given:
            self.given += len(found.given)
            self.raised += await self.hands.give(found.given)
        return found

    async def _without_those_under_way(self, changes: list[AccessChange]) -> list[AccessChange]:
        if not changes or self.place != "followed":
            return changes
        names = [change.name for change in changes]
        coming = await comparison.under_way(self.db, names, UNDER_WAY)
        return [change for change in changes if change.name not in coming]

    # ------------------------------------------------------------------ what may be taken away

    def _seen(self, beyond: int = 0) -> Seen:
        doubts = self.doubts
        return Seen(
            held=self.users + self.switched + beyond,
            strangers=doubts.strangers,
            newer=doubts.newer + self.given,
            doubted=doubts.strangers + doubts.newer,
            known=self.known,
        )

    async def _judge_early(self) -> None:
        """Stop as soon as nothing that is still to come can change that: a comparison of very much may never end."""
        if (
            self.hands.dry
            or self.judged_early is not None
            or node_stops.reason_to_stop(self._seen(self.known)) is None
        ):
            return
        self.judged_early = await node_stops.judge(self.db, self.client.name, self._seen())
        self._tell(self.judged_early)

    async def _judge(self) -> Judgement:
        if self.hands.dry:
            return await node_stops.foresee(self.db, self.client.name, self._seen())
        judgement = await node_stops.judge(self.db, self.client.name, self._seen())
        self._tell(judgement)
        return judgement

    async def _take(self, epoch: str, judgement: Judgement) -> tuple[int, list[Doubt]]:
        """Resolve what is due; return how many that were, and what is left to be looked at again."""
        due, waiting = self.doubts.due, self.doubts.waiting
        if judgement.stop is not None:
            await self.hands.leave([*due, *waiting], "stopped")
            return 0, [*due, *waiting]
        now, later = due[: self.removals], due[self.removals :]
        removed = await self.hands.take(epoch, now) if now else 0
        await self.hands.leave(later, "next time")
        await self.hands.leave(waiting, "seen once")
        return removed, [*later, *waiting]

    # ------------------------------------------------------------------ how it went

    def _tell(self, judgement: Judgement) -> None:
        node, stop = self.client.name, judgement.stop
        node_gauges.stopped.labels(node).set(stop is not None)
        if judgement.over:
            journal.info(
                "node.resumed", message=f"node {node} holds what the shop says again, as accepted", node=node
            )
        if stop is not None and judgement.told:
            journal.error(
                "node.stopped",
                message=f"nothing is taken away from node {node} until a person has looked ({stop.reason}): it serves"
                f" {stop.held} credentials, the shop does not know {stop.strangers} of them, and {stop.newer} are newer there."
                " Is this the right database?",
                node=node,
                reason=stop.reason,
                held=stop.held,
                strangers=stop.strangers,
                newer=stop.newer,
            )

    def _tell_refused(self) -> None:
        for change in self.refused:
            journal.error(
                "node.credential_refused",
                message=f"node {self.client.name} refuses the credential {change.name} and takes all others",
                node=self.client.name,
                name=change.name,
            )

    def _result(self, head: Head, judgement: Judgement, removed: int) -> Comparison:
        doubts, early = self.doubts, self.judged_early
        result = Comparison(
            epoch=head.epoch,
            seq=head.last_seq,
            held=self.users,
            missing=self.late["missing"],
            older=self.late["older"],
            newer=doubts.newer + self.given,
            strangers=doubts.strangers,
            sent=self.sent,
            raised=self.raised,
            removed=removed,
            suspects=doubts.strangers + doubts.newer - removed,
            refused=tuple(change.name for change in self.refused),
            place=self.place,
            stop=judgement.stop,
            told=judgement.told or (early is not None and early.told),
        )
        if not self.hands.dry:
            _measure(self.client.name, result)
        return result


def _measure(node: str, result: Comparison) -> None:
    for kind in node_gauges.DIFFERENCES:
        node_gauges.differences.labels(node, kind).set(getattr(result, kind))
    for how in node_gauges.MENDED:
        node_gauges.mended_total.labels(node, how).inc(getattr(result, how))
    node_gauges.compared_timestamp_seconds.labels(node).set_to_current_time()


def tell_comparison(node: str, reason: str, result: Comparison) -> None:
    """Say in the journal that a node was compared, why, and what came of it."""
    journal.info(
        "node.compared",
        message=f"node {node} was compared ({reason}): {result.sent} sent, {result.raised} versions raised,"
        f" {result.removed} taken away, {result.suspects} suspected",
        node=node,
        reason=reason,
        sent=result.sent,
        raised=result.raised,
        removed=result.removed,
        suspects=result.suspects,
        stopped=result.stop is not None,
    )


def tell_restore(node: str, epoch: str) -> None:
    """Say that a database was found to be an older copy of itself."""
    journal.error(
        "node.ahead",
        message=f"node {node} is ahead of the access log: the database was restored from a backup."
        " A new epoch begins, every node is compared, and nothing is taken away from any until a person accepts it",
        node=node,
        epoch=epoch,
    )
