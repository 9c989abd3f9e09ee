"""Subscriptions: who has access until when, under which credential.

A credential is made here, before any node hears of it, and stays for the life of the subscription: a renewal
keeps it, and also one that comes after the expiry switches the same credential on again, so that a link once
imported works for ever. Whether a node lets it in is `status`. Every change of `status` happens under the
row's lock, raises `version`, and writes one row of the access log in the same transaction; a renewal of what
is still on changes no access and costs the nodes nothing.

An expiry and a renewal may race. Whoever holds the row's lock first wins, and the other judges what he left:
the sweep re-reads `expires_at`, the renewal re-reads `status`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid4

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.identifiers import link_token, subscription_name
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "Granted",
    "Subscription",
    "SubscriptionNotFound",
    "due_subscriptions",
    "expire_due",
    "grant",
    "of_customer",
    "subscription_by_id",
    "subscription_by_token",
]


#: Why access was given: it was bought, a promo code gave it, an operator did. (A trial is given by `vpnd.shop.trial`.)
GrantKind = Literal["purchase", "promo", "gift"]


class SubscriptionNotFound(Exception):
    """The subscription to be renewed is not this customer's."""


@frozen
class Subscription:
    """Access of one customer under one credential.

    Attributes:
        status: active or expired.
        renews: by itself: "off", from the customer's "balance", or by his subscription in "stars".
        offer_id: plan and period that it is renewed by: what was bought last; None for what was only ever given.
        trial: nothing but the trial has given access: no purchase, no gift, no promo code.
        title: what its owner calls it; None: what the plan is called.
    """

    id: int
    customer_id: int
    plan_id: str
    name: str
    credential: UUID
    link_token: str
    status: str
    starts_at: datetime
    expires_at: datetime
    version: int
    activated_at: datetime | None
    renews: str
    offer_id: int | None
    trial: bool = False
    title: str | None = None

    @property
    def active(self) -> bool:
        """Whether the shop says "on"; a node may not have heard of it yet (`activated_at`)."""
        return self.status == "active"


@frozen
class Granted:
    """What a grant gave: access from `from_at` until `until_at`.

    Attributes:
        renewed: the subscription existed before.
        access_changed: it was off or new, so that nodes have to be told.
    """

    subscription: Subscription
    renewed: bool
    access_changed: bool
    from_at: datetime
    until_at: datetime


COLUMNS: Final = (
    "id, customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, version, activated_at,"
    " renews, offer_id, trial, title"
)

#: Whether the customer `c` of a statement has never bought access, be it that his money went back.
NEVER_BOUGHT: Final = """not exists (
        select from purchases b where b.customer_id = c.id and b.kind = 'access' and b.status in ('paid', 'refunded'))"""

# Without a subscription id: of several of the same plan the one that is on and ends last.
_TARGET: Final = """
select id, status from subscriptions
where customer_id = $1 and case when $3::bigint is null then plan_id = $2 else id = $3 end
order by (status = 'active') desc, expires_at desc, id
limit 1
for no key update
"""

# $1 subscription, $2 days, $3 settlement, $4 purchase, $5 whether it was off, $6 kind. The row is locked, so `old` is its
# present state. A notice of the expiry that nobody has taken up yet is no longer true.
_RENEW: Final = f"""
with old as (
    select id, version, greatest(vpnd_now(), expires_at) as from_at from subscriptions where id = $1
), renewed as (
    update subscriptions s
    set expires_at = old.from_at + make_interval(days => $2),
        status = 'active',
        trial = false,
        starts_at = case when $5 then old.from_at else s.starts_at end,
        version = s.version + case when $5 then 1 else 0 end,
        activated_at = case when $5 then null else s.activated_at end
    from old where s.id = old.id
    returning s.*, old.from_at
), logged as (
    insert into access_log (subscription_id) select id from renewed where $5
), granted as (
    insert into grants (subscription_id, settlement_id, purchase_id, days, from_at, until_at, kind)
    select id, $3, $4, $2, from_at, expires_at, $6 from renewed
), withdrawn as (
    update outbox o set status = 'dropped', finished_at = clock_timestamp(), last_error = 'renewed meanwhile'
    from old
    where $5 and o.key = 'expired:' || old.id || ':' || old.version and o.status = 'ready'
      and (o.lease_until is null or o.lease_until < clock_timestamp())
)
select {COLUMNS}, from_at from renewed
"""  # noqa: S608 (only a constant is pasted in)

