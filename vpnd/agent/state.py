"""The agent's durable copy of the credentials: one SQLite file, one connection, one writer.

The idea: whatever the agent acknowledged must survive a kill or a power cut, and a restarted core must be filled again
without asking anyone. So every push is one transaction, in write-ahead mode with ``synchronous=FULL``: when `apply`
returns, the change is on the disk.

**Versions.** A row is replaced only by a newer version of itself, so repeats, gaps and reordering cannot hurt. A
removed credential stays as a tombstone with its version, or an old "on" that arrives late would raise it from the dead.

**Epochs.** After a restore of the daemon's database its versions may have gone back, and a version of one epoch says
nothing about a version of another. Each row therefore remembers the *era* (the count of epochs adopted so far) in which
it was written. A row of an earlier era gives way to any version, a row of the present era only to a newer one: the
database decides, and a late repeat still cannot undo what the same epoch has already decided.

**Buckets.** The 256 sums of `vpnd.runtime.digest` are kept in a table and moved by the difference, inside the same
transaction. Reading them costs the same with ten rows as with a million.

SQLite blocks, so each operation runs in a thread, one at a time; large reads come in pages.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from vpnd.agent.model import BadRequest, Credential, Push, uuid_key
from vpnd.runtime.digest import BUCKETS, bucket_of, member_value

T = TypeVar("T")

#: Rows a page: a few milliseconds of Python in a thread, so that the loop is never kept waiting for the interpreter.
PAGE: Final = 2_000
#: Most members that one question about buckets may return.
MAX_MEMBERS: Final = 50_000
#: Names in one SQL statement.
_NAMES: Final = 500
_SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
create table credentials (
    name    text primary key,
    uuid    text not null,
    key     text not null,      -- the part of the uuid that the core looks at
    version integer not null,
    active  integer not null,
    era     integer not null,
    bucket  integer not null
) without rowid;
-- To the core, one uuid is one user: a second name for it would lock the first out.
create unique index credentials_key on credentials (key) where active;
create index credentials_bucket on credentials (bucket, name);
create table buckets (bucket integer primary key, count integer not null, sum text not null);
create table meta (only_row integer primary key check (only_row = 1), epoch text, seq integer not null, era integer not null);
insert into meta values (1, null, 0, 0);
"""

_UPSERT: Final = """
insert into credentials values (?, ?, ?, ?, ?, ?, ?)
on conflict (name) do update set uuid = excluded.uuid, key = excluded.key, version = excluded.version,
    active = excluded.active, era = excluded.era
"""


class StateError(Exception):
    """The durable copy cannot be used: another agent holds it, or its format is newer than this program."""


class EpochMismatch(Exception):
    """The push follows another epoch than the agent; `epoch` is the agent's, None before the first."""

    def __init__(self, epoch: str | None) -> None:
        super().__init__(f"the agent follows epoch {epoch}")
        self.epoch = epoch


@attrs.frozen
class Applied:
    """What a push did to the copy.

    `changed` are the names that are now different, `cut` those of them whose open connections must end (turned off, or
    given another uuid). `revision` counts the pushes since the agent started: a core whose configuration was read at
    this revision or later holds them.
    """

    changed: tuple[str, ...]
    cut: frozenset[str]
    ignored: int
    epoch: str
    seq: int
    revision: int


@attrs.frozen
class Watermark:
    """How far the copy follows the daemon's log, and how many credentials are on."""

    epoch: str | None
    seq: int
    active: int


@contextlib.asynccontextmanager
async def open_state(folder: Path) -> AsyncIterator["State"]:
    """Open the durable copy in `folder`, made with mode 0700 if it is missing, for as long as the context lasts.

    Raises `StateError` when another process has it open: two agents on one copy would each undo the other.
    """
    limiter = trio.CapacityLimiter(1)
    with contextlib.ExitStack() as stack:
        connection = await trio.to_thread.run_sync(_open, folder, stack, limiter=limiter)
        state = State(connection, limiter)
        try:
            yield state
        finally:
            with trio.CancelScope(shield=True):  # closing takes milliseconds and folds the write-ahead log in
                await trio.to_thread.run_sync(connection.close, limiter=limiter)


