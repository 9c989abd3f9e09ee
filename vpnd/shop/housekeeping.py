"""What nobody needs any more, found and removed in bounded batches. Ledger, payments, purchases, settlements and refunds never.

Each chore finds its rows by an index and in order, and removes named ones, so that a batch that fails can be halved. What
guards against a repeat stays for as long as the repeat could come:

- `inbox`: Telegram keeps an update for 24 hours; effects carry the update's number by themselves (`purchases.request_key`).
  A week later Telegram may give its numbers out anew, and an old row would swallow a new update.
- `outbox`: the key of a row that is done guards nothing that is not guarded by the row that decided it. A receipt is written
  with its settlement, which is unique by the charge; an expiry and a reminder by a state of the subscription that only moves
  on; a trial's notice by `trial_notices`; a refund's job with the refund. Of the two that are guarded by their key alone, a
  renewal that cannot be paid is looked at for six hours, and the alarm of the books names its day.
- dead letters: messages for 30 days; a job that moves money until a person has dealt with it.
- `access_log`: what every node has acknowledged, from its lowest number up and never past a row that could not be removed: a
  node that follows from a place in between would miss what is gone.
- `invoices`: of purchases that were never paid, half a year after the provider would take money for them. A payment that came
  all the same would still be found by its payload.
- `broadcast_recipients`: 30 days after its end a broadcast keeps its counts only.
- `asked_deeds`: a question is answered within a day; its answer is in the audit log, by its own key.
- `export_requests`: 90 days after their end; a press that asked is older than what is played again, and the audit log has it too.
- `figure_summaries`: for 90 days. Only yesterday's and last week's are ever due.

Times are the real clock's, where rows are stamped by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import access_log
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = ["CHORES", "Chore", "Place"]

#: Where a row stands in the order of its chore; the last value names the row.
Place = tuple[str, ...]

#: For so long the access log keeps what every node has: one that is restored within a day is followed, not compared.
KEEP_LOG: Final = timedelta(days=1)
_DEADLINE: Final = 20.0


@frozen
class Chore:
    """One kind of tidying.

    Attributes:
        find: ``await find(source, limit, after)`` returns the next rows in order, strictly beyond `after` (None: the first).
        clear: ``await clear(source, places)`` clears these, unless they are no longer what they were; returns how many.
    """

    name: str
    find: Callable[[Source, int, Place | None], Awaitable[list[Place]]]
    clear: Callable[[Source, Sequence[Place]], Awaitable[int]]


def _by_sql(name: str, find: str, clear: str) -> Chore:
    """A chore of two statements.

    Args:
        find: $1 limit, $2 the place before the page as text[], or null; returns `place` as text[].
        clear: $1 the rows' names as text[]; returns how many were cleared.
    """

    async def find_rows(source: Source, limit: int, after: Place | None) -> list[Place]:
        place = None if after is None else list(after)
        rows = await fetch(source, f"housekeeping.find_{name}", find, limit, place, deadline=_DEADLINE)
        return [tuple(row["place"]) for row in rows]

    async def clear_rows(source: Source, places: Sequence[Place]) -> int:
        async def body(tx: Transaction) -> int:
            return int(await tx.fetchval(clear, [place[-1] for place in places]))

        return await in_transaction(source, f"housekeeping.clear_{name}", body, deadline=_DEADLINE)

    return Chore(name, find_rows, clear_rows)


def _by_time(name: str, table: str, time: str, key: str, old: str) -> Chore:
    """Rows of `table` in the order of `time`; `old` is the condition that an index is made for."""
    return _by_sql(
        name,
        f"""
        select array[{time}::text, {key}::text] as place from {table}
        where {old} and ($2::text[] is null or ({time}, {key}) > (($2::text[])[1]::timestamptz, ($2::text[])[2]::bigint))
        order by {time}, {key} limit $1
        """,  # noqa: S608 (constants of this module)
        f"""
        with cleared as (delete from {table} where {key} = any($1::text[]::bigint[]) and {old} returning 1)
        select count(*) from cleared
        """,  # noqa: S608 (likewise)
    )


def _older(time: str, days: int) -> str:
    return f"{time} < clock_timestamp() - interval '{days} days'"


async def _find_passed(source: Source, limit: int, after: Place | None) -> list[Place]:
    seqs = await access_log.passed(source, KEEP_LOG, limit, 0 if after is None else int(after[-1]))
    return [(str(seq),) for seq in seqs]


async def _clear_passed(source: Source, places: Sequence[Place]) -> int:
    return await access_log.trim(source, KEEP_LOG, len(places), seqs=[int(place[-1]) for place in places])


# What closed a purchase gave its use of a promo code back in the same statement; this is for what was closed by hand.
_PROMO_USES: Final = _by_sql(
    "promo_uses",
    """
    select array[u.id::text] as place from promo_uses u join purchases p on p.id = u.purchase_id
    where u.state = 'reserved' and p.status in ('expired', 'cancelled')
      and ($2::text[] is null or u.id > ($2::text[])[1]::bigint)
    order by u.id limit $1
    """,
    """
    with closed as (
        select u.id from promo_uses u join purchases p on p.id = u.purchase_id
        where u.id = any($1::text[]::bigint[]) and p.status in ('expired', 'cancelled')
        order by p.id for no key update of p
    ), returned as (
        update promo_uses u set state = 'returned' from closed where u.id = closed.id and u.state = 'reserved'
        returning u.promo_id
    ), counted as (
        update promo_codes k set used = k.used - f.n
        from (select promo_id, count(*)::integer as n from returned group by promo_id) f where k.id = f.promo_id
    )
    select count(*) from returned
    """,
)

# A comparison goes after its differences, which may be many.
_DIFFERENCES: Final = _by_sql(
    "reconciliation_differences",
    """
    select array[d.id::text] as place
    from reconciliations r join reconciliation_differences d on d.reconciliation_id = r.id
    where r.finished_at < clock_timestamp() - interval '90 days'
      and ($2::text[] is null or d.id > ($2::text[])[1]::bigint)
    order by d.id limit $1
    """,
    """
    with cleared as (delete from reconciliation_differences where id = any($1::text[]::bigint[]) returning 1)
    select count(*) from cleared
    """,
)

_RECIPIENTS: Final = _by_sql(
    "broadcast_recipients",
    """
    select array[r.broadcast_id::text, r.customer_id::text, r.broadcast_id || ' ' || r.customer_id] as place
    from broadcasts b
    cross join lateral (
        select x.broadcast_id, x.customer_id from broadcast_recipients x
        where x.broadcast_id = b.id and ($2::text[] is null
            or (x.broadcast_id, x.customer_id) > (($2::text[])[1]::bigint, ($2::text[])[2]::bigint))
        order by x.customer_id limit $1
    ) r
    where b.finished_at < clock_timestamp() - interval '30 days'
    order by r.broadcast_id, r.customer_id limit $1
    """,
    """
    with cleared as (
        delete from broadcast_recipients r using unnest($1::text[]) g (name)
        where r.broadcast_id = split_part(g.name, ' ', 1)::bigint and r.customer_id = split_part(g.name, ' ', 2)::bigint
        returning 1
    )
    select count(*) from cleared
    """,
)

_ACTIVATIONS: Final = _by_sql(
    "late_activations",
    """
    select array[l.subscription_id::text] as place
    from late_activations l join subscriptions s on s.id = l.subscription_id
    where (s.status <> 'active' or s.activated_at is not null)
      and ($2::text[] is null or l.subscription_id > ($2::text[])[1]::bigint)
    order by l.subscription_id limit $1
    """,
    """
    with cleared as (
        delete from late_activations l using subscriptions s
        where l.subscription_id = any($1::text[]::bigint[]) and s.id = l.subscription_id
          and (s.status <> 'active' or s.activated_at is not null)
        returning 1
    )
    select count(*) from cleared
    """,
)

# The keys of what alerts were made of outlive the rows of the outbox that could be played again.
_ALERT_NEWS: Final = _by_sql(
    "alert_news",
    """
    select array[noted_at::text, key] as place from alert_news
    where noted_at < clock_timestamp() - interval '30 days'
      and ($2::text[] is null or (noted_at, key) > (($2::text[])[1]::timestamptz, ($2::text[])[2]))
    order by noted_at, key limit $1
    """,
    """
    with cleared as (delete from alert_news where key = any($1::text[]) returning 1) select count(*) from cleared
    """,
)

# By the time at which they were asked. What somebody asks for is a row or two a day, so no index is kept for that.
_ASKED: Final = _by_time(
    "asked_deeds", "asked_deeds", "created_at", "asked", "created_at < vpnd_now() - interval '2 days'"
)
_EXPORTS: Final = _by_time(
    "export_requests",
    "export_requests",
    "finished_at",
    "id",
    "state <> 'asked' and finished_at < vpnd_now() - interval '90 days'",
)

_SUMMARIES: Final = _by_sql(
    "figure_summaries",
    """
    select array[kind, first::text, kind || ' ' || first] as place from figure_summaries
    where first < vpnd_now()::date - 90
      and ($2::text[] is null or (kind, first) > (($2::text[])[1], ($2::text[])[2]::date))
    order by kind, first limit $1
    """,
    """
    with cleared as (
        delete from figure_summaries s using unnest($1::text[]) g (name)
        where s.kind = split_part(g.name, ' ', 1) and s.first = split_part(g.name, ' ', 2)::date
        returning 1
    )
    select count(*) from cleared
    """,
)

#: In this order.
CHORES: Final[Sequence[Chore]] = (
    Chore("access_log", _find_passed, _clear_passed),
    _by_time("inbox", "inbox", "done_at", "update_id", _older("done_at", 7)),
    _by_time(
        "outbox",
        "outbox",
        "finished_at",
        "id",
        f"status in ('done', 'dropped') and {_older('finished_at', 7)}",
    ),
    _by_time(
        "dead_letters",
        "outbox",
        "finished_at",
        "id",
        f"status = 'dead' and kind in ('message', 'admin_alert', 'alert_post') and {_older('finished_at', 30)}",
    ),
    _PROMO_USES,
    _by_time(
        "invoices",
        "invoices",
        "expires_at",
        "id",
        "status = 'expired' and expires_at < vpnd_now() - interval '180 days' and not exists ("
        "select from purchases p where p.id = invoices.purchase_id and p.status not in ('expired', 'cancelled'))",
    ),
    _DIFFERENCES,
    _by_time(
        "reconciliations",
        "reconciliations",
        "finished_at",
        "id",
        f"{_older('finished_at', 90)} and not exists ("
        "select from reconciliation_differences d where d.reconciliation_id = reconciliations.id)",
    ),
    _RECIPIENTS,
    _ACTIVATIONS,
    _by_time("alerts", "alerts", "closed_at", "id", "closed_at < vpnd_now() - interval '90 days'"),
    _ALERT_NEWS,
    _ASKED,
    _EXPORTS,
    _SUMMARIES,
)
