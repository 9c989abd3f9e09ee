"""What happens when somebody writes, presses or pays: the wiring of PTB's handlers and of presses to what the bot does.

Every handler may run twice, since an update whose end was not written down is played again after a kill: what it
changes is keyed by the update, and what it shows may be shown twice. None holds a transaction while it talks to
Telegram. Groups and channels get no answer, except that operators press what stands below an alert in their group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

from attrs import frozen
from telegram import (
    ChatMember,
    Message,
    Update,
)
from telegram.constants import ChatType
from telegram.ext import (
    BaseHandler,
    CallbackContext,
    ChatMemberHandler,
    CommandHandler,
    MessageHandler,
    PreCheckoutQueryHandler,
    filters,
)

from vpnd.bot import (
    alert_posts,
    alerting,
    broadcast_desk,
    buying,
    callbacks,
    catalogue,
    composing,
    customers,
    deeds,
    filling,
    giving_back,
    operators,
    own_link,
    presses,
    promo,
    running,
    segmenting,
    stars_told,
)
from vpnd.bot.answers import done_already, not_allowed, shut_out, stale
from vpnd.bot.callbacks import Action, decode
from vpnd.bot.counters import stale_presses_total
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.ordering import refusal_text
from vpnd.bot.screens.trouble import words
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit, customer_of, note_reachable, note_seen
from vpnd.database.errors import DatabaseError
from vpnd.payments import stars
from vpnd.runtime.groups import beside
from vpnd.runtime.journal import get_journal
from vpnd.shop.audit_log import AlreadyDone
from vpnd.shop.dialogs import Expected
from vpnd.shop.operators import NotAllowed, Permission
from vpnd.telegram.application import TrioApplication
from vpnd.telegram.errors import Blocked, Rejected, TelegramError
from vpnd.telegram.press import Person, Press, PressedMessage
from vpnd.telegram.sender import Lane
from vpnd.telegram.update import StoredUpdate, private_chat_of

log = get_journal("bot")

#: Commands in the order of Telegram's menu; their descriptions are the texts `command-<name>`.
COMMANDS: Final[dict[str, Action]] = {
    "start": callbacks.Home(),
    "buy": callbacks.Plans(),
    "subscription": callbacks.Subscriptions(),
    "balance": callbacks.Balance(),
    "promo": callbacks.Promo(),
    "help": callbacks.Help(),
    "notifications": callbacks.Notifications(),
    "language": callbacks.Languages(),
}
# What the payload of a link begins with.
_REFERRAL: Final = "ref_"
_PROMO: Final = "promo_"
_PLAN: Final = "plan_"
#: Commands with something behind them, and the admins' own: those have handlers of their own.
_SPECIAL: Final = ("start", "promo")
_GONE: Final = (ChatMember.BANNED, ChatMember.LEFT)  # how Telegram names a bot that was blocked

Context = CallbackContext[Any, Any, Any, Any]
PRIVATE: Final = filters.ChatType.PRIVATE


def register(application: TrioApplication, deps: BotDependencies) -> None:
    """Attach all handlers of the bot to PTB's dispatcher. They run awaited, in the task of their update."""
    bot = _Handlers(deps)
    fresh = filters.UpdateType.MESSAGE  # an edited message is no new wish
    application.add_handler(PreCheckoutQueryHandler(bot.on_pre_checkout))
    application.add_handler(MessageHandler(fresh & filters.SUCCESSFUL_PAYMENT, bot.on_successful_payment))
    application.add_handler(
        MessageHandler(fresh & filters.StatusUpdate.REFUNDED_PAYMENT, bot.on_refunded_payment)
    )
    application.take_presses(bot.on_press)
    application.add_handler(CommandHandler("start", bot.on_start, filters=fresh & PRIVATE))
    application.add_handler(CommandHandler("promo", bot.on_promo, filters=fresh & PRIVATE))
    for name, (permission, work) in _FOR_OPERATORS.items():
        handler = bot.operators_command(permission, work)
        application.add_handler(CommandHandler(name, handler, filters=fresh & PRIVATE))
    for name, action in COMMANDS.items():
        if name not in _SPECIAL:
            application.add_handler(CommandHandler(name, bot.command(action), filters=fresh & PRIVATE))
    application.add_handler(_SubscriptionHandler(bot.on_subscription))
    application.add_handler(ChatMemberHandler(bot.on_member, ChatMemberHandler.MY_CHAT_MEMBER))
    application.add_handler(MessageHandler(fresh & PRIVATE & ~filters.StatusUpdate.ALL, bot.on_anything_else))


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


class _SubscriptionHandler(BaseHandler[Update, Context, None]):
    """Takes updates of kind `subscription`, which PTB 22.8 does not know by name and keeps as they came."""

    def check_update(self, update: object) -> bool:
        """Whether the update is one."""
        return isinstance(update, Update) and isinstance(update.api_kwargs.get("subscription"), dict)


