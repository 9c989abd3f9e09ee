"""Purchases: a price that was promised, and for how long.

The price is fixed when the purchase is opened, so that a button under an old message cannot sell at an old
price and a price list edited meanwhile cannot change what a customer was told. Opening one purchase never
touches another: a customer may pay any of those he opened, and also one that has expired since.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.identifiers import public_id
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "METHODS",
    "PURCHASE_LIFETIME",
    "Invoice",
    "Method",
    "OfferUnavailable",
    "Purchase",
    "attach_invoice",
    "cancel_purchase",
    "expire_purchases",
    "open_purchase",
    "price_currency",
    "purchase_of",
]

Method = Literal["cryptopay", "stars"]
METHODS: Final[tuple[Method, ...]] = ("cryptopay", "stars")
STARS_CURRENCY: Final = "XTR"

# How long a price is promised. Paying later is honoured all the same; it only ends the double-tap guard.
PURCHASE_LIFETIME: Final = timedelta(minutes=60)


class OfferUnavailable(Exception):
    """The offer is not on sale, has no price in the method's or the shop's currency, or the subscription to
    renew is not this customer's or not of this plan. A button is older than the shop: show the offers anew."""


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


@frozen
class Purchase:
    """What a customer wants, at which price, paid how. Amounts are minor units.

    Attributes:
        public_id: its name outside the house, and the payload of its invoices.
        amount, currency: the price asked, in the method's currency.
        shop_amount, shop_currency: what is booked as revenue.
        status: pending, paid, expired, cancelled or refunded.
        received: what came in by charges that were too small.
        invoice: the newest one, with an url to pay at; Stars invoices are messages and have none.
        created: whether the call that returned this made it (False: it had been open before).
    """

    id: int
    public_id: str
    customer_id: int
    offer_id: int
    plan_id: str
    days: int
    subscription_id: int | None
    method: str
    currency: str
    amount: int
    shop_currency: str
    shop_amount: int
    status: str
    received: int
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    invoice: Invoice | None
    created: bool = False


_COLUMNS: Final = """
    p.id, p.public_id, p.customer_id, p.offer_id, o.plan_id, o.days, p.subscription_id, p.method, p.currency,
    p.amount, p.shop_currency, p.shop_amount, p.status, p.received, p.created_at, p.expires_at, p.paid_at,
    i.id as i_id, i.provider as i_provider, i.external_id as i_external_id, i.url as i_url,
    i.currency as i_currency, i.amount as i_amount, i.status as i_status, i.expires_at as i_expires_at
"""
_JOINS: Final = """
    join offers o on o.id = p.offer_id
    left join lateral (
        select * from invoices i where i.purchase_id = p.id order by (i.status = 'active') desc, i.id desc limit 1
    ) i on true
"""

# $1 customer, $2 offer, $3 method, $4 its currency, $5 the shop's currency, $6 request key, $7 public id,
# $8 subscription or null, $9 lifetime. The customer's row is locked before, so that of two taps at once the
# second sees what the first has opened.
_OPEN: Final = f"""
with offer as (
    select o.id, asked.currency, asked.amount, shop.amount as shop_amount
    from offers o
    join plans on plans.id = o.plan_id
    join prices asked on asked.offer_id = o.id and asked.currency = $4
    join prices shop on shop.offer_id = o.id and shop.currency = $5
    where o.id = $2 and o.on_sale and plans.on_sale
      and ($8::bigint is null or exists (
          select from subscriptions s
          where s.id = $8 and s.customer_id = $1 and s.plan_id = o.plan_id))
), replayed as (
    select p.* from purchases p where p.request_key = $6 and p.customer_id = $1
), same as (
    select p.* from purchases p join offer on p.offer_id = offer.id
    where p.customer_id = $1 and p.method = $3 and p.status = 'pending' and p.expires_at > vpnd_now()
      and p.currency = offer.currency and p.amount = offer.amount
      and p.shop_currency = $5 and p.shop_amount = offer.shop_amount
      and p.subscription_id is not distinct from $8 and p.received = 0
      and not exists (select from replayed)
    order by p.id desc limit 1
), born as (
    insert into purchases (public_id, customer_id, offer_id, subscription_id, method, currency, amount,
                           shop_currency, shop_amount, request_key, expires_at)
    select $7, $1, offer.id, $8, $3, offer.currency, offer.amount, $5, offer.shop_amount, $6, vpnd_now() + $9
    from offer
    where not exists (select from replayed) and not exists (select from same)
    returning *
), p as (
    select *, false as fresh from replayed
    union all select *, false from same
    union all select *, true from born
)
select {_COLUMNS}, p.fresh from p {_JOINS}
"""  # noqa: S608 (only constants are pasted in)

