"""Alerts: what operators have to look at, kept while it goes on, with who has seen it and what is muted.

An alert is a kind and a subject: two charges that are held are two alerts, a node that is stopped three times is one. While it
is open, whatever comes of the same counts up. An alarm of the daemon is an alert of its own (`alarm:<name>`) and is over when the
alarm is; the others are over when an operator says so, or a new one begins when nothing was heard for a day.

Times are business time. Every function that changes anything joins the caller's transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.source import Source, as_json, fetch, fetchrow, from_json

__all__ = [
    "ALARM",
    "HOURS",
    "Alert",
    "EndedMute",
    "Mute",
    "News",
    "NoSuchAlert",
    "Severity",
    "acknowledge",
    "alert_by_id",
    "close_alert",
    "end_mutes",
    "kind_number",
    "list_mutes",
    "mute_alert",
    "muted_kinds",
    "news_of",
    "note",
    "open_alarms",
    "open_alerts",
    "recipients",
    "resume_kind",
    "severity_of",
]

Severity = Literal["info", "warning", "critical"]

#: What the kind of an alarm of the daemon begins with; its name follows.
ALARM: Final = "alarm:"
#: For how many hours a kind can be muted; 0: until somebody ends it.
HOURS: Final = (1, 8, 24, 0)
#: After so long without news the same is told as a new alert.
STALE: Final = timedelta(days=1)
_MOST: Final = 200

_CRITICAL: Final = frozenset({
    "books_wrong", "node_stopped", "activation_late",
    "alarm:database", "alarm:inbox_age", "alarm:expired_but_on", "alarm:paid_but_off", "alarm:overdue", "alarm:node_silent",
})  # fmt: skip
_INFO: Final = frozenset({"alert_group_moved", "alarm:worker_items", "alarm:memory_growth"})

#: Which values of its own tell one alert of a template from another.
_SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "held_charge": ("provider", "charge_id"),
    "refund_refused": ("provider", "charge_id"),
    "books_wrong": ("what", "currency"),
    "reconciliation": ("provider",),
    "node_stopped": ("node",),
}


class NoSuchAlert(Exception):
    """There is no such alert, or not any more."""


@frozen
class News:
    """Something happened: an alert begins or goes on, or is over."""

    kind: str
    subject: str
    args: Mapping[str, Any]
    over: bool = False


@frozen
class Alert:
    """An alert at one moment. `chat_id` and `message_id` are those of the group's last message, sent at `told_at`."""

    id: int
    kind: str
    subject: str
    severity: Severity
    args: Mapping[str, Any]
    times: int
    opened_at: datetime
    last_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    chat_id: int | None
    message_id: int | None
    told_at: datetime | None
    muted: bool
    muted_until: datetime | None
    muted_by: str | None
    now: datetime


@frozen
class Mute:
    """A kind that nobody is told of, until a moment or until somebody ends it."""

    kind: str
    until: datetime | None
    muted_by: str
    muted_at: datetime


@frozen
class EndedMute:
    """A mute whose time is over, and the alerts of its kind that are open, the newest news first."""

    kind: str
    until: datetime
    alerts: Sequence[int]


def kind_number(kind: str) -> int:
    """A number for a kind, which a button can carry; the same in every version."""
    return zlib.crc32(kind.encode())


def severity_of(kind: str) -> Severity:
    """How bad a kind is."""
    if kind in _CRITICAL:
        return "critical"
    return "info" if kind in _INFO else "warning"


def news_of(template: str, args: Mapping[str, Any]) -> list[News]:
    """What a row for operators tells. A message about alarms holds several."""
    if template == "alarms":
        return [
            News(f"{ALARM}{one['name']}", "", one, over)
            for over, found in ((False, args["raised"]), (True, args["cleared"]))
            for one in found
        ]
    subject = ":".join(str(args.get(name)) for name in _SUBJECTS.get(template, ()))
    return [News(template, subject, args)]


# ---------------------------------------------------------------------- reading

