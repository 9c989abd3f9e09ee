"""Sends a broadcast's content to one recipient, in the lane behind all others.

The content is a message that is copied, a text in several languages (either may have buttons that lead to an address), or a
notice, whose words are made for each recipient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from telegram.constants import ParseMode

from vpnd.bot.clocks import clock_at
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.notices import outcome_of
from vpnd.bot.screens.planned import maintenance
from vpnd.bot.screens.screen import Screen
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.database.outbox_rows import Dead, Delivered, Delivery, Drop
from vpnd.telegram.errors import Blocked
from vpnd.telegram.sender import Lane

__all__ = ["deliver_broadcast"]


async def deliver_broadcast(
    deps: BotDependencies,
    content: Mapping[str, Any],
    telegram_id: int,
    language: str,
    *,
    lane: Lane = Lane.BROADCAST,
) -> Delivery:
    """Send to one recipient and say what became of it; dropped: he cannot be reached.

    Telegram has no key that would make a repeat harmless: who claims again after a kill counts it.
    """
    try:
        if "notice" in content:
            screen = await _notice(deps, content["notice"], telegram_id, language)
            if screen is None:
                return Dead("it is over")
            told = send(deps.sender, lane, telegram_id, screen, None)
        else:
            method, arguments = _call(content, language, deps.texts.default)
            told = deps.sender.post(lane, method, {"chat_id": telegram_id, **arguments})
    except (KeyError, TypeError, ValueError) as error:
        return Dead(f"the content cannot be read: {type(error).__name__}: {error}")
    try:
        await told
    except Blocked as error:
        return Drop(f"unreachable: {error}")
    except Exception as error:
        outcome = outcome_of(error)
        if outcome is None:
            raise
        return outcome
    return Delivered()


async def _notice(
    deps: BotDependencies, notice: Mapping[str, Any], telegram_id: int, language: str
) -> Screen | None:
    """The words of a notice on its recipient's clock; None when it is not true any more."""
    if notice["template"] != "maintenance":
        raise ValueError(f"there is no notice {notice['template']!r}")
    starts_at, ends_at = (datetime.fromisoformat(str(notice[key])) for key in ("starts_at", "ends_at"))
    clock = await clock_at(deps.db, telegram_id, deps.time_zone, starts_at, ends_at)
    if clock is None or clock[0] >= ends_at:
        return None
    speech = Speech(deps.texts, language if language in deps.texts.languages else deps.texts.default)
    return maintenance(speech, notice, clock[1:])


def _call(content: Mapping[str, Any], language: str, default: str) -> tuple[str, dict[str, Any]]:
    """The method of the Bot API and its arguments, beside the chat."""
    markup = _buttons(content.get("buttons") or ())
    if "copy" in content:
        copied = content["copy"]
        return "copyMessage", {
            "from_chat_id": int(copied["from_chat_id"]),
            "message_id": int(copied["message_id"]),
            "reply_markup": markup,
        }
    texts: Mapping[str, str] = content["text"]
    text = texts.get(language) or texts.get(default) or next(iter(texts.values()))
    return "sendMessage", {"text": text, "parse_mode": ParseMode.HTML, "reply_markup": markup}


def _buttons(rows: Sequence[Sequence[Mapping[str, str]]]) -> dict[str, Any] | None:
    if not rows:
        return None
    keyboard = [[{"text": str(one["text"]), "url": str(one["url"])} for one in row] for row in rows]
    return {"inline_keyboard": keyboard}
