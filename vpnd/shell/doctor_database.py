"""The database's part of `vpnd doctor`: whether the server is set up for money, how it fares, and what waits in its queues."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.database.migrate import MINIMUM_SERVER, MigrationError, pending
from vpnd.shell.doctor_report import Check, Report, Severity, say

__all__ = ["CLOCK", "database_checks", "queue_checks"]

#: Seconds by which two clocks may differ.
CLOCK: Final = 2.0
#: Connections that stay free for a person, a backup and monitoring.
RESERVE: Final = 5
#: Dead rows of a table that count, and their share.
DEAD_ROWS: Final = 10_000
DEAD_SHARE: Final = 0.3
#: Seconds after which a transaction is long; it holds back the clearing of every table.
LONG: Final = 300
#: Bytes that a slot may hold back.
SLOT_BYTES: Final = 2**30
#: Transactions of age after which somebody has to look: vacuum is forced at two hundred million.
OLD_XIDS: Final = 1_000_000_000
#: Seconds that an update, or a receipt or refund that is due, may wait.
INBOX_AGE: Final = 60
OUTBOX_AGE: Final = 300

_SERVER: Final = """
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
           current_setting('server_encoding') as encoding, current_setting('TimeZone') as zone,
           current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
           case current_setting('synchronous_commit') when 'off' then 'no' else 'yes' end as durable,
           current_setting('autovacuum') as autovacuum,
           current_setting('track_counts') as track_counts,
           current_setting('default_transaction_read_only') as read_only, pg_is_in_recovery() as recovery,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as places,
           (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as used,
           (select datconnlimit from pg_database where datname = current_database()) as most_here,
           (select rolconnlimit from pg_roles where rolname = current_user) as most_mine,
           (select age(datfrozenxid)::int from pg_database where datname = current_database()) as age,
           (pg_database_size(current_database()) / 1048576)::int as megabytes
     limit 1
"""
_DEAD: Final = """
    select relname as name, n_dead_tup as dead, n_live_tup as live, last_autovacuum as cleared
      from pg_stat_user_tables
     where n_dead_tup > $1 and n_dead_tup > $2::float8 * (n_live_tup + n_dead_tup)
     order by n_dead_tup desc limit 10
"""
_LONG: Final = """
    select pid, state, coalesce(nullif(application_name, ''), usename::text, '?') as who,
           extract(epoch from clock_timestamp() - xact_start)::int as seconds
      from pg_stat_activity
     where datname = current_database() and xact_start < clock_timestamp() - make_interval(secs => $1)
       and pid <> pg_backend_pid()
     order by xact_start limit 10
"""
_PREPARED: Final = """
    select gid, extract(epoch from clock_timestamp() - prepared)::int as seconds
      from pg_prepared_xacts where database = current_database() and prepared < clock_timestamp() - make_interval(secs => $1)
     order by prepared limit 10
"""
_SLOTS: Final = """
    select slot_name as name, active, coalesce(pg_wal_lsn_diff(
               case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn), 0)::bigint
               as held
      from pg_replication_slots order by slot_name limit 50
"""
_INVALID: Final = """
    select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
     where not i.indisvalid order by 1 limit 10
"""
_DEAD_LETTERS: Final = """
    select kind, count(*)::int as rows, min(id) as first
      from (select kind, id from outbox where status = 'dead' order by id limit 10000) dead
     group by kind order by kind limit 50
"""
_OLD_INBOX: Final = """
    select count(*)::int as rows, coalesce(max(extract(epoch from clock_timestamp() - received_at)), 0)::int as age
      from (select received_at from inbox where done_at is null order by update_id limit 10000) waiting limit 1
"""
_OLD_OUTBOX: Final = """
    select kind, count(*)::int as rows, max(extract(epoch from clock_timestamp() - available_at))::int as age
      from (select kind, available_at from outbox
             where status = 'ready' and lane in ('reply', 'receipt')
               and available_at < clock_timestamp() - make_interval(secs => $1)
             order by available_at limit 10000) late
     group by kind order by kind limit 50
"""
_NODES: Final = """
    select n.name, n.seen_at is null as never, n.epoch is distinct from h.epoch as elsewhere,
           greatest(h.last_seq - n.seq, 0) as behind,
           coalesce(extract(epoch from clock_timestamp() - n.acked_at), 0)::int as acked
      from nodes n, access_head h where n.name = any($1::text[]) order by n.name limit 1000
"""
_PAUSED: Final = "select name, reason from switches where paused order by name limit 100"
_STUCK: Final = "select count(*)::int from (select 1 from refunds where status = 'stuck' limit 10000) stuck"


def database_checks(db: Database, settings: Settings) -> list[Check]:
    """Return the checks of the server."""
    away = "is it running, and is [database] url right? docs/operations.md, The database is down"
    return [
        Check("database", partial(_server, db, settings), remedy=away),
        Check("schema", partial(_schema, db), remedy=away),
        Check("clock", partial(_clock, db), remedy=away),
        Check("bloat", partial(_bloat, db), remedy=away),
        Check("long", partial(_long, db), remedy=away),
        Check("slots", partial(_slots, db), remedy=away),
    ]


def queue_checks(db: Database, settings: Settings) -> list[Check]:
    """Return the checks of what waits in the database."""
    return [
        Check("outbox", partial(_outbox, db)),
        Check("inbox", partial(_inbox, db)),
        Check("acks", partial(_acks, db, settings)),
        Check("switches", partial(_switches, db)),
        Check("refunds", partial(_refunds, db)),
    ]


async def _server(db: Database, settings: Settings, report: Report) -> None:
    (row,) = await db.fetch("doctor.server", _SERVER)
    say("database", f"PostgreSQL {row['version']}, {row['megabytes']} MB")
    if row["number"] < MINIMUM_SERVER:
        report.find(
            "database", "critical", f"PostgreSQL {row['version']} is too old", "update it to 14 or later"
        )
    for name, wanted, severity, text, remedy in _WANTED:
        if str(row[name]) != wanted:
            report.find("database", severity, text.format(row[name]), remedy)
    if row["age"] > OLD_XIDS:
        report.find(
            "database",
            "critical",
            f"its oldest transaction is {row['age']} transactions old",
            "vacuum (freeze) it, and look why autovacuum does not",
        )
    _places(row, settings, report)


_RELOAD: Final = "select pg_reload_conf()"
#: (column, what it must be, severity, what is said, remedy)
_WANTED: Final[tuple[tuple[str, str, Severity, str, str], ...]] = (
    (
        "encoding",
        "UTF8",
        "critical",
        "its encoding is {}: names of customers cannot be kept",
        "make the database anew with the encoding UTF8",
    ),
    (
        "zone",
        "UTC",
        "warning",
        "sessions run in the time zone {}",
        "alter role vpnd set timezone = 'UTC': a pooler lets nothing else through",
    ),
    (
        "fsync",
        "on",
        "critical",
        "fsync is {}: a power cut destroys the database",
        f"alter system set fsync = on; {_RELOAD}",
    ),
    (
        "full_page_writes",
        "on",
        "critical",
        "full_page_writes is {}: a power cut destroys pages",
        f"alter system set full_page_writes = on; {_RELOAD}",
    ),
    (
        "durable",
        "yes",
        "critical",
        "synchronous_commit is off: payments that were confirmed can be lost",
        "alter role vpnd reset synchronous_commit, and look into postgresql.conf",
    ),
    (
        "autovacuum",
        "on",
        "critical",
        "autovacuum is {}: tables grow for ever",
        f"alter system set autovacuum = on; {_RELOAD}",
    ),
    (
        "track_counts",
        "on",
        "warning",
        "track_counts is {}: autovacuum does not see what there is to do",
        f"alter system set track_counts = on; {_RELOAD}",
    ),
    (
        "read_only",
        "off",
        "critical",
        "default_transaction_read_only is {}: nothing can be written",
        "alter role vpnd reset default_transaction_read_only",
    ),
    (
        "recovery",
        "False",
        "critical",
        "it is a standby, which takes no writes",
        "point [database] url at the primary",
    ),
)


def _places(row: Any, settings: Settings, report: Report) -> None:
    limits = [row["places"], *(row[name] for name in ("most_here", "most_mine") if row[name] >= 0)]
    places, wanted = min(limits), settings.database.pool_max
    say("database", f"{row['used']} connections of {places} in use, [database] pool_max is {wanted}")
    if wanted + RESERVE > places:
        report.find(
            "database",
            "warning",
            f"{places} connections are permitted, and one daemon may take {wanted}: none may be left for anybody else",
            f"max_connections = {wanted + RESERVE + 10} (and {wanted} for each further daemon), or a lower [database] pool_max",
        )
    elif row["used"] > 0.9 * places:
        report.find(
            "database",
            "warning",
            f"{row['used']} of {places} connections are in use",
            "who holds them? select application_name, state, count(*) from pg_stat_activity group by 1, 2",
        )


async def _schema(db: Database, report: Report) -> None:
    try:
        missing = await pending(db)
    except MigrationError as error:
        report.find(
            "schema", "critical", str(error), "run the program's version that made it; never edit a migration"
        )
        return
    if missing:
        names = ", ".join(f"{one.version:04} {one.name}" for one in missing[:5])
        report.find(
            "schema", "critical", f"it is not up to date: {names}", "run `vpnd migrate`, or start the daemon"
        )
    for row in await db.fetch("doctor.invalid", _INVALID):
        name = row["name"]
        report.find(
            "schema", "warning", f"the index {name} is not valid", f"reindex index concurrently {name}"
        )


async def _clock(db: Database, report: Report) -> None:
    # The best of three: an answer that took long says little of when it was given.
    offsets = []
    for _ in range(3):
        before = time.time()
        there = await db.fetchval(
            "doctor.clock", "select extract(epoch from clock_timestamp())::float8 limit 1"
        )
        after = time.time()
        offsets.append((after - before, there - (before + after) / 2))
    took, offset = min(offsets)
    if abs(offset) > CLOCK + took:
        report.find(
            "clock",
            "critical",
            f"the database's clock is {offset:+.1f} s from this machine's",
            "set both by NTP: timedatectl set-ntp true, then timedatectl status",
        )


async def _bloat(db: Database, report: Report) -> None:
    for row in await db.fetch("doctor.dead_rows", _DEAD, DEAD_ROWS, DEAD_SHARE):
        cleared = f"{row['cleared']:%Y-%m-%d %H:%M}" if row["cleared"] else "never"
        report.find(
            "bloat",
            "warning",
            f"{row['name']} has {row['dead']} dead rows beside {row['live']}; autovacuum came last: {cleared}",
            f"look for long transactions (below), then: vacuum (analyze) {row['name']}",
        )


async def _long(db: Database, report: Report) -> None:
    for row in await db.fetch("doctor.long", _LONG, float(LONG)):
        report.find(
            "long",
            "warning",
            f"{row['who']} has had a transaction open for {row['seconds']} s ({row['state']}, pid {row['pid']})",
            f"end it where it was begun, or: select pg_terminate_backend({row['pid']})",
        )
    for row in await db.fetch("doctor.prepared", _PREPARED, float(LONG)):
        text = f"the prepared transaction {row['gid']} has waited for {row['seconds']} s"
        report.find("long", "warning", text, "commit prepared or rollback prepared, by whoever made it")


async def _slots(db: Database, report: Report) -> None:
    for row in await db.fetch("doctor.slots", _SLOTS):
        name, held = row["name"], row["held"]
        if held > SLOT_BYTES or not row["active"]:
            state = "active" if row["active"] else "not in use"
            report.find(
                "slots",
                "critical" if held > SLOT_BYTES else "warning",
                f"the replication slot {name} is {state} and holds {held // 2**20} MB of log back",
                f"bring its standby back; if it is gone for good: select pg_drop_replication_slot('{name}')",
            )


async def _outbox(db: Database, report: Report) -> None:
    for row in await db.fetch("doctor.dead_letters", _DEAD_LETTERS):
        severity: Severity = "critical" if row["kind"].startswith(("refund_", "star_")) else "warning"
        text = f"{row['rows']} dead letters of the kind {row['kind']}, the first is {row['first']}"
        report.find("outbox", severity, text, "Desk → Dead letters, or docs/operations.md, Dead letters")
    for row in await db.fetch("doctor.old_outbox", _OLD_OUTBOX, float(OUTBOX_AGE)):
        text = f"{row['rows']} of the kind {row['kind']} are due, the oldest for {row['age']} s"
        report.find(
            "outbox", "critical", text, "does the daemon run (vpnd status), and does the other side answer?"
        )


async def _inbox(db: Database, report: Report) -> None:
    (row,) = await db.fetch("doctor.old_inbox", _OLD_INBOX)
    if row["age"] > INBOX_AGE:
        text = f"{row['rows']} updates are not done, the oldest for {row['age']} s"
        report.find(
            "inbox", "critical", text, "does the daemon run (vpnd status)? journalctl -u vpnd -p warning"
        )


async def _acks(db: Database, settings: Settings, report: Report) -> None:
    names = [node.name for node in settings.nodes]
    rows = {row["name"]: row for row in await db.fetch("doctor.acks", _NODES, names)}
    for name in names:
        row = rows.get(name)
        about = f"node {name}"
        if row is None or row["never"]:
            report.find(
                about,
                "warning",
                "it has never acknowledged anything",
                "has the daemon run since it was configured?",
            )
        elif row["elsewhere"]:
            text = "it has acknowledged another epoch of the log"
            report.find(
                about, "warning", text, "the daemon compares it as soon as it reaches it; see docs/nodes.md"
            )
        elif row["behind"]:
            text = f"{row['behind']} changes are not acknowledged, the last acknowledgement is {row['acked']} s old"
            report.find(about, "critical", text, "does the daemon run, and does the node answer?")


async def _switches(db: Database, report: Report) -> None:
    for row in await db.fetch("doctor.switches", _PAUSED):
        reason = f": {row['reason']}" if row["reason"] else ""
        report.find("switches", "warning", f"{row['name']} is paused{reason}", f"vpnd resume {row['name']}")


async def _refunds(db: Database, report: Report) -> None:
    stuck = await db.fetchval("doctor.stuck", _STUCK)
    if stuck:
        text = f"{stuck} refunds can go neither way"
        report.find(
            "refunds", "critical", text, "pay them by hand at the provider; `vpnd doctor --repair` books them"
        )
