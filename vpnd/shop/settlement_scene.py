"""All that decides what becomes of a charge, read and locked in one statement.

The idea: one round trip that locks purchase, customer, subscription and accounts, in this order, and brings back
everything a decision needs; the decision itself is a pure function, and one more statement writes what it says.

A statement that had to wait for a lock gets the newest version of the rows it locked, but sees everything else as of
its own beginning. So nothing here may rest on an unlocked row that another settlement of the same customer changes:
the claim of the charge, the use of a promo code, and that a customer has no subscription yet are judged again by the
statement that writes; if one of them is no longer so, the scene is read once more, under the locks that are held by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.accounts import AccountRef
from vpnd.shop.charges import Charge

__all__ = ["Scene", "Target", "read_scene"]


# $1 provider, $2 charge, $3 invoice, $4 payload, $5 the charge's currency, $6 whether it is a recurring charge.
# Our own note of the invoice goes before the payload it carries.
_SCENE: Final = """
with found as (
    select s.id as settlement_id, s.customer_id as settled_for, s.reason as settled_reason, s.outcome as settled_as,
           coalesce(s.purchase_id, i.purchase_id, by_payload.id) as purchase_id
    from (select) one
    left join settlements s on s.provider = $1 and s.charge_id = $2
    left join invoices i on i.provider = $1 and i.external_id = $3
    left join purchases by_payload on by_payload.public_id = $4
), p as materialized (
    select p.* from purchases p
    where p.id = (select purchase_id from found) and (select settlement_id from found) is null
    for no key update
), c as materialized (
    select c.id, c.telegram_id, c.language, c.referrer_id, c.first_paid_at from p join customers c on c.id = p.customer_id
    for no key update of c
), level as (   -- counted as far as the highest level reaches
    select r.telegram_id, r.language, (
        select l.percent from referral_levels l where l.paying <= (
            select count(*) from (
                select from customers g where g.referrer_id = r.id and g.first_paid_at is not null
                limit (select max(paying) from referral_levels)) guests)
        order by l.paying desc limit 1) as percent
    from c join customers r on r.id = c.referrer_id
), o as (
    select o.plan_id, o.days from p join offers o on o.id = p.offer_id
), s as materialized (
    select s.* from p cross join c cross join o
    cross join lateral (   -- a recurring charge goes on with what its first purchase bought
        select coalesce(case when $6 then (select g.subscription_id from grants g where g.purchase_id = p.id) end,
                        p.subscription_id) as id
    ) into_one
    cross join lateral (
        select s.id, s.status, s.expires_at, s.version, s.renews from subscriptions s
        -- of the plan that was paid for: the one it was to go into may be of another by now; a trial turns into any
        where s.customer_id = p.customer_id and (s.plan_id = o.plan_id or s.trial) and (s.id = into_one.id or not p.fresh)
        order by (s.id = into_one.id) desc nulls last, s.trial, (s.status = 'active') desc, s.expires_at desc, s.id
        limit 1
        for no key update
    ) s
), wanted as (
    select w.kind, w.owner, w.currency from p cross join c cross join lateral (values
        ('customer', p.customer_id::text, p.shop_currency), ('bonus', p.customer_id::text, p.shop_currency),
        ('receivable', p.customer_id::text, p.shop_currency), ('bonus', c.referrer_id::text, p.shop_currency),
        ('revenue', '', p.shop_currency), ('referral', '', p.shop_currency), ('exchange', '', p.shop_currency)
    ) w (kind, owner, currency)
    union
    values ('clearing', $1, $5), ('held', $1, $5), ('exchange', '', $5)
), locked as materialized (
    select a.id, a.balance from wanted w
    join accounts a on a.kind = w.kind and a.owner = w.owner and a.currency = w.currency
    where w.kind in ('customer', 'bonus') and (select count(*) from s) >= 0   -- after the subscription
    order by a.id
    for no key update of a
), a as (
    select array_agg(a.id) as ids, array_agg(a.kind) as kinds, array_agg(a.owner) as owners,
           array_agg(a.currency) as currencies, array_agg(a.customer_id) as customers, array_agg(locked.balance) as balances
    from wanted w
    join accounts a on a.kind = w.kind and a.owner = w.owner and a.currency = w.currency
    left join locked on locked.id = a.id
)
select vpnd_now() as now, found.settlement_id, found.settled_for, found.settled_reason, found.settled_as, found.purchase_id,
       p.public_id, p.kind, p.origin, p.customer_id, p.offer_id, o.plan_id, o.days, p.subscription_id, p.fresh, p.method,
       p.currency, p.amount, p.shop_currency, p.shop_amount, p.status, p.received, p.bonus_days, p.recurring,
       c.telegram_id, c.language, c.referrer_id, c.first_paid_at is not null as has_paid,
       level.percent as reward_percent, level.telegram_id as referrer_telegram_id, level.language as referrer_language,
       s.id as s_id, s.status as s_status, s.expires_at as s_expires_at, s.version as s_version, s.renews as s_renews,
       a.ids, a.kinds, a.owners, a.currencies, a.customers, a.balances,
       coalesce((select coalesce((select sum(l.amount) from ledger l where l.debit_id = r.id), 0)
                      - coalesce((select sum(l.amount) from ledger l where l.credit_id = r.id), 0)
                 from accounts r where r.kind = 'receivable' and r.owner = p.customer_id::text
                   and r.currency = p.shop_currency), 0) as owed,
       nextval('settlements_id_seq') as new_settlement,
       case when s.id is null and p.kind = 'access' then nextval('subscriptions_id_seq') end as new_subscription,
       case when $6 then nextval('purchases_id_seq') end as new_purchase
