"""Switches: every worker, the sale and the trial can be paused at run time; and a banner for an incident.

The truth is in the database, with who paused what, when and why. What is asked often (screens, workers) reads a snapshot that
a child renews, and whoever changes something in this process renews it at once. What must not be wrong asks the database
itself, in its own transaction: opening a purchase, granting a trial.

    shop     no purchase is opened and no balance filled; what is paid all the same is settled, renewals go on
    trial    none is granted
    pay_…    nothing new is paid by that method; what was opened can be paid, and renewals go on
    <worker> begins no iteration; the one that runs finishes

A worker is known once a daemon that has it ran on this database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import trio
from attrs import Factory, frozen

from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.source import Source, fetchrow, in_transaction

__all__ = [
    "PAY",
    "SHOP",
    "TRIAL",
    "Banner",
    "Snapshot",
    "Switch",
    "Switchboard",
    "UnknownSwitch",
    "apply_switches",
    "list_switches",
    "register_switches",
    "set_banner",
    "set_switch",
]

journal = get_journal("switches")

SHOP: Final = "shop"
TRIAL: Final = "trial"
#: What the switch of a way to pay begins with; the method's name follows.
PAY: Final = "pay_"

_MOST: Final = 1000  # switches there may be: a bound, not a limit that anybody meets
_LONGEST: Final = (
    1000  # characters of a reason or a banner; a message of Telegram takes 4096 with everything else
)


class UnknownSwitch(Exception):
    """There is no such switch; `known` are those there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.known = sorted(known)
        super().__init__(f"there is no switch {name!r}")


class Pausable(Protocol):
    """What a switch can hold: a worker's runner, or whatever else runs by itself."""

    def pause(self) -> None:
        """Begin nothing new until `resume`."""
        ...

    def resume(self) -> None:
        """End a pause."""
        ...


@frozen
class Switch:
    """One switch. The three last are of its last change, None before the first."""

    name: str
    paused: bool
    reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None


@frozen
class Banner:
    """What screens begin with while something is wrong."""

    text: str
    set_by: str
    set_at: datetime


@frozen
class Snapshot:
    """All switches and the banner at one moment."""

    switches: Mapping[str, Switch] = Factory(dict)
    banner: Banner | None = None

    def paused(self, name: str) -> bool:
        """Whether it is paused; what is not known is not."""
        switch = self.switches.get(name)
        return switch is not None and switch.paused

    @property
    def all_paused(self) -> tuple[Switch, ...]:
        """What is paused, by name."""
        return tuple(switch for _, switch in sorted(self.switches.items()) if switch.paused)


_READ: Final = """
select (select jsonb_agg(jsonb_build_object('name', w.name, 'paused', w.paused, 'reason', w.reason, 'changed_by', w.changed_by,
                                            'changed_at', extract(epoch from w.changed_at)) order by w.name)
        from (select * from switches order by name limit $1) w) as switches,
       b.text, b.set_by, b.set_at
from (select) one left join incident_banner b on true
"""
_SET: Final = """
update switches set paused = $2, reason = $3, changed_by = $4, changed_at = vpnd_now() where name = $1 and paused <> $2
"""


async def list_switches(source: Source) -> Snapshot:
    """All switches and the banner as they are now; one read."""
    row = await fetchrow(source, "switches.list", _READ, _MOST)
    if row is None:
        return Snapshot()
    banner = None if row["text"] is None else Banner(row["text"], row["set_by"], row["set_at"])
    return Snapshot({one["name"]: _switch(one) for one in row["switches"] or ()}, banner)


def _switch(one: Mapping[str, Any]) -> Switch:
    at = one["changed_at"]
    moment = None if at is None else datetime.fromtimestamp(float(at), tz=UTC)
    return Switch(one["name"], one["paused"], one["reason"], one["changed_by"], moment)


async def register_switches(source: Source, names: Iterable[str]) -> None:
    """Make the switches of these workers known, as not paused; what is known stays as it is."""
    given = sorted(set(names))

    async def body(tx: Transaction) -> int:
        return await tx.execute(
            "insert into switches (name) select unnest($1::text[]) on conflict (name) do nothing", given
        )

    await in_transaction(source, "switches.register", body)


async def set_switch(source: Source, name: str, *, paused: bool, by: str, reason: str | None = None) -> bool:
    """Pause or resume; False if it is so already. Raises UnknownSwitch.

    `by` says who: "admin:777", "shell:root".
    """

    async def body(tx: Transaction) -> bool:
        if await tx.execute(_SET, name, paused, _text(reason), by):
            return True
        if not await tx.fetchval("select 1 from switches where name = $1", name):
            rows = await tx.fetch("select name from switches order by name limit $1", _MOST)
            raise UnknownSwitch(name, [row["name"] for row in rows])
        return False

    changed = await in_transaction(source, "switches.set", body)
    if changed:
        journal.warning(
            "switch.paused" if paused else "switch.resumed",
            message=f"{name} was {'paused' if paused else 'resumed'} by {by}"
            + (f": {reason}" if reason else ""),
            switch=name,
            by=by,
        )
    return changed


async def set_banner(source: Source, text: str | None, *, by: str) -> bool:
    """Show a banner on the screens, or none with None; False if nothing changes: there was none, or the text is empty."""
    shown = _text(text)
    if text is not None and shown is None:
        return False

    async def body(tx: Transaction) -> bool:
        if shown is None:
            return await tx.execute("delete from incident_banner") > 0
        await tx.execute(
            "insert into incident_banner (text, set_by) values ($1, $2) on conflict (only_row) do update"
            " set text = excluded.text, set_by = excluded.set_by, set_at = vpnd_now()",
            shown,
            by,
        )
        return True

    changed = await in_transaction(source, "switches.banner", body)
    if changed:
        said = "shown" if shown else "taken away"
        journal.warning("switch.banner", message=f"the incident banner was {said} by {by}", by=by)
    return changed


def _text(text: str | None) -> str | None:
    """What the database can take of a person's words; None for nothing."""
    return (text or "").replace("\x00", "").strip()[:_LONGEST] or None


def apply_switches(snapshot: Snapshot, workers: Mapping[str, Pausable]) -> None:
    """Pause and resume workers as the switches say. A worker without a switch runs."""
    for name, worker in workers.items():
        if snapshot.paused(name):
            worker.pause()
        else:
            worker.resume()


class Switchboard:
    """The last snapshot, for whoever asks often.

    Args:
        source: where the truth is.
        workers: what is paused and resumed by it, by name. May be filled until the first `refresh`.
    """

    def __init__(self, source: Source, workers: Mapping[str, Pausable]) -> None:
        self._source = source
        self._workers = workers
        self._told: list[Callable[[Snapshot], None]] = []
        self.snapshot = Snapshot()
        #: Set by the first `refresh`: workers wait for it, so that a paused one stays so over a restart.
        self.loaded: Final = trio.Event()

    def tell(self, listener: Callable[[Snapshot], None]) -> None:
        """Have `listener` called with each new snapshot; cheap and synchronous."""
        self._told.append(listener)

    async def refresh(self) -> Snapshot:
        """Read the truth and apply it; whoever has changed something in this process calls it.

        Raises DatabaseError: everything stays as it was.
        """
        if not self.loaded.is_set():
            await register_switches(self._source, self._workers)
        self.snapshot = await list_switches(self._source)
        apply_switches(self.snapshot, self._workers)
        for listener in self._told:
            listener(self.snapshot)
        self.loaded.set()
        return self.snapshot
