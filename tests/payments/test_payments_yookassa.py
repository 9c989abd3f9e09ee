"""YooKassa: what is asked, how answers are read, which refusals are final, and that a notification is not believed."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from payments_kit import SECRET_KEY, SHOP_ID, SINCE, Answer, invoice_order, refund_order, yookassa

from vpnd.payments.base import (
    Ignored,
    InvoiceState,
    MalformedWebhook,
    NewInvoice,
    PaymentBusy,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    Provider,
    ProviderRefund,
    RefundState,
)
from vpnd.payments.yookassa import YooKassa, parse_notification
from vpnd.runtime.http import HttpTimeout
from vpnd.runtime.journal import capture
from vpnd.shop.charges import Charge

PAYMENT_ID = "2f1e0d3c-000f-5000-8000-1a2b3c4d5e6f"
REFUND_ID = "2f1e0d3c-0015-5000-8000-1a2b3c4d5e6f"


def payment(**changes: Any) -> dict[str, Any]:
    """A payment that succeeded, with what YooKassa tells of it."""
    found = {
        "id": PAYMENT_ID, "status": "succeeded", "paid": True, "test": False, "refundable": True,
        "amount": {"value": "199.00", "currency": "RUB"}, "income_amount": {"value": "192.03", "currency": "RUB"},
        "captured_at": "2026-11-23T12:00:00.000Z", "metadata": {"purchase": "pabc"},
        "payment_method": {"type": "bank_card", "card": {"last4": "4444"}, "title": "Bank card *4444"},
        "authorization_details": {"rrn": "603668680243"},
    }  # fmt: skip
    return {name: value for name, value in (found | changes).items() if value is not ...}


def new_payment(**changes: Any) -> dict[str, Any]:
    """A payment that waits to be paid."""
    where = {"type": "redirect", "confirmation_url": "https://yoomoney.ru/pay"}
    return payment(status="pending", captured_at=..., confirmation=where) | changes


def refund(**changes: Any) -> dict[str, Any]:
    """A refund that was made."""
    return {
        "id": REFUND_ID, "payment_id": PAYMENT_ID, "status": "succeeded", "created_at": "2026-11-23T12:30:00.000Z",
        "amount": {"value": "199.00", "currency": "RUB"}, "metadata": {"refund": "refund:1"},
    } | changes  # fmt: skip


def error(code: str, parameter: str | None = None, description: str = "No") -> dict[str, Any]:
    """A refusal in YooKassa's form."""
    found = {"type": "error", "id": "e", "code": code, "description": description, "parameter": parameter}
    return {name: value for name, value in found.items() if value is not None}


def always(status: int, body: Any) -> Answer:
    """The same answer to everything."""
    return lambda *_: (status, body)


CHARGE = Charge(
    provider="yookassa", charge_id=PAYMENT_ID, amount=19900, currency="RUB", amount_text="199.00",
    invoice_external_id=PAYMENT_ID, payload="pabc", paid_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    details={
        "payment_method": "bank_card", "income_amount": "192.03", "rrn": "603668680243", "test": False, "refundable": True,
    },
)  # fmt: skip


async def test_a_payment_is_asked_for_once_under_its_key() -> None:
    """Basic auth, the order's own key, an exact amount, capture at once, and the purchase in the metadata."""
    yoo, http = yookassa(always(200, new_payment()))
    provider: Provider = yoo

    made = await provider.create_invoice(
        invoice_order(description="x" * 200, return_url="https://t.me/shop_bot")
    )

    (call,) = http.calls
    assert (call.method, call.url) == ("POST", "https://yoo/v3/payments")
    assert call.headers["Idempotence-Key"] == "pabc:1"
    assert (
        b64decode(call.headers["Authorization"].removeprefix("Basic ")).decode() == f"{SHOP_ID}:{SECRET_KEY}"
    )
    assert call.asked == {
        "amount": {"value": "199.00", "currency": "RUB"}, "capture": True, "description": "x" * 128,
        "confirmation": {"type": "redirect", "return_url": "https://t.me/shop_bot"}, "metadata": {"purchase": "pabc"},
    }  # fmt: skip
    assert made == NewInvoice("yookassa", PAYMENT_ID, "https://yoomoney.ru/pay", "RUB", 19900, SINCE)


