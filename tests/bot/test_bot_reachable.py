"""Who cannot be reached, and who is there again: by every kind of update that a person can cause."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from bot_world import ANNA, World, open_world

from vpnd.bot import callbacks
from vpnd.bot.broadcasting import deliver_broadcast
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.database.outbox_rows import Drop
from vpnd.shop import notices

pytestmark = pytest.mark.postgres

Act = Callable[[World], Awaitable[object]]


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot that Anna has spoken to and whose answers do not reach her any more."""
    async with open_world(db) as world:
        await world.say(ANNA, "/start")
        await world.change("update customers set reachable = false")
        yield world


async def is_reachable(world: World) -> bool:
    """What is written down about Anna."""
    (row,) = await world.sql("select reachable from customers where telegram_id = $1", ANNA)
    return bool(row["reachable"])


async def check_out(world: World) -> None:
    """Ask whether a Stars invoice may be paid."""
    await world.pre_checkout(ANNA, "p" + "x" * 24, 150)


async def pay(world: World) -> None:
    """Pay Stars for something that we do not know."""
    await world.paid(ANNA, "p" + "x" * 24, 150)


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.say(ANNA, "/start"),
        lambda world: world.say(ANNA, "/help"),
        lambda world: world.say(ANNA, "hello"),
        lambda world: world.say(ANNA, "", sticker={
            "file_id": "f", "file_unique_id": "u", "width": 1, "height": 1, "is_animated": False, "is_video": False,
            "type": "regular"}),
        lambda world: world.press(ANNA, callbacks.Home()),
        lambda world: world.press(ANNA, "nonsense"),
        lambda world: world.member(ANNA, "member"),
        check_out,
        pay,
    ],
    ids=["start", "command", "words", "sticker", "press", "odd press", "unblocked", "pre_checkout", "paid"],
)  # fmt: skip
async def test_any_update_of_a_person_makes_him_reachable(world: World, act: Act) -> None:
    """Whatever he does, he is there again."""
    assert not await is_reachable(world)

    await act(world)

    assert await is_reachable(world)


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.member(ANNA, "kicked"),
        lambda world: world.subscription(ANNA, "p" + "x" * 24, "active"),
        lambda world: world.refunded(ANNA, "p" + "x" * 24, 150),
        lambda world: world.say(ANNA, "hello", chat={"id": -5, "type": "group", "title": "g"}),
        lambda world: world.press(ANNA, callbacks.Home(), message={"chat": {"id": -5, "type": "group"}}),
    ],
    ids=["blocked", "subscription", "refunded", "group", "press in a group"],
)
async def test_what_he_did_not_do_here_makes_nobody_reachable(world: World, act: Act) -> None:
    """A block, what Telegram does by itself, and a word in a group say nothing of whether he can be written to."""
    await act(world)

    assert not await is_reachable(world)


async def test_a_check_at_the_till_does_not_fail_by_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buyer is answered; a database that then goes away costs only the note."""

    async def away(_self: object, _key: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(type(world.deps.customers), "get", away)

    calls = await world.pre_checkout(ANNA, "p" + "x" * 24, 150)

    assert [call.method for call in calls] == ["answerPreCheckoutQuery"]
    assert not await is_reachable(world)


@pytest.mark.parametrize(
    "description", ["Forbidden: bot was blocked by the user", "Forbidden: user is deactivated"]
)
async def test_a_waiting_notice_is_dropped(world: World, description: str) -> None:
    """What waits for somebody who has gone is dropped, not given up, and he is noted."""
    await world.change("update customers set reachable = true")
    async with world.db.transaction("test") as tx:
        await notices.put_all(
            tx,
            [notices.message("k", ANNA, "refund_to_balance", {"amount": 100, "currency": "RUB"}, "en")],
        )
    world.telegram.fail("sendMessage", description, 403)

    ((delivery, _),) = await world.deliver()

    assert isinstance(delivery, Drop)
    assert not await is_reachable(world)


async def test_a_group_that_moved_is_nobody_to_follow(world: World) -> None:
    """A row for a group, which nobody writes, is dropped; its dead letter would raise an alarm."""
    async with world.db.transaction("test") as tx:
        await notices.put_all(
            tx, [notices.message("k", ANNA, "refund_to_balance", {"amount": 1, "currency": "RUB"}, "en")]
        )
    for _ in range(2):
        world.telegram.fail(
            "sendMessage",
            "Bad Request: group chat was upgraded to a supergroup chat",
            migrate_to_chat_id=-1001,
        )

    ((delivery, _),) = await world.deliver()
    again = await deliver_broadcast(world.deps, {"text": {"en": "x"}}, ANNA, "en")

    assert isinstance(delivery, Drop)
    assert isinstance(again, Drop)


async def test_a_group_that_moves_is_met_with_silence(world: World) -> None:
    """The service messages of an upgrade, on both sides, get no answer and make no customer."""
    old = {"id": -5, "type": "group", "title": "g"}
    new = {"id": -1005, "type": "supergroup", "title": "g"}

    calls = [
        *await world.say(ANNA, "", chat=old, migrate_to_chat_id=-1005),
        *await world.say(ANNA, "", chat=new, migrate_from_chat_id=-5),
    ]

    assert calls == []
    assert len(await world.sql("select id from customers")) == 1


async def test_an_unreadable_press_in_a_group_is_answered_without_a_word(world: World) -> None:
    """Its clock stops; nothing is said where others read along."""
    (call,) = await world.press(ANNA, "nonsense", message={"chat": {"id": -5, "type": "group"}})

    assert call.method == "answerCallbackQuery"
    assert "text" not in call.parameters
