"""The rivals of `dispatch.py`: `_dispatch_rivals.py (ptb|aiogram) API_BASE DATABASE_URL`, run by a Python that has them.

Each is written as its own documentation does it, with a connection pool as large as vpnd's and without anything that slows it:
no inbox, no limits, no metrics.
"""

import asyncio
import logging
import sys

import asyncpg

SQL = "select balance, expires_at from bench_customers where id = $1"
TOKEN = "4242:bench"  # noqa: S105


def words(row: asyncpg.Record) -> str:
    """What the customer is told."""
    return f"balance {row['balance']} until {row['expires_at']:%d.%m.%Y %H:%M}"


async def pool(url: str) -> asyncpg.Pool:
    """As many connections as the daemon may have."""
    return await asyncpg.create_pool(url, min_size=15, max_size=15)


def ptb(base: str, url: str) -> None:
    """python-telegram-bot, updates handled concurrently."""
    from telegram import Update
    from telegram.ext import Application, CommandHandler, ContextTypes

    async def open_pool(application: Application) -> None:
        application.bot_data["pool"] = await pool(url)

    async def profile(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        row = await context.application.bot_data["pool"].fetchrow(SQL, update.effective_user.id)
        await update.effective_message.reply_text(words(row))

    application = (
        Application.builder()
        .token(TOKEN)
        .base_url(f"{base}/bot")
        .concurrent_updates(True)
        .connection_pool_size(256)
        .post_init(open_pool)
        .build()
    )
    application.add_handler(CommandHandler("profile", profile))
    application.run_polling()


def aiogram(base: str, url: str) -> None:
    """Aiogram; it handles updates as tasks by itself."""
    from aiogram import Bot, Dispatcher
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from aiogram.filters import Command
    from aiogram.types import Message

    async def main() -> None:
        database = await pool(url)
        dispatcher = Dispatcher()

        @dispatcher.message(Command("profile"))
        async def profile(message: Message) -> None:
            row = await database.fetchrow(SQL, message.from_user.id)
            await message.answer(words(row))

        session = AiohttpSession(api=TelegramAPIServer.from_base(base))
        await dispatcher.start_polling(Bot(TOKEN, session=session))

    asyncio.run(main())


if __name__ == "__main__":
    # A line of log for each update is not what is measured.
    logging.basicConfig(level=logging.WARNING)
    {"ptb": ptb, "aiogram": aiogram}[sys.argv[1]](sys.argv[2], sys.argv[3])
