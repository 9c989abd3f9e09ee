"""YooKassa over HTTP: its API under `/v3`, with the control API of `yookassa_control` beside it.

Faults wait for calls by these names: create_payment, get_payment, list_payments, capture_payment, cancel_payment,
create_refund, get_refund, list_refunds, get_me.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vpnd.sandbox import yookassa_methods as methods
from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.faults import AFTER_EFFECT, Fault, FaultBoard
from vpnd.sandbox.yookassa_methods import YooKassaError, invalid
from vpnd.sandbox.yookassa_state import Json, Shop
from vpnd.sandbox.yookassa_webhook import NotificationCourier

DEFAULT_SHOP_ID = "100500"
DEFAULT_SECRET = "test_sandboxSandboxSandboxSandboxSand"  # noqa: S105 - a key of no real shop

MAX_KEY = 64
MAX_BODY = 1024 * 1024

_ROUTES: tuple[tuple[str, str, methods.Method], ...] = (
    ("POST", "/payments", methods.create_payment),
    ("GET", "/payments", methods.list_payments),
    ("GET", "/payments/{number}", methods.get_payment),
    ("POST", "/payments/{number}/capture", methods.capture_payment),
    ("POST", "/payments/{number}/cancel", methods.cancel_payment),
    ("POST", "/refunds", methods.create_refund),
    ("GET", "/refunds", methods.list_refunds),
    ("GET", "/refunds/{number}", methods.get_refund),
    ("GET", "/me", methods.get_me),
)


def _json(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status, headers, media_type="application/json")


def refusal(error: YooKassaError, headers: dict[str, str] | None = None) -> Response:
    """An error in YooKassa's form."""
    body: Json = {
        "type": "error",
        "id": str(uuid.uuid4()),
        "code": error.code,
        "description": error.description,
    }
    if error.parameter is not None:
        body["parameter"] = error.parameter
    return _json(json.dumps(body, ensure_ascii=False).encode(), error.status, headers)


def unauthorized() -> YooKassaError:
    """401: not this shop's id and key."""
    why = "Authentication by given credentials failed"
    return YooKassaError(401, "invalid_credentials", why, "Authorization")


class YooKassaServer:
    """One shop's YooKassa: its books, its courier, its faults, and the routes of the API."""

    def __init__(
        self, clock: SandboxClock, shop_id: str = DEFAULT_SHOP_ID, secret: str = DEFAULT_SECRET
    ) -> None:
        self.clock = clock
        self.shop_id = shop_id
        self.secret = secret
        self.shop = Shop(clock, shop_id)
        self.courier = NotificationCourier()
        self.faults = FaultBoard()
        self.calls: dict[str, int] = {}
        self.repeats = 0
        clock.on_move.append(self.look)
        self.routes = [
            *(
                Route(f"/v3{path}", partial(self.handle, method=method), methods=[verb])
                for verb, path, method in _ROUTES
            ),
            Route("/v3/{rest:path}", self.nowhere, methods=["GET", "POST", "DELETE"]),
        ]

    async def nowhere(self, request: Request) -> Response:
        """Any other path of the API."""
        if not self._knows(request):
            return refusal(unauthorized())
        return refusal(YooKassaError(404, "not_found", "Resource not found"))

    async def handle(self, request: Request, *, method: methods.Method) -> Response:
        """One call of the API."""
        name = method.__name__
        if not self._knows(request):
            return refusal(unauthorized())
        self.calls[name] = self.calls.get(name, 0) + 1
        try:
            values = await _read(request)
        except YooKassaError as error:
            return refusal(error)
        fault = self.faults.take(name)
        if fault is not None and fault.kind not in AFTER_EFFECT:
            early = await self.faults.before_effect(fault, _refuse)
            if early is not None:
                return early
        # From here to the answer nothing waits, so that two requests under one key cannot both be the first.
        try:
            answer = _json(self._carry_out(request, method, values))
        except YooKassaError as error:
            answer = refusal(error)
        self.tell()
        if fault is not None and fault.kind in AFTER_EFFECT:
            return self.faults.after_effect(fault, refusal(_server_error(fault)))
        return answer

    def tell(self, times: int = 1) -> list[int]:
        """Tell the webhook all that has happened since the last call; the numbers of the deliveries."""
        news, self.shop.news = self.shop.news, []
        sent = [
            self.courier.send(event, self.shop.show(found)) for event, found in news for _ in range(times)
        ]
        return [delivery.id for delivery in sent if delivery is not None]

    def look(self) -> None:
        """See what has expired, and tell it: everything that looks at the books does this first."""
        self.shop.expire()
        self.tell()

    def _carry_out(self, request: Request, method: methods.Method, values: Json) -> bytes:
        """The answer's bytes: those of the first time, when a POST comes again under its idempotence key.

        A refusal is not remembered: nothing happened that could happen twice.
        """
        self.look()
        key, said = "", ""
        if request.method == "POST":
            key = _read_key(request)
            said = json.dumps([request.url.path, values], sort_keys=True)
            known = self.shop.remembered(key)
            if known is not None:
                if known.request != said:
                    raise invalid("Idempotence-Key", "Idempotence key duplicated")
                self.repeats += 1
                return known.content
        result = method(self.shop, values, str(request.path_params.get("number", "")))
        content = json.dumps(result, ensure_ascii=False).encode()
        if key:
            self.shop.remember(key, said, content)
        return content

    def _knows(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        wanted = base64.b64encode(f"{self.shop_id}:{self.secret}".encode())
        return scheme.lower() == "basic" and hmac.compare_digest(given.strip().encode(), wanted)


def _refuse(fault: Fault) -> Response:
    """What YooKassa says to a call that fails so."""
    match fault.kind:
        case "5xx":
            return refusal(_server_error(fault))
        case "429":
            error = YooKassaError(429, "too_many_requests", fault.description or "Too many requests")
            return refusal(error, {"Retry-After": str(fault.retry_after)})
        case "401":
            return refusal(unauthorized())
        case "403":
            why = fault.description or "You do not have permission to this operation"
            return refusal(YooKassaError(403, "forbidden", why))
        case _:
            return refusal(YooKassaError(400, "invalid_request", fault.description or "Sandbox fault"))


def _server_error(fault: Fault) -> YooKassaError:
    why = fault.description or "Internal server error"
    return YooKassaError(fault.status, "internal_server_error", why)


def _read_key(request: Request) -> str:
    key = request.headers.get("idempotence-key", "")
    if not key:
        raise invalid("Idempotence-Key", "Idempotence key is empty")
    if len(key) > MAX_KEY:
        raise invalid("Idempotence-Key", f"Idempotence key is too long: at most {MAX_KEY} characters")
    return key


async def _read(request: Request) -> Json:
    """The values of a call: a GET's query, a POST's JSON; an empty body has none."""
    if request.method == "GET":
        return dict(request.query_params)
    body = await request.body()
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise YooKassaError(415, "invalid_request", "Unsupported media type")
    if len(body) > MAX_BODY:
        raise YooKassaError(413, "invalid_request", "Request entity too large")
    try:
        values: Any = json.loads(body)
    except ValueError:
        raise YooKassaError(400, "invalid_request", "Can not parse the request's JSON") from None
    if not isinstance(values, dict):
        raise YooKassaError(400, "invalid_request", "The request's JSON must be an object")
    return values
