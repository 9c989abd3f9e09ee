"""Providers for tests: a fake of the way out that answers by a function, and orders to give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import trio
import trio.lowlevel
from attrs import define, field, frozen

from vpnd.config import Secret
from vpnd.database.database import Database
from vpnd.payments.base import InvoiceOrder, RefundOrder
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.settle import settle_charge
from vpnd.payments.watcher import ask_about_invoices
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.http import HttpResponse
from vpnd.shop.settlement import SettlementResult

TOKEN = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
SHOP_ID = "100500"
SECRET_KEY = "test_a-key-that-must-not-be-told"
SINCE = datetime(2026, 11, 23, 12, tzinfo=UTC)

#: Of an operation and what it was asked: a status and a body, as JSON or as raw bytes.
Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]


@frozen
class Call:
    """One request as it left."""

    operation: str
    method: str
    url: str
    asked: dict[str, Any]
    headers: Mapping[str, str]


@define
class FakeHttp:
    """Answers each request by a function of operation and parameters, and refuses to be called from inside a scope."""

    answer: Answer
    deadline: float
    headers: dict[str, str] = field(factory=dict)
    calls: list[Call] = field(factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def request(
        self, boundary: str, operation: str, method: str, url: str, *, deadline: float, headers: Mapping[str, str],
        json: dict[str, Any] | None = None, params: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        refuse_if_held("the fake")
        assert deadline == self.deadline
        asked = dict(json or params or {})
        self.calls.append(Call(operation, method, url, asked, headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.lowlevel.checkpoint()
            status, body = self.answer(operation, {"url": url, **asked} if method == "GET" else asked)
        finally:
            self.at_once -= 1
        return HttpResponse(status, self.headers, body if isinstance(body, bytes) else _bytes(body))


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def cryptopay(
    answer: Answer, headers: dict[str, str] | None = None, **options: Any
) -> tuple[CryptoPay, FakeHttp]:
    """A Crypto Pay client over a fake."""
    http = FakeHttp(answer, 10.0, headers or {})
    return CryptoPay(http, Secret(TOKEN), "https://pay/api/", **options), http  # type: ignore[arg-type]  # a fake


def yookassa(answer: Answer, headers: dict[str, str] | None = None) -> tuple[YooKassa, FakeHttp]:
    """A YooKassa client over a fake."""
    http = FakeHttp(answer, 30.0, headers or {})
    return YooKassa(http, SHOP_ID, Secret(SECRET_KEY), "https://yoo/v3/"), http  # type: ignore[arg-type]  # a fake


def invoice_order(**changes: Any) -> InvoiceOrder:
    """An order of 199 roubles for an hour."""
    values: dict[str, Any] = {
        "key": "pabc:1", "payload": "pabc", "amount": 19900, "currency": "RUB", "description": "A month",
        "lifetime": 3600, "expires_at": SINCE,
    }  # fmt: skip
    return InvoiceOrder(**(values | changes))


def refund_order(**changes: Any) -> RefundOrder:
    """All of 199 roubles goes back."""
    values: dict[str, Any] = {
        "key": "refund:1", "charge_id": "17", "amount": 19900, "currency": "RUB", "whole": True, "telegram_id": 1001,
        "description": "As you asked", "details": {"amount": "199.00", "paid_asset": "TON", "paid_amount": "1.5"},
    }  # fmt: skip
    return RefundOrder(**(values | changes))


@frozen
class CheckReport:
    """One round of a watcher: how many invoices were asked about, were paid and are settled, can no longer be paid."""

    checked: int
    paid: int
    expired: int


async def check_invoices(
    db: Database,
    provider: Any,
    limit: int = 100,
    *,
    on_commit: Sequence[Callable[[SettlementResult], None]] = (),
) -> CheckReport:
    """One round of a provider's watcher, which asks and then settles."""
    asked = await ask_about_invoices(db, provider, limit)
    for charge in asked.paid:
        await settle_charge(db, charge, on_commit=on_commit)
    return CheckReport(asked.checked, len(asked.paid), asked.expired)
