"""What a customer was asked to write."""

from __future__ import annotations

from datetime import timedelta

import pytest
from shop_world import ShopWorld

from vpnd.shop.dialogs import (
    CUSTOMER_WITH_EXPECTATION_ANY,
    PATIENCE,
    Expected,
    expected_from_row,
    set_expectation,
    take_expectation,
)

pytestmark = pytest.mark.postgres


async def _expected(shop: ShopWorld, telegram_id: int) -> Expected | None:
    rows = await shop.db.fetch("test", CUSTOMER_WITH_EXPECTATION_ANY, [telegram_id])
    return expected_from_row(rows[0])


async def test_an_expectation_is_taken_once(shop: ShopWorld) -> None:
    """The newest counts, is seen with the customer, and is gone when it was taken."""
    anna = await shop.customer()
    await shop.do(lambda tx: set_expectation(tx, anna.id, "promo_code"))
    await shop.do(lambda tx: set_expectation(tx, anna.id, "topup_amount"))

    assert await _expected(shop, anna.telegram_id) == "topup_amount"
    taken = [await shop.do(lambda tx: take_expectation(tx, anna.id)) for _ in range(2)]

    assert taken == ["topup_amount", None]
    assert await _expected(shop, anna.telegram_id) is None


async def test_an_expectation_ends_by_itself(shop: ShopWorld) -> None:
    """After a while nothing is expected any more, in business time."""
    anna = await shop.customer()
    await shop.do(lambda tx: set_expectation(tx, anna.id, "promo_code"))
    await shop.advance(PATIENCE - timedelta(seconds=30))
    assert await _expected(shop, anna.telegram_id) == "promo_code"
    await shop.advance(timedelta(minutes=1))

    assert await _expected(shop, anna.telegram_id) is None
    assert await shop.do(lambda tx: take_expectation(tx, anna.id)) is None


async def test_nobody_else_is_expected_to_write(shop: ShopWorld) -> None:
    """An expectation is one customer's."""
    anna, boris = await shop.customer(), await shop.customer()
    await shop.do(lambda tx: set_expectation(tx, anna.id, "promo_code"))

    assert await _expected(shop, boris.telegram_id) is None
    assert await shop.do(lambda tx: take_expectation(tx, boris.id)) is None
