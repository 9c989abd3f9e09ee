"""The rows of a broadcast: who is meant is written down, taken in hand, and what became of him is recorded.

Recipients are written down in pages of customers while it runs, so that a broadcast to a million begins at once and holds
nothing in memory.

Claim → send → record. A claim says who has it in hand and raises `attempt`; an outcome counts only for the claim it is of. A
runner that is killed had some in hand: they are claimed again, and counted as perhaps repeated. All that is written is written
in sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.segments import Segment, conditions
from vpnd.shop.source import Source, fetch, from_json, in_transaction

__all__ = [
    "FILL_PAGE",
    "Broadcast",
    "Claimed",
    "Outcome",
    "Recorded",
    "claim",
    "fill",
    "finish_if_served",
    "give_back",
    "halt",
    "record",
    "running",
    "take_back",
]

Outcome = Literal["sent", "unreachable", "failed", "waiting"]

#: Customers that one page of filling looks at: tens of milliseconds, whatever the segment.
FILL_PAGE: Final = 1000
#: Rows at the head of a broadcast among which a former life's claims are looked for.
_HEAD: Final = 10_000
#: Broadcasts that run at once; they are served one after the other.
_MOST_RUNNING: Final = 10


@frozen
class Broadcast:
    """One that runs: what is to be sent, and whether all recipients are written down."""

    id: int
    content: Mapping[str, Any]
    filled: bool

    @property
    def urgent(self) -> bool:
        """Whether it is served before the others: news of the service itself."""
        return "notice" in self.content


@frozen
class Claimed:
    """A recipient in hand. `attempt` is the fencing token; `repeat`: a claim before this one ended without a record; `has_b`: he
    gets variant B."""

    broadcast_id: int
    customer_id: int
    telegram_id: int
    language: str
    attempt: int
    failures: int
    repeat: bool
    has_b: bool = False


@frozen
class Recorded:
    """What became of a claim. "waiting" puts it back for `delay` seconds; `cost` is added to its failures."""

    claimed: Claimed
    outcome: Outcome
    delay: float = 0.0
    cost: int = 0
    error: str | None = None


# The broadcast's row is locked, so that of two runners the second goes on behind the first.
_FILLED_SO_FAR: Final = """
select segment, fill_after, fill_through from broadcasts where id = $1 and state = 'running' and not filled for no key update
"""

# A page is a page of customers, so that it is bounded also where few of them are meant.
_PAGE: Final = """
select max(id) as last, count(*) as found from (
    select id from customers where id > $1 and id <= $2 order by id limit $3
) page
"""

_FILL: Final = """
with added as (
    insert into broadcast_recipients (broadcast_id, customer_id)
    select {broadcast}, c.id from customers c where c.id > $1 and c.id <= $2 and {meant}
    on conflict do nothing
    returning customer_id
)
update broadcasts b set
    fill_after = $2, filled = {filled},
    total = b.total + (select count(*) from added),
    total_b = b.total_b + (select count(*) from added where broadcast_has_b(b.id, added.customer_id, b.share_b))
where b.id = {broadcast}
"""

_CLAIM: Final = """
with due as (
    select r.broadcast_id, r.customer_id, r.lease_holder from broadcast_recipients r
    where r.broadcast_id = any($1::bigint[]) and r.state = 'waiting' and r.available_at <= clock_timestamp()
      and exists (select from broadcasts b where b.id = r.broadcast_id and b.state = 'running')
    order by r.broadcast_id, r.customer_id limit $2
    for update of r skip locked
), taken as (
    update broadcast_recipients r
    set attempt = r.attempt + 1, lease_holder = $3, available_at = clock_timestamp() + make_interval(secs => $4)
    from due where r.broadcast_id = due.broadcast_id and r.customer_id = due.customer_id
    returning r.broadcast_id, r.customer_id, r.attempt, r.failures::integer, due.lease_holder is not null as repeat
)
select t.broadcast_id, t.customer_id, c.telegram_id, c.language, t.attempt, t.failures, t.repeat,
       broadcast_has_b(t.broadcast_id, t.customer_id, b.share_b) as has_b
