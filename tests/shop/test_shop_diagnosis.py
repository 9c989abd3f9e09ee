"""Why a connection does not work: the causes that the shop can see, in the order of their remedies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from shop_world import ShopWorld

from vpnd.shop import access_log
from vpnd.shop.diagnosis import Cause, Diagnosis, diagnose
from vpnd.shop.rotation import rotate_link
from vpnd.shop.subscriptions import Subscription, expire_due

pytestmark = pytest.mark.postgres


async def node(shop: ShopWorld, name: str, *, silent_for: int = 0) -> None:
    """A node that told its doors and was heard of so many seconds ago."""
    await shop.execute(
        "insert into nodes (name, inbounds, seen_at) values ($1, '[{}]', vpnd_now() - make_interval(secs => $2))",
        name,
        silent_for,
    )


async def acknowledge(shop: ShopWorld, name: str) -> None:
    """Let a node have everything that the log has."""
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)
    silent = await shop.db.fetchval("test", "select seen_at from nodes where name = $1", name)
    await access_log.record_ack(shop.db, name, head.epoch, head.last_seq)
    await shop.execute("update nodes set seen_at = $2 where name = $1", name, silent)


async def look(shop: ShopWorld, mine: Subscription) -> Diagnosis:
    """What the shop sees."""
    found = await diagnose(shop.db, mine.id, mine.customer_id)
    assert found is not None
    return found


async def cause(shop: ShopWorld, mine: Subscription) -> Cause:
    """The first reason."""
    return (await look(shop, mine)).cause


async def test_each_cause_has_its_turn(shop: ShopWorld) -> None:
    """From no server at all to all being right; a new link begins again; and the end comes before everything."""
    mine = (await shop.grant(await shop.customer())).subscription
    assert await cause(shop, mine) == "no_node"
    await node(shop, "a")
    await node(shop, "b", silent_for=121)
    assert await cause(shop, mine) == "starting"
    await acknowledge(shop, "b")
    assert await cause(shop, mine) == "starting", "the one that has it does not answer"
    await acknowledge(shop, "a")
    found = await look(shop, mine)
    assert (found.cause, found.silent, found.acknowledged, found.activated) == (
        "some_silent",
        ("b",),
        2,
        True,
    )
    await shop.execute("update nodes set seen_at = vpnd_now()")
    assert await cause(shop, mine) == "unseen"
    await shop.execute("update nodes set seen_at = null")
    assert await cause(shop, mine) == "all_silent"
    await shop.execute("update nodes set seen_at = vpnd_now()")
    await shop.do(
        lambda tx: rotate_link(
            tx, subscription_id=mine.id, customer_id=mine.customer_id, request_key="update:1"
        )
    )
    assert await cause(shop, mine) == "starting"
    await shop.execute("update subscriptions set status = 'expired'")
    assert await cause(shop, mine) == "off"
    await shop.execute("update subscriptions set status = 'active'")
    await shop.advance(timedelta(days=31))
    assert await cause(shop, mine) == "over"
    await expire_due(shop.db, 10)
    assert await cause(shop, mine) == "over"


async def test_another_epoch_is_no_acknowledgement(shop: ShopWorld) -> None:
    """After a restore a node's mark says nothing until it was compared."""
    mine = (await shop.grant(await shop.customer())).subscription
    await node(shop, "a")
    await acknowledge(shop, "a")
    assert await cause(shop, mine) == "unseen"

    await access_log.new_epoch(shop.db)

    assert await cause(shop, mine) == "starting"


async def test_nobody_looks_at_what_is_not_his(shop: ShopWorld) -> None:
    """A subscription of another customer does not exist."""
    mine = (await shop.grant(await shop.customer())).subscription
    other = await shop.customer()

    assert await diagnose(shop.db, mine.id, other.id) is None
