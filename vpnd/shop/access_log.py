"""The log that nodes follow: which credentials changed, in an order that loses nothing.

A row only names a subscription; what a follower is given is its *present* state and version, so order,
repeats and gaps cannot hurt: whoever applies a change applies it only if its version is newer.

Why rows are numbered after the commit. A number taken inside a transaction (a sequence) becomes visible when
that transaction commits, which may be after a higher number was read and acknowledged: the lower one would
never be sent. Waiting until no older transaction is open would repair that, and let any stranger's idle
transaction hold up a customer who has paid. So a row is born without a number, and a numberer gives numbers
to what is committed and visible, in one short transaction: a row that commits late gets a late number.
Numberers exclude each other on the head's row, hence whoever sees a number sees all lower ones.

The log has an epoch. After a restore from a backup it must be made new (`new_epoch`): nodes then hold
watermarks of a future that never was. A follower whose epoch or watermark is not known here is told so
(`Unknown`), and has to compare instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, Literal

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction, turn_of

__all__ = [
    "AccessChange",
    "Acknowledged",
    "Activated",
    "Head",
    "Page",
    "Unknown",
    "Watermark",
    "bucket_members",
    "buckets",
    "changes_after",
    "head",
    "log_again",
    "new_epoch",
    "number",
    "passed",
    "record_ack",
    "trim",
    "watermark",
]

NUMBER_LIMIT: Final = 10_000  # rows one numbering takes; a longer queue is numbered by repeating it
PAGE_LIMIT: Final = 10_000  # what a node takes in one call
BUCKETS: Final = 256
_BUCKETS_A_PIECE: Final = 4  # 16 000 rows a statement at a million subscriptions: a twentieth of a second
ACK_LIMIT: Final = 5_000  # rows one acknowledgement notes: the first of a big shop covers all, in pieces


@frozen
class AccessChange:
    """The present state of one credential."""

    name: str
    uuid: str
    version: int
    active: bool


@frozen
class Page:
    """Changes after a watermark.

    Attributes:
        last_seq: the watermark once these changes are applied; the one given if there is none.
        head_seq: the log's last number; the follower is up to date when both are equal.
    """

    epoch: str
    last_seq: int
    head_seq: int
    changes: tuple[AccessChange, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing was left for another page when this one was read."""
        return self.last_seq >= self.head_seq


@frozen
class Unknown:
    """The follower's place in the log is not known here: it must be compared, not followed."""

    reason: Literal["epoch", "ahead", "trimmed"]
    epoch: str
    head_seq: int


@frozen
class Head:
    """Where the log stands. `first_seq` is the lowest number still kept, or last_seq + 1 when none is."""

    epoch: str
    last_seq: int
    first_seq: int


@frozen
class Watermark:
    """What a node has acknowledged last."""

    epoch: str | None
    seq: int


@frozen
class Activated:
    """A subscription that was acknowledged by a node for the first time in its present term."""

    subscription_id: int
    customer_id: int


@frozen
class Acknowledged:
    """How far an acknowledgement is noted, and what is on for the first time by that."""

    seq: int
    activated: list[Activated]


# The head's row is the mutex of numberers. It is locked by a statement of its own, so that the next one's snapshot
# is taken when the lock is held and shows what an earlier numberer has done.
_LOCK_HEAD: Final = "select last_seq from access_head for update"

_NUMBER: Final = """
with numbered as (
    update access_log a set seq = $2 + fresh.place, numbered_at = clock_timestamp()
    from (select id, row_number() over (order by id) as place
          from (select id from access_log where seq is null order by id limit $1) waiting) fresh
    where a.id = fresh.id
    returning a.seq
), moved as (
    update access_head set last_seq = (select max(seq) from numbered) where exists (select from numbered)
)
select count(*) from numbered
"""

_CHANGES: Final = """
with head as (
    select epoch, last_seq, coalesce((select min(seq) from access_log), last_seq + 1) as first_seq
    from access_head
), page as (
    select l.subscription_id, l.seq from access_log l, head
    where l.seq > $2 and head.epoch = $1 and $2 <= head.last_seq and $2 >= head.first_seq - 1
    order by l.seq limit $3
)
select head.epoch, head.last_seq, head.first_seq, (select max(seq) from page) as page_seq,
       s.name, s.credential::text as uuid, s.version, s.status = 'active' as active
from head
left join (select distinct subscription_id from page) named on true
left join subscriptions s on s.id = named.subscription_id
"""

_HEAD: Final = """
select epoch, last_seq, coalesce((select min(seq) from access_log), last_seq + 1) as first_seq from access_head
"""

# The sum of vpnd.runtime.digest, in SQL: fifteen hexadecimal digits of md5 are 60 bits and always positive.
_BUCKETS: Final = """
select substr(md5(name), 1, 2) as bucket, count(*) as members,
       sum(('x' || substr(md5(name || ':' || credential::text || ':' || version || ':'
           || case when status = 'active' then '1' else '0' end), 1, 15))::bit(60)::bigint)::text as total
from subscriptions
where substr(md5(name), 1, 2) = any($1::text[])
group by 1
"""

