"""A block: access off everywhere at once, payments that count all the same, and what is left when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
from money_world import books_agree
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.database import Row
from vpnd.shop.blocking import Blocked, Unblocked, block, unblock
from vpnd.shop.customers import Customer
from vpnd.shop.erasure import erase
from vpnd.shop.subscriptions import expire_due, grant

pytestmark = pytest.mark.postgres


async def shut(shop: ShopWorld, customer: Customer) -> Blocked:
    """Block him."""
    return await shop.do(lambda tx: block(tx, customer.id))


async def let_in(shop: ShopWorld, customer: Customer) -> Unblocked:
    """Unblock him."""
    return await shop.do(lambda tx: unblock(tx, customer.id))


async def access(shop: ShopWorld) -> Sequence[Row]:
    """All subscriptions as nodes see them, with the log rows that name each."""
    return await shop.db.fetch(
        "test",
        "select s.status, s.version, s.expires_at, s.starts_at, s.activated_at, s.credential, s.remind_at, s.renews,"
        " (select count(*) from access_log l where l.subscription_id = s.id) as logged from subscriptions s order by s.id",
    )


async def test_a_block_is_a_change_of_access(shop: ShopWorld) -> None:
    """Each subscription that is on goes off with a higher version and a log row; what is off stays as it is; once."""
    one = await shop.customer()
    await shop.grant(one)
    await shop.grant(one, plan="plus")
    await shop.execute("update subscriptions set expires_at = vpnd_now() where plan_id = 'plus'")
    await expire_due(shop.db, 10)
    other = await shop.customer()
    await shop.grant(other)
    before = await access(shop)

    done = await shut(shop, one)
    again = await shut(shop, one)

    after = await access(shop)
    assert done == Blocked(1, 0, changed=True)
    assert again == Blocked(0, 0, changed=False)
    assert [row["status"] for row in after] == ["expired", "expired", "active"]
    assert [a["version"] - b["version"] for a, b in zip(after, before, strict=True)] == [1, 0, 0]
    assert [a["logged"] - b["logged"] for a, b in zip(after, before, strict=True)] == [1, 0, 0]
    assert after[0]["expires_at"] == before[0]["expires_at"]
    assert [row["remind_at"] is None for row in after] == [True, True, False]


async def test_what_is_left_comes_back(shop: ShopWorld) -> None:
    """The same credential is on again, as a new term that nodes have to acknowledge; what ran out meanwhile is not."""
    one = await shop.customer()
    await shop.grant(one)
    await shop.grant(one, plan="plus", days=3)
    before = await access(shop)
    await shut(shop, one)
    await shop.advance(timedelta(days=5))

    done = await let_in(shop, one)

    after = await access(shop)
    assert done == Unblocked(1, changed=True)
    assert [row["status"] for row in after] == ["active", "expired"]
    assert after[0]["credential"] == before[0]["credential"]
    assert after[0]["version"] == before[0]["version"] + 2
    assert after[0]["logged"] == before[0]["logged"] + 2
    assert after[0]["activated_at"] is None
    assert after[0]["remind_at"] is not None
    assert await let_in(shop, one) == Unblocked(0, changed=False)


async def test_a_late_payment_counts_and_opens_nothing(shop: ShopWorld) -> None:
    """Paid while he is blocked: the charge is settled and the time noted, the access stays off until the block ends."""
    one = await shop.customer()
    first = await shop.buy(one)
    await shop.settle(shop.charge(first))
    second = await shop.buy(one)
    fresh = await shop.buy(one, plan="plus")
    await shut(shop, one)
    assert (await shop.again(second)).status == "cancelled"

    await shop.settle(shop.charge(second))
    await shop.settle(shop.charge(fresh))

    rows = await access(shop)
    assert [row["status"] for row in rows] == ["expired", "expired"]
    assert rows[0]["expires_at"] - rows[0]["starts_at"] >= timedelta(days=59)
    await books_agree(shop)
    assert (await let_in(shop, one)).back == 2
    rows = await access(shop)
    assert [row["status"] for row in rows] == ["active", "active"]


async def test_days_given_to_somebody_blocked_wait(shop: ShopWorld) -> None:
    """A gift counts, too: whoever writes, the database keeps the access off."""
    one = await shop.customer()
    await shut(shop, one)

    given = await shop.grant(one)

    assert given.subscription.status == "expired"
    assert (await let_in(shop, one)).back == 1


async def test_a_grant_that_waits_for_a_block_finds_it(shop: ShopWorld) -> None:
    """A block and a grant for what is off at the same moment: whoever comes second, nothing is on."""
    one = await shop.customer()
    mine = (await shop.grant(one)).subscription
    await shop.execute("update subscriptions set expires_at = vpnd_now(), starts_at = vpnd_now()")
    await expire_due(shop.db, 10)

    async with trio.open_nursery() as nursery:
        granting = await hold(
            nursery,
            shop.db,
            lambda tx: grant(
                tx, customer_id=one.id, plan_id="basic", days=30, subscription_id=mine.id, kind="gift"
            ),
        )
        nursery.start_soon(shut, shop, one)
        await wait_for_lock(shop.db)
        await granting.commit()

    (row,) = await access(shop)
    assert row["status"] == "expired"


async def test_what_was_about_to_be_sent_is_withdrawn(shop: ShopWorld) -> None:
    """Notices are dropped, receipts are not: they tell of money."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.execute(
        "insert into outbox (kind, key, order_key, payload) values ('message', 'reminder:1', $1, '{}')",
        f"chat:{one.telegram_id}",
    )

    await shut(shop, one)

    rows = await shop.db.fetch("test", "select key, status from outbox order by key")
    assert [(row["key"].split(":")[0], row["status"]) for row in rows] == [
        ("receipt", "ready"),
        ("reminder", "dropped"),
    ]


async def test_deleting_ones_data_ends_no_block(shop: ShopWorld) -> None:
    """Whoever is blocked and has his data deleted is still blocked when he comes back, and gets nothing by it."""
    one = await shop.customer()
    await shop.grant(one)
    await shut(shop, one)
    await shop.do(lambda tx: erase(tx, customer_id=one.id, request_key="update:1", language="en"))

    back = await shop.customer(one.telegram_id)

    assert back.blocked_at is not None
    assert (await let_in(shop, one)).back == 0
