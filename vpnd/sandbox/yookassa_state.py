"""What YooKassa knows about one shop: payments, refunds, and the answers it gave under each idempotence key.

Amounts are exact decimals with two places. Expiry is computed from the sandbox's clock when somebody looks or moves it:
`Shop.expire()` is called first. What changes is noted in `Shop.news`, from which the caller tells the webhook.
"""

from __future__ import annotations

import heapq
import secrets
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import attrs

from vpnd.sandbox.clock import SandboxClock

Json = dict[str, Any]

CURRENCY = "RUB"
"""The shop's own currency, and the only one it takes."""

FEE = Decimal("0.035")
CENT = Decimal("0.01")

CONFIRM_WITHIN = 3600.0
"""Seconds a payment waits for somebody to pay it."""

CAPTURE_WITHIN = 7 * 86_400.0
"""Seconds the shop has to capture a payment: those of a bank card."""

KEY_LIFE = 86_400.0
"""Seconds an idempotence key is remembered."""

CONFIRMATION_URL = "https://yoomoney.ru/checkout/payments/v2/contract?orderId="
"""Where a person pays; the payment's id comes behind it."""

GATEWAY = "100700"

_YEAR_2000 = 946_684_800

METHODS: dict[str, Json] = {
    "bank_card": {
        "title": "Bank card *4444",
        "card": {
            "first6": "555555", "last4": "4444", "expiry_year": "2030", "expiry_month": "12", "card_type": "MasterCard",
            "issuer_country": "RU",
        },
    },
    "sbp": {"title": "SBP", "sbp_operation_id": "1027088AE4CB48CB81287833347A8777"},
    "yoo_money": {"title": "YooMoney wallet 410011758831136", "account_number": "410011758831136"},
}  # fmt: skip
"""What a payment tells of the method it was paid by."""


def payment_of(url: str) -> str | None:
    """The id of the payment that a confirmation URL belongs to; None for any other URL."""
    return url.removeprefix(CONFIRMATION_URL) if url.startswith(CONFIRMATION_URL) else None


def money(value: Decimal, currency: str) -> Json:
    """An amount as it is written."""
    return {"value": f"{value:.2f}", "currency": currency}


@attrs.define
class Refund:
    """Money on its way back to a customer, or there."""

    id: str
    payment_id: str
    amount: Decimal
    currency: str
    created_at: float
    status: str  # pending, succeeded, canceled
    extra: Json
    cancellation: Json | None = None

    def api(self, clock: SandboxClock) -> Json:
        """The `Refund` object."""
        found: Json = {
            "id": self.id,
            "payment_id": self.payment_id,
            "status": self.status,
            "created_at": clock.iso(self.created_at),
            "amount": money(self.amount, self.currency),
            **self.extra,
        }
        return found if self.cancellation is None else found | {"cancellation_details": self.cancellation}


@attrs.define
class Payment:
    """A payment; `extra` holds what the shop gave and gets back: description, metadata and the like."""

    id: str
    amount: Decimal
    currency: str
    created_at: float
    deadline: float  # it is canceled then, unless it moves on
    capture: bool
    return_url: str
    method: str
    extra: Json
    status: str = "pending"  # waiting_for_capture, succeeded, canceled
    paid: bool = False
    method_known: bool = False
    captured_at: float | None = None
    cancellation: Json | None = None
    refunds: list[Refund] = attrs.field(factory=list)

    def refunded(self, *, with_pending: bool = False) -> Decimal:
        """What has gone back; `with_pending`: or may still."""
        counted = {"succeeded", "pending"} if with_pending else {"succeeded"}
        return sum((refund.amount for refund in self.refunds if refund.status in counted), Decimal(0))

    def api(self, clock: SandboxClock, shop_id: str) -> Json:
        """The `Payment` object, with the fields that its status brings."""
        found: Json = {
            "id": self.id,
            "status": self.status,
            "amount": money(self.amount, self.currency),
            "recipient": {"account_id": shop_id, "gateway_id": GATEWAY},
            "created_at": clock.iso(self.created_at),
            "test": True,
            "paid": self.paid,
            "refundable": self.status == "succeeded" and self.refunded(with_pending=True) < self.amount,
            "metadata": {},
            **self.extra,
        }
        if self.method_known:
            found["payment_method"] = {
                "type": self.method, "id": self.id, "saved": False, **METHODS[self.method],
            }  # fmt: skip
            found["authorization_details"] = {"rrn": "603668680243", "three_d_secure": {"applied": True}}
        if self.status == "pending":
            found["confirmation"] = {
                "type": "redirect",
                "return_url": self.return_url,
                "confirmation_url": CONFIRMATION_URL + self.id,
            }
        elif self.status == "waiting_for_capture":
            found["expires_at"] = clock.iso(self.deadline)
        elif self.status == "succeeded":
            income = self.amount - (self.amount * FEE).quantize(CENT, ROUND_HALF_UP)
            found["income_amount"] = money(income, self.currency)
            found["refunded_amount"] = money(self.refunded(), self.currency)
            found["captured_at"] = clock.iso(self.captured_at)
        else:
            found["cancellation_details"] = self.cancellation
        return found


@attrs.frozen
class Answer:
    """What a request under an idempotence key was answered; `request` is its path and its body."""

    request: str
    content: bytes
    at: float


@attrs.frozen
class RefundMode:
    """What becomes of the next refunds: `count` of them, or all."""

    status: str = "succeeded"
    reason: str = "insufficient_funds"
    count: int | None = None