_ALERTS: Final = """
select a.id, a.kind, a.subject, a.severity, a.args, a.times, a.opened_at, a.last_at, a.acknowledged_by, a.acknowledged_at,
       a.closed_at, a.closed_by, a.chat_id, a.message_id, a.told_at, m.kind is not null as muted, m.until as muted_until,
       m.muted_by, vpnd_now() as now
from alerts a left join alert_mutes m on m.kind = a.kind and (m.until is null or m.until > vpnd_now())
"""


def _alert(row: Row) -> Alert:
    values = dict(row.items())
    return Alert(**values | {"args": from_json(values["args"])})


async def alert_by_id(source: Source, alert_id: int) -> Alert | None:
    """One alert, whether it is open or not."""
    row = await fetchrow(source, "alerts.one", f"{_ALERTS} where a.id = $1", alert_id)
    return None if row is None else _alert(row)


async def open_alerts(source: Source, limit: int) -> Sequence[Alert]:
    """What is open, the newest news first."""
    rows = await fetch(
        source,
        "alerts.open",
        f"{_ALERTS} where a.closed_at is null order by a.last_at desc, a.id desc limit $1",
        limit,
    )
    return [_alert(row) for row in rows]


async def open_alarms(source: Source) -> Sequence[Mapping[str, Any]]:
    """The alarms of the daemon that operators believe to be raised, each as it was told last."""
    rows = await fetch(
        source,
        "alerts.alarms",
        "select args from alerts where closed_at is null and starts_with(kind, $1) order by id limit $2",
        ALARM,
        _MOST,
    )
    return [from_json(row["args"]) for row in rows]


async def list_mutes(source: Source) -> Sequence[Mute]:
    """What is muted now."""
    rows = await fetch(
        source,
        "alerts.mutes",
        "select kind, until, muted_by, muted_at from alert_mutes where until is null or until > vpnd_now()"
        " order by muted_at desc, kind limit $1",
        _MOST,
    )
    return [Mute(*row.values()) for row in rows]


async def muted_kinds(source: Source) -> frozenset[str]:
    """The kinds that are muted now."""
    return frozenset(one.kind for one in await list_mutes(source))


async def recipients(
    source: Source, owners: Collection[int], roles: Sequence[str] = ("owner", "manager")
) -> Mapping[int, str | None]:
    """Who is told in private, with his language if he has chosen one: `owners` of the configuration, and those of these roles."""
    rows = await fetch(
        source,
        "alerts.recipients",
        """
        select w.telegram_id, c.language
        from (select unnest($1::bigint[]) as telegram_id
              union select telegram_id from operators where role = any($2::text[])) w
        left join customers c on c.telegram_id = w.telegram_id
        order by w.telegram_id limit $3
        """,
        sorted(owners),
        list(roles),
        _MOST,
    )
    return {row["telegram_id"]: row["language"] for row in rows}


# ---------------------------------------------------------------------- what happens

_OVER: Final = """
update alerts set closed_at = vpnd_now(), last_at = vpnd_now(), args = $3::text::jsonb
where kind = $1 and subject = $2 and closed_at is null
returning id
"""
_STALE: Final = """
update alerts set closed_at = vpnd_now()
where kind = $1 and subject = $2 and closed_at is null and last_at < vpnd_now() - $3::interval
"""
_NEWS: Final = """
insert into alerts (kind, subject, severity, args) values ($1, $2, $3, $4::text::jsonb)
on conflict (kind, subject) where closed_at is null do update
    set times = alerts.times + 1, last_at = vpnd_now(), args = excluded.args, severity = excluded.severity
returning id
"""


async def note(tx: Transaction, key: str, news: Sequence[News]) -> list[int] | None:
    """Take news into the alerts; returns those that it is about. None: this `key` was noted before, and changes nothing."""
    if not await tx.execute("insert into alert_news (key) values ($1) on conflict (key) do nothing", key):
        return None
    found: list[int] = []
    # In one order, so that two at once do not wait for each other.
    for one in sorted(news, key=lambda one: (one.kind, one.subject)):
        if one.over:
            ended = await tx.fetchval(_OVER, one.kind, one.subject, as_json(one.args))
        else:
            await tx.execute(_STALE, one.kind, one.subject, STALE)
            ended = await tx.fetchval(_NEWS, one.kind, one.subject, severity_of(one.kind), as_json(one.args))
        if ended is not None:
            found.append(ended)
    return found


