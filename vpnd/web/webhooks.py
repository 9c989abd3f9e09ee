"""Webhooks of Telegram and Crypto Pay.

The answers are a contract with the sender's retry logic: 2xx only after the commit; 5xx (with Retry-After) only when
sending again helps; 401 and 400 for what will never become right. A signature is judged over the raw bytes, before
anything is parsed, and fails closed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vpnd.config import Secret
from vpnd.database.errors import DatabaseError
from vpnd.payments import cryptopay
from vpnd.payments.base import MalformedWebhook
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop.settlement import Charge, SettlementResult
from vpnd.telegram.intake import InboxUnavailable

journal = get_journal("web")

#: Telegram's updates and Crypto Pay's invoices are a few kB; nobody else has business here.
MAX_BODY = 1 << 20  # bytes

#: Seconds after which a sender should try again while the database is away. Telegram honours it (up to 3600).
RETRY_AFTER = 5

TELEGRAM_SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105  the header's name, not a secret

#: Settles one charge and returns only after the commit.
Settle = Callable[[Charge], Awaitable[SettlementResult]]


class BodyTooLarge(Exception):
    """The sender's body is larger than `MAX_BODY` bytes."""


class AcceptsUpdates(Protocol):
    """The part of the telegram intake that a webhook needs."""

    async def accept(self, update: dict[str, Any]) -> None:
        """Store `update`; return only when it is stored."""


async def read_body(request: Request) -> bytes:
    """Return the raw body of `request`, at most `MAX_BODY` bytes.

    Raises:
        BodyTooLarge: it is larger; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyTooLarge
    return bytes(body)


#: The HTTP status of each result (the labels of the metric).
STATUS: Final = {
    "ok": 200,
    "ignored": 200,
    "malformed": 400,
    "unauthorised": 401,
    "too_large": 413,
    "unavailable": 503,
}


def _answer(source: str, result: str, **fields: Any) -> Response:
    metrics.webhook_requests_total.labels(source, result).inc()
    headers = {"Retry-After": str(RETRY_AFTER)} if result == "unavailable" else None
    return JSONResponse({"status": result, **fields}, STATUS[result], headers)


def telegram_webhook(secret: Secret, intake: AcceptsUpdates) -> Route:
    """Return `POST /webhooks/telegram`: stores the update in the inbox, then answers 200.

    Args:
        secret: what setWebhook was told; compared in constant time with the header of each request.
        intake: where updates go.
    """
    expected = secret.reveal().encode()

    async def receive(request: Request) -> Response:
        given = request.headers.get(TELEGRAM_SECRET_HEADER, "").encode()
        if not hmac.compare_digest(given, expected):
            journal.warning(
                "webhook.forged", message="a Telegram webhook without the right secret was refused"
            )
            return _answer("telegram", "unauthorised")
        try:
            update = json.loads(await read_body(request))
            if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
                raise ValueError("no update_id")  # noqa: TRY004  one kind of garbage, one answer
        except BodyTooLarge:
            return _answer("telegram", "too_large")
        except ClientDisconnect:
            return _answer("telegram", "malformed")
        except ValueError:
            return _answer("telegram", "malformed", error="the body is not a Telegram update")
        try:
            await intake.accept(update)
        except (InboxUnavailable, DatabaseError):
            return _answer("telegram", "unavailable")
        return _answer("telegram", "ok")

    return Route("/webhooks/telegram", receive, methods=["POST"])


def cryptopay_webhook(token: Secret, settle: Settle) -> Route:
    """Return `POST /webhooks/cryptopay`: checks the signature over the raw body, settles the charge, answers.

    Args:
        token: the app's API token; the signature's key is its SHA-256.
        settle: settles one charge and returns after the commit.
    """

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request)
        except BodyTooLarge:
            return _answer("cryptopay", "too_large")
        except ClientDisconnect:
            return _answer("cryptopay", "malformed")
        signature = request.headers.get(cryptopay.SIGNATURE_HEADER, "")
        if not cryptopay.verify_signature(token.reveal(), body, signature):
            journal.warning(
                "webhook.forged", message="a Crypto Pay webhook with a wrong signature was refused"
            )
            return _answer("cryptopay", "unauthorised")
        try:
            charge = cryptopay.parse_webhook(body)
        except MalformedWebhook as error:
            journal.warning("webhook.malformed", message=f"a signed Crypto Pay webhook is malformed: {error}")
            return _answer("cryptopay", "malformed", error=str(error))
        if not isinstance(charge, Charge):
            return _answer("cryptopay", "ignored")
        try:
            result = await settle(charge)
        except DatabaseError as error:
            journal.warning(
                "webhook.deferred",
                message=f"Crypto Pay's webhook was put off, it will come again: {error}",
                provider="cryptopay",
            )
            return _answer("cryptopay", "unavailable")
        return _answer("cryptopay", "ok", outcome=result.outcome.value)

    return Route("/webhooks/cryptopay", receive, methods=["POST"])
