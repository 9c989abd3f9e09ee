"""The way out to Telegram: a bot, its transport, and the lanes its calls leave by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from telegram.request import BaseRequest

from vpnd.config import Settings, TelegramSettings
from vpnd.runtime.redact import register_secret
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.lanes import Lanes
from vpnd.telegram.proxied import ProxiedRequest
from vpnd.telegram.sender import LaneLimiter, Sender
from vpnd.telegram.transport import CONNECTIONS, DirectRequest

__all__ = ["CLOSE_TIME", "broadcasts_at_once", "build_bot", "open_sender"]

#: Seconds that closing idle connections may take.
CLOSE_TIME: Final = 1.0
#: Messages of a broadcast on their way at once: at Telegram's usual 30 a second, and at any rate.
FEWEST_AT_ONCE: Final = 32
MOST_AT_ONCE: Final = 256


def broadcasts_at_once(per_second: float) -> int:
    """How many messages of a broadcast may be on their way at once: an eighth of a second's worth, since an answer takes about as
    long, and 32 where that is more or nothing is limited."""
    return max(FEWEST_AT_ONCE, min(MOST_AT_ONCE, round(per_second / 8)))


def build_bot(settings: Settings) -> tuple[TrioBot, Lanes]:
    """Build the bot and its lanes; the lanes have to be run by somebody. Raises ValueError for an unusable address."""
    telegram = settings.telegram
    register_secret(telegram.token.reveal())
    lanes = Lanes(settings.limits.telegram_per_second, settings.limits.telegram_per_chat)
    bot = TrioBot(
        telegram.token.reveal(),
        telegram.api_base,
        _transport(
            telegram, CONNECTIONS - FEWEST_AT_ONCE + broadcasts_at_once(settings.limits.telegram_per_second)
        ),
        _transport(telegram, 1),
        LaneLimiter(lanes),
    )
    return bot, lanes


@asynccontextmanager
async def open_sender(settings: Settings) -> AsyncIterator[Sender]:
    """A way to call the Bot API for as long as the block runs, for a command that takes no updates."""
    bot, lanes = build_bot(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        try:
            yield Sender(bot, lanes)
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(CLOSE_TIME, shield=True):
                await bot.shutdown()


def _transport(settings: TelegramSettings, connections: int) -> BaseRequest:
    if settings.proxy:
        return ProxiedRequest(settings.proxy, connections=connections)
    return DirectRequest(settings.api_base, connections=connections)
