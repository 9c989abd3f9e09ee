"""What others want to know of the shop, each in one bounded read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import customers
from vpnd.shop.customers import Customer, customer_from_row
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction
from vpnd.shop.subscriptions import Subscription

__all__ = [
    "Overview",
    "SubscriptionPage",
    "WatchedInvoice",
    "invoices_to_check",
    "invoices_unpaid",
    "mark_invoices_expired",
    "overview",
    "subscription_page",
]

SUBSCRIPTIONS_SHOWN: Final = 20


@frozen
class Overview:
    """A customer's own page: what he has, and what lies on his balance by currency in minor units."""

    customer: Customer
    subscriptions: tuple[Subscription, ...]
    balances: Mapping[str, int]
    now: datetime


@frozen
class SubscriptionPage:
    """What a subscription link needs. `now` is business time, which `expires_at` is to be compared with.

    `blocked_at` is when an operator shut its owner out, None for most.
    """

    subscription_id: int
    status: str
    plan_id: str
    titles: Mapping[str, str]
    language: str
    name: str
    credential: UUID
    expires_at: datetime
    now: datetime
    blocked_at: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether it gives access now: on, and its time is not over though no sweep has come yet."""
        return self.status == "active" and self.expires_at > self.now

    @property
    def until(self) -> datetime:
        """When access ends or has ended. What is off before its time ended with its owner's block, whatever he has paid for."""
        if self.active or self.expires_at <= self.now:
            return self.expires_at
        return min(self.expires_at, self.blocked_at or self.now)


@frozen
class WatchedInvoice:
    """An invoice that a provider still has to be asked about. `overdue`: its time is over by more than an hour."""

    id: int
    external_id: str
    purchase_id: int
    expires_at: datetime
    overdue: bool


_OVERVIEW: Final = f"""
select {", ".join("c." + column.strip() for column in customers.COLUMNS.split(","))}, vpnd_now() as now,
       (select jsonb_object_agg(a.currency, a.balance) from accounts a
        where a.customer_id = c.id and a.kind = 'customer') as balances,
       s.id as s_id, s.plan_id, s.name, s.credential, s.link_token, s.status, s.starts_at, s.expires_at,
       s.version, s.activated_at, s.renews, s.offer_id, s.trial, s.title
from customers c
left join lateral (
    select * from subscriptions s where s.customer_id = c.id
    order by (s.status = 'active') desc, s.expires_at desc, s.id limit {SUBSCRIPTIONS_SHOWN}
) s on true
where c.telegram_id = $1
order by (s.status = 'active') desc, s.expires_at desc, s.id
"""  # noqa: S608 (only constants are pasted in)

_PAGE: Final = """
select s.id, s.status, s.plan_id, p.titles, c.language, s.name, s.credential, s.expires_at, c.blocked_at,
       vpnd_now() as now
from subscriptions s
join plans p on p.id = s.plan_id
join customers c on c.id = s.customer_id
where s.link_token = $1
"""

# Taken and marked at once, so that two watchers share the work and the longest unchecked is always next.
_TO_CHECK: Final = """
with due as (
    select id from invoices where provider = $1 and status = 'active'
    order by checked_at, id limit $2
    for no key update skip locked
)
update invoices i set checked_at = clock_timestamp() from due where i.id = due.id
returning i.id, i.external_id, i.purchase_id, i.expires_at, i.expires_at < vpnd_now() - interval '1 hour' as overdue
"""


async def overview(source: Source, telegram_id: int) -> Overview | None:
    """A customer, his subscriptions (those that are on first, at most 20) and balances; None for a stranger."""
    rows = await fetch(source, "status.overview", _OVERVIEW, telegram_id)
    if not rows:
        return None
    customer = customer_from_row(rows[0])
    return Overview(
        customer=customer,
        subscriptions=tuple(
            Subscription(
                id=row["s_id"],
                customer_id=customer.id,
                plan_id=row["plan_id"],
                name=row["name"],
                credential=row["credential"],
                link_token=row["link_token"],
                status=row["status"],
                starts_at=row["starts_at"],
                expires_at=row["expires_at"],
                version=row["version"],
                activated_at=row["activated_at"],
                renews=row["renews"],
                offer_id=row["offer_id"],
                trial=row["trial"],
                title=row["title"],
            )
            for row in rows
            if row["s_id"] is not None
        ),
        balances=rows[0]["balances"] or {},
        now=rows[0]["now"],
    )


async def subscription_page(source: Source, link_token: str) -> SubscriptionPage | None:
    """What stands behind a subscription link, in one read; None for a token that is nobody's."""
    row = await fetchrow(source, "status.subscription_page", _PAGE, link_token)
    if row is None:
        return None
    return SubscriptionPage(
        subscription_id=row["id"],
        status=row["status"],
        plan_id=row["plan_id"],
        titles=row["titles"],
        language=row["language"],
        name=row["name"],
        credential=row["credential"],
        expires_at=row["expires_at"],
        now=row["now"],
        blocked_at=row["blocked_at"],
    )


async def invoices_to_check(source: Source, provider: str, limit: int) -> list[WatchedInvoice]:
    """Take up to `limit` open invoices, the longest unchecked first, and mark them checked now."""

    async def body(tx: Transaction) -> list[WatchedInvoice]:
        rows = await tx.fetch(_TO_CHECK, provider, limit)
        return [
            WatchedInvoice(
                row["id"], row["external_id"], row["purchase_id"], row["expires_at"], row["overdue"]
            )
            for row in rows
        ]

    return await in_transaction(source, "invoices.to_check", body)


async def invoices_unpaid(source: Source, provider: str, external_ids: Sequence[str]) -> set[str]:
    """Which of a provider's invoices, a page of them, are ours and still wait to be paid."""
    rows = await fetch(
        source,
        "invoices.unpaid",
        "select external_id from invoices where provider = $1 and external_id = any($2::text[]) and status = 'active'",
        provider,
        list(external_ids),
    )
    return {row["external_id"] for row in rows}


async def mark_invoices_expired(source: Source, provider: str, external_ids: Sequence[str]) -> int:
    """Stop watching invoices that the provider says can no longer be paid; returns how many were open."""

    async def body(tx: Transaction) -> int:
        return await tx.execute(
            "update invoices set status = 'expired'"
            " where provider = $1 and external_id = any($2::text[]) and status = 'active'",
            provider,
            list(external_ids),
        )

    return await in_transaction(source, "invoices.expired", body)
