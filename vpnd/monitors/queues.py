"""The queues: how long the oldest waits in outbox and inbox, how many wait, and how many were given up.

Every count is bounded: beyond `MOST` it is enough to know that they are many. Rows about alarms are left out, for else an
alarm that cannot be delivered would raise the next.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from vpnd.database.database import Database
from vpnd.database.inbox import statistics
from vpnd.database.outbox_rows import LANES
from vpnd.monitors import gauges
from vpnd.monitors.alarms import KEY, Alarm, Alarms
from vpnd.runtime import metrics

__all__ = ["ALARMS", "QueueMonitor", "QueuesPicture"]

#: More than this is not counted on.
MOST: Final = 10_000

ALARMS: Final = (
    Alarm("outbox_age", "the oldest receipt or refund that is due waits for", "s", 300, 60),
    Alarm("inbox_age", "the oldest update that is not done waits for", "s", 30, 5),
    Alarm("dead_letters", "messages or refunds that were given up", "rows", 1, 0),
)

# For each kind and lane the oldest that is due: a walk along outbox_ready. Alarms' own rows are passed over, and they are few:
# one message for all. Of a kind that goes to customers only the urgent lanes count: a hundred thousand notices take an hour at
# Telegram's rate, and nothing is wrong with that.
_OLDEST: Final = """
    select k.kind, coalesce(max(extract(epoch from clock_timestamp() - o.available_at)), 0)::float8 as age
      from unnest($1::text[]) as k (kind) cross join unnest($2::text[]) as l (lane)
      left join lateral (
           select available_at from outbox o
            where o.status = 'ready' and o.kind = k.kind and o.lane = l.lane and o.available_at <= clock_timestamp()
              and o.key not like $3 and (l.lane in ('reply', 'receipt') or k.kind <> all($4::text[]))
            order by o.available_at limit 1) o on true
     group by k.kind limit 100
"""
_READY: Final = """
    select k.kind, (select count(*) from (
               select 1 from outbox o where o.status = 'ready' and o.kind = k.kind limit $2) found)::int as rows
      from unnest($1::text[]) as k (kind) limit 100
"""
_DEAD: Final = """
    select count(*)::int from (select 1 from outbox where status = 'dead' and key not like $1 limit $2) found
"""


@attrs.frozen
class QueuesPicture:
    """The queues at one moment. Ages are seconds; counts end at `MOST`."""

    outbox_age: dict[str, float]
    outbox_ready: dict[str, int]
    dead_letters: int
    inbox_pending: int
    inbox_pending_money: int
    inbox_age: float


class QueueMonitor:
    """Looks at the queues.

    Args:
        db: holds them.
        alarms: hears of them.
        kinds: of the outbox.
        bulk: those of them that go to customers at Telegram's rate: replies and receipts are what must not wait.
    """

    def __init__(
        self, db: Database, alarms: Alarms, kinds: tuple[str, ...], *, bulk: tuple[str, ...] = ("message",)
    ) -> None:
        self._db = db
        self._alarms = alarms
        self._bulk = list(bulk)
        self._kinds = list(dict.fromkeys(kinds))
        #: None before the first look.
        self.picture: QueuesPicture | None = None

    async def look(self) -> QueuesPicture:
        """Look once: set the gauges, feed the alarms, keep the picture.

        Raises:
            DatabaseError: the queues cannot be looked at; gauges and alarms stay as they were.
        """
        not_like = f"{KEY}%"
        ages = await self._db.fetch(
            "monitors.outbox_age", _OLDEST, self._kinds, list(LANES), not_like, self._bulk
        )
        ready = await self._db.fetch("monitors.outbox_ready", _READY, self._kinds, MOST)
        dead = await self._db.fetchval("monitors.dead_letters", _DEAD, not_like, MOST)
        inbox = await statistics(self._db)
        picture = self.picture = QueuesPicture(
            outbox_age={row["kind"]: row["age"] for row in ages},
            outbox_ready={row["kind"]: row["rows"] for row in ready},
            dead_letters=dead,
            inbox_pending=inbox.pending,
            inbox_pending_money=inbox.pending_money,
            inbox_age=inbox.oldest_age,
        )
        self._publish(picture)
        return picture

    def _publish(self, picture: QueuesPicture) -> None:
        for kind, age in picture.outbox_age.items():
            metrics.outbox_oldest_age_seconds.labels(kind).set(age)
        for kind, rows in picture.outbox_ready.items():
            gauges.outbox_ready.labels(kind).set(rows)
        gauges.outbox_dead_letters.set(picture.dead_letters)
        worst: Any = max(picture.outbox_age, key=lambda kind: picture.outbox_age[kind], default="")
        self._alarms.update("outbox_age", picture.outbox_age.get(worst, 0.0), worst)
        self._alarms.update("inbox_age", picture.inbox_age)
        self._alarms.update("dead_letters", picture.dead_letters)
