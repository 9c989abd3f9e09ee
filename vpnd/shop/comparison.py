"""What the shop says about credentials that a comparison found on a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = ["known", "outrun", "under_way"]

_NAMES: Final = 5_000  # names in one query

# A row that is not numbered yet is as old as its transaction; the numberer comes within a second.
_UNDER_WAY: Final = """
select s.name from subscriptions s
where s.name = any($1::text[]) and exists (
    select from access_log l
    where l.subscription_id = s.id and coalesce(l.numbered_at, l.created_at) > clock_timestamp() - $2::interval)
"""

# The rows are locked in the order of their ids, as every other writer of access does it.
_OUTRUN: Final = """
with given as (
    select * from unnest($1::text[], $2::bigint[]) as g (name, version)
), locked as (
    select s.id, g.version from subscriptions s join given g on g.name = s.name
    where s.version <= g.version order by s.id for update of s
), raised as (
    update subscriptions s set version = l.version + 1 from locked l where s.id = l.id returning s.id
)
insert into access_log (subscription_id) select id from raised
"""


async def outrun(source: Source, versions: Mapping[str, int]) -> int:
    """Raise these subscriptions' versions above those that a node holds, so that the shop's state is the newer one.

    A node can hold a newer version than the shop only after a restore: the shop forgot changes that the node had applied, and
    the database still decides. One statement for the whole set; returns how many were raised.
    """

    async def body(tx: Transaction) -> int:
        return await tx.execute(_OUTRUN, list(versions), list(versions.values()))

    return await in_transaction(source, "access.outrun", body) if versions else 0


async def known(source: Source, names: Sequence[str]) -> set[str]:
    """Which of these names are subscriptions of the shop, at this moment."""
    found: set[str] = set()
    for start in range(0, len(names), _NAMES):
        part = list(names[start : start + _NAMES])
        rows = await fetch(
            source, "access.known", "select name from subscriptions where name = any($1::text[])", part
        )
        found.update(row["name"] for row in rows)
    return found


async def under_way(source: Source, names: Sequence[str], within: timedelta) -> set[str]:
    """Which of these were logged so lately that the log may still be bringing them to the nodes."""
    found: set[str] = set()
    for start in range(0, len(names), _NAMES):
        part = list(names[start : start + _NAMES])
        rows = await fetch(source, "access.under_way", _UNDER_WAY, part, within)
        found.update(row["name"] for row in rows)
    return found
