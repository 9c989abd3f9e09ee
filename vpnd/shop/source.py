"""Where a statement of the shop runs: in the caller's transaction, or on its own.

Business functions take either. Inside a transaction scope they join it; given the database they make one
hop for a read, and a transaction of their own (repeated on a serialization failure) for a write.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.database.scope import Transaction

__all__ = ["Source", "as_json", "fetch", "fetchrow", "from_json", "in_transaction", "turn_of"]

Source = Database | Transaction
T = TypeVar("T")


async def fetch(source: Source, name: str, sql: str, *args: object, deadline: float = 5.0) -> list[Row]:
    """Read rows; `name` names the query in metrics when it runs on its own. `deadline` in seconds."""
    if isinstance(source, Transaction):
        return await source.fetch(sql, *args)
    return await source.fetch(name, sql, *args, deadline=deadline)


async def fetchrow(source: Source, name: str, sql: str, *args: object, deadline: float = 5.0) -> Row | None:
    """Read one row or None; `name` names the query in metrics when it runs on its own."""
    if isinstance(source, Transaction):
        return await source.fetchrow(sql, *args)
    return await source.fetchrow(name, sql, *args, deadline=deadline)


@asynccontextmanager
async def turn_of(source: Source) -> AsyncIterator[None]:
    """A turn for a statement that reads or writes much, where it runs on its own; whoever stands in a scope waits for nobody."""
    if isinstance(source, Transaction):
        yield
        return
    async with source.turns.turn():
        yield


async def in_transaction(
    source: Source, site: str, body: Callable[[Transaction], Awaitable[T]], *, deadline: float = 5.0
) -> T:
    """Run `body` in the caller's transaction, or in one of its own with the site's name."""
    if isinstance(source, Transaction):
        return await body(source)
    return await source.run(site, body, deadline=deadline)


def as_json(value: object) -> str:
    """A value as JSON text, for a parameter that the statement casts (`$1::text::jsonb`)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def from_json(value: Any) -> Any:
    """A jsonb column, whether the driver handed it over decoded or as text."""
    return json.loads(value) if isinstance(value, str) else value
