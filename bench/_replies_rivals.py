"""The rivals of `replies.py`: `_replies_rivals.py (ptb|aiogram) API_BASE DATABASE_URL PLAN.json`, run by a Python that has them.

Each is written as its own documentation does it, with a connection pool as large as vpnd's and without anything that slows it:
no inbox, no limits, no metrics, no translations. For each screen they make the very statements that vpnd makes, by asyncpg
(the plan has them), and show as many buttons; the words are put together by one f-string.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path

import asyncpg

TOKEN = "4242:bench"  # noqa: S105


class Shop:
    """What both do alike: read a screen's rows, and say them."""

    def __init__(self, url: str, plan: dict) -> None:
        self.url = url
        self.customer = plan["customer"]
        self.statements = plan["statements"]
        self.screen_of = {data: name for name, _, data in plan["screens"]}
        self.buttons = plan["buttons"]

    async def open(self) -> None:
        """As many connections as the daemon may have."""
        self.pool = await asyncpg.create_pool(self.url, min_size=15, max_size=15)

    async def show(self, telegram_id: int, data: str) -> tuple[str, list[list[tuple[str, str]]]]:
        """The words and the buttons of a screen."""
        screen = self.screen_of[data]
        customer = await self.pool.fetchrow(self.customer, [telegram_id])
        rows = []
        for sql, arguments in self.statements[screen]:
            own = {"$id": customer["id"], "$ids": [customer["id"]], "$text": str(customer["id"])}
            values = [own.get(one, one) if isinstance(one, str) else one for one in arguments]
            rows += await self.pool.fetch(sql, *values)
        said = f"{customer['first_name']}, {screen}: " + "\n".join(
            ", ".join(f"{key} {value}" for key, value in row.items()) for row in rows
        )
        if screen == "balance":
            said = f"{rows[0]['own'] // 100} RUB\n{said}"
        buttons = [[(f"button {number}", "1h")] for number in range(self.buttons[screen])]
        return said[:4000], buttons


def ptb(base: str, shop: Shop) -> None:
    """python-telegram-bot, updates handled concurrently."""
    from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
    from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes

    def keyboard(rows: list[list[tuple[str, str]]]) -> InlineKeyboardMarkup:
        return InlineKeyboardMarkup(
            [[InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in rows]
        )

    async def open_pool(_application: Application) -> None:
        await shop.open()

    async def start(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
        text, rows = await shop.show(update.effective_user.id, "/start")
        await update.effective_message.reply_text(text, reply_markup=keyboard(rows))

    async def press(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
        query = update.callback_query
        await query.answer()
        text, rows = await shop.show(query.from_user.id, query.data)
        await query.edit_message_text(text, reply_markup=keyboard(rows))

    application = (
        Application.builder()
        .token(TOKEN)
        .base_url(f"{base}/bot")
        .concurrent_updates(True)
        .connection_pool_size(256)
        .post_init(open_pool)
        .build()
    )
    application.add_handler(CommandHandler("start", start))
    application.add_handler(CallbackQueryHandler(press))
    application.run_polling()


def aiogram(base: str, shop: Shop) -> None:
    """Aiogram; it handles updates as tasks by itself."""
    from aiogram import Bot, Dispatcher
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from aiogram.filters import Command
    from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

    def keyboard(rows: list[list[tuple[str, str]]]) -> InlineKeyboardMarkup:
        return InlineKeyboardMarkup(
            inline_keyboard=[
                [InlineKeyboardButton(text=label, callback_data=data) for label, data in row] for row in rows
            ]
        )

    async def main() -> None:
        await shop.open()
        dispatcher = Dispatcher()

        @dispatcher.message(Command("start"))
        async def start(message: Message) -> None:
            text, rows = await shop.show(message.from_user.id, "/start")
            await message.answer(text, reply_markup=keyboard(rows))

        @dispatcher.callback_query()
        async def press(query: CallbackQuery) -> None:
            await query.answer()
            text, rows = await shop.show(query.from_user.id, query.data)
            await query.message.edit_text(text, reply_markup=keyboard(rows))

        session = AiohttpSession(api=TelegramAPIServer.from_base(base))
        await dispatcher.start_polling(Bot(TOKEN, session=session))

    asyncio.run(main())


if __name__ == "__main__":
    # A line of log for each update is not what is measured.
    logging.basicConfig(level=logging.WARNING)
    who, base, url, plan = sys.argv[1:]
    {"ptb": ptb, "aiogram": aiogram}[who](base, Shop(url, json.loads(Path(plan).read_text())))
