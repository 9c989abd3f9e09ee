"""The lanes on a clock of their own: who goes first, who waits where, and what a refusal teaches."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vpnd.telegram import lanes as lanes_module
from vpnd.telegram.errors import RetryLater
from vpnd.telegram.lanes import Lane, Lanes


@asynccontextmanager
async def running(
    per_second: float = 30.0, per_chat: float = 1.0
) -> AsyncIterator[tuple[Lanes, trio.Nursery]]:
    lanes = Lanes(per_second, per_chat)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        yield lanes, nursery
        nursery.cancel_scope.cancel()


async def test_tokens_at_hand_cost_no_turn_of_the_loop(autojump_clock: MockClock) -> None:
    """The fast path does not even yield: dispatch speed hangs on it."""
    lanes = Lanes(30.0, 1.0)
    with trio.CancelScope() as scope:
        scope.cancel()  # any checkpoint would raise
        await lanes.take(Lane.REPLY, 1)

    assert not scope.cancelled_caught
    assert lanes.statistics().granted == 1


async def test_a_broadcast_is_spread_and_holds_the_limit(autojump_clock: MockClock) -> None:
    """600 messages take about 20 s at 30/s, evenly, and no second ever sees more than 30."""
    times: list[float] = []

    async def send(chat: int) -> None:
        await lanes.take(Lane.BROADCAST, chat)
        times.append(trio.current_time())

    async with running() as (lanes, _):
        began = trio.current_time()
        async with trio.open_nursery() as senders:
            for chat in range(600):
                senders.start_soon(send, chat)
    assert 600 / (times[-1] - began) >= 0.97 * 30
    assert all(sum(1 for at in times if start <= at < start + 1.0) <= 30 for start in times)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) <= 2 / 30 + 1e-6


async def test_a_reply_takes_the_next_token_of_all(autojump_clock: MockClock) -> None:
    """While a broadcast runs at full rate, a reply waits for one pace at most."""
    waits: list[float] = []

    async def broadcast(chat: int) -> None:
        await lanes.take(Lane.BROADCAST, chat)

    async with running() as (lanes, nursery):
        for chat in range(300):
            nursery.start_soon(broadcast, chat)
        for number in range(20):
            await trio.sleep(0.2)
            began = trio.current_time()
            await lanes.take(Lane.REPLY, 10_000 + number)
            waits.append(trio.current_time() - began)

    assert max(waits) <= 1.02 / 30


async def test_lanes_go_in_their_order(autojump_clock: MockClock) -> None:
    """When all wait for the same token, replies go before receipts, notices and broadcasts."""
    order: list[Lane] = []

    async def send(lane: Lane, chat: int) -> None:
        await lanes.take(lane, chat)
        order.append(lane)

    async with running(per_second=1.0) as (lanes, nursery):
        await lanes.take(Lane.REPLY, 0)
        for number, lane in enumerate([Lane.BROADCAST, Lane.NOTICE, Lane.REPLY, Lane.RECEIPT], 1):
            nursery.start_soon(send, lane, number)
            await wait_all_tasks_blocked()
        await trio.sleep(10)

    assert order == [Lane.REPLY, Lane.RECEIPT, Lane.NOTICE, Lane.BROADCAST]


async def test_a_spent_chat_holds_up_nobody_else(autojump_clock: MockClock) -> None:
    """Ten messages to one chat wait for its own tokens; another chat's message goes at once."""
    times: list[float] = []

    async def send() -> None:
        await lanes.take(Lane.REPLY, 1)
        times.append(trio.current_time())

    async with running() as (lanes, nursery):
        began = trio.current_time()
        for _ in range(10):
            nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await lanes.take(Lane.REPLY, 2)
        assert trio.current_time() == began
        await trio.sleep(10)

    assert [round(at - began) for at in times] == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]


