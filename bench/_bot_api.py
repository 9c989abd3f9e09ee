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
import re
import sys
import time
from collections import deque

import uvloop

CUSTOMERS = 1_000_000
CHAT = re.compile(rb"""chat_id["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
OFFSET = re.compile(rb"""offset["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
TIMEOUT = re.compile(rb"""timeout["']?(?:=|:|\r\n\r\n)\s*"?(\d+)""")
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
UPDATE = (
    b'{"update_id":%d,"message":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"Alex"},'
    b'"from":{"id":%d,"is_bot":false,"first_name":"Alex","language_code":"en"},"text":"/profile",'
    b'"entities":[{"type":"bot_command","offset":0,"length":8}]}}'
)
MESSAGE = (
    b'{"ok":true,"result":{"message_id":%d,"date":%d,"chat":{"id":%d,"type":"private","first_name":"Alex"},'
    b'"from":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot"},"text":"balance"}}'
)
ME = (
    b'{"ok":true,"result":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot",'
    b'"can_join_groups":true,"can_read_all_group_messages":false,"supports_inline_queries":false}}'
)
BATCH = 100


def balance_of(customer: int) -> int:
    """What stands in the table; the statement that fills it says the same."""
    return customer * 7919 % 1_000_003


class Load:
    """What customers do, and how they were served."""

    def __init__(self) -> None:
        self.mode = ""
        self.number = time.time_ns() // 1_000_000  # an inbox remembers ids: every run has new ones
        self.backlog: deque[tuple[int, bytes]] = deque()
        self.waiting: dict[int, float] = {}
        self.latencies: list[float] = []
        self.wrong = 0
        self.polls: list[Connection] = []

    def write(self) -> None:
        """Have one customer write."""
        customer = random.randint(1, CUSTOMERS)
        while customer in self.waiting:
            customer = random.randint(1, CUSTOMERS)
        self.number += 1
        now = int(time.time())
        self.backlog.append((self.number, UPDATE % (self.number, self.number, now, customer, customer)))
        self.waiting[customer] = time.perf_counter()
        if self.polls:
            self.polls.pop(0).answer_poll()

    def answered(self, customer: int, body: bytes) -> None:
        """A reply has arrived."""
        began = self.waiting.pop(customer, None)
        if began is None or b"%d" % balance_of(customer) not in body:
            self.wrong += 1
        if began is not None:
            self.latencies.append(time.perf_counter() - began)
        if self.mode == "closed":
            self.write()

    def confirm(self, offset: int) -> None:
        """The bot has what is below `offset`."""
        while self.backlog and self.backlog[0][0] < offset:
            self.backlog.popleft()

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


load = Load()


class Connection(asyncio.Protocol):
    """One kept-alive connection of a client that does not pipeline."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self in load.polls:
            load.polls.remove(self)
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.received, 0, end)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self.received) < total:
            return
        target = self.received.split(b" ", 2)[1]
        body = self.received[end + 4 : total]
        self.received = self.received[total:]
        path, _, query = target.partition(b"?")
        if path.startswith(b"/load/"):
            self.control(path[6:].decode(), query.decode())
        else:
            self.serve(path.rpartition(b"/")[2].lower(), body + b"&" + query)

    def answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)

    def serve(self, method: bytes, body: bytes) -> None:
        """One method of the Bot API."""
        if method == b"sendmessage":
            customer = int(_field(CHAT, body, b"0"))
            load.answered(customer, body)
            load.number += 1
            self.answer(MESSAGE % (load.number, int(time.time()), customer))
        elif method == b"getupdates":
            load.confirm(int(_field(OFFSET, body, b"0")))
            seconds = int(_field(TIMEOUT, body, b"0"))
            if load.backlog or not seconds:
                self.answer_poll()
            else:
                load.polls.append(self)
                self.timer = asyncio.get_running_loop().call_later(seconds, self.give_up)
        elif method == b"getme":
            self.answer(ME)
        else:
            self.answer(b'{"ok":true,"result":true}')

    def give_up(self) -> None:
        """A poll's time is over."""
        if self in load.polls:
            load.polls.remove(self)
        self.answer_poll()

    def answer_poll(self) -> None:
        """Return what waits; it stays until the next poll confirms it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        batch = [load.backlog[place][1] for place in range(min(len(load.backlog), BATCH))]
        self.answer(b'{"ok":true,"result":[' + b",".join(batch) + b"]}")

    def control(self, order: str, query: str) -> None:
        """One order of the bench."""
        body = b"{}"
        if order in ("closed", "open"):
            load.begin(order, float(query.rpartition("=")[2]))
        elif order == "stop":
            load.mode = ""
        elif order == "reset":
            load.reset()
        elif order == "figures":
            body = load.figures()
        elif order == "polled":
            body = json.dumps({"polled": bool(load.polls)}).encode()
        self.answer(body)


def _field(pattern: re.Pattern[bytes], body: bytes, default: bytes) -> bytes:
    found = pattern.search(body)
    return found[1] if found else default


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1000)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
