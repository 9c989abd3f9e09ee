"""The intake: stored first, confirmed after; and what happens when nothing can be stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio
from telegram_fakes import (
    TOKEN,
    Answer,
    FakeTelegram,
    MemoryInbox,
    fake_telegram,
    fault,
    message,
    ok,
    payment,
    pre_checkout,
    press,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from vpnd.database import Row
from vpnd.database.errors import CommitUnknown, QueryError
from vpnd.runtime import journal as journal_module
from vpnd.telegram import intake as intake_module
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.chats import ChatQueues
from vpnd.telegram.intake import InboxUnavailable, Intake
from vpnd.telegram.outage import Outage
from vpnd.telegram.transport import DirectRequest
from vpnd.telegram.update import ALLOWED_UPDATES, SENDER_FRESH, StoredUpdate, current_update, parse_update


class Scene:
    """An intake between a scripted Telegram and an inbox in memory."""

    def __init__(self, base: str = "http://127.0.0.1:1") -> None:
        self.inbox = MemoryInbox()
        self.handled: list[int] = []
        self.told: list[int] = []
        self.refused: list[str] = []
        self.bot = TrioBot(TOKEN, base, DirectRequest(base), DirectRequest(base))
        self.queues = ChatQueues(self.inbox, self.dispatch, self.on_failure)
        self.outage = Outage(self.repair_notice, self.refuse)
        self.intake = Intake(self.bot, self.inbox, self.queues, self.outage)

    async def dispatch(self, payload: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.handled.append(payload["update_id"])

    async def on_failure(self, update: StoredUpdate, error: Exception) -> None:
        raise AssertionError(f"{update} failed") from error

    async def repair_notice(self, chat_id: int, _update: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(chat_id)

    async def refuse(self, query_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.refused.append(query_id)


@asynccontextmanager
async def handling(scene: Scene) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.queues.run)
        yield nursery
        nursery.cancel_scope.cancel()
    await scene.bot.shutdown()


@asynccontextmanager
async def polling() -> AsyncIterator[tuple[Scene, FakeTelegram]]:
    async with fake_telegram() as fake:
        scene = Scene(fake.base)
        async with handling(scene) as nursery:
            nursery.start_soon(scene.intake.poll)
            yield scene, fake


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-offs of milliseconds, for tests over real sockets."""
    for name in ("BACKOFF_FIRST", "BACKOFF_CAP", "BACKOFF_CONFLICT", "BACKOFF_UNAUTHORIZED"):
        monkeypatch.setattr(intake_module, name, 0.001)


async def test_a_batch_is_stored_before_its_offset_is_confirmed() -> None:
    """Telegram may forget an update only when we have it."""
    async with polling() as (scene, fake):
        stored_when_confirmed: list[set[int]] = []

        async def watch(parameters: dict[str, str]) -> Answer:
            if "offset" in parameters:
                stored_when_confirmed.append(scene.inbox.rows.keys() | scene.inbox.ended.keys())
                del fake.script["getUpdates"]
            return ok(await fake._get_updates(parameters))

        fake.script["getUpdates"] = watch
        fake.push(
            message(1), press(2), {"update_id": 3, "subscription": {"user": {"id": 7}, "state": "active"}}
        )
        await fake.until(lambda: fake.confirmed == 3)
        assert stored_when_confirmed == [{1, 2, 3}]
    assert scene.handled == [1, 2, 3]


async def test_polling_asks_for_what_it_needs_and_drops_nothing() -> None:
    """The webhook goes without its pending updates being dropped; each kind of update is asked for by name."""
    async with polling() as (_, fake):
        await fake.until(lambda: "getUpdates" in [method for method, _ in fake.calls])
        assert fake.calls[0] == ("deleteWebhook", {"drop_pending_updates": "false"})
        assert all(f'"{kind}"' in fake.calls[1][1]["allowed_updates"] for kind in ALLOWED_UPDATES)
        assert "subscription" in ALLOWED_UPDATES


async def test_a_repeated_update_is_handled_once() -> None:
    """An update that is delivered again after a lost confirmation has no second effect."""
    async with polling() as (scene, fake):
        fake.push(message(1), message(2))
        await fake.until(lambda: fake.confirmed == 2)
        await scene.intake.accept(message(2))
        fake.push(message(3))
        await fake.until(lambda: fake.confirmed == 3)
        await wait_all_tasks_blocked(0.01)
    assert scene.handled == [1, 2, 3]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (fault(409, "Conflict: terminated by other getUpdates request"), "telegram.conflict"),
        (fault(401, "Unauthorized"), "telegram.unauthorized"),
        (fault(502, "Bad Gateway"), None),
        (None, None),
    ],
)
async def test_polling_survives_what_telegram_says(answer: Answer, event: str | None) -> None:
    """Whatever a poll meets, it is tried again; what needs a person has a line in the journal."""

    async def refuse(_: dict[str, str]) -> Answer:
        del fake.script["getUpdates"]
        return answer

    with journal_module.capture() as said:
        async with fake_telegram() as fake:
            fake.script["getUpdates"] = refuse
            fake.push(message(1))
            scene = Scene(fake.base)
            async with handling(scene) as nursery:
                nursery.start_soon(scene.intake.poll)
                await fake.until(lambda: fake.confirmed == 1)
            deleted = len(fake.sent("deleteWebhook"))
    events = [entry.event for entry in said]
    assert event is None or event in events
    assert deleted == (2 if event == "telegram.conflict" else 1)


