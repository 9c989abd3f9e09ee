"""The subscription page: what an app gets for a link, and what the link costs the shop."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import httpx
import pytest
import trio
from shop_world import ShopWorld
from starlette.applications import Starlette

from vpnd.config import contact_link
from vpnd.database.database import Database
from vpnd.nodes.links import parse_vless_link
from vpnd.nodes.model import PublicInbound
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import LimitClass, current_class
from vpnd.shop.blocking import block, unblock
from vpnd.shop.subscriptions import Subscription, expire_due
from vpnd.web import subscription
from vpnd.web.subscription import subscription_route

INBOUND = PublicInbound(tag="tls", host="vpn.example", port=443, security="tls", sni="vpn.example")


async def page_of(db: Database, token: str, support: str | None = "https://t.me/help") -> httpx.Response:
    """What an app gets."""
    route = subscription_route(
        db,
        title="Shop",
        support_url=support,
        expired_notice=lambda page: f"{'over' if page.blocked_at is None else 'closed'} ({page.language})",
    )
    transport = httpx.ASGITransport(app=Starlette(routes=[route]))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as client:
        return await client.get(f"/sub/{token}")


async def sold(shop: ShopWorld) -> Subscription:
    """A subscription, in a shop with two nodes."""
    inbounds = json.dumps([INBOUND.to_json()])
    await shop.execute(
        "insert into nodes (name, inbounds) values ('Oslo', $1::text::jsonb), ('Berlin', $1::text::jsonb), ('New', '[]')",
        inbounds,
    )
    return (await shop.grant(await shop.customer())).subscription


def links_in(answer: httpx.Response) -> list[str]:
    """The links of a profile."""
    return base64.b64decode(answer.content).decode().splitlines()


async def test_an_active_subscription_is_a_list_of_links(shop: ShopWorld) -> None:
    """One link for each door of each node that told its doors, with the customer's own credential."""
    mine = await sold(shop)

    answer = await page_of(shop.db, mine.link_token)

    parsed = [parse_vless_link(link) for link in links_in(answer)]
    assert answer.status_code == 200
    assert [link.name for link in parsed] == ["Berlin", "Oslo"]
    assert {link.uuid for link in parsed} == {str(mine.credential)}


async def test_apps_are_told_when_it_ends_and_to_keep_nothing(shop: ShopWorld) -> None:
    """The headers carry the end, the name, the pace of updates and the way to help, and forbid caches."""
    mine = await sold(shop)

    headers = (await page_of(shop.db, mine.link_token)).headers

    assert f"expire={int(mine.expires_at.timestamp())}" in headers["subscription-userinfo"]
    assert base64.b64decode(headers["profile-title"].removeprefix("base64:")) == b"Shop"
    assert headers["profile-update-interval"] == str(subscription.UPDATE_HOURS)
    assert headers["support-url"] == "https://t.me/help"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("swept", [False, True])
async def test_an_expired_one_says_so(shop: ShopWorld, swept: bool) -> None:
    """One entry that leads nowhere and is named in the customer's language, also before a sweep has come by."""
    mine = await sold(shop)
    await shop.advance(timedelta(days=31))
    if swept:
        await expire_due(shop.db, 10)

    answer = await page_of(shop.db, mine.link_token)

    (link,) = [parse_vless_link(link) for link in links_in(answer)]
    assert (answer.status_code, link.name, link.host) == (200, "over (en)", "127.0.0.1")
    assert link.uuid != str(mine.credential)


async def test_who_is_blocked_is_told_that_access_is_closed(shop: ShopWorld) -> None:
    """No link, and as the end the block and not what was paid for; after it all is as it was."""
    mine = await sold(shop)
    before = await page_of(shop.db, mine.link_token)
    await shop.do(lambda tx: block(tx, mine.customer_id))
    blocked_at = await shop.db.fetchval(
        "test", "select blocked_at from customers where id = $1", mine.customer_id
    )
    await shop.advance(timedelta(days=1))

    answer = await page_of(shop.db, mine.link_token)
    await shop.do(lambda tx: unblock(tx, mine.customer_id))
    after = await page_of(shop.db, mine.link_token)

    (link,) = [parse_vless_link(link) for link in links_in(answer)]
    assert (answer.status_code, link.name, link.host) == (200, "closed (en)", "127.0.0.1")
    assert f"expire={int(blocked_at.timestamp())}" in answer.headers["subscription-userinfo"]
    assert after.content == before.content
    assert after.headers["subscription-userinfo"] == before.headers["subscription-userinfo"]


async def test_who_is_blocked_after_the_end_keeps_the_end(shop: ShopWorld) -> None:
    """What was over before the block ended when it ended."""
    mine = await sold(shop)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    await shop.do(lambda tx: block(tx, mine.customer_id))

    answer = await page_of(shop.db, mine.link_token)

    assert f"expire={int(mine.expires_at.timestamp())}" in answer.headers["subscription-userinfo"]
    assert [parse_vless_link(link).name for link in links_in(answer)] == ["closed (en)"]


async def test_a_renewal_brings_the_links_back(shop: ShopWorld) -> None:
    """The same link, once imported, works for ever."""
    customer = await shop.customer()
    await shop.execute(
        "insert into nodes (name, inbounds) values ('Oslo', $1::text::jsonb)", json.dumps([INBOUND.to_json()])
    )
    mine = (await shop.grant(customer)).subscription
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    await shop.grant(customer)

    assert [parse_vless_link(link).name for link in links_in(await page_of(shop.db, mine.link_token))] == [
        "Oslo"
    ]


@pytest.mark.parametrize(
    "token", ["unknown-but-well-formed", "x", "%00%00%00%00%00%00%00%00", "a" * 4000, "%D0%B6" * 20]
)
async def test_an_unknown_token_is_an_unknown_page(shop: ShopWorld, token: str) -> None:
    """Whatever a scanner tries is answered like any page that is not there; nothing of it is told to the journal."""
    with capture() as lines:
        answer = await page_of(shop.db, token)

    assert answer.status_code == 404
    assert lines == []


async def test_apps_read_in_the_class_of_those_who_can_wait(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many apps ask at once, they use the few places of bulk readers and leave handlers theirs."""
    mine = await sold(shop)
    used: list[LimitClass] = []
    real = subscription.subscription_page

    async def noted(db: Database, token: str) -> object:
        used.append(current_class.get())
        return await real(db, token)

    monkeypatch.setattr(subscription, "subscription_page", noted)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(page_of, shop.db, mine.link_token)

    assert set(used) == {LimitClass.ADMIN}
    assert current_class.get() is LimitClass.HANDLER


async def test_without_its_tables_the_page_is_to_be_asked_for_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After: an app keeps what it has."""
    async with db.transaction("test") as tx:
        await tx.execute("alter table subscriptions rename to elsewhere")

    answer = await page_of(db, "a-token-of-the-right-form")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(subscription.RETRY_AFTER))


@pytest.mark.parametrize(
    ("support", "link"),
    [
        ("@help_desk", "https://t.me/help_desk"),
        ("help_desk", "https://t.me/help_desk"),
        ("https://example.org/help", "https://example.org/help"),
        ("call us at noon", None),
        ("@поддержка", None),
        ("https://пример.рф/", None),
        (None, None),
    ],
)
def test_who_helps_is_a_link_or_not_told(support: str | None, link: str | None) -> None:
    """What cannot stand in a header does not break every customer's page."""
    assert contact_link(support) == link
