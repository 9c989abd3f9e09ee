"""Subscriptions: who has access until when, and who wins when an expiry meets a renewal."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.database.errors import UniqueViolation
from vpnd.shop import notices
from vpnd.shop.subscriptions import (
    SubscriptionNotFound,
    due_subscriptions,
    expire_due,
    grant,
    subscription_by_id,
    subscription_by_token,
)


async def log_rows(shop: ShopWorld, subscription_id: int) -> int:
    return await shop.db.fetchval(
        "test", "select count(*) from access_log where subscription_id = $1", subscription_id
    )


async def test_a_first_grant_makes_a_credential(shop: ShopWorld) -> None:
    """Credential, opaque name and link exist in the database before any node hears of it; one log row."""
    one = await shop.customer()
    given = await shop.grant(one)
    made = given.subscription

    assert not given.renewed
    assert given.access_changed
    assert (made.status, made.version) == ("active", 1)
    assert made.expires_at - made.starts_at == timedelta(days=30)
    assert await log_rows(shop, made.id) == 1
    assert await subscription_by_token(shop.db, made.link_token) == made
    assert await subscription_by_id(shop.db, made.id) == made
    assert await subscription_by_token(shop.db, "x") is None


async def test_a_renewal_adds_to_the_end_and_changes_no_access(shop: ShopWorld) -> None:
    """The end moves by the days; what is on stays on, with nothing to tell a node."""
    one = await shop.customer()
    first = (await shop.grant(one)).subscription
    given = await shop.grant(one, 90)

    assert given.renewed
    assert not given.access_changed
    assert given.from_at == first.expires_at
    assert given.subscription.expires_at == first.expires_at + timedelta(days=90)
    assert given.subscription.credential == first.credential
    assert given.subscription.version == first.version
    assert await log_rows(shop, first.id) == 1


async def test_another_plan_is_another_subscription(shop: ShopWorld) -> None:
    """Without a subscription named, the one of the same plan is renewed, else a new one made."""
    one = await shop.customer()
    basic = (await shop.grant(one)).subscription
    plus = (await shop.grant(one, plan="plus")).subscription

    assert basic.id != plus.id
    assert {s.id for s in await shop.subscriptions(one)} == {basic.id, plus.id}


async def test_an_old_credential_works_again_after_a_late_renewal(shop: ShopWorld) -> None:
    """A renewal after the expiry counts from now, and switches the same credential on with a newer version."""
    one = await shop.customer()
    first = (await shop.grant(one)).subscription
    await shop.advance(timedelta(days=40))
    assert await expire_due(shop.db, 10) == 1

    given = await shop.grant(one)

    assert given.access_changed
    assert given.subscription.credential == first.credential
    assert given.subscription.link_token == first.link_token
    assert given.subscription.version == 3
    assert given.subscription.expires_at - given.from_at == timedelta(days=30)
    assert given.from_at > first.expires_at
    assert await log_rows(shop, first.id) == 3


async def test_an_expiry_switches_off_logs_and_tells_once(shop: ShopWorld) -> None:
    """One statement: status, version, log row and one notice for the period, which is in time for three days."""
    one = await shop.customer()
    first = (await shop.grant(one)).subscription
    await shop.advance(timedelta(days=31))
    assert [key for _, key in await due_subscriptions(shop.db, 10)] == [first.id]

    assert await expire_due(shop.db, 10) == 1
    assert await expire_due(shop.db, 10) == 0

    (now,) = await shop.subscriptions(one)
    assert (now.status, now.version) == ("expired", 2)
    assert await log_rows(shop, first.id) == 2
    (row,) = await shop.outbox("expired:")
    assert row["key"] == f"expired:{first.id}:2"
    assert row["order_key"] == notices.order_key(one.telegram_id)
    args = row["payload"]["args"]
    expected = notices.message_payload(one.telegram_id, "expired", args, "en")
    assert row["payload"] == expected
    assert set(args) == {"subscription_id", "plan_id", "expires_at"}
    assert datetime.fromisoformat(args["expires_at"]) == first.expires_at


async def test_a_renewal_withdraws_the_news_of_the_expiry(shop: ShopWorld) -> None:
    """An expiry notice that nobody took up is dropped by the renewal that makes it untrue."""
    one = await shop.customer()
    await shop.grant(one)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)

    await shop.grant(one)

    assert [row["status"] for row in await shop.outbox("expired:")] == ["dropped"]


async def test_who_cannot_be_reached_is_switched_off_without_a_notice(shop: ShopWorld) -> None:
    """Access ends all the same; a message nobody gets is not queued."""
    one = await shop.customer()
    await shop.grant(one)
    await shop.execute("update customers set reachable = false")
    await shop.advance(timedelta(days=31))

    assert await expire_due(shop.db, 10) == 1
    assert await shop.outbox("expired:") == []


async def test_the_sweep_is_bounded_and_can_be_narrowed(shop: ShopWorld) -> None:
    """At most `limit` rows a statement, the longest overdue first; `keys` takes only these."""
    subs = [(await shop.grant(await shop.customer(), days)).subscription.id for days in (3, 2, 1)]
    await shop.advance(timedelta(days=4))

    assert await expire_due(shop.db, 5, keys=[subs[0]]) == 1
    assert await expire_due(shop.db, 1) == 1
    assert [key for _, key in await due_subscriptions(shop.db, 5)] == [subs[1]]


async def test_a_renewal_that_locks_first_beats_the_expiry(shop: ShopWorld) -> None:
    """The sweep passes over a row that a renewal holds, and finds it no longer due afterwards."""
    one = await shop.customer()
    first = (await shop.grant(one)).subscription
    await shop.advance(timedelta(days=31))

    async with trio.open_nursery() as nursery:
        renewal = await hold(
            nursery, shop.db, lambda tx: grant(tx, customer_id=one.id, plan_id="basic", days=30)
        )
        assert await expire_due(shop.db, 10) == 0
        await renewal.commit()
    assert await expire_due(shop.db, 10) == 0

    (now,) = await shop.subscriptions(one)
    assert (now.status, now.version) == ("active", first.version)
    assert await log_rows(shop, first.id) == 1
    assert await shop.outbox("expired:") == []


async def test_an_expiry_that_locks_first_is_undone_by_the_renewal(shop: ShopWorld) -> None:
    """The renewal waits for the sweep, sees "expired", and switches on again with a newer version."""
    one = await shop.customer()
    await shop.grant(one)
    await shop.advance(timedelta(days=31))

    async with trio.open_nursery() as nursery:
        sweep = await hold(nursery, shop.db, lambda tx: expire_due(tx, 10))
        nursery.start_soon(shop.grant, one)
        await wait_for_lock(shop.db)
        await sweep.commit()

    (now,) = await shop.subscriptions(one)
    assert (now.status, now.version) == ("active", 3)
    assert await log_rows(shop, now.id) == 3


async def test_two_first_payments_at_once_make_one_subscription(shop: ShopWorld) -> None:
    """The second waits on the customer's row and then renews what the first has made."""
    one = await shop.customer()

    async with trio.open_nursery() as nursery:
        first = await hold(
            nursery, shop.db, lambda tx: grant(tx, customer_id=one.id, plan_id="basic", days=30)
        )
        nursery.start_soon(shop.grant, one)
        await wait_for_lock(shop.db)
        await first.commit()

    (only,) = await shop.subscriptions(one)
    assert only.expires_at - only.starts_at == timedelta(days=60)


async def test_a_purchase_grants_once(shop: ShopWorld) -> None:
    """A second grant for one purchase is refused by the database itself; somebody else's subscription by us."""
    one, other = await shop.customer(), await shop.customer()
    bought = await shop.buy(one)
    await shop.do(lambda tx: grant(tx, customer_id=one.id, plan_id="basic", days=1, purchase_id=bought.id))

    with pytest.raises(UniqueViolation):
        await shop.do(
            lambda tx: grant(tx, customer_id=one.id, plan_id="basic", days=1, purchase_id=bought.id)
        )
    (mine,) = await shop.subscriptions(one)
    with pytest.raises(SubscriptionNotFound):
        await shop.do(
            lambda tx: grant(tx, customer_id=other.id, plan_id="basic", days=1, subscription_id=mine.id)
        )
