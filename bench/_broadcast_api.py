"""A Bot API that limits sends as Telegram may: `_broadcast_api.py`. Prints its port as JSON.

Each bot token is a world of its own, so one program serves all contestants. `/bot<token>/<method>` is the Bot API, `/load/…` the
bench's own; each order names its world by `token`:

    /load/begin?token=&limit=30&penalty=0&foreign=0   at most `limit` accepted sends in any second; a refusal blocks every send
                                                      for `penalty` seconds; `foreign` sends a second of somebody else count too
    /load/press?token=&metered=10&unmetered=10        customers write /start and press a button, so often a second, at random
    /load/calm?token=                                 they do no more
    /load/figures?token=                              what was accepted, refused, repeated, and how long answers took

A message whose text has the marker is the broadcast's. The waits of customers run from the instant at which the update was due.
"""

import asyncio
import json
import math
import random
import time
from collections import Counter, deque
from urllib.parse import parse_qs

from _raw_bot_api import CHAT, Connection, Load, field, run

MARKER = b"BROADCAST"
FIRST = 1_000_000_000
PERSON = '"id":%d,"is_bot":false,"first_name":"C","language_code":"en"'
PRESS = (
    '{"update_id":%d,"callback_query":{"id":"%d","chat_instance":"1","data":"1h","from":{' + PERSON + "},"
    '"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    '"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"menu"}}}'
)
WORDS = (
    '{"update_id":%d,"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    '"from":{' + PERSON + '},"text":"/start","entities":[{"type":"bot_command","offset":0,"length":6}]}}'
)
MESSAGE = (
    b'{"ok":true,"result":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"C"},'
    b'"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"x"}}'
)


class World(Load):
    """One bot: its limits, what it sent, and its customers."""

    def __init__(self) -> None:
        super().__init__()
        self.limit, self.penalty, self.customers = 0, 0.0, 1
        self.window: deque[float] = deque()
        self.blocked_until = 0.0
        self.accepted: Counter[int] = Counter()
        self.refused = self.foreign = self.foreign_refused = self.others = 0
        self.first = self.last = 0.0
        self.before = self.meanwhile = (
            0  # sends of others, until its first message and between that and its last
        )
        self.by_second: Counter[int] = Counter()
        self.waiting: dict[int, tuple[float, str]] = {}
        self.waits: dict[str, list[float]] = {"metered": [], "unmetered": []}
        self.run = 0

    def wait(self, now: float) -> float:
        """Seconds until a send would be accepted; 0: now."""
        if now < self.blocked_until:
            return self.blocked_until - now
        while self.window and self.window[0] <= now - 1.0:
            self.window.popleft()
        return self.window[0] + 1.0 - now if len(self.window) >= self.limit > 0 else 0.0

    def admit(self, now: float) -> float:
        """Count a send if it is accepted; else the seconds that it has to wait."""
        wait = self.wait(now)
        if wait <= 0:
            self.window.append(now)
            return 0.0
        if self.penalty and now >= self.blocked_until:
            self.blocked_until = now + self.penalty
            wait = self.penalty
        return wait

    def sent(self, chat: int, now: float, *, of_broadcast: bool) -> None:
        """A message was accepted."""
        if of_broadcast:
            self.accepted[chat] += 1
            if not self.first:
                self.first, self.before = now, self.others + self.foreign
            self.last, self.meanwhile = now, self.others + self.foreign - self.before
            self.by_second[int(now - self.first)] += 1
        else:
            self.others += 1
            self.answered(chat, "metered", now)

    def answered(self, chat: int, kind: str, now: float) -> None:
        """A customer has what he wanted."""
        asked = self.waiting.get(chat)
        if asked is not None and asked[1] == kind:
            del self.waiting[chat]
            self.waits[kind].append(now - asked[0])

    def want(self, kind: str, due: float) -> None:
        """Have one customer who waits for nothing write or press."""
        who = FIRST + random.randint(1, self.customers)
        while who in self.waiting:
            who = FIRST + random.randint(1, self.customers)
        self.number += 1
        self.waiting[who] = (due, kind)
        message, now = self.number % 2**31, int(time.time())
        if kind == "metered":
            update = WORDS % (self.number, message, now, who, who)
        else:
            update = PRESS % (self.number, self.number, who, message, now, who)
        self.push(update.encode())

    def at_random(self, rate: float, act, *, run: int | None = None, due: float | None = None) -> None:
        """Do something so often a second, at random instants, until the run is over."""
        if rate <= 0:
            return
        loop = asyncio.get_running_loop()
        run = self.run if run is None else run
        due = loop.time() + random.expovariate(rate) if due is None else due
        if run != self.run:
            return
        while due <= loop.time():
            act(due)
            due += random.expovariate(rate)
        loop.call_at(due, lambda: self.at_random(rate, act, run=run, due=due))

    def stranger(self, _due: float) -> None:
        """Somebody else sends with this token."""
        if self.admit(asyncio.get_running_loop().time()) > 0:
            self.foreign_refused += 1
        else:
            self.foreign += 1

    def figures(self) -> bytes:
        """The figures as JSON; seconds."""
        sends = sum(self.accepted.values())
        return json.dumps(
            {
                "sends": sends,
                "recipients": len(self.accepted),
                "repeated": sends - len(self.accepted),
                "refused": self.refused,
                "foreign": self.foreign,
                "foreign_refused": self.foreign_refused,
                "meanwhile": self.meanwhile,
                "seconds": self.last - self.first,
                "first": self.first,
                "now": asyncio.get_running_loop().time(),
                "waits": self.waits,
                "waiting": len(self.waiting),
            }
        ).encode()


