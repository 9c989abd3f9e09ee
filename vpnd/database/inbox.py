"""Updates are kept here before anybody upstream is told that we have them, and served from here.

An update counts once, by its own number. It is done when its handler ended, in whatever way, and not before;
what a kill left undone is found here at the next start. Its end is written by group commit: at load, many
ends are one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, NamedTuple

from attrs import frozen

from vpnd.database import Row
from vpnd.database.database import Database

__all__ = [
    "InboxStatistics",
    "NewUpdate",
    "Outcome",
    "StoredUpdate",
    "finish",
    "note_attempts",
    "of_queue",
    "statistics",
]
__all__ += ["store", "unfinished"]

Outcome = Literal["done", "failed", "dropped"]


class NewUpdate(NamedTuple):
    """What arrived. `queue_key` names the queue it is served in; a plain tuple of the same order will do."""

    update_id: int
    queue_key: int
    kind: str
    payload: dict[str, Any]
    carries_money: bool = False


@frozen
class StoredUpdate:
    """An update as kept; `attempts` counts how often a start found it undone."""

    update_id: int
    queue_key: int
    kind: str
    carries_money: bool
    payload: dict[str, Any]
    received_at: datetime
    attempts: int


@frozen
class InboxStatistics:
    """What is not done: how many, how many of them carry money, and for how many seconds the oldest has
    waited."""

    pending: int
    pending_money: int
    oldest_age: float


_STORE: Final = """
    insert into inbox (update_id, queue_key, kind, payload, carries_money)
    select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::jsonb[], $5::boolean[])
    on conflict (update_id) do nothing
    returning update_id
"""
# A commit that does not wait for the disk: it survives our own death at once, and the server's after its next write, within
# 0.6 s at the latest.
_SOON: Final = "select set_config('synchronous_commit', 'off', true)"
_STORE_SOON: Final = f"""
    with soon as ({_SOON})
    insert into inbox (update_id, queue_key, kind, payload, carries_money)
    select u.* from soon, unnest($1::bigint[], $2::bigint[], $3::text[], $4::jsonb[], $5::boolean[]) u
    on conflict (update_id) do nothing
    returning update_id, queue_key
"""  # noqa: S608 (only the constant above is put in)


@cache
def _store_and_look(sender: str) -> str:
    """The same, and what is known of the senders."""
    return (
        f"with stored as ({_STORE_SOON}) select stored.update_id, sender.* from stored "  # noqa: S608 (constants of ours)
        f"left join lateral ({sender}) sender on true"
    )


_COLUMNS: Final = "update_id, queue_key, kind, carries_money, payload, received_at, attempts"
_UNFINISHED: Final = f"""
    select {_COLUMNS} from inbox where done_at is null and update_id > $1 order by update_id limit $2
"""  # noqa: S608 (only the constant above is put in)
_OF_QUEUE: Final = f"""
    select {_COLUMNS} from inbox where done_at is null and queue_key = $1 and update_id > $2 order by update_id limit $3
"""  # noqa: S608 (as above)
_DONE: Final = f"""
    with soon as ({_SOON})
    update inbox i set done_at = clock_timestamp(), outcome = d.outcome
      from soon, unnest($1::bigint[], $2::text[]) as d (update_id, outcome)
     where i.update_id = d.update_id and i.done_at is null
"""  # noqa: S608 (only the constant above is put in)
_ATTEMPTS: Final = (
    "update inbox set attempts = attempts + 1 where update_id = any($1::bigint[]) and done_at is null"
)
_STATISTICS: Final = """
    select count(*) as pending, count(*) filter (where carries_money) as pending_money,
           coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)::float8 as oldest_age
      from inbox where done_at is null
"""


async def store(
    db: Database,
    updates: Iterable[NewUpdate | tuple[int, int, str, dict[str, Any]]],
    *,
    sender: str | None = None,
    deadline: float = 5.0,
) -> dict[int, Row]:
    """Keep a whole batch, one statement, and return the numbers of those that were new, each with its row of the answer.

    Only when this has returned may an offset be confirmed or a webhook be answered. A batch that carries money is on the
    server's disk then. Any other has left our process, which is what a kill of ours must not undo; the server's own sudden end
    can cost the presses of its last 0.6 s (three times its wal_writer_delay), and nobody's press waits for a disk.

    Args:
        sender: a select of one row at most about the sender of an update, who is `stored.queue_key`; its columns are in each row
            then, NULL where there was none. It is left out with a batch that carries money: keeping that hangs on no other table.

    Raises:
        DatabaseError: none of them is kept (or, as `CommitUnknown`, that is not known: ask for them again).
    """
    # In order of their numbers, so that two overlapping batches wait for each other instead of deadlocking.
    batch = sorted((NewUpdate(*update) for update in updates), key=lambda update: update.update_id)
    if not batch:
        return {}
    columns = (list(column) for column in zip(*batch, strict=True))
    sql = _STORE_SOON if sender is None else _store_and_look(sender)
    if any(update.carries_money for update in batch):
        sql = _STORE
    rows = await db.write("inbox.store", sql, *columns, deadline=deadline)
    return {row["update_id"]: row for row in rows}


async def unfinished(db: Database, *, limit: int = 500, after: int = -1) -> list[StoredUpdate]:
    """Return updates that are not done, in order of their numbers, from above `after`."""
    return _stored(await db.fetch("inbox.unfinished", _UNFINISHED, after, limit))


async def of_queue(db: Database, queue_key: int, *, limit: int = 20, after: int = -1) -> list[StoredUpdate]:
    """Return one queue's updates that are not done, in order, from above `after`."""
    return _stored(await db.fetch("inbox.of_queue", _OF_QUEUE, queue_key, after, limit))


async def note_attempts(db: Database, update_ids: Sequence[int]) -> None:
    """Count one more attempt on each: one that keeps killing its process is recognised by that."""
    async with db.transaction("inbox.note_attempts") as tx:
        await tx.execute(_ATTEMPTS, sorted(update_ids))


async def statistics(db: Database) -> InboxStatistics:
    """Count what is not done; over the partial index only."""
    row = await db.fetchrow("inbox.statistics", _STATISTICS)
    assert row is not None  # noqa: S101 (an aggregate without GROUP BY has exactly one row)
    return InboxStatistics(**dict(row.items()))


async def finish(db: Database, ends: Iterable[tuple[int, Outcome]]) -> None:
    """Note that updates need no more work, all in one statement; doing it again does no harm.

    It does not wait for the disk either: an end that the server forgot is a repeat.

    Raises:
        DatabaseError: none of them is noted, or that is not known: they may be served once more after a restart.
    """
    ordered = sorted(dict(ends).items())
    if ordered:
        await db.write(
            "inbox.done", _DONE, [number for number, _ in ordered], [outcome for _, outcome in ordered]
        )


def _stored(rows: Sequence[Row]) -> list[StoredUpdate]:
    return [StoredUpdate(**dict(row.items())) for row in rows]
