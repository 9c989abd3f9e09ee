"""Opening: today's price less the larger discount, one use of a code for it, and one purchase for one wish."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from money_world import discount, enter, make_promo, now, promo, uses
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.discounts import PersonalDiscount, discount_of, remove_discount, set_discount
from vpnd.shop.opening import OfferUnavailable, open_purchase, open_topup
from vpnd.shop.pricing import Price, Terms, discounted, price_of
from vpnd.shop.promos import PromoUnavailable, retire_code
from vpnd.shop.purchases import cancel_purchase, expire_purchases, purchase_of

PRICES = {"RUB": 19900, "XTR": 150}
CARD = Terms("yookassa", "RUB")
STARS = Terms("stars", "XTR")


@pytest.mark.parametrize(
    ("amount", "percent", "expected"),
    [
        (19900, 0, 19900),
        (19900, 15, 16915),
        (199, 15, 170),
        (150, 33, 101),
        (1, 99, 1),
        (100, 99, 1),
        (101, 99, 2),
    ],
)
def test_a_discount_is_rounded_up_to_a_whole_unit(amount: int, percent: int, expected: int) -> None:
    """In the shop's favour, by less than a minor unit; nothing ever costs nothing."""
    assert discounted(amount, percent) == expected


def test_a_price_is_the_methods_and_the_shops_own() -> None:
    """Each currency is discounted by itself; the list price is kept in the shop's."""
    assert price_of(PRICES, CARD, "RUB", 15) == Price(16915, "RUB", 16915, "RUB", 19900, 15)
    assert price_of(PRICES, STARS, "RUB", 33) == Price(101, "XTR", 13333, "RUB", 19900, 33)


def test_a_discount_leads_no_further_than_the_methods_minimum() -> None:
    """Where it would, the minimum is asked, and booked where it is in the shop's currency."""
    price = price_of(PRICES, Terms("yookassa", "RUB", 10_000), "RUB", 90)
    assert price == Price(10_000, "RUB", 10_000, "RUB", 19900, 90)
    stars = price_of(PRICES, Terms("stars", "XTR", 100), "RUB", 90)
    assert stars is not None
    assert (stars.amount, stars.shop_amount) == (100, 1990)


@pytest.mark.parametrize(
    "terms", [Terms("yookassa", "RUB", 19901), Terms("cryptopay", "TON"), Terms("stars", "XTR", 151)]
)
def test_what_a_method_cannot_take_has_no_price(terms: Terms) -> None:
    """The list price is below its minimum, or there is none in its currency."""
    assert price_of(PRICES, terms, "RUB") is None
    assert price_of({"XTR": 150}, STARS, "RUB") is None


async def test_an_offer_below_the_methods_minimum_is_not_sold(shop: ShopWorld) -> None:
    """It is refused, and nothing is written."""
    one = await shop.customer()
    with pytest.raises(OfferUnavailable):
        await shop.do(
            lambda tx: open_purchase(
                tx, customer_id=one.id, offer_id=shop.offer().offer_id, terms=Terms("yookassa", "RUB", 20_000),
                request_key="k", shop_currency="RUB",
            )
        )  # fmt: skip
    assert await shop.db.fetchval("test", "select count(*) from purchases") == 0


async def test_the_larger_discount_counts_alone(shop: ShopWorld) -> None:
    """Discounts do not add up; a code that would bring less is kept for another time."""
    one = await shop.customer()
    await make_promo(shop, "TWENTY", value=20)
    await enter(shop, one, "TWENTY")

    by_code = await shop.buy(one)
    assert (by_code.amount, by_code.shop_amount, by_code.list_amount, by_code.discount) == (
        15920,
        15920,
        19900,
        20,
    )
    assert await uses(shop) == [("reserved", False)]
    await discount(shop, one, 25)
    personal = await shop.buy(one, days=90)
    assert (personal.amount, personal.discount) == (41175, 25)
    await discount(shop, one, 20)
    even = await shop.buy(one, days=365)

    assert even.discount == 20
    assert await uses(shop) == [("reserved", False)]
    assert (await promo(shop, "TWENTY")).used == 1


async def test_a_code_of_days_goes_with_a_personal_discount(shop: ShopWorld) -> None:
    """It is no discount of the price, so both count."""
    one = await shop.customer()
    await make_promo(shop, "WEEK", "days", 7)
    await enter(shop, one, "WEEK")
    await discount(shop, one, 10)

    bought = await shop.buy(one)
    result = await shop.settle(shop.charge(bought))

    assert (bought.amount, bought.discount, bought.bonus_days) == (17910, 10, 7)
    assert result.granted is not None
    assert result.granted.until_at - result.granted.from_at == timedelta(days=37)
    assert await uses(shop) == [("consumed", False)]


