"""The log that nodes follow: nothing is lost, whoever commits late, and nobody is delayed by a stranger."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.runtime.digest import BUCKETS, bucket_of, member_value
from vpnd.shop import access_log
from vpnd.shop.access_log import Acknowledged, Page, Unknown, Watermark
from vpnd.shop.subscriptions import expire_due, grant


class Follower:
    """A node's view: it applies pages and remembers its place."""

    def __init__(self, shop: ShopWorld, epoch: str) -> None:
        self.shop, self.epoch, self.seq = shop, epoch, 0
        self.holds: dict[str, tuple[int, bool]] = {}

    async def follow(self, limit: int = 100) -> Page:
        page = await access_log.changes_after(self.shop.db, self.epoch, self.seq, limit)
        assert isinstance(page, Page)
        for change in page.changes:
            if change.version > self.holds.get(change.name, (0, False))[0]:
                self.holds[change.name] = (change.version, change.active)
        self.seq = page.last_seq
        return page


async def follower(shop: ShopWorld) -> Follower:
    return Follower(shop, (await access_log.head(shop.db)).epoch)


async def truth(shop: ShopWorld) -> dict[str, tuple[int, bool]]:
    rows = await shop.db.fetch("test", "select name, version, status from subscriptions")
    return {row["name"]: (row["version"], row["status"] == "active") for row in rows}


async def test_a_follower_gets_present_states_in_pages(shop: ShopWorld) -> None:
    """A credential that changed often comes once a page, as it is now; pages end where the next begins."""
    one = await shop.customer()
    await shop.grant(one)
    for _ in range(2):
        await shop.advance(timedelta(days=31))
        await expire_due(shop.db, 10)
        await shop.grant(one)
    await shop.grant(await shop.customer())
    node = await follower(shop)
    assert await access_log.number(shop.db) == 6
    assert await access_log.number(shop.db) == 0

    page = await node.follow(limit=4)
    assert (len(page.changes), page.last_seq, page.head_seq, page.complete) == (1, 4, 6, False)
    page = await node.follow(limit=4)
    assert page.complete
    assert node.holds == await truth(shop)
    assert (await node.follow()).changes == ()


async def test_a_late_commit_is_not_lost(shop: ShopWorld) -> None:
    """A row written first and committed last gets a later number, and reaches a follower that had gone on."""
    early, late = await shop.customer(), await shop.customer()
    node = await follower(shop)

    async with trio.open_nursery() as nursery:
        held = await hold(
            nursery, shop.db, lambda tx: grant(tx, customer_id=early.id, plan_id="basic", days=30)
        )
        await shop.grant(late)
        await access_log.number(shop.db)
        await node.follow()
        assert len(node.holds) == 1
        await held.commit()
    assert await access_log.number(shop.db) == 1
    await node.follow()

    assert node.holds == await truth(shop)
    assert node.seq == 2
    (mine,) = await shop.subscriptions(early)
    assert (
        await shop.db.fetchval("test", "select seq from access_log where subscription_id = $1", mine.id) == 2
    )


async def test_a_strangers_open_transaction_delays_nobody(shop: ShopWorld) -> None:
    """While another session sits in a writing transaction, a paid customer is numbered and followed at once."""
    node = await follower(shop)
    async with trio.open_nursery() as nursery:
        stranger = await hold(
            nursery, shop.db, lambda tx: tx.execute("insert into sandbox_clock (offset_seconds) values (0)")
        )
        await shop.grant(await shop.customer())
        await access_log.number(shop.db)
        await node.follow()
        assert len(node.holds) == 1
        await stranger.commit()


async def test_a_renewal_after_an_expiry_ends_as_on(shop: ShopWorld) -> None:
    """Both log rows may be read in one page or two: the node ends with what the shop says."""
    one = await shop.customer()
    await shop.grant(one)
    node = await follower(shop)
    await shop.advance(timedelta(days=31))
    async with trio.open_nursery() as nursery:
        sweep = await hold(nursery, shop.db, lambda tx: expire_due(tx, 10))
        nursery.start_soon(shop.grant, one)
        await wait_for_lock(shop.db)
        await access_log.number(shop.db)
        await node.follow()
        await sweep.commit()
    await access_log.number(shop.db)
    await node.follow()

    assert list(node.holds.values()) == [(3, True)]


async def test_numberers_at_once_give_each_row_one_number(shop: ShopWorld) -> None:
    """The second waits for the first and numbers what is left, though an older row became visible meanwhile."""
    early = await shop.customer()
    async with trio.open_nursery() as nursery:
        writer = await hold(
            nursery, shop.db, lambda tx: grant(tx, customer_id=early.id, plan_id="basic", days=30)
        )
        for _ in range(2):
            await shop.grant(await shop.customer())
        first = await hold(nursery, shop.db, access_log.number)
        await writer.commit()
        nursery.start_soon(access_log.number, shop.db)
        await wait_for_lock(shop.db)
        await first.commit()

    rows = await shop.db.fetch("test", "select seq from access_log order by id")
    assert [row["seq"] for row in rows] == [3, 1, 2]
    assert (await access_log.head(shop.db)).last_seq == 3


async def test_an_unknown_place_must_be_compared(shop: ShopWorld) -> None:
    """Another epoch, a mark beyond the end, rows that were trimmed: the follower is told and given nothing."""
    await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)

    assert await access_log.changes_after(shop.db, None, 0) == Unknown("epoch", head.epoch, 1)
    assert await access_log.changes_after(shop.db, "other", 0) == Unknown("epoch", head.epoch, 1)
    assert await access_log.changes_after(shop.db, head.epoch, 2) == Unknown("ahead", head.epoch, 1)

    assert await access_log.trim(shop.db, timedelta(0), 10) == 1
    assert await access_log.changes_after(shop.db, head.epoch, 0) == Unknown("trimmed", head.epoch, 1)
    assert isinstance(await access_log.changes_after(shop.db, head.epoch, 1), Page)

    fresh = await access_log.new_epoch(shop.db)
    assert await access_log.changes_after(shop.db, head.epoch, 1) == Unknown("epoch", fresh, 1)