from taken t join customers c on c.id = t.customer_id join broadcasts b on b.id = t.broadcast_id
order by t.broadcast_id, t.customer_id
"""

# What a killed runner of this name had in hand: it stands at the head, where claims are made; what does not is available when
# its lease is over. The holder stays, so that the next claim knows itself to be a repeat.
_TAKE_BACK: Final = """
update broadcast_recipients r set available_at = clock_timestamp()
from (
    select head.broadcast_id, head.customer_id, head.lease_holder from broadcasts b
    cross join lateral (
        select x.broadcast_id, x.customer_id, x.lease_holder from broadcast_recipients x
        where x.broadcast_id = b.id and x.state = 'waiting' order by x.customer_id limit $2
    ) head
    where b.state = 'running'
) mine
where mine.lease_holder = $1 and r.broadcast_id = mine.broadcast_id and r.customer_id = mine.customer_id
  and r.state = 'waiting' and r.lease_holder = $1
"""

_RECORD: Final = """
with given as (
    select * from unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::float8[], $6::text[], $7::boolean[],
        $8::integer[], $9::boolean[]) as g (broadcast_id, customer_id, attempt, outcome, delay, error, repeat, cost, has_b)
), ended as (
    update broadcast_recipients r
    set state = g.outcome, lease_holder = null, failures = r.failures + g.cost, last_error = coalesce(g.error, r.last_error),
        available_at = case when g.outcome = 'waiting' then clock_timestamp() + make_interval(secs => g.delay)
                            else r.available_at end
    from given g
    where r.broadcast_id = g.broadcast_id and r.customer_id = g.customer_id and r.attempt = g.attempt and r.state = 'waiting'
    returning r.broadcast_id, r.customer_id, r.state, g.repeat, g.has_b
), counted as (
    update broadcasts b set sent = b.sent + n.sent, unreachable = b.unreachable + n.unreachable, failed = b.failed + n.failed,
        repeated = b.repeated + n.repeated, sent_b = b.sent_b + n.sent_b, unreachable_b = b.unreachable_b + n.unreachable_b,
        failed_b = b.failed_b + n.failed_b
    from (select broadcast_id, count(*) filter (where state = 'sent') as sent,
                 count(*) filter (where state = 'unreachable') as unreachable,
                 count(*) filter (where state = 'failed') as failed,
                 count(*) filter (where state = 'sent' and repeat) as repeated,
                 count(*) filter (where state = 'sent' and has_b) as sent_b,
                 count(*) filter (where state = 'unreachable' and has_b) as unreachable_b,
                 count(*) filter (where state = 'failed' and has_b) as failed_b
          from ended group by broadcast_id) n
    where b.id = n.broadcast_id
), gone as (
    update customers c set reachable = false from ended
    where ended.state = 'unreachable' and c.id = ended.customer_id and c.reachable
)
select count(*) from ended
"""

_GIVE_BACK: Final = """
update broadcast_recipients r
set lease_holder = case when g.repeat then r.lease_holder end, available_at = clock_timestamp()
from unnest($1::bigint[], $2::bigint[], $3::integer[], $4::boolean[]) as g (broadcast_id, customer_id, attempt, repeat)
where r.broadcast_id = g.broadcast_id and r.customer_id = g.customer_id and r.attempt = g.attempt and r.state = 'waiting'
"""

_FINISH: Final = """
update broadcasts b set state = 'done', finished_at = clock_timestamp()
where b.id = any($1::bigint[]) and b.state = 'running' and b.filled
  and not exists (select from broadcast_recipients r where r.broadcast_id = b.id and r.state = 'waiting')
