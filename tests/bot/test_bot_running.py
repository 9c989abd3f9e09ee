"""For admins: the status, what can be paused, the banner; and what customers see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve
from bot_world import ANNA, BORIS, World, open_world

from vpnd.bot import admin_callbacks, callbacks
from vpnd.database.database import Database
from vpnd.monitors import service
from vpnd.monitors.picture import Picture
from vpnd.monitors.service import ALARMS, Monitors
from vpnd.runtime.limits import Limits
from vpnd.shop import notices
from vpnd.shop.alerts import open_alarms
from vpnd.shop.switches import Banner, Snapshot, register_switches, set_banner, set_switch
from vpnd.shop.takings import takings_today

pytestmark = pytest.mark.postgres

ADMIN = BORIS
BUTTONS = [
    admin_callbacks.Status(), admin_callbacks.Switches(), admin_callbacks.PauseAsk("shop"), admin_callbacks.PauseNow("shop"),
    admin_callbacks.Resume("shop"), admin_callbacks.BannerOff(),
]  # fmt: skip


async def tell_nobody(_key: str, _args: Mapping[str, Any]) -> None:
    """No alarm is told here."""


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans, one node, one admin, and a worker that can be paused."""
    async with open_world(db, admins=(ADMIN,)) as world:
        await register_switches(world.db, ["expiry"])
        await world.deps.switches.refresh()
        yield world


async def paused(world: World) -> list[tuple[str, str]]:
    """What is paused in the database, and by whom."""
    rows = await world.sql("select name, changed_by from switches where paused order by name")
    return [(row["name"], row["changed_by"]) for row in rows]


async def pictured(db: Database) -> Mapping[str, Any]:
    """The daemon's own picture of this database."""
    monitors = Monitors(
        db,
        tell_nobody,
        instance="test",
        kinds=("message",),
        nodes=("de",),
        workers=lambda: (),
        tables=trio.Event(),
        standing=partial(open_alarms, db),
    )
    await monitors.queues.look()
    await monitors.nodes.look()
    await monitors.process.look()
    picture = Picture(
        instance="test", monitors=monitors, limits=Limits(15, 10), db=db, workers=lambda: (),
        supervisor=lambda: SimpleNamespace(statistics=lambda: SimpleNamespace(children=())),  # type: ignore[arg-type,return-value]
        status_line=lambda: "serving customers",
    )  # fmt: skip

    async def money() -> list[dict[str, Any]]:
        return [
            {
                name: getattr(one, name)
                for name in ("provider", "currency", "charges", "amount", "held", "more")
            }
            for one in await takings_today(db)
        ]

    picture.add("money", money)
    return await picture.take()


