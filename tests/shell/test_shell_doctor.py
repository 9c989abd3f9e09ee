"""`vpnd doctor`: every difference by name, mended with --repair, and an exit code that says whether one is left."""

from __future__ import annotations

from money_sandbox import Town, environment, open_town, ordered
from money_world import books_agree, only, refund
from shell_kit import Said, several, shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.payments.settle import settle_charge
from vpnd.payments.stars_sweep import sweep_stars
from vpnd.shop.purchases import Purchase

#: What is compared row by row; the rest is looked at in test_shell_doctor_checks.py.
COMPARED = ("--only", "books", "--only", "providers", "--only", "nodes")


async def differences(shop: ShopWorld, town: Town) -> tuple[dict[str, str], list[Purchase]]:
    """One of each: what the doctor has to name (kind by name), and the purchases that are to be paid."""
    names: dict[str, str] = {}
    paid: list[Purchase] = []
    for desk in (town.cryptopay, town.yookassa):
        purchase, number = await ordered(shop, desk)
        await town.pay(desk, number)
        names[number] = "unsettled"
        paid.append(purchase)
    one = await shop.customer()
    stars = await shop.buy(one, "stars")
    names[await town.pay_stars(stars, one.telegram_id)] = "unsettled"
    paid.append(stars)
    # Settled by us, and then given back in the provider's cabinet.
    _, number = await ordered(shop, town.yookassa)
    await town.pay(town.yookassa, number)
    charge = await town.yookassa.read_charge(number)
    assert charge is not None
    await settle_charge(shop.db, charge)
    made = await town.yoo("refund", payment_id=number, deliver=False)
    names[made["refund"]["id"]] = "refund_unknown"
    return names, paid


def line(said: Said, name: str) -> str:
    """The line that names a difference."""
    (found,) = [each for each in said.out.splitlines() if f" {name}: " in each]
    return found


async def test_each_difference_is_named_and_mended(shop: ShopWorld, database_url: str) -> None:
    """An invoice of Crypto Pay, a payment of YooKassa, Stars, a refund made by hand: left, mended, and then none."""
    async with open_town() as town:
        shell = environment(town, database_url)
        names, paid = await differences(shop, town)

        looked = await vpnd(shell, "doctor", *COMPARED)
        assert looked.code == 1
        for name, kind in names.items():
            assert f"{kind} {name}: left" in line(looked, name)
        assert "Everything agrees." not in looked.out
        assert {(await shop.again(purchase)).status for purchase in paid} == {"pending"}

        mended, again = await several(shell, ["doctor", "--repair", *COMPARED], ["doctor", *COMPARED])
        assert mended.code == 0
        for name, kind in names.items():
            assert f"{kind} {name}: mended" in line(mended, name)
        assert mended.out.endswith("Everything agrees.\n")
        assert {(await shop.again(purchase)).status for purchase in paid} == {"paid"}
        assert await shop.db.fetchval("test", "select count(*) from purchases where status = 'refunded'") == 1
        await books_agree(shop)

        assert again.code == 0
        assert [
            each for each in again.out.splitlines() if "unsettled" in each or "refund_unknown" in each
        ] == []
        assert again.out.endswith("Everything agrees.\n")


async def test_one_provider_that_is_away_does_not_hide_the_others(shop: ShopWorld, database_url: str) -> None:
    """It is said by name, the others are mended, and the end is 1."""
    async with open_town() as town:
        shell = environment(town, database_url)
        names, paid = await differences(shop, town)
        await town.crypto("fault", method="*", kind="5xx", count=100)

        said = await vpnd(shell, "doctor", "--repair", *COMPARED)

        assert said.code == 1
        assert any(each.startswith("cryptopay   could not be asked:") for each in said.out.splitlines())
        assert said.out.count(": mended (") == len(names) - 1
        assert [(await shop.again(purchase)).status for purchase in paid] == ["pending", "paid", "paid"]
        await town.crypto("reset")
        await town.telegram("fault", method="getStarTransactions", kind="401", count=1)
        said = await vpnd(shell, "doctor", "--repair", *COMPARED)
        assert said.code == 1
        assert "stars       could not be asked:" in said.out
        assert (await shop.again(paid[0])).status == "paid"


async def test_what_only_a_person_can_mend_is_left(shop: ShopWorld, database_url: str) -> None:
    """Stars given to the balance and charged back all the same; a balance that has drifted: named each time, exit 1."""
    async with open_town() as town:
        shell = environment(town, database_url)
        one = await shop.customer()
        charge_id = await town.pay_stars(await shop.buy(one, "stars"), one.telegram_id)
        await sweep_stars(shop.db, town.stars)
        await refund(shop, await shop.db.fetchval("test", "select id from settlements"), to="balance")
        await town.telegram("chargeback", charge_id=charge_id)
        await shop.execute("update accounts set balance = balance + 1 where kind = 'customer'")

        said = await vpnd(shell, "doctor", "--repair", *COMPARED)

        assert said.code == 1
        assert f"refund_unknown {charge_id}: left" in line(said, charge_id)
        assert (
            f"balance     customer of customer {one.id}: 19901 kept, 19900 booked (minor units of RUB)"
            in said.out
        )
        assert "1 differences" in said.out
        assert (await only(shop, one)).status == "expired"


async def test_a_shop_without_providers_agrees_with_itself(shop: ShopWorld, database_url: str) -> None:
    """Only the books are looked at."""
    await shop.fill(await shop.customer(), 5_000)
    shell = {**shop_environment(database_url), "VPND_STARS__ENABLED": "false"}
    said = await vpnd(shell, "doctor", "--only", "books", "--only", "providers")
    assert (said.code, said.err) == (0, "")
    # His own account, and what others may have opened for him.
    assert said.out.startswith("books       ")
    assert "0 differences\nEverything agrees.\n" in said.out
