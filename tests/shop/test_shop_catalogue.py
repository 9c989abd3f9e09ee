"""The catalogue as operators edit it: what an edit changes, what it leaves alone, and what is refused."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld

from vpnd.database.scope import Transaction
from vpnd.shop import catalogue
from vpnd.shop.audit_log import Change
from vpnd.shop.catalogue import CatalogueError, CataloguePlan, list_plans, plan_named
from vpnd.shop.opening import MethodOff, open_purchase
from vpnd.shop.plans import apply_plans, load_plans_file, offers_on_sale
from vpnd.shop.pricing import Terms
from vpnd.shop.switches import set_switch


async def change(shop: ShopWorld, function: object, *args: object, **more: object) -> Change:
    """One edit in a transaction of its own."""

    async def body(tx: Transaction) -> Change:
        return await function(tx, *args, **more)  # type: ignore[operator,no-any-return]

    return await shop.db.run("test", body)


async def refused(shop: ShopWorld, function: object, *args: object, **more: object) -> str:
    """Why an edit is refused."""
    with pytest.raises(CatalogueError) as caught:
        await change(shop, function, *args, **more)
    return caught.value.reason


async def plan(shop: ShopWorld, name: str) -> CataloguePlan:
    found = await plan_named(shop.db, name)
    assert found is not None
    return found


async def test_a_plan_is_made_and_sold(shop: ShopWorld) -> None:
    """A new plan is off sale; with a period, a price and both put on sale it is offered behind all others."""
    made = await change(shop, catalogue.add_plan, "family", {"en": " Family "})
    await change(shop, catalogue.add_period, "family", 45)
    (period,) = (await plan(shop, "family")).periods

    assert (
        await refused(shop, catalogue.put_period_on_sale, period.offer_id, True, shop_currency="RUB")
        == "no_shop_price"
    )
    await change(shop, catalogue.set_price, period.offer_id, "RUB", 45_000)
    await change(shop, catalogue.put_period_on_sale, period.offer_id, True, shop_currency="RUB")
    assert "family" not in {one.plan_id for one in await offers_on_sale(shop.db)}
    await change(shop, catalogue.put_plan_on_sale, "family", True)

    last = (await offers_on_sale(shop.db))[-1]
    assert made == Change(subject="plan:family", after={"on_sale": False, "title.en": "Family"})
    assert (last.plan_id, last.days, dict(last.prices)) == ("family", 45, {"RUB": 45_000})


async def test_what_was_changed_is_told_value_by_value(shop: ShopWorld) -> None:
    """The audit log gets the values that differ, before and after, and no others."""
    offer = shop.offer()

    priced = await change(shop, catalogue.set_price, offer.offer_id, "RUB", 24_900)
    added = await change(shop, catalogue.set_price, offer.offer_id, "USD", 299)
    gone = await change(shop, catalogue.remove_price, offer.offer_id, "XTR", shop_currency="RUB")
    said = await change(shop, catalogue.set_description, "basic", "en", "For one")

    assert (priced.subject, priced.before, priced.after) == (
        "plan:basic",
        {"30.RUB": "199.00"},
        {"30.RUB": "249.00"},
    )
    assert (added.before, added.after) == ({}, {"30.USD": "2.99"})
    assert (gone.before, gone.after) == ({"30.XTR": "150"}, {})
    assert (said.before, said.after) == ({}, {"description.en": "For one"})


async def test_titles_and_descriptions_by_language(shop: ShopWorld) -> None:
    """Each language has its own; one can be taken away, the last title cannot."""
    await change(shop, catalogue.set_title, "basic", "de", "Einfach")
    await change(shop, catalogue.set_description, "basic", "ru", "Для одного")
    await change(shop, catalogue.set_description, "basic", "ru", None)
    await change(shop, catalogue.set_title, "basic", "ru", None)
    await change(shop, catalogue.set_title, "basic", "en", None)

    assert (await plan(shop, "basic")).titles == {"de": "Einfach"}
    assert (await plan(shop, "basic")).descriptions == {}
    assert await refused(shop, catalogue.set_title, "basic", "de", None) == "last_title"


async def test_bad_input_is_refused_by_name(shop: ShopWorld) -> None:
    """Each refusal says which field it was, and nothing is changed."""
    offer = shop.offer()
    before = await list_plans(shop.db)

    assert await refused(shop, catalogue.add_plan, "Family", {"en": "x"}) == "plan_id"
    assert await refused(shop, catalogue.add_plan, "basic", {"en": "x"}) == "plan_exists"
    assert await refused(shop, catalogue.add_plan, "family", {"en": " "}) == "title"
    assert await refused(shop, catalogue.set_title, "basic", "en", "x" * 33) == "title"
    assert await refused(shop, catalogue.set_description, "basic", "en", "x" * 301) == "description"
    assert await refused(shop, catalogue.set_title, "nothing", "en", "x") == "gone"
    assert await refused(shop, catalogue.add_period, "basic", 0) == "days"
    assert await refused(shop, catalogue.add_period, "basic", 30) == "period_exists"
    assert await refused(shop, catalogue.set_price, offer.offer_id, "RUB", 0) == "amount"
    assert await refused(shop, catalogue.set_price, offer.offer_id, "RUB", 2**63) == "amount"
    assert await refused(shop, catalogue.set_price, offer.offer_id, "XXX", 1) == "currency"
    assert await refused(shop, catalogue.set_price, 2**62, "RUB", 1) == "gone"
    assert await refused(shop, catalogue.remove_price, offer.offer_id, "EUR", shop_currency="RUB") == "gone"
    assert (
        await refused(shop, catalogue.remove_price, offer.offer_id, "RUB", shop_currency="RUB")
        == "shop_price_needed"
    )
    assert await refused(shop, catalogue.move_plan, "nothing", up=True) == "gone"
    assert await refused(shop, catalogue.give_back, "nothing") == "gone"
    assert await list_plans(shop.db) == before


async def test_there_are_as_many_plans_and_periods_as_a_file_can_hold(shop: ShopWorld) -> None:
    """What could not be exported is not made."""
    for number in range(48):
        await change(shop, catalogue.add_plan, f"p{number}", {"en": "P"})
    for days in range(1, 18):
        await change(shop, catalogue.add_period, "basic", days)

    assert await refused(shop, catalogue.add_plan, "more", {"en": "P"}) == "plans_full"
    assert await refused(shop, catalogue.add_period, "basic", 18) == "periods_full"


async def test_a_moved_plan_stays_where_it_is(shop: ShopWorld) -> None:
    """The order is the shop's once a plan was moved, and a file that is applied leaves it; no plan counts as edited by it."""
    moved = await change(shop, catalogue.move_plan, "plus", up=True)
    again = await change(shop, catalogue.move_plan, "plus", up=True)
    await apply_plans(shop.db, load_plans_file(None))

    assert (moved.before, moved.after) == ({"place": 2}, {"place": 1})
    assert again.after == {"place": 1}
    assert [one.id for one in await list_plans(shop.db)] == ["plus", "basic"]
    assert all(one.edited_at is None for one in await list_plans(shop.db))

    await change(shop, catalogue.give_back, "plus")
    await apply_plans(shop.db, load_plans_file(None))
    assert [one.id for one in await list_plans(shop.db)] == ["basic", "plus"]


