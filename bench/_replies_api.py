"""A Bot API whose customers look at their screens: `_replies_api.py PLAN.json`. Prints its port as JSON.

The plan says who they are and what they press: `first` (the Telegram id of customer number 0), `chats` (their numbers),
`screens` (name, weight, button data; data "/start" is a message instead of a press) and `marks`: what the answer to a screen
must contain, by the customer's number, or else it counts as wrong. The bench's own calls, under `/load/`:

    /load/begin?rate=200   so many updates a second on the average, each at random and whatever becomes of the answers
    /load/stop             no more updates
    /load/figures          latencies by screen, how many wait, were wrong, and how late the double itself was

An update is answered when its message has been changed (a press) or a message has come (`/start`); that the button's clock is
stopped (`answerCallbackQuery`) is taken and counted, and answers nobody. A latency counts from the instant at which the update
was due, so whoever falls behind is told so by every update that he has kept waiting. A chat whose last update is not answered
yet is passed over for another one.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs

from _raw_bot_api import CHAT, Connection, Load, field, run

PERSON = '"id":%d,"is_bot":false,"first_name":"C","language_code":"en"'
BOT = '"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"'
PRESS = (
    '{"update_id":%d,"callback_query":{"id":"%d","chat_instance":"1","data":"%s","from":{' + PERSON + "},"
    '"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    '"from":{' + BOT + '},"text":"menu"}}}'
)
WORDS = (
    '{"update_id":%d,"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    '"from":{' + PERSON + '},"text":"/start","entities":[{"type":"bot_command","offset":0,"length":6}]}}'
)
MESSAGE = (
    b'{"ok":true,"result":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    b'"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"x"}}'
)


class Customers(Load):
    """What they press, and how they were served."""

    def __init__(self, plan: dict) -> None:
        super().__init__()
        self.first, self.chats = plan["first"], plan["chats"]
        self.names = [name for name, _, _ in plan["screens"]]
        self.weights = [weight for _, weight, _ in plan["screens"]]
        self.data = {name: data for name, _, data in plan["screens"]}
        self.marks = plan["marks"]
        self.run = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew with the figures."""
        self.waiting: dict[int, tuple[float, str]] = {}
        self.latencies: dict[str, list[float]] = {name: [] for name in self.names}
        self.called: Counter[str] = Counter()
        self.late: list[float] = []
        self.wrong = 0

    def look(self, due: float) -> None:
        """Have one customer want one screen; it was due a moment ago."""
        number = random.choice(self.chats)
        while self.first + number in self.waiting:
            number = random.choice(self.chats)
        screen = random.choices(self.names, self.weights)[0]
        who, data, now = self.first + number, self.data[screen], int(time.time())
        self.number += 1
        self.waiting[who] = (due, screen)
        message = self.number % 2**31
        if data == "/start":
            update = WORDS % (self.number, message, now, who, who)
        else:
            update = PRESS % (self.number, self.number, data, who, message, now, who)
        self.push(update.encode())
        self.late.append(asyncio.get_running_loop().time() - due)

    def answered(self, chat: int, body: bytes) -> None:
        """The bot has shown something in a chat."""
        asked = self.waiting.pop(chat, None)
        if asked is None:
            self.wrong += 1
            return
        due, screen = asked
        self.latencies[screen].append(asyncio.get_running_loop().time() - due)
        mark = self.marks.get(screen)
        if mark is not None and (mark % (chat - self.first)).encode() not in body:
            self.wrong += 1

    def begin(self, rate: float) -> None:
        """Begin, at `rate` updates a second."""
        self.forget()
        self.run += 1
        loop = asyncio.get_running_loop()
        self.tick(loop, self.run, loop.time() + random.expovariate(rate), rate)

    def tick(self, loop: asyncio.AbstractEventLoop, run: int, due: float, rate: float) -> None:
        """Whatever is due now; the next one comes at random."""
        if run != self.run:
            return
        while due <= loop.time():
            self.look(due)
            due += random.expovariate(rate)
        loop.call_at(due, self.tick, loop, run, due, rate)

    def figures(self) -> bytes:
        """The figures as JSON; latencies in seconds."""
        return json.dumps(
            {
                "latencies": self.latencies,
                "waiting": len(self.waiting),
                "wrong": self.wrong,
                "late": self.late,
                "called": self.called,
            }
        ).encode()


class Server(Connection):
    """The Bot API on which they press."""

    load: Customers

    def call(self, method: bytes, body: bytes) -> bytes:
        """One method of the Bot API."""
        self.load.called[method.decode()] += 1
        if method not in (b"sendmessage", b"editmessagetext"):
            return super().call(method, body)
        chat = field(CHAT, body)
        self.load.answered(chat, body)
        self.load.number += 1
        return MESSAGE % (self.load.number % 2**31, int(time.time()), chat)

    def control(self, order: str, query: str) -> bytes:
        """One order of the bench."""
        if order == "begin":
            self.load.begin(float(parse_qs(query)["rate"][0]))
        elif order == "stop":
            self.load.run += 1
        elif order == "figures":
            return self.load.figures()
        return b"{}"


if __name__ == "__main__":
    run(Server, Customers(json.loads(Path(sys.argv[1]).read_text())))
