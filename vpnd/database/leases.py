"""Who does a piece of periodic work, when several daemons could.

A lease is for economy, never for correctness: whatever it guards is safe when done twice. Its time is the
database's real clock alone; the holder's own clock can only shorten his trust. The *term* is raised by each
change of holder, and by a holder that was started anew: an instance knows its own former leases by the id in
its state directory and takes them at once, instead of waiting for half a minute, and an old process of the
same instance that is still there finds the term gone past it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Final

import trio
from attrs import frozen

from vpnd.database.database import Database

__all__ = ["Instance", "Lease", "instance_id"]

_HOLD: Final = """
    insert into leases as l (name, holder, holder_id, term, expires_at)
    values ($1, $2, $3, 1, clock_timestamp() + $4)
    on conflict (name) do update set
        holder = excluded.holder,
        holder_id = excluded.holder_id,
        expires_at = excluded.expires_at,
        term = l.term + (l.holder_id is distinct from excluded.holder_id or l.term is distinct from $5::bigint)::int
    where l.expires_at <= clock_timestamp()
       or (l.holder_id = excluded.holder_id and ($5::bigint is null or l.term = $5::bigint))
    returning term
"""
_RELEASE: Final = (
    "update leases set expires_at = clock_timestamp() where name = $1 and holder_id = $2 and term = $3"
)


@frozen
class Instance:
    """A daemon: the name its operator gave it and the id it gave itself."""

    name: str
    id: str


def instance_id(state_dir: Path) -> str:
    """Return the id kept in `state_dir/instance-id`; made at the first start. Blocks for a small file.

    Raises:
        OSError: the directory cannot be read or written.
    """
    path = state_dir / "instance-id"
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text(encoding="ascii").strip()
        if found:
            return found
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / f"instance-id.{os.getpid()}"
    fresh.write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    fresh.replace(path)
    return path.read_text(encoding="ascii").strip()


class Lease:
    """One named lease, as seen by one instance.

    Args:
        db: holds the table.
        name: of the work.
        instance: who asks.
        ttl: seconds it lasts without renewal; it is renewed when a third of that has passed.
    """

    def __init__(self, db: Database, name: str, instance: Instance, *, ttl: float = 30.0) -> None:
        self.name = name
        self._db = db
        self._instance = instance
        self._ttl = ttl
        self._term: int | None = (
            None  # of our last success; kept after a loss, so that we do not jump the queue
        )
        self._renewed = -float("inf")  # local time before the statement that renewed it was sent

    @property
    def term(self) -> int | None:
        """The term under which it was last held; a completion that must not come from a former holder carries
        it."""
        return self._term

    async def hold(self) -> bool:
        """Take or renew it; whether it is ours now.

        Raises:
            DatabaseError: it could not be asked for; work as if it were not ours.
        """
        now = trio.current_time()
        if now - self._renewed < self._ttl / 3:
            await trio.lowlevel.checkpoint()
            return True
        async with self._db.transaction("leases.hold") as tx:
            term = await tx.fetchval(
                _HOLD,
                self.name,
                self._instance.name,
                self._instance.id,
                timedelta(seconds=self._ttl),
                self._term,
            )
        if term is None:
            self._renewed = -float("inf")
            return False
        self._term, self._renewed = term, now
        return True

    async def release(self) -> None:
        """Let another instance have it at once; nothing happens when it is not ours."""
        if self._term is None or self._renewed == -float("inf"):
            return
        self._renewed = -float("inf")
        async with self._db.transaction("leases.release") as tx:
            await tx.execute(_RELEASE, self.name, self._instance.id, self._term)
