"""Alerts in the operators' group and in private: one message while it goes on, seen, muted, done; never one about another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from attrs import define
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot.alert_callbacks import Acknowledge, AlertList, CloseAlert, MuteAlert, OneAlert, ResumeAlerts
from vpnd.bot.callbacks import Action, Home, encode
from vpnd.config import AlertsSettings, LimitsSettings, Secret, Settings, TelegramSettings
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Delivered, Drop
from vpnd.monitors.alarms import KEY, AlarmState
from vpnd.monitors.service import ALARMS
from vpnd.runtime.journal import capture
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted
from vpnd.shop import alerts as shop_alerts
from vpnd.shop import notices
from vpnd.shop.alerts import HOURS, kind_number, severity_of
from vpnd.shop.audit_log import entries
from vpnd.shop.operators import ROLES, Permission, Role, may, set_operator
from vpnd.telegram.outgoing import open_sender
from vpnd.workers.alert_mutes import alert_mutes

pytestmark = pytest.mark.postgres

OWNER = BORIS
GROUP, FORUM = -4001, -1001234
IN_GROUP = {"chat": {"id": GROUP, "type": "group", "title": "Ops"}}
LAG = next(alarm for alarm in ALARMS if alarm.name == "loop_lag")


def alarm(name: str = "loop_lag", value: float = 5.0) -> dict[str, Any]:
    """An alarm as the daemon tells of it."""
    found = next(one for one in ALARMS if one.name == name)
    return AlarmState(found, raised=True, since=1.7e9, worst=value, worst_who="somebody").to_json()


def stopped(node: str = "de") -> dict[str, Any]:
    """A node that waits for a person."""
    return {"node": node, "held": 10, "strangers": 8, "newer": 0, "reason": "strangers"}


@asynccontextmanager
async def opened(db: Database, **changes: Any) -> AsyncIterator[World]:
    """A bot whose alerts go to a group, with an owner in its configuration."""
    values: dict[str, Any] = {"admins": (OWNER,), "alerts": AlertsSettings(chat=GROUP)}
    async with open_world(db, **(values | changes)) as world:
        yield world


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot whose alerts go to a group without topics."""
    async with opened(db) as world:
        yield world


async def give(world: World, telegram_id: int, role: Role) -> None:
    """Make somebody an operator."""
    async with world.db.transaction("test") as tx:
        await set_operator(tx, telegram_id, role, name="N", by="test")


async def happen(world: World, key: str, template: str, args: dict[str, Any]) -> list[Call]:
    """Something happens that operators are told of: what is sent to the group for it."""
    async with world.db.transaction("test") as tx:
        await notices.put_all(tx, [notices.admin_alert(key, template, args)])  # type: ignore[arg-type]
    await world.deliver("admin_alert")
    return [call for _, calls in await world.deliver("alert_post") for call in calls]


async def the_alert(world: World) -> dict[str, Any]:
    """The only alert there is."""
    (row,) = await world.sql("select * from alerts")
    return dict(row.items())


async def press(world: World, user: int, what: Action, **more: Any) -> list[Call]:
    """A press below a message in the group."""
    return await world.press(user, what, message=IN_GROUP, **more)


def answer(calls: list[Call]) -> str:
    """What a press was answered with."""
    (call,) = [one for one in calls if one.method == "answerCallbackQuery"]
    return str(call.parameters.get("text") or "")


# ------------------------------------------------------------------------------------------ told once while it goes on


async def test_what_goes_on_is_one_message(world: World) -> None:
    """The same again changes the message; what is about something else is another one."""
    (first,) = await happen(world, "a", "node_stopped", stopped())
    (again,) = await happen(world, "b", "node_stopped", stopped())
    (other,) = await happen(world, "c", "node_stopped", stopped("nl"))

    assert (first.method, first.parameters["chat_id"]) == ("sendMessage", GROUP)
    assert "Critical" in first.text
    assert first.has("seen")
    assert first.has("1 h")
    assert again.method == "editMessageText"
    assert "2 times" in again.text
    assert other.method == "sendMessage"


