"""What the two cheap Bot APIs of the benches share: raw HTTP on uvloop, and a getUpdates that waits.

A bench's own program makes a `Load` and a `Connection` of these; it has the updates, the answers and the orders of its bench.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque

import uvloop

CHAT = re.compile(rb"""chat_id["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
_OFFSET = re.compile(rb"""offset["']?(?:=|:|\r\n\r\n)\s*"?(-?\d+)""")
_TIMEOUT = re.compile(rb"""timeout["']?(?:=|:|\r\n\r\n)\s*"?(\d+)""")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_ME = (
    b'{"ok":true,"result":{"id":4242,"is_bot":true,"first_name":"Bench","username":"bench_bot",'
    b'"can_join_groups":true,"can_read_all_group_messages":false,"supports_inline_queries":false}}'
)
_BATCH = 100


def field(pattern: re.Pattern[bytes], body: bytes) -> int:
    """A whole number that a call names, in a form or in JSON; 0 if it names none."""
    found = pattern.search(body)
    return int(found[1]) if found else 0


class Load:
    """The updates that wait for the bot, and the polls that wait for updates."""

    def __init__(self) -> None:
        self.number = time.time_ns() // 1_000_000  # an inbox remembers ids: every run has new ones
        self.backlog: deque[tuple[int, bytes]] = deque()
        self.polls: list[Connection] = []

    def push(self, update: bytes) -> None:
        """Have the update of the present number wait, or give it to a poll."""
        self.backlog.append((self.number, update))
        if self.polls:
            self.polls.pop(0).answer_poll()

    def confirm(self, offset: int) -> None:
        """The bot has what is below `offset`."""
        while self.backlog and self.backlog[0][0] < offset:
            self.backlog.popleft()


#: What Telegram tells of a bot that nobody has described or paid.
_FACE = {
    b"getmycommands": b"[]",
    b"getmydescription": b'{"description":""}',
    b"getmyshortdescription": b'{"short_description":""}',
    b"getchatmenubutton": b'{"type":"default"}',
    b"getstartransactions": b'{"transactions":[]}',  # nobody has paid in Stars
    b"getmystarbalance": b'{"amount":0}',
}


class Connection(asyncio.Protocol):
    """One kept-alive connection of a client that does not pipeline."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.load.polls:
            self.load.polls.remove(self)
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self.received, 0, end)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self.received) < total:
            return
        target = self.received.split(b" ", 2)[1]
        body = self.received[end + 4 : total]
        self.received = self.received[total:]
        path, _, query = target.partition(b"?")
        self.route(path, query, body)

    def route(self, path: bytes, query: bytes, body: bytes) -> None:
        """One request: an order of the bench, or a method of the Bot API."""
        if path == b"/load/polled":
            self.answer(json.dumps({"polled": bool(self.load.polls)}).encode())
        elif path.startswith(b"/load/"):
            self.answer(self.control(path[6:].decode(), query.decode()))
        else:
            self.serve(path.rpartition(b"/")[2].lower(), body + b"&" + query)

    def control(self, order: str, query: str) -> bytes:
        """Carry out one order of the bench; what it says, as JSON."""
        raise NotImplementedError

    def call(self, method: bytes, body: bytes) -> bytes:
        """Carry out one method of the Bot API that the bench cares for; the answer, as JSON."""
        return b'{"ok":true,"result":true}'

    def answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)

    def serve(self, method: bytes, body: bytes) -> None:
        """One method of the Bot API."""
        if method == b"getupdates":
            self.load.confirm(field(_OFFSET, body))
            seconds = field(_TIMEOUT, body)
            if self.load.backlog or not seconds:
                self.answer_poll()
            else:
                self.load.polls.append(self)
                self.timer = asyncio.get_running_loop().call_later(seconds, self.give_up)
        elif method == b"getme":
            self.answer(_ME)
        elif method in _FACE:
            self.answer(b'{"ok":true,"result":%b}' % _FACE[method])
        else:
            self.answer(self.call(method, body))

    def give_up(self) -> None:
        """A poll's time is over."""
        if self in self.load.polls:
            self.load.polls.remove(self)
        self.answer_poll()

    def answer_poll(self) -> None:
        """Return what waits; it stays until the next poll confirms it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        backlog = self.load.backlog
        batch = [backlog[place][1] for place in range(min(len(backlog), _BATCH))]
        self.answer(b'{"ok":true,"result":[' + b",".join(batch) + b"]}")


async def _serve(connection: type[Connection], load: Load) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: connection(load), "127.0.0.1", 0, backlog=1000
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def run(connection: type[Connection], load: Load) -> None:
    """Serve until killed; print the port as JSON first."""
    try:
        uvloop.run(_serve(connection, load))
    except KeyboardInterrupt:
        sys.exit(0)
