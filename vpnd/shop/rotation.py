"""A new link for a subscription whose old one is in other hands.

The credential and the address of the subscription page are made anew under the same name and a higher version. A node
replaces what it holds under the name and ends the connections of the old credential; the page of the old address is nobody's
any more. What was paid for stays: only the link is another one.

Every rotation makes each node end connections, so one has to wait a while for the next.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.identifiers import link_token
from vpnd.shop.subscriptions import SubscriptionNotFound

__all__ = ["PAUSE", "Rotated", "RotationImpossible", "RotationTooSoon", "rotate_link"]

#: Between two new links of one subscription.
PAUSE: Final = timedelta(minutes=10)


class RotationImpossible(Exception):
    """The subscription is off: there is nothing that anybody could connect with."""


class RotationTooSoon(Exception):
    """The link was made anew a moment ago; `wait` is the time until it may be again."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait
        super().__init__(f"the link was made anew less than {PAUSE} ago")


@frozen
class Rotated:
    """`created`: the link was made anew now; else this request had done so before."""

    subscription_id: int
    created: bool


_LOCK: Final = """
select status = 'active' and expires_at > vpnd_now() as on, vpnd_now() as now from subscriptions
where id = $1 and customer_id = $2 for no key update
"""
_BEFORE: Final = """
select max(created_at) as last, coalesce(bool_or(request_key = $2), false) as replayed
from link_rotations where subscription_id = $1
"""
_ROTATE: Final = """
with rotated as (
    update subscriptions set credential = $2, link_token = $3, version = version + 1, activated_at = null where id = $1
    returning id
), logged as (
    insert into access_log (subscription_id) select id from rotated
)
insert into link_rotations (subscription_id, request_key) select id, $4 from rotated
"""


async def rotate_link(
    tx: Transaction, *, subscription_id: int, customer_id: int, request_key: str
) -> Rotated:
    """Give a customer's own subscription a new credential and a new page, once a request.

    Locks the subscription until the transaction ends. Until a node has acknowledged the new credential, the subscription
    counts as being switched on.

    Raises:
        SubscriptionNotFound: it is not this customer's.
        RotationImpossible: it is off.
        RotationTooSoon: less than `PAUSE` after the last one.
    """
    row = await tx.fetchrow(_LOCK, subscription_id, customer_id)
    if row is None:
        raise SubscriptionNotFound(f"subscription {subscription_id} is not of customer {customer_id}")
    before = await tx.fetchrow(_BEFORE, subscription_id, request_key)
    last: datetime | None = None if before is None else before["last"]
    if before is not None and before["replayed"]:
        return Rotated(subscription_id, created=False)
    if not row["on"]:
        raise RotationImpossible(f"subscription {subscription_id} is off")
    if last is not None and row["now"] < last + PAUSE:
        raise RotationTooSoon(last + PAUSE - row["now"])
    await tx.execute(_ROTATE, subscription_id, uuid4(), link_token(), request_key)
    return Rotated(subscription_id, created=True)