async def test_an_edit_outlives_the_file_until_it_is_given_back(shop: ShopWorld) -> None:
    """A file leaves an edited plan alone, all of it; given back, it is as the file has it again."""
    offer = shop.offer()
    await change(shop, catalogue.set_price, offer.offer_id, "RUB", 1)
    await apply_plans(shop.db, load_plans_file(None))
    edited = (await plan(shop, "basic")).periods[0]

    await change(shop, catalogue.give_back, "basic")
    await apply_plans(shop.db, load_plans_file(None))

    assert edited.prices["RUB"] == 1
    assert (await plan(shop, "basic")).periods[0].prices["RUB"] == 19_900


async def test_a_new_price_leaves_pending_purchases_alone(shop: ShopWorld) -> None:
    """What was promised is asked and settled at its own price; who chooses now pays the new one."""
    offer = shop.offer()
    customer = await shop.customer()
    terms = Terms("cryptopay", "RUB")

    async def choose(tx: Transaction, key: str) -> object:
        return await open_purchase(
            tx,
            customer_id=customer.id,
            offer_id=offer.offer_id,
            terms=terms,
            request_key=key,
            shop_currency="RUB",
        )

    old = await shop.db.run("test", lambda tx: choose(tx, "update:1"))
    await change(shop, catalogue.set_price, offer.offer_id, "RUB", 99_900)
    await change(shop, catalogue.put_period_on_sale, shop.offers[1].offer_id, False, shop_currency="RUB")
    new = await shop.db.run("test", lambda tx: choose(tx, "update:2"))

    rows = await shop.db.fetch("test", "select amount, shop_amount, status from purchases order by id")
    assert [tuple(row.values()) for row in rows] == [(19_900, 19_900, "pending"), (99_900, 99_900, "pending")]
    assert old != new


async def test_a_way_that_is_off_opens_nothing(shop: ShopWorld) -> None:
    """The switch is asked in the transaction that opens; other ways and renewals go on."""
    customer = await shop.customer()
    await set_switch(shop.db, "pay_cryptopay", paused=True, by="test")

    async def choose(tx: Transaction, method: str, origin: str) -> object:
        return await open_purchase(
            tx,
            customer_id=customer.id,
            offer_id=shop.offer().offer_id,
            terms=Terms(method, "RUB"),  # type: ignore[arg-type]
            request_key=f"{method}:{origin}",
            shop_currency="RUB",
            origin=origin,
        )

    with pytest.raises(MethodOff):
        await shop.db.run("test", lambda tx: choose(tx, "cryptopay", "customer"))
    assert await shop.db.run("test", lambda tx: choose(tx, "cryptopay", "renewal"))
    assert await shop.db.run("test", lambda tx: choose(tx, "yookassa", "customer"))
