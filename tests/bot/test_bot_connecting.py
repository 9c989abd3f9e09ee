"""From a link to a working device: platform, app, steps; and what is said when it does not work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import callbacks, own_callbacks
from vpnd.bot.apps import APPS, PLATFORMS, app_named, apps_on
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database
from vpnd.nodes.profiles import IMPORTERS
from vpnd.shop import access_log
from vpnd.shop.subscriptions import grant
from vpnd.shop.switches import set_banner

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


async def subscribe(world: World) -> int:
    """Give Anna access; returns the subscription."""
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers where telegram_id = $1", ANNA)
    async with world.db.transaction("test") as tx:
        granted = await grant(tx, customer_id=row["id"], plan_id="basic", days=30)
    return granted.subscription.id


async def acknowledge(world: World) -> None:
    """Let the node have everything that the log has."""
    await access_log.number(world.db)
    head = await access_log.head(world.db)
    await access_log.record_ack(world.db, "de", head.epoch, head.last_seq)


def last(calls: list[Call]) -> Call:
    """The answer."""
    return calls[-1]


def test_every_platform_has_an_app_and_every_importer_is_one() -> None:
    """Words fit on buttons, stores are web addresses, and what a page opens is known to the page."""
    assert all(apps_on(platform) for platform in PLATFORMS)
    assert all(app.store.startswith("https://") for app in APPS.values())
    assert {app.importer for app in APPS.values() if app.importer} == set(IMPORTERS)
    assert app_named("ios") is apps_on("ios")[0]
    assert app_named("amiga") is None


async def test_from_the_subscription_to_the_app(world: World) -> None:
    """Platform, app with its button, link and store; another app; it works; and home is always there."""
    own = await subscribe(world)
    (row,) = await world.sql("select link_token from subscriptions")
    shown = await world.press(ANNA, callbacks.OneSubscription(own))
    platforms = last(await world.press(ANNA, last(shown).data("How to connect")))
    assert decode(platforms.data("Menu")) == callbacks.Home()

    steps = last(await world.press(ANNA, platforms.data("Android")))
    page = f"https://vpn.example.org/sub/{row['link_token']}"
    assert steps.url("Open in Hiddify") == f"{page}/open/hiddify"
    assert steps.url("Get Hiddify") == "https://play.google.com/store/apps/details?id=app.hiddify.com"
    assert f"<code>{page}</code>" in steps.text
    assert "Tap “Open in Hiddify”" in steps.text
    other = last(await world.press(ANNA, steps.data("v2rayNG")))
    assert other.url("Open in v2rayNG") == f"{page}/open/v2rayng"
    done = last(await world.press(ANNA, other.data("It works")))

    assert "Wonderful" in done.text
    assert decode(done.data("Menu")) == callbacks.Home()


async def test_without_a_page_the_link_is_copied(db: Database) -> None:
    """A shop without a public address has no page that opens apps: the link goes in from the clipboard."""
    async with open_world(db, public_url=None) as world:
        own = await subscribe(world)

        steps = last(await world.press(ANNA, own_callbacks.ConnectBy("android", own)))
        desktop = last(await world.press(ANNA, own_callbacks.ConnectBy("windows_v2rayn", own)))

        assert not steps.has("Open in")
        assert "vless://" in steps.text
        assert "Add from clipboard" in steps.text
        assert "Ctrl+V" in desktop.text


async def test_a_newcomer_is_shown_the_way_to_a_link_first(world: World) -> None:
    """Help without a subscription names the apps, and begins with getting the VPN; old buttons of help still work."""
    (help_screen,) = await world.say(ANNA, "/help")
    steps = last(await world.press(ANNA, help_screen.data("iPhone")))
    old = last(await world.press(ANNA, callbacks.HelpFor("ios")))
    trouble = last(await world.press(ANNA, help_screen.data("doesn’t work")))

    assert steps.text == old.text
    assert "First you need a link" in steps.text
    assert decode(steps.data("Get VPN")) == callbacks.Plans()
    assert not steps.has("It works")
    assert "no subscription yet" in trouble.text
    assert help_screen.url("support") == "https://t.me/support"


async def test_what_does_not_work_is_looked_into(world: World) -> None:
    """Each state of the shop is told with its next step: being switched on, a server away, all right, over."""
    own = await subscribe(world)
    wish = own_callbacks.DoesNotWork(own)
    await world.change("update nodes set seen_at = vpnd_now()")

    starting = last(await world.press(ANNA, wish))
    await acknowledge(world)
    fine = last(await world.press(ANNA, wish))
    await world.change("update nodes set seen_at = vpnd_now() - interval '3 minutes'")
    await set_banner(world.db, "Cable <cut>", by="test")
    await world.deps.switches.refresh()
    away = last(await world.press(ANNA, starting.data("Look again")))
    await world.advance(timedelta(days=31))
    over = last(await world.press(ANNA, own_callbacks.DoesNotWork(0)))

    assert "being told of you" in starting.text
    assert "✅ The server knows you." in fine.text
    assert "All is well on our side" in fine.text
    assert decode(fine.data("New link")) == own_callbacks.Rotate(own)
    assert "Not answering just now: de" in away.text
    assert "we have been alerted" in away.text
    assert "⚠️ Cable &lt;cut&gt;" in away.text
    assert "Its time ended on" in over.text
    assert decode(over.data("Renew")) == callbacks.Periods("basic", own)
    for screen in (starting, fine, away, over):
        assert "Write to @support" in screen.text
        assert decode(screen.data("Menu")) == callbacks.Home()


async def test_nobody_connects_by_what_is_not_his(world: World) -> None:
    """A subscription of another customer does not exist; an app that there is not is an old button."""
    own = await subscribe(world)

    for wish in (
        own_callbacks.Connect(own),
        own_callbacks.ConnectBy("ios", own),
        own_callbacks.DoesNotWork(own),
    ):
        assert "can’t show this" in last(await world.press(BORIS, wish)).text, wish
    assert "out of date" in last(await world.press(ANNA, own_callbacks.ConnectBy("amiga", own))).text


async def test_what_is_off_is_renewed_first(world: World) -> None:
    """The steps of a subscription that has ended are its renewal."""
    own = await subscribe(world)
    await world.advance(timedelta(days=31))

    for wish in (own_callbacks.Connect(own), own_callbacks.ConnectBy("ios", own)):
        assert "Off since" in last(await world.press(ANNA, wish)).text
