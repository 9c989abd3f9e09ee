"""Stars: the pre-checkout fails closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from shop_world import ShopWorld

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.payments import stars
from vpnd.payments.stars import PreCheckoutAnswer, check_pre_checkout, invoice_parameters
from vpnd.runtime.limits import Limits
from vpnd.shop.customers import Customer
from vpnd.shop.purchases import Purchase, cancel_purchase
from vpnd.shop.settlement import Outcome


async def ask(shop: ShopWorld, one: Customer, bought: Purchase, **changes: Any) -> str | None:
    values: dict[str, Any] = {"payer_telegram_id": one.telegram_id, "payload": bought.public_id, "currency": "XTR",
                              "total_amount": bought.amount}  # fmt: skip
    answer = await check_pre_checkout(shop.db, **(values | changes))
    assert answer.ok == (answer.error is None)
    return answer.error


async def test_an_open_purchase_of_the_payer_may_be_paid(shop: ShopWorld) -> None:
    """Buyer, purchase, price and currency are right: yes."""
    one = await shop.customer()
    assert await ask(shop, one, await shop.buy(one, "stars")) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"payload": "pnobody"}, "unknown_purchase"),
        ({"payload": "p\x00"}, "unknown_purchase"),
        ({"payer_telegram_id": 1}, "not_your_purchase"),
        ({"currency": "RUB"}, "wrong_price"),
        ({"total_amount": 149}, "wrong_price"),
        ({"total_amount": 151}, "wrong_price"),
    ],
)
async def test_what_does_not_fit_is_refused(shop: ShopWorld, changes: dict[str, Any], error: str) -> None:
    """Each check by its own reason."""
    one = await shop.customer()
    assert await ask(shop, one, await shop.buy(one, "stars"), **changes) == error


async def test_a_purchase_by_another_method_is_refused(shop: ShopWorld) -> None:
    """Stars do not pay a Crypto Pay purchase, whatever the numbers."""
    one = await shop.customer()
    bought = await shop.buy(one)
    assert await ask(shop, one, bought, currency="RUB") == "unknown_purchase"
    with pytest.raises(ValueError, match="not paid by Stars"):
        invoice_parameters(bought, title="t", description="d")


async def test_what_is_over_is_refused(shop: ShopWorld) -> None:
    """Paid, cancelled, off sale, or over though no sweep has come yet."""
    one = await shop.customer()
    paid, cancelled = await shop.buy(one, "stars"), await shop.buy(one, "stars", days=90)
    await shop.settle(shop.charge(paid))
    await shop.do(lambda tx: cancel_purchase(tx, cancelled.public_id, one.telegram_id))
    assert await ask(shop, one, paid) == "already_paid"
    assert await ask(shop, one, cancelled) == "purchase_expired"

    bought = await shop.buy(one, "stars", plan="plus")
    await shop.execute("update offers set on_sale = false where id = $1", bought.offer_id)
    assert await ask(shop, one, bought) == "off_sale"
    await shop.execute("update offers set on_sale = true")
    await shop.execute("update plans set on_sale = false where id = 'plus'")
    assert await ask(shop, one, bought) == "off_sale"
    await shop.advance(timedelta(hours=1))
    assert await ask(shop, one, bought) == "purchase_expired"


async def test_without_a_database_every_payment_is_refused() -> None:
    """What cannot be checked is not charged."""
    nowhere = DatabaseSettings(
        url=Secret("postgresql://nobody@127.0.0.1:1/none"), pool_min=0, pool_max=2, acquire_timeout=1.0
    )
    async with open_database(nowhere, Limits(2, 2), instance_name="test") as db:
        answer = await check_pre_checkout(
            db, payer_telegram_id=1, payload="p", currency="XTR", total_amount=1
        )
    assert answer == PreCheckoutAnswer(False, "try_later")


async def test_an_invoice_message_has_one_price_in_stars(shop: ShopWorld) -> None:
    """What sendInvoice wants: XTR, no provider token, one price, the public id; texts within Telegram's limits."""
    bought = await shop.buy(await shop.customer(), "stars")
    asked = invoice_parameters(bought, title="t" * 40, description="d" * 300).as_request()

    assert asked == {
        "title": "t" * 32, "description": "d" * 255, "payload": bought.public_id, "provider_token": "",
        "currency": "XTR", "prices": [{"label": "t" * 32, "amount": 150}],
    }  # fmt: skip


async def test_a_successful_payment_is_settled_by_its_charge_id(shop: ShopWorld) -> None:
    """Telegram's charge id names the charge: the message twice is one payment."""
    bought = await shop.buy(await shop.customer(), "stars")
    charge = stars.charge_from_successful_payment(
        telegram_payment_charge_id="tg-1", provider_payment_charge_id="pr-1", currency="XTR", total_amount=150,
        payload=bought.public_id, payer_telegram_id=5,
    )  # fmt: skip

    assert (await shop.settle(charge)).outcome is Outcome.SETTLED
    assert (await shop.settle(charge)).outcome is Outcome.ALREADY_SETTLED
