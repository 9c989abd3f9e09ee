"""`vpnd refund`: what there is, what is done, and what came of it, told to who typed it."""

from __future__ import annotations

import trio
from attrs import evolve
from money_sandbox import environment, open_town, ordered
from money_world import balance, books_agree, only, refund
from payments_kit import check_invoices
from shell_kit import several, shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.database.outbox_rows import OutboxItem
from vpnd.payments.refunding import RefundsMoney, deliver_refund


async def test_without_yes_nothing_is_done(shop: ShopWorld, database_url: str) -> None:
    """By the purchase and by the charge: what was paid, by whom, for what, and what is left."""
    shell = shop_environment(database_url)
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought, charge_id="17"))

    by_purchase, by_charge = await several(
        shell, ["refund", bought.public_id], ["refund", "cryptopay:17", "--amount", "99.50"]
    )

    assert by_purchase.code == by_charge.code == 0
    line, advice = by_purchase.out.splitlines()
    assert line.startswith("cryptopay:17  199.00 RUB of ")
    assert (
        f"for access ({bought.public_id}), by Telegram id {one.telegram_id}; settled, given back: 0.00"
        in line
    )
    assert advice == "Nothing was done. Say --yes to give back what is left."
    assert by_charge.out.splitlines()[1] == "Nothing was done. Say --yes to give back what is left, 99.50."
    assert await shop.db.fetchval("test", "select count(*) from refunds") == 0


async def test_a_part_to_the_balance(shop: ShopWorld, database_url: str) -> None:
    """At once: days are taken, the money is on the balance, with who asked and why."""
    shell = shop_environment(database_url)
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one), charge_id="17"))

    said = await vpnd(
        shell, "refund", "cryptopay:17", "--amount", "99.50", "--to-balance", "--reason", "slow", "--yes"
    )

    assert (said.code, said.err) == (0, "")
    _, access, done = said.out.splitlines()
    assert access.startswith("  access: 15 days, 0:00:00 taken back, the subscription ends ")
    assert done == "  done: it is on the customer's balance"
    assert (await balance(shop, one)).own == 9_950
    row = await shop.db.fetchrow("test", "select requested_by, reason from refunds")
    assert row is not None
    assert row["requested_by"].startswith("shell:")
    assert row["reason"] == "slow"


async def test_what_cannot_be_done_is_said(shop: ShopWorld, database_url: str) -> None:
    """Unknown, a wrong amount, too much, a part of several, nothing left: exit 1, one sentence, nothing changed."""
    one = await shop.customer()
    parts = await shop.buy(one)
    await shop.settle(shop.charge(parts, 10_000, charge_id="1"))
    await shop.settle(shop.charge(parts, 9_900, charge_id="2"))
    await shop.settle(shop.charge(await shop.buy(one, "stars"), charge_id="s"))
    gone = await shop.settle(shop.charge(await shop.buy(one, days=90), charge_id="3"))
    await refund(shop, gone.settlement_id)
    # Held, of a currency that is not known here: it can be shown, and nothing of it was booked.
    strange = shop.charge(await shop.buy(one, days=365), charge_id="17")
    await shop.settle(evolve(strange, amount=None, currency="PEPE", amount_text="1.5", payload=None))
    count = await shop.db.fetchval("test", "select count(*) from ledger")
    sentences = {
        ("pnobody",): "there is no charge of 'pnobody': give a purchase (p…) or provider:charge",
        ("cryptopay:1", "--amount", "much"): "--amount: 'much' is not a plain decimal number",
        (
            "cryptopay:1",
            "--amount",
            "100.01",
            "--yes",
        ): "at most 10000 minor units of RUB are left of this charge",
        (parts.public_id, "--amount", "5", "--yes"): "several charges paid for it",
        ("stars:s", "--amount", "5", "--yes"): "Telegram gives a charge in Stars back whole or not at all",
        ("cryptopay:3", "--yes"): "nothing is left of it that could go back",
        ("cryptopay:17",): "nothing is left of it that could go back",
    }

    said = await several(shop_environment(database_url), *(["refund", *words] for words in sentences))

    for each, sentence in zip(said, sentences.values(), strict=True):
        assert each.code == 1
        assert each.err.startswith("vpnd: ")
        assert sentence in each.err
        assert each.err.count("\n") == 1
    assert "0 units PEPE" in said[-1].out
    assert await shop.db.fetchval("test", "select count(*) from ledger") == count


async def test_all_charges_of_a_purchase(shop: ShopWorld, database_url: str) -> None:
    """One after the other, each said; nobody answers, and that is said too, with what happens then."""
    shell = shop_environment(database_url)
    one = await shop.customer()
    parts = await shop.buy(one)
    await shop.settle(shop.charge(parts, 10_000))
    await shop.settle(shop.charge(parts, 9_900))

    said = await vpnd(shell, "refund", parts.public_id, "--yes", impatient=True)

    assert said.code == 0
    assert said.out.count("  asked: cryptopay gives it back") == 2
    assert said.out.count("no answer yet; it goes on by itself") == 2
    assert "the subscription is off now" in said.out
    assert len(await shop.outbox("refund_job:")) == 2
    assert (await only(shop, one)).status == "expired"
    await books_agree(shop)


async def test_the_providers_answer_is_waited_for(shop: ShopWorld, database_url: str) -> None:
    """The daemon's relay does the job: the money went back by one provider, and could not by the other."""
    async with open_town() as town:
        shell = environment(town, database_url)
        card, number = await ordered(shop, town.yookassa)
        await town.pay(town.yookassa, number)
        coins, invoice = await ordered(shop, town.cryptopay)
        await town.pay(town.cryptopay, invoice)
        for desk in (town.yookassa, town.cryptopay):
            assert (await check_invoices(shop.db, desk)).paid == 1
        makers: dict[str, RefundsMoney] = {"yookassa": town.yookassa, "cryptopay": town.cryptopay}

        async def relay() -> None:
            done = 0
            while done < 2:
                for number, row in enumerate((await shop.outbox("refund_job:"))[done:]):
                    item = OutboxItem(
                        number, row["kind"], row["key"], "notice", None, row["payload"], 1, 0, False, False
                    )
                    await deliver_refund(shop.db, makers, item)
                    done += 1
                await trio.sleep(0.02)

        said = {}

        async def ask(name: str) -> None:
            said[name] = await vpnd(shell, "refund", name, "--yes")

        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay)
                nursery.start_soon(ask, card.public_id)
                nursery.start_soon(ask, coins.public_id)

        assert said[card.public_id].code == said[coins.public_id].code == 0
        assert said[card.public_id].out.endswith("  done: the money went back\n")
        assert "the provider would not (" in said[coins.public_id].out
        assert said[coins.public_id].out.endswith("it is on the customer's balance\n")
        assert sum(refund.amount for refund in town.sandbox.yookassa.shop.refunds.values()) == 199
        await books_agree(shop)
