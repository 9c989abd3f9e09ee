"""Promo codes: percent, days and money, within their windows and caps, once for each update."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from money_world import about, balance, booked, books_agree, enter, make_promo, now, only, promo, uses
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.database.errors import IntegrityError
from vpnd.shop.promos import (
    PromoExists,
    PromoUnavailable,
    create_code,
    enter_code,
    forget_code,
    list_codes,
    retire_code,
)


async def refused(shop: ShopWorld, customer, text: str) -> str:
    """Why a code cannot be used."""
    with pytest.raises(PromoUnavailable) as caught:
        await enter(shop, customer, text)
    return caught.value.reason


async def waiting(shop: ShopWorld, customer) -> int | None:
    """The code that waits for a customer's next purchase."""
    found: int | None = await shop.db.fetchval(
        "test", "select promo_id from customers where id = $1", customer.id
    )
    return found


async def test_percent_waits_for_the_next_purchase(shop: ShopWorld) -> None:
    """However it is typed; it is consumed by the payment, and then does not wait any more."""
    one = await shop.customer()
    made = await make_promo(shop, "spring_26")
    entered = await enter(shop, one, "  Spring_26 \n")

    assert (entered.promo.code, entered.granted, entered.credited) == ("SPRING_26", None, 0)
    assert await waiting(shop, one) == made.id
    assert await uses(shop) == []
    bought = await shop.buy(one)
    assert bought.amount == 15920
    await shop.settle(shop.charge(bought))
    assert await waiting(shop, one) is None
    assert await uses(shop) == [("consumed", False)]
    assert await refused(shop, one, "SPRING_26") == "already_used"


async def test_days_go_to_what_is_on(shop: ShopWorld) -> None:
    """At once, to the subscription that ends last, without a change of access; a replayed update gives nothing more."""
    one = await shop.customer()
    before = (await shop.grant(one)).subscription
    await make_promo(shop, "WEEK", "days", 7)

    entered = await enter(shop, one, "WEEK", key="update:5")
    again = await enter(shop, one, "WEEK", key="update:5")

    assert entered.granted is not None
    assert again.granted is None
    mine = await only(shop, one)
    assert mine.expires_at - before.expires_at == timedelta(days=7)
    assert mine.version == before.version
    assert await uses(shop) == [("consumed", False)]
    assert (await promo(shop, "WEEK")).used == 1
    kinds = await shop.db.fetch("test", "select kind, purchase_id from grants order by id")
    assert [(row["kind"], row["purchase_id"]) for row in kinds] == [("purchase", None), ("promo", None)]


async def test_days_wait_where_nothing_is_on(shop: ShopWorld) -> None:
    """Then they come on top of the next purchase; its price stays."""
    one = await shop.customer()
    await make_promo(shop, "WEEK", "days", 7)
    assert (await enter(shop, one, "WEEK")).granted is None
    assert await uses(shop) == []

    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought))

    assert bought.amount == 19900
    assert about((await only(shop, one)).expires_at, await now(shop) + timedelta(days=37))


async def test_days_at_once_take_the_reservation_along(shop: ShopWorld) -> None:
    """Reserved for an open purchase and then given at once is one use; the purchase is honoured late at its promise."""
    one = await shop.customer()
    await make_promo(shop, "WEEK", "days", 7, total_cap=1)
    await enter(shop, one, "WEEK")
    bought = await shop.buy(one)
    await shop.grant(one)

    await enter(shop, one, "WEEK")

    assert await uses(shop) == [("returned", False), ("consumed", False)]
    assert (await promo(shop, "WEEK")).used == 1
    assert await waiting(shop, one) is None
    assert await refused(shop, one, "WEEK") == "already_used"
    await shop.settle(shop.charge(bought))
    assert ((await promo(shop, "WEEK")).used, (await promo(shop, "WEEK")).late) == (2, 1)


async def test_money_is_bonus_and_no_money_of_his_own(shop: ShopWorld) -> None:
    """Given at once and booked as what it cost; once for an update and once for a customer."""
    one = await shop.customer()
    await make_promo(shop, "GIFT", "money", 5_000)

    entered = await enter(shop, one, "GIFT", key="update:5")
    again = await enter(shop, one, "GIFT", key="update:5")

    assert entered.credited == again.credited == 5_000
    have = await balance(shop, one)
    assert (have.own, have.bonus) == (0, 5_000)
    assert await booked(shop, "promo") == -5_000
    assert await refused(shop, one, "GIFT") == "already_used"
    await books_agree(shop)


async def test_the_window_is_judged_by_business_time(shop: ShopWorld) -> None:
    """Not before it opens, and not from the moment it closes."""
    one, begin = await shop.customer(), await now(shop)
    await make_promo(shop, "JUNE", starts_at=begin + timedelta(days=1), ends_at=begin + timedelta(days=2))
    assert await refused(shop, one, "JUNE") == "early"
    await shop.advance(timedelta(days=1, minutes=1))
    await enter(shop, one, "JUNE")
    assert (await shop.buy(one)).discount == 20
    await shop.advance(timedelta(days=1))
    assert await refused(shop, one, "JUNE") == "over"
    with pytest.raises(PromoUnavailable) as caught:
        await shop.buy(one, days=90)
    assert caught.value.reason == "over"


