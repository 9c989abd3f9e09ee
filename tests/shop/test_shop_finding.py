"""Finding a customer by whatever an operator has at hand."""

from __future__ import annotations

import pytest
from money_world import only
from shop_world import ShopWorld

from vpnd.shop.customers import Customer
from vpnd.shop.finding import MOST, find_customers

pytestmark = pytest.mark.postgres


async def found(shop: ShopWorld, words: str) -> list[int]:
    """Ids of those who are found."""
    return [hit.id for hit in await find_customers(shop.db, words)]


async def named(shop: ShopWorld, username: str | None, first_name: str) -> Customer:
    """A customer with names."""
    one = await shop.customer()
    await shop.execute(
        "update customers set username = $2, first_name = $3 where id = $1", one.id, username, first_name
    )
    return one


async def test_everything_that_names_a_customer(shop: ShopWorld) -> None:
    """By each of his names, links and payments he is found, and nobody else is."""
    one = await named(shop, "Some_Body", "Ann")
    other = await named(shop, "somebody_else", "Bob")
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought, charge_id="501"))
    await shop.grant(other)
    mine = await only(shop, one)
    await shop.execute(
        "insert into invoices (purchase_id, provider, external_id, url, currency, amount, expires_at)"
        " values ($1, 'yookassa', '2c85e8a1-000f-5000-8000-1a2b3c4d5e6f', 'https://x', 'RUB', 1, vpnd_now())",
        bought.id,
    )
    uuid = str(mine.credential)
    ways = [
        str(one.telegram_id), f" {one.telegram_id} ", f"tg://user?id={one.telegram_id}", f"customer:{one.id}",
        "@some_body", "SOME_BODY", "https://t.me/Some_Body", "ann", "An", one.referral_code, one.referral_code.lower(),
        f"https://t.me/shop_bot?start=ref_{one.referral_code}", f"ref_{one.referral_code}",
        f"https://vpn.example.org/sub/{mine.link_token}", f"/sub/{mine.link_token}?x=1", mine.link_token, mine.name,
        uuid, uuid.upper(), uuid.replace("-", ""), f"vless://{uuid}@de.example.org:443?type=tcp#Shop",
        bought.public_id, "501", "cryptopay:501", "2c85e8a1-000f-5000-8000-1a2b3c4d5e6f",
        "yookassa:2c85e8a1-000f-5000-8000-1a2b3c4d5e6f",
    ]  # fmt: skip

    assert {way: await found(shop, way) for way in ways} == {way: [one.id] for way in ways}


async def test_what_names_nobody(shop: ShopWorld) -> None:
    """Strange, empty and overlong words find nobody and break nothing."""
    await named(shop, None, "")
    for words in (
        "", " ", "@", "\x00", "x" * 5000, "9" * 30, str(2**63), "customer:99", "stars:501", "'; drop table customers", "%", "_",
        "/sub/short", "vless://", "ref_", "https://t.me/", "\U0010ffff",
    ):  # fmt: skip
        assert await found(shop, words) == [], words


async def test_several_are_a_list(shop: ShopWorld) -> None:
    """The beginning of a name finds all who are called so, the newest first, and no more than a list shows."""
    people = [await named(shop, f"User{number}", f"Иван {number}") for number in range(MOST + 3)]

    assert len(await found(shop, "иван")) == MOST
    assert set(await found(shop, "user1")) == {people[1].id}
    assert await found(shop, "@user") == sorted(await found(shop, "user"), reverse=True)


async def test_a_number_may_be_two_things(shop: ShopWorld) -> None:
    """A Telegram id and another's invoice: both are shown."""
    one, other = await shop.customer(777), await shop.customer()
    await shop.settle(shop.charge(await shop.buy(other), charge_id="777"))

    assert set(await found(shop, "777")) == {one.id, other.id}


async def test_names_are_found_by_indexes(shop: ShopWorld) -> None:
    """At a million customers a search reads a few rows: the plan of each part is an index, also of the beginning of a name."""
    from vpnd.shop import finding

    async def plan(sql: str, *args: object) -> str:
        async with shop.db.transaction("test") as tx:
            await tx.execute("set local enable_seqscan = off")
            return "\n".join(str(row[0]) for row in await tx.fetch(f"explain {sql}", *args))

    exact = await plan(finding._EXACT, 1, 1, "word", None, ["stars"], "x", 10)
    begins = await plan(finding._NAMED, ["a"], ["a\U0010ffff"], 10)

    assert "Seq Scan" not in exact
    assert "customers_username" in begins
    assert "customers_first_name" in begins
    assert "Seq Scan" not in begins
