"""The bot and the dispatcher: what we rely on in PTB, and what we changed."""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncIterator, Sized
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
import telegram.error as ptb
import trio
from telegram import Bot, TelegramObject, Update
from telegram.ext import Application, ApplicationHandlerStop, CommandHandler, ExtBot, MessageHandler, filters
from telegram_fakes import ME, TOKEN, Answer, FakeTelegram, fake_telegram, fault, message, ok

from vpnd.runtime import metrics
from vpnd.runtime.held import HeldConnectionError, open_mark
from vpnd.telegram.application import build_application
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.errors import (
    Blocked,
    Conflict,
    Migrated,
    NotModified,
    Rejected,
    RetryLater,
    TelegramError,
    TelegramUnavailable,
    TransportFailure,
    Unauthorized,
    translate,
)
from vpnd.telegram.lanes import Lane, Lanes
from vpnd.telegram.sender import LaneLimiter, Sender, current_lane, tokens_needed
from vpnd.telegram.transport import DirectRequest


@asynccontextmanager
async def bot_of(fake: FakeTelegram) -> AsyncIterator[TrioBot]:
    lanes = Lanes(30.0, 1.0)
    bot = TrioBot(TOKEN, fake.base, DirectRequest(fake.base), DirectRequest(fake.base), LaneLimiter(lanes))
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        yield bot
        await bot.shutdown()
        nursery.cancel_scope.cancel()


def test_the_private_parts_of_ptb_are_still_there() -> None:
    """TrioBot stands on these names; a new PTB that renames one must fail here and not in production."""
    assert {"_bot_initialized", "_requests_initialized", "_request", "_bot_user"} <= set(Bot.__slots__)
    assert "asyncio.gather" in inspect.getsource(Bot.initialize)
    assert "self._requests_initialized and self._bot_initialized" in inspect.getsource(Bot.initialize)
    assert "await super().initialize()" in inspect.getsource(ExtBot.initialize)
    assert list(inspect.signature(ExtBot._do_post).parameters)[1:3] == ["endpoint", "data"]
    assert TelegramObject.__setattr__ is object.__setattr__
    assert "self._initialized" in inspect.getsource(Application._check_initialized)
    assert "await self.process_error(update=update, error=exc)" in inspect.getsource(
        Application.process_update
    )
    assert ptb.RetryAfter(3).retry_after == timedelta(seconds=3)


async def test_the_bot_learns_who_it_is_and_may_do_so_again() -> None:
    """initialize and shutdown work on trio, and a failed initialize can be repeated."""

    async def down(_: dict[str, str]) -> Answer:
        return fault(502, "Bad Gateway")

    async with fake_telegram() as fake, bot_of(fake) as bot:
        fake.script["getMe"] = down
        with pytest.raises(TelegramUnavailable):
            await bot.initialize()
        before = bot.identified
        del fake.script["getMe"]
        await bot.initialize()
        await bot.initialize()
        assert (before, bot.identified) == (False, True)
        assert bot.username == ME["username"]
        assert TOKEN not in repr(bot)


async def test_raw_calls_build_no_objects() -> None:
    """getUpdates gives the JSON as it came, unknown kinds of updates included."""
    async with fake_telegram() as fake, bot_of(fake) as bot:
        fake.push({"update_id": 5, "subscription": {"state": "active"}})
        assert await bot.call("getUpdates", {"timeout": 0}) == [
            {"update_id": 5, "subscription": {"state": "active"}}
        ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (fault(403, "Forbidden: bot was blocked by the user"), Blocked),
        (fault(403, "Forbidden: user is deactivated"), Blocked),
        (fault(400, "Bad Request: chat not found"), Blocked),
        (fault(400, "Bad Request: message is not modified: specified new …"), NotModified),
        (fault(400, "Bad Request: message text is empty"), Rejected),
        (fault(400, "Bad Request: group upgraded", migrate_to_chat_id=-100123), Migrated),
        (fault(401, "Unauthorized"), Unauthorized),
        (fault(409, "Conflict: terminated by other getUpdates request"), Conflict),
        (fault(500, "Internal Server Error"), TelegramUnavailable),
        (fault(502, "Bad Gateway"), TelegramUnavailable),
        ((200, b"<html>a proxy"), TelegramUnavailable),
        (None, TelegramUnavailable),
    ],
)
async def test_every_failure_has_one_name_of_ours(answer: Answer, expected: type[TelegramError]) -> None:
    """What Telegram or the network says reaches a caller as our own error, with the method's name."""

    async def say(_: dict[str, str]) -> Answer:
        return answer

    async with fake_telegram() as fake, bot_of(fake) as bot:
        fake.script["sendMessage"] = say
        with pytest.raises(TelegramError) as caught:
            await bot.send_message(1, "x")
    assert type(caught.value) is expected
    assert caught.value.method == "sendMessage"
    assert caught.value.boundary_down is (expected is TelegramUnavailable)
    assert TOKEN not in str(caught.value)
    if isinstance(caught.value, Migrated):
        assert caught.value.new_chat_id == -100123
    if isinstance(caught.value, TelegramUnavailable):
        assert caught.value.maybe_sent is (answer is None or answer[1] == b"<html>a proxy")


