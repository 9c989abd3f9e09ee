"""What all payment providers have in common, and the one place where their failures get our names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

from attrs import frozen

from vpnd.runtime.http import HttpError, HttpResponse
from vpnd.shop.charges import Charge

__all__ = [
    "ChargePage",
    "Ignored",
    "InvoiceOrder",
    "InvoiceState",
    "MalformedWebhook",
    "NewInvoice",
    "PaymentBusy",
    "PaymentError",
    "PaymentForbidden",
    "PaymentRejected",
    "PaymentUnavailable",
    "Provider",
    "ProviderRefund",
    "RefundOrder",
    "RefundPage",
    "RefundState",
    "RefundsUnavailable",
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


class RefundsUnavailable(PaymentRejected):
    """This provider cannot give that money back to who paid it: it has to go to his balance instead."""


@frozen(kw_only=True)
class InvoiceOrder:
    """An invoice that is to be made.

    Attributes:
        key: names this order for ever; a provider that knows idempotency keys makes one invoice for it, whatever is
            lost and repeated. At most 64 characters.
        payload: the purchase's public id: what leads an invoice nobody noted back to its purchase.
        amount, currency: what is asked, in minor units; a fiat currency or a coin.
        lifetime: seconds for which it may be paid.
        expires_at: the same as a moment of business time.
        return_url: where a payer is sent back to, for providers with a page of their own.
    """

    key: str
    payload: str
    amount: int
    currency: str
    description: str
    lifetime: int
    expires_at: datetime
    return_url: str | None = None


@frozen
class NewInvoice:
    """An invoice a provider has just made. `amount` in minor units; `expires_at` is business time."""

    provider: str
    external_id: str
    url: str
    currency: str
    amount: int
    expires_at: datetime


@frozen
class InvoiceState:
    """An invoice as its provider has it now.

    `status` is active, paid, expired (it can no longer be paid) or unreadable; `charge` is there when it is paid.
    """

    external_id: str
    status: str
    charge: Charge | None


@frozen(kw_only=True)
class RefundOrder:
    """Money that is to go back to who paid it.

    Attributes:
        key: names this refund for ever, at most 64 characters: asked twice, the provider pays once.
        charge_id: the charge it is of.
        amount, currency: minor units of the charge's own currency.
        whole: whether this is all of the charge.
        telegram_id: who paid.
        details: what was kept of the charge (`Charge.details`): in which coin it was really paid, for instance.
    """

    key: str
    charge_id: str
    amount: int
    currency: str
    whole: bool
    telegram_id: int
    description: str
    details: Mapping[str, Any]


@frozen
class RefundState:
    """A refund as its provider has it: `status` is done, pending (ask again) or refused (it will not be made)."""

    external_id: str
    status: Literal["done", "pending", "refused"]
    reason: str | None = None


@frozen
class ProviderRefund:
    """A refund that a provider lists: `key` is our key of it, where the provider keeps one.

    `amount` is None where it is no exact number of minor units.
    """

    external_id: str
    charge_id: str | None
    key: str | None
    amount: int | None
    currency: str
    amount_text: str
    at: datetime | None


@frozen
class ChargePage:
    """A page of what a provider says it has taken; `next` leads to the following page, None behind the last."""

    charges: tuple[Charge, ...]
    unreadable: int
    next: str | None


@frozen
class RefundPage:
    """A page of what a provider says it gave back; `next` leads to the following page, None behind the last."""

    refunds: tuple[ProviderRefund, ...]
    next: str | None


@frozen
class Ignored:
    """A webhook that tells nothing we act on."""

    reason: str


class Provider(Protocol):
    """A provider that is asked over HTTP: for invoices, how they stand, refunds, and its own lists.

    Every call is bounded by the provider's ceiling, counted from when its turn has come, and raises PaymentError.
    """

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        ...

    async def create_invoice(self, order: InvoiceOrder) -> NewInvoice:
        """Make an invoice that carries the order's payload."""
        ...

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        """How invoices stand now; those the provider does not know are missing."""
        ...

    async def refund(self, order: RefundOrder) -> RefundState:
        """Give money back; safe to repeat with the same key.

        Raises RefundsUnavailable when this money cannot go back to who paid it, whenever it is asked.
        """
        ...

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """A page of what was paid since a moment (real time), for the reconciliation; `cursor` as the page before says."""
        ...

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        """A page of what was given back since a moment (real time)."""
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
    document = _answered(what, response)
    if document.get("ok") is True and response.ok:
        return document.get("result")
    error = document.get("error")
    name, code = "UNKNOWN", response.status
    if isinstance(error, dict):
        name = str(error.get("name", name))[:64]
        code = error["code"] if isinstance(error.get("code"), int) else code
    raise _refused(what, response.status, code, name)


def read_object(provider: str, operation: str, response: HttpResponse) -> dict[str, Any]:
    """The object a YooKassa style answer is; a refusal is `{"type": "error", "code": "invalid_request", "description": …}`.

    A refusal's `name` is its code, followed by the parameter it is about where one is told
    ("invalid_request:Idempotence-Key"); its own sentence stands in the message. Raises as `read_envelope` does;
    202 (still being worked on) is PaymentUnavailable: ask again with the same key.
    """
    what = f"{provider} {operation}"
    document = _answered(what, response)
    if response.status == 202 or document.get("type") == "processing":
        raise PaymentUnavailable(f"{what}: is still being worked on")
    if response.ok and document.get("type") != "error":
        return document
    name = "UNKNOWN"
    if document.get("type") == "error":
        told = (document.get("code"), document.get("parameter"))
        name = ":".join(one[:64] for one in told if isinstance(one, str)) or name
    sentence = document.get("description")
    raise _refused(
        what, response.status, response.status, name, sentence[:200] if isinstance(sentence, str) else ""
    )


def _answered(what: str, response: HttpResponse) -> dict[str, Any]:
    """The object of an answer that is one, whatever it says; what is none is busy or unavailable."""
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
    return document


def _refused(what: str, status: int, code: int, name: str, sentence: str = "") -> PaymentRejected:
    # 423: Crypto Pay has suspended the app.
    kind = PaymentForbidden if status in (401, 403, 423) or code in (401, 403, 423) else PaymentRejected
    told = f": {sentence}" if sentence else ""
    return kind(f"{what}: refused with {name} ({code}){told}", code=code, name=name)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header; the other form, a date, is not used by our providers."""
    text = headers.get("retry-after", "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return _BUSY_DEFAULT
    return min(float(text), _BUSY_CAP)
