"""When a customer was last there, learnt from the updates that the inbox keeps for a week anyway.

Writing it down when an update is handled would cost every press a write. So a worker goes through what is finished, in the order
in which it ended, and notes each sender at most once an hour. What it has gone through is remembered in one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = ["Seen", "finished_after", "note"]

#: An update by when it ended, and its number.
Seen = tuple[datetime, int]

# Updates that end at the same moment as others may be committed after them: those of the last seconds are left for the next time.
_FINISHED: Final = """
select i.done_at, i.update_id from inbox i, activity_noted n
where i.done_at is not null and i.done_at < clock_timestamp() - interval '30 seconds'
  and (i.done_at, i.update_id) > (coalesce($1::timestamptz, n.done_at), case when $1 is null then n.update_id else $2 end)
order by i.done_at, i.update_id limit $3
"""

# Who presses or writes is there; who blocks the bot is not. The clock of the business may stand apart from that of the inbox.
_NOTE: Final = """
with seen as (
    select queue_key, max(received_at) + (vpnd_now() - now()) as at from inbox
    where update_id = any($1::bigint[]) and queue_key > 0 and kind in ('message', 'callback_query', 'pre_checkout_query')
    group by queue_key
), noted as (
    update customers c set seen_at = seen.at from seen
    where c.telegram_id = seen.queue_key and c.erased_at is null
      and (c.seen_at is null or c.seen_at < seen.at - interval '1 hour')
    returning 1
), moved as (
    update activity_noted set done_at = $2, update_id = $3 where (done_at, update_id) < ($2, $3)
)
select count(*) from noted
"""


async def finished_after(source: Source, after: Seen | None, limit: int) -> Sequence[Seen]:
    """The next updates that ended, beyond `after`, or beyond what was gone through before."""
    at, number = (None, 0) if after is None else after
    rows = await fetch(source, "activity.finished", _FINISHED, at, number, limit)
    return [(row["done_at"], row["update_id"]) for row in rows]


async def note(source: Source, updates: Sequence[Seen]) -> int:
    """Note who sent these, and that they were gone through; how many customers it was news of."""
    if not updates:
        return 0
    at, number = max(updates)

    async def body(tx: Transaction) -> int:
        return int(await tx.fetchval(_NOTE, [one for _, one in updates], at, number))

    return await in_transaction(source, "activity.note", body)
