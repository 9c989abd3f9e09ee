"""The queues on a clock of their own: order, deadlines, floods, retries and the way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio
from telegram_fakes import MemoryInbox, message, payment, pre_checkout, press, stored
from trio.testing import MockClock, wait_all_tasks_blocked

from vpnd.runtime import metrics
from vpnd.telegram import chats as chats_module
from vpnd.telegram.chats import ChatQueues
from vpnd.telegram.handling import UpdateDeadline
from vpnd.telegram.update import StoredUpdate, current_update


class Scene:
    """Queues over an inbox in memory, with handlers that a test directs by text."""

    def __init__(self) -> None:
        self.inbox = MemoryInbox()
        self.began: list[int] = []
        self.handled: list[int] = []
        self.failures: list[tuple[int, str]] = []
        self.gate = trio.Event()
        self.act: dict[int, Callable[[], Awaitable[None]]] = {}
        self.queues = ChatQueues(self.inbox, self.dispatch, self.on_failure)

    async def dispatch(self, payload: dict[str, Any]) -> None:
        update_id = payload["update_id"]
        self.began.append(update_id)
        update = current_update()
        assert update is not None
        assert update.update_id == update_id
        await self.act.get(update_id, trio.lowlevel.checkpoint)()
        self.handled.append(update_id)

    async def on_failure(self, update: StoredUpdate, error: Exception) -> None:
        await trio.lowlevel.checkpoint()
        self.failures.append((update.update_id, type(error).__name__))

    async def hang(self) -> None:
        await trio.sleep_forever()

    async def wait(self) -> None:
        await self.gate.wait()

    async def fail(self) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("boom")

    async def bring(self, *payloads: dict[str, Any]) -> None:
        """Store updates and offer the new ones, as the intake does."""
        updates = [stored(payload) for payload in payloads]
        new = await self.inbox.store(updates)
        self.queues.offer([update for update in updates if update.update_id in new])

    async def settle(self) -> None:
        await wait_all_tasks_blocked()
        await trio.sleep(0.001)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.queues.run)
        await scene.settle()
        yield nursery
        nursery.cancel_scope.cancel()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_chat_is_served_in_order_and_chats_at_once(scene: Scene, autojump_clock: MockClock) -> None:
    """A chat's second update waits for its first; another chat's does not."""
    scene.act[1] = scene.wait
    async with running(scene):
        await scene.bring(message(1, chat_id=10), message(2, chat_id=10), message(3, chat_id=20))
        await scene.settle()
        assert sorted(scene.began) == [1, 3]
        scene.gate.set()
        await scene.settle()
        assert scene.handled == [3, 1, 2]
        await scene.bring(press(4, chat_id=10))
        await scene.settle()
        assert scene.inbox.ended == {1: "done", 2: "done", 3: "done", 4: "done"}
        assert scene.queues.statistics().queues == 0


async def test_a_press_waits_for_the_message_before_it(scene: Scene, autojump_clock: MockClock) -> None:
    """In a private chat, messages and presses stand in one queue."""
    scene.act[1] = scene.wait
    async with running(scene):
        await scene.bring(message(1, chat_id=10), press(2, chat_id=10))
        await scene.settle()
        assert scene.began == [1]
        scene.gate.set()


async def test_a_hung_handler_is_cut_at_its_deadline(scene: Scene, autojump_clock: MockClock) -> None:
    """After 25 s an update fails, its customer is told, and the chat goes on."""
    scene.act[1] = scene.hang
    async with running(scene):
        began = trio.current_time()
        await scene.bring(message(1), message(2))
        while 2 not in scene.handled:
            await trio.sleep(1)
        assert 25 <= trio.current_time() - began <= 27
        await scene.settle()
    assert scene.failures == [(1, UpdateDeadline.__name__)]
    assert scene.inbox.ended == {1: "failed", 2: "done"}


async def test_a_failure_is_counted_told_and_ends_the_update(scene: Scene, autojump_clock: MockClock) -> None:
    """A handler's exception costs its own update and nothing else, even when telling fails as well."""

    async def tell_badly(_update: StoredUpdate, _error: Exception) -> None:
        raise OSError("no way to tell")

    scene.act[1] = scene.fail
    scene.queues = ChatQueues(scene.inbox, scene.dispatch, tell_badly)
    labels = {"kind": "message", "outcome": "failed"}
    before = metrics.REGISTRY.get_sample_value("vpnd_telegram_updates_total", labels) or 0
    async with running(scene):
        await scene.bring(message(1), message(2))
        await scene.settle()
    assert scene.inbox.ended == {1: "failed", 2: "done"}
    assert metrics.REGISTRY.get_sample_value("vpnd_telegram_updates_total", labels) == before + 1


