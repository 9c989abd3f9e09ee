"""The outbox table: what stands in a row, and the two statements a relay lives on.

A claim takes rows whose time has come, lane by lane, raises their `attempt` and moves their `available_at` to
the end of the lease. So a row that is in hand is found by nobody until the lease is over, and then by
anybody, without a sweep. `attempt` is the fencing token: a completion that carries an older one touches
nothing.

A row with an `order_key` is claimed only when no earlier row of that key is waiting or in hand. (Rows are
numbered when they are inserted, not when they are committed: writers that care about order among themselves
write under a common row lock.)

Completions are one statement for any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.database import Database, Transaction
from vpnd.runtime import metrics

__all__ = [
    "LANES",
    "MOST_FAILURES",
    "BoundaryDown",
    "Completion",
    "Dead",
    "Delivered",
    "Delivery",
    "Drop",
    "NewItem",
    "OutboxItem",
    "Retry",
    "claim",
    "complete",
    "dead_letters",
    "oldest_due",
    "put",
    "put_many",
    "retry_dead",
]

#: From the most to the least urgent.
LANES: Final = ("reply", "receipt", "notice", "broadcast")
#: An item that failed so often is given up to the dead letters.
MOST_FAILURES: Final = 20


@frozen
class OutboxItem:
    """A row in hand.

    Attributes:
        attempt: the fencing token of this claim; also how often the row was claimed.
        failures: how many attempts were charged so far.
        repeat: the claim before this one ended without a record, so it may have been delivered already.
        stale: its `valid_until` has passed.
    """

    id: int
    kind: str
    key: str
    lane: str
    order_key: str | None
    payload: dict[str, Any]
    attempt: int
    failures: int
    repeat: bool
    stale: bool


@frozen
class Delivered:
    """It is out; `result` is kept with the row."""

    result: dict[str, Any] | None = None


@frozen
class Retry:
    """Not this time: again after `after` seconds, or after a jittered back-off. Costs one of 20 attempts."""

    after: float | None = None
    error: str = ""


@frozen
class Drop:
    """It is not true or not wanted any more."""

    reason: str


@frozen
class Dead:
    """It can never succeed: to the dead letters at once."""

    reason: str


@frozen
class BoundaryDown:
    """Nothing can be delivered now, whatever the item: pause for `after` seconds, or for a growing while.
    Costs nothing."""

    after: float | None = None
    error: str = ""


Delivery = Delivered | Retry | Drop | Dead | BoundaryDown


@frozen
class Completion:
    """What is written back for one claim."""

    id: int
    attempt: int
    status: str
    delay: float = 0.0
    cost: int = 0
    error: str | None = None
    result: dict[str, Any] | None = None


# ---------------------------------------------------------------------- the relay's two statements

# For each kind and lane a walk along outbox_ready, so that a hundred thousand broadcasts do not stand before
# one receipt. It ends where the future begins: `statement_timestamp()` is the real clock, too, and stable, so that the index
# is asked for it, where `clock_timestamp()` had each claim look at every row that is in hand or put off. `any(array(…))` beside
# the join leads to the rows by their keys, however many the planner believes there are; by itself it read the whole table.
_CLAIM: Final = """
    with due as materialized (
        select r.id, r.lease_until
          from unnest($1::text[]) as k (kind)
         cross join unnest($2::text[], $3::int[]) as l (lane, most)
         cross join lateral (
            select o.id, o.lease_until from outbox o
             where o.status = 'ready' and o.kind = k.kind and o.lane = l.lane and o.available_at <= statement_timestamp()
               and (o.order_key is null or not exists (
                    select 1 from outbox e where e.order_key = o.order_key and e.status = 'ready' and e.id < o.id))
             order by o.available_at, o.id
             limit l.most
               for update of o skip locked) r)
    update outbox o
       set attempt = o.attempt + 1, lease_holder = $4, lease_until = clock_timestamp() + $5::interval,
           available_at = clock_timestamp() + $5::interval
      from due
     where o.id = due.id and o.id = any(array(select id from due))
    returning o.id, o.kind, o.key, o.lane, o.order_key, o.payload, o.attempt, o.failures,
              due.lease_until is not null as repeat,
              coalesce(o.valid_until <= vpnd_now(), false) as stale
"""

# What a killed process had in hand. `lease_until` stays, so that the next claim knows itself to be a repeat; whoever
# else holds such a row after all is fenced by the attempt.
_TAKE_BACK: Final = """
    update outbox o set available_at = clock_timestamp()
      from (select id from outbox
             where status = 'ready' and kind = any($1::text[]) and available_at > clock_timestamp()
               and lease_holder = $2
             order by id limit $3
               for update skip locked) mine
     where o.id = mine.id
"""
#: More than one process can have in hand.
_TAKE_BACK_MOST: Final = 10_000

_COMPLETE: Final = """
    update outbox o
       set status = c.status, failures = o.failures + c.cost, last_error = coalesce(c.error, o.last_error),
           result = coalesce(c.result, o.result), lease_holder = null, lease_until = null,
           available_at = case when c.status = 'ready' then clock_timestamp() + make_interval(secs => c.delay)
                               else o.available_at end,
           finished_at = case when c.status = 'ready' then null else clock_timestamp() end
      from unnest($1::bigint[], $2::int[], $3::text[], $4::float8[], $5::int[], $6::text[], $7::jsonb[])
           as c (id, attempt, status, delay, cost, error, result)
     where o.id = c.id and o.attempt = c.attempt and o.status = 'ready' and o.id = any($1::bigint[])
