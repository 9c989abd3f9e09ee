"""Texts of the bot that operators have written in the bot: the rows, and nothing of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = ["TextOverride", "list_overrides", "overrides_version", "put_override", "remove_override"]

#: A bound: more texts than the bot has in all languages that it can be brought.
_MOST: Final = 40_000


@frozen
class TextOverride:
    """A text in one language; `body` is its pattern, in Fluent."""

    language: str
    key: str
    body: str
    changed_by: str
    changed_at: datetime


async def list_overrides(source: Source) -> Sequence[TextOverride]:
    """All of them, by language and key."""
    rows = await fetch(
        source,
        "text_overrides.list",
        "select language, key, body, changed_by, changed_at from text_overrides order by language, key limit $1",
        _MOST,
    )
    return [TextOverride(*row.values()) for row in rows]


async def overrides_version(source: Source) -> int:
    """A number that grows with every change; 0 before the first."""
    row = await fetchrow(
        source,
        "text_overrides.version",
        "select case when is_called then last_value else 0 end as version from text_overrides_version limit 1",
    )
    return 0 if row is None else int(row["version"])


async def put_override(tx: Transaction, language: str, key: str, body: str, *, by: str) -> str | None:
    """Say a text otherwise; returns what was written for it before. Whether it can be said is for the bot to judge."""
    before: str | None = await tx.fetchval(
        "select body from text_overrides where language = $1 and key = $2 for update", language, key
    )
    await tx.execute(
        "insert into text_overrides (language, key, body, changed_by) values ($1, $2, $3, $4)"
        " on conflict (language, key) do update"
        " set body = excluded.body, changed_by = excluded.changed_by, changed_at = clock_timestamp()",
        language,
        key,
        body,
        by,
    )
    await tx.fetchval("select nextval('text_overrides_version')")
    return before


async def remove_override(tx: Transaction, language: str, key: str) -> str | None:
    """Say a text as the folder or the package has it; returns what was written for it, None if nothing was."""
    before: str | None = await tx.fetchval(
        "delete from text_overrides where language = $1 and key = $2 returning body", language, key
    )
    await tx.fetchval("select nextval('text_overrides_version')")
    return before
