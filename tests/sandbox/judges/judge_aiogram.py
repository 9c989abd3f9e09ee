"""aiogram 3 as a second opinion: its strict models read everything the sandboxed Telegram says, over its own transport.

Run by test_sandbox_judges.py in an environment of its own: judge_aiogram.py TELEGRAM_URL TOKEN
"""

import asyncio
import struct
import sys
import zlib

import aiohttp
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
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
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    LabeledPrice,
    Message,
    PreCheckoutQuery,
    RevenueWithdrawalStateSucceeded,
    TransactionPartnerFragment,
    TransactionPartnerUser,
    Update,
)

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
    assert await bot.set_chat_menu_button()


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
    stranger = Bot("1:wrong", session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))
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
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))
    await sim("chats", ids=[CHAT])
    await sim("limits", lifted=True)
    await judge_methods(bot)
    await judge_refusals(bot)
    await asyncio.wait_for(judge_updates(bot), 20)
    await asyncio.wait_for(judge_subscriptions(bot), 20)
    await bot.session.close()
    sys.stdout.write("judged\n")


asyncio.run(main())
