"""A press is read from its JSON as it stands in the Bot API."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import asdict
from telegram import CallbackQuery, Message, Update
from telegram_fakes import TOKEN, press

from vpnd.telegram.application import build_application
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.press import Person, Press, PressedMessage
from vpnd.telegram.transport import DirectRequest

FROM = {"id": 7, "is_bot": False, "first_name": "Anna", "username": "anna", "language_code": "ru"}
CHAT = {"id": 7, "type": "private", "first_name": "Anna"}
MESSAGE = {"message_id": 9, "date": 1700000000, "chat": CHAT, "text": "Plans"}
PICTURE = {"message_id": 9, "date": 1700000000, "chat": CHAT, "photo": [], "caption": "Plans"}
TOO_OLD = {"message_id": 9, "date": 0, "chat": CHAT}
IN_A_GROUP = MESSAGE | {"chat": {"id": -100, "type": "supergroup", "title": "Operators"}}


def update(**changes: Any) -> dict[str, Any]:
    """An update as Telegram sends it; what is None is left out."""
    query = {"id": "55", "from": FROM, "chat_instance": "1", "data": "h", "message": MESSAGE} | changes
    return {
        "update_id": 5,
        "callback_query": {key: value for key, value in query.items() if value is not None},
    }


def by_ptb(payload: dict[str, Any]) -> Press:
    """What PTB reads in it."""
    query = Update.de_json(payload, None).callback_query
    assert isinstance(query, CallbackQuery)
    message, pressed = query.message, None
    if message is not None:
        editable = isinstance(message, Message) and message.text is not None
        pressed = PressedMessage(message.chat.id, message.chat.type, message.message_id, editable)
    return Press(5, query.id, Person.of(query.from_user), query.data, pressed)


@pytest.mark.parametrize(
    "payload",
    [
        update(),
        update(message=PICTURE),
        update(message=TOO_OLD),
        update(message=IN_A_GROUP),
        update(message=None, inline_message_id="x"),
        update(data=None, game_short_name="chess"),
        update(**{"from": {"id": 8, "is_bot": False, "first_name": "B"}}),
    ],
    ids=["text", "picture", "too old", "group", "inline", "game", "without a name"],
)
def test_a_press_is_read_as_ptb_reads_it(payload: dict[str, Any]) -> None:
    """Only the way is shorter: what the bot works with is what PTB would have made of it."""
    assert asdict(Press.of(payload)) == asdict(by_ptb(payload))


@pytest.mark.parametrize("missing", ["id", "from"])
def test_what_is_no_press_is_said_to_be_none(missing: str) -> None:
    """An update that lacks what each has fails as itself, with the name of what is missing."""
    with pytest.raises(ValueError, match=f"a callback query that is none: KeyError: '{missing}'"):
        Press.of(update(**{missing: None}))
    with pytest.raises(ValueError, match="a callback query that is none"):
        Press.of({"update_id": 5, "callback_query": None})


async def test_presses_go_past_ptbs_handlers() -> None:
    """Whoever takes the presses gets all of them, and what he raises reaches the caller."""
    base = "http://127.0.0.1:1"
    application = build_application(TrioBot(TOKEN, base, DirectRequest(base), DirectRequest(base)))
    taken: list[Press] = []

    async def take(pressed: Press) -> None:
        taken.append(pressed)
        if len(taken) > 1:
            raise RuntimeError("boom")

    application.take_presses(take)
    await application.dispatch(press(1))
    with pytest.raises(RuntimeError, match="boom"):
        await application.dispatch(press(2))
    assert [(pressed.update_id, pressed.data) for pressed in taken] == [(1, "x"), (2, "x")]
