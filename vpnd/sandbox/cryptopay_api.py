"""Crypto Pay over HTTP: `/api/<method>`, and its control API under `/sim/`.

| Control call | Does |
|---|---|
| POST pay {invoice_id or hash, asset?, amount?, comment?, deliver?, force?} | pays an invoice; deliver: true, false, a number |
| POST deliver {invoice_id, times?} | tells the webhook about a paid invoice: late, again, or in another order |
| POST forge {body, signature?} | somebody else posts to the webhook, with a wrong signature; {status, answer} |
| POST expire {invoice_id} | lets an invoice expire now |
| POST webhook {url, retry_first?, attempts?} · GET deliveries | where paid invoices are told, and what it answered |
| POST balance {asset, amount} | gives the app coins to transfer |
| POST fault, reset · GET invoices, stats · GET, POST clock | as on the Telegram side |
"""

from __future__ import annotations

import hmac
import json
from decimal import Decimal
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.cryptopay_methods import METHODS, CryptoPayError, carry_out
from vpnd.sandbox.cryptopay_state import ASSETS, CryptoInvoice, CryptoPayState, Json
from vpnd.sandbox.cryptopay_webhook import PaidInvoiceCourier, signature
from vpnd.sandbox.faults import AFTER_EFFECT, Fault, FaultBoard, fault_from
from vpnd.sandbox.parameters import BadParameter, TooLarge, read_parameters
from vpnd.sandbox.telegram_control import Refused, guarded, read_json
from vpnd.sandbox.tls import trusted

DEFAULT_TOKEN = "500001:AAsandboxSandboxSandboxSandboxSandb"  # noqa: S105 - a token of no real app


def _answer(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, headers, media_type="application/json")


def refusal(code: int, name: str, retry_after: int | None = None) -> Response:
    """An error in Crypto Pay's envelope."""
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}
    return _answer({"ok": False, "error": {"code": code, "name": name}}, code, headers)


def _refuse(fault: Fault) -> Response:
    """What Crypto Pay says to a call that fails so."""
    match fault.kind:
        case "5xx":
            return refusal(fault.status, fault.description or "INTERNAL_ERROR")
        case "429":
            return refusal(429, "TOO_MANY_REQUESTS", fault.retry_after)
        case "401":
            return refusal(401, "UNAUTHORIZED")
        case "403":
            return refusal(403, fault.description or "METHOD_DISABLED")
        case _:
            return refusal(400, fault.description or "SANDBOX_FAULT")


