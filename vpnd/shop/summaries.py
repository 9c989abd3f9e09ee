"""The daily and the weekly summary: who is told, of what, and when. Each once, however often the worker runs.

A summary is due from its hour on, by the shop's clock: of yesterday, and of the last whole week from Monday to Sunday. What was
missed while the daemon was down is not made up for, but for the newest of each. A row says that it was told; the figures are read
when the message is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.notices import Notice
from vpnd.shop.operators import Permission, may
from vpnd.shop.source import Source, fetchrow, in_transaction

__all__ = ["Summary", "due_summaries", "tell_summary"]

Kind = Literal["day", "week"]

#: So long after its beginning a summary is news: until the next one is due.
_VALID: Final[dict[Kind, timedelta]] = {"day": timedelta(days=1), "week": timedelta(days=7)}
_MOST: Final = 300  # operators


@frozen
class Summary:
    """What is to be told: the days from `first` to `last`."""

    kind: Kind
    first: date
    last: date


_NOW: Final = """
select (vpnd_now() at time zone $1)::date as today, extract(hour from vpnd_now() at time zone $1)::integer as hour,
       exists (select from customers where created_at < ((vpnd_now() at time zone $1)::date::timestamp at time zone $1)) as began,
       (select max(first) from figure_summaries where kind = 'day') as day,
       (select max(first) from figure_summaries where kind = 'week') as week
limit 1
"""


async def due_summaries(
    source: Source, zone: str, *, hour: int, daily: bool, weekly: bool
) -> Sequence[Summary]:
    """What is due and was not told yet, at `hour` of the shop's clock or later; nothing before the shop's first day is over."""
    row = await fetchrow(source, "summaries.now", _NOW, zone)
    if row is None or not row["began"] or row["hour"] < hour:
        return []
    today: date = row["today"]
    yesterday = today - timedelta(days=1)
    monday = today - timedelta(days=today.weekday() + 7)
    found: list[Summary] = []
    if daily and (row["day"] is None or row["day"] < yesterday):
        found.append(Summary("day", yesterday, yesterday))
    if weekly and (row["week"] is None or row["week"] < monday):
        found.append(Summary("week", monday, monday + timedelta(days=6)))
    return found


_TAKE: Final = """
insert into figure_summaries (kind, first) values ($1, $2) on conflict do nothing returning vpnd_now() as now
"""
_WHO: Final = """
select o.telegram_id, o.role, c.language from operators o left join customers c on c.telegram_id = o.telegram_id
union
select a.id, 'owner', c.language from unnest($1::bigint[]) a (id) left join customers c on c.telegram_id = a.id
order by 1 limit $2
"""


async def tell_summary(
    source: Source, summary: Summary, owners: Collection[int], *, default_language: str
) -> int:
    """Write a message for each operator who may see figures; returns how many. 0 where somebody else has told it.

    Args:
        owners: Telegram ids of those of the configuration.
        default_language: of an operator who never wrote to the bot.
    """

    async def body(tx: Transaction) -> int:
        taken = await tx.fetchrow(_TAKE, summary.kind, summary.first)
        if taken is None:
            return 0
        rows = await tx.fetch(_WHO, list(owners), _MOST)
        people = {r["telegram_id"]: r["language"] for r in rows if may(r["role"], Permission.FIGURES)}
        until = taken["now"] + _VALID[summary.kind]
        args: dict[str, Any] = {
            "kind": summary.kind,
            "first": summary.first.isoformat(),
            "last": summary.last.isoformat(),
        }
        told: list[Notice] = [
            notices.message(
                f"summary:{summary.kind}:{summary.first}:{who}", who, "summary", args, language or default_language,
                valid_until=until,
            )
            for who, language in people.items()
        ]  # fmt: skip
        await notices.put_all(tx, told)
        return len(told)

    return await in_transaction(source, "summaries.tell", body)