"""


async def running(source: Source) -> list[Broadcast]:
    """Those that run, the oldest first, at most ten."""
    rows = await fetch(
        source,
        "broadcasts.running",
        "select id, content, filled from broadcasts where state = 'running' order by id limit $1",
        _MOST_RUNNING,
    )
    return [Broadcast(*row.values()) for row in rows]


async def fill(source: Source, broadcast_id: int, limit: int = FILL_PAGE) -> bool:
    """Write down the recipients among the next `limit` customers; whether there may be more."""

    async def body(tx: Transaction) -> bool:
        so_far = await tx.fetchrow(_FILLED_SO_FAR, broadcast_id)
        if so_far is None:
            return False
        after, through = so_far["fill_after"], so_far["fill_through"]
        page = await tx.fetchrow(_PAGE, after, through, limit)
        more = page is not None and page["found"] == limit
        meant = conditions(Segment.from_json(from_json(so_far["segment"])))
        number = len(meant.arguments) + 3
        sql = _FILL.format(meant=meant.sql, broadcast=f"${number}::bigint", filled=f"${number + 1}::boolean")
        last = page["last"] if page is not None and more else max(after, through)
        await tx.execute(sql, after, last, *meant.arguments, broadcast_id, not more)
        return more

    return await in_transaction(source, "broadcasts.fill", body)


async def claim(
    source: Source, broadcast_ids: Sequence[int], limit: int, *, holder: str, lease: float
) -> list[Claimed]:
    """Take up to `limit` recipients of what runs in hand, for `lease` seconds."""

    async def body(tx: Transaction) -> list[Claimed]:
        rows = await tx.fetch(_CLAIM, list(broadcast_ids), limit, holder, lease)
        return [Claimed(*row.values()) for row in rows]

    return await in_transaction(source, "broadcasts.claim", body)


async def take_back(source: Source, *, holder: str) -> int:
    """Make available at once what this holder had in hand in a former life; how many that were."""

    async def body(tx: Transaction) -> int:
        return await tx.execute(_TAKE_BACK, holder, _HEAD)

    return await in_transaction(source, "broadcasts.take_back", body)


async def record(source: Source, outcomes: Sequence[Recorded]) -> int:
    """Write down what became of claims, in one statement; how many were still ours to write.

    Whoever cannot be reached is marked so.
    """
    ordered = sorted(outcomes, key=lambda one: (one.claimed.broadcast_id, one.claimed.customer_id))

    async def body(tx: Transaction) -> int:
        return int(
            await tx.fetchval(
                _RECORD,
                [one.claimed.broadcast_id for one in ordered],
                [one.claimed.customer_id for one in ordered],
                [one.claimed.attempt for one in ordered],
                [one.outcome for one in ordered],
                [one.delay for one in ordered],
                [one.error for one in ordered],
                [one.claimed.repeat for one in ordered],
                [one.cost for one in ordered],
                [one.claimed.has_b for one in ordered],
            )
        )

    return await in_transaction(source, "broadcasts.record", body)


async def give_back(source: Source, claims: Sequence[Claimed]) -> None:
    """Put back what was taken in hand and not begun: its next claim is no repeat, unless this one was."""

    async def body(tx: Transaction) -> int:
        return await tx.execute(
            _GIVE_BACK,
            [one.broadcast_id for one in claims],
            [one.customer_id for one in claims],
            [one.attempt for one in claims],
            [one.repeat for one in claims],
        )

    await in_transaction(source, "broadcasts.give_back", body)


async def halt(source: Source, broadcast_id: int, reason: str) -> bool:
    """Pause one that refuses everybody, with the reason; False if it does not run."""

    async def body(tx: Transaction) -> bool:
        return (
            await tx.execute(
                "update broadcasts set state = 'paused', halted = $2 where id = $1 and state = 'running'",
                broadcast_id,
                reason,
            )
            > 0
        )

    return await in_transaction(source, "broadcasts.halt", body)


async def finish_if_served(source: Source, broadcast_ids: Sequence[int]) -> int:
    """End those whose recipients all are written down and served; how many ended."""

    async def body(tx: Transaction) -> int:
        return await tx.execute(_FINISH, list(broadcast_ids))

    return await in_transaction(source, "broadcasts.finish", body)
