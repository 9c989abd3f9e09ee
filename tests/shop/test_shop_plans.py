"""Plans: the file fills the shop, an edit in the shop stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop_world import ShopWorld

from vpnd.shop.plans import PlansFileError, apply_plans, load_plans_file, offers_on_sale, parse_plans

SMALL = """
[[plans]]
id = "basic"
titles = { en = "Base" }
[[plans.offers]]
days = 30
prices = { RUB = "100.50" }
"""


async def test_the_example_is_on_sale(shop: ShopWorld) -> None:
    """The packaged example has two plans of three periods, each with a price in roubles and Stars."""
    assert [(one.plan_id, one.days) for one in shop.offers] == [
        ("basic", 30), ("basic", 90), ("basic", 365), ("plus", 30), ("plus", 90), ("plus", 365)]  # fmt: skip
    assert all(set(one.prices) == {"RUB", "XTR"} for one in shop.offers)
    assert shop.offers[0].title("ru") == "Базовый"
    assert shop.offers[0].title("de") == "Basic"


async def test_a_file_replaces_what_it_no_longer_names(shop: ShopWorld) -> None:
    """Plans, periods and prices that left the file are off sale; rows that others point at stay."""
    await apply_plans(shop.db, parse_plans(SMALL))

    (offer,) = await offers_on_sale(shop.db)
    assert (offer.plan_id, offer.days, dict(offer.prices)) == ("basic", 30, {"RUB": 10050})
    assert offer.offer_id == shop.offer().offer_id
    assert await shop.db.fetchval("test", "select count(*) from offers") == 6


async def test_an_edited_plan_is_left_alone(shop: ShopWorld) -> None:
    """A plan edited in the shop keeps its titles, offers and prices, and is not put off sale either."""
    await shop.execute(
        "update plans set edited_at = vpnd_now(), titles = '{\"en\": \"Mine\"}' where id = 'plus'"
    )
    before = [one for one in await offers_on_sale(shop.db) if one.plan_id == "plus"]

    assert await apply_plans(shop.db, parse_plans(SMALL.replace('"basic"', '"plus"'))) == 0

    assert await offers_on_sale(shop.db) == before


async def test_applying_twice_changes_nothing(shop: ShopWorld) -> None:
    """A start without a change leaves the same offers under the same ids."""
    await apply_plans(shop.db, load_plans_file(None))

    assert await offers_on_sale(shop.db) == shop.offers
    assert len(await offers_on_sale(shop.db, 2)) == 2


def test_every_fault_is_told_with_its_key_and_remedy() -> None:
    """One run tells all that is wrong, by key."""
    text = """
    top = 1
    [[plans]]
    id = "Basic!"
    titles = { english = "Basic" }
    [[plans.offers]]
    days = 0
    prices = { RUB = 1.5, EURO = "1" }
    [[plans]]
    id = "plus"
    titles = { en = "Plus" }
    offers = []
    """
    with pytest.raises(PlansFileError) as caught:
        parse_plans(text, currency="XTR")

    keys = {fault.key for fault in caught.value.faults}
    assert keys == {"top", "plans[0].id", "plans[0].titles.english", "plans[0].offers[0].days",
                    "plans[0].offers[0].prices", "plans[0].offers[0].prices.RUB", "plans[0].offers[0].prices.EURO",
                    "plans[1].offers"}  # fmt: skip
    assert 'plans[0].offers[0].prices.RUB: write the price in quotes, like "199.00"' in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file and one that is no TOML are told by path."""
    with pytest.raises(PlansFileError, match=r"none\.toml: \(file\): cannot be read"):
        load_plans_file(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 1")
    with pytest.raises(PlansFileError, match="is not TOML"):
        load_plans_file(tmp_path / "bad.toml")
