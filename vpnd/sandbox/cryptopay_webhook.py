"""Tells an app about paid invoices: signed, and again and again until somebody says 2xx.

The signature is HMAC-SHA256 over the very bytes of the body; its key is the SHA-256 of the token, as raw bytes. Attempts go on
with growing delays, seventeen in all; then the webhook is switched off, and only getInvoices still knows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.courier import Courier, Delivery


def signature(token: str, body: bytes) -> str:
    """The `crypto-pay-api-signature` of a body: lower-case hex."""
    return hmac.new(hashlib.sha256(token.encode()).digest(), body, hashlib.sha256).hexdigest()


class PaidInvoiceCourier(Courier):
    """Delivers `invoice_paid` messages; lives in `run()`."""

    def __init__(self, clock: SandboxClock, token: str) -> None:
        super().__init__()
        self._clock = clock
        self._token = token

    def send(self, invoice_id: int, invoice: dict[str, Any]) -> Delivery | None:
        """Begin to deliver a paid invoice; None when there is no webhook."""
        message = {
            "update_id": self.numbers + 1,
            "update_type": "invoice_paid",
            "request_date": self._clock.iso(),
            "payload": invoice,
        }
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"crypto-pay-api-signature": signature(self._token, body)}
        return self.post(body, {"invoice_id": invoice_id}, headers)

    def gave_up(self, delivery: Delivery) -> None:
        """Nobody took it: nothing is told any more."""
        self.switched_off = True
