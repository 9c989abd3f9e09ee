"""What is said while nothing can be kept or checked: without the database, in the language Telegram names."""

from __future__ import annotations

from typing import Any

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.screens.trouble import words
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.telegram.sender import Lane


def speech_of(deps: BotDependencies, body: Any) -> Speech:
    """The language that Telegram says the sender of a message, a press or a query speaks."""
    person = body.get("from") if isinstance(body, dict) else None
    code = person.get("language_code") if isinstance(person, dict) else None
    return Speech(deps.texts, deps.texts.pick(code if isinstance(code, str) else None))


async def tell_repair(deps: BotDependencies, chat_id: int, update: dict[str, Any]) -> None:
    """Tell the sender of `update` that we are being repaired. Raises `vpnd.telegram.errors.TelegramError`.

    Whoever pressed a button is told by the answer to his press, which also stops its clock.
    """
    press = update.get("callback_query")
    if isinstance(press, dict):
        await deps.sender.call(
            Lane.REPLY,
            "answer_callback_query",
            callback_query_id=str(press.get("id")),
            text=speech_of(deps, press).label("alert-repair"),
            show_alert=True,
        )
        return
    speech = speech_of(deps, update.get("message") or update.get("my_chat_member"))
    await send(deps.sender, Lane.REPLY, chat_id, words(speech, "repair"), None)


async def refuse_pre_checkout(deps: BotDependencies, query_id: str) -> None:
    """Refuse a payment that cannot be checked now: nothing is charged. Raises `vpnd.telegram.errors.TelegramError`."""
    await deps.sender.call(
        Lane.REPLY,
        "answer_pre_checkout_query",
        pre_checkout_query_id=query_id,
        ok=False,
        error_message=Speech(deps.texts, deps.texts.default).label("alert-check-refused-repair"),
    )