async def test_a_personal_discount_ends(shop: ShopWorld) -> None:
    """It counts until its moment, one at a time, and can be taken away; of impossible ones nothing is kept."""
    one = await shop.customer()
    await discount(shop, one, 30)
    until = await now(shop) + timedelta(hours=2)
    await discount(shop, one, 50, until)
    assert await discount_of(shop.db, one.id) == PersonalDiscount(50, until)
    assert (await shop.buy(one)).discount == 50

    await shop.advance(timedelta(hours=3))
    assert await discount_of(shop.db, one.id) is None
    assert (await shop.buy(one, days=90)).discount == 0
    for percent in (0, 100, -5):
        with pytest.raises(ValueError, match="1 to 99"):
            await shop.do(lambda tx, percent=percent: set_discount(tx, one.id, percent))
    assert await shop.do(lambda tx: remove_discount(tx, one.id))
    assert not await shop.do(lambda tx: remove_discount(tx, one.id))


async def test_what_a_provider_charges_for_ever_has_no_discount(shop: ShopWorld) -> None:
    """Neither a personal one nor a code lowers a recurring price, and no use of the code is taken."""
    one = await shop.customer()
    await make_promo(shop, "TWENTY")
    await enter(shop, one, "TWENTY")
    await discount(shop, one, 10)

    bought = await shop.buy(one, "stars", recurring=True)

    assert (bought.amount, bought.discount, bought.recurring) == (150, 0, True)
    assert await uses(shop) == []


async def test_a_renewal_by_the_shop_uses_no_code(shop: ShopWorld) -> None:
    """Nobody has typed one for it; the personal discount counts."""
    one = await shop.customer()
    await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "HALF")
    await discount(shop, one, 10)

    bought = await shop.buy(one, "balance", origin="renewal")

    assert (bought.amount, bought.origin) == (17910, "renewal")
    assert await uses(shop) == []


async def test_a_fresh_purchase_is_another_one(shop: ShopWorld) -> None:
    """Beside the one that renews, and each found again by its own second tap."""
    one = await shop.customer()
    renews, fresh = await shop.buy(one), await shop.buy(one, fresh=True)

    assert renews.id != fresh.id
    assert (await shop.buy(one)).id == renews.id
    assert (await shop.buy(one, fresh=True)).id == fresh.id


async def test_a_new_discount_opens_a_new_purchase(shop: ShopWorld) -> None:
    """The open one keeps the price that was told; the second tap is for today's."""
    one = await shop.customer()
    before = await shop.buy(one)
    await discount(shop, one, 10)
    after = await shop.buy(one)

    assert (before.amount, after.amount) == (19900, 17910)
    assert (await shop.again(before)).status == "pending"


async def test_the_reservation_moves_to_the_newer_purchase(shop: ShopWorld) -> None:
    """Who chooses anew takes his one use along; the older purchase may still be paid at its price, and counts as late."""
    one = await shop.customer()
    await make_promo(shop, "ONCE", value=50, total_cap=1)
    await enter(shop, one, "ONCE")

    first, second = await shop.buy(one), await shop.buy(one, days=90)
    assert await uses(shop) == [("returned", False), ("reserved", False)]
    assert (await promo(shop, "ONCE")).used == 1
    assert (first.amount, second.amount) == (9950, 27450)

    await shop.settle(shop.charge(second))
    await shop.settle(shop.charge(first))
    assert await uses(shop) == [("consumed", True), ("consumed", False)]
    assert ((await promo(shop, "ONCE")).used, (await promo(shop, "ONCE")).late) == (2, 1)


async def test_who_holds_the_last_use_may_choose_anew(shop: ShopWorld) -> None:
    """Also when he might use the code more often: the cap of the code is reached by his own reservation."""
    one = await shop.customer()
    await make_promo(shop, "LAST", value=50, total_cap=1, customer_cap=3)
    await enter(shop, one, "LAST")

    await shop.buy(one)
    second = await shop.buy(one, days=90)

    assert second.discount == 50
    assert await uses(shop) == [("returned", False), ("reserved", False)]
    assert (await promo(shop, "LAST")).used == 1


async def test_a_second_tap_keeps_the_reservation(shop: ShopWorld) -> None:
    """The same wish finds the same purchase, and takes no second use."""
    one = await shop.customer()
    await make_promo(shop, "TWICE", customer_cap=2)
    await enter(shop, one, "TWICE")

    first, again = await shop.buy(one), await shop.buy(one)

    assert again.id == first.id
    assert not again.created
    assert (await promo(shop, "TWICE")).used == 1


async def test_a_replay_returns_its_purchase_whatever_became_of_the_code(shop: ShopWorld) -> None:
    """The update is played again after the code was switched off: the same purchase at the same price."""
    one = await shop.customer()
    await make_promo(shop, "GONE")
    await enter(shop, one, "GONE")
    first = await shop.buy(one, key="update:77")
    await retire_code(shop.db, "GONE")

    assert (await shop.buy(one, key="update:77")).id == first.id
    with pytest.raises(PromoUnavailable) as caught:
        await shop.buy(one, days=90)
    assert caught.value.reason == "unknown"


