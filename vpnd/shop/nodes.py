"""What the shop remembers of its nodes: how to connect to them, and when they were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, as_json, fetch, from_json, in_transaction

__all__ = ["MAX_NODES", "KnownNode", "known_nodes", "save_status"]

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
