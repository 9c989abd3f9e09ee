"""The demo's chat page: a customer's messenger in the browser, over the sandbox's control interface.

The page is static; everything it shows comes from the sandboxed messenger through the small JSON interface here, so
that the browser talks to one origin only. It listens on loopback, and the sandbox's secrets never reach it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final

import httpx
import trio
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vpnd.sandbox.client_core import client_core, fetch_through
from vpnd.sandbox.customer import Customer, code_of, links_behind
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import BOT_TOKEN, World
from vpnd.sandbox.yookassa_state import payment_of

#: File name → media type. Nothing else is served.
FILES: Final = {
    "index.html": "text/html; charset=utf-8",
    "chat.css": "text/css; charset=utf-8",
    "chat.js": "text/javascript; charset=utf-8",
}

#: The page needs nothing from elsewhere and is shown by nobody else.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

#: Events of the clockwork, which would bury those that a customer causes.
ROUTINE: Final = ("worker.", "telegram.poll")

#: Journal lines kept for a page that is opened later.
JOURNAL_KEPT: Final = 200

#: Longest a call of the page is held while nothing happens, in seconds.
LONGEST_WAIT: Final = 25.0

#: Seconds for a client core's start and one page.
CONNECT_TIMEOUT: Final = 15.0


@define
class Journal:
    """The daemon's last journal lines, for people: what happened and when."""

    _lines: deque[dict[str, Any]] = field(factory=lambda: deque(maxlen=JOURNAL_KEPT))
    _number: int = 0
    _changed: trio.Event = field(factory=trio.Event)

    def hear(self, line: str) -> None:
        """Take in one line that the daemon printed (its journal's JSON form)."""
        try:
            entry = json.loads(line)
        except ValueError:
            return  # not a journal line: an interpreter's last words, shown by --verbose
        if not isinstance(entry, dict) or not isinstance(entry.get("message"), str):
            return
        if entry.get("level") == "debug" or str(entry.get("event", "")).startswith(ROUTINE):
            return
        self._number += 1
        self._lines.append({"number": self._number, "at": time.time(), "text": entry["message"]})
        self._changed.set()
        self._changed = trio.Event()

    async def after(self, number: int, wait: float) -> dict[str, Any]:
        """Return the lines after `number`, waiting up to `wait` seconds for one."""
        if self._number <= number:
            with trio.move_on_after(wait):
                await self._changed.wait()
        return {"cursor": self._number, "lines": [line for line in self._lines if line["number"] > number]}