_CREATE: Final = f"""
with made as (
    insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at)
    values ($1, $2, $6, $7, $8, 'active', vpnd_now(), vpnd_now() + make_interval(days => $3))
    returning *
), logged as (
    insert into access_log (subscription_id) select id from made
), granted as (
    insert into grants (subscription_id, settlement_id, purchase_id, days, from_at, until_at, kind)
    select id, $4, $5, $3, starts_at, expires_at, $9 from made
)
select {COLUMNS}, starts_at as from_at from made
"""  # noqa: S608 (only a constant is pasted in)

# Telegram charges a subscription about when it ends, and tells a moment later. So long access stays on.
STARS_GRACE: Final = "case when renews = 'stars' then interval '1 hour' else interval '0' end"

# One statement decides, logs and tells. The predicate is judged again on the locked row: a renewal that committed
# between the look and the lock has moved expires_at, and the row is let go.
_EXPIRE: Final = f"""
with due as (
    select id from subscriptions
    where id = any($1::bigint[]) and status = 'active' and expires_at + {STARS_GRACE} <= vpnd_now()
    order by expires_at, id
    for update skip locked
), ended as (
    update subscriptions s set status = 'expired', version = s.version + 1
    from due where s.id = due.id and s.status = 'active' and s.expires_at + {STARS_GRACE} <= vpnd_now()
    returning s.id, s.customer_id, s.plan_id, s.version, s.expires_at, s.trial
), logged as (
    insert into access_log (subscription_id) select id from ended order by id
), claimed as (   -- whoever ends a trial tells its end, in words of its own
    insert into trial_notices (subscription_id, notice) select id, 'ended' from ended where trial
    on conflict do nothing
    returning subscription_id
), told as (
    insert into outbox (kind, key, lane, order_key, payload, valid_until)
    select $2, 'expired:' || e.id || ':' || e.version, 'notice', 'chat:' || c.telegram_id,
           jsonb_build_object(
               'chat_id', c.telegram_id, 'language', c.language,
               'template', case when e.trial then 'trial_ended' else 'expired' end,
               'args', jsonb_build_object(
                   'subscription_id', e.id, 'plan_id', e.plan_id,
                   'expires_at', to_char(e.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))),
           vpnd_now() + $3::interval
    from ended e join customers c on c.id = e.customer_id
    where c.reachable and (not e.trial or {NEVER_BOUGHT} and e.id in (select subscription_id from claimed))
    on conflict (key) do nothing
)
select count(*) as expired from ended
"""  # noqa: S608 (only a constant is pasted in)


async def lock_target(
    tx: Transaction, *, customer_id: int, plan_id: str, subscription_id: int | None
) -> Row | None:
    """Lock the subscription that a grant would renew and return its id and status; None if there is none."""
    return await tx.fetchrow(_TARGET, customer_id, plan_id, subscription_id)


async def grant(
    tx: Transaction,
    *,
    customer_id: int,
    plan_id: str,
    days: int,
    settlement_id: int | None = None,
    purchase_id: int | None = None,
    subscription_id: int | None = None,
    kind: GrantKind = "purchase",
) -> Granted:
    """Give `days` of access from the later of now and the present end; never shortens.

    With `subscription_id` it renews that one (it must be the customer's), else the customer's subscription of
    the plan, else it makes a new one. A settlement and a purchase grant once each; a second grant for one
    raises UniqueViolation.

    Locks the subscription's row (and the customer's, before a first one is made) until the transaction ends.
    Raises SubscriptionNotFound.
    """
    target = await lock_target(tx, customer_id=customer_id, plan_id=plan_id, subscription_id=subscription_id)
    if target is None and subscription_id is not None:
        raise SubscriptionNotFound(f"subscription {subscription_id} is not of customer {customer_id}")
    if target is None:
        # Two first payments at once: the second waits here and then finds what the first has made.
        await tx.execute("select from customers where id = $1 for no key update", customer_id)
        target = await lock_target(tx, customer_id=customer_id, plan_id=plan_id, subscription_id=None)
    if target is None:
        row = await tx.fetchrow(
            _CREATE,
            customer_id,
            plan_id,
            days,
            settlement_id,
            purchase_id,
            subscription_name(),
            uuid4(),
            link_token(),
            kind,
        )
    else:
        was_off = target["status"] != "active"
        row = await tx.fetchrow(_RENEW, target["id"], days, settlement_id, purchase_id, was_off, kind)
    if row is None:
        raise RuntimeError("a locked subscription vanished while it was renewed")
    return Granted(
        subscription=subscription_from_row(row),
        renewed=target is not None,
        access_changed=target is None or target["status"] != "active",
        from_at=row["from_at"],
        until_at=row["expires_at"],
    )


