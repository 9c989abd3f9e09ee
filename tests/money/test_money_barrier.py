"""Many at once: transactions that have all begun and hold nothing are let go together, and exactly one of them wins."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from shop_world import ShopWorld

from money.barrier import MEETINGS, Meeting, deadlocks, release, sums_are_right
from vpnd.database.database import Transaction
from vpnd.shop import ledger
from vpnd.shop.balance import charge_of
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.opening import open_purchase
from vpnd.shop.promos import PromoUnavailable, create_code, enter_code
from vpnd.shop.refund_requests import RefundRequest, request_refund
from vpnd.shop.renewals import due_renewals, renew
from vpnd.shop.settlement import Outcome, settle
from vpnd.shop.subscriptions import set_renewal

MANY = 8
ROUNDS = 15  # of each meeting; the soak plays a thousand


async def test_one_charge_reported_by_many_settles_once(shop: ShopWorld) -> None:
    """Webhook, watcher, comparison and their repeats report one charge at once: one settles it, the rest hear so."""
    buyer = await shop.customer()
    charge = shop.charge(await shop.buy(buyer))

    results = await release(shop, [lambda tx: settle(tx, charge)] * MANY)

    assert Counter(one.outcome for one in results) == {Outcome.SETTLED: 1, Outcome.ALREADY_SETTLED: MANY - 1}
    assert len(await shop.outbox("receipt:")) == 1
    await sums_are_right(shop)


async def test_a_purchase_paid_from_the_balance_by_many_is_paid_once(shop: ShopWorld) -> None:
    """The button is pressed by both hands: one payment, and the other presses hear that it was made."""
    buyer = await shop.customer()
    await shop.fill(buyer, 100_000)
    charge = charge_of(await shop.buy(buyer, "balance"))

    results = await release(shop, [lambda tx: settle(tx, charge)] * MANY)

    assert [one for one in results if isinstance(one, Exception)] == []
    assert Counter(one.outcome for one in results) == {Outcome.SETTLED: 1, Outcome.ALREADY_SETTLED: MANY - 1}
    assert await ledger.balance_of(shop.db, buyer.id, "RUB") == 100_000 - 19_900
    await sums_are_right(shop)


async def test_many_charges_of_one_purchase_buy_once(shop: ShopWorld) -> None:
    """Each is real money: one buys, the rest goes to the balance."""
    buyer = await shop.customer()
    bought = await shop.buy(buyer)
    charges = [shop.charge(bought) for _ in range(MANY)]

    results = await release(shop, [lambda tx, one=one: settle(tx, one) for one in charges])

    assert Counter(one.outcome for one in results) == {Outcome.SETTLED: 1, Outcome.SECOND_CHARGE: MANY - 1}
    assert await ledger.balance_of(shop.db, buyer.id, "RUB") == (MANY - 1) * bought.amount
    await sums_are_right(shop)


async def test_the_last_use_of_a_code_goes_to_one(shop: ShopWorld) -> None:
    """A code with one use left and as many customers who choose with it at once: one gets the price, the rest are told."""
    await create_code(shop.db, code="LAST", kind="percent", value=50, total_cap=1)
    buyers = [await shop.customer() for _ in range(MANY)]
    for one in buyers:
        await shop.do(
            lambda tx, one=one: enter_code(tx, customer_id=one.id, text="last", request_key=f"e:{one.id}")
        )

    def opens(customer: Any) -> Any:
        return lambda tx: open_purchase(
            tx, customer_id=customer.id, offer_id=shop.offer().offer_id, terms=shop.terms("cryptopay"),
            request_key=f"update:{customer.id}", shop_currency="RUB",
        )  # fmt: skip

    results = await release(shop, [opens(one) for one in buyers])

    won = [one for one in results if not isinstance(one, Exception)]
    lost = [one.reason for one in results if isinstance(one, PromoUnavailable)]
    assert [one.discount for one in won] == [50]
    assert lost == ["used_up"] * (MANY - 1)
    row = await shop.db.fetchrow("test", "select used, late from promo_codes")
    assert row is not None
    assert tuple(row.values()) == (1, 0)


async def test_a_balance_pays_one_of_many_purchases(shop: ShopWorld) -> None:
    """Enough for one, and different purchases paid from it at once: one is sold, and nobody is in debt."""
    buyer = await shop.customer()
    await shop.fill(buyer, 19_900)
    bought = [await shop.buy(buyer, "balance", fresh=True, key=f"k{number}") for number in range(1)]
    for number in range(MANY - 1):
        await shop.execute("update purchases set expires_at = vpnd_now() where id = $1", bought[-1].id)
        bought.append(await shop.buy(buyer, "balance", fresh=True, key=f"more{number}"))

    results = await release(shop, [lambda tx, one=one: settle(tx, charge_of(one)) for one in bought])

    sold = [one for one in results if not isinstance(one, Exception)]
    assert [one.outcome for one in sold] == [Outcome.SETTLED]
    assert sum(isinstance(one, InsufficientBalance) for one in results) == MANY - 1
    assert await ledger.balance_of(shop.db, buyer.id, "RUB") == 0
    assert len(await shop.subscriptions(buyer)) == 1
    await sums_are_right(shop)


@pytest.mark.parametrize("same_key", [True, False])
async def test_one_refund_is_made_of_many_requests(shop: ShopWorld, same_key: bool) -> None:
    """One request played many times, or as many requests for the whole charge: the money goes back once."""
    buyer = await shop.customer()
    charge = shop.charge(await shop.buy(buyer))
    await shop.settle(charge)
    settlement_id = await shop.db.fetchval("test", "select id from settlements")

    def asks(number: int) -> Any:
        request = RefundRequest(
            settlement_id=settlement_id, request_key=f"r{0 if same_key else number}", requested_by="admin:1"
        )
        return lambda tx: request_refund(tx, request)

    results = await release(shop, [asks(number) for number in range(MANY)])

    made = [one for one in results if not isinstance(one, Exception) and one.created]
    assert len(made) == 1
    if same_key:
        assert [one for one in results if isinstance(one, Exception)] == []
    assert await shop.db.fetchval("test", "select count(*) from refunds") == 1
    assert await shop.db.fetchval("test", "select refunded from settlements") == charge.amount
    assert len(await shop.outbox("refund_job:")) == 1
    await sums_are_right(shop)


async def test_one_renewal_is_made_of_many(shop: ShopWorld) -> None:
    """Two instances and their repeats renew one subscription at once: it is paid once."""
    buyer = await shop.customer()
    await shop.fill(buyer, 100_000)
    await shop.settle(shop.charge(await shop.buy(buyer)))
    (mine,) = await shop.subscriptions(buyer)
    await shop.do(lambda tx: set_renewal(tx, mine.id, buyer.id, from_balance=True))
    await shop.execute("update subscriptions set expires_at = vpnd_now() + interval '1 hour'")
    (due,) = await due_renewals(shop.db, "RUB", 10)

    async def body(tx: Transaction) -> Any:
        return await renew(tx, due, "RUB")

    results = await release(shop, [body] * MANY)

    assert [one.outcome for one in results if one is not None] == [Outcome.SETTLED]
    assert await ledger.balance_of(shop.db, buyer.id, "RUB") == 100_000 - 19_900
    await sums_are_right(shop)


@pytest.mark.parametrize("meeting", MEETINGS, ids=lambda one: one.__name__)
async def test_who_meets_head_on_does_not_deadlock(shop: ShopWorld, meeting: Meeting) -> None:
    """Everything takes its locks in one order: whatever meets, nothing is asked to be repeated, and the sums are right."""
    before = deadlocks()
    for _ in range(ROUNDS):
        for result in await release(shop, await meeting(shop)):
            if isinstance(result, Exception) and not isinstance(
                result, (InsufficientBalance, PromoUnavailable)
            ):
                raise result
    await sums_are_right(shop)
    assert deadlocks() == before
