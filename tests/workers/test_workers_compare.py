"""Comparison as a property: whatever shop and node hold, they end up equal, and nobody is turned off at first sight."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

import pytest
import trio
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_world import FakeNode, fake_node, shop_holds, stranger, time_passes
from shop_world import ShopWorld

from vpnd.nodes.model import AccessChange, Bucket, NodeBuckets, digest
from vpnd.shop import access_log, node_stops
from vpnd.workers import node_differences
from vpnd.workers.node_compare import compare
from vpnd.workers.node_differences import groups as _groups


@frozen
class Case:
    """One credential: what the shop says, and what the node holds of it (None: nothing)."""

    version: int
    active: bool
    on_node: tuple[int, bool, Literal["same", "other"]] | None


cases = st.lists(
    st.builds(
        Case,
        version=st.integers(1, 4),
        active=st.booleans(),
        on_node=st.none()
        | st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from(["same", "same", "other"])),
    ),
    max_size=12,
)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    """A node with an empty disk."""
    async with fake_node(tmp_path / "node") as running:
        yield running


async def set_up(
    shop: ShopWorld, node: FakeNode, found: list[Case], strangers: int, *, same_epoch: bool
) -> set[str]:
    """Make shop and node hold these; returns the strangers' names."""
    # Not truncated: a new file for each table and index, and all plans made anew, take longer than the rest of an example.
    for statement in (
        "delete from access_log",
        "delete from grants",
        "delete from node_stops",
        "delete from nodes",
        "delete from subscriptions",
    ):
        await shop.execute(statement)
    await shop.execute("update access_head set last_seq = 0")
    await node.wipe()
    customer = await shop.customer(1)
    held: list[AccessChange] = []
    for number, case in enumerate(found):
        name, credential = f"s{'a' * 14}{chr(ord('a') + number)}", uuid4()
        await shop.execute(
            "with s as (insert into subscriptions"
            " (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, version)"
            " values ($1, 'basic', $2, $3, $2, $4, now(), now() + interval '1 day', $5) returning id)"
            " insert into access_log (subscription_id) select id from s",
            customer.id,
            name,
            credential,
            "active" if case.active else "expired",
            case.version,
        )
        if case.on_node is not None:
            version, active, which = case.on_node
            uuid: UUID = credential if which == "same" else uuid4()
            held.append(AccessChange(name, str(uuid), version, active))
    unknown = [stranger(f"x{number}") for number in range(strangers)]
    epoch = (await access_log.head(shop.db)).epoch if same_epoch else "elsewhere"
    await node.holds(epoch, 0, held + unknown)
    await shop.execute("insert into nodes (name) values ('oslo')")
    return {one.name for one in unknown}


async def follow(shop: ShopWorld, node: FakeNode, epoch: str, seq: int) -> None:
    """Bring the node from a place in the log to its end."""
    while await access_log.number(shop.db):
        pass
    while True:
        page = await access_log.changes_after(shop.db, epoch, seq, 5)
        assert isinstance(page, access_log.Page)
        changes = [AccessChange(c.name, c.uuid, c.version, c.active) for c in page.changes]
        await node.client.push(page.epoch, page.last_seq, changes)
        seq = page.last_seq
        if page.complete:
            return


async def play(
    shop: ShopWorld, node: FakeNode, found: list[Case], strangers: int, same_epoch: bool, numbered: bool
) -> None:
    """Compare once, follow from there, and look."""
    unknown = await set_up(shop, node, found, strangers, same_epoch=same_epoch)
    versions = {name: change.version for name, change in (await shop_holds(shop.db)).items()}
    if numbered:
        await access_log.number(shop.db)
    before = {name: change.active for name, change in (await shop_holds(shop.db)).items()}
    on_there = await node.held()

    result = await compare(shop.db, node.client, adopt=True)
    assert result.removed == 0
    await follow(shop, node, result.epoch, result.seq)

    # Who is on in the shop is on there, and nobody was turned off but by a newer word of the shop, or by the log.
    ours, held = await shop_holds(shop.db), await node.held()
    assert {name: change.active for name, change in ours.items()} == before
    assert {name for name, on in before.items() if on} <= await node.active()
    assert unknown <= await node.active()
    for name, change in on_there.items():
        if numbered and change.active and name in ours and change.version >= versions[name]:
            assert held[name].active

    # A person says that the database is right; then it is, at second sight.
    # (What the log brought since may have left more strangers than customers: then he is asked, too.)
    for _ in range(2):
        await time_passes(shop)
        second = await compare(shop.db, node.client)
        if second.stop is not None:
            await node_stops.accept(shop.db, second.stop, by="test")
    second = await compare(shop.db, node.client, removals=100)
    assert second.stop is None
    await follow(shop, node, result.epoch, result.seq)
    ours, held = await shop_holds(shop.db), await node.held()
    assert {name: held[name] for name in held if name not in unknown} == ours
    assert await node.active() == {name for name, on in before.items() if on}
    again = await compare(shop.db, node.client, removals=100)
    assert again.differences == again.sent + again.raised + again.removed == 0
    assert await node_stops.stop_of(shop.db, "oslo") is None


@pytest.mark.long
async def test_shop_and_node_end_up_equal(shop: ShopWorld, node: FakeNode) -> None:
    """After a comparison and the log from there, all have what they paid for; after the next, node and shop are equal."""

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(cases, st.integers(0, 3), st.booleans(), st.booleans())
    def examples(found: list[Case], strangers: int, same_epoch: bool, numbered: bool) -> None:
        trio.from_thread.run(play, shop, node, found, strangers, same_epoch, numbered)

    await trio.to_thread.run_sync(examples)


@given(sizes=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 9_000)), min_size=256, max_size=256))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.too_slow],
)
def test_no_listing_is_larger_than_memory_likes(sizes: list[tuple[int, int]]) -> None:
    """Each bucket that differs is listed once, in groups of bounded size, and no other is."""
    theirs = NodeBuckets(None, 0, tuple(Bucket(count, count) for count, _ in sizes))
    ours = [(count, count) for _, count in sizes]

    groups = _groups(theirs, ours)

    assert [bucket for group in groups for bucket in group] == [
        number for number, (a, b) in enumerate(sizes) if a != b
    ]
    for group in groups:
        total = sum(max(sizes[bucket]) for bucket in group)
        assert total <= node_differences.MAX_LISTED or len(group) == 1


async def test_buckets_that_agree_are_not_listed(shop: ShopWorld, node: FakeNode) -> None:
    """A node that holds everything is told by its sums alone."""
    for _ in range(5):
        await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    ours = list((await shop_holds(shop.db)).values())
    await node.holds("elsewhere", 5, ours)
    assert (await node.client.buckets()).buckets == digest(ours)

    await compare(shop.db, node.client, adopt=True)

    assert node.count("/v1/bucket") == 0
    assert (await node.state.watermark()).seq == 5