async def test_the_digest_is_that_of_the_agents(shop: ShopWorld) -> None:
    """SQL and Python sum the same credentials to the same 256 buckets; members come in bounded pages."""
    people = [await shop.customer() for _ in range(12)]
    for one in people:
        await shop.grant(one)
    await shop.grant(people[0], plan="plus")
    await shop.execute("update subscriptions set status = 'expired', version = version + 1 where id % 3 = 0")
    expected = [(0, 0)] * BUCKETS
    rows = await shop.db.fetch("test", "select name, credential, version, status from subscriptions")
    for row in rows:
        at = bucket_of(row["name"])
        value = member_value(row["name"], str(row["credential"]), row["version"], row["status"] == "active")
        expected[at] = (expected[at][0] + 1, expected[at][1] + value)

    assert await access_log.buckets(shop.db) == expected

    everything = range(BUCKETS)
    first = await access_log.bucket_members(shop.db, everything, 8)
    rest = await access_log.bucket_members(shop.db, everything, 8, after=first[-1].name)
    assert sorted(one.name for one in first + rest) == sorted(row["name"] for row in rows)
    assert all(UUID(one.uuid) for one in first)
    only = await access_log.bucket_members(shop.db, [bucket_of(first[0].name)], 8)
    assert first[0] in only


async def test_an_acknowledgement_activates_once_and_only_raises(shop: ShopWorld) -> None:
    """The first node to hold a term activates it; a lower mark, a repeat or a second node changes nothing."""
    one = await shop.customer()
    mine = (await shop.grant(one)).subscription
    await access_log.number(shop.db)
    epoch = (await access_log.head(shop.db)).epoch

    done = await access_log.record_ack(shop.db, "a", epoch, 1)
    assert isinstance(done, Acknowledged)
    assert [found.subscription_id for found in done.activated] == [mine.id]
    assert (await shop.subscriptions(one))[0].activated_at is not None
    assert await access_log.record_ack(shop.db, "a", epoch, 1) == Acknowledged(1, [])
    assert await access_log.record_ack(shop.db, "a", epoch, 0) == Acknowledged(1, [])
    assert await access_log.record_ack(shop.db, "b", epoch, 1) == Acknowledged(1, [])
    assert await access_log.watermark(shop.db, "a") == Watermark(epoch, 1)
    assert await access_log.watermark(shop.db, "never") == Watermark(None, 0)


async def test_an_acknowledgement_of_an_older_state_activates_nothing(shop: ShopWorld) -> None:
    """What changed again after the mark, numbered or not, waits for the acknowledgement of that change."""
    one = await shop.customer()
    await shop.grant(one)
    await access_log.number(shop.db)
    epoch = (await access_log.head(shop.db)).epoch
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    await shop.grant(one)

    assert await access_log.record_ack(shop.db, "a", epoch, 1) == Acknowledged(1, [])
    await access_log.number(shop.db)
    assert await access_log.record_ack(shop.db, "a", epoch, 2) == Acknowledged(2, [])
    done = await access_log.record_ack(shop.db, "a", epoch, 3)
    assert isinstance(done, Acknowledged)
    assert len(done.activated) == 1


async def test_a_long_acknowledgement_is_noted_piece_by_piece(shop: ShopWorld) -> None:
    """One transaction notes so many rows of the log and no more, wherever the log begins; the last piece ends at the mark."""
    mine = [(await shop.grant(await shop.customer())).subscription.id for _ in range(5)]
    await access_log.number(shop.db)
    epoch = (await access_log.head(shop.db)).epoch
    await access_log.record_ack(shop.db, "other", epoch, 1)
    await shop.db.write("test.trim", "delete from access_log where seq = 1")

    marks, activated = [], []
    while not marks or marks[-1] < 5:
        done = await access_log.record_ack(shop.db, "a", epoch, 5, limit=2)
        assert isinstance(done, Acknowledged)
        assert len(done.activated) <= 2
        marks.append(done.seq)
        activated += [one.subscription_id for one in done.activated]

    assert marks == [3, 5]
    assert sorted(activated) == mine[1:]
    assert await access_log.watermark(shop.db, "a") == Watermark(epoch, 5)


async def test_an_acknowledgement_from_nowhere_is_not_noted(shop: ShopWorld) -> None:
    """An epoch or a mark that is not the log's leaves the node's watermark as it was."""
    epoch = (await access_log.head(shop.db)).epoch

    assert await access_log.record_ack(shop.db, "a", "other", 0) == Unknown("epoch", epoch, 0)
    assert await access_log.record_ack(shop.db, "a", epoch, 1) == Unknown("ahead", epoch, 0)
    assert await access_log.watermark(shop.db, "a") == Watermark(None, 0)


async def test_trimming_keeps_what_a_node_has_not_acknowledged(shop: ShopWorld) -> None:
    """The slowest node's mark bounds it, and age does."""
    for _ in range(2):
        await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    epoch = (await access_log.head(shop.db)).epoch
    await access_log.record_ack(shop.db, "fast", epoch, 2)
    await access_log.record_ack(shop.db, "slow", epoch, 1)

    assert await access_log.trim(shop.db, timedelta(days=1), 10) == 0
    assert await access_log.trim(shop.db, timedelta(0), 10) == 1
    assert (await access_log.head(shop.db)).first_seq == 2
