"""What the shop says about credentials that a comparison found on a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, in_transaction

__all__ = ["outrun"]

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