async def test_a_row_that_is_played_again_counts_once(world: World) -> None:
    """A relay that is killed before it notes the end plays the row again: nothing is counted or told twice."""
    await happen(world, "a", "node_stopped", stopped())
    await world.change("update outbox set status = 'ready' where kind = 'admin_alert'")
    await world.deliver("admin_alert")

    assert await world.deliver("alert_post") == []
    assert (await the_alert(world))["times"] == 1


async def test_an_alarm_is_over_when_it_is_cleared(world: World) -> None:
    """Each alarm of a batch is an alert of its own; cleared, its message says so, without buttons; raised again it is new."""
    raised = await happen(
        world, "alarms:1", "alarms", {"raised": [alarm(), alarm("database", 60)], "cleared": []}
    )
    (over,) = await happen(world, "alarms:2", "alarms", {"raised": [], "cleared": [alarm()]})
    (anew,) = await happen(world, "alarms:3", "alarms", {"raised": [alarm()], "cleared": []})

    assert [("Critical" in call.text, "Warning" in call.text) for call in raised] == [
        (True, False),
        (False, True),
    ]
    assert over.method == "editMessageText"
    assert "Over" in over.text
    assert over.buttons == []
    assert anew.method == "sendMessage"


async def test_what_goes_on_unseen_is_told_anew_after_an_hour(world: World) -> None:
    """At most one new message an hour, in reply to the last; once somebody has seen it, its message is only changed."""
    await happen(world, "a", "node_stopped", stopped())
    await world.advance(timedelta(minutes=61))
    (anew,) = await happen(world, "b", "node_stopped", stopped())
    await press(world, OWNER, Acknowledge((await the_alert(world))["id"]))
    await world.advance(timedelta(hours=2))
    (changed,) = await happen(world, "c", "node_stopped", stopped())

    assert anew.method == "sendMessage"
    assert "reply_parameters" in anew.parameters
    assert changed.method == "editMessageText"


async def test_nothing_heard_for_a_day_is_a_new_alert(world: World) -> None:
    """What comes again after a day is told as new, with nobody who has seen it."""
    await happen(world, "a", "held_charge", {"provider": "p", "charge_id": "1"})
    await world.advance(timedelta(hours=25))
    (anew,) = await happen(world, "b", "held_charge", {"provider": "p", "charge_id": "1"})

    assert anew.method == "sendMessage"
    assert len(await world.sql("select * from alerts where closed_at is null")) == 1


async def test_topics_by_severity_and_by_kind(db: Database) -> None:
    """A kind's own topic counts before its severity's; what has none goes to the group itself."""
    alerts = AlertsSettings(chat=FORUM, topics=(("critical", 4), ("node_stopped", 9)))
    async with opened(db, alerts=alerts) as world:
        (node,) = await happen(world, "a", "node_stopped", stopped())
        (books,) = await happen(world, "b", "books_wrong", {"what": "sum", "currency": "RUB", "amount": 1})
        (plain,) = await happen(
            world, "c", "reconciliation", {"provider": "p", "differences": 1, "mended": 0, "first": "x"}
        )

    assert [call.parameters.get("message_thread_id") for call in (node, books, plain)] == [9, 4, None]


def test_every_alarm_has_a_severity() -> None:
    """No alarm that is named as critical or harmless is one that there is not."""
    known = {f"alarm:{one.name}" for one in ALARMS}
    assert {
        kind for kind in (*shop_alerts._CRITICAL, *shop_alerts._INFO) if kind.startswith("alarm:")
    } <= known
    assert severity_of("alarm:loop_lag") == "warning"