async def test_a_group_gets_twenty_a_minute(autojump_clock: MockClock) -> None:
    """A group's limit is by the minute, and a call that would wait for it longer than half a minute is told so."""
    async with running() as (lanes, _):
        began = trio.current_time()
        sent = 0
        with pytest.raises(RetryLater) as caught:
            while sent < 30:
                await lanes.take(Lane.NOTICE, -100)
                sent += 1
        assert sent == 20
        assert trio.current_time() - began + caught.value.after == pytest.approx(60, abs=2)


async def test_nobody_sleeps_past_his_deadline(autojump_clock: MockClock) -> None:
    """When it is known that the token comes after the caller's deadline, he is told at once."""
    async with running() as (lanes, _):
        lanes.refused(5, 20.0)
        began = trio.current_time()
        with trio.fail_after(10), pytest.raises(RetryLater) as caught:
            await lanes.take(Lane.REPLY, 5)
        assert caught.value.after == pytest.approx(20.0)
        assert trio.current_time() == began
        await lanes.take(Lane.REPLY, 5)  # without a deadline it is waited for
        assert trio.current_time() == pytest.approx(began + 20.0)


async def test_a_cancelled_wait_leaves_no_trace(autojump_clock: MockClock) -> None:
    """Whoever gives up takes no token and blocks nobody behind him, not even in his own chat."""
    async with running(per_second=1.0) as (lanes, _):
        await lanes.take(Lane.REPLY, 1)
        async with trio.open_nursery() as nursery:
            for chat in (1, 1, 2):
                nursery.start_soon(lanes.take, Lane.REPLY, chat)
            await trio.sleep(0.5)  # no deadline: one that is known beforehand would not even wait
            assert lanes.statistics().waiting["reply"] == 3
            nursery.cancel_scope.cancel()
        assert set(lanes.statistics().waiting.values()) == {0}
        began = trio.current_time()
        await lanes.take(Lane.REPLY, 1)
        assert trio.current_time() - began <= 0.6


async def test_refusals_shrink_the_window_and_time_widens_it(autojump_clock: MockClock) -> None:
    """Another program uses the same token: the limit is learned, and tried again one higher later."""
    async with running() as (lanes, _):
        for chat in range(5):
            await lanes.take(Lane.NOTICE, chat)
            lanes.refused(chat, 1.0)
            lanes.succeeded()
        assert lanes.statistics().limit == 25
        await trio.sleep(lanes_module.RAISE_AFTER)
        await lanes.take(Lane.NOTICE, 100)
        assert lanes.statistics().limit == 26


async def test_refusals_of_several_chats_in_a_row_stop_everything(autojump_clock: MockClock) -> None:
    """A flood wait of the whole bot is obeyed by every call, metered or not."""
    async with running() as (lanes, _):
        for chat in range(lanes_module.REFUSALS_IN_ROW):
            lanes.refused(chat, 7.0)
        began = trio.current_time()
        await lanes.pass_unmetered(99)
        assert trio.current_time() - began == pytest.approx(7.0)


async def test_a_fast_chat_is_blamed_itself(autojump_clock: MockClock) -> None:
    """A refusal of a chat that has used up its burst does not slow the others down."""
    async with running() as (lanes, _):
        for _ in range(5):
            await lanes.take(Lane.REPLY, 1)
        lanes.refused(1, 3.0)
        assert lanes.statistics().limit == 30


