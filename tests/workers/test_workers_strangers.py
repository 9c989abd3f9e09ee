"""What a comparison may remove from a node: next to nothing, and only what was seen wrong twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import pytest
from attrs import define, field
from shop_world import ShopWorld, open_world

from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient, NodeUnavailable
from vpnd.nodes.model import AccessChange, Bucket, NodeBuckets, PushResult
from vpnd.runtime.digest import BUCKETS, bucket_of, member_value
from vpnd.shop import access_log
from vpnd.shop.nodes import save_status
from vpnd.workers.node_compare import compare


@define
class FakeNode(NodeClient):
    """A node in memory that holds what it is pushed; `away` makes it one that cannot be asked."""

    held: dict[str, AccessChange] = field(factory=dict)
    pushed: list[AccessChange] = field(factory=list)
    away: bool = False

    async def buckets(self) -> NodeBuckets:
        """The sums of what is held, removed credentials included."""
        self._answer()
        counts, sums = [0] * BUCKETS, [0] * BUCKETS
        for one in self.held.values():
            bucket = bucket_of(one.name)
            counts[bucket] += 1
            sums[bucket] += member_value(one.name, one.uuid, one.version, one.active)
        return NodeBuckets("e", 0, tuple(Bucket(*both) for both in zip(counts, sums, strict=True)))

    async def members(self, buckets: Iterable[int]) -> list[AccessChange]:
        """The credentials of some buckets."""
        wanted = set(buckets)
        return [one for one in self.held.values() if bucket_of(one.name) in wanted]

    async def push(
        self, epoch: str, seq: int, changes: Sequence[AccessChange], *, adopt: bool = False
    ) -> PushResult:
        """Take over what is newer."""
        self._answer()
        self.pushed += changes
        newer = [
            one for one in changes if one.name not in self.held or one.version > self.held[one.name].version
        ]
        self.held |= {one.name: one for one in newer}
        return PushResult(epoch, seq, len(newer), len(changes) - len(newer), ())

    def _answer(self) -> None:
        if self.away:
            raise NodeUnavailable("berlin", "does not answer")


@pytest.fixture
async def shop(db: Database) -> ShopWorld:
    """A shop with the example plans."""
    return await open_world(db)


@pytest.fixture
async def node(shop: ShopWorld) -> FakeNode:
    """A node the shop knows by name."""
    await save_status(shop.db, "berlin", "boot", [])
    return FakeNode()


def stranger(number: int) -> AccessChange:
    """A credential that no shop has."""
    return AccessChange(f"sstranger{number:09d}", str(uuid.uuid4()), 1, active=True)


async def on_sale(shop: ShopWorld, count: int) -> list[AccessChange]:
    """Sell so many subscriptions and return their credentials."""
    for _ in range(count):
        await shop.grant(await shop.customer())
    members = await access_log.bucket_members(shop.db, range(BUCKETS), 1000)
    return [AccessChange(one.name, one.uuid, one.version, one.active) for one in members]


async def test_a_stranger_is_removed_by_the_second_comparison(shop: ShopWorld, node: FakeNode) -> None:
    """The first one only remembers him; what the node lacks is sent at once."""
    sold = await on_sale(shop, 3)
    odd = stranger(1)
    node.held[odd.name] = odd

    first = await compare(shop.db, node, "berlin")
    assert (first.sent, first.removed, first.suspects) == (3, 0, 1)
    assert node.held[odd.name].active

    second = await compare(shop.db, node, "berlin")
    assert (second.sent, second.removed, second.suspects) == (0, 1, 0)
    assert not node.held[odd.name].active
    assert {one.name for one in node.held.values() if one.active} == {one.name for one in sold}


async def test_many_strangers_are_left_alone(shop: ShopWorld, node: FakeNode) -> None:
    """With a foreign or an empty database every customer would be a stranger: however often, none is removed."""
    node.held = {one.name: one for one in map(stranger, range(30))}

    for _ in range(3):
        result = await compare(shop.db, node, "berlin")
        assert result.removed == 0
        assert result.suspects == 30

    assert all(one.active for one in node.held.values())


async def test_a_node_that_cannot_be_asked_is_not_empty(shop: ShopWorld, node: FakeNode) -> None:
    """No answer is an error and no list: nothing is sent, removed or noted because of it."""
    await on_sale(shop, 1)
    node.away = True

    with pytest.raises(NodeUnavailable):
        await compare(shop.db, node, "berlin")

    assert node.pushed == []
    assert await shop.db.fetchval("test", "select suspects = '{}'::jsonb from nodes")


async def test_what_is_sold_during_a_comparison_is_no_stranger(shop: ShopWorld, node: FakeNode) -> None:
    """A credential stands in the database before any node has it, and the node is read before the shop."""
    (sold,) = await on_sale(shop, 1)
    node.held[sold.name] = sold

    for _ in range(2):
        result = await compare(shop.db, node, "berlin")
        assert (result.removed, result.suspects) == (0, 0)

    assert node.held[sold.name].active
