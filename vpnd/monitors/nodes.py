"""The gap between what the shop says and what its nodes do: expired and still on, paid and not on.

A node does what it has acknowledged. What the log names beyond its mark is what it may not do yet: a credential that is off
there is one the node may still serve, one that is on and was never acknowledged in its term is one that somebody waits for.
Beside it, the shop's own delay: subscriptions past their end that nobody has expired yet. All counts are bounded.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs

from vpnd.database.database import Database
from vpnd.monitors import gauges
from vpnd.monitors.alarms import Alarm, Alarms
from vpnd.runtime import metrics

__all__ = ["ALARMS", "NodeMonitor", "NodePicture", "NodesPicture"]

#: More than this is not counted on.
MOST: Final = 10_000
#: Seconds for which a subscription past its end is the expiry worker's business.
OVERDUE_AFTER: Final = 120.0

ALARMS: Final = (
    Alarm("expired_but_on", "credentials that are off and a node has not turned off", "rows", 1, 0, raise_after=60),
    Alarm("paid_but_off", "credentials that are paid and no node has turned on", "rows", 1, 0, raise_after=60),
    Alarm("overdue", "subscriptions past their end that are not expired", "rows", 1, 0, raise_after=120),
    Alarm("node_silent", "a node has not answered for", "s", 120, 60, raise_after=30),
)  # fmt: skip

# The rows that a node has yet to acknowledge are the whole log when its mark is of another epoch. They are few, or the node is
# away and they are counted up to a bound.
_GAP: Final = """
    select n.name, n.seen_at, coalesce(extract(epoch from vpnd_now() - n.seen_at), 0)::float8 as silent_for,
           coalesce(g.behind, 0)::int as behind, coalesce(g.off, 0)::int as off, coalesce(g.waiting, 0)::int as waiting
      from (select n.name, n.seen_at, case when n.epoch = h.epoch then n.seq else 0 end as mark
              from nodes n, access_head h where n.name = any($2::text[]) order by n.name limit 100) n
      left join lateral (
           select count(*) as behind, count(*) filter (where s.status = 'expired') as off,
                  count(*) filter (where s.status = 'active' and s.activated_at is null) as waiting
             from (select distinct subscription_id from (
                      (select subscription_id from access_log where seq > n.mark order by seq limit $1)
                      union all
                      (select subscription_id from access_log where seq is null order by id limit $1)) rows) late
             join subscriptions s on s.id = late.subscription_id) g on true
     order by n.name limit 100
"""
_OVERDUE: Final = """
    select count(*)::int from (
        select 1 from subscriptions where status = 'active' and expires_at < vpnd_now() - make_interval(secs => $2)
         limit $1) found
"""


@attrs.frozen
class NodePicture:
    """A node as the database knows it: changes it has not acknowledged, and who is wrong on it because of that."""

    name: str
    seen_at: datetime | None
    silent_for: float
    behind: int
    expired_but_on: int
    paid_but_off: int


@attrs.frozen
class NodesPicture:
    """All nodes at one moment, and the shop's own delay."""

    nodes: tuple[NodePicture, ...]
    overdue: int


class NodeMonitor:
    """Looks at the nodes that this daemon drives."""

    def __init__(self, db: Database, alarms: Alarms, names: tuple[str, ...]) -> None:
        self._db = db
        self._alarms = alarms
        #: The nodes that are looked at; may be exchanged.
        self.names = names
        #: None before the first look.
        self.picture: NodesPicture | None = None

    async def look(self) -> NodesPicture:
        """Look once: set the gauges, feed the alarms, keep the picture.

        Raises:
            DatabaseError: they cannot be looked at; gauges and alarms stay as they were.
        """
        rows = await self._db.fetch("monitors.node_gap", _GAP, MOST, list(self.names))
        overdue = await self._db.fetchval("monitors.overdue", _OVERDUE, MOST, OVERDUE_AFTER)
        nodes = tuple(
            NodePicture(
                row["name"], row["seen_at"], row["silent_for"], row["behind"], row["off"], row["waiting"]
            )
            for row in rows
        )
        picture = self.picture = NodesPicture(nodes, overdue)
        self._publish(picture)
        return picture

    def _publish(self, picture: NodesPicture) -> None:
        for node in picture.nodes:
            metrics.node_expired_but_on.labels(node.name).set(node.expired_but_on)
            metrics.node_active_but_off.labels(node.name).set(node.paid_but_off)
        gauges.subscriptions_overdue.set(picture.overdue)
        update = self._alarms.update
        for alarm, values in (
            ("expired_but_on", {node.name: node.expired_but_on for node in picture.nodes}),
            ("paid_but_off", {node.name: node.paid_but_off for node in picture.nodes}),
            ("node_silent", {node.name: node.silent_for for node in picture.nodes if node.seen_at}),
        ):
            worst = max(values, key=lambda name: values[name], default="")
            update(alarm, values.get(worst, 0), worst)
        update("overdue", picture.overdue)
