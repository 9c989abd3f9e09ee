"""One bot's Telegram: its state, update queue, webhook, limits and faults, and the table of methods.

A method is an async function registered under its Bot API name with `@method`; it gets the server and the call's parameters, and
returns the `result` or raises ApiError. Modules of methods: telegram_bot, telegram_messages, telegram_edits, telegram_media,
telegram_payments, telegram_subscriptions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.faults import FaultBoard
from vpnd.sandbox.parameters import BadParameter, Parameters
from vpnd.sandbox.telegram_errors import ApiError, bad_request
from vpnd.sandbox.telegram_limits import FloodLimits
from vpnd.sandbox.telegram_stars import Cashier
from vpnd.sandbox.telegram_state import (
    MESSAGE_LIFE,
    QUERY_LIFE,
    Chat,
    Json,
    Message,
    Person,
    TelegramState,
)
from vpnd.sandbox.telegram_updates import UpdateQueue
from vpnd.sandbox.telegram_webhook import WebhookCourier

DEFAULT_TOKEN = "100000001:AAsandboxSandboxSandboxSandboxSandb"  # noqa: S105 - a token of no real bot


class TelegramServer:
    """The parts of one bot's Telegram, and what the methods need of them."""

    def __init__(
        self, clock: SandboxClock, token: str = DEFAULT_TOKEN, username: str = "sandbox_vpn_bot"
    ) -> None:
        bot_id = token.partition(":")[0]
        if not bot_id.isdigit():
            raise ValueError("a bot token begins with the bot's numeric id and a colon")
        self.token = token
        self.clock = clock
        bot: Json = {
            "id": int(bot_id),
            "is_bot": True,
            "first_name": "Sandbox VPN",
            "username": username,
        }
        self.state = TelegramState(clock, bot)
        self.updates = UpdateQueue(clock)
        self.webhooks = WebhookCourier(clock, self.updates, self._reply_in_webhook)
        self.limits = FloodLimits()
        self.faults = FaultBoard()
        self.cashier = Cashier()
        self.calls: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    # ------------------------------------------------------------------ for the methods

    def chat(self, call: Parameters, name: str = "chat_id") -> Chat:
        """The chat that a call names; raises what Telegram says when the bot may not write there."""
        if not call.has(name):
            raise bad_request(f"{name} is empty")
        return self.state.chat_for_sending(self.chat_number(call, name))

    def chat_number(self, call: Parameters, name: str = "chat_id") -> int:
        """A chat's number; names (`@channel`) are nobody's here."""
        try:
            return int(call.values.get(name))  # type: ignore[arg-type] # None and texts raise, and that is the check
        except (TypeError, ValueError):
            raise bad_request("chat not found") from None

    def send(self, chat: Chat, content: Json) -> Message:
        """A new message of the bot, counted against the flood limits."""
        self.limits.admit(chat.id)
        return self.state.post(chat, self.state.bot, content)

    async def call(self, name: str, call: Parameters) -> Any:
        """Carry out a method; raises ApiError."""
        function = METHODS.get(name.lower())
        if function is None:
            raise ApiError(404, "Not Found")
        try:
            return await function(self, call)
        except BadParameter as error:
            raise bad_request(str(error)) from None
        except (TypeError, ValueError, AttributeError) as error:
            # Parameters of a shape that no method foresaw: Telegram says 400 to whatever it is sent.
            raise bad_request(f"can't parse parameters: {error}") from error

    async def _reply_in_webhook(self, name: str, values: dict[str, Any]) -> None:
        """A method inside a webhook's answer: done without a result; readers of state are ignored there."""
        lower = name.lower()
        if lower.startswith("get") or lower in {"setwebhook", "deletewebhook", "close", "logout"}:
            return
        self.calls[lower] = self.calls.get(lower, 0) + 1
        try:
            await self.call(name, Parameters(values))
        except ApiError as error:
            self.errors[str(error.code)] = self.errors.get(str(error.code), 0) + 1

    # ------------------------------------------------------------------ what people do

    def say(self, chat: Chat, person: Person, content: Json) -> tuple[Message, int | None]:
        """A person's message and its update's id."""
        message = self.state.post(chat, person.api(), content)
        return message, self.tell_message(chat, message)

    def tell_message(self, chat: Chat, message: Message) -> int | None:
        """Queue the update for a message; its id."""
        return self.updates.emit("message", message.api, f"chat:{chat.id}", MESSAGE_LIFE)

    def tell_edit(self, chat: Chat, message: Message) -> int | None:
        """Queue the update for a message that its person has changed; its id."""
        return self.updates.emit("edited_message", message.api, f"chat:{chat.id}", MESSAGE_LIFE)

    def tell_query(self, kind: str, payload: Json, person: Person) -> int | None:
        """Queue a callback or pre-checkout query; its id."""
        return self.updates.emit(kind, payload, f"{kind}:{person.id}", QUERY_LIFE)

    def tell_membership(self, chat: Chat, person: Person, old: str, new: str) -> int | None:
        """Queue `my_chat_member`: a person stopped the bot, or started it again."""
        payload = {
            "chat": chat.api(),
            "from": person.api(),
            "date": self.clock.stamp(),
            "old_chat_member": self._member(old),
            "new_chat_member": self._member(new),
        }
        return self.updates.emit("my_chat_member", payload, f"chat:{chat.id}", MESSAGE_LIFE)

    def _member(self, status: str) -> Json:
        member: Json = {"user": self.state.bot, "status": status}
        if status == "kicked":
            member["until_date"] = 0
        return member


Method = Callable[[TelegramServer, Parameters], Awaitable[Any]]
METHODS: dict[str, Method] = {}
"""Every method by its lower-case name: Telegram does not tell `sendMessage` from `sendmessage`."""
PROPER_NAMES: dict[str, str] = {}


def method(name: str) -> Callable[[Method], Method]:
    """Register a Bot API method."""

    def register(function: Method) -> Method:
        METHODS[name.lower()] = function
        PROPER_NAMES[name.lower()] = name
        return function

    return register
