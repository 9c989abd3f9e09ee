"""`vpnd give`, `block`, `unblock` and `operator`: the customers' desk at the shell, and what commands leave in the audit log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from money_world import balance, books_agree, only
from shell_kit import several, shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.shop.audit_log import entries
from vpnd.shop.operators import list_operators
from vpnd.shop.switches import register_switches

WHY = ("--reason", "because")


async def test_without_yes_nothing_is_done(shop: ShopWorld, database_url: str) -> None:
    """Whom it means and what would change is said, and nothing is changed."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.execute("update customers set username = 'somebody' where id = $1", one.id)
    mine = await only(shop, one)

    days, money, plan, block = await several(
        shop_environment(database_url),
        ["give", "@somebody", "--days", "7", *WHY],
        ["give", str(one.telegram_id), "--money", "99.50", *WHY],
        ["give", mine.name, "--plan", "plus", *WHY],
        ["block", one.referral_code, *WHY],
    )

    for said in (days, money, plan, block):
        assert (said.code, said.err) == (0, "")
        who, would, nothing = said.out.splitlines()
        assert who == f"{one.telegram_id}  U @somebody  customer:{one.id}"
        assert would.startswith("  would be: ")
        assert nothing == "Nothing was done. Say --yes to do it."
    assert (mine.expires_at + timedelta(days=7)).isoformat() in days.out
    assert "own 0.00 RUB, bonus 0.00 RUB → own 0.00 RUB, bonus 99.50 RUB, amount 99.50 RUB" in money.out
    assert "plan plus" in plan.out
    assert "blocked no → blocked yes, switched_off 1" in block.out
    assert (await only(shop, one)) == mine
    assert await entries(shop.db) == []


