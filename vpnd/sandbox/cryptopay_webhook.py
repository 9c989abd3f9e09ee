"""Tells an app about paid invoices: signed, and again and again until somebody says 2xx.

The signature is HMAC-SHA256 over the very bytes of the body; its key is the SHA-256 of the token, as raw bytes. Attempts go on
with growing delays, seventeen in all; then the webhook is switched off, and only getInvoices still knows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, NoReturn

import attrs
import httpx
import trio

from vpnd.sandbox.clock import SandboxClock

MAX_ATTEMPTS = 17
REQUEST_TIMEOUT = 10.0
KEPT_DELIVERIES = 1000


def signature(token: str, body: bytes) -> str:
    """The `crypto-pay-api-signature` of a body: lower-case hex."""
    return hmac.new(hashlib.sha256(token.encode()).digest(), body, hashlib.sha256).hexdigest()


@attrs.define
class Delivery:
    """One webhook message on its way, with the answers it got so far."""

    id: int
    invoice_id: int
    body: bytes
    answers: list[str] = attrs.field(factory=list)
    done: bool = False

    def api(self) -> dict[str, Any]:
        """For the control API."""
        return {"id": self.id, "invoice_id": self.invoice_id, "answers": self.answers, "done": self.done}


class PaidInvoiceCourier:
    """Delivers `invoice_paid` messages; lives in `run()`."""

    def __init__(self, clock: SandboxClock, token: str) -> None:
        self._clock = clock
        self._token = token
        self._nursery: trio.Nursery | None = None
        self._client: httpx.AsyncClient | None = None
        self._numbers = 0
        self.url: str | None = None
        self.retry_first = 1.0
        self.max_attempts = MAX_ATTEMPTS
        self.switched_off = False
        self.deliveries: list[Delivery] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Deliver for ever; what is on its way at a cancellation is lost, as when a provider forgets."""
        async with (
            httpx.AsyncClient(timeout=REQUEST_TIMEOUT, trust_env=False) as self._client,
            trio.open_nursery() as self._nursery,
        ):
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("sleep_forever returned")

    def send(self, invoice_id: int, invoice: dict[str, Any]) -> Delivery | None:
        """Begin to deliver a paid invoice; None when there is no webhook."""
        if self.url is None or self.switched_off or self._nursery is None:
            return None
        self._numbers += 1
        message = {
            "update_id": self._numbers,
            "update_type": "invoice_paid",
            "request_date": self._clock.iso(),
            "payload": invoice,
        }
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        delivery = Delivery(self._numbers, invoice_id, body)
        self.deliveries.append(delivery)
        del self.deliveries[:-KEPT_DELIVERIES]
        self._nursery.start_soon(self._deliver, delivery)
        return delivery

    async def _deliver(self, delivery: Delivery) -> None:
        for attempt in range(self.max_attempts):
            if self.url is None:
                return
            answer = await self._attempt(self.url, delivery.body)
            delivery.answers.append(answer)
            if answer.startswith("2"):
                delivery.done = True
                return
            if attempt + 1 < self.max_attempts:
                await trio.sleep(self.retry_first * 2**attempt)
        self.switched_off = True

    async def _attempt(self, url: str, body: bytes) -> str:
        if self._client is None:
            raise RuntimeError("the courier is not running")
        headers = {
            "Content-Type": "application/json",
            "crypto-pay-api-signature": signature(self._token, body),
        }
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return str(answer.status_code)
