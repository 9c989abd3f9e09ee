"""A person of the conversations: writes, presses, sends and pays, and after each step looks whether he was answered properly.

What is asserted by itself after each step: the press was stopped (its callback answered) and answered visibly, no placeholder,
key or foreign language is left in what he sees, buttons are within Telegram's limits, and home is at most two taps away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import payers
import trio
from screen_judge import Ways, actions_of, faults_of, is_home, is_screen, says

from vpnd.bot.callbacks import Action, Home, decode
from vpnd.sandbox.client_core import client_core, fetch_through
from vpnd.sandbox.customer import Customer, Message, buttons_of, code_of, links_behind, text_of
from vpnd.sandbox.targets import PAGE
from vpnd.sandbox.world import World

#: Seconds a person waits for what he expects: CI's machines are slow.
PATIENCE = 30.0

Wish = type[Action] | Callable[[Action], bool]


class Person:
    """One person with a chat of his own, in one language."""

    def __init__(self, world: World, telegram_id: int, language: str, ways: Ways) -> None:
        self.world, self.language, self.ways = world, language, ways
        self.customer = Customer(
            world, telegram_id, name="Ann" if language == "en" else "Аня", language=language
        )
        self.id = telegram_id
        self.screen: Message = {}
        self.bill: Message = {}
        self._read: set[tuple[int, int]] = set()  # what he has looked at already: message and event
        self.taps = 0

    # -------------------------------------------------------------------------------------- what he does

    async def write(self, text: str) -> Message:
        """Write; returns the answer."""
        sent = await self.world.telegram.post(
            "/sim/message", chat_id=self.id, text=text, **{"from": self.customer._from}
        )
        return await self._answer(f"an answer to {text!r}", sent["event"])

    async def send(self, kind: str) -> Message:
        """Send a photo, a sticker, …; returns the answer."""
        return await self._answer(f"an answer to a {kind}", (await self.customer.send(kind))["event"])

    async def press(self, wish: Wish) -> Message:
        """Press the button of the present screen that does this; returns the screen that comes."""
        return await self.press_on(self.screen, wish)

    async def press_on(self, message: Message, wish: Wish) -> Message:
        """Press a button of a message, new or old."""
        data = next((b["callback_data"] for b in buttons_of(message) if _fits(b, wish)), None)
        assert data is not None, (
            f"{self}: no button for {wish} below {text_of(message)!r}: {actions_of(message)}"
        )
        return await self.tap(message, data)

    async def press_twice(self, wish: Wish) -> Message:
        """Press a button of the present screen twice at once; returns the screen after both were answered, each visibly."""
        data = next(b["callback_data"] for b in buttons_of(self.screen) if _fits(b, wish))
        shown, before = self.screen["message_id"], self.screen["event"]
        taps = [await self.customer.tap(shown, data) for _ in range(2)]
        with trio.fail_after(PATIENCE):
            while True:
                await self.customer.look(wait=1.0)
                stopped = {one["callback_query_id"] for one in self.customer.answers}
                idle = [
                    one
                    for one in self.customer.unchanged
                    if one["message_id"] == shown and one["event"] > before
                ]
                changed = self.customer.messages[shown]["event"] > before
                if changed and idle and all(tap["callback_query_id"] in stopped for tap in taps):
                    return self._seen(self.customer.messages[shown], decode(data))

    async def tap(self, message: Message, data: str) -> Message:
        """Press by the button's data, as an old phone may; returns the screen that comes."""
        self.taps += 1
        pressed = await self.customer.tap(message["message_id"], data)
        return await self._answer(
            f"an answer to a press of {decode(data)}",
            pressed["event"],
            callback=pressed["callback_query_id"],
            pressed=decode(data),
            on=message["message_id"],
        )

    async def pay(self, **options: Any) -> dict[str, Any]:
        """Pay what the present screen, or the invoice that came with it, asks for."""
        with trio.fail_after(PATIENCE):
            while True:
                for one in (self.screen, *reversed(self.customer.messages.values())):
                    if payers.bill_of(one) and one["message_id"] >= self.screen["message_id"]:
                        self.bill = one
                        return await self.pay_again(**options)
                await self.customer.look(wait=1.0)

    async def pay_again(self, **options: Any) -> dict[str, Any]:
        """Pay the last bill once more."""
        return await payers.pay(self.world, self.customer, self.bill, **options)

    def friend(self) -> Person:
        """Somebody else, who speaks the same language."""
        return Person(self.world, self.id + 500_000, self.language, self.ways)

    # -------------------------------------------------------------------------------------- what he sees

    def reads(self, *keys: str) -> None:
        """The present screen says one of these texts, in his language."""
        assert any(says(self.screen, key, self.language) for key in keys), (
            f"{self}: not {keys}: {text_of(self.screen)!r}"
        )

    def offers(self, wish: Wish) -> bool:
        """Whether the present screen has a button for this."""
        return any(_fits(button, wish) for button in buttons_of(self.screen))

    def is_home(self) -> None:
        """The present screen is the first one."""
        assert is_home(self.screen), f"{self}: not home: {text_of(self.screen)!r}"

    async def told(self, *keys: str) -> Message:
        """Wait for a message that says one of these texts, and make it the present screen."""
        what = " or ".join(keys)
        message = await self.customer.wait_for(
            f"word of {what}",
            lambda m: self._is_news(m) and any(says(m, key, self.language) for key in keys),
            patience=PATIENCE,
        )
        return self._seen(message)

    async def comes_to_read(self, *keys: str) -> None:
        """The present screen says one of these texts, or another will: where a notice may come before the answer."""
        if not any(says(self.screen, key, self.language) for key in keys):
            await self.told(*keys)

    async def told_with(self, what: str, wish: Wish) -> Message:
        """Wait for a message that has a button for this, and make it the present screen."""
        message = await self.customer.wait_for(
            what,
            lambda m: self._is_news(m) and any(_fits(button, wish) for button in buttons_of(m)),
            patience=PATIENCE,
        )
        return self._seen(message)

    async def connects(self) -> None:
        """A real client core with the link of the present screen fetches a page through the VPN."""
        link, *_ = await links_behind(self.world.http, code_of(self.screen)[0])
        async with client_core(link, source_ip=f"127.0.0.{3 + self.id % 200}") as socks:
            with trio.fail_after(PATIENCE):
                # The node may hear of it a moment after the customer.
                while await fetch_through(socks, self.world.targets.page_url) != PAGE:
                    await trio.sleep(0.05)

    def _is_news(self, message: Message) -> bool:
        return (message["message_id"], message["event"]) not in self._read

    async def go_home(self) -> None:
        """By the button for it, which every screen has."""
        await self.press(Home)
        self.is_home()

    async def _answer(
        self,
        what: str,
        since: int,
        *,
        callback: str | None = None,
        pressed: Action | None = None,
        on: int = 0,
    ) -> Message:
        """Wait until he is answered, visibly, and the button he pressed has been stopped."""
        customer = self.customer
        with trio.move_on_after(PATIENCE):
            while True:
                await customer.look(wait=1.0)
                stopped = callback is None or any(
                    one["callback_query_id"] == callback for one in customer.answers
                )
                news = [
                    one
                    for one in customer.messages.values()
                    if one["from_bot"] and one["event"] > since and is_screen(one)
                ]
                if stopped and news:
                    # What was pressed and changed is the answer; a notice may have come meanwhile.
                    return self._seen(
                        next((one for one in news if one["message_id"] == on), news[-1]), pressed
                    )
                if stopped and any(
                    one["message_id"] == on and one["event"] > since for one in customer.unchanged
                ):
                    return self._seen(customer.messages[on], pressed)
        seen = [(one["event"], text_of(one)[:80]) for one in customer.messages.values()]
        answered = callback is None or any(one["callback_query_id"] == callback for one in customer.answers)
        raise AssertionError(f"{self} waited for {what}; stopped: {answered}; since {since}: {seen}")

    def _seen(self, message: Message, pressed: Action | None = None) -> Message:
        faults = faults_of(message, self.language)
        assert not faults, f"{self}, after {pressed}: {faults}"
        self.ways.see(message, pressed)
        self._read.add((message["message_id"], message["event"]))
        self.screen = message
        return message

    def __str__(self) -> str:
        return f"person {self.id} ({self.language})"


def _fits(button: dict[str, Any], wish: Wish) -> bool:
    action = decode(button.get("callback_data"))
    if action is None:
        return False
    return isinstance(action, wish) if isinstance(wish, type) else wish(action)
