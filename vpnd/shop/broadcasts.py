"""Broadcasts: one message for many, with what became of it for each of them in the database.

    draft → running ⇄ paused → done            by start, pause, resume; done once everybody was served
    running, paused → stopped                  for good: who was not served yet is not

Who registers after the start is not asked, and who cannot be reached is not either. How the recipients are found and served is
`vpnd.shop.broadcast_rows`' matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import asdict, frozen

from vpnd.database.scope import Transaction
from vpnd.shop import broadcast_rows
from vpnd.shop.source import Source, fetchrow, in_transaction

__all__ = [
    "Progress",
    "Segment",
    "State",
    "create",
    "pause",
    "progress",
    "reach",
    "resume",
    "start",
    "stop",
]

State = Literal["draft", "running", "paused", "stopped", "done"]


@frozen(kw_only=True)
class Segment:
    """Who is meant: customers for whom all that is set is true.

    Attributes:
        languages: he speaks one of these.
        active: he has access now, or has none.
        trial: he is trying now, or is not.
        bought: he has bought before, or never has.
        plans: he has access by one of these.
    """

    languages: Sequence[str] | None = None
    active: bool | None = None
    trial: bool | None = None
    bought: bool | None = None
    plans: Sequence[str] | None = None


@frozen
class Progress:
    """How far a broadcast is. `total` grows until it is `filled`."""

    id: int
    title: str
    state: State
    filled: bool
    total: int
    sent: int
    unreachable: int
    failed: int
    repeated: int
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def waiting(self) -> int:
        """How many are still to be served, of those written down."""
        return self.total - self.sent - self.unreachable - self.failed


async def create(
    source: Source,
    *,
    content: Mapping[str, Any],
    segment: Segment,
    created_by: str,
    title: str = "",
) -> int:
    """Keep a draft and return its id.

    Args:
        content: {"copy": {"from_chat_id", "message_id"}}, {"text": {language: text}}, or {"notice": {"template", …}}, which is
            put into words for each recipient and served before the others; "buttons" if it has any. What it means is known to
            whoever sends it.

    Raises ValueError for content that is none of these.
    """
    if sum(kind in content for kind in ("copy", "text", "notice")) != 1:
        raise ValueError("a broadcast either copies a message, has a text, or is a notice")
    chosen = {name: value for name, value in asdict(segment).items() if value is not None}

    async def body(tx: Transaction) -> int:
        return int(
            await tx.fetchval(
                "insert into broadcasts (title, content, segment, created_by) values ($1, $2, $3, $4) returning id",
                title,
                dict(content),
                chosen,
                created_by,
            )
        )

    return await in_transaction(source, "broadcasts.create", body)


async def reach(source: Source, segment: Segment) -> int:
    """How many customers are meant now. Counted a page of customers at a time, so it takes seconds for a million."""
    chosen = {name: value for name, value in asdict(segment).items() if value is not None}
    found, after = 0, 0
    while True:
        last, meant = await broadcast_rows.meant_after(source, chosen, after)
        if last is None:
            return found
        found, after = found + meant, last


async def start(source: Source, broadcast_id: int) -> bool:
    """Begin to send a draft; False if it is none. Wake the runner after the commit."""
    return await _move(
        source,
        broadcast_id,
        "state = 'running', started_at = vpnd_now(), fill_through = (select coalesce(max(id), 0) from customers)",
        "draft",
    )


async def pause(source: Source, broadcast_id: int) -> bool:
    """Send no more until it is resumed, except for the few that are in hand; False if it does not run."""
    return await _move(source, broadcast_id, "state = 'paused'", "running")


async def resume(source: Source, broadcast_id: int) -> bool:
    """Go on; False if it is not paused. Wake the runner after the commit."""
    return await _move(source, broadcast_id, "state = 'running'", "paused")


async def stop(source: Source, broadcast_id: int) -> bool:
    """End it for good; False if it neither runs nor is paused."""
    return await _move(
        source,
        broadcast_id,
        "state = 'stopped', finished_at = clock_timestamp()",
        "running",
        "paused",
    )


async def _move(source: Source, broadcast_id: int, to: str, *from_states: State) -> bool:
    async def body(tx: Transaction) -> bool:
        sql = f"update broadcasts set {to} where id = $1 and state = any($2::text[])"  # noqa: S608 (only constants)
        return await tx.execute(sql, broadcast_id, list(from_states)) > 0

    return await in_transaction(source, "broadcasts.move", body)


async def progress(source: Source, broadcast_id: int) -> Progress | None:
    """How far a broadcast is, or None if there is none of this id."""
    row = await fetchrow(
        source,
        "broadcasts.progress",
        "select id, title, state, filled, total, sent, unreachable, failed, repeated, started_at, finished_at"
        " from broadcasts where id = $1",
        broadcast_id,
    )
    return None if row is None else Progress(*row.values())
