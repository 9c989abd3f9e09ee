"""Another plan in mid-term: what is left of the old one becomes time of the new one, worth the same.

Not a payment: the time that is left is exchanged at the ratio of the two plans' prices for a day. The price of a day is
that of the period the subscription was last bought for, in both plans (or the nearest period the other plan has). So
nobody pays twice for a day, and the refund of a purchase later finds its share of the time as long as it now is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction

__all__ = ["ChangeImpossible", "PlanChange", "change_plan", "quote_change"]


class ChangeImpossible(Exception):
    """The plan cannot be changed: nothing of the old one is left, it is the same, one of them has no price, or Telegram
    would go on charging the price of the old one."""


@frozen
class PlanChange:
    """What a change comes to: the time that is left, before and after."""

    subscription_id: int
    from_plan: str
    to_plan: str
    offer_id: int
    rate: Decimal
    before: timedelta
    after: timedelta
    expires_at: datetime


# The price of a day in each plan, by the offers whose periods are nearest to what was bought last.
_QUOTE: Final = """
select s.id, s.plan_id, s.expires_at, vpnd_now() as now, old.amount as old_amount, old.days as old_days,
       new.amount as new_amount, new.days as new_days, new.id as new_offer
from subscriptions s
left join offers bought on bought.id = s.offer_id
left join lateral (
    select o.id, o.days, r.amount from offers o join prices r on r.offer_id = o.id and r.currency = $4
    where o.plan_id = s.plan_id order by abs(o.days - coalesce(bought.days, 30)), o.days limit 1
) old on true
left join lateral (
    select o.id, o.days, r.amount from offers o
    join plans p on p.id = o.plan_id and p.on_sale
    join prices r on r.offer_id = o.id and r.currency = $4
    where o.plan_id = $3 and o.on_sale order by abs(o.days - coalesce(bought.days, 30)), o.days limit 1
) new on true
where s.id = $1 and s.customer_id = $2 and s.status = 'active' and s.renews <> 'stars' and not s.trial
"""

_CHANGE: Final = """
with stretched as (
    update grants set
        from_at = case when from_at <= $3 then from_at else $3 + (from_at - $3) * $4::float8 end,
        until_at = case when until_at <= $3 then until_at else $3 + (until_at - $3) * $4::float8 end
    where subscription_id = $1 and until_at > $3
), changed as (
    update subscriptions set plan_id = $2, offer_id = $5, expires_at = $6 where id = $1
)
insert into plan_changes (subscription_id, from_plan, to_plan, rate, seconds_before, seconds_after, request_key)
values ($1, $7, $2, $8, $9, $10, $11)
"""


async def quote_change(
    tx: Transaction, *, subscription_id: int, customer_id: int, to_plan: str, shop_currency: str
) -> PlanChange:
    """What changing a customer's own subscription to another plan would come to now. Raises ChangeImpossible."""
    row = await tx.fetchrow(_QUOTE, subscription_id, customer_id, to_plan, shop_currency)
    if row is None or row["expires_at"] <= row["now"]:
        raise ChangeImpossible("nothing of this subscription is left to be changed")
    if row["plan_id"] == to_plan or row["old_amount"] is None or row["new_amount"] is None:
        raise ChangeImpossible("it is this plan already, or one of the plans has no price")
    rate = Decimal(row["old_amount"] * row["new_days"]) / Decimal(row["old_days"] * row["new_amount"])
    before: timedelta = row["expires_at"] - row["now"]
    # Rounded down to a whole second; what is rounded off is worth less than a minor unit.
    after = timedelta(seconds=int(Decimal(before.total_seconds()) * rate))
    if after <= timedelta():
        raise ChangeImpossible("what is left would be less than a second of the other plan")
    return PlanChange(
        subscription_id, row["plan_id"], to_plan, row["new_offer"], rate, before, after, row["now"] + after
    )


async def change_plan(
    tx: Transaction,
    *,
    subscription_id: int,
    customer_id: int,
    to_plan: str,
    shop_currency: str,
    request_key: str,
) -> PlanChange | None:
    """Change the plan of a customer's own subscription; None if this request did so before.

    Locks the customer and the subscription until the transaction ends. Raises ChangeImpossible.
    """
    await tx.execute("select from customers where id = $1 for no key update", customer_id)
    await tx.execute("select from subscriptions where id = $1 for no key update", subscription_id)
    if await tx.fetchval("select 1 from plan_changes where request_key = $1", request_key):
        return None
    change = await quote_change(
        tx,
        subscription_id=subscription_id,
        customer_id=customer_id,
        to_plan=to_plan,
        shop_currency=shop_currency,
    )
    ratio = change.after / change.before
    await tx.execute(
        _CHANGE,
        subscription_id,
        to_plan,
        change.expires_at - change.after,
        ratio,
        change.offer_id,
        change.expires_at,
        change.from_plan,
        change.rate,
        int(change.before.total_seconds()),
        int(change.after.total_seconds()),
        request_key,
    )
    return change
