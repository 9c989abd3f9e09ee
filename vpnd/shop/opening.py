"""Opening a purchase: today's price is fixed, a use of a promo code reserved, a second tap finds the first.

Three statements. The first locks the customer, so that of two taps at once, by whichever way, the second sees what
the first has opened: a statement that waited for a lock still sees the world of its own beginning. The second reads
all that decides, the third writes. The last use of a promo code is not decided by what was read, but by the
conditional update of its counter.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.identifiers import public_id
from vpnd.shop.pricing import Price, Terms, price_of
from vpnd.shop.promos import PromoUnavailable, why_unusable
from vpnd.shop.purchases import (
    PURCHASE_COLUMNS,
    PURCHASE_JOINS,
    PURCHASE_LIFETIME,
    Purchase,
    purchase_from_row,
)

__all__ = ["MethodOff", "OfferUnavailable", "ShopPaused", "open_purchase", "open_topup"]


class OfferUnavailable(Exception):
    """The offer is not on sale, has no price in the method's or the shop's currency, or the subscription to
    renew is not this customer's or not of this plan. A button is older than the shop: show the offers anew."""


class ShopPaused(OfferUnavailable):
    """An operator has paused the sale. What was opened before can be paid, and what renews by itself renews."""


class MethodOff(OfferUnavailable):
    """An operator has switched this way to pay off. What was opened before can be paid by it."""


_PAUSED: Final = "coalesce((select w.paused from switches w where w.name = 'shop'), false)"
_METHOD_OFF: Final = "coalesce((select w.paused from switches w where w.name = 'pay_' || {}), false)"


# $1 customer, $2 offer, $3 the method's currency, $4 the shop's, $5 request key, $6 subscription or null, $7 the method
_LOOK: Final = f"""
select (select p.id from purchases p where p.request_key = $5 and p.customer_id = c.id) as replayed, {_PAUSED} as paused,
       {_METHOD_OFF.format("$7::text")} as method_off, o.id as offer_id, asked.amount as asked, shop.amount as shop_amount,
       coalesce((select d.percent from personal_discounts d
                 where d.customer_id = c.id and (d.until is null or d.until > vpnd_now())), 0) as personal,
       k.id as promo_id, k.kind as promo_kind, k.value as promo_value, k.active as promo_active,
       coalesce(k.starts_at > vpnd_now(), false) as promo_early, coalesce(k.ends_at <= vpnd_now(), false) as promo_over,
       coalesce(k.used >= k.total_cap, false) as promo_full, k.customer_cap,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = c.id and u.state = 'consumed') as promo_consumed,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = c.id and u.state = 'reserved') as promo_reserved
from customers c
left join promo_codes k on k.id = c.promo_id
left join (
    offers o
    join plans on plans.id = o.plan_id and plans.on_sale
    join prices asked on asked.offer_id = o.id and asked.currency = $3
    join prices shop on shop.offer_id = o.id and shop.currency = $4
) on o.id = $2 and o.on_sale
    and ($6::bigint is null or exists (
        select from subscriptions s where s.id = $6 and s.customer_id = c.id and s.plan_id = o.plan_id))
where c.id = $1
"""  # noqa: S608 (only a constant is pasted in)
# $1 customer, $2 request key, $3 the method
_LOOK_BACK: Final = f"""
select {_PAUSED} as paused, {_METHOD_OFF.format("$3::text")} as method_off,
       (select id from purchases where request_key = $2 and customer_id = $1) as replayed
"""  # noqa: S608 (only constants are pasted in)
_LOCK: Final = "select from customers where id = $1 for no key update"

