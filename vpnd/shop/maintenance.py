"""The announcement of work on a node: one broadcast to everybody who has access, once for a node and a start.

It is told by the machinery of broadcasts, so it goes behind replies, receipts and notices, holds nothing in memory, survives a
kill, and can be paused and stopped. Broadcasts of this kind are served before all others: they are news of today.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import broadcasts
from vpnd.shop.broadcasts import Segment
from vpnd.shop.source import Source, fetchrow, in_transaction

__all__ = ["MEANT", "Maintenance", "announce", "announced", "moment_in_zone"]

#: Who is told: whoever has access now. Every subscription is on every node.
MEANT: Final = Segment(active=True)


@frozen
class Maintenance:
    """Work on a node, from `starts_at` to `ends_at` (UTC). `others`: there are nodes that customers can use meanwhile."""

    node: str
    starts_at: datetime
    ends_at: datetime
    others: bool

    @property
    def title(self) -> str:
        """What it is, once and for all: the broadcast's title."""
        return f"maintenance {self.node} {self.starts_at:%Y-%m-%dT%H:%M}Z"

    def content(self) -> dict[str, object]:
        """What the broadcast is to say; the words are made for each recipient when he is told."""
        return {
            "notice": {
                "template": "maintenance",
                "node": self.node,
                "starts_at": self.starts_at.isoformat(),
                "ends_at": self.ends_at.isoformat(),
                "others": self.others,
            }
        }


async def moment_in_zone(source: Source, clock: datetime, zone: str) -> tuple[datetime, datetime]:
    """The moment at which a clock in a time zone shows this (a date and a time without a zone), and the present one.

    Raises DatabaseError for a zone that PostgreSQL does not know.
    """
    row = await fetchrow(
        source,
        "maintenance.moment",
        "select $1::timestamp at time zone $2 as at, vpnd_now() as now",
        clock,
        zone,
    )
    if row is None:
        raise RuntimeError("a statement without a table has no row")
    return row["at"], row["now"]


async def announced(source: Source, what: Maintenance) -> int | None:
    """The broadcast that has announced this, or None."""
    row = await fetchrow(
        source,
        "maintenance.announced",
        "select id from broadcasts where title = $1 and state <> 'draft' order by id limit 1",
        what.title,
    )
    return None if row is None else int(row["id"])


async def announce(source: Source, what: Maintenance, *, by: str) -> tuple[int, bool]:
    """Begin to tell everybody, unless that was done before; the broadcast, and whether it is new.

    Of two that announce the same at the same time one begins it.
    """

    async def body(tx: Transaction) -> tuple[int, bool]:
        await tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", what.title)
        known = await announced(tx, what)
        if known is not None:
            return known, False
        made = await broadcasts.create(
            tx, content=what.content(), segment=MEANT, created_by=by, title=what.title
        )
        await broadcasts.start(tx, made)
        return made, True

    return await in_transaction(source, "maintenance.announce", body)