class CryptoPayServer:
    """One app's Crypto Pay: API and control routes."""

    def __init__(self, clock: SandboxClock, token: str = DEFAULT_TOKEN) -> None:
        self.clock = clock
        self.token = token
        self.state = CryptoPayState(clock)
        self.courier = PaidInvoiceCourier(clock, token)
        self.faults = FaultBoard()
        self.calls: dict[str, int] = {}
        post = {
            "pay": self.pay, "deliver": self.deliver, "forge": self.forge, "expire": self.expire, "webhook": self.webhook,
            "balance": self.give_balance, "fault": self.fault, "reset": self.reset, "clock": self.move_clock,
        }  # fmt: skip
        get = {
            "invoices": self.list_invoices, "deliveries": self.list_deliveries, "stats": self.stats,
            "clock": self.read_clock,
        }  # fmt: skip
        self.routes = [
            Route("/api/{method}", self.handle, methods=["GET", "POST"]),
            *(Route(f"/sim/{path}", guarded(call), methods=["POST"]) for path, call in post.items()),
            *(Route(f"/sim/{path}", guarded(call), methods=["GET"]) for path, call in get.items()),
        ]

    async def handle(self, request: Request) -> Response:
        """One call of the API."""
        name = str(request.path_params["method"])
        given = request.headers.get("crypto-pay-api-token", "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return refusal(401, "UNAUTHORIZED")
        if name not in METHODS:
            return refusal(405, "METHOD_NOT_FOUND")
        self.calls[name] = self.calls.get(name, 0) + 1
        try:
            call = await read_parameters(request)
        except TooLarge:
            return refusal(413, "REQUEST_TOO_LARGE")
        except BadParameter:
            return refusal(400, "BODY_INVALID")
        fault = self.faults.take(name.lower())
        if fault is not None and fault.kind not in AFTER_EFFECT:
            early = await self.faults.before_effect(fault, _refuse)
            if early is not None:
                return early
        try:
            answer = _answer({"ok": True, "result": carry_out(self.state, name, call)})
        except CryptoPayError as error:
            answer = refusal(error.code, error.name)
        if fault is not None and fault.kind in AFTER_EFFECT:
            failure = refusal(fault.status, fault.description or "INTERNAL_ERROR")
            return self.faults.after_effect(fault, failure)
        return answer

    # ------------------------------------------------------------------ control

    def _invoice(self, values: Json) -> CryptoInvoice:
        """The invoice that is meant, by its number or by the hash that its links carry."""
        meant = str(values["hash"] if "hash" in values else values["invoice_id"])
        for invoice in self.state.invoices.values():
            if meant in {str(invoice.id), invoice.hash}:
                return invoice
        raise Refused("no such invoice")

    def _tell(self, invoice: CryptoInvoice, times: int) -> list[int]:
        sent = [self.courier.send(invoice.id, invoice.api(self.clock)) for _ in range(times)]
        return [delivery.id for delivery in sent if delivery is not None]

    async def pay(self, request: Request) -> Json:
        """Somebody pays. An invoice that is paid or expired is refused, unless `force` is given (a late payment)."""
        values = await read_json(request)
        invoice = self._invoice(values)
        status = invoice.status(self.clock.now())
        if status != "active" and not values.get("force"):
            raise Refused(f"this invoice is {status}")
        asset = values.get("asset")
        if asset is not None and asset not in ASSETS:
            raise Refused(f"no such asset: {asset}")
        amount = Decimal(str(values["amount"])) if "amount" in values else None
        comment = values.get("comment")
        self.state.pay(
            invoice, asset=asset, amount=amount, comment=comment, anonymous=bool(values.get("anonymous"))
        )
        deliveries = self._tell(invoice, int(values.get("deliver", True)))
        return {"ok": True, "invoice": invoice.api(self.clock), "deliveries": deliveries}

    async def deliver(self, request: Request) -> Json:
        """The webhook hears of a paid invoice once more."""
        values = await read_json(request)
        invoice = self._invoice(values)
        if invoice.paid is None:
            raise Refused("this invoice is not paid")
        return {"deliveries": self._tell(invoice, int(values.get("times", 1)))}

    async def forge(self, request: Request) -> Json:
        """Somebody who does not know the token posts a body (JSON, or a text as it is) to the webhook, once.

        He signs with a token of his own; with the `signature` given; or, if that is null, not at all.
        """
        values = await read_json(request)
        if self.courier.url is None:
            raise Refused("there is no webhook")
        given = values["body"]
        body = given.encode() if isinstance(given, str) else json.dumps(given).encode()
        signed = values.get("signature", signature("666:forger", body))
        headers = {"Content-Type": "application/json"}
        if signed is not None:
            headers["crypto-pay-api-signature"] = str(signed)
        async with httpx.AsyncClient(verify=trusted(), trust_env=False) as client:
            try:
                answer = await client.post(self.courier.url, content=body, headers=headers)
            except httpx.HTTPError as error:
                return {"status": None, "answer": type(error).__name__}
        return {"status": answer.status_code, "answer": answer.text}

    async def expire(self, request: Request) -> Json:
        """Time is up for an invoice."""
        invoice = self._invoice(await read_json(request))
        invoice.expires_at = self.clock.now()
        return {"invoice": invoice.api(self.clock)}

    async def webhook(self, request: Request) -> Json:
        """Where paid invoices are told (url null: nowhere); switches a webhook that was given up on again."""
        self.courier.set(await read_json(request))
        return {"url": self.courier.url}

    async def give_balance(self, request: Request) -> Json:
        """Coins for the app."""
        values = await read_json(request)
        asset = str(values["asset"])
        if asset not in ASSETS:
            raise Refused(f"no such asset: {asset}")
        self.state.balance[asset] += Decimal(str(values["amount"]))
        return {"asset": asset, "available": str(self.state.balance[asset])}

    async def list_invoices(self, request: Request) -> Json:
        """The newest `limit` (100) invoices in any state."""
        limit = int(request.query_params.get("limit", 100))
        newest = sorted(self.state.invoices, reverse=True)[:limit]
        return {"invoices": [self.state.invoices[number].api(self.clock) for number in newest]}

    async def list_deliveries(self, request: Request) -> Json:
        """The last webhook messages and what they were answered."""
        return self.courier.api()

    async def stats(self, request: Request) -> Json:
        """Counters since the start."""
        return {
            "calls": self.calls,
            "invoices": len(self.state.invoices),
            "faults": {"left": self.faults.left(), "taken": self.faults.taken},
        }

    async def fault(self, request: Request) -> Json:
        """Put a fault on the board; see `Fault`."""
        self.faults.add(fault_from(await read_json(request)))
        return {"left": self.faults.left()}

    async def reset(self, request: Request) -> Json:
        """No more faults; counters from zero; with `all`, no more invoices."""
        values = await read_json(request)
        self.faults.clear()
        self.calls.clear()
        if values.get("all"):
            self.state.invoices.clear()
        return {"ok": True}

    async def read_clock(self, request: Request) -> Json:
        """The business time."""
        return {"offset": self.clock.offset, "now": self.clock.iso()}

    async def move_clock(self, request: Request) -> Any:
        """The same clock as on the Telegram side."""
        values = await read_json(request)
        offset = await self.clock.advance(int(values["advance"]))
        return {"offset": offset, "now": self.clock.iso()}
