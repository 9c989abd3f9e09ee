"""The sandboxed Telegram, driven by PTB's client and objects on trio, and by plain HTTP for what PTB would not send."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from telegram import (
    Bot,
    BotCommand,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    LabeledPrice,
    ReplyKeyboardMarkup,
    ReplyParameters,
    Update,
)
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
)

from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted

ALICE = 5001


def png(width: int = 3, height: int = 2) -> bytes:
    """A small but real picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class Hand:
    """Plain HTTP: the control API and raw calls."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client

    async def sim(self, path: str, **values: Any) -> Any:
        answer = await self.client.post(f"{self.sandbox.telegram_url}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"{self.sandbox.telegram_url}/sim/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def say(self, text: str, chat_id: int = ALICE, **values: Any) -> Any:
        return await self.sim("message", chat_id=chat_id, text=text, **values)

    async def polling(self) -> bool:
        return self.sandbox.telegram.updates.polling

    async def nothing_pending(self) -> bool:
        return self.sandbox.telegram.updates.count() == 0

    async def api(self, method: str, **kwargs: Any) -> Any:
        url = f"{self.sandbox.telegram_url}/bot{self.sandbox.telegram.token}/{method}"
        return (await self.client.post(url, **kwargs)).json()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition holds; what it waits for comes over a real socket."""
    with trio.fail_after(10):
        while not await condition():
            await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def _retry_after_as_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    """PTB warns of the older type of `retry_after` unless it is told to use the new one."""
    monkeypatch.setenv("PTB_TIMEDELTA", "true")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with open_sandbox() as opened:
        yield opened


@pytest.fixture
async def hand(sandbox: Sandbox) -> AsyncIterator[Hand]:
    async with httpx.AsyncClient(verify=trusted(), trust_env=False, timeout=30) as client:
        yield Hand(sandbox, client)