async def test_the_cap_of_the_code_and_of_the_customer(shop: ShopWorld) -> None:
    """Three uses in all, two a customer."""
    one, two, three = [await shop.customer() for _ in range(3)]
    await make_promo(shop, "GIFT", "money", 100, total_cap=3, customer_cap=2)
    for customer in (one, one, two):
        await enter(shop, customer, "GIFT")

    assert await refused(shop, one, "GIFT") == "already_used"
    assert await refused(shop, two, "GIFT") == "used_up"
    assert await refused(shop, three, "GIFT") == "used_up"
    assert (await promo(shop, "GIFT")).used == 3
    assert [(await balance(shop, customer)).bonus for customer in (one, two, three)] == [200, 100, 0]


async def test_of_two_at_once_one_gets_the_last_money(shop: ShopWorld) -> None:
    """The second waits for the code's row and then finds it used up."""
    one, two = await shop.customer(), await shop.customer()
    await make_promo(shop, "GIFT", "money", 100, total_cap=1)
    reasons: list[str] = []

    async def late() -> None:
        reasons.append(await refused(shop, two, "GIFT"))

    async with trio.open_nursery() as nursery:
        first = await hold(
            nursery, shop.db, lambda tx: enter_code(tx, customer_id=one.id, text="GIFT", request_key="a")
        )
        nursery.start_soon(late)
        await wait_for_lock(shop.db)
        await first.commit()

    assert reasons == ["used_up"]
    assert (await balance(shop, two)).bonus == 0


@pytest.mark.parametrize("text", ["", "AB", "NO SUCH", "ÜBER", "A" * 33, "DROP;--", "GIFT\x00", "NONE"])
async def test_what_is_no_code_is_unknown(shop: ShopWorld, text: str) -> None:
    """Whatever somebody types, it is one answer and no error."""
    assert await refused(shop, await shop.customer(), text) == "unknown"


async def test_a_retired_code_keeps_what_it_promised(shop: ShopWorld) -> None:
    """Nobody enters it any more, an open purchase keeps its price, and the name can be used again."""
    one, two = await shop.customer(), await shop.customer()
    old = await make_promo(shop, "NAME", value=10)
    await enter(shop, one, "NAME")
    bought = await shop.buy(one)
    with pytest.raises(PromoExists):
        await make_promo(shop, "name", value=30)

    assert await retire_code(shop.db, "name")
    assert not await retire_code(shop.db, "NAME")
    assert await refused(shop, two, "NAME") == "unknown"
    await shop.settle(shop.charge(bought))
    assert (await shop.again(bought)).status == "paid"
    made = await make_promo(shop, "NAME", value=30)
    await enter(shop, one, "NAME")

    assert (await shop.buy(one)).discount == 30
    listed = await list_codes(shop.db)
    assert [(code.id, code.active, code.used) for code in listed] == [(made.id, True, 1), (old.id, False, 1)]
    assert [code.id for code in await list_codes(shop.db, before=made.id)] == [old.id]


async def test_a_code_can_be_forgotten(shop: ShopWorld) -> None:
    """Then the next purchase has its full price."""
    one = await shop.customer()
    await make_promo(shop, "TWENTY")
    await enter(shop, one, "TWENTY")

    assert await shop.do(lambda tx: forget_code(tx, one.id))
    assert not await shop.do(lambda tx: forget_code(tx, one.id))
    assert (await shop.buy(one)).discount == 0


async def test_the_later_code_takes_the_place_of_the_earlier(shop: ShopWorld) -> None:
    """One code waits at a time."""
    one = await shop.customer()
    await make_promo(shop, "TEN", value=10)
    made = await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "TEN")
    await enter(shop, one, "HALF")

    assert await waiting(shop, one) == made.id
    assert (await shop.buy(one)).discount == 50


@pytest.mark.parametrize("name", ["", "AB", "A B C", "ЛЕТО", "X" * 33, "A/B/C"])
async def test_a_code_nobody_could_type_is_not_made(shop: ShopWorld, name: str) -> None:
    """Letters, digits, - and _, three to thirty-two."""
    with pytest.raises(ValueError, match="3 to 32"):
        await make_promo(shop, name)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "percent", "value": 100},
        {"kind": "percent", "value": 0},
        {"kind": "days", "value": 4000},
        {"kind": "money", "value": 100},
        {"kind": "percent", "value": 10, "currency": "RUB"},
        {"kind": "percent", "value": 10, "total_cap": 0},
        {"kind": "percent", "value": 10, "customer_cap": 0},
    ],
)
async def test_the_database_refuses_an_impossible_code(shop: ShopWorld, options: dict) -> None:
    """Free access, no uses, money of no currency."""
    with pytest.raises(IntegrityError):
        await create_code(shop.db, code="WRONG", **options)
    assert await list_codes(shop.db) == []
