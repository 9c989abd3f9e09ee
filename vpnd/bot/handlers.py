"""What happens when somebody writes, presses or pays: the wiring of PTB's handlers to what the bot does.

Every handler may run twice, since an update whose end was not written down is played again after a kill: what it
changes is keyed by the update, and what it shows may be shown twice. None holds a transaction while it talks to
Telegram. Groups and channels get no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from attrs import frozen
from telegram import (
    BotCommand,
    BotCommandScopeAllPrivateChats,
    CallbackQuery,
    ChatMember,
    Message,
    Update,
    User,
)
from telegram.constants import ChatType
from telegram.ext import (
    Application,
    CallbackContext,
    CallbackQueryHandler,
    ChatMemberHandler,
    CommandHandler,
    MessageHandler,
    PreCheckoutQueryHandler,
    filters,
)

from vpnd.bot import callbacks, presses
from vpnd.bot.callbacks import Action, decode
from vpnd.bot.counters import stale_presses_total
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.ordering import refusal_text
from vpnd.bot.screens.trouble import words
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit, customer_of, note_reachable
from vpnd.database.errors import DatabaseError
from vpnd.payments import stars
from vpnd.payments.settle import settle_charge
from vpnd.runtime.journal import get_journal
from vpnd.telegram.errors import Blocked, Rejected, TelegramError
from vpnd.telegram.sender import Lane
from vpnd.telegram.update import StoredUpdate, private_chat_of

log = get_journal("bot")

#: Commands in the order of Telegram's menu; their descriptions are the texts `command-<name>`.
COMMANDS: Final[dict[str, Action]] = {
    "start": callbacks.Home(),
    "buy": callbacks.Plans(),
    "subscription": callbacks.Subscriptions(),
    "help": callbacks.Help(),
    "language": callbacks.Languages(),
}
_REFERRAL: Final = "ref_"
_GONE: Final = (ChatMember.BANNED, ChatMember.LEFT)  # how Telegram names a bot that was blocked

Context = CallbackContext[Any, Any, Any, Any]
PRIVATE: Final = filters.ChatType.PRIVATE


def register(application: Application[Any, Any, Any, Any, Any, Any], deps: BotDependencies) -> None:
    """Attach all handlers of the bot to PTB's dispatcher. They run awaited, in the task of their update."""
    bot = _Handlers(deps)
    fresh = filters.UpdateType.MESSAGE  # an edited message is no new wish
    application.add_handler(PreCheckoutQueryHandler(bot.on_pre_checkout))
    application.add_handler(MessageHandler(fresh & filters.SUCCESSFUL_PAYMENT, bot.on_successful_payment))
    application.add_handler(
        MessageHandler(fresh & filters.StatusUpdate.REFUNDED_PAYMENT, bot.on_refunded_payment)
    )
    application.add_handler(CallbackQueryHandler(bot.on_press))
    application.add_handler(CommandHandler("start", bot.on_start, filters=fresh & PRIVATE))
    for name, action in COMMANDS.items():
        if name != "start":
            application.add_handler(CommandHandler(name, bot.command(action), filters=fresh & PRIVATE))
    application.add_handler(ChatMemberHandler(bot.on_member, ChatMemberHandler.MY_CHAT_MEMBER))
    application.add_handler(MessageHandler(fresh & PRIVATE & ~filters.StatusUpdate.ALL, bot.on_anything_else))


async def set_commands(deps: BotDependencies) -> None:
    """Tell Telegram the commands of the menu, in each language, for private chats only.

    Raises `vpnd.telegram.errors.TelegramError`; setting them again does no harm.
    """
    scope = BotCommandScopeAllPrivateChats()
    for language in (None, *deps.texts.languages):
        own = language or deps.texts.default
        commands = [BotCommand(name, deps.texts.plain(own, f"command-{name}")) for name in COMMANDS]
        await deps.sender.call(
            Lane.NOTICE, "set_my_commands", commands=commands, scope=scope, language_code=language
        )


async def tell_failure(deps: BotDependencies, update: StoredUpdate, error: Exception) -> None:
    """Tell the customer kindly that his update failed, or that we are being repaired. Needs no database.

    Raises `vpnd.telegram.errors.TelegramError`.
    """
    if isinstance(error, TelegramError):
        return  # what could not be sent to him a moment ago will not arrive now
    # A message about a payment is of a kind of its own, but still a message.
    body = update.payload.get(update.kind) or update.payload.get("message")
    sender = body.get("from") if isinstance(body, dict) else None
    code = sender.get("language_code") if isinstance(sender, dict) else None
    speech = Speech(deps.texts, deps.texts.pick(code))
    if update.kind == "pre_checkout_query" and isinstance(body, dict):
        await deps.sender.call(
            Lane.REPLY,
            "answer_pre_checkout_query",
            pre_checkout_query_id=str(body.get("id")),
            ok=False,
            error_message=speech.label("alert-check-refused-repair"),
        )
        return
    chat_id = private_chat_of(update.payload)
    if chat_id is not None and update.kind != "my_chat_member":
        key = "repair" if isinstance(error, DatabaseError) else "trouble"
        await send(deps.sender, Lane.REPLY, chat_id, words(speech, key), None)