# ------------------------------------------------------------------------------------------ what operators do


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_buttons_in_the_group_ask_for_the_role(world: World, role: Role | None) -> None:
    """Each button by each role: who may does it, and it is written down; others are refused by the answer alone."""
    await happen(world, "a", "node_stopped", stopped())
    alert = (await the_alert(world))["id"]
    await world.change("insert into alert_mutes (kind, muted_by) values ('held_charge', 'x')")
    if role is not None:
        await give(world, ANNA, role)
    deeds = (
        Acknowledge(alert),
        MuteAlert(alert, 1),
        ResumeAlerts(kind_number("held_charge")),
        CloseAlert(alert),
    )

    for deed in deeds:
        calls = await press(world, ANNA, deed)
        allowed = role is not None and may(role, Permission.ALERTS)
        assert ("for the shop’s operators" in answer(calls)) == (not allowed)
        assert [call.method for call in calls if call.method.startswith("send")] == []
        assert allowed or len(calls) == 1

    found = await entries(world.db, limit=10)
    assert len(found) == (len(deeds) if role is not None and may(role, Permission.ALERTS) else 0)
    assert await world.sql("select id from customers where telegram_id = $1", ANNA) == []


async def test_who_has_seen_it_is_shown_and_written_down(world: World) -> None:
    """The message names the first who acknowledged, the audit log has him, and a second press changes nothing."""
    await happen(world, "a", "node_stopped", stopped())
    alert = (await the_alert(world))["id"]
    await give(world, ANNA, "support")

    calls = await press(world, ANNA, Acknowledge(alert))
    await press(world, OWNER, Acknowledge(alert))

    (shown,) = [call for call in calls if call.method == "editMessageText"]
    assert "you have seen it" in answer(calls)
    assert f"Seen by admin:{ANNA}" in shown.text
    assert not shown.has("seen it")
    assert (await the_alert(world))["acknowledged_by"] == f"admin:{ANNA}"
    log = await entries(world.db, limit=10)
    assert [(one.actor, one.action) for one in reversed(log)] == [
        (f"admin:{ANNA}", "alerts.handle.acknowledge"), (f"admin:{OWNER}", "alerts.handle.acknowledge"),
    ]  # fmt: skip


async def test_a_replayed_press_is_one_deed(world: World) -> None:
    """The same update again is answered and written down once."""
    await happen(world, "a", "node_stopped", stopped())
    alert = (await the_alert(world))["id"]

    await press(world, OWNER, MuteAlert(alert, 8), update_id=500)
    again = await press(world, OWNER, MuteAlert(alert, 8), update_id=500)

    assert "Muted" in answer(again)
    assert len(await entries(world.db, limit=10)) == 1


@pytest.mark.parametrize("hours", HOURS)
async def test_a_mute_lasts_as_long_as_it_says(world: World, hours: int) -> None:
    """Muted, nothing of that kind is told, and what is of another kind is; after its time, or when ended, it is told again."""
    await happen(world, "a", "node_stopped", stopped())
    shown = await press(world, OWNER, MuteAlert((await the_alert(world))["id"], hours))
    silent = await happen(world, "b", "node_stopped", stopped())
    other = await happen(world, "c", "held_charge", {"provider": "p", "charge_id": "1"})
    await world.advance(timedelta(hours=hours or 10_000, minutes=-1))
    still = await happen(world, "d", "node_stopped", stopped("nl"))
    if hours:
        await world.advance(timedelta(minutes=2))
    else:
        await press(world, OWNER, ResumeAlerts(kind_number("node_stopped")))
        resumed = [call for _, calls in await world.deliver("alert_post") for call in calls]
        assert len(resumed) == 2
    told = await happen(world, "e", "node_stopped", stopped("se"))

    assert [call.method for call in shown] == ["answerCallbackQuery", "editMessageText"]
    assert "Muted by" in shown[1].text
    assert (silent, still) == ([], [])
    assert len(other) == 1
    assert [call.method for call in told] == ["sendMessage"]


async def test_done_is_done(world: World) -> None:
    """Closed by an operator, the message says who, and the same again is a new alert."""
    await happen(world, "a", "node_stopped", stopped())
    calls = await press(world, OWNER, CloseAlert((await the_alert(world))["id"]))
    (anew,) = await happen(world, "b", "node_stopped", stopped())

    assert f"Done, says admin:{OWNER}" in calls[-1].text
    assert calls[-1].buttons == []
    assert anew.method == "sendMessage"


# ------------------------------------------------------------------------------------------ a mute that ends by the clock