@frozen
class _Handlers:
    deps: BotDependencies

    def _speech(self, language: str | None) -> Speech:
        """The language Telegram says a stranger speaks."""
        return Speech(self.deps.texts, self.deps.texts.pick(language))

    async def _visit(
        self,
        update_id: int,
        person: Person,
        chat_id: int,
        *,
        pressed: PressedMessage | None = None,
        referral: str | None = None,
    ) -> Visit:
        customer, expected, actor = await customer_of(self.deps, person, referral_code=referral)
        language = (
            customer.language if customer.language in self.deps.texts.languages else self.deps.texts.default
        )
        speech = Speech(self.deps.texts, language)
        return Visit(self.deps, update_id, chat_id, customer, actor, speech, pressed, expected)

    async def _run(self, visit: Visit, work: Callable[[Visit], Awaitable[None]]) -> None:
        """Do the work; somebody who blocked the bot meanwhile is noted and is no failure."""
        try:
            try:
                # Whoever is shut out hears that, whatever he does; one who runs the shop still works.
                await (shut_out(visit) if visit.shut_out else work(visit))
            except NotAllowed as error:
                await not_allowed(visit, error)
            except AlreadyDone:
                await done_already(visit)
        except Blocked:
            await note_reachable(self.deps, visit.customer.telegram_id, False)

    # -------------------------------------------------------------------------------------- words

    async def on_start(self, update: Update, context: Context) -> None:
        """`/start`, with what the link carried: the code of whoever sent it, a promo code, or a plan."""
        message, user = update.message, update.effective_user
        if message is None or user is None:
            return
        payload = context.args[0] if context.args else ""
        referral = payload.removeprefix(_REFERRAL) if payload.startswith(_REFERRAL) else None
        visit = await self._visit(update.update_id, Person.of(user), message.chat_id, referral=referral)
        if payload.startswith(_PROMO):
            await self._run(visit, lambda visit: _enter_code(visit, payload.removeprefix(_PROMO)))
        elif payload.startswith(_PLAN):
            await self._run(visit, lambda visit: _open_plan(visit, payload.removeprefix(_PLAN)))
        else:
            await self._run(visit, _show_menu)

    async def on_promo(self, update: Update, context: Context) -> None:
        """`/promo`, with the code behind it or not."""
        message, user = update.message, update.effective_user
        if message is None or user is None:
            return
        code = context.args[0] if context.args else ""
        visit = await self._visit(update.update_id, Person.of(user), message.chat_id)
        if code:
            await self._run(visit, lambda visit: _enter_code(visit, code))
        else:
            await self._run(visit, lambda visit: promo.ask_for_code(visit, callbacks.Promo()))

    def operators_command(
        self, permission: Permission, work: Callable[[Visit, str], Awaitable[None]]
    ) -> Callable[[Update, Context], Coroutine[Any, Any, None]]:
        """A handler that does the work for operators who may, with the words behind it; customers have no such command."""

        async def on_command(update: Update, _context: Context) -> None:
            message, user = update.message, update.effective_user
            if message is None or user is None:
                return
            _, *rest = (message.text or "").split(maxsplit=1)
            visit = await self._visit(update.update_id, Person.of(user), message.chat_id)
            if visit.actor.role is None:
                await self._run(visit, _say_what_can_be_done)
            else:
                words = "".join(rest).strip()
                await self._run(
                    visit, lambda visit: presses.as_operator(visit, permission, lambda: work(visit, words))
                )

        return on_command

    def command(self, action: Action) -> Callable[[Update, Context], Coroutine[Any, Any, None]]:
        """A handler that does what a button with this action does."""

        async def on_command(update: Update, _context: Context) -> None:
            message, user = update.message, update.effective_user
            if message is None or user is None:
                return
            visit = await self._visit(update.update_id, Person.of(user), message.chat_id)
            await self._run(visit, lambda visit: _do(visit, action))

        return on_command

    async def on_anything_else(self, update: Update, _context: Context) -> None:
        """Words: what the customer was asked for, if he was. All else gets an answer that says what can be done."""
        message, user = update.message, update.effective_user
        if message is None or user is None:
            return
        visit = await self._visit(update.update_id, Person.of(user), message.chat_id)
        text = (message.text or "").strip()
        read = _READERS.get(visit.expected) if visit.expected is not None else None
        take = _TAKERS.get(visit.expected) if visit.expected is not None else None
        if take is not None and not text.startswith("/"):
            taker = take
            await self._run(visit, lambda visit: taker(visit, message))
        elif read is not None and text and not text.startswith("/"):
            reader = read
            await self._run(visit, lambda visit: reader(visit, text))
        else:
            await self._run(visit, _say_what_can_be_done)

    # -------------------------------------------------------------------------------------- buttons

    async def on_press(self, press: Press) -> None:
        """A press: answered first and once, then done."""
        action = decode(press.data)
        message = press.message
        if message is None or message.chat_type != ChatType.PRIVATE:
            await self._on_group_press(press, action)
            return
        alert = None if action is not None else self._speech(press.person.language).label("alert-stale")
        # It is on its way before anything else is done, and nobody waits for Telegram's thanks before he sees his screen.
        await beside(
            partial(self._answer, press, alert),
            partial(self._do_press, press, message, action),
        )

    async def _do_press(self, press: Press, message: PressedMessage, action: Action | None) -> None:
        visit = await self._visit(press.update_id, press.person, message.chat_id, pressed=message)
        if action is None:
            await self._run(visit, lambda visit: stale(visit, "unreadable"))
        else:
            await self._run(visit, lambda visit: _do(visit, action))

    async def _on_group_press(self, press: Press, action: Action | None) -> None:
        """In the operators' group an alert is acknowledged or muted; in all others a press is stopped, and not a word is said."""
        said, alert_id = None, None
        if press.message is not None:
            said, alert_id = await alerting.on_group_press(self.deps, press, action, press.message.chat_id)
        await self._answer(press, said)
        if alert_id is not None:
            await alert_posts.show_again(self.deps, alert_id)

    async def _answer(self, press: Press, alert: str | None) -> None:
        """Stop the button's clock. A press too old to be answered is still done."""
        try:
            await self.deps.sender.post(
                Lane.REPLY, "answerCallbackQuery", {"callback_query_id": press.query_id, "text": alert}
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
            error_message=refusal_text(self._speech(query.from_user.language_code), answer),
        )
        await note_seen(self.deps, query.from_user.id)

    async def on_successful_payment(self, update: Update, _context: Context) -> None:
        """Stars were paid: settle the charge. The receipt follows by the outbox."""
        if update.message is not None and update.message.successful_payment is not None:
            await stars_told.settle(self.deps, update.message, update.message.successful_payment)
            if update.effective_user is not None:
                await note_seen(self.deps, update.effective_user.id)

    async def on_refunded_payment(self, update: Update, _context: Context) -> None:
        """Stars went back."""
        if update.message is not None and update.message.refunded_payment is not None:
            await stars_told.book_refund(self.deps, update.message, update.message.refunded_payment)

    async def on_subscription(self, update: Update, _context: Context) -> None:
        """A subscription in Stars goes on, was ended, or could not be charged."""
        await stars_told.note_subscription(self.deps, update.api_kwargs["subscription"])

    # -------------------------------------------------------------------------------------- comings and goings

    async def on_member(self, update: Update, _context: Context) -> None:
        """Somebody blocked the bot, or came back."""
        change = update.my_chat_member
        if change is None or change.chat.type != ChatType.PRIVATE:
            return
        await note_reachable(self.deps, change.from_user.id, change.new_chat_member.status not in _GONE)


