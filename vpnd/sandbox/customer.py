"""A customer of the sandbox: writes, presses, pays, and reads what the bot shows, as a person would."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Final

import httpx
import trio

from vpnd.bot.callbacks import Action, decode
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import World

#: Seconds a customer waits for what he expects to see.
PATIENCE: Final = 20.0

_INVOICE_ID: Final = re.compile(r"[?&]start=([A-Za-z0-9_-]+)")

Message = dict[str, Any]
Button = dict[str, Any]


class NotSeen(ProgramFailed):
    """The bot did not show what was expected in time; the message says what it shows instead."""


class Customer:
    """One person in a private chat with the bot."""

    def __init__(self, world: World, telegram_id: int, *, name: str = "Alex", language: str = "en") -> None:
        """`telegram_id` is the chat's id, too."""
        self._world = world
        self._from = {"id": telegram_id, "first_name": name, "language_code": language}
        self.id = telegram_id
        self.event = 0
        self.messages: dict[int, Message] = {}
        self.answers: list[dict[str, Any]] = []
        self.unchanged: list[dict[str, int]] = []

    async def say(self, text: str) -> None:
        """Write a message."""
        await self._world.telegram.post("/sim/message", chat_id=self.id, text=text, **{"from": self._from})

    async def send(self, kind: str, text: str = "") -> dict[str, Any]:
        """Send something beside words (`vpnd.sandbox.telegram_contents.KINDS`), with a caption; return the sandbox's answer."""
        answer: dict[str, Any] = await self._world.telegram.post(
            "/sim/message", chat_id=self.id, kind=kind, text=text, **{"from": self._from}
        )
        return answer

    async def tap(self, message_id: int, data: str) -> dict[str, Any]:
        """Press a button by its data, of the screen as it is or was; return the sandbox's answer."""
        answer: dict[str, Any] = await self._world.telegram.post(
            "/sim/press",
            chat_id=self.id,
            message_id=message_id,
            data=data,
            stale=True,
            **{"from": self._from},
        )
        return answer

    async def look(self, wait: float = 0.0) -> None:
        """Take in what has changed in the chat, waiting up to `wait` seconds for a change."""
        seen = await self._world.telegram.get(f"/sim/chat/{self.id}", after=self.event, wait=wait)
        self.event = seen["event"]
        for message in seen["messages"]:
            self.messages[message["message_id"]] = message
        for number in seen["deleted"]:
            self.messages.pop(number, None)
        self.answers += seen["answers"]
        self.unchanged += seen["unchanged"]

    async def wait_for(
        self, what: str, seen: Callable[[Message], bool], *, since: int = 0, patience: float = PATIENCE
    ) -> Message:
        """Wait until the bot shows a message for which `seen` is true, changed after the event `since`.

        Raises:
            NotSeen: `patience` seconds passed; it says `what` was expected.
        """
        with trio.move_on_after(patience):
            while True:
                for message in reversed(self.messages.values()):
                    if message["from_bot"] and message["event"] > since and seen(message):
                        return message
                await self.look(wait=2.0)
        shown = " | ".join(str(text_of(message))[:120] for message in list(self.messages.values())[-3:])
        raise NotSeen(f"customer {self.id} waited {patience:g} s for {what}; the chat shows: {shown}")

    async def wait_for_button(
        self, what: str, fits: Callable[[Action], bool], *, since: int = 0
    ) -> tuple[Message, Button]:
        """Wait until the newest message of the bot has a button whose action fits; return both."""

        def has_it(message: Message) -> bool:
            return any(_fits(button, fits) for button in buttons_of(message))

        message = await self.wait_for(f"a button to {what}", has_it, since=since)
        return message, next(button for button in buttons_of(message) if _fits(button, fits))

    async def press(self, what: str, fits: Callable[[Action], bool], *, since: int = 0) -> int:
        """Press a button by its meaning; return the chat's event before the press."""
        message, button = await self.wait_for_button(what, fits, since=since)
        before = self.event
        await self._world.telegram.post(
            "/sim/press",
            chat_id=self.id,
            message_id=message["message_id"],
            data=button["callback_data"],
            **{"from": self._from},
        )
        return before

    async def pay_stars(self, message: Message, **options: Any) -> dict[str, Any]:
        """Pay a Stars invoice message; return the sandbox's answer ({"ok": …, "charge_id" or "error"})."""
        answer: dict[str, Any] = await self._world.telegram.post(
            "/sim/pay",
            chat_id=self.id,
            message_id=message["message_id"],
            **{"from": self._from},
            **options,
        )
        return answer

    async def pay_link(self, link: str, **options: Any) -> dict[str, Any]:
        """Pay a Stars invoice link; return the sandbox's answer, as `pay_stars` does."""
        answer: dict[str, Any] = await self._world.telegram.post(
            "/sim/pay", link=link, chat_id=self.id, **{"from": self._from}, **options
        )
        return answer

    async def cancel_subscription(self, charge_id: str) -> None:
        """Want no more renewals of the Stars subscription that this charge belongs to."""
        await self._world.telegram.post(
            "/sim/subscription", charge_id=charge_id, user_id=self.id, cancel=True
        )

    async def resume_subscription(self, charge_id: str) -> None:
        """Want them back, before the paid time ends."""
        await self._world.telegram.post(
            "/sim/subscription", charge_id=charge_id, user_id=self.id, resume=True
        )


def text_of(message: Message) -> str:
    """Return a message's text or caption."""
    return str(message.get("text") or message.get("caption") or "")


def buttons_of(message: Message) -> list[Button]:
    """Return the buttons below a message, row by row."""
    return [button for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def _fits(button: Button, fits: Callable[[Action], bool]) -> bool:
    action = decode(button.get("callback_data"))
    return action is not None and fits(action)


def code_of(message: Message) -> list[str]:
    """Return the pieces of a message that a tap copies."""
    text = text_of(message).encode("utf-16-le")
    entities = message.get("entities") or message.get("caption_entities") or []
    return [
        text[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode("utf-16-le")
        for entity in entities
        if entity["type"] in ("code", "pre")
    ]


async def links_behind(http: httpx.AsyncClient, copied: str) -> list[str]:
    """Return the `vless://` links behind what a customer copied: a link, or the page of a subscription."""
    if copied.startswith("vless://"):
        return [copied]
    answer = await http.get(copied)
    answer.raise_for_status()
    return base64.b64decode(answer.content).decode().splitlines()
