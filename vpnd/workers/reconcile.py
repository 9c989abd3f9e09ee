"""The worker `reconcile`: every ten minutes each node is held against the shop, and what drifted is mended, both ways.

The follower of a node adopts it where its place in the log is not known; this worker proves that the log did its work. It is
the only one that takes anything away by a comparison, and takes at most `batch` credentials in a run over all nodes. What it
must not decide is left to a person (`vpnd.shop.node_stops`).

A node is an item: one that hangs costs its own time only, and the next one follows. The lease is for economy. Two that
compare one node at once, or this and the follower, do the same things twice, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeError, NodeRefused
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import ItemWorker
from vpnd.shop.node_stops import note_restore
from vpnd.workers.node_compare import NodeAhead, compare, tell_comparison, tell_restore
from vpnd.workers.node_hands import Hands

__all__ = ["ITEM_DEADLINE", "reconcile"]

journal = get_journal("workers")

#: Seconds for one node; a call has five of its own. A million credentials that agree took eleven on two busy cores.
ITEM_DEADLINE: Final = 120.0


def reconcile(
    db: Database, clients: Sequence[NodeClient], *, alert: Callable[[], None]
) -> ItemWorker[NodeClient]:
    """Compare each node with the shop; `alert` wakes what tells the admins. `clients` is read anew by each run."""
    work = _Reconciliation(db, clients, alert)
    return ItemWorker(
        "reconcile",
        interval=600,
        deadline=540,
        batch=100,
        page=work.page,
        handle=work.handle,
        key=lambda client: client.name,
        item_deadline=ITEM_DEADLINE,
    )


class _Reconciliation:
    """The runs over all nodes; `_left` is what the present one may still take away."""

    def __init__(self, db: Database, clients: Sequence[NodeClient], alert: Callable[[], None]) -> None:
        self._db = db
        self._clients = clients
        self._alert = alert
        self._left = 0

    async def page(self, after: str | None, limit: int) -> Sequence[NodeClient]:
        if after is None:  # a run that was cut at its deadline goes on with what is left to it
            self._left = limit
        later = [client for client in self._clients if after is None or client.name > after]
        return sorted(later, key=lambda client: client.name)[:limit]

    async def handle(self, client: NodeClient) -> None:
        hands = Hands(self._db, client)
        try:
            result = await compare(self._db, client, hands=hands, removals=self._left)
        except NodeAhead as error:
            epoch, begun = await note_restore(self._db, client.name, error.epoch)
            if begun:
                tell_restore(client.name, epoch)
            return
        except NodeEpochMismatch:
            # Its place is not known: its follower adopts it, or has just done so.
            self._put_off(client.name, "it is about to be adopted")
            return
        except NodeRefused:
            raise  # no outage: a person must look, and is told as of any item that fails
        except NodeError as error:
            # Nothing is known of what it holds. That it is away is told by its follower.
            self._put_off(client.name, str(error))
            return
        finally:
            self._left -= hands.taken  # also what was under way when it was cut, or when the answer was lost
        if result.told:
            self._alert()
        if result.differences:
            tell_comparison(client.name, "clock", result)

    def _put_off(self, node: str, why: str) -> None:
        journal.debug("node.not_compared", message=f"node {node} is compared next time: {why}", node=node)
