"""Nodes that wait for a person: what was seen there lets the database be the wrong one, and nothing is taken away by it.

A node is stopped when one of these is seen:

    empty       the database knows no subscription at all, and the node serves somebody
    behind      the node has acknowledged changes that the log never had: the database is an older copy of itself
    strangers   the shop does not know too much of what the node serves
    newer       the node holds too much in a newer version than the shop, as it does after a restore

A stop is a row, so that a restart does not forget it. It ends in one of two ways only. A person accepts what he was shown:
then so many may be taken away, and when no more than a usual few are left the row goes. Or the database that was meant is put
in its place, which has a row of its own or none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

from attrs import field, frozen

from vpnd.database.scope import Transaction
from vpnd.shop import access_log, notices
from vpnd.shop.nodes import MAX_NODES
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "FEW",
    "SHARE",
    "Judgement",
    "Reason",
    "Seen",
    "Stop",
    "accept",
    "foresee",
    "judge",
    "note_restore",
    "reason_to_stop",
    "stop_of",
    "stops",
    "weigh",
]

Reason = Literal["empty", "behind", "strangers", "newer"]

#: What is wrong on a node is mended without a person while it is at most this share of what the node serves, or this few.
SHARE: Final = 0.05
FEW: Final = 10


@frozen
class Seen:
    """What a comparison has seen.

    Attributes:
        held: credentials that are on there once the node has what it lacks.
        strangers: of them, what the shop does not know.
        newer: credentials, on or off, that the node holds in a newer version than the shop.
        doubted: of those that are on there, what the shop would switch off or change: the strangers, and some of the newer.
        known: subscriptions of the shop, expired ones too.
    """

    held: int
    strangers: int
    newer: int
    doubted: int
    known: int

    @property
    def wrong(self) -> int:
        """What a person has to allow."""
        return self.strangers + self.newer


@frozen
class Stop:
    """A node that is stopped, or was until a person `accepted` it; the numbers are those of the last comparison."""

    node: str
    reason: Reason
    held: int
    strangers: int
    newer: int
    stopped_at: datetime
    told: bool = True
    accepted_by: str | None = None
    allowed: int | None = None

    @property
    def in_force(self) -> bool:
        """Whether nobody has accepted it yet."""
        return self.allowed is None


@frozen
class Judgement:
    """What may be done after a comparison. `stop` is the one in force, None if things may be taken away.

    `told`: the admins are told now. `over`: what a person had accepted is done.
    """

    stop: Stop | None
    told: bool = False
    over: bool = field(default=False)


def reason_to_stop(seen: Seen) -> Reason | None:
    """Why nothing may be taken away by what was seen; None if it may."""
    if not seen.wrong:
        return None
    if not seen.known:
        return "empty" if seen.strangers else None
    too_many = seen.wrong > max(FEW, seen.held * SHARE)
    # Of a small node a few are all: there, more that is doubted than not is too much.
    if not too_many and seen.doubted <= seen.held - seen.doubted:
        return None
    return "strangers" if seen.strangers * 2 >= seen.wrong else "newer"


def weigh(row: Stop | None, seen: Seen) -> Reason | None:
    """Why the node is to be stopped, given what is on record of it; None if nothing has to be."""
    if row is not None and row.in_force:
        return row.reason
    reason = reason_to_stop(seen)
    allowed = None if row is None else row.allowed
    return None if allowed is not None and seen.wrong <= allowed else reason


_COLUMNS: Final = (
    "node, reason, held, strangers, newer, stopped_at, told_at is not null as told, accepted_by, allowed"
)

_PUT: Final = f"""
insert into node_stops as s (node, reason, held, strangers, newer, told_at)
values ($1, $2, $3, $4, $5, clock_timestamp())
on conflict (node) do update set
    stopped_at = case when s.allowed is null then s.stopped_at else clock_timestamp() end,
    reason = case when s.allowed is null then s.reason else excluded.reason end,
    held = excluded.held, strangers = excluded.strangers, newer = excluded.newer, told_at = excluded.told_at,
    accepted_at = null, accepted_by = null, allowed = null
returning {_COLUMNS}
"""  # noqa: S608  a constant of this module

_ACCEPT: Final = """
insert into node_stops as s (node, reason, held, strangers, newer, told_at, accepted_at, accepted_by, allowed)
values ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp(), $6, $7)
on conflict (node) do update set held = excluded.held, strangers = excluded.strangers, newer = excluded.newer,
    told_at = excluded.told_at, accepted_at = excluded.accepted_at, accepted_by = excluded.accepted_by, allowed = excluded.allowed
