"""The Bot API over HTTP: `/bot<token>/<method>` and `/file/bot<token>/<path>`.

Order of judgement, as at Telegram: token, method, then the call itself. A fault from the board comes between, except the two
whose effect happens and whose answer is lost.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

# The modules register their methods when they are imported.
from vpnd.sandbox import (
    telegram_bot,
    telegram_edits,
    telegram_media,
    telegram_messages,
    telegram_payments,
    telegram_subscriptions,
)
from vpnd.sandbox.faults import AFTER_EFFECT, Fault
from vpnd.sandbox.parameters import BadParameter, Parameters, TooLarge, read_parameters
from vpnd.sandbox.telegram_errors import (
    ApiError,
    bad_request,
    blocked,
    deactivated,
    flood,
    migrated,
    terminated,
)
from vpnd.sandbox.telegram_server import METHODS, PROPER_NAMES, TelegramServer

METHOD_MODULES = (
    telegram_bot,
    telegram_messages,
    telegram_media,
    telegram_edits,
    telegram_payments,
    telegram_subscriptions,
)


def _answer(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, headers, media_type="application/json")


def refusal(error: ApiError) -> Response:
    """An ApiError as an HTTP answer."""
    wait = error.parameters.get("retry_after")
    return _answer(error.body(), error.code, {"Retry-After": str(wait)} if wait else None)


class TelegramApi:
    """The routes of one TelegramServer's Bot API."""

    def __init__(self, server: TelegramServer) -> None:
        self.server = server
        self.routes = [
            Route("/bot{token}/{method}", self.handle, methods=["GET", "POST"]),
            Route("/bot{token}/test/{method}", self.handle, methods=["GET", "POST"]),
            Route("/file/bot{token}/{path:path}", self.download, methods=["GET"]),
        ]

    async def handle(self, request: Request) -> Response:
        """One call."""
        server = self.server
        name = str(request.path_params["method"]).lower()
        if (wrong := self._judge_token(str(request.path_params["token"]))) is not None:
            return wrong
        if name not in METHODS:
            return refusal(ApiError(404, "Not Found"))
        server.calls[PROPER_NAMES[name]] = server.calls.get(PROPER_NAMES[name], 0) + 1
        try:
            call = await read_parameters(request)
        except TooLarge:
            return refusal(ApiError(413, "Request Entity Too Large"))
        except BadParameter as error:
            return refusal(bad_request(str(error)))
        fault = server.faults.take(name, _chat_of(call))
        try:
            if fault is not None and fault.kind not in AFTER_EFFECT:
                early = await server.faults.before_effect(fault, self._fail)
                if early is not None:
                    return early
            result = await server.call(name, call)
        except ApiError as error:
            server.errors[str(error.code)] = server.errors.get(str(error.code), 0) + 1
            if fault is None or fault.kind not in AFTER_EFFECT:
                return refusal(error)
        if fault is not None and fault.kind in AFTER_EFFECT:
            return server.faults.after_effect(fault, refusal(self._server_error(fault)))
        return _answer({"ok": True, "result": result})

    async def download(self, request: Request) -> Response:
        """A stored file's bytes."""
        if (wrong := self._judge_token(str(request.path_params["token"]))) is not None:
            return wrong
        for stored in self.server.state.files.values():
            if stored.path == request.path_params["path"]:
                return Response(stored.content, media_type="application/octet-stream")
        return refusal(ApiError(404, "Not Found"))

    def _judge_token(self, token: str) -> Response | None:
        if token == self.server.token:
            return None
        number, colon, _ = token.partition(":")
        known_shape = number.isdigit() and colon
        return refusal(ApiError(401, "Unauthorized") if known_shape else ApiError(404, "Not Found"))

    @staticmethod
    def _server_error(fault: Fault) -> ApiError:
        phrase = {500: "Internal Server Error", 502: "Bad Gateway", 504: "Gateway Timeout"}
        return ApiError(fault.status, fault.description or phrase.get(fault.status, "Service Unavailable"))

    def _fail(self, fault: Fault) -> NoReturn:
        """Raise what the Bot API says to a call that fails so."""
        match fault.kind:
            case "5xx":
                raise self._server_error(fault)
            case "429":
                raise flood(fault.retry_after)
            case "403":
                raise ApiError(403, fault.description) if fault.description else blocked()
            case "deactivated":
                raise deactivated()
            case "409":
                raise terminated("other getUpdates request")
            case "401":
                raise ApiError(401, fault.description or "Unauthorized")
            case "migrate":
                raise migrated(fault.migrate_to_chat_id or -1001234567890)
            case _:
                raise bad_request(fault.description or "sandbox fault")


def _chat_of(call: Parameters) -> int | None:
    value = call.values.get("chat_id", call.values.get("user_id"))
    try:
        return int(value)  # type: ignore[arg-type] # anything that is no number is no chat, which is the answer
    except (TypeError, ValueError):
        return None


def not_found(request: Request, error: Exception) -> Response:
    """Telegram's answer to any other path."""
    return refusal(ApiError(404, "Not Found"))


def wrong_http_method(request: Request, error: Exception) -> Response:
    """Telegram knows GET and POST."""
    return PlainTextResponse("Method Not Allowed", 405)