@pytest.mark.parametrize("status", ["canceled", "succeeded"])
async def test_a_payment_that_is_over_is_not_offered_again(status: str) -> None:
    """A key leads to its old payment for a day; one that cannot be paid any more is a refusal and no invoice."""
    yoo, _ = yookassa(always(200, new_payment(status=status)))
    with pytest.raises(PaymentRejected) as caught:
        await yoo.create_invoice(invoice_order())
    assert caught.value.name == status


@pytest.mark.parametrize(
    ("status", "body", "kind", "detail"),
    [
        (401, error("invalid_credentials", description="Bad key"), PaymentForbidden, "invalid_credentials.*Bad key"),
        (403, error("forbidden"), PaymentForbidden, "forbidden"),
        (400, error("invalid_request", "amount"), PaymentRejected, "invalid_request:amount"),
        (400, {}, PaymentRejected, "UNKNOWN"),
        (404, {"type": "error", "code": 7}, PaymentRejected, "UNKNOWN"),
        (200, error("invalid_request"), PaymentRejected, "invalid_request"),
        (202, {"type": "processing", "retry_after": 1800}, PaymentUnavailable, "still being worked on"),
        (500, error("internal_server_error"), PaymentUnavailable, "500"),
        (502, b"<html>", PaymentUnavailable, "502"),
        (404, b"<html>", PaymentUnavailable, "not JSON"),
        (200, b"[" * 100_000, PaymentUnavailable, "not JSON"),
        (200, [], PaymentUnavailable, "no object"),
        (200, {}, PaymentUnavailable, "id"),
        (200, new_payment(id="../../refunds"), PaymentUnavailable, "id"),
        (200, new_payment(confirmation=None), PaymentUnavailable, "no address"),
        (200, new_payment(confirmation={"confirmation_url": "javascript:1"}), PaymentUnavailable, "no address"),
    ],
)  # fmt: skip
async def test_errors_have_names(status: int, body: Any, kind: type, detail: str) -> None:
    """Each refusal and each unusable answer by its type; none carries the key."""
    yoo, _ = yookassa(always(status, body))
    with pytest.raises(kind, match=detail) as caught:
        await yoo.create_invoice(invoice_order())
    assert type(caught.value) is kind
    assert SECRET_KEY not in str(caught.value)


async def test_too_often_and_too_late_are_no_refusals() -> None:
    """429 says when to ask again; a lost answer leaves it open whether anything was done."""
    yoo, _ = yookassa(always(429, error("too_many_requests")), {"retry-after": "7"})
    with pytest.raises(PaymentBusy) as caught:
        await yoo.create_invoice(invoice_order())
    assert caught.value.retry_after == 7.0

    def late(*_: object) -> tuple[int, Any]:
        raise HttpTimeout("yookassa", "create_payment", "no whole answer within 30 s")

    yoo, _ = yookassa(late)
    with pytest.raises(PaymentUnavailable, match="no whole answer"):
        await yoo.create_invoice(invoice_order())


# -- how payments stand


