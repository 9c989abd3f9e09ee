"""One chat of the monkey (`tests/soaks/monkey.py`): what is done in it at random, and whether it was answered properly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import payers
import trio
from attrs import define, field
from screen_judge import Ways, faults_of

from vpnd.bot.callbacks import (
    Complete,
    Home,
    InvoiceAgain,
    Methods,
    MoreMethods,
    MorePay,
    MorePeriods,
    Pay,
    PayFromBalance,
    Periods,
    SetLanguage,
    TopUp,
    TopUpAmount,
    TopUpPay,
    decode,
)
from vpnd.bot.handlers import COMMANDS
from vpnd.sandbox.customer import Customer, Message, buttons_of, text_of
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.telegram_contents import KINDS
from vpnd.sandbox.world import World

#: An answer that takes longer never comes, in seconds.
PATIENCE = 30.0

#: How often a button is taken that may be the one to the first screen.
HOMEWARD = 0.15

#: Buttons after which something is to be paid, or that are on the way to it.
TOWARDS_A_BILL = (
    Pay, MorePay, TopUpPay, PayFromBalance, Complete, Methods, MoreMethods, Periods, MorePeriods, TopUp, TopUpAmount,
    InvoiceAgain,
)  # fmt: skip

#: Presses that a step may take to come to a bill.
MOST_WISHES = 6
#: Old buttons that a chat remembers.
REMEMBERED = 60

#: What people write, and what nobody would.
WORDS = (
    "hello", "321", "5", "0", "-1", "100000000000", "1 000,50", "MONKEYLESS", "monkeydays", "MONKEYGIFT", "no such code",
    "/nonsense", "/", "<b>bold</b> & <script>", "{name} $name %s", "\N{SEE-NO-EVIL MONKEY}", "\u202eright to left\u200b",
    "a" * 4096, "a\nb\n\nc", "'; drop table customers; --", "\\x00", "Привет", "٣٢١", "🎁" * 50,
)  # fmt: skip

#: What a link's /start may carry.
LINKS = (
    "ref_NOBODY",
    "promo_MONKEYLESS",
    "promo_MONKEYGIFT",
    "promo_",
    "plan_basic",
    "plan_plus",
    "plan_none",
    "x" * 64,
    "ref_",
)


@define
class Seen:
    """What was seen in all chats together; `waits` by kind of step, in seconds."""

    seed: int
    steps: int = 0
    waits: dict[str, list[float]] = field(factory=dict)
    counts: Counter[str] = field(factory=Counter)
    pressed: Counter[str] = field(factory=Counter)
    ways: Ways = field(factory=Ways)
    faults: list[str] = field(factory=list)


@define
class Chat:
    """One chat and whoever plays in it."""

    world: World
    seen: Seen
    person: Customer
    random: Random
    languages: set[str]
    old: list[tuple[int, str]] = field(factory=list)
    judged: dict[int, int] = field(factory=dict)  # message → the event up to which it was judged
    paid: set[int] = field(factory=set)  # messages whose bill he has paid, or tried to
    before: dict[int, int] = field(
        factory=dict
    )  # message → how often it had been changed when the step began
    step: int = 0

    @property
    def id(self) -> int:
        """Telegram's."""
        return self.person.id

    def fault(self, what: str) -> None:
        """Write a fault down with what leads to it."""
        self.seen.faults.append(f"seed {self.seen.seed}, step {self.step}, chat {self.id}: {what}")

    def _screens(self) -> list[Message]:
        return [one for one in self.person.messages.values() if one["from_bot"]]

    def _buttons(self, message: Message) -> list[str]:
        return [str(button["callback_data"]) for button in buttons_of(message) if "callback_data" in button]

    # -------------------------------------------------------------------------------------- one step

    async def play(self, step: int) -> None:
        """Do one thing and wait for what has to come of it."""
        self.step = step
        await self.look()
        kinds: dict[str, tuple[int, Callable[[], Any]]] = {
            "press": (45, self.press), "old button": (12, self.press_old), "double tap": (8, partial(self.press, taps=2)),
            "command": (8, self.command), "link": (4, self.link), "words": (7, self.words), "picture etc.": (4, self.send),
            "payment": (16, self.pay), "edit": (1, self.edit), "block": (1, self.block), "strange button": (1, self.strange),
            "group": (1, self.group),
        }  # fmt: skip
        kind = self.random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        began = perf_counter()
        try:
            await kinds[kind][1]()
        except (ProgramFailed, trio.TooSlowError) as error:
            self.fault(f"{kind}: {error!r:.500}")
        self.seen.waits.setdefault(kind, []).append(perf_counter() - began)

    async def look(self, wait: float = 0.0) -> None:
        """Take in what is new, and judge it."""
        person = self.person
        await person.look(wait=wait)
        for message in self._screens():
            number, event = message["message_id"], message["event"]
            if self.judged.get(number, -1) < event:
                self.judged[number] = event
                self.judge(message)

    def judge(self, message: Message) -> None:
        """Whether what is shown is in order; and what can be pressed later, when it is gone."""
        faults = [faults_of(message, language) for language in sorted(self.languages)]
        if all(faults):
            self.fault(f"a screen that is not in order: {faults[0]}")
        self.seen.ways.see(message)
        self.old += [(message["message_id"], data) for data in self._buttons(message)]
        del self.old[:-REMEMBERED]

    # -------------------------------------------------------------------------------------- buttons

    async def press(self, *, taps: int = 1) -> None:
        """A button of the newest screen that has any."""
        with_buttons = [message for message in self._screens() if self._buttons(message)]
        if not with_buttons:
            await self.say("/start")
            return
        message = with_buttons[-1]
        # Every screen has the way home, and who takes it each second time sees little.
        far = [data for data in self._buttons(message) if not isinstance(decode(data), Home)]
        near = not far or self.random.random() < HOMEWARD
        await self.tap(
            message["message_id"], self.random.choice(self._buttons(message) if near else far), taps
        )

    async def press_old(self) -> None:
        """A button that some message shows or once showed."""
        known = [(number, data) for number, data in self.old if number in self.person.messages]
        if known:
            await self.tap(*self.random.choice(known))
        else:
            await self.say("/start")

    async def tap(self, number: int, data: str, taps: int = 1) -> None:
        """Press, and wait until each press was stopped and answered."""
        action = decode(data)
        if isinstance(action, SetLanguage):
            self.languages.add(action.language)
        self.seen.pressed[type(action).__name__] += taps
        self.remember()
        pressed = [await self.person.tap(number, data) for _ in range(taps)]
        since = pressed[0]["event"]
        queries = {one["callback_query_id"] for one in pressed}
        await self.until(
            f"{taps} × {action}", lambda: queries <= self.stopped() and self.shown(since, queries) >= taps
        )
        if len(news := self.changed(since)) == 1:
            self.seen.ways.see(news[0], action)

    def stopped(self) -> set[str]:
        """The presses whose clock was stopped."""
        return {one["callback_query_id"] for one in self.person.answers}

    def changed(self, since: int) -> list[Message]:
        """What the bot has shown after an event."""
        return [message for message in self._screens() if message["event"] > since]

    def shown(self, since: int, queries: Collection[str] = ()) -> int:
        """How many visible answers there were: messages new or changed, edits that changed nothing, words above the chat."""
        person = self.person
        edits = sum(
            max(1, message["edits"] - self.before.get(message["message_id"], -1))
            for message in self.changed(since)
        )
        idle = sum(one["event"] > since for one in person.unchanged)
        alerts = sum(bool(one["text"]) and one["callback_query_id"] in queries for one in person.answers)
        return edits + idle + alerts

    # -------------------------------------------------------------------------------------- words

    async def say(self, text: str) -> None:
        """Write, and wait for the answer."""
        sent = await self._post("message", text=text)
        await self.until(f"an answer to {text[:40]!r}", lambda: bool(self.changed(sent["event"])))

    async def command(self) -> None:
        """One of the menu's, or one that there is not."""
        await self.say("/" + self.random.choice([*COMMANDS, "refund", "status", "banner", "nothing"]))

    async def link(self) -> None:
        """/start with whatever a link may carry."""
        host = f"ref_CODE{self.random.randrange(9)}"
        await self.say(f"/start {self.random.choice([*LINKS, host])}")

    async def words(self) -> None:
        """Whatever people write."""
        await self.say(self.random.choice(WORDS))

    async def send(self) -> None:
        """A picture, a sticker, …"""
        kind = self.random.choice(KINDS)
        sent = await self._post("message", kind=kind, text=self.random.choice(("", "/start", "here")))
        await self.until(f"an answer to a {kind}", lambda: bool(self.changed(sent["event"])))

    async def edit(self) -> None:
        """Words of his own are changed: no new wish, so no answer is due."""
        own = [one for one in self.person.messages.values() if not one["from_bot"] and "text" in one]
        if own:
            await self._post("edit", message_id=own[-1]["message_id"], text="changed")

    async def strange(self) -> None:
        """A press of a button that no version of ours ever made."""
        screens = [message for message in self._screens() if "text" in message]
        if not screens:
            await self.say("/start")
            return
        fields = ("message_id", "date", "chat", "text")
        payload = {
            "id": str(self.random.getrandbits(60)),
            "from": {"id": self.id, "is_bot": False, "first_name": "M", "language_code": "en"},
            "message": {name: screens[-1][name] for name in fields},
            "chat_instance": "1",
            "data": self.random.choice(
                ("", "\0", "9z", "1h.1.2.3", "1o.zzzzzzzzzzzzzz", "1m.5", "x" * 64, "1o.1", "1zs")
            ),
        }
        self.remember()
        since = self.person.event
        await self.world.telegram.post("/sim/update", kind="callback_query", payload=payload, chat_id=self.id)
        await self.until(f"an answer to {payload['data']!r}", lambda: self.shown(since) >= 1)

    async def group(self) -> None:
        """Something is said in a group, which has to stay without an answer."""
        await self.world.telegram.post(
            "/sim/message", chat_id=-self.id, text="/start", **{"from": {"id": self.id}}
        )

    async def block(self) -> None:
        """The bot is stopped; whatever he does next starts it again."""
        await self._post("block", kind="blocked")
        await self.say("/start")

    # -------------------------------------------------------------------------------------- money

    async def pay(self) -> None:
        """A bill of the newest, also one that was paid before; where there is none, what leads to one comes first."""
        for _ in range(MOST_WISHES):
            bills = [message for message in self._screens() if payers.bill_of(message)]
            fresh = [message for message in bills if message["message_id"] not in self.paid]
            if fresh or (bills and self.random.random() < 0.1):
                break
            await self.want()
        else:
            return
        bill = self.random.choice((fresh or bills)[-3:])
        self.paid.add(bill["message_id"])
        how = payers.bill_of(bill)
        options: dict[str, Any] = {}
        if how is not None and how[0] in ("cryptopay", "yookassa"):
            options["deliver"] = self.random.choice((True, True, True, 2, False))
        try:
            answer = await payers.pay(self.world, self.person, bill, **options)
        except ProgramFailed as refused:
            # Paid already, or closed: the provider's page says so, and the bot has nothing to do with it.
            if "HTTP 400" not in str(refused):
                raise
            self.seen.counts["bills refused by their provider"] += 1
            return
        self.seen.counts["bills paid" if answer.get("ok", True) else "bills refused by the bot"] += 1

    async def want(self) -> None:
        """A button that leads to a bill; without one, the plans or the balance."""
        for message in reversed(self._screens()[-3:]):
            found = [data for data in self._buttons(message) if isinstance(decode(data), TOWARDS_A_BILL)]
            if found:
                await self.tap(message["message_id"], self.random.choice(found))
                return
        await self.say(self.random.choice(("/buy", "/buy", "/balance", "/subscription")))

    # -------------------------------------------------------------------------------------- waiting

    async def _post(self, path: str, **values: Any) -> dict[str, Any]:
        self.remember()
        answer: dict[str, Any] = await self.world.telegram.post(
            f"/sim/{path}", chat_id=self.id, **values, **{"from": self.person._from}
        )
        return answer

    def remember(self) -> None:
        """Note how often each message was changed so far."""
        self.before = {one["message_id"]: one["edits"] for one in self._screens()}

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Look until it holds; a fault after PATIENCE."""
        with trio.move_on_after(PATIENCE):
            while not holds():
                await self.look(wait=1.0)
            return
        shown = [(one["event"], text_of(one)[:60]) for one in self._screens()[-3:]]
        self.fault(
            f"no proper answer within {PATIENCE:g} s: {what}; event {self.person.event}; the chat shows {shown}"
        )
