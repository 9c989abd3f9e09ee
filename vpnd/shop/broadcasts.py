"""Broadcasts: one message for many, with what became of it for each of them in the database.

    draft → running ⇄ paused → done            by start, pause, resume; done once everybody was served
    draft → scheduled → running                by schedule; begun when its time has come
    scheduled → draft                          by unschedule
    scheduled → missed                         its time passed with nobody there to begin it, and it was not to be made up for
    running, paused → stopped                  for good: who was not served yet is not
    draft → discarded

Who registers after the start is not asked, and who cannot be reached is not either. How the recipients are found and served is
`vpnd.shop.broadcast_rows`' matter, what is sent `vpnd.shop.broadcast_content`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.broadcast_content import VARIANT_B, check, is_complete
from vpnd.shop.segments import Segment, reach
from vpnd.shop.source import Source, as_json, fetch, fetchrow, from_json, in_transaction

__all__ = [
    "GRACE",
    "OnMissed",
    "Progress",
    "Segment",
    "State",
    "Variant",
    "create",
    "discard",
    "draft",
    "edit",
    "listed",
    "pause",
    "progress",
    "reach",
    "resume",
    "schedule",
    "start",
    "start_due",
    "stop",
    "unschedule",
]

State = Literal["draft", "scheduled", "running", "paused", "stopped", "done", "missed", "discarded"]
OnMissed = Literal["send", "skip"]

#: A time that passed less long ago was not missed: the runner was busy, or just restarted.
GRACE: Final = timedelta(minutes=5)
_TITLE: Final = 64  # letters


@frozen
class Variant:
    """What became of one variant's recipients."""

    total: int
    sent: int
    unreachable: int
    failed: int


@frozen
class Progress:
    """A broadcast, and how far it is. `total` grows until it is `filled`.

    Attributes:
        expected: customers who were counted when it was begun; None: nobody counted.
        share_b: per cent of the recipients that get variant B.
        scheduled_at: when it begins, or was to begin.
        halted: why it paused by itself.
        now: business time.
    """

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
    content: Mapping[str, Any]
    segment: Segment
    created_by: str
    created_at: datetime
    expected: int | None
    share_b: int
    scheduled_at: datetime | None
    on_missed: OnMissed
    halted: str | None
    b: Variant
    now: datetime

    @property
    def served(self) -> int:
        """How many are behind it, whatever became of them."""
        return self.sent + self.unreachable + self.failed

    @property
    def waiting(self) -> int:
        """How many are still to be served, of those written down."""
        return self.total - self.served

    @property
    def all_in_all(self) -> int:
        """How many it is for: those who were counted, until all are written down."""
        return self.total if self.filled else max(self.total, self.expected or 0)

    @property
    def a(self) -> Variant:
        """What became of variant A's recipients."""
        b = self.b
        return Variant(
            self.total - b.total, self.sent - b.sent, self.unreachable - b.unreachable, self.failed - b.failed
        )

    @property
    def has_b(self) -> bool:
        """Whether there are two variants."""
        return VARIANT_B in self.content

    @property
    def ready(self) -> bool:
        """Whether there is something to send."""
        return is_complete(self.content)


_COLUMNS: Final = (
    "id, title, state, filled, total, sent, unreachable, failed, repeated, started_at, finished_at, content, segment,"
    " created_by, created_at, expected, share_b, scheduled_at, on_missed, halted, total_b, sent_b, unreachable_b, failed_b,"
    " vpnd_now() as now"
)


