"""A Bot API that costs next to nothing, so that what a bench measures is the bot.

A program of its own (uvloop, one core is never busy with it): `_bot_api.py` prints its port as JSON and serves
`/bot<token>/<method>` and the bench's own `/load/…`:

    /load/closed?users=32   32 customers, each writes again (as somebody else) as soon as he was answered
    /load/open?rate=100     100 customers a second, whatever becomes of the answers
    /load/stop              no more updates
    /load/reset             forget the figures so far, go on with the load
    /load/figures           how many answers, their latencies, how many were wrong

An update is one `/profile` of a customer drawn from the table's million; his chat has his id, as private chats have. Its latency
is the time from the moment getUpdates could have returned it to the moment the whole reply has arrived. A reply that does not
contain the customer's own balance counts as wrong.
"""

import asyncio
import json
import random
import time

from _raw_bot_api import CHAT, Connection, Load, field, run

CUSTOMERS = 1_000_000
UPDATE = (
    b'{"update_id":%d,"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"Alex"},'
    b'"from":{"id":%d,"is_bot":false,"first_name":"Alex","language_code":"en"},"text":"/profile",'
    b'"entities":[{"type":"bot_command","offset":0,"length":8}]}}'
)
MESSAGE = (
    b'{"ok":true,"result":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"Alex"},'
    b'"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"balance"}}'
)


def balance_of(customer: int) -> int:
    """What stands in the table; the statement that fills it says the same."""
    return customer * 7919 % 1_000_003


class Writers(Load):
    """What customers do, and how they were served."""

    def __init__(self) -> None:
        super().__init__()
        self.mode = ""
        self.waiting: dict[int, float] = {}
        self.latencies: list[float] = []
        self.wrong = 0

    def write(self) -> None:
        """Have one customer write."""
        customer = random.randint(1, CUSTOMERS)
        while customer in self.waiting:
            customer = random.randint(1, CUSTOMERS)
        self.number += 1
        now = int(time.time())
        self.waiting[customer] = time.perf_counter()
        self.push(UPDATE % (self.number, self.number, now, customer, customer))

    def answered(self, customer: int, body: bytes) -> None:
        """A reply has arrived."""
        began = self.waiting.pop(customer, None)
        if began is None or b"%d" % balance_of(customer) not in body:
            self.wrong += 1
        if began is not None:
            self.latencies.append(time.perf_counter() - began)
        if self.mode == "closed":
            self.write()

    def begin(self, mode: str, how_much: float) -> None:
        """Begin a load."""
        self.mode = mode
        self.reset()
        if mode == "closed":
            for _ in range(int(how_much)):
                self.write()
        else:
            loop = asyncio.get_running_loop()
            self.tick(loop, loop.time(), 1 / how_much)

    def tick(self, loop: asyncio.AbstractEventLoop, due: float, pause: float) -> None:
        """Write at a steady pace; a late tick is made up for."""
        if self.mode != "open":
            return
        while due <= loop.time():
            self.write()
            due += pause
        loop.call_at(due, self.tick, loop, due, pause)

    def reset(self) -> None:
        """Forget the figures, not the load."""
        self.latencies = []
        self.wrong = 0

    def figures(self) -> bytes:
        """The figures as JSON; latencies in seconds."""
        return json.dumps(
            {"latencies": self.latencies, "wrong": self.wrong, "unanswered": len(self.waiting)}
        ).encode()


class Server(Connection):
    """The Bot API to which they write."""

    load: Writers

    def call(self, method: bytes, body: bytes) -> bytes:
        """A reply counts; of the rest nothing is kept."""
        if method != b"sendmessage":
            return super().call(method, body)
        customer = field(CHAT, body)
        self.load.answered(customer, body)
        self.load.number += 1
        return MESSAGE % (self.load.number, int(time.time()), customer)

    def control(self, order: str, query: str) -> bytes:
        """One order of the bench."""
        if order in ("closed", "open"):
            self.load.begin(order, float(query.rpartition("=")[2]))
        elif order == "stop":
            self.load.mode = ""
        elif order == "reset":
            self.load.reset()
        elif order == "figures":
            return self.load.figures()
        return b"{}"


if __name__ == "__main__":
    run(Server, Writers())
