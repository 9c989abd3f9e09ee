"""What the tests of this room share: a scripted Bot API on a real socket, and an inbox in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import h11
import trio

from vpnd.database import Row
from vpnd.database.errors import DatabaseUnavailable
from vpnd.telegram.store import Backlog
from vpnd.telegram.update import StoredUpdate, parse_update

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
ME = {"id": 1, "is_bot": True, "first_name": "vpnd", "username": "vpnd_test_bot"}

#: Answers with (status, body); None closes the connection without an answer.
Answer = tuple[int, Any] | None
Script = Callable[[dict[str, str]], Awaitable[Answer]]


def ok(result: Any) -> Answer:
    """A success."""
    return 200, {"ok": True, "result": result}


def fault(status: int, description: str, **parameters: Any) -> Answer:
    """A refusal in the Bot API's form."""
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return status, body


class FakeTelegram:
    """A Bot API: getMe, getUpdates with offsets, and any send; `script[method]` replaces an answer."""

    def __init__(self) -> None:
        self.updates: deque[dict[str, Any]] = deque()
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.script: dict[str, Script] = {}
        self.connections = 0
        self.base = ""
        self.confirmed = 0
        self._news = trio.Event()
        self._progress = trio.Event()

    def push(self, *updates: dict[str, Any]) -> None:
        """Have updates delivered by getUpdates."""
        self.updates.extend(updates)
        self._news.set()

    def sent(self, method: str = "sendMessage") -> list[dict[str, str]]:
        """The parameters of all calls of one method so far."""
        return [parameters for name, parameters in self.calls if name == method]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at after every call."""
        with trio.fail_after(20):
            while not condition():
                await self._progress.wait()

    def nudge(self) -> None:
        """Have the conditions of `until` looked at again."""
        self._progress.set()
        self._progress = trio.Event()

    async def answer(self, method: str, parameters: dict[str, str]) -> Answer:
        self.calls.append((method, parameters))
        self.nudge()
        if method in self.script:
            return await self.script[method](parameters)
        if method == "getMe":
            return ok(ME)
        if method == "getUpdates":
            return ok(await self._get_updates(parameters))
        if method.startswith("send"):
            chat_id = int(parameters["chat_id"])
            message = {"message_id": len(self.calls), "date": 1, "chat": {"id": chat_id, "type": "private"}}
            return ok(message | {"from": ME, "text": parameters.get("text", "")})
        return ok(True)

    async def _get_updates(self, parameters: dict[str, str]) -> list[dict[str, Any]]:
        offset = int(parameters.get("offset", 0))
        self.confirmed = max(self.confirmed, offset - 1)
        self.nudge()
        while self.updates and self.updates[0]["update_id"] < offset:
            self.updates.popleft()
        with trio.move_on_after(float(parameters.get("timeout", 0))):
            while not self.updates:
                self._news = trio.Event()
                await self._news.wait()
        return list(self.updates)[: int(parameters.get("limit", 100))]

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        target, body, headers = "", b"", {}
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(65536)))
                elif isinstance(event, h11.Request):
                    target, body = event.target.decode(), b""
                    headers = {name.decode().lower(): value.decode() for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    parameters = {}
                    if "multipart" in headers.get("content-type", ""):
                        parameters = {"_multipart": body.decode("latin-1")}
                    elif "urlencoded" in headers.get("content-type", ""):  # by way of a proxy
                        parameters = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
                    elif body:
                        # Every value as the text that it would be in a form.
                        given = json.loads(body).items()
                        parameters = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given}
                    answer = await self.answer(target.rpartition("/")[2], parameters)
                    if answer is None:
                        return
                    payload = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                    response = h11.Response(
                        status_code=answer[0], headers=[("Content-Length", str(len(payload)))]
                    )
                    data = [
                        connection.send(e) or b""
                        for e in (response, h11.Data(data=payload), h11.EndOfMessage())
                    ]
                    await stream.send_all(b"".join(data))
                    connection.start_next_cycle()
                else:
                    return
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def fake_telegram() -> AsyncIterator[FakeTelegram]:
    """Run a scripted Bot API on a free port of this machine."""
    fake = FakeTelegram()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, fake.serve, 0)
        # serve_tcp binds each family to a port of its own; the first will do.
        port = listeners[0].socket.getsockname()[1]
        fake.base = f"http://127.0.0.1:{port}"
        yield fake
        nursery.cancel_scope.cancel()


class MemoryInbox:
    """The inbox's rules in a dictionary; `down` makes it a database that is away."""

    def __init__(self) -> None:
        self.rows: dict[int, StoredUpdate] = {}
        self.ended: dict[int, str] = {}
        self.down = False
        self.reads = 0
        self.most_read = 0

    def _check(self) -> None:
        if self.down:
            raise DatabaseUnavailable("the server is down")

    async def store(self, updates: Sequence[StoredUpdate]) -> dict[int, Row | None]:
        await trio.lowlevel.checkpoint()
        self._check()
        new = {update.update_id for update in updates} - self.rows.keys() - self.ended.keys()
        self.rows.update({update.update_id: update for update in updates if update.update_id in new})
        return dict.fromkeys(new)

    async def finish(self, outcomes: Sequence[tuple[int, str]]) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        for update_id, outcome in outcomes:
            self.rows.pop(update_id, None)
            self.ended[update_id] = outcome

    async def unfinished(self, after: int, limit: int) -> Sequence[StoredUpdate]:
        return await self._select(lambda update: update.update_id > after, limit)

    async def of_queue(self, queue_key: int, after: int, limit: int) -> Sequence[StoredUpdate]:
        return await self._select(lambda u: u.queue_key == queue_key and u.update_id > after, limit)

    async def _select(self, wanted: Callable[[StoredUpdate], bool], limit: int) -> Sequence[StoredUpdate]:
        self._check()
        # The snapshot is taken at the beginning, as a database takes it, and arrives later.
        found = sorted(filter(wanted, self.rows.values()), key=lambda update: update.update_id)[:limit]
        await trio.lowlevel.checkpoint()
        self.reads += 1
        return found

    async def backlog(self) -> Backlog:
        await trio.lowlevel.checkpoint()
        self._check()
        return Backlog(len(self.rows), 0.0)


