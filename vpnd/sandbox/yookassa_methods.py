"""The methods of YooKassa's API v3, every parameter judged.

Source: the wire format of YooKassa's own Python SDK 3.13.0 and the published documentation. The descriptions of errors are
YooKassa's where they are known, and their style elsewhere. This shop is stricter than needed where the real one's leniency is
not known: what it takes, the real one takes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import attrs

from vpnd.sandbox.yookassa_state import CURRENCY, METHODS, Json, Payment, Refund, Shop

MAX_LIMIT = 100
DEFAULT_LIMIT = 10
MAX_DESCRIPTION = 128
MAX_REFUND_DESCRIPTION = 250
MAX_METADATA = 16
MAX_METADATA_NAME = 32
MAX_METADATA_VALUE = 512
MAX_RETURN_URL = 2048

PAYMENT_FIELDS = frozenset(
    {
        "amount", "capture", "client_ip", "confirmation", "description", "merchant_customer_id", "metadata",
        "payment_method_data", "receipt", "save_payment_method",
    }
)  # fmt: skip
"""What a new payment may carry; receipts and the customer's address are taken and not judged."""

PAYMENT_STATUSES = frozenset({"pending", "waiting_for_capture", "succeeded", "canceled"})
REFUND_STATUSES = frozenset({"pending", "succeeded", "canceled"})

Method = Callable[[Shop, Json, str], Json]
"""A method: it gets the shop, the call's values, and the id in its path ("" without one)."""

_AMOUNT = re.compile(r"[0-9]{1,10}\.[0-9]{2}")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "gte": lambda left, right: left >= right,
    "gt": lambda left, right: left > right,
    "lte": lambda left, right: left <= right,
    "lt": lambda left, right: left < right,
}