class Desk:
    """YooKassa's side: payments and refunds by id; every one that is not there is 404."""

    def __init__(self, **found: dict[str, Any]) -> None:
        self.found = found

    def __call__(self, _operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        name = asked["url"].rpartition("/")[2]
        return (200, self.found[name]) if name in self.found else (404, error("not_found", "payment_id"))


async def test_each_status_has_our_word() -> None:
    """What can still be paid, what was, what no longer can be; and what is not the shop's is missing."""
    yoo, _ = yookassa(
        Desk(
            p1=payment(id="p1", status="pending"),
            p2=payment(id="p2", status="waiting_for_capture"),
            p3=payment(id="p3", status="canceled"),
            p5=payment(),
        )
    )

    states = await yoo.invoice_states(["p1", "p2", "p3", "p4", "p5", "p1"])

    assert states == [
        InvoiceState("p1", "active", None),
        InvoiceState("p2", "active", None),
        InvoiceState("p3", "expired", None),
        InvoiceState("p5", "paid", CHARGE),
    ]
    assert await yoo.invoice_states([]) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "new"}, {"status": ...}, {"status": ["succeeded"]}, {"amount": ...}, {"amount": "199.00"}, {"id": 5},
        {"amount": {"value": None, "currency": "RUB"}}, {"amount": {"value": "199.00", "currency": "rub"}},
        {"captured_at": "yesterday"}, {"metadata": {"purchase": 5}},
    ],
)  # fmt: skip
async def test_a_payment_that_cannot_be_read_spoils_no_other(broken: dict[str, Any]) -> None:
    """It is told in the journal, stays open, and is neither paid nor over."""
    yoo, _ = yookassa(Desk(p1=payment(**broken), p2=payment()))

    with capture() as lines:
        states = await yoo.invoice_states(["p1", "p2"])

    assert states == [InvoiceState("p1", "unreadable", None), InvoiceState("p2", "paid", CHARGE)]
    assert [line.event for line in lines] == ["payment.invoice_unreadable"]


@pytest.mark.parametrize(("value", "amount"), [("1.999", None), ("1e2", None), ("-1", None), ("7", 700)])
async def test_an_amount_that_is_not_exact_here_is_left_to_an_admin(value: str, amount: int | None) -> None:
    """It is a charge without an amount: held, never rounded and never lost."""
    yoo, _ = yookassa(always(200, payment(amount={"value": value, "currency": "RUB"})))
    charge = await yoo.read_charge(PAYMENT_ID)
    assert charge is not None
    assert (charge.amount, charge.amount_text) == (amount, value)


async def test_at_most_four_are_asked_about_at_once() -> None:
    """A hundred open payments are a hundred questions, and still no flood."""
    yoo, http = yookassa(always(200, payment(status="pending")))
    asked = [f"p{number}" for number in range(30)]

    states = await yoo.invoice_states(asked)

    assert [state.external_id for state in states] == asked
    assert http.most_at_once == 4


async def test_the_first_failure_ends_the_questions_and_comes_plain() -> None:
    """A provider that is away is one error and no group of four, and is not asked ninety-six times more."""
    yoo, http = yookassa(always(503, b""))
    with trio.fail_after(5), pytest.raises(PaymentUnavailable):
        await yoo.invoice_states([f"p{number}" for number in range(100)])
    assert len(http.calls) <= 4


async def test_only_not_found_means_missing() -> None:
    """A 404 that is not YooKassa's own word says nothing of a payment: it must not be taken for gone."""
    yoo, _ = yookassa(always(404, {"message": "no route"}))
    with pytest.raises(PaymentRejected):
        await yoo.invoice_states(["p1"])


# -- money that goes back