WORLDS: dict[str, World] = {}


class Server(Connection):
    """The Bot API of all worlds."""

    load: World

    def route(self, path: bytes, query: bytes, body: bytes) -> None:
        """Find the world that is spoken to."""
        spoken = path[4:].partition(b"/")[0].decode() if path.startswith(b"/bot") else ""
        token = spoken or parse_qs(query.decode())["token"][0]
        self.load = WORLDS.setdefault(token, World())
        super().route(path, query, body)

    def serve(self, method: bytes, body: bytes) -> None:
        """Sends pass the limits; everything else is free."""
        if not method.startswith((b"send", b"copy")):
            super().serve(method, body)
            return
        load, now = self.load, asyncio.get_running_loop().time()
        wait = load.admit(now)
        if wait > 0:
            load.refused += 1
            self.refuse(max(1, math.ceil(wait)))
            return
        chat = field(CHAT, body)
        load.sent(chat, now, of_broadcast=MARKER in body)
        load.number += 1
        self.answer(MESSAGE % (load.number % 2**31, int(time.time()), chat))

    def call(self, method: bytes, body: bytes) -> bytes:
        """One method that makes no message."""
        if not method.startswith(b"edit"):
            return super().call(method, body)
        chat = field(CHAT, body)
        self.load.answered(chat, "unmetered", asyncio.get_running_loop().time())
        return MESSAGE % (1, int(time.time()), chat)

    def refuse(self, after: int) -> None:
        """429, as Telegram words it."""
        body = json.dumps(
            {
                "ok": False,
                "error_code": 429,
                "description": f"Too Many Requests: retry after {after}",
                "parameters": {"retry_after": after},
            }
        ).encode()
        head = (
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        self.transport.write(head % len(body) + body)

    def control(self, order: str, query: str) -> bytes:
        """One order of the bench."""
        values = {key: one[0] for key, one in parse_qs(query).items()}
        load = self.load
        if order == "begin":
            load.limit, load.penalty = int(values["limit"]), float(values["penalty"])
            load.customers = int(values["customers"])
            load.at_random(float(values["foreign"]), load.stranger)
        elif order == "press":
            for kind in ("metered", "unmetered"):
                load.at_random(float(values[kind]), lambda due, kind=kind: load.want(kind, due))
        elif order == "calm":
            load.run += 1
        elif order == "figures":
            return load.figures()
        return b"{}"


if __name__ == "__main__":
    run(Server, World())
