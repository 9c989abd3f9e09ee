"""Subscriptions in Stars: Telegram charges them by itself every 30 days, and tells of each charge.

The payload of every charge is the first purchase's; so each further charge is settled as a purchase of its own that
renews the subscription the first one bought (`vpnd.shop.settlement`). What is kept here is what names the subscription
to Telegram, until when it runs, and whether it goes on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.charges import Charge
from vpnd.shop.notices import Notice
from vpnd.shop.source import Source, fetchrow

__all__ = [
    "STAR_CANCEL",
    "StarSubscription",
    "ask_to_cancel",
    "cancel_for_refund",
    "note_charge",
    "note_state",
    "star_subscription_of",
]

State = Literal["active", "canceled", "failed"]

#: Kind of the outbox rows by which Telegram is told to charge no more.
STAR_CANCEL: Final = "star_cancel"


@frozen
class StarSubscription:
    """A subscription at Telegram. `charge_id` is the first charge: what names it there."""

    purchase_id: int
    subscription_id: int
    telegram_id: int
    charge_id: str
    amount: int
    runs_until: datetime
    state: State


# Of two charges that are told in the wrong order the later end stands.
_NOTE: Final = """
insert into star_subscriptions (purchase_id, customer_id, subscription_id, charge_id, amount, runs_until)
values ($1, $2, $3, $4, $5, $6)
on conflict (purchase_id) do update
    set runs_until = greatest(star_subscriptions.runs_until, excluded.runs_until), state = 'active', changed_at = vpnd_now(),
        subscription_id = excluded.subscription_id   -- another one, if the plan of the first was changed
"""

# The subscription before what charges for it, in the order in which a settlement locks them.
_LOCK: Final = "select customer_id from subscriptions where id = $1 for no key update"

_END: Final = """
update star_subscriptions t set state = 'canceled', changed_at = vpnd_now()
from customers c
where t.subscription_id = $1 and t.state = 'active' and t.purchase_id is distinct from $2::bigint and c.id = t.customer_id
returning t.charge_id, c.telegram_id, pg_current_xact_id()::text as ended
"""

# What the customer has chosen since stays: only "stars" turns into "off" when nothing charges any more.
_RENEWS: Final = """
update subscriptions s set renews = case when runs.on then 'stars' else 'off' end
from (select exists (select from star_subscriptions where subscription_id = $1 and state = 'active') as on) runs
where s.id = $1 and (runs.on or s.renews = 'stars') and s.renews <> case when runs.on then 'stars' else 'off' end
"""

_ACTIVE: Final = """
select t.purchase_id, t.subscription_id, c.telegram_id, t.charge_id, t.amount, t.runs_until, t.state
from star_subscriptions t join customers c on c.id = t.customer_id
where t.subscription_id = $1 and t.state = 'active'
"""


async def note_charge(
    tx: Transaction,
    *,
    purchase_id: int,
    customer_id: int,
    subscription_id: int,
    charge: Charge,
    runs_until: datetime,
) -> None:
    """Note a charge of a subscription: the first makes it, each further one says that it runs on.

    Another one that charges for the same access is ended: the customer pays once. The subscription is locked already.
    """
    await _end(tx, subscription_id, keep=purchase_id)
    await tx.execute(
        _NOTE, purchase_id, customer_id, subscription_id, charge.charge_id, charge.amount, runs_until
    )


async def _end(tx: Transaction, subscription_id: int, *, keep: int | None = None) -> bool:
    """Note that what charges for an access charges no more, except the purchase `keep`, and have Telegram told.

    The subscription is locked, so whatever goes on is ended once; and again, should it be begun anew.
    """
    ended = await tx.fetch(_END, subscription_id, keep)
    jobs = [
        Notice(
            STAR_CANCEL,
            f"star_cancel:{row['charge_id']}:{row['ended']}",
            {"charge_id": row["charge_id"], "telegram_id": row["telegram_id"]},
        )
        for row in ended
    ]
    await notices.put_all(tx, jobs)
    return bool(ended)


async def star_subscription_of(source: Source, subscription_id: int) -> StarSubscription | None:
    """The subscription in Stars that charges for this access, if one goes on."""
    row = await fetchrow(source, "stars.subscription_of", _ACTIVE, subscription_id)
    return None if row is None else StarSubscription(*row.values())


async def note_state(tx: Transaction, payload: str, telegram_id: int, state: State) -> bool:
    """Note what Telegram tells of a subscription: `payload` names the purchase that began it. False if it is none of ours.

    One that was ended for another leaves the access to the other; one that goes on again ends the other.
    """
    row = await tx.fetchrow(
        """
        select t.purchase_id, t.subscription_id from star_subscriptions t
        join purchases p on p.id = t.purchase_id join customers c on c.id = p.customer_id
        where p.public_id = $1 and c.telegram_id = $2
        """,
        payload,
        telegram_id,
    )
    if row is None:
        return False
    subscription_id = row["subscription_id"]
    await tx.execute(_LOCK, subscription_id)
    if state == "active":
        await _end(tx, subscription_id, keep=row["purchase_id"])
    await tx.execute(
        "update star_subscriptions set state = $2, changed_at = vpnd_now()"
        " where purchase_id = $1 and state <> $2",
        row["purchase_id"],
        state,
    )
    await tx.execute(_RENEWS, subscription_id)
    return True


async def ask_to_cancel(tx: Transaction, subscription_id: int, customer_id: int) -> bool:
    """Have Telegram charge a customer's own subscription no more. False if none goes on."""
    owner = await tx.fetchval(_LOCK, subscription_id)
    if owner != customer_id or not await _end(tx, subscription_id):
        return False
    await tx.execute(_RENEWS, subscription_id)
    return True


async def cancel_for_refund(tx: Transaction, subscription_id: int) -> bool:
    """What was bought was given back whole: no further charge for it. False if none was to come."""
    owner = await tx.fetchval("select customer_id from subscriptions where id = $1", subscription_id)
    return owner is not None and await ask_to_cancel(tx, subscription_id, owner)