async def end_by_the_clock(world: World, chat: int | None = GROUP) -> list[Call]:
    """Let the worker end what is over, twice: what is posted for it, in the group and in private."""
    job = alert_mutes(world.db, chat, wake=lambda: None)
    await job.work()
    await job.work()
    found = [*await world.deliver("alert_post"), *await world.deliver()]
    return [call for _, calls in found for call in calls]


async def test_a_mute_that_ends_tells_what_stands(world: World) -> None:
    """What went on meanwhile is told anew, what began is told, what is over is not; once, and nothing before its time."""
    await happen(world, "a", "node_stopped", stopped())
    await press(world, OWNER, MuteAlert((await the_alert(world))["id"], 8))
    await happen(world, "b", "node_stopped", stopped("nl"))
    await happen(world, "c", "node_stopped", stopped("se"))
    await world.change("update alerts set closed_at = vpnd_now() where subject = 'se'")
    await world.advance(timedelta(hours=8, minutes=-1))
    early = await end_by_the_clock(world)
    await world.advance(timedelta(minutes=2))
    with capture() as lines:
        told = await end_by_the_clock(world)
    later = await end_by_the_clock(world)

    assert (early, later) == ([], [])
    assert [call.method for call in told] == ["sendMessage", "sendMessage"]
    assert [
        next(name for name in ("de", "nl", "se") if f"Node {name} waits" in call.text) for call in told
    ] == ["nl", "de"]
    assert not any("Muted" in call.text for call in told)
    assert await world.sql("select kind from alert_mutes") == []
    assert [line.event for line in lines if line.event.startswith("alerts.")] == ["alerts.mute_ended"]


async def test_a_mute_that_ends_shows_so_where_somebody_has_seen_it(world: World) -> None:
    """Who looks after it is not told anew: its message only loses the mute."""
    await happen(world, "a", "node_stopped", stopped())
    alert = (await the_alert(world))["id"]
    await press(world, OWNER, Acknowledge(alert))
    await press(world, OWNER, MuteAlert(alert, 1))
    await world.advance(timedelta(hours=2))

    (call,) = await end_by_the_clock(world)

    assert call.method == "editMessageText"
    assert "Muted" not in call.text
    assert call.has("1 h")


async def test_in_private_a_mute_that_ends_tells_what_stands(db: Database) -> None:
    """Owners and managers, once for each end of a mute; not what somebody has seen, nor what is muted again by then."""
    async with opened(db, alerts=AlertsSettings()) as world:
        await give(world, 2001, "manager")
        for key in ("de", "nl"):
            await happen(world, key, "node_stopped", stopped(key))
        first, second = [row["id"] for row in await world.sql("select id from alerts order by id")]
        await world.deliver()
        await world.press(OWNER, Acknowledge(second))
        rounds = []
        for _ in range(2):
            await world.press(OWNER, MuteAlert(first, 1))
            await world.advance(timedelta(hours=2))
            rounds.append(await end_by_the_clock(world, None))
        await world.press(OWNER, MuteAlert(first, 1))
        await world.advance(timedelta(hours=2))
        await alert_mutes(world.db, None, wake=lambda: None).work()
        await world.press(OWNER, MuteAlert(first, 1))
        muted_again = await end_by_the_clock(world, None)

        for told in rounds:
            assert sorted(call.parameters["chat_id"] for call in told) == [OWNER, 2001]
            assert all("Node de waits" in call.text for call in told)
            assert all(call.has("seen") for call in told)
        assert muted_again == []


async def test_an_alarm_in_private_is_told_again_when_its_mute_ends(db: Database) -> None:
    """As an alarm is told; one that is over by then is not."""
    async with opened(db, alerts=AlertsSettings()) as world:
        await happen(world, "alarms:1", "alarms", {"raised": [alarm()], "cleared": []})
        await world.deliver()
        await world.press(OWNER, MuteAlert((await the_alert(world))["id"], 1))
        await world.advance(timedelta(hours=2))
        (told,) = await end_by_the_clock(world, None)
        await world.press(OWNER, MuteAlert((await the_alert(world))["id"], 1))
        await world.advance(timedelta(hours=2))
        await alert_mutes(world.db, None, wake=lambda: None).work()
        await happen(world, "alarms:2", "alarms", {"raised": [], "cleared": [alarm()]})
        over = [call for _, calls in await world.deliver() for call in calls]

        assert "0.2 s" in told.text
        assert len(over) == 1  # that it is over, which is told by itself


