"""Purchases: a price that was promised, and for how long.

The price is fixed when the purchase is opened (`vpnd.shop.opening`), so that a button under an old message cannot
sell at an old price and a price list edited meanwhile cannot change what a customer was told. Opening one purchase
never touches another: a customer may pay any of those he opened, and also one that has expired since.

    pending → paid | expired | cancelled      by a settlement, the sweep, the customer
    expired, cancelled → paid                 a payment that comes late is honoured
    paid → refunded                           when all of it went back
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.pricing import METHODS, STARS_CURRENCY, Method, Terms
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "METHODS",
    "PURCHASE_LIFETIME",
    "STARS_CURRENCY",
    "Invoice",
    "Method",
    "Purchase",
    "Terms",
    "attach_invoice",
    "cancel_all",
    "cancel_purchase",
    "expire_purchases",
    "note_invoice_sent",
    "overdue_purchases",
    "purchase_of",
    "reopen_purchase",
]

# How long a price is promised. Paying later is honoured all the same; it only ends the double-tap guard.
PURCHASE_LIFETIME: Final = timedelta(minutes=60)


@frozen
class Invoice:
    """A provider's invoice for a purchase. `status` is active, paid or expired."""

    id: int
    provider: str
    external_id: str
    url: str
    currency: str
    amount: int
    status: str
    expires_at: datetime


@frozen(kw_only=True)
class Purchase:
    """What a customer wants, at which price, paid how. Amounts are minor units.

    Attributes:
        public_id: its name outside the house, and the payload of its invoices.
        kind: "access" buys an offer, "topup" fills the balance.
        origin: "customer" opened it, "renewal" the shop for him, "recurring" a provider that charges by itself.
        offer_id, plan_id, days: what access is bought; None, None and 0 for a top-up.
        subscription_id: which one it renews; None: the customer's one of the plan, or a new one.
        fresh: it buys a subscription of its own, whatever the customer has.
        amount, currency: the price asked, in the method's currency.
        shop_amount, shop_currency: what is booked as revenue; `list_amount` is that before the discount in percent.
        bonus_days: days that a promo code adds to the offer's.
        recurring: its invoice starts a subscription that the provider charges by itself.
        status: pending, paid, expired, cancelled or refunded.
        received: what came in by charges that were too small; `refunded`: what went back of `shop_amount`.
        invoice: the newest one, with an url to pay at; Stars invoices are messages and have none.
        invoices: how many were noted.
        invoice_sent_at: when Telegram took the message that is its Stars invoice; None: it may not have been sent.
        created: whether the call that returned this made it (False: it had been open before).
    """

    id: int
    public_id: str
    customer_id: int
    kind: str
    origin: str
    offer_id: int | None
    plan_id: str | None
    days: int
    subscription_id: int | None
    fresh: bool
    method: str
    currency: str
    amount: int
    shop_currency: str
    shop_amount: int
    list_amount: int | None
    discount: int
    bonus_days: int
    recurring: bool
    status: str
    received: int
    refunded: int
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    invoice: Invoice | None
    invoices: int
    invoice_sent_at: datetime | None = None
    created: bool = False

    @property
    def missing(self) -> int:
        """What is still to be paid, in the method's currency."""
        return max(self.amount - self.received, 0)


PURCHASE_COLUMNS: Final = """
    p.id, p.public_id, p.customer_id, p.kind, p.origin, p.offer_id, o.plan_id, coalesce(o.days, 0) as days,
    p.subscription_id, p.fresh, p.method, p.currency, p.amount, p.shop_currency, p.shop_amount, p.list_amount,
    p.discount, p.bonus_days, p.recurring, p.status, p.received, p.refunded, p.created_at, p.expires_at, p.paid_at,
    p.invoice_sent_at, (select count(*) from invoices n where n.purchase_id = p.id) as invoices,
    i.id as i_id, i.provider as i_provider, i.external_id as i_external_id, i.url as i_url,
    i.currency as i_currency, i.amount as i_amount, i.status as i_status, i.expires_at as i_expires_at
"""
PURCHASE_JOINS: Final = """
    left join offers o on o.id = p.offer_id
    left join lateral (
        select * from invoices i where i.purchase_id = p.id order by (i.status = 'active') desc, i.id desc limit 1
    ) i on true
"""

_OF: Final = f"""
select {PURCHASE_COLUMNS}, false as fresh_row from purchases p {PURCHASE_JOINS}
join customers c on c.id = p.customer_id
where p.public_id = $1 and c.telegram_id = $2
"""  # noqa: S608 (only constants are pasted in)

# What closes a purchase gives its use of a promo code back.
_FREE: Final = """
returned as (
    update promo_uses u set state = 'returned' from closed
    where u.purchase_id = closed.id and u.state = 'reserved' returning u.promo_id
), locked as (   -- in one order: two sweeps may close purchases with the same codes
    select c.id, f.n from (select promo_id, count(*)::integer as n from returned group by promo_id) f
    join promo_codes c on c.id = f.promo_id
    order by c.id
    for no key update of c
), counted as (
    update promo_codes c set used = c.used - locked.n from locked where c.id = locked.id
)
select count(*) from closed
"""

_EXPIRE: Final = f"""
with due as (
    select id from purchases
    where id = any($1::bigint[]) and status = 'pending' and expires_at <= vpnd_now()
    order by expires_at, id
    for update skip locked
), closed as (
    update purchases p set status = 'expired' from due where p.id = due.id and p.status = 'pending' returning p.id
), {_FREE}
"""  # noqa: S608 (only constants are pasted in)