class YooKassaError(Exception):
    """A refusal: an HTTP status and YooKassa's error object."""

    def __init__(self, status: int, code: str, description: str, parameter: str | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description
        self.parameter = parameter


def invalid(parameter: str, why: str) -> YooKassaError:
    """400 invalid_request about this parameter."""
    return YooKassaError(400, "invalid_request", why, parameter)


def not_found(kind: str) -> YooKassaError:
    """404 for a payment or a refund that is not there."""
    why = f"Incorrect {kind}_id. {kind.capitalize()} doesn't exist or access denied."
    return YooKassaError(404, "not_found", why, f"{kind}_id")


def read_amount(values: Json) -> Decimal:
    """`amount`; raises YooKassaError for what is not a positive sum of the shop's currency with two decimals."""
    amount = values.get("amount")
    if not isinstance(amount, dict):
        raise invalid("amount", "Amount is required")
    if amount.get("currency") != CURRENCY:
        raise invalid("amount.currency", f"Incorrect currency. The shop's currency is {CURRENCY}")
    value = amount.get("value")
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise invalid("amount.value", "Incorrect amount: a decimal string with two decimals is needed")
    if Decimal(value) <= 0:
        raise invalid("amount.value", "Incorrect amount: it must be greater than zero")
    return Decimal(value)


def _text(values: Json, name: str, limit: int) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit:
        raise invalid(name, f"Incorrect {name}: at most {limit} characters")
    return value


def _flag(values: Json, name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise invalid(name, f"Incorrect {name}: true or false is needed")
    return value


def _metadata(values: Json) -> Json | None:
    given = values.get("metadata")
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > MAX_METADATA:
        raise invalid("metadata", f"Incorrect metadata: at most {MAX_METADATA} keys")
    for name, value in given.items():
        if len(name) > MAX_METADATA_NAME:
            raise invalid("metadata", f"Incorrect metadata: a key has at most {MAX_METADATA_NAME} characters")
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE:
            raise invalid(
                "metadata", f"Incorrect metadata: a value is at most {MAX_METADATA_VALUE} characters"
            )
    return dict(given)


def _no_others(values: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse what this sandbox does not know; an empty list is nothing, and the SDK sends some with every request."""
    unknown = sorted({name for name, value in values.items() if value not in (None, [])} - set(known))
    if unknown:
        raise invalid(unknown[0], f"Unknown parameter {unknown[0]}")


def _return_url(values: Json) -> str:
    confirmation = values.get("confirmation")
    if not isinstance(confirmation, dict):
        raise invalid("confirmation", "Confirmation is required")
    if confirmation.get("type") != "redirect":
        raise invalid("confirmation.type", "This sandbox knows the confirmation type redirect only")
    url = confirmation.get("return_url")
    if not isinstance(url, str) or len(url) > MAX_RETURN_URL:
        raise invalid("confirmation.return_url", "Return URL is required")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise invalid("confirmation.return_url", "Incorrect return URL")
    return url


def _method(values: Json) -> str:
    data = values.get("payment_method_data")
    if data is None:
        return "bank_card"  # the person chooses on YooKassa's page; this one always chooses a card
    if not isinstance(data, dict) or data.get("type") not in METHODS:
        raise invalid("payment_method_data.type", "Payment method is not available")
    return str(data["type"])


def _given(**values: Any) -> Json:
    return {name: value for name, value in values.items() if value is not None}


# ---------------------------------------------------------------------------- payments


def create_payment(shop: Shop, values: Json, number: str) -> Json:
    """A new payment; without `capture` it will wait for the shop when it is paid."""
    _no_others(values, PAYMENT_FIELDS)
    payment = shop.open(
        read_amount(values),
        capture=_flag(values, "capture"),
        return_url=_return_url(values),
        method=_method(values),
        extra=_given(
            description=_text(values, "description", MAX_DESCRIPTION),
            metadata=_metadata(values),
            merchant_customer_id=_text(values, "merchant_customer_id", 200),
        ),
    )
    return shop.show(payment)


def _payment(shop: Shop, number: str) -> Payment:
    payment = shop.payments.get(number)
    if payment is None:
        raise not_found("payment")
    return payment


def get_payment(shop: Shop, values: Json, number: str) -> Json:
    """One payment."""
    return shop.show(_payment(shop, number))


def capture_payment(shop: Shop, values: Json, number: str) -> Json:
    """Take the money of a payment that waits for it, or a part; the rest goes back."""
    _no_others(values, {"amount", "receipt"})
    payment = _payment(shop, number)
    if payment.status != "waiting_for_capture":
        raise invalid("payment_id", f"Payment can not be captured: its status is {payment.status}")
    if values.get("amount") is not None:
        amount = read_amount(values)
        if amount > payment.amount:
            raise invalid("amount", "Incorrect amount: it is greater than the payment's")
        payment.amount = amount
    shop.capture(payment)
    return shop.show(payment)


def cancel_payment(shop: Shop, values: Json, number: str) -> Json:
    """Let go of a payment that waits to be captured; one that nobody paid yet cannot be canceled."""
    _no_others(values, ())
    payment = _payment(shop, number)
    if payment.status != "waiting_for_capture":
        raise invalid("payment_id", f"Payment can not be canceled: its status is {payment.status}")
    shop.cancel(payment, "merchant", "canceled_by_merchant")
    return shop.show(payment)


def list_payments(shop: Shop, values: Json, number: str) -> Json:
    """Payments, newest first."""
    filters = _Filters.read(values, moments=("created_at", "captured_at"), statuses=PAYMENT_STATUSES)
    return filters.page(shop, list(shop.payments.values()))


# ---------------------------------------------------------------------------- refunds


def create_refund(shop: Shop, values: Json, number: str) -> Json:
    """Give money back; not more than is left of what was paid."""
    _no_others(values, {"amount", "description", "metadata", "payment_id", "receipt"})
    if not isinstance(values.get("payment_id"), str):
        raise invalid("payment_id", "Payment id is required")
    amount = read_amount(values)
    payment = _payment(shop, values["payment_id"])
    if payment.status != "succeeded":
        raise invalid("payment_id", f"Payment can not be refunded: its status is {payment.status}")
    extra = _given(
        description=_text(values, "description", MAX_REFUND_DESCRIPTION), metadata=_metadata(values)
    )
    if amount > shop.refundable(payment):
        raise invalid("amount", "Incorrect amount: it is greater than what is left of the payment")
    return shop.show(shop.refund(payment, amount, extra, shop.take_refund_mode()))


def get_refund(shop: Shop, values: Json, number: str) -> Json:
    """One refund."""
    refund = shop.refunds.get(number)
    if refund is None:
        raise not_found("refund")
    return shop.show(refund)


def list_refunds(shop: Shop, values: Json, number: str) -> Json:
    """Refunds, newest first."""
    filters = _Filters.read(values, moments=("created_at",), statuses=REFUND_STATUSES, others=("payment_id",))
    return filters.page(shop, list(shop.refunds.values()))


def get_me(shop: Shop, values: Json, number: str) -> Json:
    """The shop."""
    return {
        "account_id": shop.shop_id,
        "status": "enabled",
        "test": True,
        "fiscalization": {"enabled": False},
        "fiscalization_enabled": False,
        "payment_methods": list(METHODS),
    }


# ---------------------------------------------------------------------------- lists


@attrs.frozen
class _Filters:
    """What a list is asked for."""

    moments: list[tuple[str, str, float]]  # field, comparison, with
    equal: Json
    limit: int
    cursor: str | None

    @classmethod
    def read(
        cls, values: Json, *, moments: tuple[str, ...], statuses: frozenset[str], others: tuple[str, ...] = ()
    ) -> _Filters:
        """Judge a query."""
        ranges = {f"{field}.{how}": (field, how) for field in moments for how in _COMPARE}
        _no_others(values, {*ranges, "status", "limit", "cursor", *others})
        if "status" in values and values["status"] not in statuses:
            raise invalid("status", "Incorrect status")
        limit = str(values.get("limit", DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= MAX_LIMIT):
            raise invalid("limit", f"Incorrect limit: 1 to {MAX_LIMIT}")
        return cls(
            [(*ranges[name], _read_moment(name, values[name])) for name in values if name in ranges],
            {name: values[name] for name in ("status", *others) if name in values},
            int(limit),
            values.get("cursor"),
        )

    def _matches(self, item: Payment | Refund) -> bool:
        for field, how, moment in self.moments:
            found = getattr(item, field)
            if found is None or not _COMPARE[how](found, moment):
                return False
        return all(getattr(item, name) == value for name, value in self.equal.items())

    def page(self, shop: Shop, items: list[Any]) -> Json:
        """One page of `items` (oldest first), and the cursor of the next when there is one.

        A cursor names the item that the next page begins with: what comes into being meanwhile moves nothing.
        """
        items.reverse()
        begin = 0
        if self.cursor is not None:
            numbers = [item.id for item in items]
            if self.cursor not in numbers:
                raise invalid("cursor", "Incorrect cursor")
            begin = numbers.index(self.cursor)
        found = [item for item in items[begin:] if self._matches(item)]
        page: Json = {"type": "list", "items": [shop.show(item) for item in found[: self.limit]]}
        if len(found) > self.limit:
            page["next_cursor"] = found[self.limit].id
        return page


def _read_moment(name: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name, f"Incorrect {name}: a moment in ISO 8601 is needed") from None
    if moment.tzinfo is None:
        raise invalid(name, f"Incorrect {name}: a time zone is needed")
    return moment.timestamp()
