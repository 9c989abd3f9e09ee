"""Promo codes and discounts from the shell: what a command commits, the shop has."""

from __future__ import annotations

from datetime import timedelta

from money_world import about, discount, enter, make_promo, now, promo
from shell_kit import several, shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.shop.discounts import discount_of


async def test_a_code_from_the_shell_to_the_purchase(shop: ShopWorld, database_url: str) -> None:
    """Made, used, listed with its uses, switched off, listed as off."""
    shell = shop_environment(database_url)
    made, again = await several(
        shell,
        ["promo", "add", "spring", "percent", "25", "--valid", "7", "--uses", "3", "--per-customer", "2"],
        ["promo", "add", "SPRING", "days", "3"],
    )
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith("SPRING ")
    for words in ("25 % off", "until ", "3 uses at most", "2 a customer", "0 used"):
        assert words in made.out
    assert (again.code, again.out) == (1, "")
    assert "already: retire it first" in again.err
    found = await promo(shop, "SPRING")
    assert found.ends_at is not None
    assert about(found.ends_at, await now(shop) + timedelta(days=7))
    one = await shop.customer()
    await enter(shop, one, "spring")
    assert (await shop.buy(one)).discount == 25
    await make_promo(shop, "GIFT", "money", 10_050)

    off, gone, listed = await several(
        shell, ["promo", "off", "spring"], ["promo", "off", "SPRING"], ["promo", "list"]
    )

    assert off.code == listed.code == 0
    assert "SPRING is off" in off.out
    assert (gone.code, gone.err) == (1, "vpnd: there is no active promo code SPRING\n")
    first, second = listed.out.splitlines()
    assert "100.50 RUB to the balance; for good; no cap" in first
    assert second.startswith("SPRING ")
    assert second.endswith("1 used  (off)")


async def test_money_and_days(shop: ShopWorld, database_url: str) -> None:
    """In the shop's currency, exactly; for no time and any number of uses unless it is said."""
    shell = shop_environment(database_url)
    said = await several(
        shell, ["promo", "add", "GIFT", "money", "99.90"], ["promo", "add", "WEEK", "days", "7"]
    )
    assert [each.code for each in said] == [0, 0]
    gift, week = await promo(shop, "GIFT"), await promo(shop, "WEEK")
    assert (gift.value, gift.currency, gift.total_cap, gift.ends_at) == (9_990, "RUB", None, None)
    assert (week.kind, week.value, week.currency, week.customer_cap) == ("days", 7, None, 1)


async def test_a_personal_discount(shop: ShopWorld, database_url: str) -> None:
    """Given for a while, replaced for good, taken away; for nobody it is said that there is nobody."""
    shell = shop_environment(database_url)
    one = await shop.customer()
    given = await vpnd(shell, "discount", str(one.telegram_id), "15", "--valid", "2")
    assert (given.code, given.out, given.err) == (0, f"{one.telegram_id}: 15 % off\n", "")
    has = await discount_of(shop.db, one.id)
    assert has is not None
    assert has.until is not None
    assert about(has.until, await now(shop) + timedelta(days=2))

    await discount(shop, one, 30)
    taken, nobody = await several(
        shell, ["discount", str(one.telegram_id), "0"], ["discount", "987654", "10"]
    )
    assert (taken.code, taken.out) == (0, f"{one.telegram_id}: no discount\n")
    assert await discount_of(shop.db, one.id) is None
    assert (nobody.code, nobody.err) == (1, "vpnd: no customer has the Telegram id 987654\n")


async def test_a_schema_that_is_not_there(empty_database_url: str) -> None:
    """The sentence says what helps."""
    said = await vpnd(shop_environment(empty_database_url), "promo", "list")
    assert (said.code, said.out) == (1, "")
    assert "run `vpnd migrate`" in said.err
