"""Taking bought access back: the refunded share of a purchase's days, from what is left of them.

A subscription's grants are slices of time, one after the other. A refund cuts its purchase's slice from the end, never
below now; the slices behind it move up by as much, and so does the end of the subscription. What was used stays used.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction

__all__ = ["Removed", "remove_access"]


@frozen
class Removed:
    """What was taken: `length` of time, so that the subscription ends at `expires_at`; `off`: it is off by that."""

    subscription_id: int
    length: timedelta
    expires_at: datetime
    off: bool


_SLICE: Final = """
select g.id, g.subscription_id, g.from_at, g.until_at, g.removed_seconds, s.status, s.expires_at, vpnd_now() as now
from grants g join subscriptions s on s.id = g.subscription_id
where g.purchase_id = $1
for no key update of s
"""

_CUT: Final = """
with cut as (
    update grants set until_at = until_at - $2::interval,
        removed_seconds = removed_seconds + extract(epoch from $2::interval)::bigint
    where id = $1
), moved as (
    update grants set from_at = from_at - $2::interval, until_at = until_at - $2::interval
    where subscription_id = $3 and from_at >= $4 and id <> $1
), ended as (
    update subscriptions
    set expires_at = greatest(expires_at - $2::interval, starts_at),
        status = case when $5 then 'expired' else status end,
        version = version + case when $5 then 1 else 0 end,
        renews = case when $5 and renews = 'balance' then 'off' else renews end
    where id = $3
    returning id, expires_at
), logged as (
    insert into access_log (subscription_id) select id from ended where $5
)
select expires_at from ended
"""


async def remove_access(
    tx: Transaction, *, purchase_id: int, part: int, of: int, last: bool
) -> Removed | None:
    """Take back `part` of `of` of what a purchase gave; all that is left of it with `last`.

    Locks the subscription. None if nothing is left to be taken.
    """
    row = await tx.fetchrow(_SLICE, purchase_id)
    if row is None:
        return None
    left: timedelta = row["until_at"] - max(row["now"], row["from_at"])
    if left <= timedelta():
        return None
    whole = row["until_at"] - row["from_at"] + timedelta(seconds=row["removed_seconds"])
    length = left if last else min(left, timedelta(seconds=int(whole.total_seconds() * part / of)))
    if length <= timedelta():
        return None
    off = row["status"] == "active" and row["expires_at"] - length <= row["now"]
    ends = await tx.fetchval(_CUT, row["id"], length, row["subscription_id"], row["until_at"], off)
    return Removed(row["subscription_id"], length, ends, off)