@pytest.mark.parametrize(
    "answer",
    [
        fault(403, "Forbidden: bot was blocked by the user"),
        fault(400, "Bad Request: query is too old"),
        fault(400, "Bad Request: group upgraded", migrate_to_chat_id=-100123),
        fault(502, "Bad Gateway"),
        (200, b"<html>a proxy"),
        None,
    ],
)
async def test_a_refused_call_leaves_nothing_to_the_collector(answer: Answer) -> None:
    """Errors do not hold the frames they came by: a refused call gives its request and answer back at once."""

    async def say(_: dict[str, str]) -> Answer:
        return answer

    async with fake_telegram() as fake, bot_of(fake) as bot:
        fake.script["sendMessage"] = say
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(10):
                with suppress(TelegramError):
                    await bot.send_message(number, "x")
            gc.collect()
            left = [one for one in gc.garbage if isinstance(one, Exception)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []


def test_translate_leaves_our_own_faults_alone() -> None:
    """A fault of the program is no fault of Telegram's, also when PTB has wrapped it."""
    fault_of_ours = HeldConnectionError("a call", "site")
    wrapped = ptb.NetworkError("Unknown error in HTTP implementation")
    wrapped.__cause__ = fault_of_ours
    value = ValueError("x")

    assert translate(wrapped) is fault_of_ours
    assert translate(value) is value
    refused = translate(TransportFailure("refused", maybe_sent=False))
    assert isinstance(refused, TelegramUnavailable)
    assert not refused.maybe_sent


async def test_a_flood_wait_is_waited_out_or_told(autojump_clock: trio.testing.MockClock) -> None:
    """A short 429 is repeated after its wait; one that outlasts the caller's deadline is told at once."""
    answers: list[Exception | dict[str, int]] = []

    async def call() -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    lanes = Lanes(30.0, 1.0)
    limiter = LaneLimiter(lanes)

    async def send() -> Any:
        return await limiter.process_request(lambda: call(), (), {}, "sendMessage", {"chat_id": 4}, None)

    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        answers[:] = [ptb.RetryAfter(3), {"message_id": 1}]
        began = trio.current_time()
        assert await send() == {"message_id": 1}
        assert trio.current_time() - began == pytest.approx(3.0)
        answers[:] = [ptb.RetryAfter(20), {"message_id": 2}]
        with trio.fail_after(10), pytest.raises(RetryLater) as caught:
            await send()
        assert caught.value.after == pytest.approx(20.0)
        nursery.cancel_scope.cancel()


async def test_nothing_is_sent_while_a_connection_is_held() -> None:
    """Every awaitable of the sender refuses to run inside a transaction scope."""
    async with fake_telegram() as fake, bot_of(fake) as bot:
        sender = Sender(bot, Lanes(30.0, 1.0))
        with open_mark("shop.settle"):
            for attempt in (
                lambda: bot.send_message(1, "x"),
                lambda: bot.answer_callback_query("1"),
                lambda: bot.call("getUpdates"),
                lambda: sender.call(Lane.NOTICE, "send_message", chat_id=1, text="x"),
            ):
                with pytest.raises(HeldConnectionError):
                    await attempt()
        assert fake.calls == []


async def test_lanes_are_chosen_by_context() -> None:
    """A handler's ordinary calls are replies; a relay names its lane, and the metric shows it."""

    def sent(lane: str) -> float:
        labels = {"method": "sendMessage", "lane": lane, "outcome": "ok"}
        return metrics.REGISTRY.get_sample_value("vpnd_telegram_sends_total", labels) or 0.0

    async with fake_telegram() as fake, bot_of(fake) as bot:
        sender = Sender(bot, Lanes(30.0, 1.0))
        before = {lane: sent(lane.label) for lane in Lane}
        await bot.send_message(1, "x")
        with sender.lane(Lane.RECEIPT):
            assert current_lane() is Lane.RECEIPT
            await bot.send_message(1, "x")
        await sender.call(Lane.BROADCAST, bot.send_message, chat_id=1, text="x")
        assert current_lane() is Lane.REPLY
        grown = {lane: sent(lane.label) - before[lane] for lane in Lane}
    assert grown == {Lane.REPLY: 1, Lane.RECEIPT: 1, Lane.NOTICE: 0, Lane.BROADCAST: 1}


@pytest.mark.parametrize(
    ("method", "parameters", "tokens"),
    [
        ("sendMessage", {}, 1),
        ("sendInvoice", {}, 1),
        ("copyMessage", {}, 1),
        ("copyMessages", {"message_ids": [1, 2, 3]}, 3),
        ("sendMediaGroup", {"media": [1, 2]}, 2),
        ("sendChatAction", {}, 0),
        ("editMessageText", {}, 0),
        ("deleteMessage", {}, 0),
        ("answerCallbackQuery", {}, 0),
        ("answerPreCheckoutQuery", {}, 0),
        ("getMe", {}, 0),
    ],
)
def test_only_new_messages_are_metered(method: str, parameters: dict[str, Any], tokens: int) -> None:
    """A call needs a token for each message it makes; all else is free."""
    assert tokens_needed(method, parameters) == tokens


async def test_a_handlers_failure_reaches_the_caller() -> None:
    """An exception of a handler is not swallowed, and PTB's way to stop further handlers still works."""
    seen: list[str] = []

    async def stop(_update: Update, _context: Any) -> None:
        seen.append("stop")
        raise ApplicationHandlerStop

    async def fail(_update: Update, _context: Any) -> None:
        raise KeyError("boom")

    async with fake_telegram() as fake, bot_of(fake) as bot:
        application = build_application(bot)
        application.add_handler(CommandHandler("stop", stop), 0)
        application.add_handler(MessageHandler(filters.TEXT, fail), 1)
        await application.initialize()
        await application.dispatch(message(1, text="/stop"))
        with pytest.raises(KeyError, match="boom"):
            await application.dispatch(message(2, text="hello"))
    assert seen == ["stop"]


async def test_nobody_who_wrote_is_remembered_for_good() -> None:
    """A hundred people later the dispatcher holds no more than before: PTB would keep the ids of all who ever wrote."""

    async def listen(_update: Update, _context: Any) -> None:
        """Take the update and do nothing with it."""

    async with fake_telegram() as fake, bot_of(fake) as bot:
        application = build_application(bot)
        application.add_handler(MessageHandler(filters.TEXT, listen))
        await application.initialize()

        def sizes() -> dict[str, int]:
            names = {name for kind in type(application).__mro__ for name in getattr(kind, "__slots__", ())}
            held = {name: getattr(application, name, None) for name in names}
            return {name: len(value) for name, value in held.items() if isinstance(value, Sized)}

        before = sizes()
        for number in range(100):
            await application.dispatch(message(number, chat_id=1000 + number))
        assert sizes() == before


async def test_ptbs_own_runtime_is_closed_off() -> None:
    """What would start asyncio tasks refuses to."""
    async with fake_telegram() as fake, bot_of(fake) as bot:
        application = build_application(bot)
        with pytest.raises(ValueError, match="unblocking"):
            application.add_handler(MessageHandler(filters.ALL, lambda *_: ok(1), block=False))  # type: ignore[arg-type]  # never called
        with pytest.raises(RuntimeError):
            await application.start()
        with pytest.raises(RuntimeError):
            application.create_task()
        assert application.updater is None
        assert application._job_queue is None