def _from_row(row: Row) -> Progress:
    return Progress(
        id=row["id"],
        title=row["title"],
        state=row["state"],
        filled=row["filled"],
        total=row["total"],
        sent=row["sent"],
        unreachable=row["unreachable"],
        failed=row["failed"],
        repeated=row["repeated"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        content=from_json(row["content"]),
        segment=Segment.from_json(from_json(row["segment"])),
        created_by=row["created_by"],
        created_at=row["created_at"],
        expected=row["expected"],
        share_b=row["share_b"],
        scheduled_at=row["scheduled_at"],
        on_missed=row["on_missed"],
        halted=row["halted"],
        b=Variant(row["total_b"], row["sent_b"], row["unreachable_b"], row["failed_b"]),
        now=row["now"],
    )


# ---------------------------------------------------------------------- before it runs


async def create(
    source: Source,
    *,
    content: Mapping[str, Any],
    segment: Segment,
    created_by: str,
    title: str = "",
    share_b: int = 0,
) -> int:
    """Keep a draft that is complete and return its id.

    Args:
        content: see `vpnd.shop.broadcast_content`.
        share_b: per cent of the recipients that get variant B, if there is one.

    Raises ValueError for content that is none.
    """
    check(content)

    async def body(tx: Transaction) -> int:
        return int(
            await tx.fetchval(
                "insert into broadcasts (title, content, segment, created_by, share_b)"
                " values ($1, $2::text::jsonb, $3::text::jsonb, $4, $5) returning id",
                _short(title),
                as_json(dict(content)),
                as_json(segment.to_json()),
                created_by,
                share_b if VARIANT_B in content else 0,
            )
        )

    return await in_transaction(source, "broadcasts.create", body)


async def draft(tx: Transaction, *, created_by: str, request_key: str) -> int:
    """Begin a draft with nothing in it, once a request; its id."""
    return int(
        await tx.fetchval(
            "insert into broadcasts (content, created_by, request_key) values ('{}', $1, $2)"
            " on conflict (request_key) do update set request_key = excluded.request_key returning id",
            created_by,
            request_key,
        )
    )


async def edit(
    tx: Transaction,
    broadcast_id: int,
    *,
    content: Mapping[str, Any] | None = None,
    segment: Segment | None = None,
    title: str | None = None,
    share_b: int | None = None,
    on_missed: OnMissed | None = None,
) -> bool:
    """Change a draft; what is None stays. False if it is none any more.

    `on_missed` can be changed also while it is scheduled.
    """
    return (
        await tx.execute(
            "update broadcasts set content = coalesce($2::text::jsonb, content),"
            " segment = coalesce($3::text::jsonb, segment), title = coalesce($4, title), share_b = coalesce($5, share_b),"
            " on_missed = coalesce($6, on_missed) where id = $1 and (state = 'draft' or state = 'scheduled' and $7)",
            broadcast_id,
            None if content is None else as_json(dict(content)),
            None if segment is None else as_json(segment.to_json()),
            None if title is None else _short(title),
            share_b,
            on_missed,
            all(one is None for one in (content, segment, title, share_b)),
        )
        > 0
    )


def _short(title: str) -> str:
    return " ".join(title.replace("\x00", "").split())[:_TITLE]


async def discard(source: Source, broadcast_id: int) -> bool:
    """Throw a draft away; False if it is none."""
    return await _move(
        source, broadcast_id, "state = 'discarded', finished_at = clock_timestamp()", "draft", "scheduled"
    )


async def schedule(source: Source, broadcast_id: int, at: datetime, *, expected: int | None = None) -> bool:
    """Begin a draft at a moment of business time; False if it is none."""
    return await _move(
        source,
        broadcast_id,
        "state = 'scheduled', scheduled_at = $3, expected = $4",
        "draft",
        more=(at, expected),
    )


async def unschedule(source: Source, broadcast_id: int) -> bool:
    """Make what is scheduled a draft again; False if it is not scheduled."""
    return await _move(source, broadcast_id, "state = 'draft', scheduled_at = null", "scheduled")


# ---------------------------------------------------------------------- running

_BEGIN: Final = (
    "state = 'running', started_at = vpnd_now(), fill_through = (select coalesce(max(id), 0) from customers)"
)


async def start(source: Source, broadcast_id: int, *, expected: int | None = None) -> bool:
    """Begin to send a draft; False if it is none. Wake the runner after the commit.

    `expected`: how many were counted.
    """
    return await _move(
        source, broadcast_id, f"{_BEGIN}, expected = coalesce($3, expected)", "draft", more=(expected,)
    )


async def start_due(source: Source) -> list[tuple[int, State]]:
    """Begin what is scheduled and due, at most ten; what was missed is begun or given up, as it says. Safe when run twice.

    Returns each with the state that it has now.
    """

    async def body(tx: Transaction) -> list[tuple[int, State]]:
        rows = await tx.fetch(_START_DUE, GRACE)
        return [(row["id"], row["state"]) for row in rows]

    if not await fetch(source, "broadcasts.due", _DUE):
        return []
    return await in_transaction(source, "broadcasts.start_due", body)


_DUE: Final = "select id from broadcasts where state = 'scheduled' and scheduled_at <= vpnd_now() limit 1"
_START_DUE: Final = """
with due as (
    select id, on_missed = 'skip' and scheduled_at < vpnd_now() - $1::interval as missed from broadcasts
    where state = 'scheduled' and scheduled_at <= vpnd_now() order by scheduled_at, id limit 10 for no key update skip locked
)
update broadcasts b set
    state = case when due.missed then 'missed' else 'running' end,
    started_at = case when due.missed then null else vpnd_now() end,
    finished_at = case when due.missed then clock_timestamp() end,
    fill_through = (select coalesce(max(id), 0) from customers)
from due where b.id = due.id
returning b.id, b.state
"""


async def pause(source: Source, broadcast_id: int) -> bool:
    """Send no more until it is resumed, except for the few that are in hand; False if it does not run."""
    return await _move(source, broadcast_id, "state = 'paused'", "running")


async def resume(source: Source, broadcast_id: int) -> bool:
    """Go on; False if it is not paused. Wake the runner after the commit."""
    return await _move(source, broadcast_id, "state = 'running', halted = null", "paused")


async def stop(source: Source, broadcast_id: int) -> bool:
    """End it for good; False if it neither runs nor is paused."""
    return await _move(
        source,
        broadcast_id,
        "state = 'stopped', finished_at = clock_timestamp()",
        "running",
        "paused",
    )


async def _move(
    source: Source, broadcast_id: int, to: str, *from_states: State, more: Sequence[object] = ()
) -> bool:
    async def body(tx: Transaction) -> bool:
        sql = f"update broadcasts set {to} where id = $1 and state = any($2::text[])"  # noqa: S608 (only constants)
        return await tx.execute(sql, broadcast_id, list(from_states), *more) > 0

    return await in_transaction(source, "broadcasts.move", body)


# ---------------------------------------------------------------------- looking


async def progress(source: Source, broadcast_id: int) -> Progress | None:
    """A broadcast and how far it is, or None if there is none of this id."""
    row = await fetchrow(
        source,
        "broadcasts.progress",
        f"select {_COLUMNS} from broadcasts where id = $1",  # noqa: S608 (only a constant)
        broadcast_id,
    )
    return None if row is None else _from_row(row)


async def listed(source: Source, *, before: int | None = None, limit: int = 10) -> list[Progress]:
    """A page of broadcasts, the newest first: those with a smaller id than `before`. What was thrown away is left out."""
    rows = await fetch(
        source,
        "broadcasts.list",
        f"select {_COLUMNS} from broadcasts where ($1::bigint is null or id < $1) and state <> 'discarded'"  # noqa: S608
        " order by id desc limit $2",
        before,
        limit,
    )
    return [_from_row(row) for row in rows]
