"""Settlement: every charge once, and every unit of it somewhere."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop import books, ledger
from vpnd.shop.purchases import attach_invoice, cancel_purchase, expire_purchases
from vpnd.shop.refunds import finish_refund, refund_fact
from vpnd.shop.settlement import Outcome, settle
from vpnd.shop.subscriptions import expire_due


async def account(shop: ShopWorld, kind: str, currency: str) -> int:
    """What the ledger says of all accounts of a kind."""
    return int(
        await shop.db.fetchval(
            "test",
            """
            select coalesce(sum(case when l.credit_id = a.id then l.amount else -l.amount end), 0)
            from accounts a join ledger l on a.id in (l.credit_id, l.debit_id)
            where a.kind = $1 and a.currency = $2
            """,
            kind,
            currency,
        )
    )


async def test_the_exact_price_buys_access(shop: ShopWorld) -> None:
    """Paid, granted, booked, receipted: all by one commit."""
    one = await shop.customer()
    bought = await shop.buy(one)
    result = await shop.settle(shop.charge(bought))

    assert result.outcome is Outcome.SETTLED
    assert result.granted is not None
    assert result.access_changed
    assert (await shop.again(bought)).status == "paid"
    (mine,) = await shop.subscriptions(one)
    assert mine.status == "active"
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 0
    assert await account(shop, "revenue", "RUB") == bought.shop_amount
    assert await account(shop, "clearing", "RUB") == -bought.shop_amount
    (row,) = await shop.outbox()
    assert (row["kind"], row["key"], row["lane"]) == ("message", f"receipt:{result.settlement_id}", "receipt")
    assert row["payload"]["template"] == "receipt"
    assert row["payload"]["args"] == {
        "subscription_id": mine.id, "plan_id": "basic", "days": 30, "expires_at": mine.expires_at.isoformat(),
        "renewed": False, "automatic": False,
        "amount": bought.amount, "currency": "RUB", "balance_added": 0, "balance_currency": "RUB",
    }  # fmt: skip
    assert mine.link_token not in str(row["payload"])
    assert str(mine.credential) not in str(row["payload"])


async def test_stars_enter_by_the_exchange_at_the_stored_rate(shop: ShopWorld) -> None:
    """XTR stay XTR; roubles come out of the exchange for exactly the price; each currency sums to zero."""
    one = await shop.customer()
    bought = await shop.buy(one, "stars")
    await shop.settle(shop.charge(bought))

    assert await account(shop, "clearing", "XTR") == -150
    assert await account(shop, "exchange", "XTR") == 150
    assert await account(shop, "exchange", "RUB") == -19900
    assert await account(shop, "revenue", "RUB") == 19900
    assert await ledger.imbalance(shop.db) == {"RUB": 0, "XTR": 0}
    rates = await shop.db.fetch("test", "select kind, rate from ledger where rate is not null order by id")
    assert [row["kind"] for row in rates] == ["payment", "exchange"]
    assert abs(float(rates[0]["rate"]) - 19900 / 150) < 1e-9


async def test_a_repeat_changes_nothing(shop: ShopWorld) -> None:
    """The same charge again, also under another payload: settled already, no row more."""
    one = await shop.customer()
    bought, other = await shop.buy(one), await shop.buy(one, days=90)
    charge = shop.charge(bought)
    await shop.settle(charge)
    before = await shop.db.fetchval("test", "select count(*) from ledger")

    again = await shop.settle(charge)
    elsewhere = await shop.settle(shop.charge(other, charge_id=charge.charge_id))

    assert again.outcome is elsewhere.outcome is Outcome.ALREADY_SETTLED
    assert again.purchase_id == bought.id
    assert await shop.db.fetchval("test", "select count(*) from ledger") == before
    assert len(await shop.outbox()) == 1


async def test_one_charge_reported_twice_at_once_settles_once(shop: ShopWorld) -> None:
    """The second waits for the first's purchase and then finds the charge taken: it is no second charge."""
    one = await shop.customer()
    bought = await shop.buy(one)
    charge = shop.charge(bought)
    results = []

    async def second() -> None:
        results.append(await shop.settle(charge))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: settle(tx, charge))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert [result.outcome for result in results] == [Outcome.ALREADY_SETTLED]
    assert await account(shop, "revenue", "RUB") == bought.shop_amount