# A bucket at a time, by the index of the buckets: asked for all of them at once, the planner may walk every name in order.
_MEMBERS: Final = """
select m.name, m.uuid, m.version, m.active
from unnest($1::text[]) as b (bucket), lateral (
    select name, credential::text as uuid, version, status = 'active' as active
    from subscriptions
    where substr(md5(name), 1, 2) = b.bucket and name > coalesce($3::text, '')
    order by name limit $2
) m
order by m.name limit $2
"""

# $1 node, $2 epoch, $3 seq, $4 rows at once. An acknowledgement of another epoch than the log's, or beyond its end, says nothing.
_MARK: Final = """
with head as (
    select epoch from access_head where epoch = $2 and $3 <= last_seq
), before as (
    select coalesce((select seq from nodes where name = $1 and epoch = $2), 0) as seq
), piece as (
    select seq from access_log where seq > (select seq from before) and seq <= $3 order by seq limit $4
), step as (
    select case when count(*) < $4 then $3 else max(seq) end as seq from piece
), marked as (
    insert into nodes (name, epoch, seq, acked_at, seen_at)
    select $1, head.epoch, step.seq, vpnd_now(), vpnd_now() from head, step
    on conflict (name) do update
        set seq = case when nodes.epoch = excluded.epoch then greatest(nodes.seq, excluded.seq) else excluded.seq end,
            epoch = excluded.epoch, acked_at = excluded.acked_at, seen_at = excluded.seen_at
    returning seq
)
select marked.seq as marked, before.seq as before from marked, before
"""

# What the rows between the node's old mark ($1) and its new one ($2) name is on now, unless it changed again: a
# subscription with no row after the mark, numbered or not, is in the very state that was sent.
_ACTIVATE: Final = """
update subscriptions s set activated_at = vpnd_now()
from (select distinct subscription_id from access_log where seq > $1 and seq <= $2) covered
where s.id = covered.subscription_id and s.status = 'active' and s.activated_at is null
  and not exists (
      select from access_log later
      where later.subscription_id = s.id and (later.seq is null or later.seq > $2))
returning s.id, s.customer_id
"""

# $1 keep. A node of another epoch has nothing; without any node there is nobody to wait for.
_PASSED: Final = """
    l.seq <= coalesce((select min(case when n.epoch = h.epoch then n.seq else 0 end) from nodes n, access_head h),
                      (select last_seq from access_head))
    and l.numbered_at < clock_timestamp() - $1::interval
"""


async def number(source: Source, limit: int = NUMBER_LIMIT) -> int:
    """Number up to `limit` committed rows in the order of their birth; returns how many.

    One short transaction. Meant for one leased numberer, correct with several: they queue on the head's row.
    """

    async def body(tx: Transaction) -> int:
        last = await tx.fetchval(_LOCK_HEAD)
        return int(await tx.fetchval(_NUMBER, limit, last))

    return await in_transaction(source, "access_log.number", body)


async def changes_after(
    source: Source, epoch: str | None, seq: int, limit: int = PAGE_LIMIT
) -> Page | Unknown:
    """What changed after the watermark, each credential once with its present state; at most `limit` log rows.

    Returns Unknown if the epoch is another than the log's, or the watermark is beyond its end or before the
    rows that are still kept.
    """
    rows = await fetch(source, "access_log.changes", _CHANGES, epoch, seq, limit)
    first = rows[0]
    if epoch != first["epoch"]:
        return Unknown("epoch", first["epoch"], first["last_seq"])
    if seq > first["last_seq"]:
        return Unknown("ahead", first["epoch"], first["last_seq"])
    if seq < first["first_seq"] - 1:
        return Unknown("trimmed", first["epoch"], first["last_seq"])
    return Page(
        epoch=first["epoch"],
        last_seq=seq if first["page_seq"] is None else first["page_seq"],
        head_seq=first["last_seq"],
        changes=tuple(
            AccessChange(row["name"], row["uuid"], row["version"], row["active"])
            for row in rows
            if row["name"] is not None
        ),
    )


async def head(source: Source) -> Head:
    """The log's epoch and its first and last number."""
    row = await fetchrow(source, "access_log.head", _HEAD)
    if row is None:
        raise RuntimeError("the access log has no head row; the schema is incomplete")
    return Head(row["epoch"], row["last_seq"], row["first_seq"])


async def new_epoch(source: Source, *, instead_of: str | None = None) -> str:
    """Begin a new epoch, after a restore: no watermark given out before is trusted any more.

    With `instead_of` only that one is replaced, so that several who notice the same restore begin one epoch and not one each.
    Returns the epoch that holds now.
    """
    sql = """
        update access_head set epoch = replace(gen_random_uuid()::text, '-', '')
        where $1::text is null or epoch = $1 returning epoch
    """

    async def body(tx: Transaction) -> str:
        begun = await tx.fetchval(sql, instead_of)
        return str(begun) if begun is not None else (await head(tx)).epoch

    return await in_transaction(source, "access_log.new_epoch", body)


