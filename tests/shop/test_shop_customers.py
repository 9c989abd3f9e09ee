"""Customers: one a person, and the referrer for ever."""

from __future__ import annotations

import pytest
import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.database.coalesce import Loader
from vpnd.database.errors import IntegrityError
from vpnd.database.scope import Transaction
from vpnd.shop import customers
from vpnd.shop.customers import CUSTOMER_BY_TELEGRAM_ID_ANY, Customer, ensure_customer, set_reachable


def ensure(telegram_id: int, code: str | None = None, name: str = "A"):
    async def body(tx: Transaction) -> tuple[Customer, bool]:
        return await ensure_customer(
            tx, telegram_id, language="ru", username=None, first_name=name, referral_code_used=code
        )

    return body


async def test_first_update_creates_and_second_finds(shop: ShopWorld) -> None:
    """A customer is created once; later updates refresh his name and leave language and code alone."""
    first, created = await shop.do(ensure(7))
    second, again = await shop.do(ensure(7, name="B\x00!"))

    assert (created, again) == (True, False)
    assert second.id == first.id
    assert second.first_name == "B!"
    assert second.referral_code == first.referral_code


async def test_two_first_updates_at_once_make_one_customer(shop: ShopWorld) -> None:
    """Of two transactions that see a stranger at once one creates him and the other finds him."""
    results: list[tuple[Customer, bool]] = []
    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, ensure(8))

        async def second() -> None:
            results.append(await shop.do(ensure(8)))

        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await held.commit()

    assert [created for _, created in results] == [False]
    assert await shop.db.fetchval("test", "select count(*) from customers where telegram_id = 8") == 1


async def test_a_taken_referral_code_is_drawn_again(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collision of random codes is no error: another is drawn."""
    first = await shop.customer()
    codes = iter([first.referral_code, "FRESHONE"])
    monkeypatch.setattr(customers, "referral_code", lambda: next(codes))

    second, created = await shop.do(ensure(9))

    assert created
    assert second.referral_code == "FRESHONE"


async def test_the_referrer_is_set_at_birth_only(shop: ShopWorld) -> None:
    """A code counts for a new customer, an unknown one is ignored, and nothing sets a referrer later."""
    friend = await shop.customer()
    guest = await shop.customer(code=f" {friend.referral_code.lower()} ")
    stranger = await shop.customer(code="NOSUCHCODE")
    late, _ = await shop.do(ensure(stranger.telegram_id, friend.referral_code))

    assert guest.referrer_id == friend.id
    assert late.referrer_id is None
    with pytest.raises(IntegrityError):
        await shop.execute("update customers set referrer_id = $1 where id = $2", friend.id, stranger.id)


async def test_whoever_writes_can_be_reached_again(shop: ShopWorld) -> None:
    """Blocked is noted once as news; the next update from the person clears it."""
    one = await shop.customer()

    assert await shop.do(lambda tx: set_reachable(tx, one.telegram_id, False))
    assert not await shop.do(lambda tx: set_reachable(tx, one.telegram_id, False))
    assert (await shop.customer(one.telegram_id)).reachable


async def test_customers_can_be_looked_up_by_a_loader(shop: ShopWorld) -> None:
    """The coalescible query answers by telegram_id."""
    one = await shop.customer()
    loader = Loader(shop.db, "customers", CUSTOMER_BY_TELEGRAM_ID_ANY, "telegram_id")

    row = await loader.get(one.telegram_id)

    assert row is not None
    assert customers.customer_from_row(row) == one
    assert await loader.get(1) is None
