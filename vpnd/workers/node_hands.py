"""What a comparison does to a node, in bulk. `vpnd doctor` has hands of its own, which name each credential, or only name it.

A node that refuses one credential of a call takes none of it. So the call is halved until that one stands alone: it is left,
and all others are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from attrs import frozen

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient, NodeRefused
from vpnd.nodes.model import AccessChange
from vpnd.shop import comparison

__all__ = ["SEND_BATCH", "Doubt", "Hands", "Late", "Left"]

#: Credentials sent in one call.
SEND_BATCH: Final = 1_000

#: More credentials than this, refused one by one, are not poisoned: something is wrong with all.
MAX_REFUSED: Final = 50

#: How the node is behind the shop: it does not hold a credential, or holds an older version of it.
Late = Literal["missing", "older"]
#: Why a credential that looks wrong is left as it is: seen wrong only once, the run has its number, the node is stopped.
Left = Literal["seen once", "next time", "stopped"]


@frozen
class Doubt:
    """A credential that is on there and would lose something by the shop's word.

    The shop does not know it ("stranger"), or says that it is off, or has another uuid, and the node holds it in a newer
    version ("newer"). `theirs` is what the node holds.
    """

    kind: Literal["stranger", "newer"]
    theirs: AccessChange


class Hands:
    """Mends a node.

    Attributes:
        dry: nothing is changed, on the node or in what is remembered of it.
        taken: how many credentials it was told to take something away from, whatever came of that.
    """

    dry: bool = False

    def __init__(self, db: Database, client: NodeClient, *, adopt: bool = False) -> None:
        """`adopt`: the node is made to follow the shop's epoch by the first call."""
        self._db = db
        self._client = client
        self._adopt = adopt
        self.taken = 0

    async def send(self, epoch: str, changes: Sequence[AccessChange], _late: Late) -> Sequence[AccessChange]:
        """Send what the shop says of these; return those that the node refuses for themselves.

        Raises:
            NodeError: the node cannot be told, or refuses whatever it is told.
        """
        return await self._push(epoch, changes)

    async def give(self, versions: Mapping[str, int]) -> int:
        """Raise the shop's versions above those of the node, of credentials that lose nothing by that; return how many."""
        return await comparison.outrun(self._db, versions)

    async def take(self, epoch: str, doubts: Sequence[Doubt]) -> int:
        """Switch off the strangers, and let the shop's word about the others hold; return how many that were.

        Whoever became known to the shop since he was looked at is left alone.
        """
        self.taken += len(doubts)
        strangers = [doubt.theirs for doubt in doubts if doubt.kind == "stranger"]
        known = await comparison.known(self._db, [change.name for change in strangers])
        gone = [
            AccessChange(change.name, change.uuid, change.version + 1, active=False)
            for change in strangers
            if change.name not in known
        ]
        refused = await self._push(epoch, gone)
        newer = {doubt.theirs.name: doubt.theirs.version for doubt in doubts if doubt.kind == "newer"}
        return len(gone) - len(refused) + await comparison.outrun(self._db, newer)

    async def leave(self, _doubts: Sequence[Doubt], _why: Left) -> None:
        """Hear what is left as it is, and why."""

    async def _push(self, epoch: str, changes: Sequence[AccessChange]) -> list[AccessChange]:
        refused: list[AccessChange] = []
        pieces = [changes[start : start + SEND_BATCH] for start in range(0, len(changes), SEND_BATCH)]
        pieces.reverse()
        while pieces:
            piece = pieces.pop()
            try:
                await self._client.push(epoch, 0, piece, adopt=self._adopt)
            except NodeRefused as error:
                if not _for_itself(error) or len(refused) >= MAX_REFUSED:
                    raise
                if len(piece) == 1:
                    refused.append(piece[0])
                else:
                    middle = len(piece) // 2
                    pieces += [piece[middle:], piece[:middle]]  # the last one is next
        return refused


def _for_itself(error: NodeRefused) -> bool:
    """Whether a refusal is about one of the credentials, and not about who asks or how much."""
    return error.status == 400 and (error.field or "").startswith("changes")
