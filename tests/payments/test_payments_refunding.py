"""The jobs that pay refunds out: what each of a provider's answers makes of the job, the refund and the money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve, field
from money_world import balance, booked, books_agree, refund
from shop_world import ShopWorld

from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Drop, OutboxItem, Retry
from vpnd.payments.base import (
    PaymentBusy,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    RefundOrder,
    RefundState,
    RefundsUnavailable,
)
from vpnd.payments.refunding import (
    ABSENT_PAUSE,
    FORBIDDEN_PAUSE,
    PENDING_PAUSE,
    deliver_refund,
    deliver_star_cancel,
)
from vpnd.shop.charges import Outcome
from vpnd.shop.refunds import Refund, refund_by_id


@define
class Maker:
    """A provider that answers each order as it is told to."""

    answer: RefundState | Exception
    orders: list[RefundOrder] = field(factory=list)

    async def refund(self, order: RefundOrder) -> RefundState:
        self.orders.append(order)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def job(payload: dict[str, Any], **changes: Any) -> OutboxItem:
    """A row in hand."""
    values: dict[str, Any] = {
        "id": 1, "kind": "refund_cryptopay", "key": "k", "lane": "notice", "order_key": None, "payload": payload,
        "attempt": 1, "failures": 0, "repeat": False, "stale": False,
    }  # fmt: skip
    return OutboxItem(**(values | changes))


async def asked_for(shop: ShopWorld, **options: Any) -> int:
    """A refund of a whole purchase that waits for its provider."""
    result = await shop.settle(shop.charge(await shop.buy(await shop.customer()), details={"payer": 4242}))
    return (await refund(shop, result.settlement_id, **options)).refund_id


async def now(shop: ShopWorld, refund_id: int) -> Refund:
    found = await refund_by_id(shop.db, refund_id)
    assert found is not None
    return found


async def test_done_is_written_once(shop: ShopWorld) -> None:
    """The provider is told all it needs; played again, the job asks nobody and changes nothing."""
    refund_id = await asked_for(shop)
    maker = Maker(RefundState("tr-9", "done"))

    first = await deliver_refund(
        shop.db, {"cryptopay": maker}, job({"refund": refund_id}), description="VPN of ours"
    )
    again = await deliver_refund(shop.db, {"cryptopay": maker}, job({"refund": refund_id}))

    assert (first, again) == (Delivered({"external_id": "tr-9"}), Delivered())
    found = await now(shop, refund_id)
    assert (found.status, found.external_id) == ("done", "tr-9")
    (order,) = maker.orders
    assert (order.key, order.amount, order.currency, order.whole, order.telegram_id, order.description) == (
        found.key, 19_900, "RUB", True, 4242, "VPN of ours",
    )  # fmt: skip
    assert order.details["amount"] == 19_900
    assert await booked(shop, "held") == 0
    await books_agree(shop)


async def test_a_part_is_said_to_be_a_part(shop: ShopWorld) -> None:
    """With the provider's own text of the whole, where it was kept."""
    result = await shop.settle(
        shop.charge(await shop.buy(await shop.customer()), details={"amount": "199.00", "paid_asset": "TON"})
    )
    asked = await refund(shop, result.settlement_id, amount=5_000)
    maker = Maker(RefundState("", "done"))

    await deliver_refund(shop.db, {"cryptopay": maker}, job({"refund": asked.refund_id}))

    (order,) = maker.orders
    assert (order.whole, order.amount, order.details["amount"], order.details["paid_asset"]) == (
        False, 5_000, "199.00", "TON",
    )  # fmt: skip
    assert (await now(shop, asked.refund_id)).external_id is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PaymentBusy("busy", 17.0), BoundaryDown(17.0, "busy")),
        (PaymentForbidden("no", code=403, name="X"), BoundaryDown(FORBIDDEN_PAUSE, "no")),
        (PaymentUnavailable("away"), BoundaryDown(None, "away")),
        (PaymentRejected("INSUFFICIENT_FUNDS", code=400, name="X"), Retry(None, "INSUFFICIENT_FUNDS")),
    ],
)
async def test_what_may_change_leaves_the_refund_open(
    shop: ShopWorld, error: Exception, expected: object
) -> None:
    """Who is away pauses his own jobs at no cost, what one order is refused for costs an attempt; nothing is booked."""
    refund_id = await asked_for(shop)

    assert await deliver_refund(shop.db, {"cryptopay": Maker(error)}, job({"refund": refund_id})) == expected

    assert (await now(shop, refund_id)).status == "requested"
    assert await booked(shop, "held") == 19_900
    assert await deliver_refund(
        shop.db, {"cryptopay": Maker(RefundState("x", "done"))}, job({"refund": refund_id})
    ) == Delivered({"external_id": "x"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RefundsUnavailable("transfers are off", code=0, name="OFF"), "transfers are off"),
        (RefundState("", "refused", "AMOUNT_TOO_SMALL"), "AMOUNT_TOO_SMALL"),
        (RefundState("", "refused"), "refused by the provider"),
    ],
)
async def test_what_will_never_be_goes_to_the_balance(
    shop: ShopWorld, answer: RefundState | Exception, reason: str
) -> None:
    """Once, and whoever waits for a credit is woken."""
    refund_id = await asked_for(shop)
    woken: list[int] = []
    wake: list[Callable[[], None]] = [lambda: woken.append(1)]

    for _ in range(2):
        done = await deliver_refund(
            shop.db, {"cryptopay": Maker(answer)}, job({"refund": refund_id}), wake=wake
        )
        assert isinstance(done, Delivered)

    found = await now(shop, refund_id)
    assert (found.status, found.reason, woken) == ("to_balance", reason, [1])
    assert await booked(shop, "customer") == 19_900
    assert len(await shop.outbox("refund_to_balance:")) == 1
    await books_agree(shop)