# $1 customer, $2 offer, $3 method, $4 currency, $5 amount, $6 shop currency, $7 shop amount, $8 list amount, $9 discount,
# $10 bonus days, $11 subscription, $12 fresh, $13 recurring, $14 origin, $15 request key, $16 public id, $17 lifetime,
# $18 promo or null, $19 whether a reservation of another open purchase of his moves here, $20 kind
_BORN: Final = f"""
with same as (
    select p.* from purchases p
    where p.customer_id = $1 and p.kind = $20 and p.offer_id is not distinct from $2::bigint and p.method = $3
      and p.status = 'pending' and p.expires_at > vpnd_now() and p.received = 0
      and p.currency = $4 and p.amount = $5 and p.shop_currency = $6 and p.shop_amount = $7 and p.bonus_days = $10
      and p.subscription_id is not distinct from $11::bigint and p.fresh = $12 and p.recurring = $13
      and $14 = 'customer' and p.origin = 'customer'
      and ($18::bigint is null or exists (
          select from promo_uses u where u.purchase_id = p.id and u.promo_id = $18 and u.state = 'reserved'))
    order by p.id desc limit 1
), moved as (
    update promo_uses u set state = 'returned'
    from (select id from promo_uses
          where promo_id = $18 and customer_id = $1 and state = 'reserved' and $19 and not exists (select from same)
          order by id limit 1) old
    where u.id = old.id and u.state = 'reserved'
    returning u.id
), taken as (
    update promo_codes k set used = k.used + 1 - (select count(*)::integer from moved)
    where k.id = $18 and not exists (select from same)
      and (exists (select from moved) or (not $19 and (k.total_cap is null or k.used < k.total_cap)))
    returning k.id
), born as (
    insert into purchases (public_id, customer_id, kind, origin, offer_id, subscription_id, fresh, method, currency,
                           amount, shop_currency, shop_amount, list_amount, discount, bonus_days, recurring,
                           request_key, expires_at)
    select $16, $1, $20, $14, $2::bigint, $11::bigint, $12, $3, $4, $5, $6, $7, $8, $9, $10, $13, $15, vpnd_now() + $17::interval
    where not exists (select from same) and ($18::bigint is null or exists (select from taken))
    returning *
), reserved as (
    insert into promo_uses (promo_id, customer_id, purchase_id, state)
    select $18, $1, born.id, 'reserved' from born where $18::bigint is not null
), account as (   -- where the money will arrive: opened now, so that a settlement finds it
    insert into accounts (kind, owner, currency, customer_id, balance)
    select 'customer', $1::text, $6, $1, 0 from born on conflict (kind, owner, currency) do nothing
), p as (
    select *, false as fresh_row from same
    union all select *, true from born
)
select {PURCHASE_COLUMNS}, p.fresh_row from p {PURCHASE_JOINS}
"""  # noqa: S608 (only constants are pasted in)

_BY_ID: Final = f"""
select {PURCHASE_COLUMNS}, false as fresh_row from purchases p {PURCHASE_JOINS} where p.id = $1
"""  # noqa: S608 (only constants are pasted in)


@frozen
class _Discount:
    """What brings the price down: percent, days on top, and the code whose use has to be reserved for it."""

    percent: int = 0
    bonus_days: int = 0
    promo_id: int | None = None
    moves: bool = False


async def open_purchase(
    tx: Transaction,
    *,
    customer_id: int,
    offer_id: int,
    terms: Terms,
    request_key: str,
    shop_currency: str,
    subscription_id: int | None = None,
    fresh: bool = False,
    recurring: bool = False,
    origin: str = "customer",
    lifetime: timedelta = PURCHASE_LIFETIME,
) -> Purchase:
    """Open a purchase at today's price, or return the one that is open already.

    The same `request_key` (the update that asked) always returns the same purchase; a second tap returns the
    open purchase of the same offer, method, price and subscription. With `subscription_id` it renews that
    one; with `fresh` it buys another beside those he has; else the customer's subscription of the same plan, or his
    first. With `recurring` the provider will charge it by itself, at this price for ever: no discount then.

    The price is the plan's less the larger of the customer's personal discount and that of the promo code he has
    entered. If the code decides, a use of it is reserved, until the purchase is paid or closed.

    Locks the customer's row until the transaction ends. Raises OfferUnavailable (ShopPaused and MethodOff, unless it is a
    renewal), and PromoUnavailable for a code that cannot be used any more.
    """
    await tx.execute(_LOCK, customer_id)
    row = await tx.fetchrow(
        _LOOK,
        customer_id,
        offer_id,
        terms.currency,
        shop_currency,
        request_key,
        subscription_id,
        terms.method,
    )
    if row is None:
        raise OfferUnavailable(f"customer {customer_id} does not exist")
    if row["replayed"] is not None:
        return await _by_id(tx, row["replayed"])
    if row["paused"] and origin == "customer":
        raise ShopPaused("the shop is paused")
    if row["method_off"] and origin == "customer":
        raise MethodOff(f"{terms.method} is switched off")
    if row["offer_id"] is None:
        raise OfferUnavailable(f"offer {offer_id} cannot be bought by {terms.method} now")
    plain = recurring or origin == "renewal"
    discount = _Discount(0 if recurring else row["personal"]) if plain else _discount(row)
    prices = {terms.currency: row["asked"], shop_currency: row["shop_amount"]}
    price = price_of(prices, terms, shop_currency, discount.percent)
    if price is None:
        raise OfferUnavailable(f"offer {offer_id} costs less than {terms.method} takes")
    return await _write(
        tx,
        customer_id=customer_id,
        offer_id=offer_id,
        kind="access",
        terms=terms,
        price=price,
        discount=discount,
        request_key=request_key,
        subscription_id=subscription_id,
        fresh=fresh,
        recurring=recurring,
        origin=origin,
        lifetime=lifetime,
    )


