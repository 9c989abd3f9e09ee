"""Making the core hold what the durable copy holds, and ending the connections of those who were turned off.

**Which first, the disk or the core?** The disk. A push is committed, then brought into the core, then acknowledged:

* killed before the commit: nothing happened, nothing was acknowledged, the daemon sends it again;
* killed after the commit: the core dies with the agent and the next one is filled from the copy, which has the push.
  The daemon sends it again, every change is ignored as known, and it is acknowledged once the core runs;
* the core alone dies anywhere: its next life is rendered from the copy, which is never behind what was acknowledged.

The other order has a hole: a core that dies between taking a change and the commit comes back without it, and then the
change is committed and acknowledged although no core holds it.

So what waits here is only a set of *names*. What to do for a name is read from the copy when its turn comes, which makes
every step safe to repeat. Names gather in a `Round` while the round before them is under way. A round is done when its
names are in the core, the connections it had to end have ended, and all earlier rounds are done: an acknowledgement
covers everything before it. The cutting runs beside the next round, so that a restart that has to wait its turn never
keeps a customer who has just paid from getting in.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NoReturn

import attrs
import trio

from vpnd.agent import cutoff
from vpnd.agent.core import Core, Running
from vpnd.agent.model import Credential
from vpnd.agent.state import Applied, State
from vpnd.agent.xray_client import (
    CoreError,
    CoreRejected,
    CoreUnavailable,
    InboundUnknown,
    Operation,
    UserExists,
    UserUnknown,
)
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal

journal = get_journal("agent")

How = Literal["sockets", "restart", "none"]

#: Above this many changes an inbound is given a whole new list in one message, if it fits.
BULK: Final = 1_000
#: Up to this many changes are planned at once in the loop: less than a millisecond, and no thread to wait for.
FEW: Final = 100
#: Longest list that is tried in one message; it holds 4 MiB, about 45 000 users.
BULK_USERS: Final = 45_000
#: Seconds between two looks at who is still online, and how many looks there are.
LOOK_INTERVAL: Final = 0.05
LOOKS: Final = 20
#: Attempts of a round in one life of the core before the life is ended.
_TRIES_PER_LIFE: Final = 3


@attrs.frozen
class Removed:
    """How a credential was cut off: its addresses online, the sockets destroyed for them, and by what means."""

    name: str
    online_ips: int
    sockets: int
    how: How


@attrs.define(eq=False)
class Round:
    """Names that go to the core together. `removed` is complete when `done` is set.

    `cut` are names whose open connections end, `suspects` those that a comparison found wrong: they are looked at even
    in a life that was born with everything, and cut off unless the copy has them on.
    """

    previous: "Round | None"
    names: set[str] = attrs.field(factory=set)
    cut: set[str] = attrs.field(factory=set)
    revision: int = 0
    suspects: set[str] = attrs.field(factory=set)
    removed: dict[str, Removed] = attrs.field(factory=dict)
    done: trio.Event = attrs.field(factory=trio.Event)


class Applier:
    """Brings rounds of names into the core. `run` does the work; other tasks hand names in and wait."""

    def __init__(self, core: Core, state: State, *, sockets_can_be_cut: bool) -> None:
        self._core = core
        self._state = state
        #: "sockets" or "restart": how open connections are ended on this machine.
        self.means: Literal["sockets", "restart"] = "sockets" if sockets_can_be_cut else "restart"
        self._next = Round(previous=None)
        self._current: Round | None = None
        self._finishing: set[Round] = set()
        self._wake = trio.Event()
        self._chance = random.Random()  # noqa: S311 - spreads waiting times, guards nothing

    @property
    def idle(self) -> bool:
        """Whether everything that was handed in is done."""
        return self._current is None and not self._finishing and not self._wake.is_set()

    async def carry_out(self, applied: Applied) -> dict[str, Removed]:
        """Wait until the core holds what a push changed and whoever was turned off is off; return how, by name.

        A cancelled wait takes nothing back: the names stay on their way.
        """
        waiting = self._hand_in(applied.changed, applied.cut, applied.revision)
        await waiting.done.wait()
        return {name: waiting.removed[name] for name in applied.cut if name in waiting.removed}

    async def mend(self, names: Iterable[str]) -> None:
        """Make the core right about `names`, and cut off those of them that the copy does not have on."""
        names = set(names)
        waiting = self._hand_in(names, (), 0)
        waiting.suspects |= names
        await waiting.done.wait()

    def _hand_in(self, names: Iterable[str], cut: Iterable[str], revision: int) -> Round:
        waiting = self._next
        waiting.names.update(names)
        waiting.cut.update(cut)
        waiting.revision = max(waiting.revision, revision)
        self._wake.set()
        return waiting

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Work through the rounds until cancelled. What an earlier run left under way goes on."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            for left in self._finishing:
                # Whose connections still have to end is no longer known for sure, so all of them are looked at again.
                nursery.start_soon(self._finish, left, await self._core.running())
            while True:
                if self._current is None:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    self._current, self._next = self._next, Round(previous=self._next)
                present = await self._into_core(self._current)
                self._finishing.add(self._current)
                nursery.start_soon(self._finish, self._current, present)
                self._current = None

    # -- the core's lists

    async def _into_core(self, work: Round) -> Running:
        """Bring a round into the core, however many lives of the core that takes; return the life that holds it."""
        failures, life = 0, 0
        while True:
            present = await self._core.running()
            failures, life = (failures if present.number == life else 0), present.number
            if present.revision >= work.revision and not work.suspects:
                return present  # it was born with this round in its configuration
            try:
                await self._alter(work, present)
            except CoreError as error:
                failures += 1
                journal.warning(
                    "core.change_failed",
                    message=f"The core did not take a change: {error}",
                    failures=failures,
                )
                if failures >= _TRIES_PER_LIFE or isinstance(error, InboundUnknown):
                    await self._core.restart(present, "it does not take changes", urgent=True)
                    continue
                with trio.move_on_after(jittered_backoff(failures, 0.1, 2.0, self._chance)):
                    await present.lost.wait()
            else:
                return present

    async def _alter(self, work: Round, present: Running) -> None:
        """Change the lists of one life."""
        names = sorted(work.names)
        wanted = await self._state.read(names)
        work.cut |= {name for name in work.suspects if name not in wanted or not wanted[name].active}
        if len(names) > BULK and await self._in_bulk(present):
            return
        tags = present.doors.tags
        if len(names) <= FEW:
            removals, additions = _plan(names, wanted, frozenset(work.cut), tags)
        else:
            # Ten thousand names in two inbounds are some fifty milliseconds of Python: not the loop's.
            removals, additions = await trio.to_thread.run_sync(
                _plan, names, wanted, frozenset(work.cut), tags
            )
        for outcome in await present.client.alter(removals):
            if outcome is not None and not isinstance(outcome, UserUnknown):
                raise outcome
        for operation, outcome in zip(additions, await present.client.alter(additions), strict=True):
            if isinstance(outcome, UserExists):
                await self._make_right(present, operation)
            elif outcome is not None:
                raise outcome

    async def _make_right(self, present: Running, wanted: Operation) -> None:
        """Handle a name the core has already: fine with the same uuid, replaced with another."""
        if wanted.uuid is None or await present.client.user(wanted.tag, wanted.name) == wanted.uuid:
            return
        try:
            await present.client.remove_user(wanted.tag, wanted.name)
        except UserUnknown:
            pass  # it went away by itself, which is where we are going
        await present.client.add_user(wanted.tag, wanted.name, wanted.uuid)

    async def _in_bulk(self, present: Running) -> bool:
        """Give every inbound the whole list at once. Returns False, with nothing changed, when it is too long."""
        _revision, pages = await self._state.active_snapshot()
        if sum(map(len, pages)) > BULK_USERS:
            return False
        pairs = [[(c.name, c.uuid) for c in page] for page in pages]
        for position, tag in enumerate(present.doors.tags):
            try:
                if not await present.client.replace_users(tag, pairs):
                    return False
            except (CoreRejected, CoreUnavailable) as error:
                # The inbound may be gone by now, and its customers with it: a new life has it at once.
                journal.error("core.bulk_failed", message=f"Inbound {tag} did not take its new list: {error}")
                await self._core.restart(present, "an inbound was lost", urgent=True)
                raise CoreUnavailable(f"restarted after inbound {position + 1}") from None
        return True

    # -- open connections

    async def _finish(self, work: Round, present: Running) -> None:
        """End the open connections of a round and declare it done, after the one before it."""
        if work.cut:
            if present.revision >= work.revision and not work.suspects:
                # A core that started after the change has no connection from before it.
                work.removed = {name: Removed(name, 0, 0, "restart") for name in work.cut}
            else:
                work.removed = await self._cut(work.cut, present)
            for removed in work.removed.values():
                metrics.agent_cut_total.labels(removed.how).inc()
        if work.previous is not None:
            await work.previous.done.wait()
            work.previous = None
        self._finishing.discard(work)
        work.done.set()

    async def _cut(self, names: Iterable[str], present: Running) -> dict[str, Removed]:
        """End every open connection of `names`, who cannot open new ones any more; return how."""
        watched = set(names)
        seen: dict[str, set[str]] = {name: set() for name in watched}
        sockets: dict[str, int] = dict.fromkeys(watched, 0)
        try:
            for look in range(LOOKS):
                online = await present.client.online()
                still = {name: online[name] for name in watched & online.keys() if online[name]}
                for name, addresses in still.items():
                    seen[name] |= addresses
                if still and self.means == "restart":
                    await self._core.restart(present, "customers who were turned off are still connected")
                    return _report(seen, sockets, "restart")
                for name, count in (await self._destroy(still, present)).items():
                    sockets[name] += count
                if look and not still:
                    return _report(seen, sockets, "sockets")
                if look:
                    # Turned on again meanwhile, or given another uuid: whoever is online now has a right to it.
                    again = await self._state.read(sorted(watched))
                    watched -= {name for name, credential in again.items() if credential.active}
                # A connection accepted just before the removal may enter the online list just after the first look.
                with trio.move_on_after(LOOK_INTERVAL):
                    await present.lost.wait()
                if present.lost.is_set():
                    return _report(seen, sockets, "restart")
            reason = "customers who were turned off stay connected"
        except (CoreError, OSError) as error:
            if present.lost.is_set():
                return _report(seen, sockets, "restart")
            reason = f"connections could not be ended ({error})"
        except cutoff.CutOffUnavailable as error:
            reason = f"sockets can no longer be destroyed ({error})"
            self.means = "restart"
        await self._core.restart(present, reason)
        return _report(seen, sockets, "restart")

    async def _destroy(self, still: Mapping[str, frozenset[str]], present: Running) -> dict[str, int]:
        if not still:
            return {}
        ports = sorted(set(present.doors.ports.values()))
        by_peer = await trio.to_thread.run_sync(cutoff.destroy, frozenset().union(*still.values()), ports)
        return {
            name: sum(by_peer.get(cutoff.canonical(address), 0) for address in addresses)
            for name, addresses in still.items()
        }


def _plan(
    names: Sequence[str], wanted: Mapping[str, Credential], cut: frozenset[str], tags: Sequence[str]
) -> tuple[list[Operation], list[Operation]]:
    """Return what to remove, then what to add. A name that is on and to be cut is taken out and put in again."""
    on = [wanted[name] for name in names if name in wanted and wanted[name].active]
    staying = {credential.name for credential in on} - cut
    removals = [Operation(tag, name, None) for tag in tags for name in names if name not in staying]
    return removals, [Operation(tag, c.name, c.uuid) for tag in tags for c in on]


def _report(seen: Mapping[str, set[str]], sockets: Mapping[str, int], how: How) -> dict[str, Removed]:
    return {
        name: Removed(name, len(addresses), sockets[name], how if addresses or how == "restart" else "none")
        for name, addresses in seen.items()
    }
