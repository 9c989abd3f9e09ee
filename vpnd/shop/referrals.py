"""Referrals: levels by paying guests, and what a host has earned.

The reward itself is decided and booked by the settlement of the guest's purchase, on the level that this module shows:
both read the same table by the same rule, so what is shown is what is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetchrow, in_transaction

__all__ = ["ReferralStanding", "apply_levels", "standing_of"]


@frozen
class ReferralStanding:
    """How a customer stands as a host.

    Attributes:
        guests: who came by his link; `paying`: those of them who have paid with money of their own. Counted to 10 000.
        percent: what he gets of their purchases now; 0 without a level.
        next_at, next_percent: from how many paying guests on he gets how much; None on the highest level.
        earned: what he has got in all, less what was taken back by refunds, in minor units.
    """

    guests: int
    paying: int
    percent: int
    next_at: int | None
    next_percent: int | None
    earned: int


_STANDING: Final = """
with guests as (
    select first_paid_at from customers where referrer_id = $1 limit 10000
), counted as (
    select count(*) as guests, count(first_paid_at) as paying from guests
)
select counted.guests, counted.paying,
       coalesce((select l.percent from referral_levels l where l.paying <= counted.paying order by l.paying desc limit 1), 0)
           as percent,
       above.paying as next_at, above.percent as next_percent,
       coalesce((select sum(r.amount - r.reversed) from referral_rewards r
                 where r.referrer_id = $1 and r.currency = $2), 0)::bigint as earned
from counted
left join lateral (select l.* from referral_levels l where l.paying > counted.paying order by l.paying limit 1) above on true
"""


async def standing_of(source: Source, customer_id: int, currency: str) -> ReferralStanding:
    """How a customer stands as a host; what he has earned is in `currency`."""
    row = await fetchrow(source, "referrals.standing", _STANDING, customer_id, currency)
    if row is None:
        raise RuntimeError("a count returned no row")
    return ReferralStanding(**dict(row.items()))


async def apply_levels(source: Source, levels: Sequence[tuple[int, int]]) -> None:
    """Bring the levels to what the configuration says: (paying guests, percent)."""

    async def body(tx: Transaction) -> None:
        await tx.execute(
            """
            with given as (
                select * from unnest($1::integer[], $2::integer[]) as g (paying, percent)
            ), gone as (
                delete from referral_levels where paying not in (select paying from given)
            )
            insert into referral_levels (paying, percent) select paying, percent from given
            on conflict (paying) do update set percent = excluded.percent
                where referral_levels.percent <> excluded.percent
            """,
            [paying for paying, _ in levels],
            [percent for _, percent in levels],
        )

    await in_transaction(source, "referrals.apply", body)
