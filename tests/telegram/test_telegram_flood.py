"""What one person may ask at once: the bucket, the bound of the map, and what is never limited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from telegram_fakes import MemoryInbox, fake_telegram, message, payment, pre_checkout, press, stored
from test_telegram_service import callbacks, register

from vpnd.config import LimitsSettings, Secret, Settings, TelegramSettings
from vpnd.runtime import metrics
from vpnd.telegram.flood import MOST_PEOPLE, TELL_EVERY, FloodGuard, Verdict
from vpnd.telegram.handling import Ending, Handling
from vpnd.telegram.sender import Sender
from vpnd.telegram.service import Callbacks, open_telegram
from vpnd.telegram.update import StoredUpdate


def verdicts(guard: FloodGuard, payload: dict[str, Any], times: int, now: float) -> list[Verdict]:
    """The same update so many times at one moment."""
    return [guard.judge(stored(payload), now) for _ in range(times)]


def limited(kind: str) -> float:
    """How many updates of a kind were one too many so far."""
    labels = {"kind": kind, "outcome": "limited"}
    return float(metrics.REGISTRY.get_sample_value("vpnd_telegram_updates_total", labels) or 0)


def test_a_burst_and_what_comes_back() -> None:
    """Twenty at once, then two a second; what was refused costs no token."""
    guard = FloodGuard(20, 2.0)

    assert verdicts(guard, press(1), 25, 100.0) == [Verdict.HANDLE] * 20 + [Verdict.TELL] * 5
    assert verdicts(guard, press(1), 3, 101.0) == [Verdict.HANDLE] * 2 + [Verdict.TELL]
    assert verdicts(guard, press(1), 21, 200.0) == [Verdict.HANDLE] * 20 + [Verdict.TELL]


def test_presses_and_messages_are_of_one_person() -> None:
    """Both take from the same bucket, and nobody takes from another's."""
    guard = FloodGuard(4, 1.0)

    verdicts(guard, press(1, 7), 2, 0.0)
    assert verdicts(guard, message(2, 7), 3, 0.0) == [Verdict.HANDLE] * 2 + [Verdict.TELL]
    assert verdicts(guard, message(3, 8), 1, 0.0) == [Verdict.HANDLE]


def test_a_message_gets_one_answer_and_then_silence() -> None:
    """A press is always answered; a message once, once more after a minute, and anew when its sender was calm."""
    guard = FloodGuard(2, 0.1)

    assert (
        verdicts(guard, message(1), 6, 0.0) == [Verdict.HANDLE] * 2 + [Verdict.TELL] + [Verdict.SILENCE] * 3
    )
    assert verdicts(guard, press(2), 1, 1.0) == [Verdict.TELL]
    # He goes on, so that his bucket is never full.
    for second in range(2, int(TELL_EVERY)):
        assert Verdict.TELL not in verdicts(guard, message(3), 3, float(second))
    assert Verdict.TELL in verdicts(guard, message(4), 5, TELL_EVERY + 1)
    assert verdicts(guard, message(5), 4, 1000.0) == [Verdict.HANDLE] * 2 + [Verdict.TELL, Verdict.SILENCE]


def _of(kind: str, number: int) -> dict[str, Any]:
    person = {"id": 7, "is_bot": False, "first_name": "P"}
    bodies: dict[str, dict[str, Any]] = {
        "my_chat_member": {"chat": {"id": 7, "type": "private"}, "from": person},
        "subscription": {"user": person, "invoice_payload": "p", "state": "active"},
        "purchased_paid_media": {"from": person, "paid_media_payload": "p"},
    }
    return {"update_id": number, kind: bodies[kind]}


@pytest.mark.parametrize(
    "payload",
    [
        payment(1), message(1, refunded_payment={"currency": "XTR"}), pre_checkout(1), _of("my_chat_member", 1),
        _of("subscription", 1), _of("purchased_paid_media", 1),
    ],
    ids=["paid", "refunded", "pre_checkout", "member", "subscription", "media"],
)  # fmt: skip
def test_what_matters_is_never_limited(payload: dict[str, Any]) -> None:
    """Money, a buyer at the till and comings and goings pass in the middle of a flood, and cost no token."""
    guard = FloodGuard(2, 0.001)
    verdicts(guard, message(9), 50, 0.0)

    assert set(verdicts(guard, payload, 500, 0.0)) == {Verdict.HANDLE}
    assert len(guard) == 1


def test_a_group_is_met_with_silence() -> None:
    """Nobody is told anything in a group, whatever is written there."""
    guard = FloodGuard(2, 0.001)
    there = message(1, -100, chat={"id": -100, "type": "supergroup"})

    assert Verdict.TELL not in verdicts(guard, there, 50, 0.0)


@pytest.mark.parametrize(("burst", "rate"), [(0, 2.0), (20, 0.0)])
def test_the_limit_can_be_lifted(burst: int, rate: float) -> None:
    """0 of either: everything is handled and nobody is remembered."""
    guard = FloodGuard(burst, rate)

    assert set(verdicts(guard, press(1), 1000, 0.0)) == {Verdict.HANDLE}
    assert len(guard) == 0


