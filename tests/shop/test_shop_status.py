"""Reads that others build their pages on."""

from __future__ import annotations

from datetime import timedelta

from shop_world import ShopWorld

from vpnd.shop.purchases import attach_invoice
from vpnd.shop.status import (
    invoices_to_check,
    mark_invoices_expired,
    overview,
    subscription_page,
)


async def test_the_overview_has_all_of_one_customer(shop: ShopWorld) -> None:
    """Customer, subscriptions and balance by one read; None for a stranger."""
    one, other = await shop.customer(), await shop.customer()
    await shop.grant(one)
    await shop.grant(one, plan="plus")
    await shop.grant(other)
    await shop.settle(shop.charge(await shop.buy(one), 500))

    page = await overview(shop.db, one.telegram_id)

    assert page is not None
    assert page.customer == one
    assert list(page.subscriptions) == await shop.subscriptions(one)
    assert page.balances == {"RUB": 500}
    empty = await overview(shop.db, (await shop.customer()).telegram_id)
    assert empty is not None
    assert (empty.subscriptions, empty.balances) == ((), {})
    assert await overview(shop.db, 1) is None


async def test_a_link_leads_to_its_subscription(shop: ShopWorld) -> None:
    """What a link needs by one read; over its time it gives no access even before the sweep came."""
    one = await shop.customer()
    mine = (await shop.grant(one)).subscription
    page = await subscription_page(shop.db, mine.link_token)
    assert page is not None
    assert (page.credential, page.name, page.active) == (mine.credential, mine.name, True)

    await shop.advance(timedelta(days=31))

    late = await subscription_page(shop.db, mine.link_token)
    assert late is not None
    assert (late.status, late.active) == ("active", False)
    assert await subscription_page(shop.db, "x") is None


async def test_invoices_are_asked_about_in_turn(shop: ShopWorld) -> None:
    """The longest unchecked first and marked at once, so that none starves; those over are no longer watched."""
    for number in range(3):
        bought = await shop.buy(await shop.customer())
        await shop.do(
            lambda tx, bought=bought, number=number: attach_invoice(
                tx, bought, provider="cryptopay", external_id=str(number), url="u", amount=1, currency="RUB",
                expires_at=bought.expires_at)
        )  # fmt: skip

    first = await invoices_to_check(shop.db, "cryptopay", 2)
    second = await invoices_to_check(shop.db, "cryptopay", 2)

    assert {one.external_id for one in first} == {"0", "1"}
    assert "2" in {one.external_id for one in second}
    assert not any(one.overdue for one in first)
    assert await invoices_to_check(shop.db, "other", 2) == []
    assert await mark_invoices_expired(shop.db, "cryptopay", ["0", "1", "9"]) == 2
    assert [one.external_id for one in await invoices_to_check(shop.db, "cryptopay", 9)] == ["2"]