_CANCEL: Final = f"""
with closed as (
    update purchases p set status = 'cancelled' from customers c
    where p.public_id = $1 and p.status = 'pending' and c.id = p.customer_id and c.telegram_id = $2
    returning p.id
), {_FREE}
"""  # noqa: S608 (only constants are pasted in)

_CANCEL_ALL: Final = f"""
with closed as (
    update purchases p set status = 'cancelled'
    from (select id from purchases where customer_id = $1 and status = 'pending' order by id limit 1000 for no key update) open
    where p.id = open.id
    returning p.id
), {_FREE}
"""  # noqa: S608 (only constants are pasted in)

_REOPEN: Final = """
update purchases p
set status = 'pending', expires_at = greatest(p.expires_at, vpnd_now() + $3::interval), invoice_sent_at = null
from customers c
where p.public_id = $1 and c.id = p.customer_id and c.telegram_id = $2
  and p.received > 0 and p.received < p.amount and p.status in ('pending', 'expired', 'cancelled')
"""


async def attach_invoice(
    tx: Transaction,
    purchase: Purchase,
    *,
    provider: str,
    external_id: str,
    url: str,
    amount: int,
    currency: str,
    expires_at: datetime,
) -> int:
    """Note the provider's invoice, so that it is watched and its payment is known; returns its id here.

    Noting it twice changes nothing: the provider's id decides.
    """
    invoice_id: int = await tx.fetchval(
        """
        insert into invoices (purchase_id, provider, external_id, url, currency, amount, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (provider, external_id) do update set url = excluded.url
        returning id
        """,
        purchase.id,
        provider,
        external_id,
        url,
        currency,
        amount,
        expires_at,
    )
    return invoice_id


async def note_invoice_sent(source: Source, purchase_id: int) -> None:
    """Note that Telegram took the Stars invoice of a purchase: from now on a second tap is told where it is."""

    async def body(tx: Transaction) -> None:
        await tx.execute(
            "update purchases set invoice_sent_at = vpnd_now() where id = $1 and invoice_sent_at is null",
            purchase_id,
        )

    await in_transaction(source, "purchases.invoice_sent", body)


async def purchase_of(source: Source, purchase_public_id: str, telegram_id: int) -> Purchase | None:
    """The purchase if it is this person's, else None: somebody else's does not exist for him."""
    row = await fetchrow(source, "purchases.of", _OF, purchase_public_id, telegram_id)
    return None if row is None else purchase_from_row(row)


async def cancel_purchase(tx: Transaction, purchase_public_id: str, telegram_id: int) -> bool:
    """Close a person's own pending purchase. A payment that comes all the same is honoured."""
    return int(await tx.fetchval(_CANCEL, purchase_public_id, telegram_id)) > 0


async def cancel_all(tx: Transaction, customer_id: int) -> int:
    """Close all purchases that a customer has open, as `cancel_purchase` does; returns how many."""
    return int(await tx.fetchval(_CANCEL_ALL, customer_id))


async def reopen_purchase(
    tx: Transaction, purchase_public_id: str, telegram_id: int, lifetime: timedelta = PURCHASE_LIFETIME
) -> bool:
    """Give a person's own purchase that was paid in part time to be completed. False if it is no such purchase.

    What is missing may have changed, so a Stars invoice that was sent before does not count any more.
    """
    return await tx.execute(_REOPEN, purchase_public_id, telegram_id, lifetime) > 0


async def expire_purchases(source: Source, limit: int, *, keys: Sequence[int] | None = None) -> int:
    """Close up to `limit` purchases whose time is over, one statement: those of these ids, else the longest overdue.

    Their uses of promo codes are free again. Rows that a settlement holds are left for the next round. Safe to run
    twice at once.
    """
    if keys is None:
        keys = [key for _end, key in await overdue_purchases(source, limit)]
    due = list(keys[:limit])

    async def body(tx: Transaction) -> int:
        return int(await tx.fetchval(_EXPIRE, due))

    return await in_transaction(source, "purchases.expire", body)


async def overdue_purchases(
    source: Source, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """End and id of purchases that a sweep would close now, the longest overdue first, after `after`."""
    rows = await fetch(
        source,
        "purchases.overdue",
        "select expires_at, id from purchases where status = 'pending' and expires_at <= vpnd_now()"
        " and (expires_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bigint, 0))"
        " order by expires_at, id limit $1",
        limit,
        *((None, None) if after is None else after),
    )
    return [(row["expires_at"], row["id"]) for row in rows]


_FIELDS: Final = (
    "id", "public_id", "customer_id", "kind", "origin", "offer_id", "plan_id", "days", "subscription_id", "fresh",
    "method", "currency", "amount", "shop_currency", "shop_amount", "list_amount", "discount", "bonus_days", "recurring",
    "status", "received", "refunded", "created_at", "expires_at", "paid_at", "invoices",
    "invoice_sent_at",
)  # fmt: skip


def purchase_from_row(row: Row) -> Purchase:
    """A purchase with its newest invoice from a row with this module's columns and `fresh_row`."""
    invoice = None
    if row["i_id"] is not None:
        invoice = Invoice(
            id=row["i_id"],
            provider=row["i_provider"],
            external_id=row["i_external_id"],
            url=row["i_url"],
            currency=row["i_currency"],
            amount=row["i_amount"],
            status=row["i_status"],
            expires_at=row["i_expires_at"],
        )
    return Purchase(invoice=invoice, created=row["fresh_row"], **{name: row[name] for name in _FIELDS})