class Refunds:
    """YooKassa's refunds of one payment: what is listed, and what a new one is answered."""

    def __init__(self, answer: tuple[int, Any], *listed: dict[str, Any]) -> None:
        self.answer = answer
        self.listed = listed

    def __call__(self, operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if operation == "get_refunds":
            assert asked["payment_id"] == PAYMENT_ID
            return 200, {"type": "list", "items": list(self.listed)}
        return self.answer


def order(**changes: Any) -> Any:
    return refund_order(charge_id=PAYMENT_ID, **changes)


@pytest.mark.parametrize(
    ("answered", "state"),
    [
        (refund(), RefundState(REFUND_ID, "done")),
        (refund(status="pending"), RefundState(REFUND_ID, "pending")),
        (
            refund(status="canceled", cancellation_details={"party": "yoo_money", "reason": "insufficient_funds"}),
            RefundState(REFUND_ID, "refused", "insufficient_funds"),
        ),
        (refund(status="canceled"), RefundState(REFUND_ID, "refused", "unknown")),
    ],
)  # fmt: skip
async def test_a_refund_is_asked_for_under_its_key(answered: dict[str, Any], state: RefundState) -> None:
    """The order's key stands in the header and in the metadata, and the refund's own status decides."""
    yoo, http = yookassa(Refunds((200, answered)))

    assert await yoo.refund(order(amount=5000, whole=False)) == state

    call = http.calls[-1]
    assert (call.method, call.url, call.headers["Idempotence-Key"]) == (
        "POST",
        "https://yoo/v3/refunds",
        "refund:1",
    )
    assert call.asked == {
        "payment_id": PAYMENT_ID, "amount": {"value": "50.00", "currency": "RUB"}, "description": "As you asked",
        "metadata": {"refund": "refund:1"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "word"), [("succeeded", "done"), ("pending", "pending"), ("canceled", "refused")]
)
async def test_a_refund_that_was_made_is_not_made_again(status: str, word: str) -> None:
    """YooKassa forgets a key after a day; the refund that carries it is found, and one that was pending is followed up."""
    other = refund(id="other", metadata={"refund": "refund:2"})
    yoo, http = yookassa(Refunds((500, b""), other, refund(status=status)))

    state = await yoo.refund(order())

    assert (state.external_id, state.status) == (REFUND_ID, word)
    assert [call.method for call in http.calls] == ["GET"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("invalid_request", "amount", "More than is left")),
        (400, error("invalid_request", "payment_id", "Payment can not be refunded")),
        (404, error("not_found", "payment_id")),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_for_good(status: int, body: Any) -> None:
    """More than is left, too old, no way back: asking again changes nothing, and the customer need not wait."""
    yoo, _ = yookassa(Refunds((status, body)))
    state = await yoo.refund(order())
    assert (state.external_id, state.status) == ("", "refused")
    assert state.reason is not None
    assert body["description"] in state.reason


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, error("invalid_credentials"), PaymentForbidden),
        (403, error("forbidden"), PaymentForbidden),
        (429, error("too_many_requests"), PaymentBusy),
        (500, error("internal_server_error"), PaymentUnavailable),
        (202, {"type": "processing"}, PaymentUnavailable),
        (200, refund(status="lost"), PaymentUnavailable),
        (400, error("invalid_request", "Idempotence-Key", "Idempotence key duplicated"), PaymentRejected),
        (405, {}, PaymentRejected),
    ],
)
async def test_what_says_nothing_of_the_refund_leaves_it_open(status: int, body: Any, kind: type) -> None:
    """An operator has to act, or the same key is asked again; money is not promised to the balance meanwhile."""
    yoo, _ = yookassa(Refunds((status, body)))
    with pytest.raises(kind) as caught:
        await yoo.refund(order())
    assert type(caught.value) is kind


# -- lists


async def test_lists_are_walked_by_their_cursor() -> None:
    """Filters go with every page, and a page that cannot be read in part is read in the rest."""
    first = {"type": "list", "items": [payment(), "junk", payment(amount=...)], "next_cursor": "c2"}
    pages = {None: first, "c2": {"type": "list", "items": [payment(id="p2")]}}
    yoo, http = yookassa(lambda _operation, asked: (200, pages[asked.get("cursor")]))
    since = (SINCE + timedelta(seconds=1.5)).astimezone()

    one = await yoo.charges_since(since)
    two = await yoo.charges_since(since, one.next)

    assert [charge.charge_id for page in (one, two) for charge in page.charges] == [PAYMENT_ID, "p2"]
    assert (one.unreadable, one.next, two.unreadable, two.next) == (2, "c2", 0, None)
    filters = {"status": "succeeded", "captured_at.gte": "2026-11-23T12:00:01.500Z", "limit": 100}
    assert [call.asked for call in http.calls] == [filters, filters | {"cursor": "c2"}]


