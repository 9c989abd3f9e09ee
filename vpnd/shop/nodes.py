"""What the shop remembers of its nodes: how to connect to them, when they were seen, and what looked wrong on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, as_json, fetch, fetchrow, from_json, in_transaction

__all__ = [
    "MAX_NODES",
    "KnownNode",
    "Suspects",
    "forget_others",
    "known_nodes",
    "save_status",
    "save_suspects",
    "suspects",
]

#: Nodes read at once; a shop has tens.
MAX_NODES: Final = 1_000

_SAVE: Final = """
insert into nodes (name, boot_id, inbounds, seen_at) values ($1, $2, $3::text::jsonb, vpnd_now())
on conflict (name) do update
    set boot_id = excluded.boot_id, inbounds = excluded.inbounds, seen_at = excluded.seen_at
"""


@frozen
class KnownNode:
    """A node as it was last seen. `inbounds` holds what links need, as the node told it."""

    name: str
    inbounds: tuple[Mapping[str, Any], ...]
    seen_at: datetime | None


async def save_status(source: Source, node: str, boot_id: str, inbounds: Sequence[Mapping[str, Any]]) -> None:
    """Remember what a node said of itself."""

    async def body(tx: Transaction) -> None:
        await tx.execute(_SAVE, node, boot_id, as_json(list(inbounds)))

    await in_transaction(source, "nodes.save", body)


async def known_nodes(source: Source) -> list[KnownNode]:
    """Return the nodes that told how to connect to them, by name."""
    rows = await fetch(
        source,
        "nodes.known",
        "select name, inbounds, seen_at from nodes where inbounds <> '[]'::jsonb order by name limit $1",
        MAX_NODES,
    )
    return [KnownNode(row["name"], tuple(from_json(row["inbounds"])), row["seen_at"]) for row in rows]


async def forget_others(source: Source, names: Sequence[str]) -> list[str]:
    """Forget all nodes but these; returns the names that were forgotten.

    A node that is gone must not stand in customers' profiles, nor hold up the log that it will never acknowledge. One that
    another daemon of this shop still drives is remembered again when it is next greeted.
    """

    async def body(tx: Transaction) -> list[str]:
        rows = await tx.fetch("delete from nodes where name <> all($1::text[]) returning name", list(names))
        return sorted(row["name"] for row in rows)

    return await in_transaction(source, "nodes.forget", body)


@frozen
class Suspects:
    """Credentials that a comparison found on a node and the shop does not know: name → when it was first seen so.

    `now` is the database's clock. Times are Unix seconds.
    """

    first_seen: Mapping[str, int]
    now: int


async def suspects(source: Source, node: str) -> Suspects:
    """Return what earlier comparisons of a node left to be looked at again."""
    row = await fetchrow(
        source,
        "nodes.suspects",
        "select extract(epoch from clock_timestamp())::bigint as now,"
        " coalesce((select suspects from nodes where name = $1), '{}') as suspects",
        node,
    )
    found = {} if row is None else from_json(row["suspects"])
    return Suspects({str(name): int(at) for name, at in found.items()}, 0 if row is None else row["now"])


async def save_suspects(source: Source, node: str, first_seen: Mapping[str, int]) -> None:
    """Keep a node's suspects until its next comparison."""

    async def body(tx: Transaction) -> None:
        await tx.execute(
            "update nodes set suspects = $2::text::jsonb where name = $1", node, as_json(dict(first_seen))
        )

    await in_transaction(source, "nodes.save_suspects", body)
