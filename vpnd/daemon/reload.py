"""What a reload changes of the configuration while the daemon runs: its limits, its nodes, and where the plans file is.

The whole configuration is read and judged first. One fault, and nothing of it is taken: the daemon goes on as it is, and says so
in the journal and in its STATUS line until a reload finds it whole. What cannot be changed at run time is named, and is in
force from the next start on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import trio

from vpnd.config import ConfigError, NodeSettings, Settings
from vpnd.config.differences import differences
from vpnd.daemon.parts import Parts
from vpnd.database.errors import DatabaseError
from vpnd.runtime.journal import get_journal
from vpnd.runtime.supervisor import ChildSpec
from vpnd.telegram.outgoing import broadcasts_at_once
from vpnd.workers import node_gauges
from vpnd.workers.node_follower import NodeFollower

__all__ = ["Reconfiguration"]

journal = get_journal("daemon")

#: Faults of a configuration that get a line each; `vpnd check-config` tells all of them.
MOST_TOLD: Final = 50

#: New nodes are started behind this child.
BEFORE_NODES: Final = "numberer"


class Reconfiguration:
    """Reads the configuration again and has what may change count."""

    def __init__(
        self, parts: Parts, read: Callable[[], Settings], child_of: Callable[[NodeFollower], ChildSpec]
    ) -> None:
        """Change `parts` by what `read` returns.

        Args:
            parts: the running daemon.
            read: loads the settings, in a thread; raises ConfigError.
            child_of: makes the supervised child of a node's follower.
        """
        self._parts = parts
        self._read = read
        self._child_of = child_of
        self._most_broadcasts = broadcasts_at_once(parts.settings.limits.telegram_per_second)

    async def run(self) -> None:
        """Read the configuration again and apply it; every fault of it is told, and then nothing is changed."""
        parts = self._parts
        try:
            wanted = await trio.to_thread.run_sync(self._read)
        except ConfigError as error:
            self._refuse(error)
            return
        parts.config_fault = ""
        former = parts.settings
        limits = attrs.evolve(
            wanted.limits, database=min(wanted.limits.database, former.database.pool_max)
        )  # the pool was opened with that many connections
        parts.settings = parts.schema.settings = attrs.evolve(
            former,
            limits=limits,
            nodes=wanted.nodes,
            shop=attrs.evolve(former.shop, plans=wanted.shop.plans),
        )
        self._apply_limits()
        done = [*_changed_values(former.limits, limits), *await self._apply_nodes(former.nodes)]
        journal.info(
            "config.reread",
            message=f"the configuration was read again: {', '.join(done) or 'no limit and no node has changed'}",
            changes=", ".join(done),
        )
        if later := differences(parts.settings, wanted):
            journal.warning(
                "config.needs_restart",
                message=f"changed in the configuration, and in force from the next start on: {', '.join(later)}",
                keys=", ".join(later),
            )

    def _refuse(self, error: ConfigError) -> None:
        for fault in error.faults[:MOST_TOLD]:
            journal.error(
                "config.refused",
                message=f"the configuration was not read again: {fault.key} {fault.message}",
                key=fault.key,
                remedy=fault.message,
            )
        more = f" and {len(error.faults) - 1} more" if len(error.faults) > 1 else ""
        self._parts.config_fault = f"the reload was refused: {error.faults[0].key}{more}"

    # ------------------------------------------------------------------ limits

    def _apply_limits(self) -> None:
        parts, limits = self._parts, self._parts.settings.limits
        parts.limits.resize(database_total=limits.database, http_total=limits.http)
        parts.telegram.sender.limit(limits.telegram_per_second, limits.telegram_per_chat)
        parts.telegram.guard.limit(limits.user_burst, limits.user_per_second)
        # Never more than there were connections made for: the rest is for replies.
        parts.broadcasts.resize(min(self._most_broadcasts, broadcasts_at_once(limits.telegram_per_second)))

    # ------------------------------------------------------------------ nodes

    async def _apply_nodes(self, former: tuple[NodeSettings, ...]) -> list[str]:
        """Stop following what is gone, follow what is new, and begin anew with what is reached in another way."""
        before = {node.name: node for node in former}
        after = {node.name: node for node in self._parts.settings.nodes}
        told: list[str] = []
        for name, node in before.items():
            if after.get(name) != node:
                await self._drop(name)
                told.append(f"node {name} {'changed' if name in after else 'removed'}")
        for name, node in after.items():
            if before.get(name) != node:
                self._follow(node)
                if name not in before:
                    told.append(f"node {name} added")
        self._parts.monitors.nodes.names = tuple(after)
        if set(before) - set(after):
            await self._forget()
        return told

    async def _drop(self, name: str) -> None:
        parts = self._parts
        await parts.supervisor.remove(f"node {name}")
        parts.followers[:] = [follower for follower in parts.followers if follower.node != name]
        gone = [client for client in parts.clients if client.name == name]
        parts.clients[:] = [client for client in parts.clients if client.name != name]
        for client in gone:
            await client.aclose()
        node_gauges.forget(name)

    def _follow(self, node: NodeSettings) -> None:
        follower = self._parts.hire_follower(node)
        self._parts.supervisor.add(self._child_of(follower), after=BEFORE_NODES)

    async def _forget(self) -> None:
        """Take nodes that are gone out of customers' profiles; a database that is not ready yet does it when it is."""
        schema = self._parts.schema
        if not schema.ready.is_set():
            return
        try:
            await schema.forget_nodes()
        except DatabaseError as error:
            journal.error(
                "nodes.not_forgotten",
                message=f"a node that was removed may still stand in customers' profiles: {error}",
            )


def _changed_values(one: Any, other: Any) -> Iterator[str]:
    for field in attrs.fields(type(one)):
        former, present = getattr(one, field.name), getattr(other, field.name)
        if former != present:
            yield f"limits.{field.name} {former:g} → {present:g}"
