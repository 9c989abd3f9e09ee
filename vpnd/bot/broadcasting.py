"""Sends a broadcast's content to one recipient, in the lane behind all others.

The content is a message that is copied, or a text in several languages; either may have buttons that lead to an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import ParseMode

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.notices import outcome_of
from vpnd.database.outbox_rows import Dead, Delivered, Delivery, Drop
from vpnd.telegram.errors import Blocked
from vpnd.telegram.sender import Lane

__all__ = ["deliver_broadcast"]


async def deliver_broadcast(
    deps: BotDependencies, content: Mapping[str, Any], telegram_id: int, language: str
) -> Delivery:
    """Send to one recipient and say what became of it; dropped: he cannot be reached.

    Telegram has no key that would make a repeat harmless: who claims again after a kill counts it.
    """
    try:
        method, arguments = _call(content, language, deps.texts.default)
    except (KeyError, TypeError, ValueError) as error:
        return Dead(f"the content cannot be read: {type(error).__name__}: {error}")
    try:
        await deps.sender.call(Lane.BROADCAST, method, chat_id=telegram_id, **arguments)
    except Blocked as error:
        return Drop(f"unreachable: {error}")
    except Exception as error:
        outcome = outcome_of(error)
        if outcome is None:
            raise
        return outcome
    return Delivered()


def _call(content: Mapping[str, Any], language: str, default: str) -> tuple[str, dict[str, Any]]:
    """The method of the Bot API and its arguments, beside the chat."""
    markup = _buttons(content.get("buttons") or ())
    if "copy" in content:
        copied = content["copy"]
        return "copy_message", {
            "from_chat_id": int(copied["from_chat_id"]),
            "message_id": int(copied["message_id"]),
            "reply_markup": markup,
        }
    texts: Mapping[str, str] = content["text"]
    text = texts.get(language) or texts.get(default) or next(iter(texts.values()))
    return "send_message", {"text": text, "parse_mode": ParseMode.HTML, "reply_markup": markup}


def _buttons(rows: Sequence[Sequence[Mapping[str, str]]]) -> InlineKeyboardMarkup | None:
    if not rows:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(str(one["text"]), url=str(one["url"])) for one in row] for row in rows]
    )