async def buckets(source: Source) -> list[tuple[int, int]]:
    """Count and sum of each of the 256 buckets, over every subscription, in bounded pieces.

    The pieces are separate reads: a credential that changes meanwhile makes one bucket differ, which a
    second look settles.
    """
    sums = [(0, 0)] * BUCKETS
    for start in range(0, BUCKETS, _BUCKETS_A_PIECE):
        names = _bucket_names(range(start, start + _BUCKETS_A_PIECE))
        async with turn_of(source):
            rows = await fetch(source, "access_log.buckets", _BUCKETS, names)
        for row in rows:
            sums[int(row["bucket"], 16)] = (row["members"], int(row["total"]))
    return sums


async def bucket_members(
    source: Source, bucket_ids: Sequence[int], limit: int, *, after: str | None = None
) -> list[AccessChange]:
    """The credentials in these buckets by name, at most `limit`; `after` is the last name of the page before."""
    names = _bucket_names(bucket_ids)
    async with turn_of(source):
        rows = await fetch(source, "access_log.members", _MEMBERS, names, limit, after)
    return [AccessChange(row["name"], row["uuid"], row["version"], row["active"]) for row in rows]


async def record_ack(
    source: Source, node: str, epoch: str, seq: int, limit: int = ACK_LIMIT
) -> Acknowledged | Unknown:
    """Note that a node holds everything up to `seq`, or the next `limit` rows of it; returns what is on by that.

    Repeat it until the mark it returns is as far as `seq`. The mark is only ever raised within an epoch.
    Subscriptions that changed again after it are left for the acknowledgement of that change. Unknown if the epoch
    or `seq` is not the log's; nothing is noted then.
    """

    async def body(tx: Transaction) -> Acknowledged | Unknown:
        mark = await tx.fetchrow(_MARK, node, epoch, seq, limit)
        if mark is None:
            now = await head(tx)
            return Unknown("epoch" if now.epoch != epoch else "ahead", now.epoch, now.last_seq)
        rows = await tx.fetch(_ACTIVATE, mark["before"], mark["marked"])
        return Acknowledged(mark["marked"], [Activated(row["id"], row["customer_id"]) for row in rows])

    return await in_transaction(source, "access_log.ack", body)


async def watermark(source: Source, node: str) -> Watermark:
    """What the node acknowledged last; epoch None and 0 for one that never did."""
    row = await fetchrow(source, "access_log.watermark", "select epoch, seq from nodes where name = $1", node)
    return Watermark(None, 0) if row is None else Watermark(row["epoch"], row["seq"])


async def log_again(source: Source, subscription_id: int) -> bool:
    """Put a subscription into the log once more, so that nodes are told of it again; whether that was needed.

    A row that waits for its number, or that a node has yet to acknowledge, is enough; and where there is no node, there is
    nobody to tell: the first one will be compared.
    """
    sql = """
        insert into access_log (subscription_id)
        select s.id from subscriptions s
        where s.id = $1 and s.status = 'active' and s.activated_at is null
          and exists (select from nodes)
          and not exists (
              select from access_log l where l.subscription_id = s.id and (
                  l.seq is null
                  or l.seq > (select min(case when n.epoch = h.epoch then n.seq else 0 end) from nodes n, access_head h)))
    """

    async def body(tx: Transaction) -> bool:
        return await tx.execute(sql, subscription_id) > 0

    return await in_transaction(source, "access_log.again", body)


async def passed(source: Source, keep: timedelta, limit: int, after: int = 0) -> list[int]:
    """Numbers of the oldest rows that are older than `keep` and that every node has, beyond `after`, at most `limit`."""
    sql = f"select l.seq from access_log l where {_PASSED} and l.seq > $3 order by l.seq limit $2"  # noqa: S608
    return [row["seq"] for row in await fetch(source, "access_log.passed", sql, keep, limit, after)]


async def trim(source: Source, keep: timedelta, limit: int, *, seqs: Sequence[int] | None = None) -> int:
    """Delete up to `limit` of the oldest numbered rows that are older than `keep` and that every node has.

    With `seqs` it is these rows or, where a lower one is left, none: a node that came back to a place above a row that is
    kept would be followed from there, and miss what is gone. A node that comes back to a place below the log is compared.
    Returns how many rows went.
    """
    sql = f"""
        delete from access_log where id in (
            select l.id from access_log l
            where {_PASSED} and ($3::bigint[] is null or l.seq = any($3) and not exists (
                select from access_log low where low.seq < (select min(g.seq) from unnest($3) g (seq))))
            order by l.seq limit $2)
    """  # noqa: S608 (only a constant is pasted in)

    async def body(tx: Transaction) -> int:
        return await tx.execute(sql, keep, limit, None if seqs is None else list(seqs))

    return await in_transaction(source, "access_log.trim", body)


def _bucket_names(ids: Iterable[int]) -> list[str]:
    return [f"{one:02x}" for one in ids]
