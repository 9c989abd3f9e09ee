"""The whole Telegram side over real sockets, and over a real inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from telegram import Update
from telegram.ext import CallbackQueryHandler, CommandHandler, MessageHandler, filters
from telegram_fakes import (
    TOKEN,
    Answer,
    FakeTelegram,
    MemoryInbox,
    fake_telegram,
    message,
    ok,
    payment,
    press,
)

from vpnd.config import LimitsSettings, Secret, Settings, TelegramSettings
from vpnd.database.database import Database
from vpnd.telegram.application import TrioApplication
from vpnd.telegram.database_inbox import DatabaseInbox
from vpnd.telegram.lanes import Lane
from vpnd.telegram.service import Callbacks, TelegramService, open_telegram
from vpnd.telegram.store import InboxStore
from vpnd.telegram.update import StoredUpdate, parse_update


def register(application: TrioApplication) -> None:
    async def start(update: Update, _context: Any) -> None:
        assert update.effective_message is not None
        await update.effective_message.reply_text(f"hello {update.update_id}")

    async def echo(update: Update, _context: Any) -> None:
        assert update.effective_message is not None
        await update.effective_message.reply_text(f"{update.update_id}")

    async def pressed(update: Update, _context: Any) -> None:
        assert update.callback_query is not None
        await update.callback_query.answer()

    application.add_handler(CommandHandler("start", start))
    application.add_handler(MessageHandler(filters.ALL, echo))
    application.add_handler(CallbackQueryHandler(pressed))


def callbacks(failures: list[int]) -> Callable[[Any], Callbacks]:
    async def on_failure(update: StoredUpdate, _error: Exception) -> None:
        await trio.lowlevel.checkpoint()
        failures.append(update.update_id)

    async def tell(*_: Any) -> None:
        await trio.lowlevel.checkpoint()

    return lambda _sender: Callbacks(on_failure, tell, tell)


def settings(base: str, **telegram: Any) -> Settings:
    return Settings(
        telegram=TelegramSettings(token=Secret(TOKEN), api_base=base, **telegram),
        limits=LimitsSettings(telegram_per_second=0.0, telegram_per_chat=0.0, user_burst=0),
    )


@asynccontextmanager
async def serving(
    fake: FakeTelegram, inbox: InboxStore, **telegram: Any
) -> AsyncIterator[tuple[TelegramService, trio.CancelScope]]:
    async with (
        open_telegram(
            settings(fake.base, **telegram), None, register=register, callbacks=callbacks([]), store=inbox
        ) as service,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(service.run)
        yield service, nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def test_a_bot_answers() -> None:
    """From getUpdates to the reply, in order within a chat."""
    async with fake_telegram() as fake:
        inbox = MemoryInbox()
        fake.push(*(message(n, chat_id=7 + n % 3, text="/start") for n in range(1, 31)), press(31))
        async with serving(fake, inbox) as (service, _):
            await fake.until(lambda: len(fake.sent()) == 30 and len(fake.sent("answerCallbackQuery")) == 1)
            assert service.sender.statistics().granted == 30
        for chat in (7, 8, 9):
            texts = [int(p["text"].split()[1]) for p in fake.sent() if p["chat_id"] == str(chat)]
            assert texts == sorted(texts)
    assert len(inbox.ended) == 31


async def test_a_webhook_is_announced_and_accepted() -> None:
    """In webhook mode nobody polls; an update is answered when it was stored."""
    async with fake_telegram() as fake:
        async with serving(fake, MemoryInbox(), mode="webhook", webhook_secret=Secret("s3cret")) as (
            service,
            _,
        ):
            await fake.until(lambda: bool(fake.sent("setWebhook")))
            await service.intake.accept(message(1))
            await fake.until(lambda: len(fake.sent()) == 1)
        assert fake.sent("getUpdates") == []
        assert fake.sent("setWebhook")[0]["secret_token"] == "s3cret"
        assert fake.sent("setWebhook")[0]["drop_pending_updates"] == "false"


async def test_a_hung_send_is_cut_when_the_daemon_stops() -> None:
    """SIGTERM ends with the grace and no later; the update of the hung send is played at the next start."""

    async def hang(_: dict[str, str]) -> Answer:
        await trio.sleep_forever()

    inbox = MemoryInbox()
    async with fake_telegram() as fake:
        fake.script["sendMessage"] = hang
        fake.push(message(1))
        async with serving(fake, inbox) as (service, scope):
            await fake.until(lambda: len(fake.sent()) == 1)
            with trio.fail_after(5):
                await service.drain(0.01)
            scope.cancel()
        assert list(inbox.rows) == [1]
        del fake.script["sendMessage"]
        async with serving(fake, inbox):
            await fake.until(lambda: len(fake.sent()) == 2)
    assert list(inbox.ended) == [1]


async def test_the_service_may_be_run_again() -> None:
    """The supervisor restarts it in the same process, and it goes on where it was."""
    async with fake_telegram() as fake:
        inbox = MemoryInbox()
        made = open_telegram(
            settings(fake.base), None, register=register, callbacks=callbacks([]), store=inbox
        )
        async with made as service:
            for round_ in (1, 2):
                async with trio.open_nursery() as nursery:
                    await nursery.start(service.run)
                    fake.push(message(round_))
                    await fake.until(lambda wanted=round_: len(fake.sent()) == wanted)  # type: ignore[misc]  # binds the round
                    nursery.cancel_scope.cancel()
            await service.sender.call(Lane.NOTICE, "send_message", chat_id=7, text="still sending")
        assert [p["text"] for p in fake.sent()] == ["1", "2", "still sending"]


@pytest.mark.postgres
async def test_the_real_inbox_keeps_what_is_not_done(db: Database) -> None:
    """Over PostgreSQL: stored once, read by queue and in order, ended together, measured."""
    inbox = DatabaseInbox(db)
    batch = [parse_update(p) for p in (message(1, 7), payment(2, 8), message(3, 7))]
    assert await inbox.store(batch) == {1: None, 2: None, 3: None}
    assert await inbox.store(batch) == {}
    assert [u.update_id for u in await inbox.unfinished(0, 2)] == [1, 2]
    own = await inbox.of_queue(7, 1, 20)
    assert [(u.update_id, u.payload) for u in own] == [(3, message(3, 7))]
    assert (await inbox.unfinished(1, 1))[0].carries_money
    assert (await inbox.backlog()).pending == 3
    await inbox.finish([(1, "done"), (3, "failed")])
    assert [u.update_id for u in await inbox.unfinished(0, 9)] == [2]
    assert (await inbox.backlog()).pending == 1


@pytest.mark.postgres
async def test_a_kill_loses_and_doubles_nothing(db: Database) -> None:
    """Handlers cut in the middle are played again after a restart; those that ended are not."""
    hung: set[str] = {"3", "5"}
    async with fake_telegram() as fake:

        async def answer(parameters: dict[str, str]) -> Answer:
            if parameters["text"] in hung:
                await trio.sleep_forever()
            return ok(
                {"message_id": 1, "date": 1, "chat": {"id": int(parameters["chat_id"]), "type": "private"}}
            )

        fake.script["sendMessage"] = answer
        fake.push(*(message(n, chat_id=100 + n) for n in range(1, 7)))
        inbox = DatabaseInbox(db)
        async with serving(fake, inbox) as (service, _):
            await fake.until(lambda: len(fake.sent()) == 6)
            with trio.fail_after(20):
                while (await inbox.backlog()).pending != 2:
                    await trio.sleep(0.01)
            await service.drain(0.01)
        assert [u.update_id for u in await inbox.unfinished(0, 9)] == [3, 5]
        hung.clear()
        fake.calls.clear()
        async with serving(fake, inbox):
            await fake.until(lambda: len(fake.sent()) == 2)
            with trio.fail_after(20):
                while (await inbox.backlog()).pending:
                    await trio.sleep(0.01)
        assert sorted(p["text"] for p in fake.sent()) == ["3", "5"]


@pytest.mark.postgres
async def test_a_flood_spills_into_the_real_table(db: Database) -> None:
    """300 updates of one chat are served in order out of PostgreSQL, and another chat is not held up."""
    async with fake_telegram() as fake:
        fake.push(*(message(n, chat_id=666) for n in range(1, 301)), message(301, chat_id=7))
        async with serving(fake, DatabaseInbox(db)):
            await fake.until(lambda: len(fake.sent()) == 301)
        texts = [int(p["text"]) for p in fake.sent()]
    assert [n for n in texts if n != 301] == list(range(1, 301))


@pytest.mark.postgres
async def test_what_postgresql_cannot_hold_is_left_out(db: Database) -> None:
    """A number that is none costs its own update and no other; odd letters cost nothing."""
    impossible = message(5)
    impossible["message"]["date"] = float("inf")
    async with fake_telegram() as fake:
        fake.push(
            message(1),
            message(2, text="a\x00b"),
            message(3, text="\ud83d"),
            message(4),
            impossible,
            message(6),
        )
        async with serving(fake, DatabaseInbox(db)):
            await fake.until(lambda: fake.confirmed == 6 and len(fake.sent()) == 5)
    assert sorted(p["text"] for p in fake.sent()) == ["1", "2", "3", "4", "6"]
