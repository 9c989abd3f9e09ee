"""Crypto Pay: coins that go back, once and never too many, and the lists a reconciliation walks through."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from payments_kit import SINCE, cryptopay, refund_order

from vpnd.payments import cryptopay as module
from vpnd.payments.base import (
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    RefundState,
    RefundsUnavailable,
)


def refused(code: int, name: str) -> tuple[int, Any]:
    return code, {"ok": False, "error": {"code": code, "name": name}}


def transferred(operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
    assert operation == "transfer"
    return 200, {"ok": True, "result": {"transfer_id": 9, "status": "completed", **asked}}


async def test_without_leave_nothing_is_transferred() -> None:
    """Transfers take from the app's balance: unless they were switched on, nothing is even asked."""
    pay, http = cryptopay(transferred)
    with pytest.raises(RefundsUnavailable):
        await pay.refund(refund_order())
    assert http.calls == []


async def test_all_of_a_price_in_fiat_is_all_the_coins_that_came() -> None:
    """The payer gets back what he sent, in the coin he sent, under the refund's own key."""
    pay, http = cryptopay(transferred, refunds_by_transfer=True)

    assert await pay.refund(refund_order()) == RefundState("9", "done")
    assert http.calls[0].asked == {
        "user_id": 1001, "asset": "TON", "amount": "1.500000000", "spend_id": "refund:1", "comment": "As you asked",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "asset", "amount"),
    [
        ({"amount": 9950, "whole": False}, "TON", "0.750000000"),
        ({"amount": 9950, "whole": False, "details": {"amount": 19900, "paid_asset": "TON", "paid_amount": "1.5"}},
         "TON", "0.750000000"),
        ({"amount": 1, "whole": False}, "TON", "0.000075376"),  # 1.5 / 19900 = 0.0000753768…, rounded down
        ({"amount": 6633, "whole": False, "details": {"amount": "199.00", "paid_asset": "USDT", "paid_amount": "2"}},
         "USDT", "0.666633"),
        ({"details": {"paid_asset": "ETH", "paid_amount": "0.001234567891234567"}}, "ETH", "0.001234567"),
        ({"amount": 5_250_000, "currency": "USDT", "details": {}}, "USDT", "5.250000"),
        ({"amount": 250_000, "currency": "USDT", "whole": False, "details": {}}, "USDT", "0.250000"),
    ],
)  # fmt: skip
async def test_a_part_is_a_part_of_the_coins(changes: dict[str, Any], asset: str, amount: str) -> None:
    """A share is exact and rounded down, so that all parts together are never more than came; a coin's own price is itself."""
    pay, http = cryptopay(transferred, refunds_by_transfer=True)

    await pay.refund(refund_order(**changes))

    assert (http.calls[0].asked["asset"], http.calls[0].asked["amount"]) == (asset, amount)


@pytest.mark.parametrize(
    "changes",
    [
        {"details": {}},
        {"details": {"paid_asset": "TON"}},
        {"details": {"paid_asset": "TON", "paid_amount": "1e3"}},
        {"details": {"paid_asset": "TON", "paid_amount": "-1"}},
        {"details": {"paid_asset": "TON", "paid_amount": 1.5}},
        {"details": {"paid_asset": "PEPE", "paid_amount": "1"}},
        {"details": {"paid_asset": "TON", "paid_amount": "0.0000000001"}},
        {"whole": False, "details": {"paid_asset": "TON", "paid_amount": "1.5"}},
        {"whole": False, "details": {"paid_asset": "TON", "paid_amount": "1.5", "amount": "much"}},
        {"whole": False, "amount": 19901},
        {"whole": False, "amount": 0},
        {"telegram_id": 0},
    ],
)
async def test_what_is_not_known_is_not_sent(changes: dict[str, Any]) -> None:
    """No guess at a coin, an amount or a share: that money goes to the balance."""
    pay, http = cryptopay(transferred, refunds_by_transfer=True)
    with pytest.raises(RefundsUnavailable):
        await pay.refund(refund_order(**changes))
    assert http.calls == []


