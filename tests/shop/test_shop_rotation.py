"""A new link under an old name: what the nodes and the subscription page make of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from node_world import fake_node
from shop_world import ShopWorld
from starlette.applications import Starlette

from vpnd.nodes.model import AccessChange
from vpnd.shop import access_log
from vpnd.shop.access_log import Page
from vpnd.shop.rotation import Rotated, RotationTooSoon, rotate_link
from vpnd.shop.subscriptions import Subscription, SubscriptionNotFound
from vpnd.shop.titles import clean_title
from vpnd.web.subscription import subscription_route

pytestmark = pytest.mark.postgres


async def rotate(shop: ShopWorld, mine: Subscription, key: str = "update:1") -> Rotated:
    """Ask for a new link."""
    return await shop.do(
        lambda tx: rotate_link(tx, subscription_id=mine.id, customer_id=mine.customer_id, request_key=key)
    )


async def test_a_node_holds_the_new_credential_only(shop: ShopWorld, tmp_path: Path) -> None:
    """What the log hands out after a rotation replaces the credential on the agent's own disk, and has it cut."""
    mine = (await shop.grant(await shop.customer())).subscription
    async with fake_node(tmp_path) as node:
        mark = 0
        for _ in range(2):
            await access_log.number(shop.db)
            head = await access_log.head(shop.db)
            page = await access_log.changes_after(shop.db, head.epoch, mark)
            assert isinstance(page, Page)
            changes = [AccessChange(c.name, c.uuid, c.version, c.active) for c in page.changes]
            await node.client.push(head.epoch, page.last_seq, changes, adopt=mark == 0)
            mark = page.last_seq
            held = await node.held()
            if mark == 1:
                await rotate(shop, mine)
        (now,) = await shop.db.fetch("test", "select credential::text, version from subscriptions")

        assert {name: (c.uuid, c.version) for name, c in held.items()} == {
            mine.name: (now["credential"], now["version"])
        }
        assert now["credential"] != str(mine.credential)


async def test_the_old_page_is_nobodys(shop: ShopWorld) -> None:
    """The address of before answers like any unknown one, the new one with links."""
    mine = (await shop.grant(await shop.customer())).subscription
    await rotate(shop, mine)
    (now,) = await shop.db.fetch("test", "select link_token from subscriptions")
    route = subscription_route(shop.db, title="Shop", support_url=None, expired_notice=lambda _page: "over")
    transport = httpx.ASGITransport(app=Starlette(routes=[route]))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as client:
        old = await client.get(f"/sub/{mine.link_token}")
        new = await client.get(f"/sub/{now['link_token']}")

    assert (old.status_code, new.status_code) == (404, 200)


async def test_a_request_makes_one_new_link(shop: ShopWorld) -> None:
    """Replayed, it finds what it did; another is told to wait; a stranger's finds nothing."""
    mine = (await shop.grant(await shop.customer())).subscription

    assert (await rotate(shop, mine)).created
    assert not (await rotate(shop, mine)).created
    with pytest.raises(RotationTooSoon):
        await rotate(shop, mine, "update:2")
    other = await shop.customer()
    with pytest.raises(SubscriptionNotFound):
        await shop.do(
            lambda tx: rotate_link(tx, subscription_id=mine.id, customer_id=other.id, request_key="update:3")
        )


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("  Mum's\n\tphone ", "Mum's phone"),
        ("a\x00b", "a b"),
        ("\u202eevil\u202c", "evil"),
        ("\u200b\u2060\u200d ", ""),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("e\u0301", "é"),
    ],
)
def test_a_name_holds_what_can_be_seen(written: str, name: str) -> None:
    """Line breaks, marks of writing direction and letters without shape are no part of a name."""
    assert clean_title(written) == name
