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
    "Memory",
    "forget_others",
    "known_nodes",
    "memory",
    "save_memory",
    "save_status",
]

#: Nodes read at once; a shop has tens.
MAX_NODES: Final = 1_000

_SAVE: Final = """
insert into nodes (name, boot_id, inbounds, seen_at) values ($1, $2, $3::text::jsonb, vpnd_now())
on conflict (name) do update
    set boot_id = excluded.boot_id, inbounds = excluded.inbounds, seen_at = excluded.seen_at
returning exists (select from node_stops s where s.node = name and s.allowed is null) as stopped
"""


@frozen
class KnownNode:
    """A node as it was last seen. `inbounds` holds what links need, as the node told it."""

    name: str
    inbounds: tuple[Mapping[str, Any], ...]
    seen_at: datetime | None


async def save_status(source: Source, node: str, boot_id: str, inbounds: Sequence[Mapping[str, Any]]) -> bool:
    """Remember what a node said of itself; returns whether it is stopped, and waits for a person (`vpnd.shop.node_stops`)."""

    async def body(tx: Transaction) -> bool:
        return bool(await tx.fetchval(_SAVE, node, boot_id, as_json(list(inbounds))))

    return await in_transaction(source, "nodes.save", body)


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
class Memory:
    """What earlier comparisons of a node left behind.

    Attributes:
        first_seen: credentials that looked wrong there, and when they were first seen so, Unix seconds.
        buried: by bucket, count and sum of the credentials that are off there and unknown to the shop.
        now: the database's clock, Unix seconds.
    """

    first_seen: Mapping[str, int]
    buried: Mapping[int, tuple[int, int]]
    now: int


async def memory(source: Source, node: str) -> Memory:
    """Return what earlier comparisons of a node left behind."""
    row = await fetchrow(
        source,
        "nodes.memory",
        "select extract(epoch from clock_timestamp())::bigint as now, n.suspects, n.buried"
        " from (select) one left join nodes n on n.name = $1",
        node,
    )
    if row is None:
        raise RuntimeError("a row that is always there is missing")
    suspects, buried = from_json(row["suspects"] or "{}"), from_json(row["buried"] or "{}")
    return Memory(
        {str(name): int(at) for name, at in suspects.items()},
        {int(bucket): (int(count), int(total)) for bucket, (count, total) in buried.items()},
        row["now"],
    )


async def save_memory(
    source: Source, node: str, first_seen: Mapping[str, int], buried: Mapping[int, tuple[int, int]]
) -> None:
    """Keep it until the node's next comparison. A node that is not known yet has none."""
    graves = {str(bucket): [count, str(total)] for bucket, (count, total) in sorted(buried.items())}

    async def body(tx: Transaction) -> None:
        await tx.execute(
            "update nodes set suspects = $2::text::jsonb, buried = $3::text::jsonb where name = $1",
            node,
            as_json(dict(first_seen)),
            as_json(graves),
        )

    await in_transaction(source, "nodes.save_memory", body)