class ChatPage:
    """The web application of the chat page."""

    def __init__(self, world: World, journal: Journal) -> None:
        """Show the chats of `world` and the lines of `journal`."""
        self._world = world
        self._journal = journal
        self._clients = trio.CapacityLimiter(2)
        get = {
            "world": self._show_world,
            "chat": self._show_chat,
            "crypto": self._find_invoice,
            "stars": self._show_link,
            "card": self._find_payment,
            "journal": self._show_journal,
        }
        post = {
            "send": self._send,
            "press": self._press,
            "pay-stars": self._pay_stars,
            "pay-crypto": self._pay_crypto,
            "pay-card": self._pay_card,
            "clock": self._move_clock,
            "connect": self._connect,
        }
        self.app: Final = Starlette(
            routes=[
                Route("/", _static("index.html")),
                *(Route(f"/{name}", _static(name)) for name in FILES),
                Route("/api/file/{file_id}", self._show_file),
                *(Route(f"/api/{name}", _json(call)) for name, call in get.items()),
                *(Route(f"/api/{name}", _json(call), methods=["POST"]) for name, call in post.items()),
            ]
        )

    async def _show_world(self, request: Request) -> dict[str, Any]:
        language = request.query_params.get("language", "en")
        base = f"{self._world.telegram.base}/bot{BOT_TOKEN}"
        me = (await self._world.http.get(f"{base}/getMe")).json()["result"]
        commands = (
            await self._world.http.get(f"{base}/getMyCommands", params={"language_code": language})
        ).json()
        if not commands.get("result"):
            commands = (await self._world.http.get(f"{base}/getMyCommands")).json()
        clock = await self._world.telegram.get("/sim/clock")
        return {"bot": me, "commands": commands.get("result", []), "now": time.time() + clock["offset"]}

    async def _show_chat(self, request: Request) -> dict[str, Any]:
        query = request.query_params
        wait = min(float(query.get("wait", 0)), LONGEST_WAIT)
        chat = await self._world.telegram.get(
            f"/sim/chat/{int(query['customer'])}", after=int(query.get("after", 0)), wait=wait
        )
        return {
            "cursor": chat["event"],
            "messages": chat["messages"],
            "answers": chat["answers"],
            "deleted": chat["deleted"],
        }

    async def _show_file(self, request: Request) -> Response:
        answer = await self._world.http.get(
            f"{self._world.telegram.base}/sim/file/{request.path_params['file_id']}"
        )
        kind = answer.headers.get("content-type", "application/octet-stream")
        return Response(answer.content, answer.status_code, media_type=kind)

    async def _find_invoice(self, request: Request) -> dict[str, Any]:
        url = request.query_params["url"]
        found = (await self._world.cryptopay.get("/sim/invoices"))["invoices"]
        return {"invoice": next((invoice for invoice in found if invoice["hash"] in url), None)}

    async def _show_link(self, request: Request) -> dict[str, Any]:
        """The Stars invoice behind a link."""
        found: dict[str, Any] = await self._world.telegram.get(
            "/sim/invoice", link=request.query_params["link"]
        )
        return found

    async def _find_payment(self, request: Request) -> dict[str, Any]:
        """The YooKassa payment whose confirmation page a link leads to."""
        number = payment_of(request.query_params["url"])
        found = (await self._world.yookassa.get("/sim/payments"))["payments"] if number else []
        return {"payment": next((payment for payment in found if payment["id"] == number), None)}

    async def _show_journal(self, request: Request) -> dict[str, Any]:
        query = request.query_params
        return await self._journal.after(
            int(query.get("after", 0)), min(float(query.get("wait", 0)), LONGEST_WAIT)
        )

    async def _send(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        await self._customer(body).say(str(body["text"])[:4096])
        return {}

    async def _press(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        person = _person(body)
        await self._world.telegram.post(
            "/sim/press",
            chat_id=person["id"],
            message_id=int(body["message_id"]),
            data=str(body["data"]),
            **{"from": person},
        )
        return {}

    async def _pay_stars(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        customer = self._customer(body)
        if "link" in body:
            paid = await customer.pay_link(str(body["link"]))
        else:
            paid = await customer.pay_stars({"message_id": int(body["message_id"])})
        if not paid["ok"]:
            raise ProgramFailed(paid["error"])
        return {}

    async def _pay_crypto(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        await self._world.cryptopay.post("/sim/pay", invoice_id=int(body["invoice_id"]), deliver=True)
        return {}

    async def _pay_card(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        await self._world.yookassa.post("/sim/pay", payment_id=str(body["payment_id"]), deliver=True)
        return {}

    async def _move_clock(self, request: Request) -> dict[str, Any]:
        advance = int((await request.json())["advance"])
        if not 0 < advance <= 366 * 86_400:
            raise ValueError("advance must be from one second to a year")
        await self._world.advance(advance)
        return {}

    async def _connect(self, request: Request) -> dict[str, Any]:
        """Take the newest link of the chat, as a customer's app would, and fetch a page through it."""
        customer = self._customer(await request.json())
        await customer.look()
        copied = [
            code for message in customer.messages.values() for code in code_of(message) if "://" in code
        ]
        if not copied:
            return {"ok": False, "text": "There is no link in the chat yet: buy a subscription first."}
        links = [
            link for link in await links_behind(self._world.http, copied[-1]) if "@127.0.0.1:9?" not in link
        ]
        if not links:
            return {"ok": False, "text": "The subscription's page says that it has ended."}
        async with self._clients:
            with trio.move_on_after(CONNECT_TIMEOUT):
                async with client_core(links[0], source_ip=f"127.0.0.{3 + customer.id % 200}") as socks:
                    began = time.perf_counter()
                    page = await fetch_through(socks, self._world.targets.page_url)
                    took = (time.perf_counter() - began) * 1000
                if page is None:
                    return {"ok": False, "text": "Refused: the node does not let this link in."}
                return {
                    "ok": True,
                    "text": f"Connected: {len(page):,} bytes came through the VPN in {took:.0f} ms.",
                }
        return {"ok": False, "text": f"No connection within {CONNECT_TIMEOUT:g} s."}

    def _customer(self, body: dict[str, Any]) -> Customer:
        person = _person(body)
        return Customer(
            self._world, person["id"], name=person["first_name"], language=person["language_code"]
        )


def _person(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": int(body["customer"]),
        "first_name": str(body.get("name") or "Alex")[:64],
        "language_code": str(body.get("language") or "en")[:8],
    }


def _static(name: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("vpnd.sandbox") / "chat" / name).read_bytes()

    async def show(_request: Request) -> Response:
        return Response(content, headers=SECURITY_HEADERS, media_type=FILES[name])

    return show


def _json(call: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        try:
            return JSONResponse(await call(request))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return JSONResponse({"error": f"bad request: {error}"}, 400)
        except (ProgramFailed, httpx.HTTPError) as error:
            return JSONResponse({"error": str(error)}, 502)

    return show
