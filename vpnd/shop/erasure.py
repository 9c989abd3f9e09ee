"""A customer has what the shop knows of him deleted.

What goes: his access, on every node and at once; the links, which open nothing any more; his name, his language, his clock and
quiet hours, the names he gave to subscriptions, a code that waited, and whatever was about to be sent to him. A subscription
that Telegram charges by itself is asked to end.

What stays, because books must add up and a trial is given once: his Telegram id, purchases, charges, refunds and the ledger,
who invited whom, and that he had a trial. So his balance stays, too. It is his money and no data: deleting who somebody is
gives the shop no right to it, and a booking that takes it would have to be undone when he asks for it. He finds it when he
writes again, or is paid by an operator.

The order of locks is that of all money: the customer, purchases, subscriptions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.purchases import cancel_all
from vpnd.shop.source import Source, fetchrow
from vpnd.shop.star_subscriptions import ask_to_cancel

__all__ = ["Erased", "Holdings", "erase", "holdings"]


@frozen
class Holdings:
    """What a customer would lose or keep: what is on and until when, what Telegram renews, what lies on his balance."""

    now: datetime
    active: int
    until: datetime | None
    charged_by_stars: int
    balance: int


@frozen
class Erased:
    """How many subscriptions ended. `created`: it was done now; else this request had done it before."""

    ended: int
    created: bool


_HOLDINGS: Final = """
select vpnd_now() as now, s.active, s.until,
       (select count(*) from star_subscriptions t where t.customer_id = $1 and t.state = 'active') as charged_by_stars,
       coalesce((select sum(a.balance) from accounts a where a.customer_id = $1 and a.currency = $2
                 and a.kind in ('customer', 'bonus')), 0)::bigint as balance
from (
    select count(*) as active, max(expires_at) as until from subscriptions
    where customer_id = $1 and status = 'active' and expires_at > vpnd_now()
) s limit 1
"""

# The time that was not used ends with the access: no refund of an old purchase may take it off what is bought later.
_END_GRANTS: Final = """
update grants g set
    from_at = least(g.from_at, vpnd_now()), until_at = vpnd_now(),
    removed_seconds = g.removed_seconds + extract(epoch from g.until_at - greatest(g.from_at, vpnd_now()))::bigint
from subscriptions s
where s.customer_id = $1 and g.subscription_id = s.id and g.until_at > vpnd_now()
"""

# Also what is off gets another credential and another page, so that no old link leads to what may be bought later. Nodes follow
# by the version. A token is letters and digits of two random uuids: nobody guesses one.
_END_ACCESS: Final = """
with ended as (
    update subscriptions s set
        status = 'expired', version = version + 1, expires_at = greatest(least(expires_at, vpnd_now()), starts_at),
        renews = 'off', title = null, credential = gen_random_uuid(),
        link_token = replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
    from (select id, status = 'active' as was_on from subscriptions where customer_id = $1 order by id for update) before
    where s.id = before.id
    returning s.id, before.was_on
), logged as (
    insert into access_log (subscription_id) select id from ended order by id
), silenced as (   -- also reminders of what had ended before
    update trials set notice_at = null where customer_id = $1 and notice_at is not null
)
select count(*) filter (where was_on) from ended
"""

# The trigger of a new period looks at ends only; what is left to be reminded of is none.
_NO_REMINDERS: Final = (
    "update subscriptions set remind_at = null where customer_id = $1 and remind_at is not null"
)

# A broadcast in the hands of a runner goes out; it was claimed before.
_NO_BROADCASTS: Final = """
with withdrawn as (
    update broadcast_recipients r set state = 'unreachable', last_error = 'his data was deleted'
    from broadcasts b
    where b.state in ('running', 'paused') and r.broadcast_id = b.id and r.customer_id = $1 and r.state = 'waiting'
      and r.available_at <= clock_timestamp()
    returning r.broadcast_id
)
update broadcasts b set unreachable = b.unreachable + 1,
    unreachable_b = b.unreachable_b + broadcast_has_b(b.id, $1, b.share_b)::integer
from withdrawn where b.id = withdrawn.broadcast_id
"""

# Receipts stay: they tell of money that moved.
_NO_NOTICES: Final = """
update outbox set status = 'dropped', finished_at = clock_timestamp(), last_error = 'his data was deleted'
where order_key = $1 and status = 'ready' and kind = $2 and lane <> 'receipt'
  and (lease_until is null or lease_until < clock_timestamp())
"""

_FORGET: Final = """
update customers set
    username = null, first_name = '', language = $2, time_zone = null, quiet_from = null, quiet_to = null,
    expects = null, expects_until = null, expects_about = null, expects_data = null,
    promo_id = null, seen_at = null, reachable = false, erased_at = vpnd_now()
where id = $1
returning telegram_id
"""


async def holdings(source: Source, customer_id: int, currency: str) -> Holdings:
    """What there is, for the question: one read. `currency` is that of his balance."""
    row = await fetchrow(source, "erasure.holdings", _HOLDINGS, customer_id, currency)
    if row is None:
        raise RuntimeError("a row that is always there is missing")
    return Holdings(*row.values())


async def erase(tx: Transaction, *, customer_id: int, request_key: str, language: str) -> Erased:
    """End a customer's access and forget who he is, once a request; `language` takes the place of his own.

    A request that is played again forgets what was learnt by that, and ends nothing that was bought since. He cannot be
    reached until he writes. Locks the customer, his open purchases and his subscriptions.
    """
    await tx.execute("select from customers where id = $1 for no key update", customer_id)
    created = await tx.execute(
        "insert into erasures (customer_id, request_key) values ($1, $2) on conflict do nothing",
        customer_id,
        request_key,
    )
    ended = await _end(tx, customer_id) if created else 0
    telegram_id = await tx.fetchval(_FORGET, customer_id, language)
    await tx.execute(_NO_NOTICES, notices.order_key(telegram_id), notices.MESSAGE)
    return Erased(ended, created > 0)


async def _end(tx: Transaction, customer_id: int) -> int:
    await cancel_all(tx, customer_id)
    charged = await tx.fetch(
        "select subscription_id from star_subscriptions where customer_id = $1 and state = 'active'"
        " order by subscription_id limit 1000",
        customer_id,
    )
    for row in charged:
        await ask_to_cancel(tx, row["subscription_id"], customer_id)
    await tx.execute(_END_GRANTS, customer_id)
    ended: int = await tx.fetchval(_END_ACCESS, customer_id)
    await tx.execute(_NO_REMINDERS, customer_id)
    await tx.execute(_NO_BROADCASTS, customer_id)
    return ended