@pytest.mark.usefixtures("impatient")
async def test_without_a_database_polling_stops_at_the_first_money() -> None:
    """What is before a payment is told and confirmed; the payment and all after it stay with Telegram until we can keep them."""
    async with fake_telegram() as fake:
        scene = Scene(fake.base)
        scene.inbox.down = True
        fake.push(
            message(1, 7), message(2, 8), payment(3, 7), message(4, 9), pre_checkout(5, 9), message(6, 7)
        )
        async with handling(scene) as nursery:
            nursery.start_soon(scene.intake.poll)
            await fake.until(lambda: len([1 for p in fake.sent("getUpdates") if p.get("offset") == "3"]) >= 3)
            assert fake.confirmed == 2
            assert sorted(scene.told) == [7, 8, 9]  # once each, however often the batch is seen
            assert scene.refused == ["q5"]
            scene.inbox.down = False
            await fake.until(lambda: fake.confirmed == 6)
            assert not scene.outage.under_way
            with trio.fail_after(20):
                while len(scene.handled) < 4:
                    await wait_all_tasks_blocked()
    assert sorted(scene.handled) == [3, 4, 5, 6]


async def test_without_a_database_a_webhook_with_money_is_sent_back(autojump_clock: MockClock) -> None:
    """A payment must come again; others are told, once, and a pre-checkout is refused."""
    scene = Scene()
    async with handling(scene):
        scene.inbox.down = True
        with pytest.raises(InboxUnavailable) as caught:
            await scene.intake.accept(payment(1))
        assert caught.value.retry_after > 0
        await scene.intake.accept(message(2, 7))
        await scene.intake.accept(press(3, 7))
        await scene.intake.accept(pre_checkout(4, 7))
        assert (scene.told, scene.refused) == ([7], ["q4"])
        scene.inbox.down = False
        await scene.intake.accept(payment(1))
        scene.inbox.down = True
        await scene.intake.accept(message(5, 7))
        assert scene.told == [7, 7]  # another outage
        scene.inbox.down = False
        await trio.sleep(60)
    assert scene.handled == [1]


async def test_a_notice_that_fails_or_hangs_holds_nobody_up(autojump_clock: MockClock) -> None:
    """Telling people that we are being repaired is bounded and may fail."""
    scene = Scene()

    async def broken(chat_id: int, _update: dict[str, Any]) -> None:
        if chat_id == 1:
            raise OSError("Telegram is away, too")
        await trio.sleep_forever()

    scene.outage._repair_notice = broken
    async with handling(scene):
        scene.inbox.down = True
        began = trio.current_time()
        await scene.intake.accept(message(1, 1))
        await scene.intake.accept(message(2, 2))
        assert trio.current_time() - began <= 5.1


async def test_an_update_the_database_refuses_is_left_out(autojump_clock: MockClock) -> None:
    """One update that can never be stored must not keep all others out for ever."""
    scene = Scene()
    plain = scene.inbox.store

    async def picky(updates: Any) -> dict[int, Row | None]:
        if any("\x00" in update.payload["message"]["text"] for update in updates):
            raise QueryError("a null character cannot be stored", sqlstate="22P05")
        return await plain(updates)

    scene.inbox.store = picky  # type: ignore[method-assign]  # one row is refused, as jsonb does
    async with handling(scene):
        batch = [scene_update(message(1)), scene_update(message(2, text="\x00")), scene_update(message(3))]
        assert await scene.intake._take_batch(batch) == 3
        await trio.sleep(1)
    assert scene.handled == [1, 3]


async def test_a_missing_table_is_an_outage_and_costs_no_update(autojump_clock: MockClock) -> None:
    """A schema that is not there yet refuses every update; that is no fault of the updates."""
    scene = Scene()

    async def no_table(_updates: Any) -> dict[int, Row | None]:
        await trio.lowlevel.checkpoint()
        raise QueryError("relation does not exist", sqlstate="42P01")

    scene.inbox.store = no_table  # type: ignore[method-assign, assignment]  # what an unmigrated database says
    with pytest.raises(InboxUnavailable):
        await scene.intake.accept(payment(1))
    assert await scene.intake._take_batch([parse_update(message(1)), parse_update(payment(2))]) == 1


