"""A Bot API with customers who press buttons and buy: `_freeze_api.py CUSTOMERS CALM FIRST`. Prints its port as JSON.

It serves `/bot<token>/<method>`, a Crypto Pay that knows no invoice (`/pay/api/…`), and the bench's own `/load/…`:

    /load/begin?rate=20&buys=4&buyer=1   20 presses a second, 4 of them of buyers, who are numbered on from here
    /load/stop                           no more presses
    /load/tell?text=…                    a message to the bot from the bench itself
    /load/figures                        latencies by kind, how many wait, what was called

A press is a callback query on a message of the bot. It is answered when that message has been changed, as a button of a
conversation is: its latency runs from the moment getUpdates could return it until the whole edit has arrived. The spinner
(`answerCallbackQuery`), notices, receipts and broadcasts are taken and counted, and answer nobody.

Of the CUSTOMERS, those whose place (number × 7919 modulo CUSTOMERS) is at least CALM press; the others have something that ends.
Buyers come after the last customer; each presses once, on the purchase of his number.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from urllib.parse import parse_qs

from _raw_bot_api import CHAT, Connection, Load, field, run

LETTERS = str.maketrans("0189", "abcd")
PRESS = (
    '{"update_id":%d,"callback_query":{"id":"%d","chat_instance":"1","data":"%s",'
    '"from":{"id":%d,"is_bot":false,"first_name":"C","language_code":"en"},'
    '"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    '"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"menu"}}}'
)
WORDS = (
    '{"update_id":%d,"message":{"message_id":%d,"date":%d,"chat":{"id":1,"type":"private","first_name":"B"},'
    '"from":{"id":1,"is_bot":false,"first_name":"B","language_code":"en"},"text":%s}}'
)
MESSAGE = (
    b'{"ok":true,"result":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    b'"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"x"}}'
)


class Pressers(Load):
    """What customers do, and how they were served."""

    def __init__(self, customers: int, calm: int, first: int) -> None:
        super().__init__()
        self.customers, self.calm, self.first = customers, calm, first
        self.run = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew with the figures."""
        self.waiting: dict[int, tuple[float, str]] = {}
        self.latencies: dict[str, list[float]] = {"read": [], "buy": []}
        self.called: Counter[str] = Counter()

    def press(self, number: int, data: str, kind: str) -> None:
        """Have customer `number` press."""
        self.number += 1
        who = self.first + number
        self.waiting[who] = (time.perf_counter(), kind)
        update = PRESS % (self.number, self.number, data, who, self.number % 2**31, int(time.time()), who)
        self.push(update.encode())

    def read(self) -> None:
        """Have one of the calm customers look at his menu."""
        while True:
            number = random.randint(1, self.customers)
            if number * 7919 % self.customers >= self.calm and self.first + number not in self.waiting:
                return self.press(number, "1h", "read")

    def buy(self) -> None:
        """Have the next buyer pay."""
        purchase = "p" + str(self.buyer).rjust(15, "0").translate(LETTERS)
        self.press(self.customers + self.buyer, f"1v.{purchase}", "buy")
        self.buyer += 1

    def tell(self, text: str) -> None:
        """Have the bench itself write."""
        self.number += 1
        update = WORDS % (self.number, self.number % 2**31, int(time.time()), json.dumps(text))
        self.push(update.encode())

    def changed(self, chat: int) -> None:
        """The bot has changed its message in a chat."""
        pressed = self.waiting.pop(chat, None)
        if pressed is not None:
            self.latencies[pressed[1]].append(time.perf_counter() - pressed[0])

    def begin(self, rate: float, buys: float, buyer: int) -> None:
        """Begin to press, `rate` times a second, `buys` of them to buy."""
        self.forget()
        self.run += 1
        self.buyer = buyer
        loop = asyncio.get_running_loop()
        self.tick(loop, self.run, loop.time(), 1 / rate, buys / rate, 0.0)

    def tick(
        self, loop: asyncio.AbstractEventLoop, run: int, due: float, pause: float, share: float, owed: float
    ) -> None:
        """Press at a steady pace; a late tick is made up for."""
        if run != self.run:
            return
        while due <= loop.time():
            owed += share
            if owed >= 1:
                owed -= 1
                self.buy()
            else:
                self.read()
            due += pause
        loop.call_at(due, self.tick, loop, run, due, pause, share, owed)

    def figures(self) -> bytes:
        """The figures as JSON; latencies in seconds."""
        waiting = Counter(kind for _since, kind in self.waiting.values())
        found = {"latencies": self.latencies, "waiting": waiting, "called": self.called}
        return json.dumps(found).encode()


class Server(Connection):
    """The Bot API whose buttons they press, and the Crypto Pay that knows no invoice."""

    load: Pressers

    def route(self, path: bytes, query: bytes, body: bytes) -> None:
        """One request."""
        if path.startswith(b"/pay/"):
            self.load.called["crypto pay"] += 1
            self.answer(b'{"ok":true,"result":{"items":[]}}')
        else:
            super().route(path, query, body)

    def call(self, method: bytes, body: bytes) -> bytes:
        """One method of the Bot API."""
        self.load.called[method.decode()] += 1
        if not method.startswith((b"edit", b"send", b"copy")):
            return super().call(method, body)
        chat = field(CHAT, body)
        if method.startswith(b"edit"):
            self.load.changed(chat)
        return MESSAGE % (random.randrange(2**31), int(time.time()), chat)

    def control(self, order: str, query: str) -> bytes:
        """One order of the bench."""
        values = {key: one[0] for key, one in parse_qs(query).items()}
        if order == "begin":
            self.load.begin(float(values["rate"]), float(values["buys"]), int(values["buyer"]))
        elif order == "stop":
            self.load.run += 1
        elif order == "tell":
            self.load.tell(values["text"])
        elif order == "figures":
            return self.load.figures()
        return b"{}"


if __name__ == "__main__":
    run(Server, Pressers(*map(int, sys.argv[1:4])))
