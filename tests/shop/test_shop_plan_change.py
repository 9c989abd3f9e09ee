"""Another plan in mid-term: what is left is exchanged at the plans' prices, once, and nobody pays twice for a day."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from money_world import about, balance, books_agree, now, only, recurring, refund
from shop_world import ShopWorld

from vpnd.shop.plan_change import ChangeImpossible, PlanChange, change_plan, quote_change
from vpnd.shop.renewals import WINDOW, due_renewals, renew
from vpnd.shop.settlement import Outcome
from vpnd.shop.star_subscriptions import ask_to_cancel
from vpnd.shop.subscriptions import Subscription, expire_due, set_renewal


async def change(shop: ShopWorld, mine: Subscription, to_plan: str = "plus", **options) -> PlanChange | None:
    """Change a subscription's plan."""
    values = {
        "subscription_id": mine.id, "customer_id": mine.customer_id, "to_plan": to_plan, "shop_currency": "RUB",
        "request_key": f"update:{shop.number()}",
    } | options  # fmt: skip
    return await shop.do(lambda tx: change_plan(tx, **values))


async def bought(shop: ShopWorld, **options):
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one, **options)))
    return one, await only(shop, one)


async def test_the_rest_is_exchanged_at_the_price_of_a_day(shop: ShopWorld) -> None:
    """Thirty days of 199 roubles are so many of 349; the credential stays, and the nodes have nothing to do."""
    one, mine = await bought(shop)
    await shop.advance(timedelta(days=10))
    quoted = await shop.do(
        lambda tx: quote_change(
            tx, subscription_id=mine.id, customer_id=one.id, to_plan="plus", shop_currency="RUB"
        )
    )

    done = await change(shop, mine)

    assert done is not None
    assert done.rate == quoted.rate == Decimal(19_900 * 30) / Decimal(30 * 34_900)
    assert about(done.expires_at, quoted.expires_at)
    again = await only(shop, one)
    assert (again.plan_id, again.expires_at) == ("plus", done.expires_at)
    assert about(again.expires_at, await now(shop) + timedelta(days=20) * (199 / 349))
    assert (again.credential, again.version, again.offer_id) == (
        mine.credential,
        mine.version,
        shop.offer("plus").offer_id,
    )
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 1
    assert await shop.db.fetchval("test", "select until_at from grants") == again.expires_at
    row = await shop.db.fetchrow("test", "select * from plan_changes")
    assert row is not None
    assert (row["from_plan"], row["to_plan"]) == ("basic", "plus")


async def test_there_and_back_wins_nothing(shop: ShopWorld) -> None:
    """Rounded down to a second each time."""
    one, mine = await bought(shop)
    for plan in ("plus", "basic") * 3:
        assert await change(shop, await only(shop, one), plan) is not None
    again = await only(shop, one)
    assert timedelta() <= mine.expires_at - again.expires_at < timedelta(seconds=20)


async def test_the_period_bought_last_sets_the_price(shop: ShopWorld) -> None:
    """A year is cheaper a day, in both plans; where the other plan has no such period, the nearest counts."""
    _, mine = await bought(shop, days=365)
    await shop.execute("update offers set on_sale = false where plan_id = 'plus' and days = 365")

    done = await change(shop, mine)

    assert done is not None
    assert done.offer_id == shop.offer("plus", 90).offer_id
    assert done.rate == Decimal(199_000 * 90) / Decimal(365 * 94_900)


async def test_what_follows_stays_behind_it(shop: ShopWorld) -> None:
    """All slices stretch from now on, so that the refund of a later purchase finds all of its own time."""
    one, mine = await bought(shop)
    second = await shop.settle(shop.charge(await shop.buy(one, days=90)))
    await shop.advance(timedelta(days=10))

    done = await change(shop, await only(shop, one))
    assert done is not None
    rows = await shop.db.fetch("test", "select from_at, until_at from grants order by id")
    assert rows[0]["from_at"] == mine.starts_at
    assert rows[0]["until_at"] == rows[1]["from_at"]
    assert abs(rows[1]["until_at"] - done.expires_at) < timedelta(milliseconds=1)
    asked = await refund(shop, second.settlement_id)

    assert asked.removed is not None
    assert about(asked.removed.expires_at, await now(shop) + timedelta(days=20) * float(done.rate))
    assert not asked.removed.off