async def test_a_part_reported_twice_at_once_is_received_once(shop: ShopWorld) -> None:
    """Who loses the claim of a charge changes nothing of the purchase either."""
    one = await shop.customer()
    bought = await shop.buy(one)
    charge = shop.charge(bought, 10000)
    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: settle(tx, charge))
        nursery.start_soon(shop.settle, charge)
        await wait_for_lock(shop.db)
        await first.commit()

    now = await shop.again(bought)
    assert (now.status, now.received) == ("pending", 10000)
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 10000


async def test_two_charges_of_one_purchase_at_once_buy_once(shop: ShopWorld) -> None:
    """The purchase's row makes the second charge see that the first has paid it."""
    one = await shop.customer()
    bought = await shop.buy(one)
    results = []

    async def second() -> None:
        results.append(await shop.settle(shop.charge(bought)))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: settle(tx, shop.charge(bought)))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert [result.outcome for result in results] == [Outcome.SECOND_CHARGE]
    assert await ledger.balance_of(shop.db, one.id, "RUB") == bought.amount


async def test_a_held_charge_reported_twice_at_once_is_held_once(shop: ShopWorld) -> None:
    """Without a purchase to wait for, the charge's own key makes the second give way."""
    one = await shop.customer()
    charge = shop.charge(await shop.buy(one), payload="pnobody")
    results = []

    async def second() -> None:
        results.append(await shop.settle(charge))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: settle(tx, charge))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert [result.outcome for result in results] == [Outcome.ALREADY_SETTLED]
    assert len(await shop.outbox("held:")) == 1


async def test_an_overpayment_buys_and_leaves_the_rest(shop: ShopWorld) -> None:
    """More than the price is never refused; the rest lies on the balance and the receipt says so."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought, bought.amount + 55))

    assert await ledger.balance_of(shop.db, one.id, "RUB") == 55
    (row,) = await shop.outbox()
    assert row["payload"]["args"]["balance_added"] == 55


async def test_an_underpayment_is_credited_and_told(shop: ShopWorld) -> None:
    """Nothing is sold, the money is the customer's, and the notice says what is missing."""
    one = await shop.customer()
    bought = await shop.buy(one)
    result = await shop.settle(shop.charge(bought, 10000))

    assert result.outcome is Outcome.UNDERPAID
    now = await shop.again(bought)
    assert (now.status, now.received) == ("pending", 10000)
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 10000
    assert await shop.subscriptions(one) == []
    (row,) = await shop.outbox()
    assert row["payload"]["template"] == "underpaid"
    assert row["payload"]["args"]["missing"] == 9900


@pytest.mark.parametrize("method", ["cryptopay", "stars"])
async def test_charges_that_make_up_the_price_buy(shop: ShopWorld, method: str) -> None:
    """What was credited before goes into the sale; parts are worth exactly the whole, in Stars too."""
    one = await shop.customer()
    bought = await shop.buy(one, method)  # type: ignore[arg-type]  # parametrized
    part = bought.amount // 3
    outcomes = [
        (await shop.settle(shop.charge(bought, amount))).outcome
        for amount in (part, part, bought.amount - 2 * part)
    ]

    assert outcomes == [Outcome.UNDERPAID, Outcome.UNDERPAID, Outcome.SETTLED]
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 0
    assert await account(shop, "revenue", "RUB") == bought.shop_amount
    assert len(await shop.subscriptions(one)) == 1