async def test_open_alarms_are_what_a_new_daemon_goes_on_with(world: World) -> None:
    """As they were told last; neither other alerts nor what is over."""
    await happen(world, "alarms:1", "alarms", {"raised": [alarm(), alarm("database", 60)], "cleared": []})
    await happen(world, "a", "node_stopped", stopped())
    await happen(world, "alarms:2", "alarms", {"raised": [], "cleared": [alarm()]})

    assert [dict(one) for one in await shop_alerts.open_alarms(world.db)] == [alarm("database", 60)]


@pytest.mark.parametrize("what", [Home(), AlertList(), OneAlert(1)])
async def test_the_group_gets_no_other_word(world: World, what: Action) -> None:
    """Other buttons in the group, and those of alerts in any other group, are stopped and answered with nothing."""
    await happen(world, "a", "node_stopped", stopped())
    elsewhere = {"chat": {"id": -7, "type": "group", "title": "x"}}
    alert = (await the_alert(world))["id"]

    here = await press(world, OWNER, what)
    there = await world.press(OWNER, Acknowledge(alert), message=elsewhere)
    words = await world.say(OWNER, "/admin", chat={"id": GROUP, "type": "group", "title": "Ops"})

    assert [(call.method, call.parameters.get("text")) for call in (*here, *there)] == [
        ("answerCallbackQuery", None)
    ] * 2
    assert words == []
    assert (await the_alert(world))["acknowledged_by"] is None


async def test_forged_presses_mean_nothing(world: World) -> None:
    """An alert that is not there, and hours that nobody offers, change nothing."""
    for forged in (Acknowledge(99), MuteAlert(99, 1), MuteAlert(1, 5), ResumeAlerts(7), CloseAlert(99)):
        assert "not there any more" in answer(await press(world, OWNER, forged))
    assert await entries(world.db, limit=10) == []


# ------------------------------------------------------------------------------------------ in private


async def test_without_a_group_owners_and_managers_are_told(db: Database) -> None:
    """In private, each with the way to say that he has seen it; support and readers are not told. Muted, nobody is."""
    async with opened(db, alerts=AlertsSettings()) as world:
        await give(world, 2001, "manager")
        await give(world, 2002, "support")
        await give(world, 2003, "reader")
        await happen(world, "a", "node_stopped", stopped())
        told = [call for _, calls in await world.deliver() for call in calls]
        seen = await world.press(OWNER, told[0].data("seen"))
        await world.press(OWNER, MuteAlert((await the_alert(world))["id"], 1))
        await happen(world, "b", "node_stopped", stopped())
        await happen(world, "alarms:1", "alarms", {"raised": [alarm()], "cleared": []})
        after = [call for _, calls in await world.deliver() for call in calls]

        assert sorted(call.parameters["chat_id"] for call in told) == [OWNER, 2001]
        assert f"Seen by admin:{OWNER}" in seen[-1].text
        assert sorted(call.parameters["chat_id"] for call in after) == [OWNER, 2001]
        keys = [row["key"] for row in await world.sql("select key from outbox where kind = 'message'")]
        assert all(key.startswith(KEY) for key in keys)


async def test_the_board_tells_what_is_open_and_muted(world: World) -> None:
    """What is open, who has seen it, what is muted until when, with a button for each; support may, a reader may not."""
    await happen(world, "a", "node_stopped", stopped())
    await happen(world, "alarms:1", "alarms", {"raised": [alarm()], "cleared": []})
    node = next(row["id"] for row in await world.sql("select id from alerts where kind = 'node_stopped'"))
    await press(world, OWNER, Acknowledge(node))
    await press(world, OWNER, MuteAlert(node, 8))
    await give(world, ANNA, "support")
    board = (await world.press(ANNA, AlertList()))[-1]
    one = (await world.press(ANNA, OneAlert(node)))[-1]
    ended = (await world.press(ANNA, board.data("🔔 node stopped")))[-1]
    await give(world, ANNA, "reader")
    refused = (await world.press(ANNA, AlertList()))[-1]

    assert "node stopped" in board.text
    assert "loop_lag" in board.text
    assert f"👀 admin:{OWNER}" in board.text
    assert "until" in board.text
    assert "Tell again" in [button["text"].removeprefix("🔔 ") for button in one.buttons]
    assert "Muted" not in ended.text
    assert "does not allow this" in refused.text