async def test_a_key_that_was_spent_was_paid() -> None:
    """After a lost answer the same key is refused, and the transfer that was made is found: done, and not paid twice."""

    def answer(operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if operation == "transfer":
            return refused(400, "SPEND_ID_ALREADY_USED")
        assert asked == {"spend_id": "refund:1", "count": 1}
        return 200, {"ok": True, "result": {"items": [{"transfer_id": 9, "spend_id": "refund:1"}]}}

    pay, _ = cryptopay(answer, refunds_by_transfer=True)
    assert await pay.refund(refund_order()) == RefundState("9", "done")


async def test_a_spent_key_without_its_transfer_is_asked_about_again() -> None:
    """A list that lags proves nothing, and is no reason to say that it was paid."""

    def answer(operation: str, _asked: dict[str, Any]) -> tuple[int, Any]:
        if operation == "transfer":
            return refused(400, "SPEND_ID_ALREADY_USED")
        return 200, {"ok": True, "result": {"items": []}}

    pay, _ = cryptopay(answer, refunds_by_transfer=True)
    with pytest.raises(PaymentUnavailable):
        await pay.refund(refund_order())


@pytest.mark.parametrize("name", ["AMOUNT_TOO_SMALL", "AMOUNT_TOO_BIG", "USER_NOT_FOUND"])
async def test_what_can_never_be_sent_is_refused_for_good(name: str) -> None:
    """Nothing an operator does makes it possible: the customer need not wait."""
    pay, _ = cryptopay(lambda *_: refused(400, name), refunds_by_transfer=True)
    assert await pay.refund(refund_order()) == RefundState("", "refused", name)


@pytest.mark.parametrize(
    ("code", "name", "error"),
    [
        (403, "METHOD_DISABLED", PaymentForbidden),
        (401, "UNAUTHORIZED", PaymentForbidden),
        (400, "INSUFFICIENT_FUNDS", PaymentRejected),
        (400, "PARAM_USER_ID_REQUIRED", PaymentRejected),
    ],
)
async def test_what_an_owner_can_mend_stays_open(code: int, name: str, error: type) -> None:
    """The same key is good afterwards; what is wrong with one coin's balance is not told as wrong with the whole app."""
    pay, _ = cryptopay(lambda *_: refused(code, name), refunds_by_transfer=True)
    with pytest.raises(error, match=name) as caught:
        await pay.refund(refund_order())
    assert type(caught.value) is error


class Till:
    """Paid invoices and transfers, newest first, as Crypto Pay lists them."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = list(items)

    def __call__(self, operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if operation == "getInvoices":
            assert asked["status"] == "paid"
        found = self.items[asked["offset"] : asked["offset"] + asked["count"]]
        return 200, {"ok": True, "result": {"items": found}}


def invoice(number: int, paid: timedelta, made: timedelta | None = None) -> dict[str, Any]:
    """An invoice paid and made so long after the moment that is asked about."""
    return {
        "invoice_id": number, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "1.00",
        "paid_at": (SINCE + paid).isoformat(), "created_at": (SINCE + (paid if made is None else made)).isoformat(),
    }  # fmt: skip


HOUR = timedelta(hours=1)


async def test_a_walk_skips_none_while_the_list_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newly paid ones push the rest back, a vanished one pulls it forward: some are read twice, none is left out."""
    monkeypatch.setattr(module, "PAGE", 10)
    monkeypatch.setattr(module, "OVERLAP", 3)
    till = Till(*(invoice(number, HOUR) for number in range(50, 20, -1)))
    pay, _ = cryptopay(till)

    read: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = await pay.charges_since(SINCE, cursor)
        read += [charge.charge_id for charge in page.charges]
        pages += 1
        if pages == 1:
            till.items.insert(0, invoice(51, HOUR))
        elif pages == 2:
            del till.items[0:3]
        if page.next is None:
            break
        cursor = page.next

    assert set(read) >= {str(number) for number in range(21, 51)}
    assert len(read) < 50


async def test_a_walk_ends_where_nothing_newer_can_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is sorted by when invoices were made: one that was paid late stands behind others paid before the moment."""
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "OVERLAP", 0)
    till = Till(
        invoice(9, HOUR),
        invoice(8, -HOUR),
        invoice(7, HOUR, made=-2 * HOUR),
        invoice(6, -3 * HOUR),
        invoice(5, -25 * HOUR),
        invoice(4, -26 * HOUR),
        invoice(3, -27 * HOUR),
    )
    pay, http = cryptopay(till)

    first = await pay.charges_since(SINCE)
    second = await pay.charges_since(SINCE, first.next)
    third = await pay.charges_since(SINCE, second.next)

    assert [[one.charge_id for one in page.charges] for page in (first, second, third)] == [["9"], ["7"], []]
    assert third.next is None
    assert [call.asked["offset"] for call in http.calls] == [0, 2, 4]


async def test_what_cannot_be_read_is_counted() -> None:
    """Junk in a list spoils nothing and does not go unnoticed."""
    till = Till(invoice(9, HOUR), invoice(8, HOUR) | {"fiat": "?"}, "junk", invoice(7, HOUR))  # type: ignore[arg-type]
    pay, _ = cryptopay(till)

    page = await pay.charges_since(SINCE)

    assert [one.charge_id for one in page.charges] == ["9", "7"]
    assert (page.unreadable, page.next) == (2, None)


async def test_refunds_are_the_transfers_with_their_keys() -> None:
    """A transfer's spend_id is our key of the refund; what an owner sent by hand is among them with a key of his."""
    done = {"transfer_id": 3, "spend_id": "refund:1", "user_id": 5, "asset": "TON", "amount": "0.5", "status": "completed",
            "completed_at": (SINCE + HOUR).isoformat()}  # fmt: skip
    older = done | {"transfer_id": 2, "completed_at": (SINCE - HOUR).isoformat()}
    pay, _ = cryptopay(Till(done, done | {"transfer_id": True}, older))

    page = await pay.refunds_since(SINCE)

    (refund,) = page.refunds
    assert (refund.external_id, refund.key, refund.charge_id) == ("3", "refund:1", None)
    assert (refund.amount, refund.currency, refund.amount_text) == (500_000_000, "TON", "0.5")
    assert page.next is None