async def test_a_replayed_request_changes_nothing_more(shop: ShopWorld) -> None:
    """None says that it was done before."""
    one, mine = await bought(shop)
    assert await change(shop, mine, request_key="k") is not None
    after = await only(shop, one)
    assert await change(shop, mine, request_key="k") is None
    assert await only(shop, one) == after


async def test_what_cannot_be_changed(shop: ShopWorld) -> None:
    """The same plan, an unknown one, one without a price or off sale, another's, and what is over."""
    one, mine = await bought(shop)
    other = await shop.customer()
    for options in (
        {"to_plan": "basic"},
        {"to_plan": "nothing"},
        {"customer_id": other.id},
        {"shop_currency": "EUR"},
    ):
        with pytest.raises(ChangeImpossible):
            await change(shop, mine, **options)
    await shop.execute("update plans set on_sale = false where id = 'plus'")
    with pytest.raises(ChangeImpossible):
        await change(shop, mine)
    await shop.execute("update plans set on_sale = true")
    await shop.advance(timedelta(days=30, minutes=1))
    with pytest.raises(ChangeImpossible):  # its time is over though no sweep has come yet
        await change(shop, mine)
    await expire_due(shop.db, 10)
    with pytest.raises(ChangeImpossible):
        await change(shop, mine)
    assert await shop.db.fetchval("test", "select count(*) from plan_changes") == 0
    assert (await only(shop, one)).plan_id == "basic"


async def test_a_gift_is_changed_as_a_month(shop: ShopWorld) -> None:
    """Nothing was bought, so the month's prices count."""
    one = await shop.customer()
    mine = (await shop.grant(one, days=10)).subscription
    done = await change(shop, mine)
    assert done is not None
    assert done.rate == Decimal(19_900 * 30) / Decimal(30 * 34_900)


async def test_the_new_plan_is_renewed_at_its_own_price(shop: ShopWorld) -> None:
    """What renews from the balance renews what it now is."""
    one, mine = await bought(shop)
    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    await change(shop, mine)
    again = await only(shop, one)
    await shop.advance(again.expires_at - await now(shop) - WINDOW + timedelta(minutes=1))
    await shop.fill(one, 34_900)
    (found,) = await due_renewals(shop.db, "RUB", 10)

    assert await shop.do(lambda tx: renew(tx, found, "RUB")) is not None
    assert (await balance(shop, one)).own == 0
    assert (await only(shop, one)).expires_at - again.expires_at == timedelta(days=30)


async def test_an_older_purchase_does_not_buy_the_dearer_plan(shop: ShopWorld) -> None:
    """Opened for a subscription that has another plan by now: it buys what was paid for, beside it."""
    one, mine = await bought(shop)
    renewal = await shop.buy(one, subscription_id=mine.id)
    await change(shop, mine)
    plus = await only(shop, one)

    result = await shop.settle(shop.charge(renewal))

    assert result.outcome is Outcome.SETTLED
    found = {each.plan_id: each for each in await shop.subscriptions(one)}
    assert found["plus"].expires_at == plus.expires_at
    assert about(found["basic"].expires_at, await now(shop) + timedelta(days=30))
    await books_agree(shop)


async def test_what_telegram_charges_is_not_changed(shop: ShopWorld) -> None:
    """It would go on charging the old plan's price; ended, it can be changed, and a charge under way buys the old plan."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    await shop.settle(recurring(shop, first))
    mine = await only(shop, one)
    with pytest.raises(ChangeImpossible):
        await change(shop, mine)
    assert await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))
    await change(shop, mine)
    plus = await only(shop, one)

    for _ in range(2):
        await shop.settle(recurring(shop, first))

    found = {each.plan_id: each for each in await shop.subscriptions(one)}
    assert found["plus"].expires_at == plus.expires_at
    assert about(found["basic"].expires_at, await now(shop) + timedelta(days=60))