"""

_RESTORED: Final = """
insert into node_stops as s (node, reason)
select name, 'behind' from (select name from nodes union select $1) known (name)
on conflict (node) do update set
    reason = 'behind', stopped_at = clock_timestamp(), told_at = null, accepted_at = null, accepted_by = null, allowed = null
    where s.allowed is not null
"""


async def stop_of(source: Source, node: str) -> Stop | None:
    """What is on record of a node; None if it neither is stopped nor was until a person accepted it."""
    row = await fetchrow(
        source,
        "node_stops.one",
        f"select {_COLUMNS} from node_stops where node = $1",  # noqa: S608  a constant of this module
        node,
    )
    return None if row is None else _stop(row)


async def stops(source: Source) -> list[Stop]:
    """All nodes that wait for a person, by name."""
    rows = await fetch(
        source,
        "node_stops.all",
        f"select {_COLUMNS} from node_stops where allowed is null order by node limit $1",  # noqa: S608  likewise
        MAX_NODES,
    )
    return [_stop(row) for row in rows]


async def judge(source: Source, node: str, seen: Seen) -> Judgement:
    """Decide by what was seen whether anything may be taken away from a node, and keep that; tells the admins once.

    Safe when two compare one node at once: the row is decided under its lock, and tells once.
    """
    row = await stop_of(source, node)
    if row is None and reason_to_stop(seen) is None:
        return Judgement(None)

    async def body(tx: Transaction) -> Judgement:
        locked = await tx.fetchrow(
            f"select {_COLUMNS} from node_stops where node = $1 for update",  # noqa: S608  likewise
            node,
        )
        known = None if locked is None else _stop(locked)
        reason = weigh(known, seen)
        if reason is None:
            over = known is not None and reason_to_stop(seen) is None
            if over:
                await tx.execute("delete from node_stops where node = $1", node)
            return Judgement(None, over=over)
        put = await tx.fetchrow(_PUT, node, reason, seen.held, seen.strangers, seen.newer)
        if put is None:
            raise RuntimeError("an upsert returned nothing")
        stop = _stop(put)
        fresh = known is None or not known.in_force or not known.told
        if fresh:
            await notices.put_all(tx, [_alert(stop)])
        return Judgement(stop, told=fresh)

    return await in_transaction(source, "node_stops.judge", body)


async def foresee(source: Source, node: str, seen: Seen) -> Judgement:
    """What `judge` would decide; nothing is kept and nobody told."""
    row = await stop_of(source, node)
    reason = weigh(row, seen)
    if reason is None:
        return Judgement(None)
    since = row.stopped_at if row is not None and row.in_force else datetime.now(UTC)
    return Judgement(
        Stop(node, reason, seen.held, seen.strangers, seen.newer, since, told=row is not None and row.told)
    )


async def note_restore(source: Source, node: str, epoch: str) -> tuple[str, bool]:
    """Note that `node` has acknowledged numbers of `epoch` that its log never gave: the database is an older copy of itself.

    A new epoch begins, and all nodes are stopped; once, however many notice it. Returns the epoch that holds now, and whether
    it was begun by this.
    """

    async def body(tx: Transaction) -> tuple[str, bool]:
        present = await tx.fetchval("select epoch from access_head for update")
        if present != epoch:
            return str(present), False
        await tx.execute(_RESTORED, node)
        return await access_log.new_epoch(tx, instead_of=epoch), True

    return await in_transaction(source, "node_stops.restored", body)


async def accept(source: Source, stop: Stop, *, by: str) -> None:
    """A person has seen these numbers and says that the database is right: so many may be taken away."""

    async def body(tx: Transaction) -> None:
        await tx.execute(
            _ACCEPT,
            stop.node,
            stop.reason,
            stop.held,
            stop.strangers,
            stop.newer,
            by,
            stop.strangers + stop.newer,
        )

    await in_transaction(source, "node_stops.accept", body)


def _alert(stop: Stop) -> notices.Notice:
    key = f"node_stopped:{stop.node}:{stop.stopped_at.timestamp():.6f}"
    args: dict[str, Any] = {
        "node": stop.node,
        "held": stop.held,
        "strangers": stop.strangers,
        "newer": stop.newer,
        "reason": stop.reason,
    }
    return notices.admin_alert(key, "node_stopped", args)


def _stop(row: Any) -> Stop:
    return Stop(
        node=row["node"],
        reason=row["reason"],
        held=row["held"],
        strangers=row["strangers"],
        newer=row["newer"],
        stopped_at=row["stopped_at"],
        told=row["told"],
        accepted_by=row["accepted_by"],
        allowed=row["allowed"],
    )
