"""What YooKassa's payments, refunds and notifications say.

Protocol facts (API v3, the wire format of the `yookassa` SDK 3.13.0): an amount is `{"value": "199.00", "currency":
"RUB"}`; moments are ISO 8601 in UTC. A payment is pending, waiting_for_capture, succeeded or canceled, and carries the
`metadata` it was made with; a refund is pending, succeeded or canceled, the last two for good. A notification is
`{"type": "notification", "event": "payment.succeeded", "object": …}`, is not signed, and can be sent by anybody: its
event and its object's id are all that is read, and what happened is asked of the API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from vpnd.payments.base import Ignored, MalformedWebhook, ProviderRefund, RefundState
from vpnd.payments.reading import (
    amount_text,
    currency_code,
    json_object,
    minor_units,
    moment,
    optional_text,
    some_details,
)
from vpnd.shop.charges import Charge

__all__ = [
    "NAME",
    "PAYMENT_SUCCEEDED",
    "PURCHASE",
    "REFUND_KEY",
    "REFUND_SUCCEEDED",
    "STATUSES",
    "Notification",
    "charge_of_payment",
    "object_id",
    "parse_notification",
    "provider_refund",
    "refund_state",
]

NAME: Final = "yookassa"
PURCHASE: Final = "purchase"  # in a payment's metadata: the purchase's public id
REFUND_KEY: Final = "refund"  # in a refund's metadata: our key of it
PAYMENT_SUCCEEDED: Final = "payment.succeeded"
REFUND_SUCCEEDED: Final = "refund.succeeded"

#: Our word for a payment's status. One that waits for its capture is none of ours: we ask for it at once.
STATUSES: Final[Mapping[str, str]] = {
    "pending": "active",
    "waiting_for_capture": "active",
    "succeeded": "paid",
    "canceled": "expired",
}
_REFUND_STATUSES: Final[Mapping[str, Literal["done", "pending", "refused"]]] = {
    "succeeded": "done",
    "pending": "pending",
    "canceled": "refused",
}

# An id becomes a part of an address: letters, digits and hyphens, as all of YooKassa's are.
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_EVENT: Final = re.compile(r"[a-z_]{1,32}\.[a-z_]{1,32}\Z")


class Notification(NamedTuple):
    """What a notification is about: nothing else of it is believed."""

    event: str
    object_id: str


def parse_notification(raw: bytes) -> Notification | Ignored:
    """What happened to which object, if it is something we act on. Raises MalformedWebhook, which names the field."""
    document = json_object(raw)
    event = document.get("event")
    if not isinstance(event, str) or not _EVENT.match(event):
        raise MalformedWebhook("event", "is missing or no event's name")
    if event not in (PAYMENT_SUCCEEDED, REFUND_SUCCEEDED):
        return Ignored(f"event {event!r}")
    subject = document.get("object")
    if not isinstance(subject, dict):
        raise MalformedWebhook("object", "is missing or no object")
    return Notification(event, object_id(subject, "object"))


def object_id(source: Mapping[str, Any], where: str) -> str:
    """The id of a payment or a refund."""
    value = source.get("id")
    if not isinstance(value, str) or not _ID.match(value):
        raise MalformedWebhook(f"{where}.id", "is missing or no id")
    return value


def charge_of_payment(payment: Mapping[str, Any], where: str) -> Charge:
    """The charge a payment that succeeded is. Raises MalformedWebhook; `where` is the prefix of the fields it names."""
    payment_id = object_id(payment, where)
    if payment.get("status") != "succeeded":
        raise MalformedWebhook(f"{where}.status", "is missing or not 'succeeded'")
    text, currency = _amount(payment.get("amount"), f"{where}.amount")
    metadata = _part(payment, "metadata")
    return Charge(
        provider=NAME,
        charge_id=payment_id,
        amount=minor_units(text, currency),
        currency=currency,
        amount_text=text,
        invoice_external_id=payment_id,
        payload=optional_text(metadata.get(PURCHASE), f"{where}.metadata.{PURCHASE}"),
        paid_at=moment(payment.get("captured_at"), f"{where}.captured_at"),
        details=_details(payment),
    )


def provider_refund(refund: Mapping[str, Any], where: str) -> ProviderRefund:
    """A refund that was made. Raises MalformedWebhook."""
    refund_id = object_id(refund, where)
    text, currency = _amount(refund.get("amount"), f"{where}.amount")
    return ProviderRefund(
        external_id=refund_id,
        charge_id=optional_text(refund.get("payment_id"), f"{where}.payment_id"),
        key=optional_text(_part(refund, "metadata").get(REFUND_KEY), f"{where}.metadata.{REFUND_KEY}"),
        amount=minor_units(text, currency),
        currency=currency,
        amount_text=text,
        at=moment(refund.get("created_at"), f"{where}.created_at"),
    )


def refund_state(refund: Mapping[str, Any], where: str) -> RefundState:
    """How a refund stands; a cancelled one tells why. Raises MalformedWebhook."""
    refund_id, word = object_id(refund, where), refund.get("status")
    status = _REFUND_STATUSES.get(word) if isinstance(word, str) else None
    if status is None:
        raise MalformedWebhook(f"{where}.status", "is missing or not known")
    reason = _part(refund, "cancellation_details").get("reason")
    return RefundState(refund_id, status, str(reason or "unknown")[:64] if status == "refused" else None)


def _part(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an object; an empty one where there is none."""
    part = source.get(name)
    return part if isinstance(part, dict) else {}


def _amount(value: object, field: str) -> tuple[str, str]:
    """An amount's text and currency."""
    if not isinstance(value, dict):
        raise MalformedWebhook(field, "is missing or no object")
    return (
        amount_text(value.get("value"), f"{field}.value"),
        currency_code(value.get("currency"), f"{field}.currency"),
    )


def _details(payment: Mapping[str, Any]) -> dict[str, Any]:
    """How it was paid, what of it reaches the shop, whether it is a test; nothing of a card or its holder."""
    told = {
        "payment_method": _part(payment, "payment_method").get("type"),
        "income_amount": _part(payment, "income_amount").get("value"),
        # The bank's own number of the operation, which a cardholder's bank asks for.
        "rrn": _part(payment, "authorization_details").get("rrn"),
    }
    flags = {name: payment[name] for name in ("test", "refundable") if isinstance(payment.get(name), bool)}
    return {**some_details(told, tuple(told)), **flags}
