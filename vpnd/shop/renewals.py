"""Renewals from the balance: due within the window, at today's price, once for each period.

What a subscription is renewed by (plan and period) stands on it: what was bought last, whatever was paid since for
something else. A renewal is a purchase like any other, opened by the shop (`origin` renewal) and paid from the balance
in the same transaction; its request key names the grant that it follows, so that it cannot happen twice. Not the end: a
renewal that is refunded leads back to the same end, and may be bought again.

Who has too little is told once a period, with what is missing. His subscription is found again as soon as his balance
can pay it, and a credit wakes the worker: so a top-up renews at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.balance import BALANCE, charge_of
from vpnd.shop.charges import SettlementResult
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.opening import OfferUnavailable, open_purchase
from vpnd.shop.pricing import Terms
from vpnd.shop.settlement import PurchaseClosed, settle
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = ["NOT_NOW", "WINDOW", "Due", "due_renewals", "renew", "tell_about_renewals", "untold_renewals"]

#: How long before its end a subscription is renewed.
WINDOW: Final = timedelta(hours=6)


@frozen
class Due:
    """A subscription that its customer's balance can renew now."""

    subscription_id: int
    customer_id: int
    offer_id: int


#: What the renewal of a subscription `s` by the price `r` costs, as `price_of` reckons it. The personal discount counts, a
#: promo code does not: nobody has typed one.
TODAYS_PRICE: Final = """(r.amount * (100 - coalesce((
                select d.percent from personal_discounts d
                where d.customer_id = s.customer_id and (d.until is null or d.until > vpnd_now())), 0)) + 99) / 100"""
#: What its customer could pay it with, in the currency $1.
SPENDABLE: Final = """coalesce((select sum(a.balance) from accounts a
                     where a.kind in ('customer', 'bonus') and a.owner = s.customer_id::text and a.currency = $1), 0)"""

_PRICED: Final = f"""
    select s.id, s.customer_id, s.plan_id, s.offer_id, s.expires_at, r.amount as list_price, o.on_sale and pl.on_sale as on_sale,
           {TODAYS_PRICE} as price,
           {SPENDABLE} as balance
    from subscriptions s
    join offers o on o.id = s.offer_id
    join plans pl on pl.id = o.plan_id
    left join prices r on r.offer_id = o.id and r.currency = $1
    where s.status = 'active' and s.renews = 'balance' and s.expires_at <= vpnd_now() + $2::interval
"""  # noqa: S608 (only constants are pasted in)

_DUE: Final = f"""
select id, customer_id, offer_id from ({_PRICED} and s.id > coalesce($4::bigint, 0)) due
where on_sale and price is not null and balance >= price
order by id limit $3
"""  # noqa: S608 (only a constant is pasted in)

#: Of `due`: whose renewal cannot be, and who was not told yet. Once a period: the key names it.
_UNTOLD: Final = """
    c.reachable and (not due.on_sale or due.price is null or due.balance < due.price)
    and not exists (select from outbox o where o.key = due.key)
"""
_KEYED: Final = f"""select p.*, 'renewal:' || p.id || ':' || extract(epoch from p.expires_at)::bigint as key
    from ({_PRICED} and %s) p"""  # noqa: S608 (only a constant is pasted in)

_TO_TELL: Final = f"""
select due.id from ({_KEYED % "s.id > coalesce($4::bigint, 0)"}) due join customers c on c.id = due.customer_id
where {_UNTOLD} order by due.id limit $3
"""  # noqa: S608 (only constants are pasted in)

_TELL: Final = f"""
with told as (
    insert into outbox (kind, key, lane, order_key, payload, valid_until)
    select $3, due.key, 'notice', 'chat:' || c.telegram_id,
           jsonb_build_object(
               'chat_id', c.telegram_id, 'language', c.language,
               'template', case when due.on_sale and due.price is not null then 'renewal_short' else 'renewal_unavailable' end,
               'args', jsonb_build_object(
                   'subscription_id', due.id, 'plan_id', due.plan_id, 'currency', $1::text,
                   'price', due.price, 'missing', due.price - due.balance,
                   'expires_at', to_char(due.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))),
           due.expires_at
    from ({_KEYED % "s.id = any($4::bigint[])"}) due join customers c on c.id = due.customer_id
    where {_UNTOLD}
    order by due.id
    on conflict (key) do nothing
    returning id
)
select count(*) from told
"""  # noqa: S608 (only constants are pasted in)


async def due_renewals(
    source: Source, shop_currency: str, limit: int, *, after: int | None = None, window: timedelta = WINDOW
) -> list[Due]:
    """Subscriptions within the window of their end whose customers' balances can pay them, by id beyond `after`."""
    rows = await fetch(source, "renewals.due", _DUE, shop_currency, window, limit, after)
    return [Due(row["id"], row["customer_id"], row["offer_id"]) for row in rows]


async def renew(
    tx: Transaction, due: Due, shop_currency: str, *, window: timedelta = WINDOW
) -> SettlementResult | None:
    """Renew a subscription from its customer's balance.

    None if it was renewed or changed after it was found due. Raises one of `NOT_NOW` when the balance was spent or the
    offer went off sale since: then the transaction must end without a commit. Locks the customer first.
    """
    await tx.execute("select from customers where id = $1 for no key update", due.customer_id)
    row = await tx.fetchrow(
        "select plan_id, offer_id, (select coalesce(max(g.id), 0) from grants g where g.subscription_id = s.id) as last_grant"
        " from subscriptions s where id = $1 and status = 'active' and renews = 'balance' and offer_id = $2"
        " and expires_at <= vpnd_now() + $3::interval",
        due.subscription_id,
        due.offer_id,
        window,
    )
    if row is None:
        return None
    purchase = await open_purchase(
        tx,
        customer_id=due.customer_id,
        offer_id=due.offer_id,
        terms=Terms(BALANCE, shop_currency),
        request_key=f"renewal:{due.subscription_id}:{row['last_grant']}",
        shop_currency=shop_currency,
        subscription_id=due.subscription_id,
        origin="renewal",
    )
    if purchase.status != "pending":
        return None
    return await settle(tx, charge_of(purchase))


#: What `renew` may raise when the world has changed since: nothing was written, and it is found again when it is due.
NOT_NOW: Final = (OfferUnavailable, InsufficientBalance, PurchaseClosed)


async def untold_renewals(
    source: Source, shop_currency: str, limit: int, *, after: int | None = None, window: timedelta = WINDOW
) -> list[int]:
    """Ids of subscriptions whose renewal is due and cannot be, and whose customers were not told, beyond `after`."""
    rows = await fetch(source, "renewals.untold", _TO_TELL, shop_currency, window, limit, after)
    return [row["id"] for row in rows]


async def tell_about_renewals(
    source: Source, shop_currency: str, subscription_ids: Sequence[int], *, window: timedelta = WINDOW
) -> int:
    """Tell the customers of these that their renewal cannot be paid, or that the offer is gone; how many were told.

    Each is told once a period, and whose renewal can be paid by now is not. Safe to run twice at once.
    """

    async def body(tx: Transaction) -> int:
        wanted = list(subscription_ids)
        return int(await tx.fetchval(_TELL, shop_currency, window, notices.MESSAGE, wanted))

    return await in_transaction(source, "renewals.tell", body)