async def test_refunds_are_listed_with_our_keys() -> None:
    """Also those an operator made on YooKassa's own pages, which have none."""
    by_hand = refund(id="r2", metadata={}, amount={"value": "1.999", "currency": "RUB"})
    yoo, http = yookassa(always(200, {"items": [refund(), by_hand, refund(id=None)]}))

    page = await yoo.refunds_since(SINCE)

    at = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    assert page.refunds == (
        ProviderRefund(REFUND_ID, PAYMENT_ID, "refund:1", 19900, "RUB", "199.00", at),
        ProviderRefund("r2", PAYMENT_ID, None, None, "RUB", "1.999", at),
    )
    assert http.calls[0].asked == {
        "status": "succeeded", "created_at.gte": "2026-11-23T12:00:00.000Z", "limit": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    "body", [{}, {"items": {}}, {"items": [], "next_cursor": 5}, {"items": [], "next_cursor": "c"}]
)
async def test_a_list_that_is_none_or_leads_to_itself_is_not_walked(body: Any) -> None:
    """A stranger's list neither crashes us nor keeps us for ever."""
    yoo, _ = yookassa(always(200, body))
    with pytest.raises(PaymentUnavailable):
        await yoo.charges_since(SINCE, "c")


# -- notifications


def notification(**changes: Any) -> bytes:
    told = {"type": "notification", "event": "payment.succeeded", "object": payment()} | changes
    return json.dumps({name: value for name, value in told.items() if value is not ...}).encode()


def test_a_notification_is_an_event_and_an_id() -> None:
    """Nothing else of it is read, since anybody can send one."""
    assert parse_notification(notification()) == ("payment.succeeded", PAYMENT_ID)
    told = parse_notification(notification(event="refund.succeeded", object={"id": "r", "amount": "a lie"}))
    assert told == ("refund.succeeded", "r")


@pytest.mark.parametrize(
    "event", ["payment.canceled", "payment.waiting_for_capture", "payout.succeeded", "deal.closed"]
)
def test_other_events_are_ignored(event: str) -> None:
    """The watcher finds what was cancelled; the rest is not ours."""
    assert isinstance(parse_notification(notification(event=event, object=...)), Ignored)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"\xff", "(body)"),
        (b"[" * 100_000, "(body)"),
        (b"[]", "(body)"),
        (b"{}", "event"),
        (notification(event=5), "event"),
        (notification(event="payment.succeeded\n"), "event"),
        (notification(object=...), "object"),
        (notification(object=[PAYMENT_ID]), "object"),
        (notification(object={}), "object.id"),
        (notification(object={"id": 5}), "object.id"),
        (notification(object={"id": ""}), "object.id"),
        (notification(object={"id": "../refunds"}), "object.id"),
        (notification(object={"id": "p1?limit=1"}), "object.id"),
        (notification(object={"id": "p" * 65}), "object.id"),
    ],
)
def test_a_malformed_notification_names_its_field(body: bytes, named: str) -> None:
    """An id becomes a part of an address, and so is nothing but letters, digits and hyphens."""
    with pytest.raises(MalformedWebhook) as caught:
        parse_notification(body)
    assert caught.value.field == named


async def read_both(yoo: YooKassa) -> tuple[Charge | None, ProviderRefund | None]:
    return await yoo.read_charge("x"), await yoo.read_refund("x")


async def test_what_the_api_does_not_confirm_did_not_happen() -> None:
    """An id that is not the shop's, a payment not paid, a refund not made: none of it is a charge."""
    assert await read_both(yookassa(always(404, error("not_found")))[0]) == (None, None)
    for status in ("pending", "canceled", "waiting_for_capture", None, 5):
        assert await read_both(yookassa(always(200, payment(status=status)))[0]) == (None, None)


async def test_what_the_api_confirms_but_cannot_be_read_is_asked_again() -> None:
    """Money came, so it is not nothing; and it is not known how much."""
    yoo, _ = yookassa(always(200, payment(amount=...)))
    with pytest.raises(PaymentUnavailable, match="amount"):
        await yoo.read_charge(PAYMENT_ID)
    with pytest.raises(PaymentUnavailable, match="amount"):
        await yoo.read_refund(REFUND_ID)
