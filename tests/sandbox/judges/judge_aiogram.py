"""aiogram 3 as a second opinion: its models read everything the sandboxed Telegram says, over its own transport, and strictly.

A field that aiogram requires and does not get is refused by it; one that it does not know is a fault here. Every kind of
update and the result of every method is read that way. The last lines say which methods were called, and that all held.

Run by test_sandbox_judges.py in an environment of its own: judge_aiogram.py TELEGRAM_URL TOKEN
"""

import asyncio
import struct
import sys
import zlib
from collections.abc import Iterator

import aiohttp
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import MenuButtonType
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    CopyTextButton,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    LabeledPrice,
    MenuButtonDefault,
    Message,
    PreCheckoutQuery,
    RevenueWithdrawalStateSucceeded,
    TransactionPartnerFragment,
    TransactionPartnerUser,
    Update,
)
from pydantic import BaseModel

CHAT = 9001
PERIOD = 2_592_000
URL, TOKEN = sys.argv[1:]


def picture() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0\1\2\3\4" * 4))
        + chunk(b"IEND", b"")
    )


class StrictSession(AiohttpSession):
    """A transport that reads every result down to its last field, and remembers what was called."""

    called: set[str] = set()  # noqa: RUF012 (of all bots of this program)

    def check_response(self, bot, method, status_code, content):
        self.called.add(method.__api_method__)
        response = super().check_response(bot, method, status_code, content)
        if strange := list(unknown_fields(response.result, method.__api_method__)):
            raise AssertionError(f"aiogram does not know {strange}")
        return response


