"""The page that opens an app: what a browser gets, and what nobody gets by it."""

from __future__ import annotations

import httpx
import pytest
from shop_world import ShopWorld
from starlette.applications import Starlette

from vpnd.bot.connect import open_words
from vpnd.bot.texts import Texts
from vpnd.database.database import Database
from vpnd.nodes.profiles import IMPORTERS
from vpnd.runtime.limits import LimitClass, current_class
from vpnd.web.open_app import OpenPage, open_app_route

TEXTS = Texts.load()


async def page_of(db: Database, path: str, title: str = "Shop") -> httpx.Response:
    """What a browser gets."""
    route = open_app_route(
        db,
        public_url="https://vpn.example.org/",
        title=title,
        words=lambda language, app: OpenPage(*open_words(TEXTS, language, app)),
    )
    transport = httpx.ASGITransport(app=Starlette(routes=[route]))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://evil.example", trust_env=False
    ) as client:
        return await client.get(path)


@pytest.mark.parametrize("app", IMPORTERS)
async def test_each_app_is_opened_with_the_page(shop: ShopWorld, app: str) -> None:
    """The button carries the app's own address with the shop's public one in it, whatever host was asked."""
    mine = (await shop.grant(await shop.customer())).subscription

    answer = await page_of(shop.db, f"/sub/{mine.link_token}/open/{app}")

    assert answer.status_code == 200
    assert f'<a href="{app}://' in answer.text
    assert mine.link_token in answer.text
    assert "evil" not in answer.text
    assert "vpn.example.org" in answer.text


async def test_the_page_is_as_secret_as_the_subscriptions_own(shop: ShopWorld) -> None:
    """Nothing is kept, loaded or passed on, and no script can run."""
    mine = (await shop.grant(await shop.customer())).subscription

    headers = (await page_of(shop.db, f"/sub/{mine.link_token}/open/happ")).headers

    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_page_speaks_the_customers_language(shop: ShopWorld) -> None:
    """By the language of the customer whose link it is; what the operator wrote is escaped."""
    mine = (await shop.grant(await shop.customer())).subscription
    await shop.execute("update customers set language = 'ru'")

    text = (await page_of(shop.db, f"/sub/{mine.link_token}/open/hiddify", title='<b>"&')).text

    assert "Открыть Hiddify" in text
    assert '<html lang="ru">' in text
    assert "#%3Cb%3E%22%26" in text


@pytest.mark.parametrize(
    "path", ["/sub/{token}/open/other", "/sub/unknowntoken/open/happ", "/sub/x/open/happ"]
)
async def test_what_is_nobodys_is_not_there(shop: ShopWorld, path: str) -> None:
    """An unknown app, an unknown token and what cannot be a token are answered alike."""
    mine = (await shop.grant(await shop.customer())).subscription

    answer = await page_of(shop.db, path.format(token=mine.link_token))

    assert (answer.status_code, answer.text) == (404, "not found")


async def test_it_is_read_in_the_class_of_links(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd of browsers never takes a connection from a customer's buttons."""
    mine = (await shop.grant(await shop.customer())).subscription
    seen: list[LimitClass] = []
    fetchrow = Database.fetchrow

    async def watched(self: Database, *args: object, **more: object) -> object:
        seen.append(current_class.get())
        return await fetchrow(self, *args, **more)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Database, "fetchrow", watched)
    await page_of(shop.db, f"/sub/{mine.link_token}/open/happ")

    assert seen == [LimitClass.ADMIN]
