"""What operators did: who, what, to whom, how it was before and after, and why. Written with the deed, in its transaction.

`perform` is the way in: it asks for the permission, does the deed once an update, and writes the line. So nothing can be done
unasked or unwritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.operators import Actor, Permission, authorise
from vpnd.shop.source import Source, as_json, fetch, from_json

__all__ = ["AlreadyDone", "Change", "Entry", "entries", "perform", "record"]

journal = get_journal("operators")

_LONGEST: Final = 1000  # characters of a reason


class AlreadyDone(Exception):
    """This very request was done before: a replayed update, or a second press on the same question."""


@frozen(kw_only=True)
class Change:
    """What a deed changed. `subject` is "customer:12", "plan:basic"; before and after hold plain JSON values, no secrets."""

    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    detail: str | None = None


@frozen
class Entry:
    """A line of the log."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    reason: str | None


async def perform(
    tx: Transaction,
    actor: Actor,
    permission: Permission,
    deed: Callable[[Transaction], Awaitable[Change]],
    *,
    request_key: str,
    reason: str | None = None,
) -> Change:
    """Do something as an operator: allowed, once a request, and written down.

    Raises NotAllowed, `AlreadyDone`, and whatever the deed raises; then nothing is changed and nothing written.
    """
    present = await authorise(tx, actor, permission)
    # Two presses at once: the second waits here for the first and then finds its line.
    await tx.execute("select pg_advisory_xact_lock(hashtextextended('audit:' || $1, 0))", request_key)
    if await tx.fetchval("select exists (select from audit_log where request_key = $1)", request_key):
        raise AlreadyDone(request_key)
    change = await deed(tx)
    await record(tx, present, permission, change, request_key=request_key, reason=reason)
    return change


async def record(
    tx: Transaction,
    actor: Actor,
    permission: Permission,
    change: Change,
    *,
    request_key: str | None = None,
    reason: str | None = None,
) -> None:
    """Write a line. For whoever has asked `authorise` himself and has a key of his own; all others `perform`."""
    action = permission.value if change.detail is None else f"{permission.value}.{change.detail}"
    words = (reason or "").replace("\x00", "").strip()[:_LONGEST] or None
    await tx.execute(
        "insert into audit_log (actor, role, action, subject, before, after, reason, request_key)"
        " values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7, $8)",
        actor.name,
        actor.role or "",
        action,
        change.subject,
        None if change.before is None else as_json(change.before),
        None if change.after is None else as_json(change.after),
        words,
        request_key,
    )
    journal.info(
        "operator.acted",
        message=f"{actor.name} did {action} to {change.subject}",
        by=actor.name,
        action=action,
    )


_PAGE: Final = """
select id, at, actor, role, action, subject, before, after, reason from audit_log
where ($1::bigint is null or id < $1) and ($2::text is null or subject = $2) and ($3::text is null or actor = $3)
order by id desc limit $4
"""


async def entries(
    source: Source,
    *,
    before: int | None = None,
    subject: str | None = None,
    actor: str | None = None,
    limit: int = 10,
) -> Sequence[Entry]:
    """A page of the log, the newest first: those with a smaller id than `before`, of one subject or actor if given."""
    rows = await fetch(source, "audit_log.page", _PAGE, before, subject, actor, limit)
    return [
        Entry(
            row["id"], row["at"], row["actor"], row["role"], row["action"], row["subject"],
            None if row["before"] is None else from_json(row["before"]),
            None if row["after"] is None else from_json(row["after"]),
            row["reason"],
        )
        for row in rows
    ]  # fmt: skip
