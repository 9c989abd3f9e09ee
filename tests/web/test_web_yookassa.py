"""YooKassa's webhook: anybody may knock, so it is YooKassa that is believed, and 2xx means that it is in the database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from payments_kit import SECRET_KEY, Answer, yookassa
from starlette.applications import Starlette

from vpnd.config import Settings
from vpnd.database.errors import CommitUnknown, DatabaseUnavailable
from vpnd.payments.base import ProviderRefund
from vpnd.runtime import metrics
from vpnd.runtime.http import HttpTimeout
from vpnd.runtime.journal import capture
from vpnd.shop.charges import Charge, Outcome, SettlementResult
from vpnd.web.apps import public_app
from vpnd.web.webhooks import Refunded, Settle, yookassa_webhook

NOT_FOUND = (404, {"type": "error", "code": "not_found", "description": "No", "parameter": "payment_id"})


def payment(**changes: Any) -> dict[str, Any]:
    """A payment as the API tells of it."""
    return {
        "id": "p1", "status": "succeeded", "amount": {"value": "199.00", "currency": "RUB"}, "metadata": {"purchase": "pabc"},
    } | changes  # fmt: skip


def refund(**changes: Any) -> dict[str, Any]:
    """A refund as the API tells of it."""
    return {
        "id": "r1", "payment_id": "p1", "status": "succeeded", "amount": {"value": "199.00", "currency": "RUB"},
    } | changes  # fmt: skip


def told(event: str = "payment.succeeded", number: str = "p1", **lies: Any) -> bytes:
    """What is posted, whoever posts it."""
    return json.dumps({"type": "notification", "event": event, "object": {"id": number, **lies}}).encode()


class Till:
    """Settles nothing and remembers what it was given."""

    def __init__(self, *failures: Exception, result: SettlementResult | None = None) -> None:
        self.charges: list[Charge] = []
        self.refunds: list[ProviderRefund] = []
        self._failures = list(failures)
        self._result = result or SettlementResult(Outcome.SETTLED, settlement_id=1)

    async def settle(self, charge: Charge) -> SettlementResult:
        await trio.lowlevel.checkpoint()
        if self._failures:
            raise self._failures.pop(0)
        self.charges.append(charge)
        return self._result

    async def refunded(self, refund: ProviderRefund) -> None:
        await trio.lowlevel.checkpoint()
        if self._failures:
            raise self._failures.pop(0)
        self.refunds.append(refund)


@asynccontextmanager
async def door(answer: Answer, settle: Settle, refunded: Refunded | None = None) -> AsyncIterator[Any]:
    """What posts to the webhook of a shop whose YooKassa answers so."""
    client, http = yookassa(answer)
    app = Starlette(routes=[yookassa_webhook(client, settle, refunded)])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as browser:

        async def post(body: bytes) -> httpx.Response:
            return await browser.post("/webhooks/yookassa", content=body)

        post.calls = http.calls  # type: ignore[attr-defined]  # a handle on what YooKassa was asked
        yield post


async def test_nothing_of_a_notification_is_believed_but_its_id() -> None:
    """Amount, payload and status are those that the API tells, whatever the body says."""
    till = Till()
    lies = payment(amount={"value": "999999.00", "currency": "RUB"}, metadata={"purchase": "somebody's"})
    async with door(lambda *_: (200, payment()), till.settle) as post:
        answer = await post(told(**{name: value for name, value in lies.items() if name != "id"}))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "outcome": "settled"})
    (charge,) = till.charges
    assert (charge.charge_id, charge.amount, charge.payload) == ("p1", 19900, "pabc")
    assert [call.url for call in post.calls] == ["https://yoo/v3/payments/p1"]


@pytest.mark.parametrize(
    ("result", "answered"),
    [
        (SettlementResult(Outcome.ALREADY_SETTLED), {"status": "duplicate", "outcome": "already_settled"}),
        (SettlementResult(Outcome.UNDERPAID), {"status": "ok", "outcome": "underpaid"}),
        (SettlementResult(Outcome.SECOND_CHARGE), {"status": "ok", "outcome": "second_charge"}),
        (
            SettlementResult(Outcome.HELD, reason="wrong_currency"),
            {"status": "ok", "outcome": "held", "reason": "wrong_currency"},
        ),
    ],
)  # fmt: skip
async def test_each_outcome_is_told_apart(result: SettlementResult, answered: dict[str, str]) -> None:
    """All are 200, since sending again changes none of them; what was settled before is not what has a wrong amount."""
    async with door(lambda *_: (200, payment()), Till(result=result).settle) as post:
        answer = await post(told())

    assert (answer.status_code, answer.json()) == (200, answered)


@pytest.mark.parametrize(
    "answer", [NOT_FOUND, (200, payment(status="pending")), (400, NOT_FOUND[1] | {"code": "invalid_request"})]
)
@pytest.mark.parametrize("event", ["payment.succeeded", "refund.succeeded"])
async def test_a_forgery_is_told_once_and_settles_nothing(answer: tuple[int, Any], event: str) -> None:
    """What YooKassa does not confirm is answered 200, counted each time, and told in one line a minute."""
    counted = metrics.webhook_requests_total.labels("yookassa", "forged")
    before, till = counted._value.get(), Till()
    with capture() as lines:
        async with door(lambda *_: answer, till.settle, till.refunded) as post:
            answers = [await post(told(event, "a-secret-of-somebody")) for _ in range(20)]

    assert {one.status_code for one in answers} == {200}
    assert answers[0].json() == {"status": "forged"}
    assert (till.charges, till.refunds) == ([], [])
    assert counted._value.get() - before == 20
    assert [line.event for line in lines] == ["webhook.forged"]
    assert "a-secret-of-somebody" not in str(lines)


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""), (429, b""), (200, b"<html>"), (200, payment(amount=None)), (202, {"type": "processing"}),
        (401, {"type": "error", "code": "invalid_credentials"}), (403, {"type": "error", "code": "forbidden"}),
        (404, {"message": "no route"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_now_is_to_come_again(answer: tuple[int, Any]) -> None:
    """YooKassa away, busy, or not letting us in: 503 with Retry-After, and strangers cannot fill the journal with it."""
    till = Till()
    with capture() as lines:
        async with door(lambda *_: answer, till.settle) as post:
            answers = [await post(told()) for _ in range(5)]

    assert [(one.status_code, one.headers["retry-after"]) for one in answers] == [(503, "5")] * 5
    assert till.charges == []
    assert [line.event for line in lines if line.event.startswith("webhook.")] == ["webhook.deferred"]
    assert SECRET_KEY not in str(lines)


async def test_a_lost_answer_is_asked_for_again() -> None:
    """YooKassa out of time: nobody knows, so the notification is to come again."""

    def late(*_: object) -> tuple[int, Any]:
        raise HttpTimeout("yookassa", "get_payment", "no whole answer within 30 s")

    async with door(late, Till().settle) as post:
        assert (await post(told())).status_code == 503


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), CommitUnknown("who knows")])
@pytest.mark.parametrize("event", ["payment.succeeded", "refund.succeeded"])
async def test_without_a_database_it_is_to_come_again(failure: Exception, event: str) -> None:
    """2xx only after the commit; and when it comes again it is taken."""
    till = Till(failure)
    found = payment() if event == "payment.succeeded" else refund()
    async with door(lambda *_: (200, found), till.settle, till.refunded) as post:
        first, second = await post(told(event)), await post(told(event))

    assert (first.status_code, second.status_code) == (503, 200)
    assert len(till.charges) + len(till.refunds) == 1


async def test_a_refund_is_read_and_noted() -> None:
    """Ours or an operator's: what the API tells of it is handed on. Nobody to note it, and it is ignored."""
    till = Till()
    async with door(lambda *_: (200, refund()), till.settle, till.refunded) as post:
        answer = await post(told("refund.succeeded", "r1", amount="a lie"))
    async with door(lambda *_: (200, refund()), till.settle) as post:
        ignored = await post(told("refund.succeeded", "r1"))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert till.refunds == [ProviderRefund("r1", "p1", None, 19900, "RUB", "199.00", None)]
    assert ignored.json() == {"status": "ignored"}


