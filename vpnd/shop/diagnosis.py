"""Why a connection does not work, as far as the shop can see: is it paid, is it on, have the nodes heard of it, do they answer.

All of it is what the database knows; nobody is asked. A node is silent when its daemon has not heard from it for a while
(`SILENT_AFTER`), and it has heard of a subscription when it has acknowledged every row of the log that names it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from attrs import frozen

from vpnd.shop.nodes import MAX_NODES
from vpnd.shop.source import Source, fetch

__all__ = ["SILENT_AFTER", "Cause", "Diagnosis", "NodeView", "diagnose"]

#: A node is greeted every ten seconds; after so long it is away, and the admins have an alarm about it.
SILENT_AFTER: Final = timedelta(minutes=2)

#: over: its time has ended. off: it was switched off before its end. no_node: nothing to connect to was set up yet.
#: starting: no node that answers has let it in yet. all_silent, some_silent: nodes that do not answer. unseen: all that the
#: shop can see is right, so it is on the way between the customer and the node.
Cause = Literal["over", "off", "no_node", "starting", "all_silent", "some_silent", "unseen"]


@frozen
class NodeView:
    """One node, for one subscription: does it answer, and does it hold what the shop says."""

    name: str
    answers: bool
    acknowledged: bool


@frozen
class Diagnosis:
    """How a subscription stands with the shop and on each node."""

    subscription_id: int
    now: datetime
    expires_at: datetime
    active: bool
    activated: bool
    nodes: tuple[NodeView, ...]

    @property
    def paid(self) -> bool:
        """Whether its time is not over."""
        return self.expires_at > self.now

    @property
    def silent(self) -> tuple[str, ...]:
        """The nodes that do not answer, by name."""
        return tuple(node.name for node in self.nodes if not node.answers)

    @property
    def acknowledged(self) -> int:
        """How many nodes hold what the shop says."""
        return sum(node.acknowledged for node in self.nodes)

    @property
    def cause(self) -> Cause:
        """The first reason that there is; its remedy comes before all others."""
        if not self.paid:
            return "over"
        if not self.active:
            return "off"
        if not self.nodes:
            return "no_node"
        if len(self.silent) == len(self.nodes):
            return "all_silent"
        if not any(node.answers and node.acknowledged for node in self.nodes):
            return "starting"
        return "some_silent" if self.silent else "unseen"


# A node of another epoch than the log's has acknowledged nothing of it. A row that has no number yet was sent to nobody.
_DIAGNOSE: Final = """
select s.id, vpnd_now() as now, s.expires_at, s.status = 'active' as active, s.activated_at is not null as activated,
       n.name, coalesce(n.seen_at > vpnd_now() - $3::interval, false) as answers,
       coalesce(n.epoch = h.epoch, false) and not exists (
           select from access_log l where l.subscription_id = s.id and (l.seq is null or l.seq > n.seq)) as acknowledged
from subscriptions s
cross join access_head h
left join lateral (
    select name, epoch, seq, seen_at from nodes where inbounds <> '[]'::jsonb order by name limit $4
) n on true
where s.id = $1 and s.customer_id = $2
order by n.name
"""


async def diagnose(source: Source, subscription_id: int, customer_id: int) -> Diagnosis | None:
    """Look at a customer's own subscription; None if it is none of his. One read."""
    rows = await fetch(
        source,
        "diagnosis.look",
        _DIAGNOSE,
        subscription_id,
        customer_id,
        SILENT_AFTER,
        MAX_NODES,
    )
    if not rows:
        return None
    first = rows[0]
    return Diagnosis(
        subscription_id=first["id"],
        now=first["now"],
        expires_at=first["expires_at"],
        active=first["active"],
        activated=first["activated"],
        nodes=tuple(
            NodeView(row["name"], row["answers"], row["acknowledged"])
            for row in rows
            if row["name"] is not None
        ),
    )
