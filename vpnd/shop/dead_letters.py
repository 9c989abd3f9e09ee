"""The outbox's dead letters, for operators: what could not leave, tried again or dropped by a person's word.

What a row was to say stays in the database: an operator is shown its kind, its key and the error, with secrets taken out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.runtime.redact import redact
from vpnd.shop.audit_log import Change
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = ["DeadLetter", "NoDeadLetter", "dead_letter", "dead_letters", "drop", "retry"]

_LONGEST: Final = 600  # characters of an error
_COLUMNS: Final = "id, kind, key, lane, failures, last_error, finished_at"


class NoDeadLetter(Exception):
    """There is no such dead letter, or no more: somebody has seen to it."""


@frozen
class DeadLetter:
    """A row that was given up."""

    id: int
    kind: str
    key: str
    lane: str
    failures: int
    error: str
    finished_at: datetime | None


def _letter(row: Row) -> DeadLetter:
    error = redact(row["last_error"] or "")[:_LONGEST]
    return DeadLetter(
        row["id"],
        row["kind"],
        redact(row["key"])[:_LONGEST],
        row["lane"],
        row["failures"],
        error,
        row["finished_at"],
    )


async def dead_letters(source: Source, *, before: int | None = None, limit: int = 10) -> list[DeadLetter]:
    """A page of them, the newest first: those with a smaller id than `before`."""
    rows = await fetch(
        source,
        "dead_letters.page",
        f"select {_COLUMNS} from outbox where status = 'dead' and ($1::bigint is null or id < $1) order by id desc limit $2",  # noqa: S608 (only a constant is pasted in)
        before,
        limit,
    )
    return [_letter(row) for row in rows]


async def dead_letter(source: Source, letter_id: int) -> DeadLetter | None:
    """One of them, or None."""
    sql = f"select {_COLUMNS} from outbox where id = $1 and status = 'dead'"  # noqa: S608 (only a constant is pasted in)
    row = await fetchrow(source, "dead_letters.one", sql, letter_id)
    return None if row is None else _letter(row)


async def retry(tx: Transaction, letter_id: int) -> Change:
    """Put it back with all its attempts. Raises NoDeadLetter."""
    return await _move(
        tx, letter_id, "ready", "failures = 0, available_at = clock_timestamp(), finished_at = null"
    )


async def drop(tx: Transaction, letter_id: int) -> Change:
    """Give it up for good. Raises NoDeadLetter."""
    return await _move(tx, letter_id, "dropped", "finished_at = clock_timestamp()")


async def _move(tx: Transaction, letter_id: int, status: str, also: str) -> Change:
    row = await tx.fetchrow(
        f"update outbox set status = $2, {also} where id = $1 and status = 'dead' returning kind, key",  # noqa: S608 (only constants are pasted in)
        letter_id,
        status,
    )
    if row is None:
        raise NoDeadLetter(f"there is no dead letter {letter_id}: somebody has seen to it")
    return Change(
        subject=f"outbox:{letter_id}",
        before={"status": "dead", "kind": row["kind"], "key": redact(row["key"])},
        after={"status": status},
        detail="again" if status == "ready" else "dropped",
    )