"""


async def claim(
    db: Database, kinds: Sequence[str], lanes: dict[str, int], *, holder: str, lease: float
) -> list[OutboxItem]:
    """Take up to so many rows of each lane (and kind), in the order in which they are to leave.

    Args:
        db: the database.
        kinds: which kinds.
        lanes: lane to most rows.
        holder: shown in the row while it is in hand.
        lease: seconds until the row may be taken by another.
    """
    async with db.transaction("outbox.claim") as tx:
        rows = await tx.fetch(
            _CLAIM, list(kinds), list(lanes), list(lanes.values()), holder, timedelta(seconds=lease)
        )
    items = [OutboxItem(**dict(row.items())) for row in rows]
    items.sort(key=lambda item: item.id)
    return items


async def take_back(db: Database, kinds: Sequence[str], *, holder: str) -> int:
    """Make the rows that `holder` claimed in a former life available at once; return how many there were."""
    async with db.transaction("outbox.take_back") as tx:
        return await tx.execute(_TAKE_BACK, list(kinds), holder, _TAKE_BACK_MOST)


async def complete(db: Database, completions: Sequence[Completion]) -> int:
    """Write back any number of ends in one statement; return how many were still ours to write."""
    ordered = sorted(completions, key=lambda completion: completion.id)
    async with db.transaction("outbox.complete") as tx:
        return await tx.execute(
            _COMPLETE,
            [c.id for c in ordered],
            [c.attempt for c in ordered],
            [c.status for c in ordered],
            [c.delay for c in ordered],
            [c.cost for c in ordered],
            [c.error for c in ordered],
            [c.result for c in ordered],
        )


# ---------------------------------------------------------------------- writing


@frozen(kw_only=True)
class NewItem:
    """A row to be written.

    Attributes:
        kind: who delivers it.
        key: what it is, once and for all; a second row of this key is not written.
        payload: JSON.
        lane: how urgent it is.
        order_key: items of one key leave one after the other.
        not_before: earliest, from now, on the real clock.
        valid_until: business time after which it is dropped.
    """

    kind: str
    key: str
    payload: dict[str, Any]
    lane: str = "notice"
    order_key: str | None = None
    not_before: timedelta | None = None
    valid_until: datetime | None = None


_PUT: Final = """
    insert into outbox (kind, key, payload, lane, order_key, available_at, valid_until)
    select n.kind, n.key, n.payload, n.lane, n.order_key, clock_timestamp() + coalesce(n.not_before, '0 s'),
    n.valid_until
      from unnest($1::text[], $2::text[], $3::jsonb[], $4::text[], $5::text[], $6::interval[], $7::timestamptz[])
           with ordinality as n (kind, key, payload, lane, order_key, not_before, valid_until, place)
     order by n.place
    on conflict (key) do nothing
"""


async def put(
    tx: Transaction,
    kind: str,
    key: str,
    payload: dict[str, Any],
    *,
    lane: str = "notice",
    order_key: str | None = None,
    not_before: timedelta | None = None,
    valid_until: datetime | None = None,
) -> bool:
    """Write one item in the caller's transaction; False when its key is there already. See `NewItem`."""
    item = NewItem(
        kind=kind,
        key=key,
        payload=payload,
        lane=lane,
        order_key=order_key,
        not_before=not_before,
        valid_until=valid_until,
    )
    return await put_many(tx, [item]) == 1


async def put_many(tx: Transaction, items: Sequence[NewItem]) -> int:
    """Write any number of items in one statement, in their order; return how many were new."""
    return await tx.execute(
        _PUT,
        [item.kind for item in items],
        [item.key for item in items],
        [item.payload for item in items],
        [item.lane for item in items],
        [item.order_key for item in items],
        [item.not_before for item in items],
        [item.valid_until for item in items],
    )


# ---------------------------------------------------------------------- looking


async def dead_letters(db: Database, *, limit: int = 50, after: int = 0) -> list[Row]:
    """Return items that were given up, by id from above `after`: id, kind, key, lane, failures, last_error,
    finished_at."""
    return await db.fetch(
        "outbox.dead_letters",
        """select id, kind, key, lane, failures, last_error, finished_at from outbox
            where status = 'dead' and id > $1 order by id limit $2""",
        after,
        limit,
    )


async def retry_dead(db: Database, item_id: int) -> bool:
    """Put a dead letter back with all its attempts; False when there is none of this id."""
    async with db.transaction("outbox.retry_dead") as tx:
        return bool(
            await tx.execute(
                """update outbox set status = 'ready', failures = 0, available_at = clock_timestamp(),
                finished_at = null
                    where id = $1 and status = 'dead'""",
                item_id,
            )
        )


async def oldest_due(db: Database, kinds: Sequence[str]) -> dict[str, float]:
    """Return for each kind for how many seconds its oldest due item has waited, and set the gauge; 0 when
    none is due."""
    rows = await db.fetch(
        "outbox.oldest_due",
        """select k.kind, coalesce(max(extract(epoch from clock_timestamp() - o.available_at)), 0)::float8 as age
             from unnest($1::text[]) as k (kind) cross join unnest($2::text[]) as l (lane)
             left join lateral (
                  select available_at from outbox o
                   where o.status = 'ready' and o.kind = k.kind and o.lane = l.lane
                     and o.available_at <= statement_timestamp()
                   order by o.available_at limit 1) o on true
            group by k.kind""",
        list(kinds),
        list(LANES),
    )
    ages: dict[str, float] = {row["kind"]: row["age"] for row in rows}
    for kind, age in ages.items():
        metrics.outbox_oldest_age_seconds.labels(kind).set(age)
    return ages
