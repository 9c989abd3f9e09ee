"""YooKassa: payments by bank card and whatever else the shop has switched on, on a page of YooKassa's own.

Protocol facts (API v3, the wire format of the `yookassa` SDK 3.13.0): HTTP Basic with shop id and secret key; a POST
carries an `Idempotence-Key` of at most 64 characters, under which YooKassa answers with the same object for 24 hours. A
refusal is 4xx with `{"type": "error", "code", "description", "parameter"}`; after a 5xx nobody knows, and the same key
is asked again. Payments are asked about one by one, and lists come newest first, at most 100 a page, with a cursor.

A payment is paid once, so its id is both the invoice's and the charge's. Notifications are not signed
(`yookassa_objects`): what they say is read again here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

import trio

from vpnd.config import Secret
from vpnd.payments.base import (
    ChargePage,
    InvoiceOrder,
    InvoiceState,
    MalformedWebhook,
    NewInvoice,
    PaymentError,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    ProviderRefund,
    RefundOrder,
    RefundPage,
    RefundState,
    provider_errors,
    read_object,
)
from vpnd.payments.reading import instant_text
from vpnd.payments.yookassa_objects import (
    NAME,
    PURCHASE,
    REFUND_KEY,
    STATUSES,
    Notification,
    charge_of_payment,
    object_id,
    parse_notification,
    provider_refund,
    refund_state,
)
from vpnd.runtime.http import HttpClient
from vpnd.runtime.journal import get_journal
from vpnd.shop.charges import Charge
from vpnd.shop.money import Money, format_decimal

__all__ = ["NAME", "Notification", "YooKassa", "parse_notification"]

DEADLINE: Final = 30.0  # seconds a call, from when its turn has come
AT_ONCE: Final = 4  # questions about payments that are under way together
PAGE: Final = 100  # items of a list; YooKassa gives no more

_DESCRIPTION_LIMIT: Final = 128  # characters, of a payment
_REFUND_DESCRIPTION_LIMIT: Final = 250
# Where a payer goes who has no page of ours to go back to: the redirect has to lead somewhere.
_TELEGRAM: Final = "https://t.me/"

# Refusals of a refund that stay refusals, by the error's code: the request makes no sense for this payment (more than
# is left of it, too old, a method that cannot be refunded, partly refunded only as a whole), or there is no such payment.
_FINAL_REFUSALS: Final = ("invalid_request", "not_found")

_journal = get_journal("payments")
T = TypeVar("T")


class YooKassa:
    """The client, a `Provider`. One for the process; it keeps nothing but the keys."""

    def __init__(
        self,
        http: HttpClient,
        shop_id: str,
        secret_key: Secret,
        api_base: str = "https://api.yookassa.ru/v3",
        *,
        return_url: str = _TELEGRAM,
    ) -> None:
        """Keep what is needed; nothing is asked yet.

        Args:
            http: the way out.
            shop_id: the shop's number.
            secret_key: its key.
            api_base: where the API is.
            return_url: where a payer is sent back to when an order does not say.
        """
        self._http = http
        self._shop_id = shop_id
        self._secret_key = secret_key
        self._base = api_base.rstrip("/")
        self._return_url = return_url

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        return NAME

    async def create_invoice(self, order: InvoiceOrder) -> NewInvoice:
        """Make a payment that carries the order's payload and is taken as soon as it is confirmed.

        Repeated with the same key within a day, it is the same payment. A payment that is over by then cannot be
        offered any more and is PaymentRejected: another key makes another one. Raises PaymentError.
        """
        payment = await self._post(
            "create_payment",
            "/payments",
            order.key,
            {
                "amount": _money(order.amount, order.currency),
                "capture": True,
                "confirmation": {"type": "redirect", "return_url": order.return_url or self._return_url},
                "description": order.description[:_DESCRIPTION_LIMIT],
                "metadata": {PURCHASE: order.payload},
            },
        )
        status, confirmation = payment.get("status"), payment.get("confirmation")
        if isinstance(status, str) and STATUSES.get(status, "active") != "active":
            raise PaymentRejected(
                f"yookassa create_payment: the payment of this key is {status}", code=200, name=status
            )
        url = confirmation.get("confirmation_url") if isinstance(confirmation, dict) else None
        payment_id = _checked_id("create_payment", payment)
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise PaymentUnavailable("yookassa create_payment: the answer has no address to pay at")
        return NewInvoice(NAME, payment_id, url, order.currency, order.amount, order.expires_at)

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        """How payments stand now, in the order they were asked for; those the shop does not have are missing.

        At most four are asked about at once. One that cannot be read is journalled, has the status "unreadable",
        and does not spoil the others. The first PaymentError ends it and is raised.
        """
        states: dict[str, InvoiceState] = {}
        failures: list[PaymentError] = []
        todo = iter(dict.fromkeys(external_ids))

        async def ask(scope: trio.CancelScope) -> None:
            for payment_id in todo:
                try:
                    payment = await self._find("get_payment", f"/payments/{payment_id}")
                except PaymentError as error:
                    failures.append(error)
                    scope.cancel()
                    return
                if payment is not None:
                    states[payment_id] = _state_of(payment_id, payment)

        async with trio.open_nursery() as nursery:
            for _ in range(min(AT_ONCE, len(external_ids))):
                nursery.start_soon(ask, nursery.cancel_scope)
        if failures:
            raise failures[0]
        return [states[one] for one in dict.fromkeys(external_ids) if one in states]

    async def read_charge(self, payment_id: str) -> Charge | None:
        """The charge a payment is, as the API tells; None if the shop has no such payment or it is not paid.

        Raises PaymentError; PaymentUnavailable also for a paid one that cannot be read.
        """
        payment = await self._find("get_payment", f"/payments/{payment_id}")
        if payment is None or payment.get("status") != "succeeded":
            return None
        return _or_unavailable("get_payment", charge_of_payment, payment)

    async def read_refund(self, refund_id: str) -> ProviderRefund | None:
        """A refund that was made, as the API tells; None if there is none or it is not made. Raises PaymentError."""
        refund = await self._find("get_refund", f"/refunds/{refund_id}")
        if refund is None or refund.get("status") != "succeeded":
            return None
        return _or_unavailable("get_refund", provider_refund, refund)

    async def refund(self, order: RefundOrder) -> RefundState:
        """Give money back, once for the order's key, to the card or account it came from.

        YooKassa forgets a key after a day, and we do not: the key stands in the refund's metadata, too, and the
        payment's refunds are looked through before one is asked for. So is a pending one followed up.

        Refused for good is what was cancelled, with its reason ("insufficient_funds", "rejected_by_payee" …; asking
        again takes another key), and a request YooKassa calls invalid: more than is left, too old, no way back by
        this method. 401 and 403 are PaymentForbidden: an operator has to act. Any other refusal is raised as
        PaymentRejected, for a person to read. Raises PaymentError.
        """
        made = await self._refund_by_key(order)
        if made is not None:
            return _or_unavailable("get_refunds", refund_state, made)
        try:
            made = await self._post(
                "create_refund",
                "/refunds",
                order.key,
                {
                    "payment_id": order.charge_id,
                    "amount": _money(order.amount, order.currency),
                    "description": order.description[:_REFUND_DESCRIPTION_LIMIT],
                    "metadata": {REFUND_KEY: order.key},
                },
            )
        except PaymentForbidden:
            raise
        except PaymentRejected as error:
            code, _, parameter = error.name.partition(":")
            # A key that was used with other words says nothing of the refund that was made under it.
            if code not in _FINAL_REFUSALS or parameter == "Idempotence-Key":
                raise
            return RefundState("", "refused", str(error)[:256])
        return _or_unavailable("create_refund", refund_state, made)

    async def _refund_by_key(self, order: RefundOrder) -> dict[str, Any] | None:
        """The refund of a payment that carries the order's key, if it was made."""
        cursor: str | None = None
        while True:
            items, cursor = await self._list(
                "get_refunds", "/refunds", {"payment_id": order.charge_id}, cursor
            )
            for item in items:
                metadata = item.get("metadata")
                if isinstance(metadata, dict) and metadata.get(REFUND_KEY) == order.key:
                    return item
            if cursor is None:
                return None

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """A page of the shop's payments captured since a moment. Raises PaymentError."""
        items, following = await self._list(
            "get_payments",
            "/payments",
            {"status": "succeeded", "captured_at.gte": instant_text(since)},
            cursor,
        )
        states = [_state_of(str(item.get("id"))[:64], item) for item in items]
        charges = tuple(state.charge for state in states if state.charge is not None)
        return ChargePage(charges, len(items) - len(charges), following)

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        """A page of the shop's refunds made since a moment, by whomever: also those of YooKassa's own pages.

        Raises PaymentError.
        """
        items, following = await self._list(
            "get_refunds",
            "/refunds",
            {"status": "succeeded", "created_at.gte": instant_text(since)},
            cursor,
        )
        refunds: list[ProviderRefund] = []
        for item in items:
            try:
                refunds.append(provider_refund(item, "items"))
            except MalformedWebhook as error:
                _unreadable("refund", str(item.get("id"))[:64], error)
        return RefundPage(tuple(refunds), following)

    async def _list(
        self, operation: str, path: str, filters: Mapping[str, str], cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The objects of a page, and the cursor of the following one."""
        params: dict[str, Any] = {**filters, "limit": PAGE}
        if cursor is not None:
            params["cursor"] = cursor
        page = await self._call(operation, "GET", path, params=params)
        items, following = page.get("items"), page.get("next_cursor")
        if not isinstance(items, list) or not (following is None or isinstance(following, str)):
            raise PaymentUnavailable(f"yookassa {operation}: the answer has no items or no readable cursor")
        if following is not None and following == cursor:
            raise PaymentUnavailable(f"yookassa {operation}: the page leads to itself")
        return [item if isinstance(item, dict) else {} for item in items], following or None

    async def _find(self, operation: str, path: str) -> dict[str, Any] | None:
        """One object, or None if YooKassa says that there is none by that id."""
        try:
            return await self._call(operation, "GET", path)
        except PaymentRejected as error:
            if error.code == 404 and error.name.startswith("not_found"):
                return None
            raise

    async def _post(self, operation: str, path: str, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(operation, "POST", path, headers={"Idempotence-Key": key}, json=dict(body))

    async def _call(
        self,
        operation: str,
        method: Literal["GET", "POST"],
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        keys = b64encode(f"{self._shop_id}:{self._secret_key.reveal()}".encode()).decode("ascii")
        with provider_errors(NAME, operation):
            response = await self._http.request(
                NAME,
                operation,
                method,
                f"{self._base}{path}",
                deadline=DEADLINE,
                headers={"Authorization": f"Basic {keys}", **(headers or {})},
                params=params,
                json=json,
            )
        return read_object(NAME, operation, response)


def _money(amount: int, currency: str) -> dict[str, str]:
    return {"value": format_decimal(Money(amount, currency)), "currency": currency}


def _checked_id(operation: str, source: Mapping[str, Any]) -> str:
    return _or_unavailable(operation, object_id, source)


def _or_unavailable(
    operation: str, read: Callable[[Mapping[str, Any], str], T], source: Mapping[str, Any]
) -> T:
    """What an answer says, or PaymentUnavailable for one that cannot be read: it is asked for again."""
    try:
        return read(source, "answer")
    except MalformedWebhook as error:
        raise PaymentUnavailable(f"yookassa {operation}: {error}") from error


def _state_of(payment_id: str, payment: Mapping[str, Any]) -> InvoiceState:
    """How a payment stands; "unreadable", with a line in the journal, where that cannot be told."""
    word = payment.get("status")
    status = STATUSES.get(word) if isinstance(word, str) else None
    try:
        if status is None:
            raise MalformedWebhook("status", "is missing or not known")
        charge = charge_of_payment(payment, "payment") if status == "paid" else None
    except MalformedWebhook as error:
        _unreadable("payment", payment_id, error)
        return InvoiceState(payment_id, "unreadable", None)
    return InvoiceState(payment_id, status, charge)


def _unreadable(kind: Literal["payment", "refund"], found_id: str, error: MalformedWebhook) -> None:
    _journal.error(
        "payment.invoice_unreadable" if kind == "payment" else "payment.refund_unreadable",
        message=f"YooKassa reports a {kind} that cannot be read: {error}",
        provider=NAME,
        object=found_id,
    )
