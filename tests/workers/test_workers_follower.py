"""The follower of a node: whatever is lost, killed, wiped or restored, node and shop end up equal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from node_world import INBOUND, FakeNode, fake_node, newer, shop_holds, stranger, time_passes, until
from shop_world import ShopWorld

from vpnd.runtime import metrics
from vpnd.runtime.journal import Entry, capture
from vpnd.shop import access_log, node_stops
from vpnd.shop.nodes import known_nodes
from vpnd.shop.subscriptions import Subscription, expire_due
from vpnd.workers import node_compare, node_follower, node_hands
from vpnd.workers.node_follower import NodeFollower


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greetings and retries follow each other quickly."""
    monkeypatch.setattr(node_follower, "GREET_EVERY", 0.05)
    monkeypatch.setattr(node_follower, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(node_follower, "RETRY_CAP", 0.01)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    """A node with an empty disk."""
    async with fake_node(tmp_path / "node") as running:
        yield running


@asynccontextmanager
async def following(shop: ShopWorld, node: FakeNode) -> AsyncIterator[NodeFollower]:
    """A follower at work."""
    follower = NodeFollower(shop.db, node.client)
    async with trio.open_nursery() as nursery:
        await nursery.start(follower.run)
        yield follower
        nursery.cancel_scope.cancel()


async def sell(shop: ShopWorld, follower: NodeFollower | None = None) -> Subscription:
    """Sell a subscription, number it, and wake the follower, as a commit does."""
    granted = await shop.grant(await shop.customer())
    await number(shop, follower)
    return granted.subscription


async def number(shop: ShopWorld, follower: NodeFollower | None = None) -> None:
    """What the numberer does after a commit."""
    await access_log.number(shop.db)
    if follower is not None:
        follower.wake()


async def equal(shop: ShopWorld, node: FakeNode) -> bool:
    """Whether the node holds exactly what the shop says."""
    return await node.held() == await shop_holds(shop.db)


async def acknowledged(shop: ShopWorld) -> bool:
    """Whether the shop knows that its one node is at the end of the log."""
    mark, head = await access_log.watermark(shop.db, "oslo"), await access_log.head(shop.db)
    return (mark.epoch, mark.seq) == (head.epoch, head.last_seq)


async def in_step(shop: ShopWorld, node: FakeNode) -> bool:
    """Whether both are equal, and the shop knows."""
    return await equal(shop, node) and await acknowledged(shop)


def reasons(lines: list[Entry]) -> list[object]:
    """Why comparisons were made, in order."""
    return [line.fields["reason"] for line in lines if line.event == "node.compared"]


async def test_changes_are_followed_as_they_come(shop: ShopWorld, node: FakeNode) -> None:
    """Sold is on and expired is off; the first acknowledgement activates, and no comparison is made on the way."""
    with capture() as lines:
        async with following(shop, node) as follower:
            mine = await sell(shop, follower)
            await until(lambda: in_step(shop, node))
            await shop.advance(timedelta(days=31))
            await expire_due(shop.db, 10)
            await number(shop, follower)
            await until(lambda: in_step(shop, node))
            assert await node.active() == set()
            other = await sell(shop, follower)
            await until(lambda: in_step(shop, node))
            assert await node.active() == {other.name}

    activated = await shop.db.fetchval(
        "test", "select activated_at from subscriptions where id = $1", mine.id
    )
    assert activated is not None
    assert len(reasons(lines)) <= 2  # of a node that nobody has told anything yet
    assert metrics.node_lag_rows.labels("oslo")._value.get() == 0
    (known,) = await known_nodes(shop.db)
    assert [door["tag"] for door in known.inbounds] == [INBOUND.tag]


async def test_a_long_log_comes_in_pages(
    shop: ShopWorld, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call carries more than a page, and all arrive."""
    head = await access_log.head(shop.db)
    await node.holds(head.epoch, 0, [])
    monkeypatch.setattr(node_follower, "PAGE", 2)
    monkeypatch.setattr(node_follower, "GREET_EVERY", 3600.0)  # a greeting from the place 0 would be compared
    async with following(shop, node) as follower:
        await until(lambda: acknowledged(shop))
        before = node.count("/v1/changes")
        for _ in range(5):
            await shop.grant(await shop.customer())
        await number(shop, follower)
        await until(lambda: in_step(shop, node))

    assert node.count("/v1/changes") - before == 3


async def test_a_lost_answer_is_made_good_by_the_greeting(shop: ShopWorld, node: FakeNode) -> None:
    """The node did it and said so to nobody: it is asked where it stands, and nothing is sent twice."""
    async with following(shop, node) as follower:
        await sell(shop, follower)
        await until(lambda: in_step(shop, node))
        node.fail("/v1/changes", "lost")
        pushes = node.count("/v1/changes")
        mine = await sell(shop, follower)
        await until(lambda: in_step(shop, node))

    assert node.count("/v1/changes") == pushes + 1
    assert await shop.db.fetchval("test", "select activated_at from subscriptions where id = $1", mine.id)


async def test_a_daemon_that_was_killed_before_it_noted_the_acknowledgement(
    shop: ShopWorld, node: FakeNode
) -> None:
    """The next one learns it by its greeting, activates, and sends nothing."""
    mine = await sell(shop)
    head = await access_log.head(shop.db)
    await node.holds(head.epoch, head.last_seq, (await shop_holds(shop.db)).values())
    pushes = node.count("/v1/changes")

    with capture() as lines:
        async with following(shop, node):
            await until(lambda: acknowledged(shop))
            await until(lambda: _asked(node, "/v1/status", 2))

    assert node.count("/v1/changes") == pushes
    assert reasons(lines) == []
    assert await shop.db.fetchval("test", "select activated_at from subscriptions where id = $1", mine.id)


async def test_a_wiped_node_is_filled_again(shop: ShopWorld, node: FakeNode) -> None:
    """A node that lost its disk says that it has no place in the log, and gets everything."""
    with capture() as lines:
        async with following(shop, node) as follower:
            for _ in range(3):
                await sell(shop, follower)
            await until(lambda: in_step(shop, node))
            await node.wipe()
            await until(lambda: equal(shop, node))

    assert len(await node.active()) == 3
    assert reasons(lines)[-1] == "epoch"


async def test_a_wiped_node_is_seen_by_a_push_too(
    shop: ShopWorld, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that refuses a push because of its epoch is compared at once, whatever it greeted with."""
    monkeypatch.setattr(node_follower, "GREET_EVERY", 3600.0)
    async with following(shop, node) as follower:
        await sell(shop, follower)
        await until(lambda: in_step(shop, node))
        await node.wipe()
        await sell(shop, follower)
        await until(lambda: in_step(shop, node))

    assert len(await node.active()) == 2


async def test_an_unknown_epoch_is_compared(shop: ShopWorld, node: FakeNode) -> None:
    """After a new epoch nobody's place is believed: the node is compared and follows the new one."""
    with capture() as lines:
        async with following(shop, node) as follower:
            await sell(shop, follower)
            await until(lambda: in_step(shop, node))
            fresh = await access_log.new_epoch(shop.db)
            await until(lambda: in_step(shop, node))
            await sell(shop, follower)
            await until(lambda: in_step(shop, node))

    assert (await node.state.watermark()).epoch == fresh
    assert reasons(lines)[-1] == "epoch"


async def test_a_node_ahead_of_the_log_means_a_restore(shop: ShopWorld, node: FakeNode) -> None:
    """It has seen numbers that this database never gave: a new epoch begins, once, and it is compared."""
    old = await access_log.head(shop.db)
    await sell(shop)
    await node.holds(old.epoch, 1000, [])
    with capture() as lines:
        async with following(shop, node):
            await until(lambda: in_step(shop, node))

    head = await access_log.head(shop.db)
    assert head.epoch != old.epoch
    assert [line.event for line in lines if line.level == "error"] == ["node.ahead", "node.stopped"]
    assert reasons(lines) == ["ahead"]


async def test_two_who_notice_a_restore_begin_one_epoch(shop: ShopWorld) -> None:
    """The second finds the first's, and does not send its node to be compared again."""
    old = (await access_log.head(shop.db)).epoch

    first = await access_log.new_epoch(shop.db, instead_of=old)
    second = await access_log.new_epoch(shop.db, instead_of=old)

    assert first == second != old


async def test_the_shop_outruns_a_node_that_knows_more(shop: ShopWorld, node: FakeNode) -> None:
    """After a restore the node may hold later versions: the database decides, and its version becomes the newer one."""
    mine = await sell(shop)
    head = await access_log.head(shop.db)
    (ours,) = (await shop_holds(shop.db)).values()
    await node.holds(head.epoch, 1000, [newer(ours, 7, active=False)])

    async with following(shop, node) as follower:
        await until(lambda: acknowledged(shop))
        await number(shop, follower)
        await until(lambda: in_step(shop, node))

    (held,) = (await node.held()).values()
    assert held.active
    assert held.version == ours.version + 8
    assert held.name == mine.name


async def test_a_stranger_is_removed_at_second_sight_only(shop: ShopWorld, node: FakeNode) -> None:
    """What the shop does not know stays on at first sight and at one too soon after; later it is turned off."""
    await sell(shop)
    head = await access_log.head(shop.db)
    await node.holds(head.epoch, 0, [stranger("x1")])
    compare = node_compare.compare

    first = await compare(shop.db, node.client, removals=9)
    assert (first.suspects, first.removed) == (1, 0)
    await until(lambda: _greeted(shop, node))
    await compare(shop.db, node.client, removals=9)
    soon = await compare(shop.db, node.client, removals=9)
    assert (soon.suspects, soon.removed) == (1, 0)
    assert "x1" in await node.active()

    await time_passes(shop)
    late = await compare(shop.db, node.client, removals=9)

    assert (late.suspects, late.removed) == (0, 1)
    assert "x1" not in await node.active()
    assert (await compare(shop.db, node.client, removals=9)).suspects == 0


async def test_too_many_strangers_are_no_strangers(shop: ShopWorld, node: FakeNode) -> None:
    """A database that knows none of a node's customers is the wrong one: nobody is turned off, and it is told once."""
    crowd = [stranger(f"x{number}") for number in range(node_stops.FEW + 1)]
    await sell(shop)
    await node.holds("elsewhere", 5, crowd)
    await until(lambda: _greeted(shop, node))
    with capture() as lines:
        for _ in range(3):
            result = await node_compare.compare(shop.db, node.client, adopt=True, removals=100)
            await time_passes(shop)

    assert result.stop is not None
    assert (result.stop.reason, result.removed) == ("strangers", 0)
    assert len(await node.active()) == len(crowd) + 1
    assert [line.event for line in lines if line.level == "error"] == ["node.stopped"]


async def test_no_answer_concludes_nothing(shop: ShopWorld, node: FakeNode) -> None:
    """A node that cannot be asked is neither changed nor noted, however often that happens."""
    await sell(shop)
    head = await access_log.head(shop.db)
    await node.holds(head.epoch, 0, [stranger("x1")])
    await until(lambda: _greeted(shop, node))
    before = await node.held()
    for path in ("/v1/buckets", "/v1/bucket", "/v1/changes"):
        for _ in range(2):
            node.fail(path, "away")
            with pytest.raises(node_follower.NodeError):
                await node_compare.compare(shop.db, node.client, removals=9, adopt=True)

    assert await node.held() == before
    assert await shop.db.fetchval("test", "select suspects::text from nodes where name = 'oslo'") == "{}"


async def test_a_comparison_that_broke_off_is_done_again(
    shop: ShopWorld, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was left in the midst of one is not simply followed: strangers on it would stay for ever."""
    monkeypatch.setattr(node_hands, "SEND_BATCH", 1)
    for _ in range(3):
        await sell(shop)
    await node.holds("elsewhere", 5, [stranger("x1")])
    push = node.client.push

    async def broken(epoch: str, seq: int, *rest: object, **others: object) -> object:
        if seq:
            monkeypatch.setattr(node.client, "push", push)
            raise node_follower.NodeError("oslo", "the power went off")
        return await push(epoch, seq, *rest, **others)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(node.client, "push", broken)
    with capture() as lines:
        async with following(shop, node):
            await until(lambda: acknowledged(shop))

    assert reasons(lines) == ["unfinished"]
    assert await shop.db.fetchval("test", "select suspects ? 'x1' from nodes where name = 'oslo'")


async def test_a_node_that_greets_and_takes_nothing_is_told_once(shop: ShopWorld, node: FakeNode) -> None:
    """An answer to a greeting is no recovery: one line when it begins, one when it ends, and the lag grows meanwhile."""
    async with following(shop, node) as follower:
        await sell(shop, follower)
        await until(lambda: in_step(shop, node))
        with capture() as lines:
            node.fail("/v1/changes", *["away"] * 8)
            await sell(shop, follower)
            await until(lambda: _true(follower.away))
            await until(lambda: _true(metrics.node_lag_rows.labels("oslo")._value.get() == 1))
            await until(lambda: in_step(shop, node))
            await until(lambda: _true(not follower.away))

    assert [line.event for line in lines if line.event.startswith("node.")] == [
        "node.unreachable",
        "node.back",
    ]
    assert metrics.node_lag_rows.labels("oslo")._value.get() == 0


async def test_a_busy_log_does_not_keep_from_greeting(shop: ShopWorld, node: FakeNode) -> None:
    """A node is asked how it is while changes come without a pause."""
    async with following(shop, node) as follower:
        await until(lambda: acknowledged(shop))
        greetings = node.count("/v1/status")

        async def busy() -> None:
            while True:
                follower.wake()
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            await until(lambda: _asked(node, "/v1/status", greetings + 2))
            nursery.cancel_scope.cancel()


async def test_a_cancelled_follower_leaves_at_once(shop: ShopWorld, node: FakeNode) -> None:
    """Also while it waits for a node that does not answer."""
    node.fail("/v1/status", *["away"] * 100_000)
    with trio.fail_after(5):
        async with following(shop, node) as follower:
            await until(lambda: _true(follower.away))


async def _true(value: bool) -> bool:
    return value


async def _asked(node: FakeNode, path: str, times: int) -> bool:
    return node.count(path) >= times


async def _greeted(shop: ShopWorld, node: FakeNode) -> bool:
    follower = NodeFollower(shop.db, node.client)
    await follower._greet()
    return True