async def test_status_is_the_daemons_own_picture(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part that the daemon's picture has is read, none is left out as strange."""
    # The process that is looked at is the tests' own, which may be larger than a daemon's.
    calm = tuple(evolve(alarm, raise_at=1e9) if alarm.name == "memory" else alarm for alarm in service.ALARMS)
    monkeypatch.setattr(service, "ALARMS", calm)
    async with open_world(db, admins=(ADMIN,), picture=lambda: pictured(db)) as world:
        await world.fill(ANNA, 25000)
        (call,) = await world.say(ADMIN, "/status")
        again = await world.press(ADMIN, call.data("Refresh"))

    for words in (
        "<b>test ",
        "serving customers",
        "No alarm",
        "Workers",
        "Queues",
        "Pools",
        "Loop",
        "Process",
        "Nodes",
        "Today",
    ):
        assert words in call.text, words
    assert "yookassa: 1 · <b>250 ₽</b>" in call.text
    assert "❗️" not in call.text
    assert "serving customers" in again[1].text


async def test_a_bot_without_a_daemon_still_answers(world: World) -> None:
    """Nothing is known, and the switches are there."""
    (call,) = await world.say(ADMIN, "/status")

    assert "Nothing is known" in call.text
    assert call.has("Pause, resume")


@pytest.mark.parametrize("words", ["/status", "/banner We are down", "/banner off"])
async def test_for_others_there_is_no_such_command(world: World, words: str) -> None:
    """Whoever is no admin is answered as to any unknown words, and changes nothing."""
    (call,) = await world.say(ANNA, words)

    assert "buttons below" in call.text
    assert await world.sql("select text from incident_banner") == []


@pytest.mark.parametrize("wish", BUTTONS, ids=lambda wish: type(wish).__name__)
async def test_for_others_there_are_no_such_buttons(world: World, wish: callbacks.Action) -> None:
    """A forged press shows nothing and changes nothing."""
    await set_banner(world.db, "x", by="test")

    calls = await world.press(ANNA, wish)

    assert "can’t show this" in calls[1].text
    assert await paused(world) == []
    assert len(await world.sql("select text from incident_banner")) == 1


async def test_pausing_is_asked_about_and_holds_at_once(world: World) -> None:
    """The question says what it does; yes pauses in the admin's name; a second yes changes nothing; resuming asks nothing."""
    listed = await world.press(ADMIN, admin_callbacks.Switches())
    assert "Nothing is paused" in listed[1].text
    asked = await world.press(ADMIN, listed[1].data("⏸ shop"))
    assert "Nothing is sold" in asked[1].text
    assert await paused(world) == []
    yes = asked[1].data("Yes, pause")
    first = await world.press(ADMIN, yes)
    second = await world.press(ADMIN, yes)

    assert "<b>shop</b> is paused." in first[1].text
    assert f"by admin:{ADMIN}" in first[1].text
    assert "was paused already" in second[1].text
    assert await paused(world) == [("shop", f"admin:{ADMIN}")]
    assert world.deps.switches.snapshot.paused("shop")
    (status,) = await world.say(ADMIN, "/status")
    assert "Paused: <b>shop</b>" in status.text
    resumed = await world.press(ADMIN, second[1].data("▶️ shop"))
    assert "runs again" in resumed[1].text
    assert await paused(world) == []


async def test_workers_can_be_paused_and_strange_names_cannot(world: World) -> None:
    """A worker is one of the switches; a name that is none is an old button."""
    asked = await world.press(ADMIN, admin_callbacks.PauseAsk("expiry"))
    await world.press(ADMIN, asked[1].data("Yes"))

    assert await paused(world) == [("expiry", f"admin:{ADMIN}")]
    for wish in (
        admin_callbacks.PauseAsk("nothing"),
        admin_callbacks.PauseNow("nothing"),
        admin_callbacks.Resume("nothing"),
    ):
        assert "out of date" in (await world.press(ADMIN, wish))[1].text


async def test_what_another_paused_is_shown_as_it_is(world: World) -> None:
    """The list is read anew when it is opened."""
    await set_switch(world.db, "expiry", paused=True, by="shell:root", reason="<why>")

    listed = await world.press(ADMIN, admin_callbacks.Switches())

    assert "<b>expiry</b> by shell:root" in listed[1].text
    assert ": &lt;why&gt;" in listed[1].text


async def test_a_paused_shop_sells_nothing_and_says_so_kindly(world: World) -> None:
    """No purchase and no top-up is opened, the banner says why; what was opened before can be paid."""
    offer = await world.offer("basic", 30)
    before = await world.press(ANNA, callbacks.Pay("yookassa", offer))
    await set_switch(world.db, "shop", paused=True, by="test")
    await set_banner(world.db, "Nodes <b>move</b> today", by="test")
    await world.deps.switches.refresh()

    for wish in (
        callbacks.Pay("stars", offer),
        callbacks.MorePay("cryptopay", offer),
        callbacks.TopUpPay("yookassa", 25000),
    ):
        calls = await world.press(ANNA, wish)
        assert "Sales are paused" in calls[1].text
        assert "Nodes &lt;b&gt;move&lt;/b&gt; today" in calls[1].text
        assert calls[1].buttons
    assert len(await world.sql("select id from purchases")) == 1
    await world.settle(world.yookassa.charge(before[1].url("Pay").rpartition("/")[2]))
    assert ["Payment received" in text for text in await world.told()] == [True]


async def test_the_banner_stands_above_the_first_screen_and_the_plans(world: World) -> None:
    """It is shown by a command, escaped, to everybody, costs no read, and is taken away by a command or a button."""
    (shown,) = await world.say(ADMIN, "/banner Nodes are <slow>\ntoday")
    assert "The banner is shown" in shown.text
    words = "⚠️ Nodes are &lt;slow&gt;\ntoday"
    for text in ("/start", "/buy"):
        assert (await world.say(ANNA, text))[0].text.startswith(words)
    assert "slow" not in (await world.say(ANNA, "/help"))[0].text
    russian = await world.press(ANNA, callbacks.SetLanguage("ru"))
    assert russian[1].text.startswith(words)

    gone = await world.press(ADMIN, shown.data("Take the banner away"))
    (again,) = await world.say(ADMIN, "/banner OFF")
    (usage,) = await world.say(ADMIN, "/banner")

    assert "The banner is gone" in gone[1].text
    assert "There was no banner" in again.text
    assert "<code>/banner off</code>" in usage.text
    assert "slow" not in (await world.say(ANNA, "/start"))[0].text


async def test_banner_and_switches_cost_no_read(world: World) -> None:
    """Screens ask the snapshot: what it says is shown, whatever the database says by now."""
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    world.deps.switches.snapshot = Snapshot(banner=Banner("only in the snapshot", "test", moment))

    (call,) = await world.say(ANNA, "/start")

    assert call.text.startswith("⚠️ only in the snapshot")
    assert await world.sql("select text from incident_banner") == []


async def test_what_needs_a_person_reaches_the_admins(world: World) -> None:
    """A stopped node, access that no node has, and alarms: each is told in words, with what was seen."""
    node = {"node": "de", "held": 1000, "strangers": 800, "newer": 1, "reason": "strangers"}
    late = {"subscription_id": 7, "telegram_id": None, "plan_id": "basic", "since": "2026-11-23T12:00:00+00:00", "attempts": 5,
            "others": 2}  # fmt: skip
    alarm = {
        "name": ALARMS[0].name,
        "what": ALARMS[0].what,
        "unit": "steps",
        "value": 4.0,
        "threshold": 3,
        "who": "t",
        "since": 1,
    }
    async with world.db.transaction("test") as tx:
        await notices.put_all(
            tx,
            [
                notices.admin_alert("a", "node_stopped", node),
                notices.admin_alert("b", "activation_late", late),
                notices.admin_alert("c", "alarms", {"raised": [alarm], "cleared": []}),  # type: ignore[arg-type,unused-ignore]
            ],
        )
    await world.deliver("admin_alert")

    stopped, waiting, alarms = await world.told()

    assert "Node de waits for you" in stopped
    assert "unknown to the shop" in stopped
    assert "2026-11-23 12:00 UTC" in waiting
    assert "2 more wait" in waiting
    assert f"• {ALARMS[0].what}: <b>4 steps</b> (t), the limit is 3" in alarms