_OF: Final = f"""
select {_COLUMNS}, false as fresh from purchases p {_JOINS}
join customers c on c.id = p.customer_id
where p.public_id = $1 and c.telegram_id = $2
"""  # noqa: S608 (only constants are pasted in)

_EXPIRE: Final = """
with due as (
    select id from purchases
    where status = 'pending' and expires_at <= vpnd_now() and ($2::bigint[] is null or id = any($2))
    order by expires_at, id
    limit $1
    for update skip locked
)
update purchases p set status = 'expired' from due where p.id = due.id and p.status = 'pending'
"""


def price_currency(method: Method, shop_currency: str) -> str:
    """The currency a method asks its price in: Stars for Stars, the shop's own for Crypto Pay."""
    return STARS_CURRENCY if method == "stars" else shop_currency


async def open_purchase(
    tx: Transaction,
    *,
    customer_id: int,
    offer_id: int,
    method: Method,
    request_key: str,
    shop_currency: str,
    subscription_id: int | None = None,
    lifetime: timedelta = PURCHASE_LIFETIME,
) -> Purchase:
    """Open a purchase at today's price, or return the one that is open already.

    The same `request_key` (the update that asked) always returns the same purchase; a second tap returns the
    open purchase of the same offer, method, price and subscription. With `subscription_id` it renews that
    one; without, the customer's subscription of the same plan, or it makes the first.

    Locks the customer's row until the transaction ends. Raises OfferUnavailable.
    """
    await tx.execute("select from customers where id = $1 for no key update", customer_id)
    row = await tx.fetchrow(
        _OPEN,
        customer_id,
        offer_id,
        method,
        price_currency(method, shop_currency),
        shop_currency,
        request_key,
        public_id(),
        subscription_id,
        lifetime,
    )
    if row is None:
        raise OfferUnavailable(f"offer {offer_id} cannot be bought by {method} now")
    return purchase_from_row(row)


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


async def purchase_of(source: Source, purchase_public_id: str, telegram_id: int) -> Purchase | None:
    """The purchase if it is this person's, else None: somebody else's does not exist for him."""
    row = await fetchrow(source, "purchases.of", _OF, purchase_public_id, telegram_id)
    return None if row is None else purchase_from_row(row)


async def cancel_purchase(tx: Transaction, purchase_public_id: str, telegram_id: int) -> bool:
    """Close a person's own pending purchase. A payment that comes all the same is honoured."""
    closed = await tx.execute(
        """
        update purchases p set status = 'cancelled' from customers c
        where p.public_id = $1 and p.status = 'pending' and c.id = p.customer_id and c.telegram_id = $2
        """,
        purchase_public_id,
        telegram_id,
    )
    return closed > 0


async def expire_purchases(source: Source, limit: int, *, keys: Sequence[int] | None = None) -> int:
    """Close up to `limit` purchases whose time is over, one statement; `keys` narrows it to these ids.

    Rows that a settlement holds are left for the next round. Safe to run twice at once.
    """

    async def body(tx: Transaction) -> int:
        return await tx.execute(_EXPIRE, limit, None if keys is None else list(keys))

    return await in_transaction(source, "purchases.expire", body)


async def overdue_purchases(
    source: Source, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """End and id of purchases that a sweep would close now, the longest overdue first, after `after`."""
    rows = await fetch(
        source,
        "purchases.overdue",
        "select expires_at, id from purchases where status = 'pending' and expires_at <= vpnd_now()"
        " and ($2::timestamptz is null or (expires_at, id) > ($2, $3::bigint))"
        " order by expires_at, id limit $1",
        limit,
        *((None, None) if after is None else after),
    )
    return [(row["expires_at"], row["id"]) for row in rows]


def purchase_from_row(row: Row) -> Purchase:
    """A purchase with its newest invoice from a row with this module's columns."""
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
    return Purchase(
        id=row["id"],
        public_id=row["public_id"],
        customer_id=row["customer_id"],
        offer_id=row["offer_id"],
        plan_id=row["plan_id"],
        days=row["days"],
        subscription_id=row["subscription_id"],
        method=row["method"],
        currency=row["currency"],
        amount=row["amount"],
        shop_currency=row["shop_currency"],
        shop_amount=row["shop_amount"],
        status=row["status"],
        received=row["received"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        paid_at=row["paid_at"],
        invoice=invoice,
        created=row["fresh"],
    )