# ------------------------------------------------------------------------------------------ a group that is lost or moves


async def test_a_lost_group_is_told_of_once(world: World) -> None:
    """Kicked, the owners are told in private each time, the journal once; back again, the group is told, and the journal."""
    await give(world, 2001, "manager")
    await give(world, 2002, "owner")
    with capture() as lines:
        for key in ("a", "b"):
            world.telegram.fail("sendMessage", "Forbidden: bot was kicked from the group chat", 403)
            await happen(world, key, "node_stopped", stopped(key))
        told = [call for _, calls in await world.deliver() for call in calls]
        board = (await world.press(OWNER, AlertList()))[-1]
        await happen(world, "c", "node_stopped", stopped("c"))

    assert [line.event for line in lines if line.event.startswith("alerts.")] == [
        "alerts.group_lost",
        "alerts.group_back",
    ]
    assert sorted(call.parameters["chat_id"] for call in told) == [OWNER, OWNER, 2002, 2002]
    assert "cannot be written to" in board.text
    assert await world.sql("select * from outbox where status = 'dead'") == []


async def test_never_an_alert_about_an_alert(world: World) -> None:
    """Whatever is written for operators is passed over by the monitors of the queues, in the group and in private."""
    world.telegram.fail("sendMessage", "Bad Request: TOPIC_CLOSED")
    await happen(world, "held:1", "held_charge", {"provider": "p", "charge_id": "1"})

    keys = [row["key"] for row in await world.sql("select key from outbox where kind <> 'admin_alert'")]
    assert len(keys) == 2
    assert all(key.startswith(KEY) for key in keys)


async def test_a_deleted_message_is_sent_anew(world: World) -> None:
    """Somebody deleted the alert's message: the next news are a message again."""
    await happen(world, "a", "node_stopped", stopped())
    world.telegram.fail("editMessageText", "Bad Request: message to edit not found")
    calls = await happen(world, "b", "node_stopped", stopped())

    assert [call.method for call in calls] == ["editMessageText", "sendMessage"]


# ------------------------------------------------------------------------------------------ over real sockets


@define
class Group:
    """A bot on the sandbox's Telegram, and the control of it."""

    world: World
    sandbox: Sandbox
    control: httpx.AsyncClient

    async def sim(self, path: str, **values: Any) -> Any:
        """Do something in the sandbox's Telegram."""
        response = await self.control.post(f"/sim/{path}", json=values)
        assert response.status_code == 200, response.text
        return response.json()

    async def shown(self, chat: int) -> list[dict[str, Any]]:
        """The bot's messages in a chat."""
        found = (await self.control.get(f"/sim/chat/{chat}")).json()["messages"]
        return [one for one in found if one["from_bot"]]

    async def happen(self, key: str, node: str = "de") -> list[type]:
        """A node is stopped: how the posts of it ended."""
        async with self.world.db.transaction("test") as tx:
            await notices.put_all(tx, [notices.admin_alert(key, "node_stopped", stopped(node))])
        await self.world.deliver("admin_alert")
        return [type(outcome) for outcome, _ in await self.world.deliver("alert_post")]

    async def press(self, chat: int, user: int, what: Action) -> list[dict[str, Any]]:
        """Somebody presses a button in a chat: how his press was answered."""
        message = (await self.shown(chat))[-1]
        await self.sim(
            "press",
            chat_id=chat,
            message_id=message["message_id"],
            data=encode(what),
            **{"from": {"id": user}},
        )
        for update in [one.body for one in self.sandbox.telegram.updates.pending()]:
            await self.world.application.dispatch(update)
        self.sandbox.telegram.updates.drop_all()
        return list((await self.control.get(f"/sim/chat/{chat}")).json()["answers"])