@frozen
class _Handlers:
    deps: BotDependencies

    def _speech(self, user: User) -> Speech:
        """The language Telegram says a stranger speaks."""
        return Speech(self.deps.texts, self.deps.texts.pick(user.language_code))

    async def _visit(
        self,
        update: Update,
        user: User,
        chat_id: int,
        *,
        pressed: object | None = None,
        referral: str | None = None,
    ) -> Visit:
        customer = await customer_of(self.deps, user, referral_code=referral)
        language = (
            customer.language if customer.language in self.deps.texts.languages else self.deps.texts.default
        )
        return Visit(
            self.deps, update.update_id, chat_id, customer, Speech(self.deps.texts, language), pressed
        )

    async def _run(self, visit: Visit, work: Callable[[Visit], Awaitable[None]]) -> None:
        """Do the work; somebody who blocked the bot meanwhile is noted and is no failure."""
        try:
            await work(visit)
        except Blocked:
            await note_reachable(self.deps, visit.customer.telegram_id, False)

    # -------------------------------------------------------------------------------------- words

    async def on_start(self, update: Update, context: Context) -> None:
        """`/start`, with the code of whoever sent the link, if there is one."""
        message, user = update.message, update.effective_user
        if message is None or user is None:
            return
        payload = context.args[0] if context.args else ""
        referral = payload.removeprefix(_REFERRAL) if payload.startswith(_REFERRAL) else None
        visit = await self._visit(update, user, message.chat_id, referral=referral)
        await self._run(visit, Visit.show_menu)

    def command(self, action: Action) -> Callable[[Update, Context], Coroutine[Any, Any, None]]:
        """A handler that does what a button with this action does."""

        async def on_command(update: Update, _context: Context) -> None:
            message, user = update.message, update.effective_user
            if message is None or user is None:
                return
            visit = await self._visit(update, user, message.chat_id)
            await self._run(visit, lambda visit: presses.HANDLERS[type(action)](visit, action))

        return on_command

    async def on_anything_else(self, update: Update, _context: Context) -> None:
        """Words, pictures, commands we don't have: say what can be done instead."""
        message, user = update.message, update.effective_user
        if message is None or user is None:
            return
        visit = await self._visit(update, user, message.chat_id)
        await self._run(visit, lambda visit: visit.show_menu(visit.speech.say("unknown-text")))

    # -------------------------------------------------------------------------------------- buttons

    async def on_press(self, update: Update, _context: Context) -> None:
        """A press: answered first and once, then done."""
        query = update.callback_query
        if query is None:
            return
        action = decode(query.data)
        alert = None if action is not None else self._speech(query.from_user).label("alert-stale")
        await self._answer(query, alert)
        chat = query.message.chat if query.message is not None else None
        if chat is None or chat.type != ChatType.PRIVATE:
            return
        visit = await self._visit(update, query.from_user, chat.id, pressed=query.message)
        if action is None:
            await self._run(visit, lambda visit: presses.stale(visit, "unreadable"))
        else:
            await self._run(visit, lambda visit: presses.HANDLERS[type(action)](visit, action))

    async def _answer(self, query: CallbackQuery, alert: str | None) -> None:
        """Stop the button's clock. A press too old to be answered is still done."""
        try:
            await self.deps.sender.call(
                Lane.REPLY, "answer_callback_query", callback_query_id=query.id, text=alert
            )
        except Rejected:
            stale_presses_total.labels("too_late").inc()
        except TelegramError as error:
            log.warning("bot.press_unanswered", message=f"a press could not be answered: {error}")

    # -------------------------------------------------------------------------------------- money

    async def on_pre_checkout(self, update: Update, _context: Context) -> None:
        """Telegram asks whether a Stars invoice may be paid; without a database the answer is no."""
        query = update.pre_checkout_query
        if query is None:
            return
        answer = await stars.check_pre_checkout(
            self.deps.db,
            payer_telegram_id=query.from_user.id,
            payload=query.invoice_payload,
            currency=query.currency,
            total_amount=query.total_amount,
        )
        await self.deps.sender.call(
            Lane.REPLY,
            "answer_pre_checkout_query",
            pre_checkout_query_id=query.id,
            ok=answer.ok,
            error_message=refusal_text(self._speech(query.from_user), answer),
        )

    async def on_successful_payment(self, update: Update, _context: Context) -> None:
        """Stars were paid: settle the charge. The receipt follows by the outbox."""
        message = update.message
        if message is None or message.successful_payment is None:
            return
        payment = message.successful_payment
        # In a private chat the payer is the chat; a forwarded copy of such a message carries no payment.
        payer = message.from_user.id if message.from_user is not None else message.chat_id
        charge = stars.charge_from_successful_payment(
            telegram_payment_charge_id=payment.telegram_payment_charge_id,
            provider_payment_charge_id=payment.provider_payment_charge_id,
            currency=payment.currency,
            total_amount=payment.total_amount,
            payload=payment.invoice_payload,
            payer_telegram_id=payer,
            paid_at=message.date,
        )
        await settle_charge(self.deps.db, charge, on_commit=self.deps.on_settled)

    async def on_refunded_payment(self, update: Update, _context: Context) -> None:
        """Telegram confirms that Stars went back."""
        message: Message | None = update.message
        if message is None or message.refunded_payment is None:
            return
        refund = message.refunded_payment
        log.info(
            "payment.refunded",
            message=f"{refund.total_amount} {refund.currency} went back to a customer",
            charge_id=refund.telegram_payment_charge_id,
            amount=refund.total_amount,
            currency=refund.currency,
        )

    # -------------------------------------------------------------------------------------- comings and goings

    async def on_member(self, update: Update, _context: Context) -> None:
        """Somebody blocked the bot, or came back."""
        change = update.my_chat_member
        if change is None or change.chat.type != ChatType.PRIVATE:
            return
        await note_reachable(self.deps, change.from_user.id, change.new_chat_member.status not in _GONE)
