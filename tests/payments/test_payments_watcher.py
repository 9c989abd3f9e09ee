"""Invoices for any provider: what is still missing is asked for, once, under a key that names it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from payments_kit import CheckReport, check_invoices, yookassa
from shop_world import ShopWorld

from vpnd.payments import watcher
from vpnd.payments.base import ChargePage, InvoiceOrder, InvoiceState, NewInvoice, PaymentUnavailable
from vpnd.payments.watcher import FIRST_LOOK, READ_AGAIN, LatelyPaid, invoice_for
from vpnd.shop.charges import Charge, Outcome
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


# ---------------------------------------------------------------------- the list of what was paid lately


@define
class Lists:
    """A provider's list of charges, newest first, two a page.

    `away` fails, `slow` never answers for a later page, `silent` never at all.
    """

    name: str = "yookassa"
    charges: list[Charge] = field(factory=list)
    asked: list[tuple[datetime, str | None]] = field(factory=list)
    away: bool = False
    slow: bool = False
    silent: bool = False
    till: Any = field(factory=lambda: till("yookassa"))

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        await trio.lowlevel.checkpoint()
        self.asked.append((since, cursor))
        if self.away:
            raise PaymentUnavailable("away")
        if self.silent or (self.slow and cursor is not None):
            await trio.sleep_forever()
        listed = sorted(self.charges, key=lambda one: one.paid_at or since, reverse=True)
        first = int(cursor or 0)
        return ChargePage(
            tuple(listed[first : first + 2]), 0, str(first + 2) if first + 2 < len(listed) else None
        )


async def paid(shop: ShopWorld, lists: Lists, minutes_ago: int) -> Charge:
    """A purchase whose invoice was paid at the provider, of which nobody has told us."""
    purchase = await shop.buy(await shop.customer(), "yookassa")
    number = (await invoice_for(shop.db, lists.till, purchase, description="")).external_id
    charge = Charge(
        provider="yookassa", charge_id=number, amount=19900, currency="RUB", amount_text="199.00",
        invoice_external_id=number, payload=purchase.public_id, paid_at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
    )  # fmt: skip
    lists.charges.append(charge)
    return charge


async def test_what_a_list_tells_of_our_invoices_is_found(shop: ShopWorld) -> None:
    """Whose invoice waits here is found, the oldest first; what is settled, and what is no invoice of ours, is not."""
    lists = Lists()
    charges = [await paid(shop, lists, minutes) for minutes in (30, 20, 10, 5)]
    lists.charges.append(evolve(charges[0], charge_id="elsewhere", invoice_external_id="elsewhere"))
    lists.charges.append(evolve(charges[0], charge_id="none", invoice_external_id=None))
    await shop.settle(charges[1])
    lately = LatelyPaid(shop.db, lists)

    assert await lately.find(10) == (charges[0], charges[2], charges[3])
    assert await lately.find(2) == (charges[0], charges[2])
    for charge in charges:
        await shop.settle(charge)
    assert await lately.find(10) == ()


async def test_a_list_is_read_on_from_what_is_not_settled(shop: ShopWorld) -> None:
    """A look reads from the last one on, and a little before it; what was found and not settled is read again."""
    lists = Lists()
    lately = LatelyPaid(shop.db, lists)
    began = datetime.now(UTC)
    await lately.find(10)
    assert began - FIRST_LOOK <= lists.asked[-1][0] <= datetime.now(UTC) - FIRST_LOOK

    charge = await paid(shop, lists, 2)
    assert await lately.find(10) == (charge,)
    first = lists.asked[-1][0]
    assert began - READ_AGAIN <= first <= datetime.now(UTC) - READ_AGAIN
    assert await lately.find(10) == (charge,)
    assert lists.asked[-1][0] == first  # it was paid before what the next look would have begun with
    await shop.settle(charge)
    settled = datetime.now(UTC)
    await lately.find(10)
    await lately.find(10)
    assert lists.asked[-1][0] >= settled - READ_AGAIN


async def test_a_charge_that_nobody_can_settle_is_let_go(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charge that nobody can settle is left, after the time of a first look, to those who ask one by one."""
    lists = Lists()
    charge = await paid(shop, lists, 50)
    lately = LatelyPaid(shop.db, lists)
    assert await lately.find(10) == (charge,)
    monkeypatch.setattr(watcher, "FIRST_LOOK", timedelta(minutes=20))  # as if 40 minutes had gone by
    await lately.find(10)
    await lately.find(10)

    assert lists.asked[-1][0] > datetime.now(UTC) - timedelta(minutes=21)


async def test_a_list_that_fails_is_read_from_the_same_place(shop: ShopWorld) -> None:
    """An hour away is an hour that is read when it is back."""
    lists = Lists()
    lately = LatelyPaid(shop.db, lists)
    lists.away = True
    for _ in range(2):
        with pytest.raises(PaymentUnavailable):
            await lately.find(10)
    lists.away = False
    charge = await paid(shop, lists, 50)

    assert await lately.find(10) == (charge,)


async def test_a_list_that_hangs_does_not_take_the_round(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read until then is found, and the look begins at the same place the next time; nothing read is a failure."""

    async def all_of_them(_db: object, _provider: str, external_ids: list[str]) -> set[str]:
        return set(external_ids)

    monkeypatch.setattr(watcher, "invoices_unpaid", all_of_them)
    lists = Lists(slow=True)
    lists.charges = [
        Charge(
            provider="yookassa", charge_id=f"p{minutes}", amount=19900, currency="RUB", amount_text="199.00",
            invoice_external_id=f"p{minutes}", paid_at=datetime.now(UTC) - timedelta(minutes=minutes),
        )
        for minutes in (30, 20, 10)
    ]  # fmt: skip
    database: Any = None  # nothing is looked up in it
    lately = LatelyPaid(database, lists)

    assert await lately.find(10) == tuple(lists.charges[1:])
    lists.slow = False
    assert await lately.find(10) == tuple(lists.charges)
    assert lists.asked[-1][0] <= datetime.now(UTC) - FIRST_LOOK

    lists.silent = True
    with pytest.raises(PaymentUnavailable, match="took more than"):
        await lately.find(10)