async def test_a_key_of_another_customer_is_none_of_ours(shop: ShopWorld) -> None:
    """A purchase is never handed to somebody else, whatever key he names."""
    one, other = await shop.customer(), await shop.customer()
    first = await shop.buy(one, key="update:77")

    with pytest.raises(Exception, match="request_key"):
        await shop.buy(other, key="update:77")
    assert await purchase_of(shop.db, first.public_id, other.telegram_id) is None


@pytest.mark.parametrize("how", ["expired", "cancelled"])
async def test_what_closes_a_purchase_frees_its_use(shop: ShopWorld, how: str) -> None:
    """The last use is somebody else's then."""
    one, other = await shop.customer(), await shop.customer()
    await make_promo(shop, "LAST", total_cap=1)
    await enter(shop, one, "LAST")
    await enter(shop, other, "LAST")
    mine = await shop.buy(one)
    with pytest.raises(PromoUnavailable) as caught:
        await shop.buy(other)
    assert caught.value.reason == "used_up"

    if how == "cancelled":
        assert await shop.do(lambda tx: cancel_purchase(tx, mine.public_id, one.telegram_id))
    else:
        await shop.advance(timedelta(hours=2))
        await expire_purchases(shop.db, 10)

    assert (await promo(shop, "LAST")).used == 0
    assert (await shop.buy(other)).discount == 20
    assert await uses(shop) == [("returned", False), ("reserved", False)]


async def test_of_two_at_once_one_gets_the_last_use(shop: ShopWorld) -> None:
    """The counter of the code decides, by a conditional update; the other is told."""
    people = [await shop.customer() for _ in range(4)]
    await make_promo(shop, "LAST", total_cap=1)
    for one in people:
        await enter(shop, one, "LAST")
    refused: list[str] = []
    got: list[int] = []

    async def buy(number: int) -> None:
        try:
            got.append((await shop.buy(people[number])).discount)
        except PromoUnavailable as error:
            refused.append(error.reason)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(buy, number)

    assert (got, refused) == ([20], ["used_up"] * 3)
    assert (await promo(shop, "LAST")).used == 1


async def test_two_taps_at_once_by_two_ways_take_one_use(shop: ShopWorld) -> None:
    """The second waits for the first and sees what it has opened: the reservation moves, and is not taken twice."""
    one = await shop.customer()
    await make_promo(shop, "ONCE")
    await enter(shop, one, "ONCE")
    async with trio.open_nursery() as nursery:
        first = await hold(
            nursery, shop.db,
            lambda tx: open_purchase(tx, customer_id=one.id, offer_id=shop.offer().offer_id, terms=CARD,
                                     request_key="a", shop_currency="RUB"),
        )  # fmt: skip
        nursery.start_soon(shop.buy, one, "stars")
        await wait_for_lock(shop.db)
        await first.commit()

    assert await uses(shop) == [("returned", False), ("reserved", False)]
    assert (await promo(shop, "ONCE")).used == 1


async def test_a_topup_is_opened_once(shop: ShopWorld) -> None:
    """A second tap and a replay find it; another amount is another one; no discount makes money cheaper."""
    one = await shop.customer()
    await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "HALF")
    await discount(shop, one, 10)

    first = await shop.topup(one, 50_000, key="update:1")
    again = await shop.topup(one, 50_000)
    replayed = await shop.topup(one, 70_000, key="update:1")
    other = await shop.topup(one, 70_000)

    assert first.id == again.id == replayed.id != other.id
    assert (first.kind, first.amount, first.shop_amount, first.discount, first.offer_id, first.days) == (
        "topup", 50_000, 50_000, 0, None, 0,
    )  # fmt: skip
    assert await uses(shop) == []


@pytest.mark.parametrize(("amount", "worth"), [(99, 99), (100, 0)])
async def test_a_topup_below_the_minimum_is_refused(shop: ShopWorld, amount: int, worth: int) -> None:
    """Less than the method takes, or worth nothing here."""
    one = await shop.customer()
    with pytest.raises(OfferUnavailable):
        await shop.do(
            lambda tx: open_topup(
                tx, customer_id=one.id, terms=Terms("yookassa", "RUB", 100), amount=amount, shop_amount=worth,
                shop_currency="RUB", request_key="k",
            )
        )  # fmt: skip


async def test_nobody_renews_what_is_not_his_or_of_another_plan(shop: ShopWorld) -> None:
    """A button is older than the shop."""
    one, other = await shop.customer(), await shop.customer()
    theirs = (await shop.grant(other)).subscription
    mine = (await shop.grant(one, plan="plus")).subscription

    for subscription_id in (theirs.id, mine.id, 10**9):
        with pytest.raises(OfferUnavailable):
            await shop.buy(one, subscription_id=subscription_id)
    with pytest.raises(OfferUnavailable):
        await shop.do(
            lambda tx: open_purchase(tx, customer_id=10**9, offer_id=shop.offer().offer_id, terms=CARD, request_key="k",
                                     shop_currency="RUB")
        )  # fmt: skip
