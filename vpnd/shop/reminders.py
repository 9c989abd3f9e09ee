"""Reminders: a subscription is about to end, or has ended.

    7 days, 3 days, 1 day, 3 hours before the end · 1 day, 3 days, 7 days after it

The database keeps with each subscription how many steps of its period are behind it and when to look at it again; a new end
is a new period (a trigger of the schema, so that no way of moving an end can forget it). So a look costs what is due and
not what there is, and a step cannot come twice.

At a look only the nearest of the steps that are due is told; the others are behind it by that. Nothing is told

- to who cannot be reached, and before the end to whose subscription will renew by itself: in Stars, or from a balance that holds
  enough;
- after the end to who has other access, or has it taken back (his period was cut, not finished).

**Quiet hours**, in the customer's time zone: a step that is due within them waits for their end. Of several that gathered
meanwhile the nearest is told. The step of the last hours is worth little after the end: where the quiet hours it falls into
outlast the access, it is due an hour before they begin. What could only be told when it is no longer true is dropped.

A reminder is true until the next step is due, and is dropped by the relay after that; a renewal takes back what has not
left yet. Its text names the end, so that it stays true whenever it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from vpnd.config import QuietHours
from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.renewals import SPENDABLE, TODAYS_PRICE
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = ["STEPS", "due_reminders", "set_quiet_hours", "set_time_zone", "tell_reminders"]

#: What the steps are called, in the order of `reminder_steps()` in the schema; the first four are before the end.
STEPS: Final = ("7d", "3d", "1d", "3h", "1d", "3d", "7d")

# Every look begins at this: an index of what is due, whatever else there is.
_DUE: Final = """
select remind_at, id from subscriptions where remind_at <= vpnd_now()
  and (remind_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bigint, 0))
