"""A customer at a glance, for whoever serves him: who he is, what he has, what he paid, who brought him and whom he brought.

Three reads, each bounded, whatever a customer has piled up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database import Row
from vpnd.shop.source import Source, fetch, fetchrow, from_json

__all__ = ["MOST_GUESTS", "Card", "CardPayment", "CardSubscription", "card_of", "payments_of"]

#: Of one card.
MOST_SUBSCRIPTIONS: Final = 10
MOST_PAYMENTS: Final = 5
#: Guests that are counted; more are "so many and more".
MOST_GUESTS: Final = 1000


@frozen(kw_only=True)
class CardSubscription:
    """One subscription. `acknowledged` of `nodes` nodes hold its present state, be it on or off."""

    id: int
    plan_id: str
    titles: Mapping[str, str]
    own_title: str | None
    name: str
    active: bool
    trial: bool
    expires_at: datetime
    renews: str
    acknowledged: int
    nodes: int


@frozen(kw_only=True)
class CardPayment:
    """A charge of his, and how much of it went back. Amounts in its own minor units."""

    settlement_id: int
    provider: str
    amount: int
    currency: str
    refunded: int
    outcome: str
    kind: str | None
    purchase: str | None
    paid_at: datetime

    @property
    def left(self) -> int:
        """What can still go back."""
        return self.amount - self.refunded


@frozen(kw_only=True)
class Card:
    """What there is to know.

    Attributes:
        now: the business time it was read at.
        own, bonus, owed: of the balance, in minor units of `currency`; what he owes the shop.
        discount, discount_until: the personal one, 0 for none; until None: for good.
        trial_ends_at: of the trial that he had; None: never.
        referrer_id, referrer_telegram_id, referrer_name: who brought him.
        guests, paying_guests: whom he brought, as far as `MOST_GUESTS`.
        role: what he is among those who run the shop.
        purchases: how many he has paid, as far as `MOST_GUESTS`.
    """

    id: int
    telegram_id: int
    username: str | None
    first_name: str
    language: str
    referral_code: str
    reachable: bool
    created_at: datetime
    blocked_at: datetime | None
    erased_at: datetime | None
    now: datetime
    currency: str
    own: int
    bonus: int
    owed: int
    discount: int
    discount_until: datetime | None
    trial_ends_at: datetime | None
    referrer_id: int | None
    referrer_telegram_id: int | None
    referrer_name: str | None
    guests: int
    paying_guests: int
    role: str | None
    purchases: int
    subscriptions: Sequence[CardSubscription] = ()
    payments: Sequence[CardPayment] = ()

    @property
    def name(self) -> str:
        """What he is called, nothing if nothing is known."""
        return " ".join(
            part for part in (self.first_name, f"@{self.username}" if self.username else "") if part
        )

    def subscription(self, subscription_id: int) -> CardSubscription | None:
        """One of his; None for anybody else's."""
        return next((one for one in self.subscriptions if one.id == subscription_id), None)


# $1 customer, $2 currency, $3 most guests
_WHO: Final = """
select c.id, c.telegram_id, c.username, c.first_name, c.language, c.referral_code, c.reachable, c.created_at, c.blocked_at,
       c.erased_at, vpnd_now() as now, $2::text as currency,
       coalesce((select a.balance from accounts a
                 where a.kind = 'customer' and a.owner = c.id::text and a.currency = $2), 0) as own,
       coalesce((select a.balance from accounts a
                 where a.kind = 'bonus' and a.owner = c.id::text and a.currency = $2), 0) as bonus,
       coalesce((select coalesce((select sum(l.amount) from ledger l where l.debit_id = a.id), 0)
                      - coalesce((select sum(l.amount) from ledger l where l.credit_id = a.id), 0)
                 from accounts a where a.kind = 'receivable' and a.owner = c.id::text and a.currency = $2), 0)::bigint as owed,
       coalesce(d.percent, 0) as discount, d.until as discount_until,
       (select t.ends_at from trials t where t.customer_id = c.id) as trial_ends_at,
       r.id as referrer_id, r.telegram_id as referrer_telegram_id, r.first_name as referrer_name,
       (select count(*) from (select from customers g where g.referrer_id = c.id limit $3) g) as guests,
       (select count(*) from (select from customers g where g.referrer_id = c.id and g.first_paid_at is not null limit $3) g)
           as paying_guests,
       (select o.role from operators o where o.telegram_id = c.telegram_id) as role,
       (select count(*) from (select from purchases p where p.customer_id = c.id and p.status = 'paid' limit $3) p) as purchases
from customers c
left join customers r on r.id = c.referrer_id
left join personal_discounts d on d.customer_id = c.id and (d.until is null or d.until > vpnd_now())
where c.id = $1
"""

# A node has acknowledged what stands at or before its mark. Rows that were trimmed are behind every mark.
_SUBSCRIPTIONS: Final = """
with place as (
    select s.id, bool_or(l.id is not null and l.seq is null) as waiting, coalesce(max(l.seq), 0) as seq
    from (select id from subscriptions where customer_id = $1
          order by (status = 'active') desc, expires_at desc, id limit $2) s
    left join access_log l on l.subscription_id = s.id
    group by s.id
)
select s.id, s.plan_id, p.titles, s.title as own_title, s.name, s.status = 'active' as active, s.trial, s.expires_at, s.renews,
       case when place.waiting then 0 else (
           select count(*) from nodes n, access_head h where n.epoch = h.epoch and n.seq >= place.seq) end as acknowledged,
       (select count(*) from nodes) as nodes
from place join subscriptions s on s.id = place.id join plans p on p.id = s.plan_id
order by (s.status = 'active') desc, s.expires_at desc, s.id
"""

_PAYMENTS: Final = """
select s.id as settlement_id, s.provider, s.amount, s.currency, s.refunded, s.outcome, p.kind, p.public_id as purchase,
       coalesce(s.paid_at, s.created_at) as paid_at
from settlements s left join purchases p on p.id = s.purchase_id
where s.customer_id = $1
order by s.created_at desc, s.id desc limit $2
"""


async def card_of(source: Source, customer_id: int, currency: str) -> Card | None:
    """The card of a customer by the shop's own number of him; None if there is none."""
    row = await fetchrow(source, "card.who", _WHO, customer_id, currency, MOST_GUESTS)
    if row is None:
        return None
    subscriptions = await fetch(source, "card.subscriptions", _SUBSCRIPTIONS, customer_id, MOST_SUBSCRIPTIONS)
    payments = await payments_of(source, customer_id, MOST_PAYMENTS)
    return Card(
        **dict(row.items()),
        subscriptions=tuple(_subscription(one) for one in subscriptions),
        payments=tuple(payments),
    )


async def payments_of(source: Source, customer_id: int, limit: int) -> list[CardPayment]:
    """His last charges, the newest first."""
    rows = await fetch(source, "card.payments", _PAYMENTS, customer_id, limit)
    return [CardPayment(**dict(row.items())) for row in rows]


def _subscription(row: Row) -> CardSubscription:
    return CardSubscription(**{**dict(row.items()), "titles": from_json(row["titles"])})