async def test_money_is_tried_until_it_succeeds(scene: Scene, autojump_clock: MockClock) -> None:
    """A payment's update never ends as failed: it is tried again with back-off, and its chat does not wait for it."""
    tries: list[float] = []

    async def fail_thrice() -> None:
        tries.append(trio.current_time())
        if len(tries) <= 3:
            raise RuntimeError("no database")

    scene.act[1] = fail_thrice
    async with running(scene):
        await scene.bring(payment(1), message(2))
        await scene.settle()
        assert scene.handled == [2]
        assert scene.queues.statistics().retrying == 1
        await trio.sleep(30)
        await scene.settle()
    assert len(tries) == 4
    assert 0.5 <= tries[1] - tries[0] <= 1.01
    assert 2.0 <= tries[3] - tries[2] <= 4.01
    assert scene.inbox.ended == {1: "done", 2: "done"}
    assert scene.failures == [(1, "RuntimeError")]  # told once, not at each try


async def test_a_pre_checkout_waits_for_nobody(
    scene: Scene, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buyer's app gives up after 10 s: neither his own queue nor a full house may hold him up."""
    monkeypatch.setattr(chats_module, "MOST_IN_ALL", 3)
    for update_id in (1, 2, 3):
        scene.act[update_id] = scene.wait
    async with running(scene):
        await scene.bring(message(1, 7), message(2, 8), message(3, 9), pre_checkout(4, 7))
        await scene.settle()
        assert 4 in scene.handled
        scene.gate.set()
        await scene.settle()
    assert scene.inbox.ended[4] == "done"


async def test_a_pre_checkout_has_eight_seconds(scene: Scene, autojump_clock: MockClock) -> None:
    """A hung check is cut while an answer can still arrive in time."""
    scene.act[1] = scene.hang
    async with running(scene):
        began = trio.current_time()
        await scene.bring(pre_checkout(1))
        while not scene.failures:
            await trio.sleep(0.1)
        assert trio.current_time() - began == pytest.approx(8.0, abs=0.2)


async def test_a_flooded_chat_spills_and_starves_nobody(scene: Scene, autojump_clock: MockClock) -> None:
    """Of 500 updates of one chat, 20 wait in memory; the rest is read later, in order, and others are served meanwhile."""
    scene.act[1] = scene.wait
    async with running(scene):
        await scene.bring(*(message(number, chat_id=666) for number in range(1, 501)))
        await scene.bring(message(501, chat_id=7))
        await scene.settle()
        assert scene.handled == [501]
        assert scene.queues.statistics().held <= chats_module.MOST_OF_CHAT + 1
        scene.gate.set()
        for _ in range(50):
            await scene.settle()
    assert scene.handled == [501, *range(1, 501)]
    assert len(scene.inbox.ended) == 501


async def test_a_full_house_falls_behind_and_catches_up(
    scene: Scene, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More chats than fit in memory: the rest stays in the table, nothing is lost, doubled or out of order."""
    monkeypatch.setattr(chats_module, "MOST_IN_ALL", 10)
    monkeypatch.setattr(chats_module, "PAGE", 7)
    for number in range(1, 11):
        scene.act[number] = scene.wait
    async with running(scene):
        for start in range(1, 201, 20):
            await scene.bring(*(message(n, chat_id=1000 + n % 60) for n in range(start, start + 20)))
        await scene.settle()
        assert scene.queues.statistics().behind
        assert scene.queues.statistics().held <= 10
        scene.gate.set()
        for _ in range(400):
            await scene.settle()
        assert not scene.queues.statistics().behind
        await scene.bring(message(999))
        await scene.settle()
    assert sorted(scene.handled) == [*range(1, 201), 999]
    for chat in range(60):
        own = [number for number in scene.handled if number % 60 == chat and number != 999]
        assert own == sorted(own)


async def test_unfinished_updates_are_played_before_new_ones(scene: Scene, autojump_clock: MockClock) -> None:
    """What a kill left behind goes first within its chat."""
    left = [stored(message(number, chat_id=7)) for number in (1, 2, 3)]
    await scene.inbox.store(left)
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.queues.run)
        await scene.bring(message(4, chat_id=7), message(5, chat_id=8))
        await scene.settle()
        nursery.cancel_scope.cancel()
    assert [number for number in scene.handled if number != 5] == [1, 2, 3, 4]
    assert 5 in scene.handled


async def test_what_nobody_waits_for_any_more_is_dropped(scene: Scene, autojump_clock: MockClock) -> None:
    """A press or a pre-checkout from before a long outage is dropped and counted; a message is answered."""
    long_ago = datetime.now(UTC) - timedelta(seconds=151)
    old = [
        attrs.evolve(stored(payload), received_at=long_ago)
        for payload in (press(1), pre_checkout(2), message(3))
    ]
    await scene.inbox.store(old)
    async with running(scene):
        await scene.settle()
    assert scene.handled == [3]
    assert scene.inbox.ended == {1: "dropped", 2: "dropped", 3: "done"}


async def test_an_update_offered_twice_is_handled_once(scene: Scene, autojump_clock: MockClock) -> None:
    """An update that is in hand, or ended but not yet written, is not begun again."""
    scene.act[1] = scene.wait
    async with running(scene):
        await scene.bring(message(1))
        await scene.settle()
        scene.queues.offer([stored(message(1))])
        scene.queues.fall_behind(1)  # somebody doubts: the table is read once more
        await scene.settle()
        scene.gate.set()
        await scene.settle()
    assert scene.handled == [1]


async def test_stored_but_never_offered_is_found(scene: Scene, autojump_clock: MockClock) -> None:
    """A store whose outcome was unknown is looked up in the table."""
    async with running(scene):
        await scene.inbox.store([stored(message(1))])  # the answer was lost: nobody offers it
        scene.queues.fall_behind(1)
        await scene.settle()
        assert scene.handled == [1]
        assert not scene.queues.statistics().behind


async def test_ends_are_written_when_the_database_is_back(scene: Scene, autojump_clock: MockClock) -> None:
    """Handlers go on while the database is away, and nothing that ended is forgotten."""
    async with running(scene):
        await scene.bring(message(1), message(2))
        scene.inbox.down = True
        await scene.settle()
        assert scene.handled == [1, 2]
        assert scene.inbox.ended == {}
        await trio.sleep(60)
        scene.inbox.down = False
        await trio.sleep(10)
        assert scene.inbox.ended == {1: "done", 2: "done"}


async def test_stopping_lets_handlers_end(scene: Scene, autojump_clock: MockClock) -> None:
    """When cancelled, a handler that needs a moment gets it, a queue begins nothing more, and the end is written."""

    async def work() -> None:
        await trio.sleep(1.0)

    scene.act[1] = work
    async with running(scene) as nursery:
        await scene.bring(message(1), message(2))
        await scene.settle()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert 0.9 <= trio.current_time() - began <= 1.1
    assert scene.handled == [1]
    assert scene.inbox.ended == {1: "done"}
    assert list(scene.inbox.rows) == [2]


async def test_stopping_cuts_what_hangs(scene: Scene, autojump_clock: MockClock) -> None:
    """A hung send is cut after the grace; its update stays unfinished and is played at the next run."""
    scene.act[1] = scene.hang
    async with running(scene) as nursery:
        await scene.bring(message(1), message(2, chat_id=8))
        await scene.settle()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(chats_module.GRACE, abs=0.1)
    assert scene.inbox.ended == {2: "done"}
    assert scene.failures == []
    del scene.act[1]
    async with running(scene):
        await scene.settle()
    assert scene.handled == [2, 1]


async def test_draining_with_a_dead_database_is_bounded(scene: Scene, autojump_clock: MockClock) -> None:
    """A stop does not wait for a database that is away."""
    async with running(scene):
        await scene.bring(message(1))
        scene.inbox.down = True
        await scene.settle()
        began = trio.current_time()
        await scene.queues.drain(1.5)
        assert trio.current_time() - began < 1