# ---------------------------------------------------------------------- what operators do


async def _locked(tx: Transaction, alert_id: int) -> Alert:
    await tx.execute("select from alerts where id = $1 for update", alert_id)
    alert = await alert_by_id(tx, alert_id)
    if alert is None:
        raise NoSuchAlert(str(alert_id))
    return alert


def _subject(alert: Alert) -> str:
    return f"alert:{alert.id}"


async def acknowledge(tx: Transaction, alert_id: int, *, by: str) -> Change:
    """Note that somebody has seen an alert and looks after it; the first one stays. Raises NoSuchAlert."""
    alert = await _locked(tx, alert_id)
    if alert.acknowledged_by is None:
        await tx.execute(
            "update alerts set acknowledged_by = $2, acknowledged_at = vpnd_now() where id = $1", alert_id, by
        )
    return Change(
        subject=_subject(alert),
        before={"acknowledged": alert.acknowledged_by},
        after={"acknowledged": alert.acknowledged_by or by, "kind": alert.kind},
        detail="acknowledge",
    )


async def close_alert(tx: Transaction, alert_id: int, *, by: str) -> Change:
    """Note that an alert is done with. Raises NoSuchAlert."""
    alert = await _locked(tx, alert_id)
    if alert.closed_at is None:
        await tx.execute(
            "update alerts set closed_at = vpnd_now(), closed_by = $2 where id = $1", alert_id, by
        )
    return Change(
        subject=_subject(alert),
        before={"open": alert.closed_at is None},
        after={"open": False, "kind": alert.kind},
        detail="done",
    )


async def mute_alert(tx: Transaction, alert_id: int, hours: int, *, by: str) -> Change:
    """Tell nobody of alerts of this one's kind for so many hours (0: until somebody ends it). Raises NoSuchAlert."""
    alert = await _locked(tx, alert_id)
    until = None if not hours else alert.now + timedelta(hours=hours)
    await tx.execute(
        "insert into alert_mutes (kind, until, muted_by) values ($1, $2, $3) on conflict (kind) do update"
        " set until = excluded.until, muted_by = excluded.muted_by, muted_at = vpnd_now()",
        alert.kind,
        until,
        by,
    )
    return Change(
        subject=f"alerts:{alert.kind}",
        before={"muted": alert.muted},
        after={"muted": True, "until": None if until is None else until.isoformat(timespec="minutes")},
        detail="mute",
    )


async def resume_kind(tx: Transaction, kind: str) -> tuple[Change, list[int]]:
    """Tell of a kind again; returns what was changed, and the alerts of it that are open."""
    ended = await tx.execute("delete from alert_mutes where kind = $1", kind)
    rows = await tx.fetch(
        "select id from alerts where kind = $1 and closed_at is null order by id limit $2", kind, _MOST
    )
    change = Change(
        subject=f"alerts:{kind}", before={"muted": ended > 0}, after={"muted": False}, detail="resume"
    )
    return change, [row["id"] for row in rows]


_ENDED: Final = """
delete from alert_mutes where kind in (
    select kind from alert_mutes where until <= vpnd_now() order by until limit $1 for update skip locked
)
returning kind, until
"""
_OF_KIND: Final = """
select id from alerts where kind = $1 and closed_at is null order by last_at desc, id desc limit $2
"""


async def end_mutes(tx: Transaction, most: int) -> Sequence[EndedMute]:
    """End the mutes whose time is over; of each kind at most `most` alerts are named. Whoever comes second ends none."""
    ended = sorted((row["kind"], row["until"]) for row in await tx.fetch(_ENDED, _MOST))
    return [
        EndedMute(kind, until, [row["id"] for row in await tx.fetch(_OF_KIND, kind, most)])
        for kind, until in ended
    ]