async def open_topup(
    tx: Transaction,
    *,
    customer_id: int,
    terms: Terms,
    amount: int,
    shop_amount: int,
    shop_currency: str,
    request_key: str,
    lifetime: timedelta = PURCHASE_LIFETIME,
) -> Purchase:
    """Open a top-up of the balance, or return the one that is open already.

    Args:
        amount: what is asked, in minor units of the method's currency.
        shop_amount: what that is worth on the balance.

    Locks the customer's row until the transaction ends. Raises OfferUnavailable for less than the method takes, ShopPaused and
    MethodOff.
    """
    if amount < terms.minimum or shop_amount <= 0:
        raise OfferUnavailable(f"{amount} minor units of {terms.currency} cannot be paid by {terms.method}")
    await tx.execute(_LOCK, customer_id)
    found = await tx.fetchrow(
        _LOOK_BACK,
        customer_id,
        request_key,
        terms.method,
    )
    if found is not None and found["replayed"] is not None:
        return await _by_id(tx, found["replayed"])
    if found is not None and found["paused"]:
        raise ShopPaused("the shop is paused")
    if found is not None and found["method_off"]:
        raise MethodOff(f"{terms.method} is switched off")
    return await _write(
        tx,
        customer_id=customer_id,
        offer_id=None,
        kind="topup",
        terms=terms,
        price=Price(amount, terms.currency, shop_amount, shop_currency, shop_amount, 0),
        discount=_Discount(),
        request_key=request_key,
        subscription_id=None,
        fresh=False,
        recurring=False,
        origin="customer",
        lifetime=lifetime,
    )


def _discount(row: Row) -> _Discount:
    """The larger of the two discounts; a code that gives days goes with the personal one."""
    personal = _Discount(row["personal"])
    if row["promo_id"] is None or row["promo_kind"] == "money":
        return personal
    percent = row["promo_value"] if row["promo_kind"] == "percent" else 0
    if row["promo_kind"] == "percent" and percent <= personal.percent:
        return personal  # the code is kept for another time
    reason = why_unusable(row)
    if reason is not None:
        raise PromoUnavailable(reason)
    # A reservation that an open purchase of his holds comes along: he has chosen anew, and it is his own use.
    at_cap = row["promo_full"] or row["promo_consumed"] + row["promo_reserved"] >= row["customer_cap"]
    moves = at_cap and row["promo_reserved"] > 0
    days = row["promo_value"] if row["promo_kind"] == "days" else 0
    return _Discount(max(percent, personal.percent), days, row["promo_id"], moves)


async def _write(
    tx: Transaction, *, terms: Terms, price: Price, discount: _Discount, lifetime: timedelta, **what: Any
) -> Purchase:
    row = await tx.fetchrow(
        _BORN,
        what["customer_id"],
        what["offer_id"],
        terms.method,
        price.currency,
        price.amount,
        price.shop_currency,
        price.shop_amount,
        price.list_amount,
        price.discount,
        discount.bonus_days,
        what["subscription_id"],
        what["fresh"],
        what["recurring"],
        what["origin"],
        what["request_key"],
        public_id(),
        lifetime,
        discount.promo_id,
        discount.moves,
        what["kind"],
    )
    if row is None:
        raise PromoUnavailable("used_up")  # somebody else has taken the last use since we looked
    return purchase_from_row(row)


async def _by_id(tx: Transaction, purchase_id: int) -> Purchase:
    row = await tx.fetchrow(_BY_ID, purchase_id)
    if row is None:
        raise RuntimeError(f"purchase {purchase_id} vanished inside a transaction")
    return purchase_from_row(row)