async def test_garbage_costs_no_question() -> None:
    """What makes no sense is 400, other events are 200; YooKassa is asked about none of them."""
    bodies = [b"", b"not json", b"[" * 100_000, told(number="../refunds"), told("payment.canceled")]
    async with door(lambda *_: (200, payment()), Till().settle) as post:
        answers = [(await post(body)).status_code for body in bodies]

    assert answers == [400, 400, 400, 400, 200]
    assert post.calls == []


async def test_a_flood_waits_at_its_own_door(autojump_clock: trio.testing.MockClock) -> None:
    """Four are asked about at once; who waits too long is told to come again, and nobody else's calls stand behind."""
    hung: list[str] = []

    async def hang(payment_id: str) -> None:
        hung.append(payment_id)
        await trio.sleep(30)

    client, _ = yookassa(lambda *_: NOT_FOUND)
    client.read_charge = hang  # type: ignore[method-assign]
    app = Starlette(routes=[yookassa_webhook(client, Till().settle)])
    answers: list[int] = []

    async def post(number: int) -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as browser:
            answer = await browser.post("/webhooks/yookassa", content=told(number=f"p{number}"))
            answers.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(post, number)

    assert len(hung) == 4
    assert sorted(answers) == [200, 200, 200, 200, 503, 503]


@pytest.mark.parametrize("there", [True, False])
async def test_the_door_is_there_when_yookassa_is(there: bool) -> None:
    """Without YooKassa there is no such address."""
    client, _ = yookassa(lambda *_: NOT_FOUND)
    app = public_app(
        Settings(), None, intake=None, settle=Till().settle, checks={}, expired_notice=None, open_words=None,  # type: ignore[arg-type]
        yookassa=client if there else None,
    )  # fmt: skip
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as browser:
        answer = await browser.post("/webhooks/yookassa", content=told())

    assert answer.status_code == (200 if there else 404)
