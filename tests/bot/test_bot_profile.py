"""What Telegram shows of the bot before anybody writes: set in every language, and sent again only where it differs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bot_world import World, open_world

from vpnd.bot.handlers import COMMANDS
from vpnd.bot.profile import set_profile
from vpnd.database.database import Database
from vpnd.telegram.errors import TelegramError

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


def setters(world: World) -> list[tuple[str, str | None]]:
    """What was written since the last time, with its language."""
    return [
        (call.method, call.parameters.get("language_code"))
        for call in world.telegram.taken()
        if call.method.startswith("set")
    ]


async def test_everything_is_set_in_every_language(world: World) -> None:
    """Menu, description and short description, for all and for each language; what a language falls back to is not sent."""
    assert await set_profile(world.deps) == 8

    assert setters(world) == [
        ("setChatMenuButton", None),
        ("setMyCommands", None),
        ("setMyDescription", None),
        ("setMyShortDescription", None),
        ("setMyCommands", "en"),
        ("setMyCommands", "ru"),
        ("setMyDescription", "ru"),
        ("setMyShortDescription", "ru"),
    ]
    profile = world.telegram.profile
    assert len(profile["MyCommands", "ru"]) == len(COMMANDS)
    assert "Быстрый" in profile["MyShortDescription", "ru"]
    assert "Fast" in profile["MyDescription", None]


async def test_a_restart_sends_nothing_that_is_there(world: World) -> None:
    """Only what was changed meanwhile is sent again; a button of the operator's own stays."""
    await set_profile(world.deps)
    world.telegram.profile["ChatMenuButton", None] = {
        "type": "web_app",
        "text": "Shop",
        "web_app": {"url": "https://x.example"},
    }
    setters(world)
    assert await set_profile(world.deps) == 0
    assert setters(world) == []
    world.telegram.profile["MyDescription", "ru"] = "old"

    await set_profile(world.deps)

    assert setters(world) == [("setMyDescription", "ru")]


async def test_what_was_refused_is_sent_the_next_time(world: World) -> None:
    """A refusal in the middle ends the round; the next one goes on with what is missing."""
    world.telegram.fail("setMyDescription", "Internal Server Error", 500)
    with pytest.raises(TelegramError):
        await set_profile(world.deps)
    first = setters(world)

    await set_profile(world.deps)

    assert ("setMyCommands", None) in first
    assert ("setMyCommands", None) not in setters(world)
    assert world.telegram.profile["MyDescription", None]
