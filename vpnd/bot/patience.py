"""What is said to somebody who asks more at once than he is answered. It costs no read of the database."""

from __future__ import annotations

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.repair import speech_of
from vpnd.bot.screens.trouble import words
from vpnd.bot.show import send
from vpnd.telegram.sender import Lane
from vpnd.telegram.update import StoredUpdate, private_chat_of


async def tell_too_fast(deps: BotDependencies, update: StoredUpdate) -> None:
    """Stop a press's clock with a short word, answer a message with a patient one. Raises `vpnd.telegram.errors.TelegramError`.

    Outside of private chats a press is answered without a word.
    """
    body = update.payload.get(update.kind)
    speech = speech_of(deps, body)
    chat_id = private_chat_of(update.payload)
    if update.kind == "callback_query" and isinstance(body, dict):
        await deps.sender.call(
            Lane.REPLY,
            "answer_callback_query",
            callback_query_id=str(body.get("id")),
            text=None if chat_id is None else speech.label("alert-too-fast"),
        )
    elif chat_id is not None:
        await send(deps.sender, Lane.REPLY, chat_id, words(speech, "too-fast"), None)