@asynccontextmanager
async def on_sockets(db: Database, alerts: AlertsSettings) -> AsyncIterator[Group]:
    async with open_sandbox() as sandbox:
        settings = Settings(
            telegram=TelegramSettings(token=Secret(sandbox.telegram.token), api_base=sandbox.telegram_url),
            limits=LimitsSettings(telegram_per_second=0.0, telegram_per_chat=0.0),
        )
        async with (
            open_sender(settings) as sender,
            opened(db, sender=sender, alerts=alerts) as world,
            httpx.AsyncClient(verify=trusted(), base_url=sandbox.telegram_url, trust_env=False) as control,
        ):
            await sender.bot.initialize()
            yield Group(world, sandbox, control)


async def test_a_forum_over_real_sockets(db: Database) -> None:
    """Posted into its topic, changed there, seen by a press; a topic that is closed sends the owner a private word instead."""
    async with on_sockets(db, AlertsSettings(chat=FORUM, topics=(("critical", 4),))) as group:
        await group.sim("group", chat_id=FORUM, title="Ops", topics=[4, 5])
        await group.sim("chats", ids=[OWNER])
        assert await group.happen("a") == [Delivered]
        assert await group.happen("b") == [Delivered]
        (message,) = await group.shown(FORUM)
        alert = (await the_alert(group.world))["id"]
        stranger = await group.press(FORUM, 555, Acknowledge(alert))
        owner = await group.press(FORUM, OWNER, Acknowledge(alert))
        (seen,) = await group.shown(FORUM)
        await group.sim("topic", chat_id=FORUM, topic=4, closed=True)
        assert await group.happen("c", "nl") == [Drop]
        await group.world.deliver()

        assert (message["message_thread_id"], message["is_topic_message"], message["edits"]) == (4, True, 1)
        assert message["chat"]["is_forum"]
        assert "operators" in stranger[-1]["text"]
        assert "you have seen it" in owner[-1]["text"]
        assert f"Seen by admin:{OWNER}" in seen["text"]
        assert len(await group.shown(FORUM)) == 1
        assert "nl" in (await group.shown(OWNER))[-1]["text"]


async def test_a_group_that_becomes_a_supergroup_is_followed(db: Database) -> None:
    """The new id is used at once, remembered over a restart, and told to the owner and the journal once; buttons work there."""
    async with on_sockets(db, AlertsSettings(chat=GROUP)) as group:
        await group.sim("group", chat_id=GROUP, title="Ops")
        await group.sim("chats", ids=[OWNER])
        await group.happen("a")
        await group.sim("upgrade", chat_id=GROUP, to=FORUM)
        with capture() as lines:
            assert await group.happen("b") == [Delivered]
            assert await group.happen("c", "nl") == [Delivered]
        await group.world.deliver()
        alert = next(row["id"] for row in await group.world.sql("select id from alerts where subject = 'nl'"))
        answers = await group.press(FORUM, OWNER, Acknowledge(alert))

        assert [line.event for line in lines if line.event.startswith("alerts.")] == ["alerts.group_moved"]
        assert len(await group.shown(GROUP)) == 1
        assert ["2 times" in one["text"] for one in await group.shown(FORUM)] == [True, False]
        assert str(FORUM) in (await group.shown(OWNER))[-1]["text"]
        assert "you have seen it" in answers[-1]["text"]


async def test_a_bot_that_was_kicked_and_comes_back(db: Database) -> None:
    """Out of the group the owner is told in private; back in it, the group is told again."""
    async with on_sockets(db, AlertsSettings(chat=GROUP)) as group:
        await group.sim("group", chat_id=GROUP)
        await group.sim("chats", ids=[OWNER])
        await group.sim("kick", chat_id=GROUP)
        lost = await group.happen("a")
        await group.world.deliver()
        await group.sim("kick", chat_id=GROUP, back=True)
        found = await group.happen("b")

        assert (lost, found) == ([Drop], [Delivered])
        assert len(await group.shown(OWNER)) == 1
        assert len(await group.shown(GROUP)) == 1