async def test_what_is_given_is_done_and_written(shop: ShopWorld, database_url: str) -> None:
    """Days, money and a plan, given and taken, by whatever names the customer; each with its line in the audit log."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought))
    mine = await only(shop, one)

    said = await several(
        shop_environment(database_url),
        ["give", bought.public_id, "--days", "7", *WHY, "--yes"],
        ["give", bought.public_id, "--days", "-2", *WHY, "--yes"],
        ["give", str(one.telegram_id), "--money", "50", *WHY, "--yes"],
        ["give", str(one.telegram_id), "--money", "-20.5", *WHY, "--yes"],
        ["give", str(one.telegram_id), "--days", "3", "--plan", "plus", *WHY, "--yes"],
        ["give", str(one.telegram_id), "--plan", "plus", "--subscription", str(mine.id), *WHY, "--yes"],
    )

    assert [(one.code, one.err) for one in said] == [(0, "")] * 6
    assert (await balance(shop, one)).bonus == 2950
    assert {held.plan_id for held in await shop.subscriptions(one)} == {"plus"}
    lines = await entries(shop.db)
    assert [line.action for line in reversed(lines)] == [
        "customers.days.given", "customers.days.taken", "customers.balance.given", "customers.balance.taken",
        "customers.days.given", "customers.plan",
    ]  # fmt: skip
    assert all(line.actor.startswith("shell:") and line.reason == "because" for line in lines)
    await books_agree(shop)


async def test_a_block_and_its_end(shop: ShopWorld, database_url: str) -> None:
    """Access goes off and comes back; twice is told as it is."""
    one = await shop.customer()
    await shop.grant(one)

    block, again, unblock = await several(
        shop_environment(database_url),
        ["block", str(one.telegram_id), *WHY, "--yes"],
        ["block", str(one.telegram_id), *WHY, "--yes"],
        ["unblock", str(one.telegram_id), *WHY, "--yes"],
    )

    assert (block.code, unblock.code) == (0, 0)
    assert (again.code, again.err) == (1, "vpnd: he is blocked already\n")
    assert (await only(shop, one)).status == "active"
    assert [line.action for line in await entries(shop.db)] == ["customers.block.lifted", "customers.block"]


async def test_errors_name_the_remedy(shop: ShopWorld, database_url: str) -> None:
    """Nobody, several, no plan, too much, and what does not go together."""
    one, other = await shop.customer(), await shop.customer()
    await shop.grant(one)
    await shop.grant(one, plan="plus")
    me = str(one.telegram_id)

    said = await several(
        shop_environment(database_url),
        ["give", "nobody", "--days", "1", *WHY],
        ["give", "u", "--days", "1", *WHY],
        ["give", me, *WHY],
        ["give", me, "--days", "1", *WHY],
        ["give", me, "--days", "1", "--subscription", "999", *WHY],
        ["give", me, "--days", "1", "--plan", "basik", *WHY],
        ["give", str(other.telegram_id), "--days", "1", *WHY],
        ["give", me, "--money", "-1", *WHY, "--yes"],
        ["give", me, "--money", "many", *WHY],
        ["give", me, "--money", "1", "--days", "1", *WHY],
    )

    assert [one.code for one in said] == [1] * len(said)
    remedies = [
        "give a Telegram id", "give the Telegram id of one", "--days N, --money AMOUNT or --plan PLAN",
        "name one by --subscription",
        "he has: ", 'did you mean "basic"?', "name the plan of a new one by --plan", "take that much at most", "--money: ",
        "leave --days, --plan and --subscription out",
    ]  # fmt: skip
    for one_said, remedy in zip(said, remedies, strict=True):
        assert remedy in one_said.err, one_said
    assert await entries(shop.db) == []


@pytest.mark.parametrize(
    "words", [["give", "1", "--days", "7"], ["block", "1"], ["operator", "set", "1", "owner"]]
)
async def test_a_reason_is_asked_for(shop: ShopWorld, database_url: str, words: list[str]) -> None:
    """Nothing is done without one: the command line is wrong."""
    said = await vpnd(shop_environment(database_url), *words, "--yes")

    assert said.code == 2
    assert "--reason" in said.err


async def test_operators(shop: ShopWorld, database_url: str) -> None:
    """Set by an id or a name, listed, removed; the configuration's owners are its own matter."""
    one = await shop.customer()
    await shop.execute("update customers set username = 'somebody' where id = $1", one.id)
    environment = shop_environment(database_url) | {"VPND_TELEGRAM__ADMINS": "42"}

    asked, named, unknown, listed, fixed, removed, gone = await several(
        environment,
        ["operator", "set", "@somebody", "support", *WHY],
        ["operator", "set", "@somebody", "support", *WHY, "--yes"],
        ["operator", "set", "777", "reader", *WHY, "--yes"],
        ["operator", "list"],
        ["operator", "set", "42", "reader", *WHY, "--yes"],
        ["operator", "remove", "777", *WHY, "--yes"],
        ["operator", "remove", "777", *WHY, "--yes"],
    )

    assert asked.out.splitlines()[-1] == "Nothing was done. Say --yes to do it."
    assert [one.code for one in (asked, named, unknown, listed, fixed, removed, gone)] == [
        0,
        0,
        0,
        0,
        1,
        0,
        1,
    ]
    assert "owner     from the configuration" in listed.out
    assert "support   U @somebody" in listed.out
    assert "[telegram] admins" in fixed.err
    assert "is no operator" in gone.err
    assert [one.role for one in await list_operators(shop.db)] == ["support"]
    assert [line.action for line in await entries(shop.db)] == ["operators.edit"] * 3


async def test_every_command_leaves_a_line(shop: ShopWorld, database_url: str) -> None:
    """Refunds, switches, the banner, codes, discounts and repairs are written down with the server's account."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one), charge_id="17"))
    await register_switches(shop.db, ["expiry"])

    said = await several(
        shop_environment(database_url),
        ["refund", "cryptopay:17", "--to-balance", "--reason", "slow", "--yes"],
        ["pause", "expiry", "--reason", "a test"],
        ["resume", "expiry"],
        ["banner", "Back soon"],
        ["banner", "--off"],
        ["promo", "add", "SPRING", "percent", "10"],
        ["promo", "off", "SPRING"],
        ["discount", str(one.telegram_id), "15"],
        ["doctor", "--repair"],
    )

    assert [one.code for one in said[:-1]] == [0] * 8, said
    lines = list(reversed(await entries(shop.db, limit=50)))
    assert [(line.action, line.subject) for line in lines] == [
        ("customers.refund", f"customer:{one.id}"),
        ("switches.set", "switch:expiry"),
        ("switches.set", "switch:expiry"),
        ("switches.set", "banner"),
        ("switches.set", "banner"),
        ("catalogue.edit.promo", "promo:SPRING"),
        ("catalogue.edit.promo", "promo:SPRING"),
        ("catalogue.edit.discount", f"customer:{one.id}"),
        ("doctor.repair.begun", "shop"),
        ("doctor.repair.ended", "shop"),
    ]
    assert [line.reason for line in lines[:2]] == ["slow", "a test"]
    assert lines[7].after == {"discount": 15, "until": None}
    assert all(line.actor.startswith("shell:") for line in lines)