async def test_parts_that_were_taken_back_do_not_buy(shop: ShopWorld) -> None:
    """When the first part has left the balance the last one is credited, and nothing is sold below its price."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought, 10000))
    taken = ledger.Entry(
        ledger.customer(one.id, "RUB"), ledger.adjustments("RUB"), 10000, "adjustment", "taken"
    )
    await shop.do(lambda tx: ledger.post(tx, [taken]))

    result = await shop.settle(shop.charge(bought, 9900))

    assert result.outcome is Outcome.UNDERPAID
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 9900


@pytest.mark.parametrize("how", ["expired", "cancelled"])
async def test_a_late_payment_is_honoured(shop: ShopWorld, how: str) -> None:
    """The customer has paid: a purchase that is closed is settled like an open one."""
    one = await shop.customer()
    bought = await shop.buy(one)
    if how == "expired":
        await shop.advance(timedelta(hours=2))
        await expire_purchases(shop.db, 10)
    else:
        await shop.do(lambda tx: cancel_purchase(tx, bought.public_id, one.telegram_id))
    assert (await shop.again(bought)).status == how

    assert (await shop.settle(shop.charge(bought))).outcome is Outcome.SETTLED
    assert (await shop.again(bought)).status == "paid"
    assert len(await shop.subscriptions(one)) == 1


async def test_an_expiry_of_the_purchase_waits_for_its_settlement(shop: ShopWorld) -> None:
    """The sweep passes over a purchase that is being settled and leaves it paid."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.advance(timedelta(hours=2))
    async with trio.open_nursery() as nursery:
        paying = await hold(nursery, shop.db, lambda tx: settle(tx, shop.charge(bought)))
        assert await expire_purchases(shop.db, 10) == 0
        await paying.commit()
    assert await expire_purchases(shop.db, 10) == 0
    assert (await shop.again(bought)).status == "paid"