order by remind_at, id limit $1
"""

# When a step is due. `early_at` is null unless the last one before the end has to come before the quiet hours.
_AT: Final = """case when {step} = 4 and early_at is not null then early_at
             else coalesce(quiet_until(expires_at + steps[{step}], zone, quiet_from, quiet_to), expires_at + steps[{step}]) end"""

# $1 currency, $2 subscriptions, $3 zone, $4 and $5 quiet hours, $6 names of the steps
_TELL: Final = f"""
with due as (
    select id, customer_id, plan_id, expires_at, status, renews, offer_id, reminded::integer
    from subscriptions where id = any($2::bigint[]) and remind_at <= vpnd_now()
    order by id
    for no key update skip locked
), seen as (
    select s.*, c.telegram_id, c.language, c.reachable, reminder_steps() as steps, coalesce(c.time_zone, $3) as zone,
           coalesce(c.quiet_from, $4) as quiet_from, coalesce(c.quiet_to, $5) as quiet_to
    from due s join customers c on c.id = s.customer_id
), placed as (
    select v.*, quiet_until(vpnd_now(), zone, quiet_from, quiet_to) as quiet_ends, early.at as early_at,
           greatest((select count(*) from unnest(v.steps) u (step) where v.expires_at + u.step <= vpnd_now()),
                    case when early.at <= vpnd_now() then 4 end)::integer as step
    from seen v
    cross join lateral (
        select case when quiet_until(last.at, zone, quiet_from, quiet_to) >= v.expires_at
                    then quiet_since(last.at, zone, quiet_from, quiet_to) - interval '1 hour' end as at
        from (select v.expires_at + v.steps[4]) as last (at)
    ) early
), judged as (
    select s.*, s.step > s.reminded as is_due,
           s.step > s.reminded and s.quiet_ends is not null and (s.step > 4 or s.quiet_ends < s.expires_at) as waits,
           s.step > s.reminded and s.quiet_ends is null and s.reachable and case
               when s.step > 4 then s.status = 'expired' and not exists (
                   select from subscriptions other where other.customer_id = s.customer_id and other.status = 'active')
               else s.status = 'active' and s.expires_at > vpnd_now() and s.renews <> 'stars' and not (
                   s.renews = 'balance' and coalesce(o.on_sale and pl.on_sale and {SPENDABLE} >= {TODAYS_PRICE}, false))
           end as tells
    from placed s
    left join offers o on o.id = s.offer_id
    left join plans pl on pl.id = o.plan_id
    left join prices r on r.offer_id = o.id and r.currency = $1
), told as (
    insert into outbox (kind, key, lane, order_key, payload, valid_until)
    select '{notices.MESSAGE}', 'reminder:' || id || ':' || extract(epoch from expires_at)::bigint || ':' || step, 'notice',
           'chat:' || telegram_id,
           jsonb_build_object(
               'chat_id', telegram_id, 'language', language,
               'template', case when step > 4 then 'reminder_over' else 'reminder' end,
               'args', jsonb_build_object(
                   'subscription_id', id, 'plan_id', plan_id, 'when', ($6::text[])[step],
                   'expires_at', to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))),
           expires_at + case step when 4 then interval '0' when 7 then interval '336 hours' else steps[step + 1] end
    from judged where tells
    on conflict (key) do nothing
    returning id
), moved as (
    update subscriptions s
    set reminded = case when j.is_due and not j.waits then j.step else j.reminded end,
        remind_at = case when j.waits then j.quiet_ends else j.next_at end
    from (
        select *, case when is_due then {_AT.format(step="(step + 1)")} else {_AT.format(step="(reminded + 1)")} end as next_at
        from judged
    ) j
    where s.id = j.id
    returning s.id
)
select (select count(*) from moved) as done, (select count(*) from told) as told
"""  # noqa: S608 (only constants are pasted in)


async def due_reminders(
    source: Source, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """Moment and id of subscriptions that are to be looked at now, the longest due first, after `after`."""
    rows = await fetch(
        source,
        "reminders.due",
        _DUE,
        limit,
        *((None, None) if after is None else after),
    )
    return [(row["remind_at"], row["id"]) for row in rows]


async def tell_reminders(
    source: Source, shop_currency: str, subscription_ids: Sequence[int], zone: str, quiet: QuietHours
) -> tuple[int, int]:
    """Look at these subscriptions and tell what is due, one statement; returns how many were looked at and how many told.

    `zone` and `quiet` are for customers who have not chosen. Rows that somebody holds are left for the next round. Safe to
    run twice at once.
    """

    async def body(tx: Transaction) -> tuple[int, int]:
        row = await tx.fetchrow(_TELL, shop_currency, list(subscription_ids), zone, *quiet, list(STEPS))
        return (0, 0) if row is None else (row["done"], row["told"])

    return await in_transaction(source, "reminders.tell", body)


async def set_quiet_hours(tx: Transaction, customer_id: int, quiet: QuietHours | None) -> None:
    """Keep the quiet hours a customer has chosen (equal ends: none), or go back to the shop's with None."""
    start, end = (None, None) if quiet is None else quiet
    await tx.execute(
        "update customers set quiet_from = $2, quiet_to = $3 where id = $1", customer_id, start, end
    )
    await _look_again(tx, customer_id)


async def set_time_zone(tx: Transaction, customer_id: int, zone: str | None) -> None:
    """Keep the time zone a customer has chosen, or go back to the shop's with None.

    Raises DatabaseError for a zone that PostgreSQL does not know; then the transaction must end without a commit.
    """
    await tx.execute("update customers set time_zone = $2 where id = $1", customer_id, zone)
    await _look_again(tx, customer_id)


async def _look_again(tx: Transaction, customer_id: int) -> None:
    """Have his reminders placed anew: what was to wait for the old hours need not wait for the new ones."""
    await tx.execute(
        "update subscriptions set remind_at = vpnd_now() where customer_id = $1 and remind_at is not null",
        customer_id,
    )