async def test_a_pending_refund_is_followed_for_days(shop: ShopWorld) -> None:
    """It is looked at again ever more rarely, so that its attempts last until a bank has decided."""
    refund_id = await asked_for(shop)
    maker, waited = Maker(RefundState("x", "pending")), 0.0
    for failures in range(20):
        answer = await deliver_refund(
            shop.db, {"cryptopay": maker}, job({"refund": refund_id}, failures=failures)
        )
        assert isinstance(answer, Retry)
        assert answer.after is not None
        assert answer.after >= PENDING_PAUSE
        waited += answer.after

    assert waited > 3 * 86_400
    assert (await now(shop, refund_id)).status == "requested"


async def test_a_provider_that_is_not_set_up_is_waited_for(shop: ShopWorld) -> None:
    """It may be configured again; the money stands where it stood."""
    refund_id = await asked_for(shop)
    answer = await deliver_refund(shop.db, {}, job({"refund": refund_id}))
    assert answer == Retry(ABSENT_PAUSE, "cryptopay is not set up here")


@pytest.mark.parametrize(
    "payload", [{}, {"refund": None}, {"refund": "many"}, {"refund": []}, {"refund": 10**9}]
)
async def test_a_job_that_names_no_refund_is_dead(shop: ShopWorld, payload: dict[str, Any]) -> None:
    """At once: no attempt will mend it."""
    answer = await deliver_refund(shop.db, {"cryptopay": Maker(RefundState("x", "done"))}, job(payload))
    assert isinstance(answer, Dead)


async def test_a_stuck_refund_is_asked_for_again(shop: ShopWorld) -> None:
    """Retried by an operator from the dead letters or as a new job, it may go at last."""
    bought = await shop.buy(await shop.customer(), "stars")
    await shop.settle(shop.charge(bought))
    second = await shop.settle(shop.charge(bought, payer_telegram_id=5))
    assert second.outcome is Outcome.SECOND_CHARGE
    (row,) = await shop.outbox("refund_job:")
    item = job(row["payload"], kind="refund_stars")

    await deliver_refund(shop.db, {"stars": Maker(RefundState("", "refused", "GONE"))}, item)
    refund_id = row["payload"]["refund"]
    assert (await now(shop, refund_id)).status == "stuck"
    await deliver_refund(shop.db, {"stars": Maker(RefundState("c", "done"))}, evolve(item, attempt=2))

    assert (await now(shop, refund_id)).status == "done"
    assert (await balance(shop, await shop.customer(bought.customer_id))).total == 0
    assert await booked(shop, "held", "XTR") == 0


class Account:
    """Telegram's side of an end of a subscription."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[int, str]] = []

    async def cancel_subscription(self, telegram_id: int, charge_id: str) -> bool:
        self.calls.append((telegram_id, charge_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (True, Delivered),
        (False, Drop),
        (PaymentBusy("busy", 3.0), BoundaryDown),
        (PaymentForbidden("no", code=401, name="X"), BoundaryDown),
        (PaymentUnavailable("away"), BoundaryDown),
        (PaymentRejected("USER_ID_INVALID", code=400, name="X"), Retry),
    ],
)
async def test_the_end_of_a_subscription_in_stars(answer: bool | Exception, kind: type) -> None:
    """Each answer has its delivery; Telegram being away costs nothing."""
    account = Account(answer)
    item = job({"telegram_id": 7, "charge_id": "c"}, kind="star_cancel")
    assert isinstance(await deliver_star_cancel(account, item), kind)  # type: ignore[arg-type]  # stands for the account
    assert account.calls == [(7, "c")]
    assert isinstance(await deliver_star_cancel(account, job({})), Dead)  # type: ignore[arg-type]
