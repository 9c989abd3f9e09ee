"""Purchases: one price, one promise, however often the button is pressed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.opening import OfferUnavailable, open_purchase
from vpnd.shop.purchases import (
    attach_invoice,
    cancel_purchase,
    expire_purchases,
    overdue_purchases,
    purchase_of,
)


async def test_the_price_is_fixed_when_it_is_opened(shop: ShopWorld) -> None:
    """A price list edited later does not change an open purchase; a new tap is told the new price."""
    one = await shop.customer()
    before = await shop.buy(one, "stars")
    await shop.execute("update prices set amount = amount * 2 where currency = 'XTR'")
    after = await shop.buy(one, "stars")

    assert (before.amount, before.currency, before.shop_amount, before.shop_currency) == (
        150,
        "XTR",
        19900,
        "RUB",
    )
    assert after.amount == 300
    assert (await shop.again(before)).amount == 150


async def test_a_double_tap_returns_the_open_purchase(shop: ShopWorld) -> None:
    """The same offer and method: one purchase. Another method or offer: another one, and the first stays open."""
    one = await shop.customer()
    first = await shop.buy(one)
    second = await shop.buy(one)
    other = await shop.buy(one, "stars")
    longer = await shop.buy(one, days=90)

    assert first.created
    assert not second.created
    assert second.id == first.id
    assert len({first.id, other.id, longer.id}) == 3
    assert (await shop.again(first)).status == "pending"


async def test_two_taps_at_once_open_one_purchase(shop: ShopWorld) -> None:
    """The customer's row makes the second of two concurrent taps see what the first opened."""
    one = await shop.customer()
    opened = []
    offer_id = shop.offer().offer_id

    async def tap(tx, key: str) -> None:
        opened.append(await open_purchase(tx, customer_id=one.id, offer_id=offer_id, terms=shop.terms("cryptopay"),
                                          request_key=key, shop_currency="RUB"))  # fmt: skip

    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, lambda tx: tap(tx, "a"))
        nursery.start_soon(shop.do, lambda tx: tap(tx, "b"))
        await wait_for_lock(shop.db)
        await held.commit()

    assert opened[0].id == opened[1].id


async def test_a_replayed_request_returns_its_purchase_for_ever(shop: ShopWorld) -> None:
    """An update played again after the purchase was paid opens nothing new."""
    one = await shop.customer()
    first = await shop.buy(one, key="update:1:buy")
    await shop.settle(shop.charge(first))

    again = await shop.buy(one, key="update:1:buy")

    assert again.id == first.id
    assert again.status == "paid"


async def test_what_is_not_on_sale_cannot_be_bought(shop: ShopWorld) -> None:
    """Off sale, without a price in the currency, or renewing somebody else's subscription."""
    one, other = await shop.customer(), await shop.customer()
    foreign = (await shop.grant(other)).subscription
    with pytest.raises(OfferUnavailable):
        await shop.buy(one, subscription_id=foreign.id)
    await shop.execute("delete from prices where currency = 'XTR'")
    with pytest.raises(OfferUnavailable):
        await shop.buy(one, "stars")
    await shop.execute("update plans set on_sale = false")
    with pytest.raises(OfferUnavailable):
        await shop.buy(one)


async def test_a_purchase_is_its_buyers_only(shop: ShopWorld) -> None:
    """Somebody else's purchase does not exist, for a look or for a cancel."""
    one, other = await shop.customer(), await shop.customer()
    mine = await shop.buy(one)

    assert await purchase_of(shop.db, mine.public_id, other.telegram_id) is None
    assert not await shop.do(lambda tx: cancel_purchase(tx, mine.public_id, other.telegram_id))
    assert await shop.do(lambda tx: cancel_purchase(tx, mine.public_id, one.telegram_id))
    assert (await shop.again(mine)).status == "cancelled"


async def test_the_sweep_closes_what_is_overdue(shop: ShopWorld) -> None:
    """Bounded, narrowed by keys when asked, and nothing before its time; a late tap opens a new purchase."""
    one = await shop.customer()
    first, second = await shop.buy(one), await shop.buy(one, "stars")
    assert await expire_purchases(shop.db, 10) == 0

    await shop.advance(timedelta(minutes=60))

    assert [key for _, key in await overdue_purchases(shop.db, 10)] == [first.id, second.id]
    assert await expire_purchases(shop.db, 10, keys=[second.id]) == 1
    assert await expire_purchases(shop.db, 1) == 1
    assert await expire_purchases(shop.db, 10) == 0
    assert (await shop.buy(one)).created


async def test_an_invoice_is_noted_once(shop: ShopWorld) -> None:
    """The provider's id decides; the purchase shows its open invoice."""
    one = await shop.customer()
    mine = await shop.buy(one)

    async def attach(tx) -> int:
        return await attach_invoice(tx, mine, provider="cryptopay", external_id="5", url="https://pay/5",
                                    amount=mine.amount, currency="RUB", expires_at=mine.expires_at)  # fmt: skip

    assert await shop.do(attach) == await shop.do(attach)
    invoice = (await shop.again(mine)).invoice
    assert invoice is not None
    assert (invoice.external_id, invoice.url, invoice.status) == ("5", "https://pay/5", "active")