async def test_chats_are_forgotten(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of people ever written to."""
    monkeypatch.setattr(lanes_module, "MOST_CHATS", 50)
    async with running(per_second=0.0) as (lanes, _):
        for chat in range(1000):
            await lanes.take(Lane.REPLY, chat)
            await trio.sleep(0.1)
        assert lanes.statistics().chats <= 60


async def test_lifted_limits_let_everything_through(autojump_clock: MockClock) -> None:
    """0 lifts a limit: a local Bot API server or a test knows none."""
    async with running(per_second=0.0, per_chat=0.0) as (lanes, _):
        began = trio.current_time()
        for _ in range(500):
            await lanes.take(Lane.BROADCAST, -5)
        assert trio.current_time() == began


async def test_replies_at_random_find_no_gaps_beside_a_broadcast(autojump_clock: MockClock) -> None:
    """Ten replies a second at random beside a broadcast that takes all it can: each waits a moment, and it gets its share."""
    chance = Random(1)
    waits: list[float] = []
    sent = itertools.count()
    seconds = 120.0

    async def broadcast() -> None:
        while True:
            await lanes.take(Lane.BROADCAST, 1_000_000 + next(sent))
            await trio.sleep(0.003)

    async def reply(chat: int) -> None:
        began = trio.current_time()
        await lanes.take(Lane.REPLY, chat)
        waits.append(trio.current_time() - began)

    async with running() as (lanes, nursery):
        for _ in range(32):
            nursery.start_soon(broadcast)
        end = trio.current_time() + seconds
        async with trio.open_nursery() as people:
            for chat in itertools.count(1):
                await trio.sleep(chance.expovariate(10))
                if trio.current_time() >= end:
                    break
                people.start_soon(reply, chat)
        nursery.cancel_scope.cancel()

    waits.sort()
    assert waits[len(waits) // 2] < 0.005
    assert waits[int(len(waits) * 0.99)] <= 0.085
    assert next(sent) / seconds >= 0.92 * (30 - len(waits) / seconds)


async def test_other_limits_count_at_once(autojump_clock: MockClock) -> None:
    """Who waits is served by the new limits; what has just been sent still counts within its second."""
    times: list[float] = []

    async def send(lane: Lane, chat: int) -> None:
        await lanes.take(lane, chat)
        times.append(trio.current_time())

    async with running(2.0) as (lanes, _):
        began = trio.current_time()
        async with trio.open_nursery() as senders:
            for chat in range(40):
                senders.start_soon(send, Lane.REPLY, chat)
            await wait_all_tasks_blocked()
            assert len(times) == 2
            lanes.limit(20.0, 1.0)
            await wait_all_tasks_blocked()
            assert len(times) == 20
        assert times[-1] - began < 2.5
        assert lanes.statistics().limit == 20


async def test_a_lifted_limit_lets_a_parked_chat_go(autojump_clock: MockClock) -> None:
    """A chat that waited for its own tokens, and a group for its minute, go at once when limits are lifted."""
    async with running(0, 1.0) as (lanes, nursery):
        for _ in range(5):
            await lanes.take(Lane.REPLY, 7)
        for _ in range(5):
            await lanes.take(Lane.REPLY, -7)
        began = trio.current_time()
        for chat in (7, 7, -7, -7):
            nursery.start_soon(lanes.take, Lane.REPLY, chat)
        await wait_all_tasks_blocked()
        assert sum(lanes.statistics().waiting.values()) == 4
        lanes.limit(0, 0)
        await wait_all_tasks_blocked()
        assert sum(lanes.statistics().waiting.values()) == 0
        assert trio.current_time() == began
        assert lanes.statistics().limit is None


async def test_a_thousand_a_second_leave_by_fives(autojump_clock: MockClock) -> None:
    """Where tokens come each millisecond, nobody is woken alone; the rate is kept, and a reply waits for one rest at most."""
    times: list[float] = []

    async def send(chat: int) -> None:
        await lanes.take(Lane.BROADCAST, chat)
        times.append(trio.current_time())

    async with running(1000.0, 0.0) as (lanes, _):
        began = trio.current_time()
        async with trio.open_nursery() as senders:
            for chat in range(5000):
                senders.start_soon(send, chat)
            await trio.sleep(2.0013)  # in the middle of a rest
            replied = trio.current_time()
            await lanes.take(Lane.REPLY, 1)
            assert trio.current_time() - replied <= lanes_module.REST
    seconds = times[-1] - began
    assert 5000 / seconds >= 0.95 * 1000
    assert len(set(times)) <= seconds / lanes_module.REST + 2
    assert max(b - a for a, b in itertools.pairwise(sorted(times))) <= 2 * lanes_module.REST