# ------------------------------------------------------------------------------------------ what visits do


async def _do(visit: Visit, action: Action) -> None:
    """What a button means; whatever the customer was asked to write is not waited for any more."""
    await visit.expect_nothing()
    await presses.press(visit, action)


async def _show_menu(visit: Visit) -> None:
    await visit.expect_nothing()
    await visit.show_menu()


async def _enter_code(visit: Visit, code: str) -> None:
    await visit.expect_nothing()
    await promo.enter(visit, code)


async def _open_plan(visit: Visit, plan: str) -> None:
    """The periods of a plan that a link names; the plans, if there is no such plan on sale."""
    await visit.expect_nothing()
    await buying.show_named_plan(visit, plan)


async def _say_what_can_be_done(visit: Visit) -> None:
    await visit.show_menu(visit.speech.say("unknown-text"))


#: Who reads the words that a customer was asked for.
_READERS: Final[dict[Expected, Callable[[Visit, str], Awaitable[None]]]] = {
    "topup_amount": filling.read_words,
    "promo_code": promo.read_words,
    "subscription_title": own_link.read_words,
    "operator": operators.read_words,
    **catalogue.READERS,
    "customer_search": customers.read_search,
    "deed_value": deeds.read_value,
    "deed_reason": deeds.read_reason,
    "broadcast_buttons": composing.read_buttons_in_words,
    "broadcast_segment": segmenting.read_words,
    "broadcast_time": broadcast_desk.read_time_in_words,
}

#: Who takes the message that an operator was asked for, whatever its kind.
_TAKERS: Final[dict[Expected, Callable[[Visit, Message], Awaitable[None]]]] = {
    "broadcast_message": composing.read_message,
    "broadcast_text": composing.read_text,
}

#: Commands that no menu shows, and what an operator needs for them.
_FOR_OPERATORS: Final[dict[str, tuple[Permission, Callable[[Visit, str], Awaitable[None]]]]] = {
    "admin": (Permission.CUSTOMERS, operators.open_desk),
    "find": (Permission.CUSTOMERS, customers.find),
    "refund": (Permission.REFUND, giving_back.show_charges),
    "status": (Permission.STATUS, running.show_status),
    "banner": (Permission.SWITCH, running.write_banner),
}
