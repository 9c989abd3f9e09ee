"""Webhooks of Telegram and the payment providers.

The answers are a contract with the sender's retry logic: 2xx only after the commit; 5xx (with Retry-After) only when
sending again helps; 401 and 400 for what will never become right. A signature is judged over the raw bytes, before
anything is parsed, and fails closed. Where there is none (YooKassa), nothing is believed but an id, about which the
provider's own API is asked. A body has a bounded size and a bounded time to arrive.

What became of a payment stands in the answer: `{"status": "ok", "outcome": "settled"}`, an `outcome` of "underpaid",
"second_charge" or "held" with its `reason`, or `{"status": "duplicate", "outcome": "already_settled"}`.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeVar

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vpnd.config import Secret
from vpnd.database.errors import DatabaseError
from vpnd.payments import cryptopay
from vpnd.payments.base import (
    Ignored,
    MalformedWebhook,
    PaymentError,
    PaymentRejected,
    ProviderRefund,
)
from vpnd.payments.yookassa import YooKassa, parse_notification
from vpnd.payments.yookassa_objects import PAYMENT_SUCCEEDED, Notification
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop.charges import Charge, Outcome, SettlementResult
from vpnd.telegram.intake import InboxUnavailable

journal = get_journal("web")
T = TypeVar("T")

#: Telegram's updates and Crypto Pay's invoices are a few kB; nobody else has business here.
MAX_BODY: Final = 1 << 20  # bytes

#: Seconds a body may take to arrive.
BODY_DEADLINE: Final = 10.0

#: Seconds after which a sender should try again while the database is away. Telegram honours it (up to 3600).
RETRY_AFTER: Final = 5

#: Notifications about which YooKassa is asked at once. Anybody can send one: a flood waits here, not in everybody's way.
READS_AT_ONCE: Final = 4

#: Seconds a notification waits for its turn to be asked about; it comes again, and the watcher asks by itself.
READ_WAIT: Final = 10.0

#: Anybody can send a forgery: the journal tells of them once in so many seconds, with their number; the metric counts each.
FORGERY_LINES_EVERY: Final = 60.0

TELEGRAM_SECRET_HEADER: Final = "x-telegram-bot-api-secret-token"  # noqa: S105  the header's name, not a secret

#: Settles one charge and returns only after the commit.
Settle = Callable[[Charge], Awaitable[SettlementResult]]

#: Notes one refund that a provider has made, ours or by an operator's hand; returns only after the commit.
Refunded = Callable[[ProviderRefund], Awaitable[None]]


class UnusableBody(Exception):
    """The body of a request cannot be had; `result` says why, as the metric does."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


class AcceptsUpdates(Protocol):
    """The part of the telegram intake that a webhook needs."""

    async def accept(self, update: dict[str, Any]) -> None:
        """Store `update`; return only when it is stored."""


async def read_body(request: Request) -> bytes:
    """Return the raw body of `request`, at most `MAX_BODY` bytes that came within `BODY_DEADLINE` seconds.

    Raises:
        UnusableBody: it is larger, slower, or its sender went away; the rest is not read.
    """
    body = bytearray()
    try:
        with trio.move_on_after(BODY_DEADLINE):
            async with aclosing(request.stream()) as stream:
                async for chunk in stream:
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise UnusableBody("too_large")
            return bytes(body)
    except ClientDisconnect:
        raise UnusableBody("malformed") from None
    raise UnusableBody("too_slow")


#: The HTTP status of each result (the labels of the metric).
STATUS: Final = {
    "ok": 200,
    "duplicate": 200,
    "ignored": 200,
    "forged": 200,
    "malformed": 400,
    "unauthorised": 401,
    "too_slow": 408,
    "too_large": 413,
    "unavailable": 503,
}


def _answer(source: str, result: str, **fields: Any) -> Response:
    metrics.webhook_requests_total.labels(source, result).inc()
    headers = {"Retry-After": str(RETRY_AFTER)} if result == "unavailable" else None
    return JSONResponse({"status": result, **fields}, STATUS[result], headers)


def _settled(source: str, result: SettlementResult) -> Response:
    """The answer to a charge whose settlement is committed: what became of it, and why if it is held."""
    status = "duplicate" if result.outcome is Outcome.ALREADY_SETTLED else "ok"
    reason = {} if result.reason is None else {"reason": result.reason}
    return _answer(source, status, outcome=result.outcome.value, **reason)


class _Seldom:
    """One kind of line that strangers can provoke: they do not get to fill the journal with it."""

    def __init__(self, event: str, provider: str, message: str) -> None:
        self._event = event
        self._provider = provider
        self._message = message
        self._count = 0
        self._told_at = -math.inf

    def tell(self, why: str = "") -> None:
        """Count one more, and tell of it if nothing was told lately; `why` is that of this one."""
        self._count += 1
        now = trio.current_time()
        if now - self._told_at >= FORGERY_LINES_EVERY:
            because = f": {why}" if why else ""
            journal.warning(
                self._event,
                message=f"{self._message}{because} ({self._count} since the last line)",
                provider=self._provider,
                count=self._count,
            )
            self._told_at, self._count = now, 0