from found
left join p on true left join c on true left join level on true left join o on true left join s on true cross join a
"""


@frozen
class Target:
    """The subscription that a settlement renews, locked."""

    id: int
    status: str
    expires_at: datetime
    version: int
    renews: str


@frozen(kw_only=True)
class Scene:
    """What is known when a charge is judged. Ids of what may be made are taken from their sequences beforehand.

    Attributes:
        settled: the row of the settlement, when the charge was settled before.
        purchase: the purchase's row, locked, with its offer and customer; None if the charge names none of ours.
        target: the subscription it would renew.
        accounts: ids by what they are for, of those that exist; `balances` are the locked ones'.
        owed: what the customer owes, in the shop's currency.
        reward_percent: what his referrer would get; None without one, or without a level.
    """

    now: datetime
    settled: Row | None
    purchase: Row | None
    target: Target | None
    purchase_id: int | None = None
    accounts: Mapping[AccountRef, int] = field(factory=dict)
    balances: Mapping[AccountRef, int] = field(factory=dict)
    owed: int = 0
    reward_percent: int | None = None
    new_settlement: int
    new_subscription: int | None = None
    new_purchase: int | None = None

    def balance(self, ref: AccountRef) -> int:
        """What a locked account holds; nothing if it was never opened."""
        return self.balances.get(ref, 0)


async def read_scene(tx: Transaction, charge: Charge) -> Scene:
    """Lock and read what decides about a charge."""
    row = await tx.fetchrow(
        _SCENE,
        charge.provider,
        charge.charge_id,
        charge.invoice_external_id,
        charge.payload,
        charge.currency,
        charge.recurring,
    )
    if row is None:
        raise RuntimeError("a statement over one row returned none")
    accounts, balances = _accounts(row)
    target = None
    if row["s_id"] is not None:
        target = Target(row["s_id"], row["s_status"], row["s_expires_at"], row["s_version"], row["s_renews"])
    return Scene(
        now=row["now"],
        settled=row if row["settlement_id"] is not None else None,
        purchase=row if row["public_id"] is not None else None,
        target=target,
        purchase_id=row["purchase_id"],
        accounts=accounts,
        balances=balances,
        owed=int(row["owed"]),
        reward_percent=row["reward_percent"],
        new_settlement=row["new_settlement"],
        new_subscription=row["new_subscription"],
        new_purchase=row["new_purchase"],
    )


def _accounts(row: Any) -> tuple[dict[AccountRef, int], dict[AccountRef, int]]:
    accounts: dict[AccountRef, int] = {}
    balances: dict[AccountRef, int] = {}
    for account_id, kind, owner, currency, customer, balance in zip(
        row["ids"] or (),
        row["kinds"] or (),
        row["owners"] or (),
        row["currencies"] or (),
        row["customers"] or (),
        row["balances"] or (),
        strict=True,
    ):
        ref = AccountRef(kind, owner, currency, customer)
        accounts[ref] = account_id
        if balance is not None:
            balances[ref] = balance
    return accounts, balances
