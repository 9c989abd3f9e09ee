"""The database as `vpnd init` looks at it, in a process of its own: `python -m vpnd.shell.init_database`.

The PostgreSQL of this machine knows a user by the account that asks, and the daemon's is not root's: so the question is asked as
the daemon's account where systemd starts it. The URL comes on standard input, since a command line can be read by everybody; the
verdict leaves as JSON.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import subprocess
import sys
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import trio
from attrs import asdict

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import MINIMUM_SERVER, MigrationError, pending
from vpnd.runtime import journal
from vpnd.runtime.groups import plainest
from vpnd.runtime.limits import Limits
from vpnd.shell.init_verdict import Verdict, doubt, good, wrong

__all__ = ["ACCOUNT", "ask_as", "judge"]

#: Whose processes the daemon's unit runs.
ACCOUNT: Final = "vpnd"
#: Connections that the daemon keeps at most, unless it is told otherwise.
POOL: Final = DatabaseSettings().pool_max

_SERVER: Final = """
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
           current_setting('server_encoding') as encoding, pg_is_in_recovery() as recovery,
           current_setting('default_transaction_read_only') as read_only,
           current_database()::text as name, current_user::text as role,
           coalesce(has_schema_privilege(current_schema(), 'create'), false) as creates,
           to_regclass('schema_migrations') is not null as ours,
           (select count(*)::int from pg_class
             where relnamespace = to_regnamespace(current_schema()) and relkind in ('r', 'p')) as tables,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as places
     limit 1
"""
_MARKED: Final = "select exists (select from sandbox_clock) limit 1"


async def judge(url: str) -> Verdict:
    """Connect and say whether the daemon can work with this database: version, encoding, rights, and what is in it."""
    settings = DatabaseSettings(url=Secret(url), pool_min=0, pool_max=2, acquire_timeout=5.0)
    async with open_database(settings, Limits(2, 2), instance_name="vpnd init") as db:
        try:
            return await _judged(db, url)
        except DatabaseError as error:
            return _explained(error, url)


async def _judged(db: Database, url: str) -> Verdict:
    (row,) = await db.fetch("init.server", _SERVER)
    name, role = shlex.quote(row["name"]), shlex.quote(row["role"])
    if row["number"] < MINIMUM_SERVER:
        return wrong(
            f"PostgreSQL {row['version']} is too old", f"use PostgreSQL {MINIMUM_SERVER // 10_000} or newer"
        )
    if row["encoding"] != "UTF8":
        return wrong(
            f"the database {row['name']} has the encoding {row['encoding']}, which cannot hold every name",
            f"make it anew: {_create(name, role)}",
        )
    if row["recovery"] or row["read_only"] == "on":
        return wrong(
            f"the database {row['name']} takes no writes: a standby, or read-only",
            "name the primary's address",
        )
    if not row["creates"]:
        owner = f'alter database "{row["name"]}" owner to "{row["role"]}"'
        return wrong(
            f"{row['role']} may not create tables in the database {row['name']}",
            f"runuser -u postgres -- psql -c {shlex.quote(owner)}",
        )
    if row["ours"]:
        try:
            missing = await pending(db)
        except MigrationError as error:
            return wrong(str(error), "name another database, or install the vpnd that it belongs to")
        if await db.fetchval("init.marked", _MARKED):
            return wrong("it is a sandbox's database, whose clock can be moved", "name another database")
        state = (
            f"a shop's schema, {len(missing)} migrations behind" if missing else "a shop's schema, up to date"
        )
    elif row["tables"]:
        return doubt(
            f"the database {row['name']} holds {row['tables']} tables of something else",
            f"a database of its own is easier to back up: {_create(name, role)}",
        )
    else:
        state = "empty: the daemon makes its schema"
    notes: tuple[str, ...] = ()
    if row["places"] < POOL:
        notes = (
            f"the server permits {row['places']} connections, and [database] pool_max is {POOL}: set it lower",
        )
    return good(f"PostgreSQL {row['version']}, {row['encoding']}, {state}", *notes)


def _create(name: str, role: str) -> str:
    return f"runuser -u postgres -- createdb --owner {role} --encoding UTF8 --template template0 {name}"


def _explained(error: DatabaseError, url: str) -> Verdict:
    """What a refused connection means, and what helps; the driver's own words name neither address nor user."""
    parts = urlsplit(url)
    role = unquote(parts.username or "") or ACCOUNT
    name = unquote(parts.path.lstrip("/")) or role
    role_word, name_word = shlex.quote(role), shlex.quote(name)
    local = not parts.hostname
    state, text = error.sqlstate, error.message
    if state == "28P01":
        return wrong(
            "the server refuses the password",
            f"set it: runuser -u postgres -- psql -c '\\password {role_word}'",
        )
    if state is not None and state.startswith("28"):
        remedy = f"make the role: runuser -u postgres -- createuser {role_word}"
        if local:
            remedy += f"; by its socket PostgreSQL lets a role in by the account of that name: {role_word}"
        return wrong(f"the server does not let {role} in", remedy)
    if state == "3D000":
        return wrong(f"there is no database {name}", f"make it: {_create(name_word, role_word)}")
    if state == "42501":
        return wrong(
            f"{role} may not connect to {name}",
            f'runuser -u postgres -- psql -c \'grant connect on database "{name}" to "{role}"\'',
        )
    if "gaierror" in text:
        return wrong(
            f"the name {parts.hostname} does not resolve",
            f"getent hosts {parts.hostname or ''}; mend the URL",
        )
    if "FileNotFoundError" in text or "ConnectionRefusedError" in text:
        there = (
            "on this machine: apt install postgresql; systemctl start postgresql"
            if local
            else "systemctl status postgresql there"
        )
        return doubt("nobody listens there", there)
    return doubt(str(error), "is the server running, and is it let through by its firewall?")


async def ask_as(url: str, account: str | None) -> Verdict:
    """Ask in a process of its own, as `account` if one is named, there is one, and we may become it.

    Bounded by the caller; a cancellation ends the process.
    """
    who: dict[str, Any] = {}
    if (
        account is not None
        and os.geteuid() == 0
        and (entry := await trio.to_thread.run_sync(_entry, account)) is not None
    ):
        who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    refusal = ""
    done = None
    try:
        done = await trio.run_process(
            [sys.executable, "-P", "-m", "vpnd.shell.init_database"],
            stdin=url.encode(), capture_stdout=True, stderr=subprocess.DEVNULL, check=False, cwd="/", **who,
        )  # fmt: skip
    except* OSError as group:  # that account may not run the program
        refusal = str(plainest(group))
    try:
        said = json.loads(done.stdout if done is not None else b"")
        return Verdict(**{**said, "notes": tuple(said["notes"]), "again": ()})
    except (ValueError, TypeError, KeyError):
        as_whom = f" as {account}" if who else ""
        return doubt(
            f"the question could not be asked{as_whom}: {refusal or 'it broke off'}",
            f"may {account or 'this account'} read and run {sys.executable}?",
        )


def _entry(account: str) -> pwd.struct_passwd | None:
    """The account, if there is one. Reads the system's user database."""
    try:
        return pwd.getpwnam(account)
    except KeyError:
        return None


def main() -> int:
    """Read a URL, write a verdict."""
    journal.configure("console", level="critical")
    verdict = trio.run(judge, sys.stdin.read())
    sys.stdout.write(json.dumps(asdict(verdict)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
