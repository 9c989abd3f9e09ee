"""YooKassa's own SDK as a judge of the sandboxed YooKassa: its requests, its models, its errors, its notifications.

Run by test_sandbox_judges.py in an environment of its own: judge_yookassa.py YOOKASSA_URL SHOP_ID SECRET
"""

import json
import queue
import sys
import threading
import uuid
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests
from yookassa import Configuration, Payment, Refund, Settings
from yookassa.domain.exceptions import (
    BadRequestError,
    ForbiddenError,
    InternalServerError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
)
from yookassa.domain.notification import RefundWebhookNotification, WebhookNotificationFactory
from yookassa.domain.request import PaymentRequestBuilder

URL, SHOP, SECRET = sys.argv[1:]
HEARD: queue.Queue = queue.Queue()


def sim(path: str, **values: object) -> dict:
    answer = requests.post(f"{URL}/sim/{path}", json=values, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def must_refuse(kind: type, code: str, parameter: str | None, call: object, *arguments: object) -> None:
    try:
        call(*arguments)
    except kind as refused:
        said = refused.content
        error = refused.error
    else:
        raise AssertionError(f"{code} was expected")
    assert (error.type, error.code, error.parameter) == ("error", code, parameter), said
    assert error.description
    assert uuid.UUID(error.id)


def order(value: str = "199.00", **more: object) -> dict:
    return {
        "amount": {"value": value, "currency": "RUB"},
        "confirmation": {"type": "redirect", "return_url": "https://t.me/sandbox_bot"},
        "capture": True,
        "description": "VPN на месяц",
        "metadata": {"purchase": "42"},
    } | more


def hear(event: str) -> object:
    """The next notification, as the SDK's factory reads it."""
    notification = WebhookNotificationFactory().create(HEARD.get(timeout=10))
    assert notification.event == event, (notification.event, event)
    return notification


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        HEARD.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def judge_payments() -> str:
    payment = Payment.create(order(), "key-1")
    assert (payment.status, payment.paid, payment.test) == ("pending", False, True)
    assert (payment.amount.value, payment.amount.currency) == (Decimal("199.00"), "RUB")
    assert payment.confirmation.type == "redirect"
    assert payment.confirmation.return_url == "https://t.me/sandbox_bot"
    assert payment.id in payment.confirmation.confirmation_url
    assert payment.metadata == {"purchase": "42", "cms_name": "yookassa_sdk_python"}
    assert payment.recipient.account_id == SHOP
    assert Payment.create(order(), "key-1").id == payment.id
    must_refuse(BadRequestError, "invalid_request", "Idempotence-Key", Payment.create, order("1.00"), "key-1")
    must_refuse(BadRequestError, "invalid_request", "Idempotence-Key", Payment.create, order(), "k" * 65)

    sim("pay", payment_id=payment.id)
    heard = hear("payment.succeeded").object
    paid = Payment.find_one(payment.id)
    assert dict(heard) == dict(paid)
    assert (paid.status, paid.paid, paid.refundable) == ("succeeded", True, True)
    assert 0 < paid.income_amount.value < paid.amount.value
    assert (paid.payment_method.type, paid.payment_method.card.last4) == ("bank_card", "4444")
    assert paid.refunded_amount.value == 0
    assert paid.captured_at >= paid.created_at
    assert paid.confirmation is None
    return str(payment.id)


def judge_two_stages() -> None:
    builder = PaymentRequestBuilder()
    builder.set_amount({"value": "50.00", "currency": "RUB"})
    builder.set_confirmation({"type": "redirect", "return_url": "https://example.org/back"})
    held = Payment.create(builder.build())
    must_refuse(BadRequestError, "invalid_request", "payment_id", Payment.cancel, held.id)
    sim("pay", payment_id=held.id)
    assert hear("payment.waiting_for_capture").object.expires_at
    captured = Payment.capture(held.id, {"amount": {"value": "30.00", "currency": "RUB"}})
    assert (captured.status, captured.amount.value) == ("succeeded", Decimal("30.00"))
    assert hear("payment.succeeded").object.id == held.id

    let_go = Payment.create(order(capture=False))
    sim("pay", payment_id=let_go.id)
    hear("payment.waiting_for_capture")
    canceled = Payment.cancel(let_go.id)
    assert (canceled.status, canceled.paid) == ("canceled", False)
    assert canceled.cancellation_details.party == "merchant"
    assert hear("payment.canceled").object.cancellation_details.reason == "canceled_by_merchant"


def judge_refunds(payment_id: str) -> None:
    part = {"payment_id": payment_id, "amount": {"value": "99.00", "currency": "RUB"}, "description": "Часть"}
    refund = Refund.create(part, "refund-1")
    assert (refund.status, refund.payment_id, refund.amount.value) == (
        "succeeded",
        payment_id,
        Decimal("99.00"),
    )
    assert Refund.create(part, "refund-1").id == refund.id
    notification = hear("refund.succeeded")
    assert isinstance(notification, RefundWebhookNotification)
    assert (notification.object.id, notification.object.payment_id) == (refund.id, payment_id)
    beyond = part | {"amount": {"value": "100.01", "currency": "RUB"}}
    must_refuse(BadRequestError, "invalid_request", "amount", Refund.create, beyond)

    sim("refund_mode", mode="canceled", count=1)
    refused = Refund.create(part)
    assert (refused.status, refused.cancellation_details.reason) == ("canceled", "insufficient_funds")
    sim("refund_mode", mode="pending", count=1)
    rest = Refund.create(part | {"amount": {"value": "100.00", "currency": "RUB"}})
    assert rest.status == "pending"
    assert Payment.find_one(payment_id).refunded_amount.value == Decimal("99.00")
    sim("complete_refund", refund_id=rest.id)
    assert hear("refund.succeeded").object.id == rest.id
    assert Refund.find_one(rest.id).status == "succeeded"
    payment = Payment.find_one(payment_id)
    assert (payment.refunded_amount.value, payment.refundable) == (Decimal("199.00"), False)

    found = Refund.list({"payment_id": payment_id, "limit": 2})
    assert [item.id for item in found.items] == [rest.id, refused.id]
    last = Refund.list({"payment_id": payment_id, "limit": 2, "cursor": found.next_cursor})
    assert [item.id for item in last.items] == [refund.id]
    assert last.next_cursor is None
    assert [item.id for item in Refund.list({"status": "canceled"}).items] == [refused.id]


def judge_lists() -> None:
    waiting = [Payment.create(order()).id for _ in range(5)]
    seen: list[str] = []
    query = {"status": "pending", "limit": 2}
    while True:
        page = Payment.list(query)
        seen += [payment.id for payment in page.items]
        if page.next_cursor is None:
            break
        query["cursor"] = page.next_cursor
    assert seen == waiting[::-1]
    newest = Payment.find_one(waiting[-1])
    assert waiting[-1] in [item.id for item in Payment.list({"created_at.gte": newest.created_at}).items]
    assert not Payment.list({"created_at.gt": "2999-01-01T00:00:00.000Z"}).items
    assert all(
        item.captured_at for item in Payment.list({"captured_at.gte": "2020-01-01T00:00:00.000Z"}).items
    )
    must_refuse(BadRequestError, "invalid_request", "limit", Payment.list, {"limit": 101})


def judge_refusals() -> None:
    must_refuse(NotFoundError, "not_found", "payment_id", Payment.find_one, str(uuid.uuid4()))
    must_refuse(NotFoundError, "not_found", "refund_id", Refund.find_one, str(uuid.uuid4()))
    euros = order(amount={"value": "1.00", "currency": "EUR"})
    must_refuse(BadRequestError, "invalid_request", "amount.currency", Payment.create, euros)
    for kind, error, code in (
        ("5xx_reply", InternalServerError, "internal_server_error"),
        ("429", TooManyRequestsError, "too_many_requests"),
        ("403", ForbiddenError, "forbidden"),
    ):
        sim("fault", method="create_payment", kind=kind)
        must_refuse(error, code, None, Payment.create, order(), "after-faults")
    before = len(Payment.list({"limit": 100}).items)
    assert Payment.create(order(), "after-faults").id == Payment.list({"limit": 1}).items[0].id
    assert len(Payment.list({"limit": 100}).items) == before
    Configuration.configure(SHOP, "test_wrong", api_url=f"{URL}/v3")
    must_refuse(UnauthorizedError, "invalid_credentials", "Authorization", Payment.list)


def main() -> None:
    Configuration.configure(SHOP, SECRET, api_url=f"{URL}/v3")
    me = Settings.get_account_settings()
    assert (me.account_id, me.status, me.test) == (SHOP, "enabled", True)
    hook = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=hook.serve_forever)
    thread.start()
    try:
        sim("webhook", url=f"http://127.0.0.1:{hook.server_port}/yookassa")
        judge_refunds(judge_payments())
        judge_two_stages()
        judge_lists()
        judge_refusals()
        assert HEARD.empty()
    finally:
        hook.shutdown()
        thread.join()
        hook.server_close()
    sys.stdout.write("judged\n")


main()
