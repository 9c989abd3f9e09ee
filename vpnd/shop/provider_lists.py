"""Ours beside a provider's lists: which of its charges and refunds we have, and how far a list was read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "Difference",
    "KnownCharge",
    "KnownRefund",
    "begin_reconciliation",
    "finish_reconciliation",
    "known_charges",
    "known_refunds",
    "last_reconciled",
    "our_charges_since",
    "position_of",
    "set_position",
]


@frozen
class KnownCharge:
    """A charge as we have settled it; amounts in minor units."""

    settlement_id: int
    charge_id: str
    amount: int
    currency: str
    refunded: int
    outcome: str


@frozen
class KnownRefund:
    """A refund as we have it: `charge_id` is the charge it is of, `external_id` its name at the provider if we know it.

    `amount` is in minor units of the charge's currency.
    """

    refund_id: int
    key: str
    charge_id: str
    external_id: str | None
    status: str
    amount: int


@frozen
class Difference:
    """One difference between a provider's lists and ours: `name` is the provider's charge or refund."""

    kind: str
    name: str
    details: dict[str, Any]
    mended: bool


_CHARGES: Final = """
select id as settlement_id, charge_id, amount, currency, refunded, outcome from settlements
where provider = $1 and charge_id = any($2::text[]) limit 10000
"""

_REFUNDS: Final = """
select r.id as refund_id, r.key, s.charge_id, r.external_id, r.status, r.amount
from refunds r join settlements s on s.id = r.settlement_id
where r.provider = $1 and r.route = 'provider'
  and (r.key = any($2::text[]) or r.external_id = any($3::text[]) or s.id in (
      select id from settlements where provider = $1 and charge_id = any($4::text[])))
order by r.id limit 10000
"""

_OURS: Final = """
select id as settlement_id, charge_id, amount, currency, refunded, outcome from settlements
where provider = $1 and id > $2 and coalesce(paid_at, created_at) >= $3 and coalesce(paid_at, created_at) < $4
order by id limit $5
"""


async def known_charges(source: Source, provider: str, charge_ids: Sequence[str]) -> dict[str, KnownCharge]:
    """Those of a page of charges that were settled, by the provider's id."""
    rows = await fetch(source, "lists.charges", _CHARGES, provider, list(charge_ids))
    return {row["charge_id"]: KnownCharge(**dict(row.items())) for row in rows}


async def known_refunds(
    source: Source,
    provider: str,
    *,
    keys: Sequence[str] = (),
    external_ids: Sequence[str] = (),
    charge_ids: Sequence[str] = (),
) -> list[KnownRefund]:
    """Our refunds by a provider that match by our key, by its name there, or by the charge."""
    rows = await fetch(
        source, "lists.refunds", _REFUNDS, provider, list(keys), list(external_ids), list(charge_ids)
    )
    return [KnownRefund(**dict(row.items())) for row in rows]


async def our_charges_since(
    source: Source, provider: str, since: datetime, until: datetime, *, after: int = 0, limit: int = 1000
) -> list[KnownCharge]:
    """What we have settled as paid between two moments, by our id beyond `after`, at most `limit`."""
    rows = await fetch(source, "lists.ours", _OURS, provider, after, since, until, limit, deadline=30.0)
    return [KnownCharge(**dict(row.items())) for row in rows]


async def position_of(source: Source, provider: str, name: str) -> int:
    """How many entries of a provider's list were read and dealt with."""
    row = await fetchrow(
        source,
        "lists.position",
        "select position from provider_cursors where provider = $1 and list = $2",
        provider,
        name,
    )
    return 0 if row is None else int(row["position"])


async def set_position(source: Source, provider: str, name: str, position: int) -> None:
    """Note how far a list was read; it never goes back."""

    async def body(tx: Transaction) -> int:
        return await tx.execute(
            "insert into provider_cursors (provider, list, position) values ($1, $2, $3)"
            " on conflict (provider, list) do update"
            " set position = greatest(provider_cursors.position, excluded.position), read_at = clock_timestamp()",
            provider,
            name,
            position,
        )

    await in_transaction(source, "lists.set_position", body)


async def last_reconciled(source: Source, provider: str) -> datetime | None:
    """When the last comparison with a provider's lists was finished (real time); None if there was none."""
    row = await fetchrow(
        source,
        "lists.last",
        "select finished_at from reconciliations where provider = $1 and finished_at is not null order by id desc limit 1",
        provider,
    )
    return None if row is None else row["finished_at"]


async def begin_reconciliation(source: Source, provider: str, since: datetime) -> int:
    """Note that a comparison begins; returns its id."""

    async def body(tx: Transaction) -> int:
        return int(
            await tx.fetchval(
                "insert into reconciliations (provider, since) values ($1, $2) returning id", provider, since
            )
        )

    return await in_transaction(source, "lists.begin", body)


async def finish_reconciliation(
    source: Source, run_id: int, *, charges: int, refunds: int, found: Sequence[Difference]
) -> None:
    """Note what a comparison came to, with every difference by name."""

    async def body(tx: Transaction) -> int:
        await tx.execute(
            """
            insert into reconciliation_differences (reconciliation_id, kind, name, details, mended)
            select $1, d.kind, d.name, d.details, d.mended
            from unnest($2::text[], $3::text[], $4::jsonb[], $5::boolean[]) as d (kind, name, details, mended)
            """,
            run_id,
            [one.kind for one in found],
            [one.name for one in found],
            [one.details for one in found],
            [one.mended for one in found],
        )
        return await tx.execute(
            "update reconciliations set finished_at = clock_timestamp(), charges = $2, refunds = $3, differences = $4,"
            " mended = $5 where id = $1",
            run_id,
            charges,
            refunds,
            len(found),
            sum(one.mended for one in found),
        )

    await in_transaction(source, "lists.finish", body)
