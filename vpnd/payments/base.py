"""What all payment providers have in common, and the one place where their failures get our names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from attrs import frozen

from vpnd.runtime.http import HttpError, HttpResponse
from vpnd.shop.purchases import Purchase

__all__ = [
    "MalformedWebhook",
    "NewInvoice",
    "PaymentBusy",
    "PaymentError",
    "PaymentForbidden",
    "PaymentRejected",
    "PaymentUnavailable",
    "Provider",
]

_BUSY_DEFAULT: Final = 5.0  # seconds, when a provider says 429 and not for how long
_BUSY_CAP: Final = 300.0  # seconds; a longer Retry-After is a mistake or an attack


class PaymentError(Exception):
    """A provider did not do what it was asked to."""


class PaymentUnavailable(PaymentError):
    """No usable answer: out of reach, out of time, or a fault of the provider's. Whether it acted is unknown."""

    #: Tells a worker that the provider is away, and not that one item is at fault.
    boundary_down = True


class PaymentBusy(PaymentUnavailable):
    """Asked too often; nothing was done. Ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class PaymentRejected(PaymentError):
    """The provider understood and refuses. `name` is its own word, `code` the number beside it."""

    def __init__(self, message: str, *, code: int, name: str) -> None:
        self.code = code
        self.name = name
        super().__init__(message)


class PaymentForbidden(PaymentRejected):
    """The token is wrong, or the app is suspended or may not do this: an operator has to act."""


class MalformedWebhook(PaymentError):
    """A body with a good signature is not what the protocol says; `field` is where."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


@frozen
class NewInvoice:
    """An invoice a provider has just made. `amount` in minor units; `expires_at` is business time."""

    provider: str
    external_id: str
    url: str
    currency: str
    amount: int
    expires_at: datetime


class Provider(Protocol):
    """A provider whose invoices are made by asking it."""

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        ...

    async def create_invoice(self, purchase: Purchase, *, description: str) -> NewInvoice:
        """Make an invoice for a purchase that carries its public id. Raises PaymentError."""
        ...


@contextmanager
def provider_errors(provider: str, operation: str) -> Iterator[None]:
    """Give transport errors our names."""
    try:
        yield
    except HttpError as error:
        raise PaymentUnavailable(f"{provider} {operation}: {error.reason}") from error


def read_envelope(provider: str, operation: str, response: HttpResponse) -> Any:
    """The `result` of a Crypto Pay style answer, `{"ok": true, "result": …}`.

    Raises PaymentBusy, PaymentForbidden, PaymentRejected or PaymentUnavailable by what the answer says. A 5xx
    may come with a body that is no JSON; numbers with a point are read as Decimal, never as float.
    """
    what = f"{provider} {operation}"
    if response.status == 429:
        raise PaymentBusy(f"{what}: asked too often", _retry_after(response.headers))
    if response.status >= 500:
        raise PaymentUnavailable(f"{what}: answered {response.status}")
    try:
        document = json.loads(response.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise PaymentUnavailable(f"{what}: answered {response.status} with a body that is not JSON") from None
    if not isinstance(document, dict):
        raise PaymentUnavailable(f"{what}: answered {response.status} with JSON that is no object")
    if document.get("ok") is True and response.ok:
        return document.get("result")
    raise _refused(what, response.status, document.get("error"))


def _refused(what: str, status: int, error: object) -> PaymentRejected:
    name, code = "UNKNOWN", status
    if isinstance(error, dict):
        name = str(error.get("name", name))[:64]
        code = error["code"] if isinstance(error.get("code"), int) else status
    # 423: Crypto Pay has suspended the app.
    kind = PaymentForbidden if status in (401, 403, 423) or code in (401, 403, 423) else PaymentRejected
    return kind(f"{what}: refused with {name} ({code})", code=code, name=name)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header; the other form, a date, is not used by our providers."""
    text = headers.get("retry-after", "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return _BUSY_DEFAULT
    return min(float(text), _BUSY_CAP)
