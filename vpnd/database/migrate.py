"""The schema moves forward by numbered files, and several daemons may try to move it at once.

A file is named `NNNN_pre_name.sql` or `NNNN_post_name.sql`: *pre* files run before the new code does and must
leave the old code working; *post* files take away what only the old code needed, and may be put off until the
last old daemon is gone. Each runs in a transaction of its own, under one advisory lock, and re-reads under
that lock what has been applied: whoever comes second finds nothing left to do.

What was applied is remembered with the file's SHA-256. A file that was edited afterwards is an error and not
a surprise two releases later. So is a schema that knows more than this code does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Final, Literal

import trio
from attrs import frozen

from vpnd.database.database import Database, Transaction
from vpnd.database.errors import DatabaseError
from vpnd.runtime.journal import get_journal

__all__ = [
    "MINIMUM_SERVER",
    "Migration",
    "MigrationDrift",
    "MigrationError",
    "Phase",
    "SchemaTooNew",
    "ServerTooOld",
    "load_migrations",
    "migrate",
    "pending",
]

Phase = Literal["all", "pre", "post"]

#: The oldest PostgreSQL we run on, as server_version_num counts.
MINIMUM_SERVER: Final = 140_000
#: Seconds for one migration, and for its wait for another migrator.
MIGRATION_DEADLINE: Final = 600.0

_LOCK: Final = 0x7670_6E64  # "vpnd"; one for the whole database
_NAME: Final = re.compile(r"(\d{4})_(pre|post)_([a-z0-9_]+)\.sql")
_TABLE: Final = """
    create table if not exists schema_migrations (
        version    integer primary key,
        name       text not null,
        sha256     text not null,
        applied_at timestamptz not null default clock_timestamp()
    )
"""

_journal = get_journal("database")


class MigrationError(DatabaseError):
    """The schema cannot be moved; nothing of the migration in hand was applied."""


class ServerTooOld(MigrationError):
    """The server is older than PostgreSQL 14."""


class SchemaTooNew(MigrationError):
    """The database was migrated by a newer vpnd than this one."""


class MigrationDrift(MigrationError):
    """A file that was applied has another content now, or is gone."""


@frozen
class Migration:
    """One file."""

    version: int
    phase: Literal["pre", "post"]
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The digest of its text, as remembered in `schema_migrations`."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """Read the files that come with this package, in order.

    Raises:
        MigrationError: two files share a number, or one has a name that says nothing.
    """
    found = []
    for entry in resources.files("vpnd.database").joinpath("migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(entry.name)
        if match is None:
            raise MigrationError(
                f"migrations/{entry.name} is not named NNNN_pre_name.sql or NNNN_post_name.sql"
            )
        phase: Literal["pre", "post"] = "pre" if match[2] == "pre" else "post"
        found.append(Migration(int(match[1]), phase, match[3], entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if len({migration.version for migration in found}) != len(found):
        raise MigrationError("two migrations share a number")
    return tuple(found)


async def migrate(
    db: Database, *, phase: Phase = "all", migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Bring the schema up to date and return what was applied by this call.

    Args:
        db: the open database; its role must be allowed to create tables.
        phase: `pre` leaves out the files that take things away from older code, `post` runs only what is due
            by then. A `post` file put off does not stop the `pre` files of later numbers.
        migrations: other files than those of this package.

    Raises:
        ServerTooOld, SchemaTooNew, MigrationDrift: see there; nothing was changed.
        DatabaseError: a migration failed; those before it stay, of it nothing does.
    """
    known = load_migrations() if migrations is None else tuple(migrations)
    applied = []
    for migration in known:
        if phase in ("all", migration.phase):
            async with db.transaction("migrate.apply", deadline=MIGRATION_DEADLINE) as tx:
                if await _apply(tx, migration, known):
                    applied.append(migration)
                    _journal.info(
                        "database.migrated",
                        message=f"The schema was moved to {migration.version:04} ({migration.name}).",
                        version=migration.version,
                    )
    return tuple(applied)


async def pending(db: Database, *, migrations: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """Return the files that were not applied yet, and check those that were.

    Raises:
        ServerTooOld, SchemaTooNew, MigrationDrift: see there.
    """
    known = load_migrations() if migrations is None else tuple(migrations)
    async with db.transaction("migrate.pending", read_only=True) as tx:
        await _check_server(tx)
        exists = await tx.fetchval("select to_regclass('schema_migrations') is not null")
        present = await _present(tx, known) if exists else set()
    return tuple(migration for migration in known if migration.version not in present)


async def _apply(tx: Transaction, migration: Migration, known: Sequence[Migration]) -> bool:
    await _lock(tx)
    await tx.script(_TABLE)
    if migration.version in await _present(tx, known):
        return False
    await tx.script(migration.sql)
    await tx.execute(
        "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.sha256,
    )
    return True


async def _lock(tx: Transaction) -> None:
    """Become the only migrator of this database until the transaction ends.

    Asked for again and again instead of once and for long: the role's lock_timeout is meant for the daemon's
    rows, and a waiting statement would hold a snapshot over the other's work.
    """
    await _check_server(tx)
    await tx.script("set local lock_timeout = '60s'")
    while not await tx.fetchval("select pg_try_advisory_xact_lock($1)", _LOCK):  # noqa: ASYNC110 (another process holds it)
        await trio.sleep(0.1)


async def _check_server(tx: Transaction) -> None:
    version = int(await tx.fetchval("select current_setting('server_version_num')"))
    if version < MINIMUM_SERVER:
        raise ServerTooOld(
            f"PostgreSQL {version // 10_000} is too old: vpnd needs {MINIMUM_SERVER // 10_000} or newer"
        )


async def _present(tx: Transaction, known: Sequence[Migration]) -> set[int]:
    """Return the versions applied, after comparing each with the file it came from."""
    files = {migration.version: migration for migration in known}
    rows = await tx.fetch("select version, name, sha256 from schema_migrations order by version limit 10000")
    for row in rows:
        migration = files.get(row["version"])
        if migration is None:
            newest = max(files, default=0)
            if row["version"] > newest:
                raise SchemaTooNew(
                    f"the schema is at {row['version']:04} ({row['name']}), this vpnd knows only up to {newest:04}: upgrade it"
                )
            raise MigrationDrift(
                f"migration {row['version']:04} ({row['name']}) was applied but its file is gone"
            )
        if migration.sha256 != row["sha256"]:
            raise MigrationDrift(
                f"migration {migration.version:04} ({migration.name}) was edited after it had been applied"
            )
    return {row["version"] for row in rows}