def test_the_map_cannot_grow() -> None:
    """100 000 people at one moment: as many as the bound are remembered, and who floods on is not forgotten among them."""
    guard = FloodGuard(20, 2.0)
    flooder = press(1, 1)
    assert verdicts(guard, flooder, 21, 0.0)[-1] is Verdict.TELL

    most = 0
    for number in range(2, 100_002):
        assert guard.judge(stored(message(number, number)), 0.0) is Verdict.HANDLE
        if number % 1000 == 0:
            assert guard.judge(stored(flooder), 0.0) is Verdict.TELL
        most = max(most, len(guard))

    assert most == len(guard) == MOST_PEOPLE


def test_who_is_calm_is_forgotten() -> None:
    """At the pace of a busy shop only those of the last seconds are remembered."""
    guard, rng, now = FloodGuard(20, 2.0), Random(1), 0.0

    for number in range(20_000):
        now += 0.005  # 200 updates a second
        guard.judge(stored(press(number, rng.randrange(1_000_000))), now)

    assert len(guard) < 1000


async def test_what_is_over_the_limit_is_not_handled(autojump_clock: trio.testing.MockClock) -> None:
    """No handler runs, the update has ended, it is counted; an answer that fails or hangs changes nothing of that."""
    handled: list[int] = []
    told: list[int] = []
    answer: list[Callable[[], Awaitable[None]]] = [trio.lowlevel.checkpoint]

    async def dispatch(payload: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(payload["update_id"])

    async def on_failure(_update: StoredUpdate, _error: Exception) -> None:
        raise AssertionError("it is no failure")

    async def too_fast(update: StoredUpdate) -> None:
        told.append(update.update_id)
        await answer[0]()

    async def fail() -> None:
        raise RuntimeError("no network")

    handling = Handling(dispatch, on_failure, guard=FloodGuard(2, 0.001), too_fast=too_fast)
    before = limited("callback_query")

    endings = [await handling.handle(stored(press(number))) for number in (1, 2, 3)]
    answer[0] = fail
    endings.append(await handling.handle(stored(press(4))))
    answer[0] = trio.sleep_forever
    endings.append(await handling.handle(stored(press(5))))
    endings.append(await handling.handle(stored(payment(6))))

    assert endings == [Ending.DONE] * 2 + [Ending.DROPPED] * 3 + [Ending.DONE]
    assert (handled, told) == ([1, 2, 6], [3, 4, 5])
    assert limited("callback_query") - before == 3


async def test_a_flood_over_real_sockets() -> None:
    """Of 60 presses and messages 5 are handled, each press is answered, one message is; a payment amid them is handled."""
    told: list[int] = []

    def said(sender: Sender) -> Callbacks:
        async def too_fast(update: StoredUpdate) -> None:
            told.append(update.update_id)
            query = update.payload.get("callback_query")
            if query is not None:
                await sender.bot.answer_callback_query(query["id"], text="slowly")

        usual = callbacks([])(sender)
        return Callbacks(usual.on_failure, usual.repair_notice, usual.refuse_pre_checkout, too_fast)

    inbox = MemoryInbox()
    limits = LimitsSettings(
        telegram_per_second=0.0, telegram_per_chat=0.0, user_burst=5, user_per_second=0.001
    )
    async with fake_telegram() as fake:
        settings = Settings(
            telegram=TelegramSettings(token=Secret("123456:" + "A" * 35), api_base=fake.base), limits=limits
        )
        fake.push(*(message(n) if n % 2 else press(n) for n in range(1, 61)), payment(61), message(62, 8))
        async with (
            open_telegram(settings, None, register=register, callbacks=said, store=inbox) as service,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(service.run)
            await fake.until(lambda: len(fake.sent()) == 5 and len(fake.sent("answerCallbackQuery")) == 30)
            nursery.cancel_scope.cancel()

    # Three messages and two presses of the first five, the payment, and the other person's.
    assert sorted(int(call["text"]) for call in fake.sent()) == [1, 3, 5, 61, 62]
    assert sorted(n for n in told if n % 2) == [7]
    assert [n for n in told if not n % 2] == list(range(6, 61, 2))
    assert sorted(inbox.ended) == list(range(1, 63))


def test_other_limits_count_at_once() -> None:
    """A reload changes what one person may do, for those who are remembered, too; 0 lifts it."""
    guard = FloodGuard(2, 1.0)
    assert verdicts(guard, press(1), 3, 0.0) == [Verdict.HANDLE] * 2 + [Verdict.TELL]
    guard.limit(4, 1.0)
    assert verdicts(guard, press(1), 5, 0.0) == [Verdict.HANDLE] * 4 + [Verdict.TELL]
    guard.limit(0, 1.0)
    assert verdicts(guard, press(1), 50, 0.0) == [Verdict.HANDLE] * 50