def _open(folder: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(f"another agent uses {folder}: give each agent a state folder of its own") from None
    place = folder / "credentials.sqlite"
    os.close(os.open(place, os.O_RDWR | os.O_CREAT, 0o600))
    # One thread at a time by the limiter, though not always the same one.
    connection = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise StateError(f"{place} was written by a newer vpnd (format {version})")
        if version == 0:
            connection.executescript(f"begin; {_SCHEMA} pragma user_version = {_SCHEMA_VERSION}; commit;")
    except BaseException:
        connection.close()
        raise
    return connection


class State:
    """The durable copy. Built by `open_state`; all methods may be called from any task, and queue up.

    A call that is cancelled while its thread runs still finishes what it began: a transaction is never torn.
    """

    def __init__(self, connection: sqlite3.Connection, limiter: trio.CapacityLimiter) -> None:
        self._connection = connection
        self._limiter = limiter
        #: Pushes committed since the agent started.
        self.revision = 0
        #: How many are on, and the connection's count of changes for which that is true.
        self._counted = (-1, 0)

    async def apply(self, push: Push) -> Applied:
        """Take over what is newer in `push`, durably, and move the watermark.

        Raises `EpochMismatch` unless the epoch is the agent's or `push.adopt` is set, and `BadRequest` when an active
        credential would share its uuid with another.
        """
        return await self._run(lambda: self._apply(push))

    async def watermark(self) -> Watermark:
        """Return the epoch and number up to which the copy follows the log."""
        return await self._run(self._watermark)

    async def buckets(self) -> list[tuple[int, int]]:
        """Return the count and sum of each of the 256 buckets, tombstones included."""
        return (await self.sums())[1]

    async def sums(self) -> tuple[Watermark, list[tuple[int, int]]]:
        """Return the watermark and, as of the same instant, the count and sum of each bucket."""

        def read() -> tuple[Watermark, list[tuple[int, int]]]:
            held = {
                row[0]: (row[1], int(row[2])) for row in self._connection.execute("select * from buckets")
            }
            return self._watermark(), [held.get(bucket, (0, 0)) for bucket in range(BUCKETS)]

        return await self._run(read)

    async def members(self, buckets: Iterable[int]) -> list[Credential]:
        """Return all credentials of some buckets, tombstones included.

        Raises `BadRequest` when there are more than `MAX_MEMBERS`: ask for fewer buckets.
        """
        found: list[Credential] = []
        for bucket in sorted(set(buckets)):
            after = ""
            while page := await self._run(lambda b=bucket, a=after: self._bucket_page(b, a)):  # type: ignore[misc] # mypy cannot infer a lambda with defaults
                found += page
                after = page[-1].name
                if len(found) > MAX_MEMBERS:
                    raise BadRequest(
                        f"these buckets hold more than {MAX_MEMBERS} members, ask for fewer", "b"
                    )
        return found

    async def read(self, names: Sequence[str]) -> dict[str, Credential]:
        """Return those of `names` that the copy knows, on or off."""
        found: dict[str, Credential] = {}
        for start in range(0, len(names), PAGE):
            part = names[start : start + PAGE]
            found |= await self._run(lambda p=part: {c.name: c for c in self._read(p)})  # type: ignore[misc] # as above
        return found

    async def active_page(self, after: str) -> list[Credential]:
        """Return up to `PAGE` credentials that are on, with names after `after`, in order of name."""
        return await self._run(lambda: self._active_page(after))

    async def active_snapshot(self) -> tuple[int, list[list[Credential]]]:
        """Return all credentials that are on, in pages, as of one instant, and the `revision` they belong to."""

        def read() -> tuple[int, list[list[Credential]]]:
            pages: list[list[Credential]] = []
            after = ""
            while page := self._active_page(after):
                pages.append(page)
                after = page[-1].name
            return self.revision, pages

        return await self._run(read)

    # -- in the thread

    async def _run(self, body: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(body, limiter=self._limiter)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def _watermark(self) -> Watermark:
        epoch, seq = self._connection.execute("select epoch, seq from meta").fetchone()
        return Watermark(epoch, seq, self._active())

    def _active(self) -> int:
        """Count what is on; of a million that takes seconds on a slow disk, so it is counted once and then kept up to date."""
        counted_at, active = self._counted
        if counted_at != self._connection.total_changes:
            # The partial index on active rows is the smallest thing that can be counted.
            (active,) = self._connection.execute(
                "select count(*) from credentials indexed by credentials_key where active"
            ).fetchone()
            self._counted = (self._connection.total_changes, active)
        return active

    def _apply(self, push: Push) -> Applied:
        active = self._active()
        with self._transaction():
            epoch, seq, era = self._connection.execute("select epoch, seq, era from meta").fetchone()
            if epoch == push.epoch:
                seq = max(seq, push.seq)
            elif push.adopt:
                seq, era = push.seq, era + 1
            else:
                raise EpochMismatch(epoch)
            wanted: dict[str, Credential] = {}
            for change in push.changes:
                held = wanted.get(change.name)
                if held is None or change.version > held.version:
                    wanted[change.name] = change
            before = {row[0].name: row for row in self._read_with_era(list(wanted))}
            fresh = [c for c in wanted.values() if _replaces(c, era, before.get(c.name))]
            self._write(fresh, era)
            self._move_buckets([before[c.name][0] for c in fresh if c.name in before], fresh)
            self._connection.execute("update meta set epoch = ?, seq = ?, era = ?", (push.epoch, seq, era))
        self.revision += 1
        changed, cut = [], set()
        for credential in fresh:
            old = before[credential.name][0] if credential.name in before else None
            was_on = old is not None and old.active
            active += credential.active - was_on
            moved = old is not None and old.uuid != credential.uuid
            if was_on != credential.active or (was_on and moved):
                changed.append(credential.name)
                if was_on:
                    cut.add(credential.name)
        self._counted = (self._connection.total_changes, active)
        return Applied(
            changed=tuple(changed),
            cut=frozenset(cut),
            ignored=len(push.changes) - len(fresh),
            epoch=push.epoch,
            seq=seq,
            revision=self.revision,
        )

    def _write(self, fresh: Sequence[Credential], era: int) -> None:
        # First everything off, then the new rows: a uuid that moves between two names of one push meets no conflict.
        self._connection.executemany(
            "update credentials set active = 0 where name = ?", [(c.name,) for c in fresh]
        )
        for credential in fresh:
            row = (
                credential.name,
                credential.uuid,
                uuid_key(credential.uuid),
                credential.version,
                credential.active,
                era,
                bucket_of(credential.name),
            )
            try:
                self._connection.execute(_UPSERT, row)
            except sqlite3.IntegrityError:
                raise BadRequest(
                    f"the uuid of {credential.name} is another active credential's: the core ignores its bytes 6 and 7",
                    "changes",
                ) from None

    def _move_buckets(self, old: Iterable[Credential], new: Iterable[Credential]) -> None:
        moved: dict[int, tuple[int, int]] = {}
        for sign, credentials in ((-1, old), (1, new)):
            for c in credentials:
                bucket = bucket_of(c.name)
                count, total = moved.get(bucket, (0, 0))
                moved[bucket] = (
                    count + sign,
                    total + sign * member_value(c.name, c.uuid, c.version, c.active),
                )
        for bucket, (count, total) in moved.items():
            row = self._connection.execute(
                "select count, sum from buckets where bucket = ?", (bucket,)
            ).fetchone()
            held_count, held_sum = (row[0], int(row[1])) if row else (0, 0)
            # A sum outgrows 64 bits, so it is kept as decimal text.
            self._connection.execute(
                "insert or replace into buckets values (?, ?, ?)",
                (bucket, held_count + count, str(held_sum + total)),
            )

    def _read(self, names: Sequence[str]) -> list[Credential]:
        return [row[0] for row in self._read_with_era(names)]

    def _read_with_era(self, names: Sequence[str]) -> list[tuple[Credential, int]]:
        found = []
        for start in range(0, len(names), _NAMES):
            part = names[start : start + _NAMES]
            marks = ",".join("?" * len(part))
            rows = self._connection.execute(
                f"select name, uuid, version, active, era from credentials where name in ({marks})",  # noqa: S608 - only question marks are put in
                tuple(part),
            )
            found += [(Credential(r[0], r[1], r[2], bool(r[3])), r[4]) for r in rows]
        return found

    def _bucket_page(self, bucket: int, after: str) -> list[Credential]:
        rows = self._connection.execute(
            "select name, uuid, version, active from credentials where bucket = ? and name > ? order by name limit ?",
            (bucket, after, PAGE),
        )
        return [Credential(r[0], r[1], r[2], bool(r[3])) for r in rows]

    def _active_page(self, after: str) -> list[Credential]:
        rows = self._connection.execute(
            "select name, uuid, version from credentials where active and name > ? order by name limit ?",
            (after, PAGE),
        )
        return [Credential(r[0], r[1], r[2], active=True) for r in rows]


def _replaces(change: Credential, era: int, held: tuple[Credential, int] | None) -> bool:
    if held is None:
        return True
    credential, written_in = held
    if written_in == era:
        return change.version > credential.version
    return change != credential or change.version > credential.version
