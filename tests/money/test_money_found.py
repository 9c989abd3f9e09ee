"""What the machine and the barriers have found, each as the shortest story that shows it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from shop_world import ShopWorld

from vpnd.shop.plan_change import ChangeImpossible, change_plan
from vpnd.shop.promos import create_code, enter_code
from vpnd.shop.settlement import Outcome
from vpnd.shop.star_subscriptions import ask_to_cancel, note_state


async def test_a_reservation_of_his_own_is_taken_along_whatever_the_caps(shop: ShopWorld) -> None:
    """The last use is reserved by this customer, who might use the code twice: choosing anew moves it."""
    await create_code(shop.db, code="ONE", kind="percent", value=50, total_cap=1, customer_cap=2)
    one = await shop.customer()
    await shop.do(lambda tx: enter_code(tx, customer_id=one.id, text="one", request_key="e"))
    await shop.buy(one)

    assert (await shop.buy(one, days=90)).discount == 50
    assert await shop.db.fetchval("test", "select used from promo_codes") == 1


async def test_a_purchase_of_a_plan_gives_that_plan_whatever_became_of_the_subscription(
    shop: ShopWorld,
) -> None:
    """A renewal at the cheap plan's price is opened, the plan is changed, then it is paid: no time of the dear plan for it."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    (mine,) = await shop.subscriptions(one)
    cheap = await shop.buy(one, subscription_id=mine.id)
    change = await shop.do(
        lambda tx: change_plan(
            tx,
            subscription_id=mine.id,
            customer_id=one.id,
            to_plan="plus",
            shop_currency="RUB",
            request_key="c",
        )
    )
    assert change is not None

    result = await shop.settle(shop.charge(cheap))

    assert result.outcome is Outcome.SETTLED
    held = {each.plan_id: each for each in await shop.subscriptions(one)}
    assert held["plus"].expires_at == change.expires_at
    assert held["basic"].expires_at - held["basic"].starts_at == timedelta(days=30)


async def _charged(shop: ShopWorld, days: int = 30) -> tuple:
    one = await shop.customer()
    bought = await shop.buy(one, "stars", recurring=True)
    await shop.settle(shop.charge(bought, recurring=True))
    (mine,) = await shop.subscriptions(one)
    return one, bought, mine


async def test_the_plan_of_what_telegram_charges_is_not_changed(shop: ShopWorld) -> None:
    """Telegram would go on charging the old plan's price, so the shop refuses, whoever asks."""
    one, _, mine = await _charged(shop)
    with pytest.raises(ChangeImpossible):
        await shop.do(
            lambda tx: change_plan(
                tx,
                subscription_id=mine.id,
                customer_id=one.id,
                to_plan="plus",
                shop_currency="RUB",
                request_key="c",
            )
        )


async def test_the_end_of_a_replaced_subscription_leaves_its_successor(shop: ShopWorld) -> None:
    """Telegram confirms that the old one is ended: the access is still renewed by the new one."""
    one, old, mine = await _charged(shop)
    new = await shop.buy(one, "stars", recurring=True, subscription_id=mine.id)
    await shop.settle(shop.charge(new, recurring=True))

    assert await shop.do(lambda tx: note_state(tx, old.public_id, one.telegram_id, "canceled"))

    assert (await shop.subscriptions(one))[0].renews == "stars"


async def test_of_two_that_charge_for_one_access_one_is_ended(shop: ShopWorld) -> None:
    """The customer lets the replaced one go on at Telegram: then the other is ended there, and he pays once."""
    one, old, mine = await _charged(shop)
    new = await shop.buy(one, "stars", recurring=True, subscription_id=mine.id)
    charge = shop.charge(new, recurring=True)
    await shop.settle(charge)

    assert await shop.do(lambda tx: note_state(tx, old.public_id, one.telegram_id, "active"))

    active = await shop.db.fetch("test", "select purchase_id from star_subscriptions where state = 'active'")
    assert [row["purchase_id"] for row in active] == [old.id]
    ended = [row["payload"]["charge_id"] for row in await shop.outbox("star_cancel:")]
    assert ended[-1] == charge.charge_id


async def test_what_is_ended_again_is_told_again(shop: ShopWorld) -> None:
    """Ended, begun anew at Telegram, ended: Telegram is asked both times."""
    one, bought, mine = await _charged(shop)
    assert await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))
    assert await shop.do(lambda tx: note_state(tx, bought.public_id, one.telegram_id, "active"))
    assert await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))

    assert len(await shop.outbox("star_cancel:")) == 2


async def test_what_a_customer_has_chosen_since_stays(shop: ShopWorld) -> None:
    """He ended the charging and turned to his balance; Telegram's late confirmation does not turn that off."""
    from vpnd.shop.subscriptions import set_renewal

    one, bought, mine = await _charged(shop)
    await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))
    assert await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))

    await shop.do(lambda tx: note_state(tx, bought.public_id, one.telegram_id, "canceled"))

    assert (await shop.subscriptions(one))[0].renews == "balance"
