"""The nodes' part of `vpnd doctor`: what differs on each node by name, mended one by one, and a person's word about a node.

A repair keeps the rules of the worker `reconcile`, all but its number a run: who looks at each line needs no bound. Nothing is
taken away at first sight, or from a node that is stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeError
from vpnd.nodes.model import AccessChange
from vpnd.shell.acting import act, who
from vpnd.shell.doctor_report import say
from vpnd.shell.shop import CommandFailed, OpenShop
from vpnd.shop import node_stops
from vpnd.shop.audit_log import Change
from vpnd.shop.node_stops import Reason, Stop
from vpnd.shop.operators import Permission
from vpnd.workers.node_compare import Comparison, NodeAhead, compare, tell_restore
from vpnd.workers.node_differences import MAX_SUSPECTS
from vpnd.workers.node_hands import Doubt, Hands, Late, Left

__all__ = ["accept_nodes", "clients_of", "look_at_nodes"]

#: Differences of a node that are named while nothing is mended.
NAMED: Final = 1_000

_UNFOLLOWED: Final = "does not follow this database's log: the daemon adopts it when it runs"
_WORDS: Final[Mapping[Reason, str]] = {
    "empty": "the database knows no subscription at all",
    "behind": "the database is an older copy of itself",
    "strangers": "the database does not know too many of them",
    "newer": "too many are newer there than in the database",
}
_LEFT: Final[Mapping[Left, str]] = {
    "seen once": "seen for the first time, or just now: look again in half a minute",
    "next time": "too many for one run",
    "stopped": "the node is stopped",
}


class _Naming(Hands):
    """Names what would be done, up to a bound, and does nothing."""

    dry = True

    def __init__(self, db: Database, client: NodeClient) -> None:
        super().__init__(db, client)
        self._head = f"node {client.name}"
        self.named = 0

    async def send(self, _epoch: str, changes: Sequence[AccessChange], late: Late) -> Sequence[AccessChange]:
        for change in changes:
            self._name(late, change.name, f"{_on(change)} in the shop: would be sent")
        return ()

    async def give(self, versions: Mapping[str, int]) -> int:
        for name in versions:
            self._name("newer", name, "the shop's word would hold")
        return 0

    async def take(self, _epoch: str, doubts: Sequence[Doubt]) -> int:
        for doubt in doubts:
            self._name(doubt.kind, doubt.theirs.name, "would be switched off or changed")
        return 0

    async def leave(self, doubts: Sequence[Doubt], why: Left) -> None:
        for doubt in doubts:
            self._name(doubt.kind, doubt.theirs.name, _LEFT[why])

    def _name(self, kind: str, name: str, why: str) -> None:
        self.named += 1
        if self.named <= NAMED:
            say(self._head, f"{kind} {name}: left ({why})")


class _Repairing(Hands):
    """Mends one by one, and names each."""

    def __init__(self, db: Database, client: NodeClient) -> None:
        super().__init__(db, client)
        self._head = f"node {client.name}"
        self.left = 0

    async def send(self, epoch: str, changes: Sequence[AccessChange], late: Late) -> Sequence[AccessChange]:
        refused: list[AccessChange] = []
        for change in changes:
            bad = await super().send(epoch, [change], late)
            refused += bad
            self._name(late, change.name, not bad, "the node refuses it" if bad else f"sent, {_on(change)}")
        return refused

    async def give(self, versions: Mapping[str, int]) -> int:
        raised = 0
        for name, version in versions.items():
            raised += await super().give({name: version})
            self._name("newer", name, True, "the shop's word holds")
        return raised

    async def take(self, epoch: str, doubts: Sequence[Doubt]) -> int:
        taken = 0
        for doubt in doubts:
            done = await super().take(epoch, [doubt])
            taken += done
            why = "switched off" if doubt.kind == "stranger" else "the shop's word holds"
            self._name(doubt.kind, doubt.theirs.name, done > 0, why if done else "the shop knows it by now")
        return taken

    async def leave(self, doubts: Sequence[Doubt], why: Left) -> None:
        for doubt in doubts:
            self._name(doubt.kind, doubt.theirs.name, False, _LEFT[why])

    def _name(self, kind: str, name: str, mended: bool, why: str) -> None:
        self.left += not mended
        say(self._head, f"{kind} {name}: {'mended' if mended else 'left'} ({why})")


async def look_at_nodes(shop: OpenShop, clients: Sequence[NodeClient], *, repair: bool) -> int:
    """Compare each node with the shop and name what differs; with `repair`, mend it. Returns how much is left."""
    left = 0
    for client in clients:
        head = f"node {client.name}"
        try:
            left += await (_repair(shop, client, head) if repair else _look(shop, client, head))
        except NodeEpochMismatch:
            say(head, _UNFOLLOWED)
            left += 1
        except NodeAhead as error:
            say(head, f"{error.reason}: the daemon begins a new epoch when it runs, and stops the nodes")
            left += 1
        except NodeError as error:
            say(head, f"could not be asked: {error}")
            left += 1
    return left


async def _look(shop: OpenShop, client: NodeClient, head: str) -> int:
    hands = _Naming(shop.db, client)
    result = await compare(shop.db, client, hands=hands, removals=MAX_SUSPECTS)
    unnamed = result.differences - min(hands.named, NAMED)
    if unnamed:  # of very many doubts only some are kept in mind, and named
        say(head, f"… and {unnamed} more")
    stop = _stop_of(client.name, result)
    if result.place == "unknown":
        say(head, _UNFOLLOWED)
    if stop is not None:
        say(head, _stopped(stop))
    left = result.differences
    say(head, f"{result.held} credentials on, {left} differences left")
    return left + (stop is not None)


async def _repair(shop: OpenShop, client: NodeClient, head: str) -> int:
    hands = _Repairing(shop.db, client)
    result = await compare(shop.db, client, hands=hands, removals=MAX_SUSPECTS)
    # Of very many doubts only some are kept in mind, and named.
    left = max(hands.left, result.suspects + len(result.refused))
    if result.stop is not None:
        say(head, _stopped(result.stop))
    say(head, f"{result.held} credentials were on, {left} differences left")
    return left + (result.stop is not None)


async def accept_nodes(shop: OpenShop, names: Sequence[str]) -> int:
    """Accept that the database is right about these nodes, as far as can be seen of each now; returns an exit code.

    Raises:
        CommandFailed: there is no such node, it cannot be asked, or it is not stopped. Those before it were accepted.
    """
    clients = {client.name: client for client in clients_of(shop)}
    unknown = sorted(set(names) - clients.keys())
    if unknown:
        raise CommandFailed(
            f"there is no node {unknown[0]!r}; configured: {', '.join(sorted(clients)) or 'none'}"
        )
    for name in names:
        await _accept(shop, clients[name])
    return 0


async def _accept(shop: OpenShop, client: NodeClient) -> None:
    name, head = client.name, f"node {client.name}"
    try:
        result = await compare(shop.db, client, hands=_Silent(shop.db, client))
    except NodeError as error:
        raise CommandFailed(f"nothing is accepted unseen: {error}") from None
    stop = _stop_of(name, result)
    if stop is None:
        raise CommandFailed(f"node {name} is not stopped: there is nothing to accept")
    if result.place == "ahead":
        epoch, begun = await node_stops.note_restore(shop.db, name, result.epoch)
        if begun:
            tell_restore(name, epoch)
            say(head, "a new epoch of the log begins: every node is compared, and every other one is stopped")

    async def deed(tx: Transaction) -> Change:
        await node_stops.accept(tx, stop, by=who().name)
        after = {"accepted": stop.reason, "strangers": stop.strangers, "newer": stop.newer}
        return Change(subject=f"node:{name}", after=after, detail="accept")

    await act(shop, "shell.accept_node", Permission.REPAIR, deed)
    say(
        head,
        f"accepted ({stop.reason}): it serves {stop.held} credentials; {stop.strangers} that the shop does not know and"
        f" {stop.newer} that are newer there may be taken away",
    )
    say(head, "the worker reconcile does it, a batch a run; `vpnd doctor --repair` does it at once")


class _Silent(Hands):
    """Only looks."""

    dry = True

    async def send(
        self, _epoch: str, _changes: Sequence[AccessChange], _late: Late
    ) -> Sequence[AccessChange]:
        return ()

    async def give(self, _versions: Mapping[str, int]) -> int:
        return 0

    async def take(self, _epoch: str, _doubts: Sequence[Doubt]) -> int:
        return 0


def _stop_of(name: str, result: Comparison) -> Stop | None:
    """The stop that is in force, or that the daemon would come to."""
    if result.stop is None and result.place == "ahead":
        return Stop(name, "behind", result.held, result.strangers, result.newer, datetime.now(UTC))
    return result.stop


def _stopped(stop: Stop) -> str:
    return (
        f"nothing is taken away from it, {_WORDS[stop.reason]}: it serves {stop.held}, {stop.strangers} of them unknown to the"
        f" shop, {stop.newer} newer there. If the database is right: vpnd doctor --accept-node {stop.node}"
    )


def clients_of(shop: OpenShop) -> list[NodeClient]:
    """Return a client of each configured node, by name; once for a shop, since each is named to its HTTP client."""
    return [NodeClient(node, shop.http) for node in sorted(shop.settings.nodes, key=lambda node: node.name)]


def _on(change: AccessChange) -> str:
    return "on" if change.active else "off"