def _parse_update(body: bytes) -> dict[str, Any] | None:
    """Return an update, or None for what is none."""
    try:
        update = json.loads(body)
    except (ValueError, RecursionError):
        return None
    number = update.get("update_id") if isinstance(update, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        return None
    return dict(update)


def telegram_webhook(secret: Secret, intake: AcceptsUpdates) -> Route:
    """Return `POST /webhooks/telegram`: stores the update in the inbox, then answers 200.

    Args:
        secret: what setWebhook was told; compared in constant time with the header of each request.
        intake: where updates go.
    """
    expected = secret.reveal().encode()
    forgeries = _Seldom(
        "webhook.forged", "telegram", "a Telegram webhook without the right secret was refused"
    )

    async def receive(request: Request) -> Response:
        given = request.headers.get(TELEGRAM_SECRET_HEADER, "").encode()
        # An empty secret would be a door for everybody; the settings refuse one, and so does this.
        if not expected or not hmac.compare_digest(given, expected):
            forgeries.tell()
            return _answer("telegram", "unauthorised")
        try:
            update = _parse_update(await read_body(request))
        except UnusableBody as error:
            return _answer("telegram", error.result)
        if update is None:
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
    forgeries = _Seldom(
        "webhook.forged", "cryptopay", "a Crypto Pay webhook with a wrong signature was refused"
    )

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request)
        except UnusableBody as error:
            return _answer("cryptopay", error.result)
        signature = request.headers.get(cryptopay.SIGNATURE_HEADER, "")
        if not cryptopay.verify_signature(token.reveal(), body, signature):
            forgeries.tell()
            return _answer("cryptopay", "unauthorised")
        try:
            charge = cryptopay.parse_webhook(body)
        except MalformedWebhook as error:
            journal.warning("webhook.malformed", message=f"a signed Crypto Pay webhook is malformed: {error}")
            return _answer("cryptopay", "malformed", error=str(error))
        if not isinstance(charge, Charge):
            return _answer("cryptopay", "ignored")
        try:
            return _settled("cryptopay", await settle(charge))
        except DatabaseError as error:
            journal.warning(
                "webhook.deferred",
                message=f"Crypto Pay's webhook was put off, it will come again: {error}",
                provider="cryptopay",
            )
            return _answer("cryptopay", "unavailable")

    return Route("/webhooks/cryptopay", receive, methods=["POST"])


def yookassa_webhook(client: YooKassa, settle: Settle, refunded: Refunded | None = None) -> Route:
    """Return `POST /webhooks/yookassa`: asks YooKassa what happened, settles or notes it, answers.

    A notification is not signed. What YooKassa does not confirm is answered 200, so that it is not sent again, and
    told as a forgery; what YooKassa cannot be asked about now is answered 503.

    Args:
        client: who is asked.
        settle: settles one charge and returns after the commit.
        refunded: notes one refund and returns after the commit; without it refunds are ignored.
    """
    forgeries = _Seldom(
        "webhook.forged", "yookassa", "a notification was not believed: YooKassa does not confirm it"
    )
    deferrals = _Seldom("webhook.deferred", "yookassa", "YooKassa's webhook was put off, it will come again")
    turns = trio.CapacityLimiter(READS_AT_ONCE)

    def forged() -> Response:
        forgeries.tell()
        return _answer("yookassa", "forged")

    async def handle(told: Notification) -> Response:
        if told.event == PAYMENT_SUCCEEDED:
            charge = await _in_turn(turns, client.read_charge, told.object_id)
            return forged() if charge is None else _settled("yookassa", await settle(charge))
        if refunded is None:
            return _answer("yookassa", "ignored")
        refund = await _in_turn(turns, client.read_refund, told.object_id)
        if refund is None:
            return forged()
        await refunded(refund)
        return _answer("yookassa", "ok")

    async def receive(request: Request) -> Response:
        try:
            told = parse_notification(await read_body(request))
        except UnusableBody as error:
            return _answer("yookassa", error.result)
        except MalformedWebhook as error:
            return _answer("yookassa", "malformed", error=str(error))
        if isinstance(told, Ignored):
            return _answer("yookassa", "ignored")
        try:
            return await handle(told)
        except (PaymentError, DatabaseError, trio.TooSlowError) as error:
            if isinstance(error, PaymentRejected) and error.name.startswith("invalid_request"):
                return forged()  # no id of YooKassa's; asking about it again is of no use
            # A key that an operator has to mend (PaymentForbidden) is no fault of the notification's either.
            deferrals.tell(str(error) or "too many at once")
            return _answer("yookassa", "unavailable")

    return Route("/webhooks/yookassa", receive, methods=["POST"])


async def _in_turn(turns: trio.CapacityLimiter, read: Callable[[str], Awaitable[T]], object_id: str) -> T:
    """Ask about one object when fewer than `READS_AT_ONCE` are asked about; trio.TooSlowError: no turn in time."""
    with trio.fail_after(READ_WAIT):
        await turns.acquire()
    try:
        return await read(object_id)
    finally:
        turns.release()