@attrs.define
class Shop:
    """One shop's books."""

    clock: SandboxClock
    shop_id: str
    payments: dict[str, Payment] = attrs.field(factory=dict)
    refunds: dict[str, Refund] = attrs.field(factory=dict)
    answers: dict[str, Answer] = attrs.field(factory=dict)
    refund_mode: RefundMode = attrs.field(factory=RefundMode)
    news: list[tuple[str, Payment | Refund]] = attrs.field(factory=list)
    _deadlines: list[tuple[float, str]] = attrs.field(factory=list)

    def show(self, found: Payment | Refund) -> Json:
        """The object on the wire."""
        return found.api(self.clock, self.shop_id) if isinstance(found, Payment) else found.api(self.clock)

    def _moment(self) -> float:
        """Now, to the millisecond that is written: a filter by a moment that was read finds what has it."""
        return int(self.clock.now() * 1000) / 1000

    def _new_id(self, kind: str) -> str:
        """An id of YooKassa's shape: it begins with the seconds since the year 2000."""
        since = int(self.clock.now()) - _YEAR_2000
        return f"{since:08x}-{kind}-5000-8000-{secrets.token_hex(6)}"

    def _set_deadline(self, payment: Payment, seconds: float) -> None:
        payment.deadline = self._moment() + seconds
        heapq.heappush(self._deadlines, (payment.deadline, payment.id))

    def expire(self) -> None:
        """Cancel what nobody paid or captured in time."""
        reasons = {"pending": "expired_on_confirmation", "waiting_for_capture": "expired_on_capture"}
        now = self.clock.now()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, number = heapq.heappop(self._deadlines)
            payment = self.payments.get(number)
            if payment is not None and payment.deadline == deadline and payment.status in reasons:
                self.cancel(payment, "yoo_money", reasons[payment.status])

    def open(self, amount: Decimal, *, capture: bool, return_url: str, method: str, extra: Json) -> Payment:
        """A new pending payment."""
        payment = Payment(
            id=self._new_id("000f"),
            amount=amount,
            currency=CURRENCY,
            created_at=self._moment(),
            deadline=0.0,
            capture=capture,
            return_url=return_url,
            method=method,
            extra=extra,
        )
        self._set_deadline(payment, CONFIRM_WITHIN)
        self.payments[payment.id] = payment
        return payment

    def pay(self, payment: Payment) -> None:
        """A person has paid; a canceled payment comes to life by that, which only the control asks for."""
        payment.paid = payment.method_known = True
        payment.cancellation = None
        if payment.capture:
            self.capture(payment)
            return
        payment.status = "waiting_for_capture"
        self._set_deadline(payment, CAPTURE_WITHIN)
        self.news.append(("payment.waiting_for_capture", payment))

    def capture(self, payment: Payment) -> None:
        """The money is the shop's."""
        payment.status = "succeeded"
        payment.captured_at = self._moment()
        self.news.append(("payment.succeeded", payment))

    def cancel(self, payment: Payment, party: str, reason: str) -> None:
        """The money stays, or goes back, where it was."""
        payment.status = "canceled"
        payment.paid = False
        payment.cancellation = {"party": party, "reason": reason}
        self.news.append(("payment.canceled", payment))

    def refundable(self, payment: Payment) -> Decimal:
        """What can still go back of a payment."""
        return payment.amount - payment.refunded(with_pending=True)

    def refund(self, payment: Payment, amount: Decimal, extra: Json, mode: RefundMode) -> Refund:
        """A new refund, which becomes what `mode` says; the caller has seen that there is so much to give."""
        refund = Refund(
            id=self._new_id("0015"),
            payment_id=payment.id,
            amount=amount,
            currency=payment.currency,
            created_at=self._moment(),
            status="pending",
            extra=extra,
        )
        self.refunds[refund.id] = refund
        payment.refunds.append(refund)
        if mode.status != "pending":
            self.end_refund(refund, mode)
        return refund

    def end_refund(self, refund: Refund, mode: RefundMode) -> None:
        """A pending refund succeeds or is canceled; of the latter nobody is told."""
        refund.status = mode.status
        if mode.status == "succeeded":
            self.news.append(("refund.succeeded", refund))
        else:
            party = "yoo_money" if mode.reason == "insufficient_funds" else "refund_network"
            refund.cancellation = {"party": party, "reason": mode.reason}

    def take_refund_mode(self) -> RefundMode:
        """The mode of the refund that is made now, one use of it spent."""
        mode = self.refund_mode
        if mode.count is not None:
            left = mode.count - 1
            self.refund_mode = attrs.evolve(mode, count=left) if left > 0 else RefundMode()
        return mode

    def remembered(self, key: str) -> Answer | None:
        """The answer that was given under an idempotence key within the last day."""
        answer = self.answers.get(key)
        if answer is not None and self.clock.now() - answer.at >= KEY_LIFE:
            del self.answers[key]
            return None
        return answer

    def remember(self, key: str, request: str, content: bytes) -> None:
        """Keep the answer of a request under its idempotence key."""
        self.answers[key] = Answer(request, content, self.clock.now())

    def clear(self) -> None:
        """Forget everything."""
        self.payments.clear()
        self.refunds.clear()
        self.answers.clear()
        self.news.clear()
        self._deadlines.clear()
        self.refund_mode = RefundMode()
