"""A block: an operator shuts a customer out, and lets him in again.

Blocking switches all of his access off, on every node, as an expiry does: status, version and log row of each subscription in
one transaction. His open purchases are closed, what was about to be sent to him is withdrawn (receipts are not), and a
subscription that Telegram charges by itself is asked to end: nobody is charged for what he is kept from.

Nothing is taken. The end of each subscription stays as it was, and its time runs on. What is paid all the same (an invoice
that was open, a charge under way) is settled like any payment: it prolongs the subscription or lands on the balance, and only
its access stays off; the database sees to that, whoever writes (the trigger `blocked` on subscriptions). When the block ends,
whatever has time left is on again, with the credential that it had.

Money can be given back to somebody who is blocked, and renewals from his balance wait: they are for what is on.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.purchases import cancel_all
from vpnd.shop.star_subscriptions import ask_to_cancel

__all__ = ["Blocked", "Unblocked", "block", "unblock"]


@frozen
class Blocked:
    """How many subscriptions went off, how many Telegram was asked to charge no more. `changed`: he was not blocked before."""

    ended: int
    charged_by_stars: int
    changed: bool


@frozen
class Unblocked:
    """How many subscriptions are on again. `changed`: he was blocked before."""

    back: int
    changed: bool


# Every one is locked first, also what is off: a grant that waits would switch it on, and finds the block behind the lock.
_LOCK: Final = "select from subscriptions where customer_id = $1 order by id for no key update"

_OFF: Final = """
with ended as (
    update subscriptions set status = 'expired', version = version + 1, remind_at = null
    where customer_id = $1 and status = 'active'
    returning id
), logged as (
    insert into access_log (subscription_id) select id from ended order by id
), silenced as (   -- nobody asks somebody who is shut out to come back
    update subscriptions set remind_at = null where customer_id = $1 and status <> 'active' and remind_at is not null
)
select count(*) from ended
"""

# Reminders begin anew with the step that is next: what was due meanwhile is not made up for.
_ON: Final = """
with back as (
    update subscriptions s set
        status = 'active', version = version + 1, starts_at = vpnd_now(), activated_at = null,
        reminded = passed.steps,
        remind_at = case when s.trial then null
            when passed.steps < 3 then s.expires_at + (reminder_steps())[passed.steps + 1] else vpnd_now() end
    from (select r.id, (select count(*) from unnest(reminder_steps()) u (step) where r.expires_at + u.step <= vpnd_now()) as steps
          from subscriptions r where r.customer_id = $1 and r.status = 'expired' and r.expires_at > vpnd_now()) passed
    where s.id = passed.id
    returning s.id
), logged as (
    insert into access_log (subscription_id) select id from back order by id
)
select count(*) from back
"""

_NO_NOTICES: Final = """
update outbox set status = 'dropped', finished_at = clock_timestamp(), last_error = 'he was blocked'
where order_key = $1 and status = 'ready' and kind = $2 and lane <> 'receipt'
  and (lease_until is null or lease_until < clock_timestamp())
"""


async def block(tx: Transaction, customer_id: int) -> Blocked:
    """Shut a customer out. Locks him, his open purchases and his subscriptions until the transaction ends."""
    row = await tx.fetchrow(
        "update customers set blocked_at = vpnd_now(), expects = null, expects_until = null, expects_about = null,"
        " expects_data = null where id = $1 and blocked_at is null returning telegram_id",
        customer_id,
    )
    if row is None:
        return Blocked(0, 0, changed=False)
    await cancel_all(tx, customer_id)
    charged = await tx.fetch(
        "select subscription_id from star_subscriptions where customer_id = $1 and state = 'active'"
        " order by subscription_id limit 1000",
        customer_id,
    )
    for one in charged:
        await ask_to_cancel(tx, one["subscription_id"], customer_id)
    await tx.execute(_LOCK, customer_id)
    ended = int(await tx.fetchval(_OFF, customer_id))
    await tx.execute(_NO_NOTICES, notices.order_key(row["telegram_id"]), notices.MESSAGE)
    return Blocked(ended, len(charged), changed=True)


async def unblock(tx: Transaction, customer_id: int) -> Unblocked:
    """Let him in again. Locks him and his subscriptions until the transaction ends."""
    changed = await tx.execute(
        "update customers set blocked_at = null where id = $1 and blocked_at is not null", customer_id
    )
    if not changed:
        return Unblocked(0, changed=False)
    await tx.execute(_LOCK, customer_id)
    return Unblocked(int(await tx.fetchval(_ON, customer_id)), changed=True)