def unknown_fields(value: object, path: str) -> Iterator[str]:
    """The fields that aiogram has no name for, anywhere inside."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for one in value:
            yield from unknown_fields(one, path)


async def sim(path: str, **values: object) -> dict:
    async with aiohttp.ClientSession() as session, session.post(f"{URL}/sim/{path}", json=values) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def must_raise(error: type[Exception], awaitable: object) -> Exception:
    try:
        await awaitable
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was expected")


async def judge_methods(bot: Bot) -> None:
    me = await bot.get_me()
    assert me.is_bot
    assert me.id == bot.id
    keys = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Go", callback_data="go")]])
    sent = await bot.send_message(CHAT, "<b>hi</b> 🙂 <code>x</code>", parse_mode="HTML", reply_markup=keys)
    assert sent.html_text == "<b>hi</b> 🙂 <code>x</code>"
    edited = await bot.edit_message_text("new", chat_id=CHAT, message_id=sent.message_id)
    assert edited.edit_date
    error = await must_raise(
        TelegramBadRequest, bot.edit_message_text("new", chat_id=CHAT, message_id=sent.message_id)
    )
    assert "message is not modified" in str(error)
    photo = await bot.send_photo(CHAT, BufferedInputFile(picture(), "qr.png"), caption="c")
    media = InputMediaPhoto(media=BufferedInputFile(picture(), "other.png"), caption="d")
    changed = await bot.edit_message_media(media, chat_id=CHAT, message_id=photo.message_id)
    assert changed.caption == "d"
    assert (await bot.download(changed.photo[-1].file_id)).read() == picture()
    assert (await bot.send_document(CHAT, BufferedInputFile(b"a,b", "a.csv"))).document.file_name == "a.csv"
    assert (await bot.copy_message(CHAT, CHAT, sent.message_id)).message_id
    assert await bot.delete_message(CHAT, sent.message_id)
    assert await bot.send_chat_action(CHAT, "typing")
    assert (await bot.get_chat(CHAT)).type == "private"
    await bot.set_my_commands([BotCommand(command="buy", description="Buy")])
    assert (await bot.get_my_commands())[0].command == "buy"
    assert (await bot.get_webhook_info()).url == ""
    await bot.set_my_description("d")
    await bot.set_my_short_description("s")
    assert await bot.set_chat_menu_button(menu_button=MenuButtonDefault())
    assert (await bot.get_chat_menu_button()).type == MenuButtonType.DEFAULT
    assert (await bot.get_my_description()).description == "d"
    assert (await bot.get_my_short_description()).short_description == "s"
    assert await bot.set_my_name("Shop")
    assert (await bot.get_my_name()).name == "Shop"
    assert await bot.delete_my_commands()
    assert await bot.get_my_commands() == []
    assert (
        await bot.edit_message_caption(
            chat_id=CHAT, message_id=photo.message_id, caption="<i>e</i>", parse_mode="HTML"
        )
    ).caption == "e"
    marked = await bot.edit_message_reply_markup(chat_id=CHAT, message_id=photo.message_id, reply_markup=keys)
    assert marked.reply_markup.inline_keyboard[0][0].callback_data == "go"
    forwarded = await bot.forward_message(CHAT, CHAT, photo.message_id)
    assert forwarded.forward_origin.type == "user"
    replied = await bot.send_message(CHAT, "r", reply_to_message_id=photo.message_id)
    assert replied.reply_to_message.message_id == photo.message_id
    assert await bot.delete_messages(CHAT, [replied.message_id, forwarded.message_id])
    assert await bot.set_webhook(f"{URL}/nowhere", secret_token="s")
    assert (await bot.get_webhook_info()).url == f"{URL}/nowhere"
    assert await bot.delete_webhook()


async def judge_kinds_of_updates(bot: Bot) -> None:
    """Whatever a person sends, presses, changes or stops comes as an update that is read whole."""
    kinds = ["message", "edited_message", "callback_query", "my_chat_member"]
    offset = (await bot.get_updates(allowed_updates=kinds) or [None])[-1]
    offset = offset.update_id + 1 if offset else 0
    sent = ("text", "photo", "document", "sticker", "voice", "location", "contact")
    for kind in sent:
        await sim(
            "message",
            chat_id=CHAT,
            kind=kind,
            text="/start ref_1",
            **{"from": {"language_code": "ru", "username": "ann"}},
        )
    first = await sim("message", chat_id=CHAT, text="helo")
    await sim("edit", chat_id=CHAT, message_id=first["message_id"], text="hello")
    await sim("message", chat_id=-CHAT, text="in a group")
    await sim("message", chat_id=-1000000000000 - CHAT, text="in a supergroup")
    keys = InlineKeyboardMarkup(
        inline_keyboard=[
            [
                InlineKeyboardButton(text="Go", callback_data="go"),
                InlineKeyboardButton(text="Page", url="https://example.org"),
                InlineKeyboardButton(text="Copy", copy_text=CopyTextButton(text="link")),
            ]
        ]
    )
    menu = await bot.send_photo(CHAT, BufferedInputFile(picture(), "qr.png"), caption="c", reply_markup=keys)
    pressed = await sim("press", chat_id=CHAT, message_id=menu.message_id, data="go")
    assert await bot.answer_callback_query(pressed["callback_query_id"], text="t", show_alert=True)
    await sim("block", chat_id=CHAT, kind="blocked")
    await must_raise(TelegramForbiddenError, bot.send_message(CHAT, "x"))
    await sim("block", chat_id=CHAT, kind="none")

    updates = await bot.get_updates(offset=offset, allowed_updates=kinds)
    messages = [update.message for update in updates if update.message]
    assert [message.content_type for message in messages] == [*sent, *["text"] * 3]
    assert messages[0].entities[0].type == messages[1].caption_entities[0].type == "bot_command"
    assert [message.chat.type for message in messages[-3:]] == ["private", "group", "supergroup"]
    assert (await bot.download(messages[1].photo[-1].file_id)).read().startswith(b"\x89PNG")
    [edited] = [update.edited_message for update in updates if update.edited_message]
    assert (edited.text, edited.message_id) == ("hello", first["message_id"])
    [query] = [update.callback_query for update in updates if update.callback_query]
    assert query.message.reply_markup.inline_keyboard[0][2].copy_text.text == "link"
    states = [update.my_chat_member for update in updates if update.my_chat_member]
    assert [(one.old_chat_member.status, one.new_chat_member.status) for one in states] == [
        ("member", "kicked"),
        ("kicked", "member"),
    ]
    await bot.get_updates(offset=updates[-1].update_id + 1)


async def judge_refusals(bot: Bot) -> None:
    assert "chat not found" in str(await must_raise(TelegramBadRequest, bot.send_message(404, "x")))
    await sim("fault", method="sendMessage", kind="429", retry_after=9)
    assert (await must_raise(TelegramRetryAfter, bot.send_message(CHAT, "x"))).retry_after == 9
    await sim("fault", method="sendMessage", kind="403")
    await must_raise(TelegramForbiddenError, bot.send_message(CHAT, "x"))
    await sim("fault", method="sendMessage", kind="5xx")
    await must_raise(TelegramServerError, bot.send_message(CHAT, "x"))
    await sim("fault", method="sendMessage", kind="drop_reply")
    await must_raise(TelegramNetworkError, bot.send_message(CHAT, "x"))
    stranger = Bot("1:wrong", session=StrictSession(api=TelegramAPIServer.from_base(URL)))
    await must_raise(TelegramUnauthorizedError, stranger.get_me())
    await stranger.session.close()


async def judge_updates(bot: Bot) -> None:
    """A dispatcher on long polling answers a command, a press and a purchase."""
    dispatcher = Dispatcher()
    done: asyncio.Queue = asyncio.Queue()

    @dispatcher.message(F.successful_payment)
    async def paid(message: Message) -> None:
        await done.put(message.successful_payment.telegram_payment_charge_id)

    @dispatcher.message(F.text == "/start")
    async def start(message: Message) -> None:
        keys = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Buy", callback_data="buy")]])
        await done.put((await message.answer("menu", reply_markup=keys)).message_id)

    @dispatcher.callback_query()
    async def pressed(query: CallbackQuery) -> None:
        await query.answer("one moment")
        invoice = await query.message.answer_invoice(
            title="Month",
            description="d",
            payload="p",
            currency="XTR",
            prices=[LabeledPrice(label="m", amount=7)],
        )
        await done.put(invoice.message_id)

    @dispatcher.pre_checkout_query()
    async def ask(query: PreCheckoutQuery) -> None:
        await query.answer(ok=query.total_amount == 7)

    polling = asyncio.create_task(
        dispatcher.start_polling(bot, handle_signals=False, close_bot_session=False)
    )
    await sim("message", chat_id=CHAT, text="/start")
    menu = await done.get()
    await sim("press", chat_id=CHAT, message_id=menu, button="Buy")
    invoice = await done.get()
    result = await sim("pay", chat_id=CHAT, message_id=invoice)
    assert result["ok"], result
    assert await done.get() == result["charge_id"]
    transactions = (await bot.get_star_transactions()).transactions
    assert [(t.id, t.amount) for t in transactions] == [(result["charge_id"], 7)]
    assert await bot.refund_star_payment(CHAT, result["charge_id"])
    error = await must_raise(TelegramBadRequest, bot.refund_star_payment(CHAT, result["charge_id"]))
    assert "CHARGE_ALREADY_REFUNDED" in str(error)
    await dispatcher.stop_polling()
    await polling


async def judge_subscriptions(bot: Bot) -> None:
    """A subscription's life: its payments, the updates about it, the statement, refunds and a withdrawal."""
    kinds = ["message", "subscription"]
    offset = 0

    async def next_updates() -> list[Update]:
        nonlocal offset
        found = await bot.get_updates(offset=offset, allowed_updates=kinds)
        offset = found[-1].update_id + 1 if found else offset
        return found

    await next_updates()
    price = [LabeledPrice(label="m", amount=30)]
    link = await bot.create_invoice_link("Month", "d", "sub", "XTR", price, subscription_period=PERIOD)
    charge = (await sim("pay", link=link, chat_id=CHAT, pre_checkout=False))["charge_id"]
    [first] = [update.message.successful_payment for update in await next_updates()]
    await sim("clock", advance=PERIOD)
    [second] = [update.message.successful_payment for update in await next_updates()]
    assert (first.is_recurring, first.is_first_recurring) == (True, True)
    assert (second.is_recurring, second.is_first_recurring) == (True, None)
    assert second.subscription_expiration_date - first.subscription_expiration_date == PERIOD
    assert second.invoice_payload == first.invoice_payload == "sub"
    renewal = second.telegram_payment_charge_id

    await sim("subscription", charge_id=charge, cancel=True)
    await sim("subscription", charge_id=charge, resume=True, renewals=["fail"])
    assert await bot.edit_user_star_subscription(CHAT, renewal, True)
    assert await bot.edit_user_star_subscription(CHAT, charge, False)
    await sim("subscription", charge_id=charge, resume=True)
    changes = [update.subscription for update in await next_updates()]
    await sim("clock", advance=PERIOD)
    changes += [update.subscription for update in await next_updates()]
    assert [change.state for change in changes] == ["canceled", "active", "active", "failed"]
    assert {(change.user.id, change.invoice_payload) for change in changes} == {(CHAT, "sub")}
    error = await must_raise(TelegramBadRequest, bot.edit_user_star_subscription(CHAT, "unknown", True))
    assert "CHARGE_ID_INVALID" in str(error)

    assert await bot.refund_star_payment(CHAT, renewal)
    taken = (await sim("withdraw"))["transaction_id"]
    await sim("chargeback", charge_id=charge)
    refunds = [update.message.refunded_payment for update in await next_updates()]
    assert [refund.telegram_payment_charge_id for refund in refunds] == [renewal, charge]
    assert {(refund.currency, refund.total_amount) for refund in refunds} == {("XTR", 30)}
    lines = (await bot.get_star_transactions(offset=2)).transactions
    assert [line.id for line in lines] == [charge, renewal, renewal, taken, charge]
    assert [line.source is None for line in lines] == [False, False, True, True, True]
    assert {lines[i].source.subscription_period for i in (0, 1)} == {PERIOD}
    assert isinstance(lines[3].receiver, TransactionPartnerFragment)
    assert isinstance(lines[3].receiver.withdrawal_state, RevenueWithdrawalStateSucceeded)
    assert isinstance(lines[4].receiver, TransactionPartnerUser)
    assert (await bot.get_my_star_balance()).amount == -30


async def main() -> None:
    bot = Bot(TOKEN, session=StrictSession(api=TelegramAPIServer.from_base(URL)))
    await sim("chats", ids=[CHAT])
    await sim("limits", lifted=True)
    await judge_methods(bot)
    await judge_refusals(bot)
    await asyncio.wait_for(judge_kinds_of_updates(bot), 20)
    await asyncio.wait_for(judge_updates(bot), 20)
    await asyncio.wait_for(judge_subscriptions(bot), 20)
    # Both are refused for a while after they were used, so they come last.
    assert await bot.close()
    assert await bot.log_out()
    await bot.session.close()
    sys.stdout.write(" ".join(sorted(StrictSession.called)) + "\n")
    sys.stdout.write("judged\n")


asyncio.run(main())
