"""The safety net under the nodes: what is paid and on, and acknowledged by no node, is counted, sent again, and told.

Nothing is ever given up. What waits is looked at in every round until it was tried `TRIES_FIRST` times; then the admins are
told, and it is tried on, slowly. The count is kept in the database, so that a restart forgets nothing, and belongs to one
term: a renewal after an expiry is counted anew.

An outage of a node makes thousands wait. The admins are told once of each, but at most once an hour: an alert names one and
says how many more there are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.access_log import log_again
from vpnd.shop.source import Source, fetch

__all__ = ["TRIES_FIRST", "AwaitingActivation", "Tried", "awaiting_activation", "try_again"]

#: So often it is tried in every round; then the admins are told.
TRIES_FIRST: Final = 5
#: Between two tries at least: less than a round, so that each round tries, and two instances in one round try once.
ROUND: Final = timedelta(minutes=4)
#: Waits after the first tries: 10, 20, 30 minutes, and 30 for ever.
SLOWER: Final = timedelta(minutes=10)
SLOWEST: Final = timedelta(minutes=30)


@frozen
class AwaitingActivation:
    """A subscription that is on and that no node has acknowledged in its present term; `attempts` so far."""

    subscription_id: int
    customer_id: int
    name: str
    since: datetime
    attempts: int


@frozen
class Tried:
    """What a try came to: its number, whether the subscription was put into the log again, whether the admins were told."""

    attempt: int
    again: bool
    alerted: bool


# `starts_at` is when the present term began: what a paid customer has been waiting since. A count of another term is none.
_AWAITING: Final = """
select s.id, s.customer_id, s.name, s.starts_at, coalesce(l.attempts, 0) as attempts
from subscriptions s
left join late_activations l on l.subscription_id = s.id and l.starts_at = s.starts_at
where s.status = 'active' and s.activated_at is null and s.starts_at <= vpnd_now() - $1::interval
  and coalesce(l.next_at <= clock_timestamp(), true) and s.id > coalesce($3::bigint, 0)
order by s.id limit $2
"""

# Judged again under the lock of the count: of two at once the second finds that its turn has not come.
_COUNT: Final = """
insert into late_activations as l (subscription_id, starts_at, attempts, next_at)
select s.id, s.starts_at, 1, clock_timestamp() + $7::interval from subscriptions s
where s.id = $1 and s.status = 'active' and s.activated_at is null and s.starts_at = $2
on conflict (subscription_id) do update set
    attempts = case when l.starts_at = excluded.starts_at then l.attempts + 1 else 1 end,
    alerted_at = case when l.starts_at = excluded.starts_at then l.alerted_at end,
    next_at = clock_timestamp() + case
        when l.starts_at <> excluded.starts_at or l.attempts + 1 < $4 then $7::interval
        else least($6::interval, $5::interval * (l.attempts + 2 - $4)) end,
    starts_at = excluded.starts_at
where l.starts_at <> excluded.starts_at or l.attempts = $3
returning attempts, alerted_at
"""

_ALERT: Final = """
update late_activations l set alerted_at = clock_timestamp()
from subscriptions s
where l.alerted_at is null and l.attempts >= $1 and s.id = l.subscription_id
  and s.status = 'active' and s.activated_at is null and s.starts_at = l.starts_at
"""

_WHO: Final = """
select c.telegram_id, s.plan_id from subscriptions s join customers c on c.id = s.customer_id where s.id = $1
"""


async def awaiting_activation(
    source: Source, older_than: timedelta, limit: int, *, after: int | None = None
) -> list[AwaitingActivation]:
    """Subscriptions on for longer than `older_than` that no node has acknowledged and whose turn it is, by id beyond `after`."""
    rows = await fetch(source, "activations.awaiting", _AWAITING, older_than, limit, after)
    return [AwaitingActivation(*row.values()) for row in rows]


async def try_again(tx: Transaction, item: AwaitingActivation) -> Tried | None:
    """Count a try, put the subscription into the log once more where that helps, and tell the admins when it is time.

    None if it was acknowledged, ended or tried by another since it was found.
    """
    row = await tx.fetchrow(
        _COUNT, item.subscription_id, item.since, item.attempts, TRIES_FIRST, SLOWER, SLOWEST, ROUND
    )
    if row is None:
        return None
    again = await log_again(tx, item.subscription_id)
    late = row["attempts"] >= TRIES_FIRST and row["alerted_at"] is None
    alerted = late and await _alert(tx, item, row["attempts"])
    return Tried(row["attempts"], again, alerted)


async def _alert(tx: Transaction, item: AwaitingActivation, attempts: int) -> bool:
    """Tell the admins, unless they were told within this hour: then the next try after it tells."""
    key = f"activation_late:{datetime.now(UTC):%Y-%m-%dT%H}"
    if await tx.fetchval("select 1 from outbox where key = $1", key):
        return False
    waiting = await tx.execute(_ALERT, TRIES_FIRST)
    who = await tx.fetchrow(_WHO, item.subscription_id)
    args = {
        "subscription_id": item.subscription_id,
        "telegram_id": None if who is None else who["telegram_id"],
        "plan_id": None if who is None else who["plan_id"],
        "since": item.since.isoformat(),
        "attempts": attempts,
        "others": max(waiting - 1, 0),
    }
    await notices.put_all(tx, [notices.admin_alert(key, "activation_late", args)])
    return True
