"""All that happened to a customer, the newest first, a page at a time: payments, access given, ended and taken, refunds, new
links, messages, and what operators did.

Nothing is written for it: it is read from where each thing stands. A page begins behind the last event of the one before
(moment, source and id), so that nothing is missed or told twice, however much happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.shop.notices import MESSAGE
from vpnd.shop.source import Source, fetch, from_json

__all__ = ["BEGINNING", "Event", "EventKind", "Place", "timeline_of"]

#: joined: he wrote for the first time. grant: access, by a purchase or for nothing. ended: nothing followed a grant.
EventKind = Literal[
    "joined", "payment", "grant", "ended", "refund", "plan", "link", "reward", "message", "deed", "erased"
]


@frozen
class Place:
    """Where a page ends: the last event's moment, its source's number, and its id there."""

    at: datetime | None
    source: int
    id: int


#: Where the first page begins.
BEGINNING: Final = Place(None, 0, 0)


@frozen
class Event:
    """Something that happened; `facts` are plain values, by kind."""

    kind: EventKind
    place: Place
    facts: Mapping[str, Any]

    @property
    def at(self) -> datetime:
        """When."""
        if self.place.at is None:
            raise RuntimeError("an event without a moment")
        return self.place.at


def _source(number: int, kind: str, at: str, key: str, facts: str, rows: str) -> str:
    """The events of one table, as one branch; `rows` holds the tables and the condition that they are this customer's."""
    return f"""(
        select {at} as at, {number} as source, {key} as id, '{kind}' as kind, {facts} as facts from {rows}
        and {at} <= coalesce($2::timestamptz, 'infinity')
        and ($2::timestamptz is null or ({at}, {number}, {key}) < ($2, $3::integer, $4::bigint))
        order by {at} desc, {key} desc limit $5)"""  # noqa: S608 (only constants are pasted in)


# $1 customer, $2-$4 where the page before ended, $5 limit, $6 kind of messages
_BRANCHES: Final = (
    _source(
        1,
        "joined",
        "c.created_at",
        "c.id",
        "jsonb_build_object('invited', c.referrer_id is not null)",
        "customers c where c.id = $1",
    ),
    _source(
        2,
        "payment",
        "s.created_at",
        "s.id",
        "jsonb_build_object('provider', s.provider, 'amount', s.amount, 'currency', s.currency, 'outcome', s.outcome,"
        " 'purchase', p.public_id, 'what', p.kind, 'origin', p.origin)",
        "settlements s left join purchases p on p.id = s.purchase_id where s.customer_id = $1",
    ),
    _source(
        3,
        "grant",
        "g.created_at",
        "g.id",
        "jsonb_build_object('why', g.kind, 'days', g.days, 'plan', s.plan_id, 'until', g.until_at)",
        "grants g join subscriptions s on s.id = g.subscription_id where s.customer_id = $1",
    ),
    _source(
        4,
        "ended",
        "g.until_at",
        "g.id",
        "jsonb_build_object('plan', s.plan_id)",
        "grants g join subscriptions s on s.id = g.subscription_id where s.customer_id = $1 and g.until_at <= vpnd_now()"
        " and g.until_at > g.from_at and not exists (select from grants n where n.subscription_id = g.subscription_id"
        " and n.id <> g.id and n.from_at <= g.until_at and n.until_at > g.until_at)",
    ),
    _source(
        5,
        "refund",
        "r.created_at",
        "r.id",
        "jsonb_build_object('amount', r.amount, 'currency', r.currency, 'route', r.route, 'status', r.status,"
        " 'by', r.requested_by)",
        "refunds r where r.customer_id = $1",
    ),
    _source(
        6,
        "plan",
        "h.created_at",
        "h.id",
        "jsonb_build_object('from', h.from_plan, 'to', h.to_plan)",
        "plan_changes h join subscriptions s on s.id = h.subscription_id where s.customer_id = $1",
    ),
    _source(
        7,
        "link",
        "k.created_at",
        "k.id",
        "jsonb_build_object('plan', s.plan_id)",
        "link_rotations k join subscriptions s on s.id = k.subscription_id where s.customer_id = $1",
    ),
    _source(
        8,
        "reward",
        "w.created_at",
        "w.purchase_id",
        "jsonb_build_object('amount', w.amount, 'currency', w.currency)",
        "referral_rewards w where w.referrer_id = $1",
    ),
    _source(
        9,
        "message",
        "o.created_at",
        "o.id",
        "jsonb_build_object('template', o.payload ->> 'template', 'status', o.status)",
        "outbox o where o.kind = $6 and o.order_key = (select 'chat:' || c.telegram_id from customers c where c.id = $1)"
        " and o.status <> 'ready'",
    ),
    _source(
        10,
        "deed",
        "a.at",
        "a.id",
        "jsonb_build_object('actor', a.actor, 'action', a.action, 'reason', left(a.reason, 200))",
        "audit_log a where a.subject = 'customer:' || $1::bigint",
    ),
    _source(11, "erased", "e.created_at", "e.id", "'{}'::jsonb", "erasures e where e.customer_id = $1"),
)
_PAGE: Final = f"""
select at, source, id, kind, facts from ({" union all ".join(_BRANCHES)}) events
order by at desc, source desc, id desc limit $5
"""  # noqa: S608 (only constants are pasted in)


async def timeline_of(
    source: Source, customer_id: int, *, before: Place = BEGINNING, limit: int = 10
) -> Sequence[Event]:
    """A page of what happened to a customer, the newest first, behind `before`.

    Messages are those that have left, or were given up, as long as housekeeping keeps them.
    """
    rows = await fetch(
        source, "timeline.page", _PAGE, customer_id, before.at, before.source, before.id, limit, MESSAGE
    )
    return [
        Event(row["kind"], Place(row["at"], row["source"], row["id"]), from_json(row["facts"]))
        for row in rows
    ]
