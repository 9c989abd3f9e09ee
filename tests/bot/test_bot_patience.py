"""What somebody is told who asks more at once than he is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bot_world import ANNA, World, open_world

from vpnd.bot.patience import tell_too_fast
from vpnd.database.database import Database
from vpnd.telegram.update import parse_update

pytestmark = pytest.mark.postgres

PERSON = {"id": ANNA, "is_bot": False, "first_name": "Anna", "language_code": "ru"}
PRIVATE = {"id": ANNA, "type": "private"}
GROUP = {"id": -100, "type": "supergroup"}


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot."""
    async with open_world(db) as world:
        yield world


def pressed(chat: dict[str, Any] | None) -> dict[str, Any]:
    """A press below a message of a chat, or below none."""
    query: dict[str, Any] = {"id": "9", "from": PERSON, "data": "1h"}
    if chat is not None:
        query["message"] = {"chat": chat, "message_id": 1, "date": 1}
    return {"update_id": 1, "callback_query": query}


async def test_it_is_said_in_his_language_and_without_the_database(world: World) -> None:
    """A press by the word that stops its clock, a message by a patient one with a way on; no customer is looked up or made."""
    await tell_too_fast(world.deps, parse_update(pressed(PRIVATE)))
    await tell_too_fast(
        world.deps, parse_update({"update_id": 2, "message": {"chat": PRIVATE, "from": PERSON, "text": "x"}})
    )

    press, message = world.telegram.taken()
    assert (press.method, press.parameters["text"].split()[0]) == ("answerCallbackQuery", "Секунду,")
    assert "show_alert" not in press.parameters
    assert message.text.startswith("<b>Секунду")
    assert message.buttons
    assert await world.sql("select id from customers") == []


async def test_a_group_hears_nothing(world: World) -> None:
    """A press there only has its clock stopped."""
    await tell_too_fast(world.deps, parse_update(pressed(GROUP)))
    await tell_too_fast(
        world.deps, parse_update({"update_id": 2, "message": {"chat": GROUP, "from": PERSON, "text": "x"}})
    )

    (press,) = world.telegram.taken()
    assert press.method == "answerCallbackQuery"
    assert "text" not in press.parameters
