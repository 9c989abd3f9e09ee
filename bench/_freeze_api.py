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
import re
import sys
import time
from collections import Counter, deque
from urllib.parse import parse_qs

import uvloop

CHAT = re.compile(rb"""chat_id["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
OFFSET = re.compile(rb"""offset["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
TIMEOUT = re.compile(rb"""timeout["']?(?:=|:|\r\n\r\n)\s*"?(\d+)""")
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
LETTERS = str.maketrans("0189", "abcd")
BATCH = 100
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
ME = (
    b'{"ok":true,"result":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot",'
    b'"can_join_groups":true,"can_read_all_group_messages":false,"supports_inline_queries":false}}'
)


class Load:
    """What customers do, and how they were served."""

    def __init__(self, customers: int, calm: int, first: int) -> None:
        self.customers, self.calm, self.first = customers, calm, first
        self.number = time.time_ns() // 1_000_000  # an inbox remembers ids: every run has new ones
        self.backlog: deque[tuple[int, bytes]] = deque()
        self.polls: list[Connection] = []
        self.run = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew with the figures."""
        self.waiting: dict[int, tuple[float, str]] = {}
        self.latencies: dict[str, list[float]] = {"read": [], "buy": []}
        self.called: Counter[str] = Counter()

    def push(self, text: str) -> None:
        """Have an update wait for the bot."""
        self.backlog.append((self.number, text.encode()))
        if self.polls:
            self.polls.pop(0).answer_poll()

    def press(self, number: int, data: str, kind: str) -> None:
        """Have customer `number` press."""
        self.number += 1
        who = self.first + number
        self.waiting[who] = (time.perf_counter(), kind)
        self.push(PRESS % (self.number, self.number, data, who, self.number % 2**31, int(time.time()), who))

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
        self.push(WORDS % (self.number, self.number % 2**31, int(time.time()), json.dumps(text)))

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


load = Load(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else Load(0, 0, 0)


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
            self.control(path[6:].decode(), {key: one[0] for key, one in parse_qs(query.decode()).items()})
        elif path.startswith(b"/pay/"):
            load.called["crypto pay"] += 1
            self.answer(b'{"ok":true,"result":{"items":[]}}')
        else:
            self.serve(path.rpartition(b"/")[2].lower(), body + b"&" + query)

    def answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)

    def serve(self, method: bytes, body: bytes) -> None:
        """One method of the Bot API."""
        if method != b"getupdates":
            load.called[method.decode()] += 1
        if method == b"getupdates":
            offset = int(_field(OFFSET, body, b"0"))
            while load.backlog and load.backlog[0][0] < offset:
                load.backlog.popleft()
            seconds = int(_field(TIMEOUT, body, b"0"))
            if load.backlog or not seconds:
                self.answer_poll()
            else:
                load.polls.append(self)
                self.timer = asyncio.get_running_loop().call_later(seconds, self.give_up)
        elif method.startswith((b"edit", b"send", b"copy")):
            chat = int(_field(CHAT, body, b"0"))
            if method.startswith(b"edit"):
                load.changed(chat)
            self.answer(MESSAGE % (random.randrange(2**31), int(time.time()), chat))
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

    def control(self, order: str, query: dict[str, str]) -> None:
        """One order of the bench."""
        body = b"{}"
        if order == "begin":
            load.begin(float(query["rate"]), float(query["buys"]), int(query["buyer"]))
        elif order == "stop":
            load.run += 1
        elif order == "tell":
            load.tell(query["text"])
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