def keyboard(*rows: list[InlineKeyboardButton]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(list(rows))


def button(text: str, data: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(text, callback_data=data)


async def refused(coroutine: Any) -> str:
    """The description of the refusal that a call must end with."""
    with pytest.raises((BadRequest, Forbidden)) as caught:
        await coroutine
    return caught.value.message


# ---------------------------------------------------------------------------- updates


async def test_updates_are_ptb_objects_and_stay_until_confirmed(bot: Bot, hand: Hand) -> None:
    """An update is handed out again and again until an offset above it confirms it; ids grow by one."""
    person = {"first_name": "Алиса", "language_code": "ru", "username": "alice"}
    first = await hand.say("/start ref_1", **{"from": person})
    await hand.say("hello")
    for _ in range(2):
        updates = await bot.get_updates(timeout=0)
        assert [u.update_id for u in updates] == [first["update_id"], first["update_id"] + 1]
    message = updates[0].message
    assert message is not None
    assert message.from_user is not None
    assert (message.text, message.from_user.language_code) == ("/start ref_1", "ru")
    assert [e.type for e in message.entities] == ["bot_command"]
    assert message.chat.first_name == "Алиса"
    [left] = await bot.get_updates(offset=first["update_id"] + 1)
    assert left.message is not None
    assert left.message.text == "hello"
    assert await bot.get_updates(offset=left.update_id + 1) == ()


async def test_a_long_poll_ends_with_the_first_update(bot: Bot, hand: Hand) -> None:
    """A poll that found nothing waits, and the next update ends the wait."""
    got: list[Update] = []

    async def poll() -> None:
        got.extend(await bot.get_updates(timeout=30))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await until(hand.polling)
            await hand.say("late")
    assert got[0].message is not None
    assert got[0].message.text == "late"


async def test_limit_allowed_updates_and_negative_offset(bot: Bot, hand: Hand) -> None:
    """limit bounds a batch, allowed_updates filters what comes later, a negative offset keeps only the newest."""
    for number in range(5):
        await hand.say(str(number))
    assert len(await bot.get_updates(limit=2)) == 2
    [newest] = await bot.get_updates(offset=-1)
    assert newest.message is not None
    assert newest.message.text == "4"
    await bot.get_updates(offset=newest.update_id + 1, allowed_updates=["callback_query"])
    assert (await hand.say("unwanted"))["update_id"] is None


async def test_of_two_pollers_the_older_is_terminated(bot: Bot, hand: Hand) -> None:
    """A second getUpdates takes over, and the first is told by a 409."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def older() -> None:
                with pytest.raises(Conflict, match="terminated by other getUpdates request"):
                    await bot.get_updates(timeout=30)

            nursery.start_soon(older)
            await until(hand.polling)
            assert (await hand.api("getUpdates"))["ok"]


async def test_updates_die_of_age_on_the_sandbox_clock(bot: Bot, hand: Hand) -> None:
    """A callback lives 150 s, a message 24 h; the clock of the sandbox decides."""
    sent = await _message_with_button(bot, hand)
    await hand.sim("press", chat_id=ALICE, message_id=sent.message_id, data="go")
    assert [u.callback_query is not None for u in await bot.get_updates()] == [False, True]
    await hand.sim("clock", advance=151)
    assert [u.callback_query is not None for u in await bot.get_updates()] == [False]
    await hand.sim("clock", advance=24 * 3600)
    assert await bot.get_updates() == ()


# ---------------------------------------------------------------------------- messages


async def _message_with_button(bot: Bot, hand: Hand) -> Any:
    await hand.say("/start")
    return await bot.send_message(ALICE, "Choose", reply_markup=keyboard([button("Go", "go")]))


async def test_html_becomes_entities_in_utf16_units(bot: Bot, hand: Hand) -> None:
    """parse_mode HTML is really parsed: tags go, entities stay, counted in UTF-16 units, the text trimmed."""
    await hand.say("/start")
    source = (
        '  🙂 <b>bold <i>both</i></b> <a href="https://e.org/?a=1&amp;b=2">link</a> 1 &lt; 2 <code>x</code> '
    )
    message = await bot.send_message(ALICE, source, parse_mode="HTML")
    assert message.text == "🙂 bold both link 1 < 2 x"
    found = {e.type: message.parse_entity(e) for e in message.entities}
    assert found == {"bold": "bold both", "italic": "both", "text_link": "link", "code": "x"}
    assert message.entities[2].url == "https://e.org/?a=1&b=2"
    pre = await bot.send_message(
        ALICE,
        '<pre><code class="language-python">x</code></pre><blockquote expandable>q</blockquote>',
        "HTML",
    )
    assert [(e.type, e.language) for e in pre.entities] == [
        ("pre", "python"),
        ("expandable_blockquote", None),
    ]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("é<big>x</big>", 'Unsupported start tag "big" at byte offset 2'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ],
)
async def test_bad_html_is_refused_in_telegrams_words(hand: Hand, source: str, complaint: str) -> None:
    """Markup that Telegram cannot parse is a 400 that names the byte."""
    await hand.say("/start")
    answer = await hand.api("sendMessage", json={"chat_id": ALICE, "text": source, "parse_mode": "HTML"})
    assert answer["description"] == f"Bad Request: can't parse entities: {complaint}"


async def test_texts_and_chats_are_judged(bot: Bot, hand: Hand) -> None:
    """Unknown chats, empty and too long texts are refused; the length counts after parsing."""
    assert await refused(bot.send_message(404, "x")) == "Chat not found"
    await hand.say("/start")
    assert await refused(bot.send_message(ALICE, " \n ")) == "Message text is empty"
    assert await refused(bot.send_message(ALICE, "<b></b>", "HTML")) == "Message text is empty"
    assert await refused(bot.send_message(ALICE, "x" * 4097)) == "Message is too long"
    assert (await bot.send_message(ALICE, "<b>" + "x" * 4096 + "</b>", "HTML")).text == "x" * 4096


async def test_keyboards_are_judged_in_bytes(bot: Bot, hand: Hand) -> None:
    """callback_data is 1 to 64 bytes: 33 Cyrillic letters are 66 bytes and too many."""
    await hand.say("/start")
    await bot.send_message(ALICE, "x", reply_markup=keyboard([button("A", "ж" * 32)]))
    text = await refused(bot.send_message(ALICE, "x", reply_markup=keyboard([button("A", "ж" * 33)])))
    assert text == "Button_data_invalid"
    bad = {"inline_keyboard": [[{"text": "no action"}]]}
    answer = await hand.api("sendMessage", json={"chat_id": ALICE, "text": "x", "reply_markup": bad})
    assert "Text buttons are unallowed in the inline keyboard" in answer["description"]
    bad = {"inline_keyboard": [[{"text": "A", "url": "nonsense"}]]}
    answer = await hand.api(
        "sendMessage", data={"chat_id": ALICE, "text": "x", "reply_markup": json.dumps(bad)}
    )
    assert "URL 'nonsense' is invalid" in answer["description"]


async def test_every_way_of_passing_parameters(hand: Hand) -> None:
    """Query string, urlencoded, JSON and multipart mean the same."""
    await hand.say("/start")
    values = {"chat_id": str(ALICE), "text": "x & ж"}
    for kwargs in (
        {"params": values},
        {"data": values},
        {"json": {"chat_id": ALICE, "text": "x & ж"}},
        {"files": {name: (None, value) for name, value in values.items()}},
    ):
        assert (await hand.api("sendmessage", **kwargs))["result"]["text"] == "x & ж"


async def test_edits_keep_their_history_and_refuse_no_change(bot: Bot, hand: Hand) -> None:
    """An edit that changes nothing is refused; a real one is seen, numbered, and its keyboard goes when not given again."""
    sent = await _message_with_button(bot, hand)
    same = bot.edit_message_text("Choose", ALICE, sent.message_id, reply_markup=sent.reply_markup)
    assert (await refused(same)).startswith("Message is not modified: specified new message content")
    before = (await hand.look(f"chat/{ALICE}"))["event"]
    edited = await bot.edit_message_text("<i>Done</i>", ALICE, sent.message_id, parse_mode="HTML")
    assert edited.edit_date is not None  # type: ignore[union-attr]  # a Message, as it is no inline message
    seen = await hand.look(f"chat/{ALICE}", after=before)
    [shown] = seen["messages"]
    assert (shown["text"], shown["edits"], "reply_markup" in shown) == ("Done", 1, False)
    assert await refused(bot.edit_message_text("x", ALICE, 99999)) == "Message to edit not found"
    assert await refused(bot.edit_message_text("x", ALICE, 1)) == "Message can't be edited"
    await bot.edit_message_reply_markup(ALICE, sent.message_id, reply_markup=keyboard([button("B", "b")]))
    assert await refused(bot.edit_message_caption(ALICE, sent.message_id, caption="c"))


async def test_deleting(bot: Bot, hand: Hand) -> None:
    """A message goes once; one older than 48 hours stays; a list skips what is not there."""
    ids = [(await _message_with_button(bot, hand)).message_id for _ in range(3)]
    assert await bot.delete_message(ALICE, ids[0])
    assert await refused(bot.delete_message(ALICE, ids[0])) == "Message to delete not found"
    assert (await hand.look(f"chat/{ALICE}"))["deleted"] == [ids[0]]
    assert await bot.delete_messages(ALICE, [ids[0], ids[1]])
    await hand.sim("clock", advance=49 * 3600)
    assert await refused(bot.delete_message(ALICE, ids[2])) == "Message can't be deleted for everyone"


async def test_photos_documents_and_files(bot: Bot, hand: Hand) -> None:
    """A picture is really read, can be sent again by its id, replaced, and downloaded byte for byte."""
    await hand.say("/start")
    sent = await bot.send_photo(ALICE, png(), caption="<b>QR</b>", parse_mode="HTML")
    assert (sent.photo[0].width, sent.photo[0].height, sent.caption) == (3, 2, "QR")
    again = await bot.send_photo(ALICE, sent.photo[0].file_id)
    assert again.photo[0].file_unique_id == sent.photo[0].file_unique_id
    file = await bot.get_file(again.photo[0].file_id)
    assert bytes(await file.download_as_bytearray()) == png()
    changed = await bot.edit_message_media(InputMediaPhoto(png(5, 5), caption="new"), ALICE, sent.message_id)
    assert changed.photo[0].width == 5  # type: ignore[union-attr]  # a Message, as it is no inline message
    document = await bot.send_document(ALICE, b"a,b\n", filename="x.csv")
    assert document.document is not None
    assert document.document.file_name == "x.csv"
    assert await refused(bot.send_photo(ALICE, b"no picture")) == "Image_process_failed"
    assert "Wrong remote file identifier" in await refused(bot.send_photo(ALICE, "nonsense"))
    assert "Can't use file of type document as photo" in await refused(
        bot.send_photo(ALICE, document.document.file_id)
    )


async def test_copies_forwards_and_replies(bot: Bot, hand: Hand) -> None:
    """A copy has no origin, a forward has one; what is not there is refused."""
    sent = await _message_with_button(bot, hand)
    copied = await bot.copy_message(ALICE, ALICE, sent.message_id)
    forwarded = await bot.forward_message(ALICE, ALICE, sent.message_id)
    assert forwarded.forward_origin is not None
    shown = {m["message_id"]: m for m in (await hand.look(f"chat/{ALICE}"))["messages"]}
    assert "forward_origin" not in shown[copied.message_id]
    assert await refused(bot.copy_message(ALICE, ALICE, 9999)) == "Message to copy not found"
    reply = await bot.send_message(ALICE, "re", reply_parameters=ReplyParameters(sent.message_id))
    assert reply.reply_to_message is not None
    assert "replied not found" in await refused(bot.send_message(ALICE, "re", reply_to_message_id=9999))


# ---------------------------------------------------------------------------- buttons


async def test_pressing_and_answering(bot: Bot, hand: Hand) -> None:
    """A press is a callback_query; its answer is seen; a query that is too old or unknown is refused."""
    sent = await _message_with_button(bot, hand)
    await hand.sim("press", chat_id=ALICE, button="Go")
    query = (await bot.get_updates())[-1].callback_query
    assert query is not None
    assert (query.data, query.chat_instance != "") == ("go", True)
    assert query.message is not None
    assert query.message.message_id == sent.message_id
    assert "Message_too_long" in await refused(bot.answer_callback_query(query.id, "x" * 201))
    assert await bot.answer_callback_query(query.id, "Well done", show_alert=True)
    [answer] = (await hand.look(f"chat/{ALICE}"))["answers"]
    assert (answer["text"], answer["show_alert"], answer["data"]) == ("Well done", True, "go")
    assert (await refused(bot.answer_callback_query("1"))).startswith("Query is too old")
    await hand.sim("clock", advance=61)
    assert (await refused(bot.answer_callback_query(query.id))).startswith("Query is too old")


async def test_a_keyboard_below_the_input_field_types_its_text(bot: Bot, hand: Hand) -> None:
    """Pressing such a button is writing its text, and its message cannot be edited."""
    await hand.say("/start")
    sent = await bot.send_message(ALICE, "menu", reply_markup=ReplyKeyboardMarkup([["Buy", "Help"]]))
    assert sent.reply_markup is None
    await hand.sim("press", chat_id=ALICE, button="Buy")
    message = (await bot.get_updates())[-1].message
    assert message is not None
    assert message.text == "Buy"
    assert await refused(bot.edit_message_text("x", ALICE, sent.message_id)) == "Message can't be edited"


async def test_a_press_on_nothing_is_told(hand: Hand) -> None:
    """A test that presses a button that is not shown hears what is shown."""
    await hand.say("/start")
    answer = await hand.client.post(
        f"{hand.sandbox.telegram_url}/sim/press", json={"chat_id": ALICE, "message_id": 1, "button": "X"}
    )
    assert (answer.status_code, "no such button" in answer.text) == (400, True)


async def test_waiting_for_what_a_person_sees(bot: Bot, hand: Hand) -> None:
    """`after` and `wait` hold the answer until the bot writes."""
    event = (await hand.say("/start"))["event"]
    seen: dict[str, Any] = {}

    async def watch() -> None:
        seen.update(await hand.look(f"chat/{ALICE}", after=event, wait=20))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await bot.send_message(ALICE, "here")
    assert [m["text"] for m in seen["messages"]] == ["here"]


# ---------------------------------------------------------------------------- limits, refusals, faults


async def test_the_limit_of_a_chat(bot: Bot, hand: Hand) -> None:
    """A burst to one chat is accepted, then 429 with retry_after; edits are not metered; lifting says what it is."""
    sent = await _message_with_button(bot, hand)
    with pytest.raises(RetryAfter) as caught:
        for _ in range(8):
            await bot.send_message(ALICE, "x")
    assert caught.value.retry_after == timedelta(seconds=1)
    await bot.edit_message_text("edited", ALICE, sent.message_id)
    assert "Telegram would refuse" in (await hand.sim("limits", lifted=True))["note"]
    for _ in range(8):
        await bot.send_message(ALICE, "x")
    assert (await hand.look("stats"))["limits"]["refused"] == 1


async def test_the_limit_of_all_chats(bot: Bot, hand: Hand) -> None:
    """No more than the set number of messages in any second, over all chats."""
    await hand.sim("limits", per_second=4)
    await hand.sim("chats", first=1, count=20)
    with pytest.raises(RetryAfter):
        for chat in range(1, 21):
            await bot.send_message(chat, "x")
    stats = (await hand.look("stats"))["limits"]
    assert stats["busiest_second"] == 4


async def test_people_who_left(bot: Bot, hand: Hand) -> None:
    """A stopped bot gets 403 and a my_chat_member update; writing again starts it again."""
    await hand.say("/start")
    await hand.sim("block", chat_id=ALICE)
    assert await refused(bot.send_message(ALICE, "x")) == "Forbidden: bot was blocked by the user"
    member = (await bot.get_updates())[-1].my_chat_member
    assert member is not None
    assert member.new_chat_member.status == "kicked"
    await hand.say("/start")
    assert (await bot.send_message(ALICE, "back")).text == "back"
    await hand.sim("block", chat_id=ALICE, kind="deactivated")
    assert await refused(bot.send_message(ALICE, "x")) == "Forbidden: user is deactivated"


async def test_faults_on_request(bot: Bot, hand: Hand) -> None:
    """Each fault is the exception PTB makes of it, as often as it was asked for, and only where."""
    await hand.say("/start")
    await hand.say("/start", chat_id=ALICE + 1)
    kinds: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"kind": "429", "retry_after": 17}, RetryAfter),
        ({"kind": "403"}, Forbidden),
        ({"kind": "5xx"}, NetworkError),
        ({"kind": "garbage"}, NetworkError),
        ({"kind": "401"}, InvalidToken),
        ({"kind": "migrate", "migrate_to_chat_id": -100777}, ChatMigrated),
    ]
    for fault, error in kinds:
        await hand.sim("fault", method="sendMessage", count=2, chat_id=ALICE, **fault)
        await bot.send_message(ALICE + 1, "not me")
        for _ in range(2):
            with pytest.raises(error):
                await bot.send_message(ALICE, "x")
        await hand.sim("limits", lifted=True)
        await bot.send_message(ALICE, "fine")
    assert (await hand.look("stats"))["faults"]["left"] == 0


async def test_a_lost_answer_leaves_the_message(bot: Bot, hand: Hand) -> None:
    """drop_reply does the work and hangs up; hang does nothing until the client has had enough."""
    await hand.say("/start")
    await hand.sim("fault", method="sendMessage", kind="drop_reply")
    with pytest.raises(NetworkError):
        await bot.send_message(ALICE, "ghost")
    await hand.sim("fault", method="sendMessage", kind="hang")
    with trio.move_on_after(0.2) as scope:
        await bot.send_message(ALICE, "never")
    assert scope.cancelled_caught
    shown = [m["text"] for m in (await hand.look(f"chat/{ALICE}"))["messages"] if m["from_bot"]]
    assert shown == ["ghost"]
    assert (await bot.send_message(ALICE, "well again")).text == "well again"


async def test_tokens_and_methods(hand: Hand) -> None:
    """A wrong token is 401, a wrong shape or method 404, a number that is none 400."""
    url = hand.sandbox.telegram_url
    for path, status in (("bot1:x/getMe", 401), ("botx/getMe", 404), ("nowhere", 404)):
        answer = await hand.client.get(f"{url}/{path}")
        assert (answer.status_code, answer.json()["error_code"]) == (status, status)
    assert (await hand.api("sendNothing"))["error_code"] == 404
    assert (await hand.api("getUpdates", json={"offset": "x"}))["error_code"] == 400


async def test_what_a_bot_says_of_itself(bot: Bot, hand: Hand) -> None:
    """Commands and texts are kept by scope and language, and judged."""
    await bot.set_my_commands([BotCommand("buy", "Buy")])
    await bot.set_my_commands([BotCommand("buy", "Купить")], language_code="ru")
    assert [c.description for c in await bot.get_my_commands(language_code="ru")] == ["Купить"]
    assert [c.description for c in await bot.get_my_commands()] == ["Buy"]
    assert await refused(bot.set_my_commands([BotCommand("Buy!", "x")])) == "Bot_command_invalid"
    await bot.set_my_description("long")
    assert (await bot.get_my_description(language_code="de")).description == "long"
    await bot.set_my_short_description("short")
    await hand.say("/start")
    assert (await bot.get_chat(ALICE)).type == "private"
    assert await bot.send_chat_action(ALICE, "typing")
    assert await bot.set_chat_menu_button(ALICE)
    assert await bot.close()


# ---------------------------------------------------------------------------- webhook


class Hook:
    """A bot's end of a webhook: answers as told, and keeps what came."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.answers: list[Response] = []
        self.in_flight: dict[int, int] = {}
        self.overlap = 0
        self.arrived = trio.Event()
        self.expected = 0

    async def handle(self, request: Request) -> Response:
        body = await request.json()
        chat = body.get("message", body.get("callback_query", {}).get("message"))["chat"]["id"]
        self.in_flight[chat] = self.in_flight.get(chat, 0) + 1
        self.overlap = max(self.overlap, self.in_flight[chat])
        for _ in range(20):
            await trio.lowlevel.checkpoint()  # time for a second one to come, if one did
        self.in_flight[chat] -= 1
        self.got.append((dict(request.headers), body))
        if len(self.got) >= self.expected:
            self.arrived.set()
        return self.answers.pop(0) if self.answers else Response()

    async def wait(self, count: int) -> None:
        self.expected, self.arrived = count, trio.Event()
        with trio.fail_after(10):
            while len(self.got) < count:
                await self.arrived.wait()


@asynccontextmanager
async def open_hook() -> AsyncIterator[tuple[Hook, str]]:
    hook = Hook()
    app = Starlette(routes=[Route("/hook", hook.handle, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
        bound = await nursery.start(serve)
        yield hook, f"http://{bound[0]}/hook"
        nursery.cancel_scope.cancel()


async def test_a_webhook_gets_each_chat_in_order_one_at_a_time(bot: Bot, hand: Hand) -> None:
    """The secret is sent, a chat's order is kept with one update in flight, polling is refused meanwhile."""
    await hand.say("waiting before the webhook")
    async with open_hook() as (hook, url):
        await bot.set_webhook(url, secret_token="s3cret-S", max_connections=5)
        assert (await bot.get_webhook_info()).url == url
        with pytest.raises(Conflict, match="webhook is active"):
            await bot.get_updates()
        for number in range(6):
            await hand.say(f"a{number}")
            await hand.say(f"b{number}", chat_id=ALICE + 1)
        await hook.wait(13)
        texts = [body["message"]["text"] for _, body in hook.got]
        assert [t for t in texts if t[0] == "a"] == [f"a{n}" for n in range(6)]
        assert [t for t in texts if t[0] == "b"] == [f"b{n}" for n in range(6)]
        assert hook.overlap == 1
        assert {headers["x-telegram-bot-api-secret-token"] for headers, _ in hook.got} == {"s3cret-S"}
        await until(hand.nothing_pending)
        await bot.delete_webhook()
    assert (await bot.get_webhook_info()).pending_update_count == 0


async def test_a_failing_webhook_is_tried_again_and_its_answer_may_be_a_method(bot: Bot, hand: Hand) -> None:
    """A 500 is retried with the same update; a method in the 2xx body is carried out."""
    await hand.sim("limits", webhook_retry_first=0.01)
    async with open_hook() as (hook, url):
        hook.answers = [
            Response(status_code=500),
            Response(status_code=503, headers={"Retry-After": "0"}),
            JSONResponse({"method": "sendMessage", "chat_id": ALICE, "text": "from the answer"}),
        ]
        await bot.set_webhook(url)
        event = (await hand.say("/start"))["event"]
        await hook.wait(3)
        assert len({body["update_id"] for _, body in hook.got}) == 1
        seen = await hand.look(f"chat/{ALICE}", after=event, wait=10)
        assert [m["text"] for m in seen["messages"]] == ["from the answer"]
        info = await bot.get_webhook_info()
        assert info.last_error_message is not None
        assert "503" in info.last_error_message


async def test_webhook_addresses_are_judged(bot: Bot, hand: Hand) -> None:
    """HTTPS and four ports out in the world, anything on loopback; a second one within a second is 429."""
    assert "an https url must be provided" in await refused(bot.set_webhook("http://example.org/x"))
    assert "ports 80, 88, 443 or 8443" in await refused(bot.set_webhook("https://example.org:9/x"))
    assert "unallowed characters" in await refused(
        bot.set_webhook("https://example.org/", secret_token="a b")
    )
    await hand.say("dropped")
    await bot.set_webhook("http://127.0.0.1:9/x", drop_pending_updates=True)
    assert (await bot.get_webhook_info()).pending_update_count == 0
    with pytest.raises(RetryAfter):
        await bot.set_webhook("http://127.0.0.1:9/y")


# ---------------------------------------------------------------------------- Stars


async def _invoice(bot: Bot, hand: Hand, payload: str = "order-1") -> int:
    await hand.say("/start")
    prices = [LabeledPrice("Month", 250)]
    sent = await bot.send_invoice(ALICE, "Month", "A month", payload, "XTR", prices)
    assert sent.invoice is not None
    assert sent.reply_markup is not None
    return sent.message_id


async def _answering(bot: Bot, answer: Any) -> Update:
    """Poll for the pre-checkout query and answer it."""
    offset = 0
    while True:
        for update in await bot.get_updates(offset=offset, timeout=20):
            offset = update.update_id + 1
            if update.pre_checkout_query is not None:
                await answer(update.pre_checkout_query)
                return update


async def _pay(bot: Bot, hand: Hand, answer: Any, **options: Any) -> Any:
    result: dict[str, Any] = {}

    async def pay() -> None:
        result.update(await hand.sim("pay", chat_id=ALICE, **options))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pay)
            update = await _answering(bot, answer)
    return result, update


async def _yes(query: Any) -> None:
    await query.answer(ok=True)


async def test_a_payment_asks_first_and_is_told_once(bot: Bot, hand: Hand) -> None:
    """Pre-checkout, its answer, successful_payment with a charge id of its own; an invoice message is paid once."""
    number = await _invoice(bot, hand)
    result, update = await _pay(bot, hand, _yes, message_id=number)
    assert result["ok"]
    query = update.pre_checkout_query
    assert query is not None
    assert (query.currency, query.total_amount, query.invoice_payload) == ("XTR", 250, "order-1")
    [paid] = await bot.get_updates(offset=update.update_id + 1)
    assert paid.message is not None
    payment = paid.message.successful_payment
    assert payment is not None
    assert (payment.telegram_payment_charge_id, payment.total_amount) == (result["charge_id"], 250)
    url = f"{hand.sandbox.telegram_url}/sim/pay"
    again = await hand.client.post(url, json={"chat_id": ALICE, "message_id": number})
    assert (again.status_code, "paid already" in again.text) == (400, True)
    other, _ = await _pay(bot, hand, _yes, message_id=number, again=True)
    assert other["charge_id"] != result["charge_id"]


async def test_a_payment_refused_or_unanswered_does_not_happen(bot: Bot, hand: Hand) -> None:
    """No is no; silence is no, and an answer after the time is refused."""
    number = await _invoice(bot, hand)

    async def refuse(query: Any) -> None:
        await query.answer(ok=False, error_message="Sold out")

    result, _ = await _pay(bot, hand, refuse, message_id=number)
    assert result == {"ok": False, "error": "Sold out"}
    await hand.sim("limits", checkout_seconds=0.01)
    late = await hand.sim("pay", chat_id=ALICE, message_id=number)
    assert late["ok"] is False
    assert "in time" in late["error"]
    query = (await bot.get_updates())[-1].pre_checkout_query
    assert query is not None
    assert (await refused(query.answer(ok=True))).startswith("Query is too old")
    assert (await bot.get_star_transactions()).transactions == ()


async def test_payments_out_of_the_ordinary(bot: Bot, hand: Hand) -> None:
    """Without a question, told twice, never told, of another amount or currency, by somebody else, through a link."""
    number = await _invoice(bot, hand)
    pay = partial(hand.sim, "pay", chat_id=ALICE, pre_checkout=False)
    twice = await pay(message_id=number, repeat=2)
    assert len(twice["update_ids"]) == 2
    silent = await pay(message_id=number, again=True, deliver=False)
    assert silent["update_ids"] == []
    await pay(message_id=number, again=True, charged_amount=1)
    await pay(message_id=number, again=True, currency="EUR")
    await pay(message_id=number, again=True, **{"from": {"id": 6001, "first_name": "Bob"}})
    link = await bot.create_invoice_link(
        "M", "d", "sub", "XTR", [LabeledPrice("m", 9)], subscription_period=2592000
    )
    await pay(link=link)
    messages = [u.message for u in await bot.get_updates() if u.message and u.message.successful_payment]
    payments = [m.successful_payment for m in messages]
    assert all(payments)
    found = [(p.telegram_payment_charge_id, p.total_amount, p.currency) for p in payments if p]
    assert found[0] == found[1] == (twice["charge_id"], 250, "XTR")
    assert found[2][1:] == (1, "XTR")
    assert found[3][1:] == (250, "EUR")
    assert messages[4].chat.id == 6001
    assert payments[5] is not None
    assert payments[5].is_first_recurring is True
    assert silent["charge_id"] in {t.id for t in (await bot.get_star_transactions()).transactions}


async def test_refunds_happen_once_and_stand_in_the_statement(bot: Bot, hand: Hand) -> None:
    """A refund is a second entry with the charge's id; repeating it is CHARGE_ALREADY_REFUNDED."""
    number = await _invoice(bot, hand)
    charge = (await hand.sim("pay", chat_id=ALICE, message_id=number, pre_checkout=False))["charge_id"]
    assert (await bot.get_my_star_balance()).amount == 250
    assert await refused(bot.refund_star_payment(6001, charge)) == "User_id_invalid"
    assert await bot.refund_star_payment(ALICE, charge)
    assert await refused(bot.refund_star_payment(ALICE, charge)) == "Charge_already_refunded"
    assert (await bot.get_my_star_balance()).amount == 0
    entries = (await bot.get_star_transactions()).transactions
    assert [(e.id, e.source is None, e.receiver is None) for e in entries] == [
        (charge, False, True),
        (charge, True, False),
    ]
    message = (await bot.get_updates())[-1].message
    assert message is not None
    assert message.refunded_payment is not None


async def test_invoices_are_judged(bot: Bot, hand: Hand) -> None:
    """Payload 1 to 128 bytes, exactly one price, Stars without a provider token, a pay button first."""
    await hand.say("/start")
    one = [LabeledPrice("m", 5)]
    send = partial(bot.send_invoice, ALICE, "t", "d")
    assert await refused(send("ж" * 65, "XTR", one)) == "Invoice_payload_invalid"
    assert await refused(send("p", "XTR", one * 2)) == "Stars_invoice_invalid"
    assert await refused(send("p", "XTR", [LabeledPrice("m", 0)])) == "Currency_total_amount_invalid"
    assert await refused(send("p", "EUR", one)) == "Payment_provider_invalid"
    markup = keyboard([button("A", "a")])
    assert "pay button" in await refused(send("p", "XTR", one, reply_markup=markup))
    text = await refused(
        bot.send_message(ALICE, "x", reply_markup=keyboard([InlineKeyboardButton("Pay", pay=True)]))
    )
    assert text == "Button_type_invalid"


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("sendMessage", {"text": "x", "reply_parameters": {"message_id": "nonsense"}}),
        ("sendMessage", {"text": "x", "entities": [{"type": "bold", "offset": "a", "length": 1}]}),
        ("sendMessage", {"text": "x", "reply_markup": {"inline_keyboard": {"a": 1}}}),
        ("sendMessage", {"text": "x", "reply_markup": "{"}),
        ("deleteMessages", {"message_ids": ["x"]}),
        ("editMessageMedia", {"message_id": 1, "media": [1]}),
        ("sendInvoice", {"title": "t", "description": "d", "payload": "p", "currency": "XTR", "prices": [1]}),
        ("setMyCommands", {"commands": [1]}),
        ("setWebhook", {"url": "https://[bad"}),
    ],
)
async def test_nonsense_is_a_400_and_never_more(hand: Hand, method: str, values: dict[str, Any]) -> None:
    """Parameters of a wrong shape are the caller's fault: the server says so and lives on."""
    await hand.say("/start")
    answer = await hand.api(method, json={"chat_id": ALICE, **values})
    assert (answer["ok"], answer["error_code"]) == (False, 400)


async def test_an_update_as_given(bot: Bot, hand: Hand) -> None:
    """A kind that this server does not make itself can be queued, wanted kinds permitting."""
    payload = {"user": {"id": ALICE, "is_bot": False, "first_name": "A"}, "state": "canceled"}
    await bot.get_updates(allowed_updates=["subscription"])
    made = await hand.sim("update", kind="subscription", payload=payload)
    [update] = await bot.get_updates()
    assert update.update_id == made["update_id"]
    assert update.api_kwargs["subscription"]["state"] == "canceled"
