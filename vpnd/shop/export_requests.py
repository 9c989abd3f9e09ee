"""Exports that operators ask for in the bot: asked in one transaction, made by a worker, sent as a file.

Who asked is judged again when the file is about to be made: a role that was taken meanwhile takes the file along. A wish that was
begun too often in vain ends, and whoever asked is told so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.export_tables import EXPORTS, Export
from vpnd.shop.operators import NotAllowed, Permission, actor_of, authorise
from vpnd.shop.source import Source, in_transaction

__all__ = [
    "ATTEMPTS",
    "EndedExport",
    "ExportRequest",
    "Problem",
    "State",
    "ask_for_export",
    "claim_export",
    "end_export",
    "permission_for",
]

#: Why there is no file.
Problem = Literal["too_big", "failed"]
State = Literal["sent", "too_big", "refused", "failed"]

#: So often one request is begun; a daemon that was killed in the midst of one begins it again.
ATTEMPTS: Final = 3


@frozen
class ExportRequest:
    """What was asked for, by whom, in which language he is answered."""

    id: int
    what: Export
    with_secrets: bool
    telegram_id: int
    language: str
    attempts: int


@frozen
class EndedExport:
    """A wish that ended without a file when it was taken in hand: it failed too often, or nobody may have it any more."""

    request: ExportRequest
    state: State


def permission_for(*, with_secrets: bool) -> Permission:
    """What an export needs."""
    return Permission.EXPORT_SECRETS if with_secrets else Permission.EXPORT


async def ask_for_export(
    tx: Transaction, what: Export, *, with_secrets: bool, telegram_id: int, language: str, request_key: str
) -> None:
    """Write the wish down; the same request is one wish."""
    await tx.execute(
        "insert into export_requests (what, with_secrets, telegram_id, language, request_key) values ($1, $2, $3, $4, $5)"
        " on conflict (request_key) do nothing",
        what,
        with_secrets,
        telegram_id,
        language,
        request_key,
    )


_CLAIM: Final = """
update export_requests set attempts = attempts + 1
where id = (select id from export_requests where state = 'asked' order by attempts, id limit 1 for update skip locked)
returning id, what, with_secrets, telegram_id, language, attempts
"""
_END: Final = """
update export_requests set state = $2, rows = $3, finished_at = vpnd_now() where id = $1 and state = 'asked'
"""


async def claim_export(source: Source, owners: Collection[int]) -> ExportRequest | EndedExport | None:
    """Take the next wish in hand, or None where there is none. `owners` are those of the configuration.

    A wish that nobody may have any more, or that was begun too often, ends here; whoever asked for the latter is told.
    """
    return await in_transaction(source, "exports.claim", lambda tx: _claim(tx, owners))


async def _claim(tx: Transaction, owners: Collection[int]) -> ExportRequest | EndedExport | None:
    row = await tx.fetchrow(_CLAIM)
    if row is None:
        return None
    request = _request(row)
    actor = await actor_of(tx, request.telegram_id, owners)
    try:
        await authorise(tx, actor, permission_for(with_secrets=request.with_secrets))
    except NotAllowed:
        return await _end(tx, request, "refused")
    if request.attempts > ATTEMPTS:
        await notices.put_all(tx, [_in_vain(request)])
        return await _end(tx, request, "failed")
    return request


async def _end(tx: Transaction, request: ExportRequest, state: State) -> EndedExport:
    await tx.execute(_END, request.id, state, None)
    return EndedExport(request, state)


def _in_vain(request: ExportRequest) -> notices.Notice:
    """What whoever asked is told when the last attempt was in vain."""
    args = {"what": request.what, "attempts": ATTEMPTS}
    return notices.message(
        f"export_failed:{request.id}", request.telegram_id, "export_failed", args, request.language
    )


def _request(row: Row) -> ExportRequest:
    what: Export = next(one for one in EXPORTS if one == row["what"])
    return ExportRequest(
        row["id"], what, row["with_secrets"], row["telegram_id"], row["language"], row["attempts"]
    )


async def end_export(
    source: Source, request: ExportRequest, state: State, *, rows: int | None = None
) -> None:
    """Write down what became of it."""
    await in_transaction(source, "exports.end", lambda tx: tx.execute(_END, request.id, state, rows))