async def set_renewal(tx: Transaction, subscription_id: int, customer_id: int, *, from_balance: bool) -> bool:
    """Have a customer's own subscription renewed from his balance, or not. False if it is no such subscription.

    One that Telegram charges by itself is not touched: it is ended at Telegram.
    """
    changed = await tx.execute(
        "update subscriptions set renews = $3 where id = $1 and customer_id = $2 and renews <> 'stars'"
        " and offer_id is not null",
        subscription_id,
        customer_id,
        "balance" if from_balance else "off",
    )
    return changed > 0


async def expire_due(source: Source, limit: int, *, keys: Sequence[int] | None = None) -> int:
    """Switch off up to `limit` subscriptions whose time is over, log it and tell it; returns how many.

    One statement: status, version, access log and notices stand or fall together. Rows that a renewal holds
    are left for the next round. With `keys` those of these ids, else the longest overdue. Safe to run twice at once.
    """
    if keys is None:
        keys = [key for _end, key in await due_subscriptions(source, limit)]
    due = list(keys[:limit])

    async def body(tx: Transaction) -> int:
        return int(await tx.fetchval(_EXPIRE, due, notices.MESSAGE, notices.EXPIRED_VALID_FOR))

    return await in_transaction(source, "subscriptions.expire", body)


async def due_subscriptions(
    source: Source, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """End and id of subscriptions that a sweep would switch off now, the longest overdue first, after `after`."""
    rows = await fetch(
        source,
        "subscriptions.due",
        "select expires_at, id from subscriptions where status = 'active' and expires_at <= vpnd_now()"  # noqa: S608
        f" and expires_at + {STARS_GRACE} <= vpnd_now()"
        " and (expires_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bigint, 0))"
        " order by expires_at, id limit $1",
        limit,
        *((None, None) if after is None else after),
    )
    return [(row["expires_at"], row["id"]) for row in rows]


async def subscription_by_token(source: Source, token: str) -> Subscription | None:
    """The subscription behind a link, or None."""
    sql = f"select {COLUMNS} from subscriptions where link_token = $1"  # noqa: S608 (only a constant is pasted in)
    row = await fetchrow(source, "subscriptions.by_token", sql, token)
    return None if row is None else subscription_from_row(row)


async def subscription_by_id(source: Source, subscription_id: int) -> Subscription | None:
    """The subscription with this id, or None. For a sender that renders a receipt, not for a person's own input."""
    sql = f"select {COLUMNS} from subscriptions where id = $1"  # noqa: S608 (only a constant is pasted in)
    row = await fetchrow(source, "subscriptions.by_id", sql, subscription_id)
    return None if row is None else subscription_from_row(row)


async def of_customer(source: Source, customer_id: int, limit: int = 20) -> list[Subscription]:
    """A customer's subscriptions, those that are on first, at most `limit`."""
    sql = f"""
        select {COLUMNS} from subscriptions where customer_id = $1
        order by (status = 'active') desc, expires_at desc, id limit $2
    """  # noqa: S608 (only a constant is pasted in)
    rows = await fetch(source, "subscriptions.of_customer", sql, customer_id, limit)
    return [subscription_from_row(row) for row in rows]


def subscription_from_row(row: Row) -> Subscription:
    """A subscription from a row with this module's columns."""
    return Subscription(
        id=row["id"],
        customer_id=row["customer_id"],
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