async def test_a_second_charge_goes_to_the_balance(shop: ShopWorld) -> None:
    """Another charge for a paid purchase is a new payment: no access twice, the customer is told."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought))
    result = await shop.settle(shop.charge(bought))

    assert result.outcome is Outcome.SECOND_CHARGE
    assert await ledger.balance_of(shop.db, one.id, "RUB") == bought.amount
    (mine,) = await shop.subscriptions(one)
    assert mine.expires_at - mine.starts_at == timedelta(days=30)
    assert [row["payload"]["template"] for row in await shop.outbox()] == ["receipt", "second_charge_balance"]


async def test_a_second_charge_in_stars_is_refunded(shop: ShopWorld) -> None:
    """Stars go back to who paid them, by a job; until Telegram has confirmed they stand in the held account."""
    one = await shop.customer()
    bought = await shop.buy(one, "stars")
    await shop.settle(shop.charge(bought))
    result = await shop.settle(shop.charge(bought, charge_id="second", payer_telegram_id=42))

    assert result.outcome is Outcome.SECOND_CHARGE
    (job,) = await shop.outbox("refund_job:")
    assert job["kind"] == "refund_stars"
    fact = await refund_fact(shop.db, job["payload"]["refund"])
    assert fact is not None
    assert (fact.charge_id, fact.telegram_id, fact.refund.amount) == ("second", 42, 150)
    assert await account(shop, "held", "XTR") == 150
    assert await shop.do(lambda tx: finish_refund(tx, fact.refund.id, None))
    assert not await shop.do(lambda tx: finish_refund(tx, fact.refund.id, None))
    assert await account(shop, "clearing", "XTR") == -150
    assert await account(shop, "held", "XTR") == 0
    assert (await shop.outbox("second_charge:"))[0]["payload"]["template"] == "second_charge_refund"
    assert (await shop.settle(shop.charge(bought, charge_id="second"))).outcome is Outcome.ALREADY_SETTLED
    assert len(await shop.outbox("refund_job:")) == 1


async def test_a_second_charge_repays_what_is_owed(shop: ShopWorld) -> None:
    """What a customer owes is taken from the first money that would lie idle."""
    one = await shop.customer()
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought))
    (row,) = await shop.db.fetch("test", "select id from ledger where kind = 'payment'")
    await shop.do(lambda tx: ledger.reverse(tx, row["id"], reference="chargeback"))

    await shop.settle(shop.charge(bought, bought.amount + 100))

    assert await ledger.balance_of(shop.db, one.id, "RUB") == 100
    assert await account(shop, "receivable", "RUB") == 0


async def test_an_unknown_invoice_belongs_to_the_purchase_it_names(shop: ShopWorld) -> None:
    """An invoice whose note was lost is led home by its payload; one that was noted needs no payload."""
    one = await shop.customer()
    first, second = await shop.buy(one), await shop.buy(one, days=90)
    await shop.do(
        lambda tx: attach_invoice(tx, second, provider="cryptopay", external_id="77", url="u", amount=1,
                                  currency="RUB", expires_at=second.expires_at)
    )  # fmt: skip

    by_payload = await shop.settle(shop.charge(first, invoice_external_id="nobody noted it"))
    by_invoice = await shop.settle(shop.charge(second, invoice_external_id="77", payload=None))

    assert (by_payload.outcome, by_payload.purchase_id) == (Outcome.SETTLED, first.id)
    assert (by_invoice.outcome, by_invoice.purchase_id) == (Outcome.SETTLED, second.id)
    invoice = (await shop.again(second)).invoice
    assert invoice is not None
    assert invoice.status == "paid"


@pytest.mark.parametrize(
    ("changes", "reason", "booked"),
    [
        ({"payload": "pnobody"}, "no_purchase", True),
        ({"payload": None}, "no_purchase", True),
        ({"payload": "p\x00"}, "no_purchase", True),
        ({"provider": "stars"}, "other_method", True),
        ({"currency": "USD"}, "other_currency", True),
        ({"amount": None, "amount_text": "1.23456"}, "unreadable_amount", False),
    ],
)
async def test_what_fits_nothing_is_held(shop: ShopWorld, changes: dict, reason: str, booked: bool) -> None:
    """Recorded, booked to the held account where its amount can be read, and an admin is told, once."""
    one = await shop.customer()
    bought = await shop.buy(one)
    charge = shop.charge(bought, **changes)
    result = await shop.settle(charge)
    await shop.settle(charge)

    assert (result.outcome, result.reason) == (Outcome.HELD, reason)
    assert (await shop.again(bought)).status == "pending"
    assert await account(shop, "held", charge.currency) == (bought.amount if booked else 0)
    (alert,) = await shop.outbox("held:")
    assert alert["kind"] == "admin_alert"
    assert alert["key"] == f"held:{charge.provider}:{charge.charge_id}"
    assert alert["payload"]["args"]["reason"] == reason
    assert len(await shop.outbox("payment_held:")) == (0 if reason == "no_purchase" else 1)


async def test_a_failure_leaves_nothing_behind(shop: ShopWorld) -> None:
    """When the last write fails, there is no settlement, no access, no transfer; the next report settles it."""
    one = await shop.customer()
    bought = await shop.buy(one)
    charge = shop.charge(bought)

    async def settle_and_fail(tx) -> None:
        await settle(tx, charge)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await shop.do(settle_and_fail)
    for table in ("settlements", "subscriptions", "ledger", "outbox", "grants", "access_log"):
        assert await shop.db.fetchval("test", f"select count(*) from {table}") == 0  # noqa: S608 (constants)

    assert (await shop.settle(charge)).outcome is Outcome.SETTLED


async def test_a_renewal_by_payment_names_its_subscription(shop: ShopWorld) -> None:
    """A purchase that renews one subscription renews that one, also after it expired."""
    one = await shop.customer()
    mine = (await shop.grant(one)).subscription
    bought = await shop.buy(one, "stars", subscription_id=mine.id)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)

    result = await shop.settle(shop.charge(bought))

    assert result.granted is not None
    assert result.granted.subscription_id == mine.id
    (again,) = await shop.subscriptions(one)
    assert again.credential == mine.credential
    assert result.access_changed


async def test_payments_of_one_customer_at_once_do_not_deadlock(shop: ShopWorld) -> None:
    """Purchase, subscription, accounts: one order for all, so concurrent settlements take turns."""
    one = await shop.customer()
    bought = [await shop.buy(one, days=days) for days in (30, 90, 365)]
    bought += [await shop.buy(one, "stars", days=days) for days in (30, 90, 365)]
    async with trio.open_nursery() as nursery:
        for purchase in bought:
            for _ in range(2):
                nursery.start_soon(shop.settle, shop.charge(purchase, charge_id=f"c{purchase.id}"))

    (mine,) = await shop.subscriptions(one)
    assert mine.expires_at - mine.starts_at == timedelta(days=2 * (30 + 90 + 365))
    assert await shop.db.fetchval("test", "select count(*) from settlements") == 6
    assert await ledger.imbalance(shop.db) == {"RUB": 0, "XTR": 0}
    assert await books.balance_drift(shop.db) == []