async def test_a_connection_lost_under_the_store_is_no_outage(autojump_clock: MockClock) -> None:
    """What the lost attempt did store is served, the rest is stored by the second one, and nobody hears of it."""
    scene = Scene()
    plain = scene.inbox.store
    attempts = 0

    async def lost_once(updates: Any) -> dict[int, Row | None]:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            return await plain(updates)
        await plain(updates[:1])
        raise CommitUnknown("the connection was lost")

    scene.inbox.store = lost_once  # type: ignore[method-assign]  # committed in part, as two batches would be
    async with handling(scene):
        assert await scene.intake._take_batch([parse_update(message(n)) for n in (1, 2)]) == 2
        await trio.sleep(1)
    assert sorted(scene.handled) == [1, 2]
    assert attempts == 2
    assert not scene.told


async def test_a_store_of_unknown_outcome_is_looked_up(autojump_clock: MockClock) -> None:
    """A cancellation between the commit and our hearing of it must not leave an update lying."""
    scene = Scene()
    plain = scene.inbox.store

    async def committed_but_silent(updates: Any) -> dict[int, Row | None]:
        await plain(updates)
        await trio.sleep(999)
        return {}

    scene.inbox.store = committed_but_silent  # type: ignore[method-assign]  # the connection dies after COMMIT
    async with handling(scene):
        with trio.move_on_after(1):
            await scene.intake.accept(message(1))
        await trio.sleep(1)
        assert scene.handled == [1]
        scene.inbox.store = plain  # type: ignore[method-assign]  # and back
        await scene.intake.accept(message(1))  # Telegram sends it again
        await trio.sleep(1)
    assert scene.handled == [1]


def scene_update(payload: dict[str, Any]) -> StoredUpdate:
    """The update as the intake reads it."""
    return parse_update(payload)


@pytest.mark.parametrize(
    ("payload", "kind", "queue_key", "money"),
    [
        (message(1, 7), "message", 7, False),
        (payment(1, 7), "successful_payment", 7, True),
        (message(1, 7, refunded_payment={}), "refunded_payment", 7, True),
        (press(1, 7), "callback_query", 7, False),
        (pre_checkout(1, 7), "pre_checkout_query", 7, False),
        ({"update_id": 1, "subscription": {"user": {"id": 7}}}, "subscription", 7, True),
        (
            {"update_id": 1, "my_chat_member": {"chat": {"id": -5}, "from": {"id": 7}}},
            "my_chat_member",
            7,
            False,
        ),
        ({"update_id": 1, "from_the_future": ["?"]}, "from_the_future", 0, False),
        ({"update_id": 1}, "other", 0, False),
    ],
)
def test_an_update_says_what_it_is(payload: dict[str, Any], kind: str, queue_key: int, money: bool) -> None:
    """Kind, queue and money are read from the JSON, also of kinds we never heard of."""
    update = scene_update(payload)
    assert (update.kind, update.queue_key, update.carries_money) == (kind, queue_key, money)
    with pytest.raises(ValueError, match="update_id"):
        parse_update({"message": {}})


async def test_what_was_read_of_a_sender_comes_with_an_update_that_is_alone(
    autojump_clock: MockClock,
) -> None:
    """A handler may take the sender as he was read with the storing, unless an earlier update may have changed him since."""
    scene = Scene()
    plain = scene.inbox.store
    seen: dict[int, Any] = {}
    busy = trio.Event()

    async def knowing(updates: Any) -> dict[int, Row | None]:
        sender: Any = {"telegram_id": 7, "language": "en"}
        return dict.fromkeys(await plain(updates), sender)

    async def look(payload: dict[str, Any]) -> None:
        update = current_update()
        assert update is not None
        seen[payload["update_id"]] = update.sender_as_of_now(7)
        if payload["update_id"] == 1:
            await busy.wait()

    scene.inbox.store = knowing  # type: ignore[method-assign]  # an inbox that looks its senders up
    scene.queues._handling._dispatch = look
    async with handling(scene):
        await trio.sleep(1)  # caught up with the table
        # The second of a batch waits for the first; the third was stored while the first was handled; the fourth is alone again.
        assert await scene.intake._take_batch([parse_update(message(n)) for n in (1, 2)]) == 2
        await wait_all_tasks_blocked()
        await scene.intake.accept(message(3))
        busy.set()
        await trio.sleep(1)
        await scene.intake.accept(message(4))
        await trio.sleep(1)
    assert {number: sender is not None for number, sender in seen.items()} == {
        1: True,
        2: False,
        3: False,
        4: True,
    }


def test_a_sender_is_himself_and_read_just_now() -> None:
    """What was read of somebody else, or a while ago, is no answer."""
    now = datetime.now(UTC)
    fresh = attrs.evolve(parse_update(message(1), received_at=now), sender={"telegram_id": 7})
    old = attrs.evolve(fresh, received_at=now - timedelta(seconds=SENDER_FRESH + 1))
    assert fresh.sender_as_of_now(7) == {"telegram_id": 7}
    assert fresh.sender_as_of_now(8) is None
    assert old.sender_as_of_now(7) is None
    assert parse_update(message(1)).sender_as_of_now(7) is None
