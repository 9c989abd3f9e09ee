"""Invoices for any provider: what is still missing is asked for, once, under a key that names it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import define, evolve, field
from payments_kit import CheckReport, check_invoices, yookassa
from shop_world import ShopWorld

from vpnd.payments.base import InvoiceOrder, InvoiceState, NewInvoice, PaymentUnavailable
from vpnd.payments.watcher import invoice_for
from vpnd.shop.charges import Outcome
from vpnd.shop.purchases import Purchase


@define
class Till:
    """A provider that knows keys: asked twice under one, it has made one invoice."""

    name: str = "cryptopay"
    orders: list[InvoiceOrder] = field(factory=list)
    made: dict[str, NewInvoice] = field(factory=dict)

    async def create_invoice(self, order: InvoiceOrder) -> NewInvoice:
        self.orders.append(order)
        if order.key not in self.made:
            number = f"{self.name}-{len(self.made) + 1}"
            self.made[order.key] = NewInvoice(
                self.name, number, f"https://pay/{number}", order.currency, order.amount, order.expires_at
            )
        return self.made[order.key]


def till(name: str = "cryptopay") -> Any:
    """The part of a Provider that makes invoices."""
    return Till(name)


async def opened(shop: ShopWorld) -> Purchase:
    return await shop.buy(await shop.customer())


async def test_an_order_says_what_for_how_much_and_how_long(shop: ShopWorld) -> None:
    """The key numbers the purchase's invoices; the payload leads an invoice nobody noted back to it."""
    bought, provider = await opened(shop), till()

    invoice = await invoice_for(
        shop.db, provider, bought, description="A month", return_url="https://t.me/shop_bot"
    )

    assert provider.orders == [
        InvoiceOrder(
            key=f"{bought.public_id}:1", payload=bought.public_id, amount=19900, currency="RUB", description="A month",
            lifetime=3600, expires_at=bought.expires_at, return_url="https://t.me/shop_bot",
        )
    ]  # fmt: skip
    again = await shop.again(bought)
    assert (again.invoice, again.invoices) == (invoice, 1)


async def test_a_lost_answer_makes_no_second_invoice(shop: ShopWorld) -> None:
    """What was made and not noted is asked for under the same key."""
    bought, provider = await opened(shop), till()
    await provider.create_invoice(InvoiceOrder(
        key=f"{bought.public_id}:1", payload=bought.public_id, amount=19900, currency="RUB", description="",
        lifetime=3600, expires_at=bought.expires_at,
    ))  # fmt: skip

    await invoice_for(shop.db, provider, bought, description="A month")

    assert len(provider.made) == 1


async def test_after_a_part_only_the_rest_is_asked(shop: ShopWorld) -> None:
    """The first invoice asks too much by then: another one asks exactly what is missing, under the next key."""
    bought, provider = await opened(shop), till()
    first = await invoice_for(shop.db, provider, bought, description="")
    result = await shop.settle(shop.charge(bought, 9900))
    assert result.outcome is Outcome.UNDERPAID

    second = await invoice_for(shop.db, provider, await shop.again(bought), description="")
    third = await invoice_for(shop.db, provider, await shop.again(bought), description="")

    assert (first.amount, second.amount) == (19900, 10000)
    assert third == second
    assert [order.key for order in provider.orders] == [f"{bought.public_id}:1", f"{bought.public_id}:2"]


async def test_an_invoice_that_is_over_or_anothers_is_not_shown_again(shop: ShopWorld) -> None:
    """An old one that nobody can pay any more, and one of another provider, are not what he asked for."""
    bought = await opened(shop)
    await invoice_for(shop.db, till(), bought, description="")
    known = await shop.again(bought)

    over = till()
    await invoice_for(shop.db, over, known, description="", now=bought.expires_at)
    other = till("yookassa")
    await invoice_for(shop.db, other, known, description="")

    assert [order.key for order in (*over.orders, *other.orders)] == [f"{bought.public_id}:2"] * 2


async def test_a_new_invoice_lives_as_long_as_its_purchase_still_does(shop: ShopWorld) -> None:
    """At a known moment it is what is left of the promise, but never too short to pay."""
    bought, provider = await opened(shop), till()
    half = bought.expires_at - timedelta(minutes=30)
    late = bought.expires_at - timedelta(seconds=10)

    await invoice_for(shop.db, provider, bought, description="", now=half)
    await invoice_for(shop.db, provider, evolve(bought, invoices=1), description="", now=late)

    assert [(order.lifetime, order.expires_at) for order in provider.orders] == [
        (1800, bought.expires_at),
        (300, late + timedelta(minutes=5)),
    ]


async def test_nothing_is_asked_for_what_is_paid(shop: ShopWorld) -> None:
    """A purchase of which nothing is missing needs no invoice."""
    bought, provider = await opened(shop), till()
    await shop.settle(shop.charge(bought, 19900))
    with pytest.raises(ValueError, match="nothing of it is missing"):
        await invoice_for(shop.db, provider, evolve(bought, received=bought.amount), description="")
    assert provider.orders == []


async def test_yookassa_is_watched_as_crypto_pay_is(shop: ShopWorld) -> None:
    """Paid ones are settled, cancelled ones forgotten, by the provider's own name; a failure loses none."""
    payments: dict[str, dict[str, Any]] = {}
    away = False

    def answer(operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if away:
            return 503, b""
        if operation == "create_payment":
            number = f"p{len(payments) + 1}"
            payments[number] = {
                "id": number, "status": "pending", "amount": asked["amount"], "metadata": asked["metadata"],
                "confirmation": {"confirmation_url": f"https://yoo/{number}"},
            }  # fmt: skip
            return 200, payments[number]
        return 200, payments[asked["url"].rpartition("/")[2]]

    yoo, _ = yookassa(answer)
    people = [await shop.customer() for _ in range(3)]
    for one in people:
        await invoice_for(shop.db, yoo, await shop.buy(one, "yookassa"), description="")
    payments["p1"]["status"], payments["p2"]["status"] = "succeeded", "canceled"

    away = True
    with pytest.raises(PaymentUnavailable):
        await check_invoices(shop.db, yoo)
    away = False
    assert await check_invoices(shop.db, yoo) == CheckReport(checked=3, paid=1, expired=1)
    assert [len(await shop.subscriptions(one)) for one in people] == [1, 0, 0]
    assert await yoo.invoice_states(["p3"]) == [InvoiceState("p3", "active", None)]
    assert await check_invoices(shop.db, yoo) == CheckReport(1, 0, 0)