def message(update_id: int, chat_id: int = 7, text: str = "hi", **more: Any) -> dict[str, Any]:
    """A private message."""
    person = {"id": chat_id, "is_bot": False, "first_name": "P"}
    body = {"message_id": update_id, "date": 1, "chat": {"id": chat_id, "type": "private"}, "from": person}
    if text.startswith("/"):
        body["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
    return {"update_id": update_id, "message": body | {"text": text} | more}


def payment(update_id: int, chat_id: int = 7) -> dict[str, Any]:
    """A service message that a payment was made."""
    paid = {
        "currency": "XTR",
        "total_amount": 100,
        "invoice_payload": "p",
        "telegram_payment_charge_id": f"charge{update_id}",
        "provider_payment_charge_id": "",
    }
    return message(update_id, chat_id, successful_payment=paid)


def press(update_id: int, chat_id: int = 7, data: str = "x") -> dict[str, Any]:
    """A button pressed in a private chat."""
    person = {"id": chat_id, "is_bot": False, "first_name": "P"}
    shown = message(update_id, chat_id)["message"]
    query = {"id": str(update_id), "from": person, "chat_instance": "1", "data": data, "message": shown}
    return {"update_id": update_id, "callback_query": query}


def pre_checkout(update_id: int, user_id: int = 7) -> dict[str, Any]:
    """A buyer waits for our word."""
    person = {"id": user_id, "is_bot": False, "first_name": "P"}
    query = {
        "id": f"q{update_id}",
        "from": person,
        "currency": "XTR",
        "total_amount": 1,
        "invoice_payload": "p",
    }
    return {"update_id": update_id, "pre_checkout_query": query}


def stored(payload: dict[str, Any]) -> StoredUpdate:
    """The update as the inbox gives it."""
    return parse_update(payload)
