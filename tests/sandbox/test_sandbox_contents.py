"""What people do in the sandboxed Telegram beside writing and pressing what they see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest

from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.telegram_contents import KINDS
from vpnd.sandbox.tls import trusted

BORIS = 5002
WORDS = ("text", "photo", "document", "sticker", "voice", "location", "contact")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with open_sandbox() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=trusted(), trust_env=False) as made:
        yield made


async def sim(sandbox: Sandbox, client: httpx.AsyncClient, path: str, **values: Any) -> httpx.Response:
    return await client.post(f"{sandbox.telegram_url}/sim/{path}", json={"chat_id": BORIS, **values})


async def updates_of(bot: Bot) -> list[Update]:
    found = list(await bot.get_updates())
    if found:
        await bot.get_updates(offset=found[-1].update_id + 1)
    return found


async def test_whatever_a_person_sends_is_what_telegram_tells(
    bot: Bot, sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Each kind arrives as PTB reads it; a picture can be fetched, a command in a caption is marked, others are refused."""
    for kind in KINDS:
        await sim(sandbox, client, "message", kind=kind, text="/start x")
    seen = [update.message for update in await updates_of(bot)]

    assert [next(word for word in WORDS if getattr(message, word)) for message in seen] == list(KINDS)  # type: ignore[arg-type]
    photo = seen[KINDS.index("photo")]
    assert photo is not None
    assert (photo.caption, photo.caption_entities[0].type) == ("/start x", "bot_command")
    assert (await (await bot.get_file(photo.photo[-1].file_id)).download_as_bytearray()).startswith(
        b"\x89PNG"
    )
    answer = await sim(sandbox, client, "message", kind="dream")
    assert (answer.status_code, "one of photo" in answer.text) == (400, True)


async def test_an_edit_of_a_person_is_an_update_of_its_own(
    bot: Bot, sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Changed words come as `edited_message`, with the time of the change; nobody changes the bot's."""
    sent = (await sim(sandbox, client, "message", text="Helo")).json()["message_id"]
    await sim(sandbox, client, "edit", message_id=sent, text="Hello")

    first, second = await updates_of(bot)
    assert (first.message.text, second.edited_message.text) == ("Helo", "Hello")  # type: ignore[union-attr]
    assert second.edited_message.edit_date is not None  # type: ignore[union-attr]
    ours = await bot.send_message(BORIS, "Hi")
    assert (await sim(sandbox, client, "edit", message_id=ours.message_id, text="x")).status_code == 400


async def test_an_old_screen_can_be_pressed_and_an_idle_edit_is_told(
    bot: Bot, sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A button of an earlier edit is there for `stale` only; an edit that changes nothing is refused and told to the chat."""
    await sim(sandbox, client, "message", text="/start")
    sent = await bot.send_message(BORIS, "1", reply_markup=keys("old"))
    await bot.edit_message_text("2", BORIS, sent.message_id, reply_markup=keys("new"))

    assert (await sim(sandbox, client, "press", message_id=sent.message_id, data="old")).status_code == 400
    await sim(sandbox, client, "press", message_id=sent.message_id, data="old", stale=True)
    assert [update.callback_query.data for update in await updates_of(bot) if update.callback_query] == [
        "old"
    ]
    with pytest.raises(BadRequest, match="not modified"):
        await bot.edit_message_text("2", BORIS, sent.message_id, reply_markup=keys("new"))
    chat = (await client.get(f"{sandbox.telegram_url}/sim/chat/{BORIS}")).json()
    assert chat["unchanged"] == [{"event": chat["event"], "message_id": sent.message_id}]


def keys(data: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton(data, callback_data=data)]])
