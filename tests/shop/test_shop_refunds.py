"""Refunds: what is taken back, where the money stands meanwhile, and how each of them ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from money_world import (
    about,
    balance,
    booked,
    books_agree,
    give_bonus,
    guest_of,
    levels,
    make_promo,
    now,
    only,
    owed,
    recurring,
    refund,
)
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.ledger import Balance
from vpnd.shop.plan_change import change_plan
from vpnd.shop.promos import enter_code
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import request_refund
from vpnd.shop.refunds import (
    charges_named,
    finish_refund,
    refund_by_id,
    refund_fact,
    refunds_of,
    turn_to_balance,
)
from vpnd.shop.settlement import Outcome, SettlementResult
from vpnd.shop.star_subscriptions import star_subscription_of
from vpnd.shop.subscriptions import expire_due


async def bought(shop: ShopWorld, customer, amount: int | None = None, **options) -> SettlementResult:
    """A purchase that is paid."""
    purchase = await shop.buy(customer, **options)
    return await shop.settle(shop.charge(purchase, amount))


async def why_not(shop: ShopWorld, settlement_id: int | None, **changes) -> str:
    """Why a refund is impossible; nothing changes by asking."""
    before = await state(shop)
    with pytest.raises(RefundImpossible) as caught:
        await refund(shop, settlement_id, **changes)
    assert await state(shop) == before
    return caught.value.why


async def state(shop: ShopWorld) -> list[int]:
    """How much there is of everything that a refund writes."""
    tables = ("refunds", "ledger", "outbox", "access_log")
    return [await shop.db.fetchval("test", f"select count(*) from {table}") for table in tables]  # noqa: S608


async def test_a_whole_refund_takes_all_back(shop: ShopWorld) -> None:
    """Sale undone, access off and told to the nodes, money on its way by one job, the customer told."""
    one = await shop.customer()
    result = await bought(shop, one)
    before = await only(shop, one)

    asked = await refund(shop, result.settlement_id, reason="slow server")

    assert asked.created
    assert asked.awaits_provider
    assert asked.removed is not None
    assert asked.removed.off
    mine = await only(shop, one)
    assert (mine.status, mine.version, mine.credential) == ("expired", before.version + 1, before.credential)
    assert about(mine.expires_at, await now(shop))
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 2
    assert await booked(shop, "refunds") == -19900
    assert await booked(shop, "held") == 19900
    assert await balance(shop, one) == Balance(0, 0)
    (job,) = await shop.outbox("refund_job:")
    assert (job["kind"], job["payload"]) == ("refund_cryptopay", {"refund": asked.refund_id})
    (told,) = await shop.outbox("refund:")
    assert told["lane"] == "receipt"
    assert told["payload"]["args"] == {
        "amount": 19900, "currency": "RUB", "to_balance": False, "made": False,
        "expires_at": asked.removed.expires_at.isoformat(), "off": True,
    }  # fmt: skip
    made = await refund_by_id(shop.db, asked.refund_id)
    assert made is not None
    assert (made.status, made.reason, made.requested_by, made.done_at) == (
        "requested",
        "slow server",
        "admin:777",
        None,
    )
    assert abs(made.removed_seconds - 30 * 86_400) < 20
    await books_agree(shop)

    assert await shop.do(lambda tx: finish_refund(tx, asked.refund_id, "tr-1"))
    assert not await shop.do(lambda tx: finish_refund(tx, asked.refund_id, "tr-1"))
    assert await booked(shop, "held") == 0
    assert await booked(shop, "clearing") == 0
    done = await refund_by_id(shop.db, asked.refund_id)
    assert done is not None
    assert (done.status, done.external_id) == ("done", "tr-1")
    await books_agree(shop)


async def test_parts_add_up_exactly(shop: ShopWorld) -> None:
    """In any cut: money, reward and time of all parts together are the whole, to the last unit."""
    host = await shop.customer()
    one = await guest_of(shop, host)
    await levels(shop, (0, 33))
    result = await bought(shop, one)
    purchase = await shop.db.fetchval("test", "select id from purchases")
    parts = (1, 6_633, 3_333, 9_932, 1)
    assert sum(parts) == 19_900

    for part in parts:
        assert (await shop.db.fetchval("test", "select status from purchases")) == "paid"
        await refund(shop, result.settlement_id, amount=part)
        await books_agree(shop)

    assert (
        await shop.db.fetchval("test", "select status from purchases where id = $1", purchase)
    ) == "refunded"
    assert await booked(shop, "refunds") == -19_900
    assert await booked(shop, "held") == 19_900
    assert await booked(shop, "referral") == 0
    assert await balance(shop, host) == Balance(0, 0)
    mine = await only(shop, one)
    assert mine.status == "expired"
    assert about(mine.expires_at, await now(shop))
    assert await why_not(shop, result.settlement_id) == "nothing_left"
    assert [each.amount for each in await refunds_of(shop.db, result.settlement_id or 0)] == list(
        reversed(parts)
    )


async def test_half_of_the_money_is_half_of_the_days(shop: ShopWorld) -> None:
    """From the end; access stays on, and the nodes are told nothing."""
    one = await shop.customer()
    result = await bought(shop, one)
    before = await only(shop, one)

    asked = await refund(shop, result.settlement_id, amount=9_950)

    assert asked.removed is not None
    assert (asked.removed.length, asked.removed.off) == (timedelta(days=15), False)
    mine = await only(shop, one)
    assert before.expires_at - mine.expires_at == timedelta(days=15)
    assert (mine.status, mine.version) == ("active", before.version)
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 1


async def test_used_time_is_not_taken_back(shop: ShopWorld) -> None:
    """Of twenty days used, a half refund takes the ten that are left and no more; what is over stays as it is."""
    one = await shop.customer()
    result = await bought(shop, one)
    await shop.advance(timedelta(days=20))
    asked = await refund(shop, result.settlement_id, amount=9_950)
    assert asked.removed is not None
    assert about(asked.removed.expires_at, await now(shop))
    assert asked.removed.off

    other = await shop.customer()
    over = await bought(shop, other)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    used = await only(shop, other)
    asked = await refund(shop, over.settlement_id)
    assert asked.removed is None
    assert await only(shop, other) == used
    (told, *_) = [
        row for row in await shop.outbox("refund:") if row["payload"]["chat_id"] == other.telegram_id
    ]
    assert (told["payload"]["args"]["expires_at"], told["payload"]["args"]["off"]) == (None, False)
    await books_agree(shop)


async def test_what_follows_moves_up(shop: ShopWorld) -> None:
    """A purchase in the middle is cut out: what was bought before stays, what was bought after begins earlier."""
    one = await shop.customer()
    results = [await bought(shop, one, days=days) for days in (30, 90, 30)]
    begin = (await only(shop, one)).starts_at

    asked = await refund(shop, results[1].settlement_id)

    assert asked.removed is not None
    assert (asked.removed.length, asked.removed.off) == (timedelta(days=90), False)
    rows = await shop.db.fetch("test", "select from_at, until_at from grants order by id")
    day = timedelta(days=1)
    days = [
        (round((row["from_at"] - begin) / day, 3), round((row["until_at"] - begin) / day, 3)) for row in rows
    ]
    assert days == [(0, 30), (30, 30), (30, 60)]
    mine = await only(shop, one)
    assert mine.expires_at - begin == timedelta(days=60)
    # And the last one is still its own thirty days.
    last = await refund(shop, results[2].settlement_id)
    assert last.removed is not None
    assert last.removed.length == timedelta(days=30)
    assert (await only(shop, one)).expires_at - begin == timedelta(days=30)


async def test_the_current_slice_goes_and_the_next_begins_now(shop: ShopWorld) -> None:
    """Access goes on without a gap and without a change for the nodes."""
    one = await shop.customer()
    results = [await bought(shop, one, days=30) for _ in range(2)]
    await shop.advance(timedelta(days=10))

    asked = await refund(shop, results[0].settlement_id)

    assert asked.removed is not None
    assert not asked.removed.off
    assert about(asked.removed.expires_at, await now(shop) + timedelta(days=30))
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 1


async def test_a_gift_behind_stays_whole(shop: ShopWorld) -> None:
    """Days of a promo code move up, and are not taken."""
    one = await shop.customer()
    result = await bought(shop, one)
    await make_promo(shop, "WEEK", "days", 7)
    await shop.do(lambda tx: enter_code(tx, customer_id=one.id, text="WEEK", request_key="k"))

    await refund(shop, result.settlement_id)

    mine = await only(shop, one)
    assert mine.status == "active"
    assert about(mine.expires_at, await now(shop) + timedelta(days=7))


async def test_bonus_days_go_with_their_purchase(shop: ShopWorld) -> None:
    """Days that a code had added to it were part of what was bought."""
    one = await shop.customer()
    await make_promo(shop, "WEEK", "days", 7)
    await shop.do(lambda tx: enter_code(tx, customer_id=one.id, text="WEEK", request_key="k"))
    result = await bought(shop, one)

    asked = await refund(shop, result.settlement_id, amount=9_950)
    assert asked.removed is not None
    assert asked.removed.length == timedelta(days=18.5)


async def test_after_a_plan_change_the_share_is_of_what_is_left(shop: ShopWorld) -> None:
    """The purchase's days are as long as they now are: a whole refund leaves nothing of them."""
    one = await shop.customer()
    result = await bought(shop, one)
    mine = await only(shop, one)
    change = await shop.do(
        lambda tx: change_plan(tx, subscription_id=mine.id, customer_id=one.id, to_plan="plus", shop_currency="RUB",
                               request_key="k")
    )  # fmt: skip
    assert change is not None

    asked = await refund(shop, result.settlement_id)

    assert asked.removed is not None
    assert about(asked.removed.expires_at, await now(shop))
    assert (await only(shop, one)).status == "expired"


async def test_to_the_balance_at_once(shop: ShopWorld) -> None:
    """No provider is asked; the money is the customer's own, and there is no second way."""
    one = await shop.customer()
    result = await bought(shop, one)

    asked = await refund(shop, result.settlement_id, to="balance", amount=10_000)

    assert not asked.awaits_provider
    assert await balance(shop, one) == Balance(10_000, 0)
    assert await shop.outbox("refund_job:") == []
    made = await refund_by_id(shop.db, asked.refund_id)
    assert made is not None
    assert (made.status, made.route) == ("done", "balance")
    assert made.done_at is not None
    (told,) = await shop.outbox("refund:")
    assert (told["payload"]["args"]["amount"], told["payload"]["args"]["to_balance"]) == (10_000, True)
    await refund(shop, result.settlement_id)
    assert await why_not(shop, result.settlement_id, to="balance") == "nothing_left"
    await books_agree(shop)


async def test_own_money_comes_back_as_own_and_bonus_as_bonus(shop: ShopWorld) -> None:
    """Of a purchase by balance, in parts; so no bonus can ever be paid out."""
    one = await shop.customer()
    await shop.fill(one, 12_345)
    await give_bonus(shop, one, 10_000)
    result = await shop.spend(await shop.buy(one, "balance"))
    assert await why_not(shop, result.settlement_id) == "no_route"

    for part in (7_777, 1, 12_122):
        await refund(shop, result.settlement_id, to="balance", amount=part)
        await books_agree(shop)

    assert await balance(shop, one) == Balance(12_345, 10_000)


async def test_a_refund_to_the_balance_repays_what_is_owed(shop: ShopWorld) -> None:
    """It is a credit like any other."""
    one = await shop.customer()
    first = await bought(shop, one, 25_000)
    second = await bought(shop, one, days=90)
    await _spend_own(shop, one)
    await refund(shop, first.settlement_id, requested_by="provider", external_id="cb")
    assert await owed(shop, one) == 5_100

    await refund(shop, second.settlement_id, to="balance", amount=4_000)
    assert (await owed(shop, one), (await balance(shop, one)).own) == (1_100, 0)
    asked = await refund(shop, second.settlement_id, amount=5_000)
    await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "refused"))
    assert (await owed(shop, one), (await balance(shop, one)).own) == (0, 3_900)
    await books_agree(shop)


async def _spend_own(shop: ShopWorld, customer) -> None:
    """The customer has nothing of his own left."""
    from vpnd.shop import ledger

    have = (await balance(shop, customer)).own
    if have:
        entry = ledger.Entry(
            ledger.customer(customer.id, "RUB"), ledger.revenue("RUB"), have, "sale", f"test:{shop.number()}"
        )
        await shop.do(lambda tx: ledger.post(tx, [entry]))


async def test_a_provider_that_took_it_back_by_itself(shop: ShopWorld) -> None:
    """Booked as done, access shortened, nothing asked of anybody, and the customer told that it was made."""
    one = await shop.customer()
    result = await bought(shop, one)

    asked = await refund(shop, result.settlement_id, requested_by="provider", external_id="rf-1")

    assert not asked.awaits_provider
    assert (await only(shop, one)).status == "expired"
    assert await shop.outbox("refund_job:") == []
    assert (await booked(shop, "held"), await booked(shop, "clearing")) == (0, 0)
    made = await refund_by_id(shop.db, asked.refund_id)
    assert made is not None
    assert (made.status, made.external_id) == ("done", "rf-1")
    (told,) = await shop.outbox("refund:")
    assert told["payload"]["args"]["made"] is True
    await books_agree(shop)


async def test_what_is_spent_cannot_be_given_back_by_us(shop: ShopWorld) -> None:
    """A top-up that was spent: refused when it is asked for, owed when the provider has done it already."""
    one = await shop.customer()
    filled = await shop.fill(one, 20_000)
    await shop.spend(await shop.buy(one, "balance"))

    assert await why_not(shop, filled.settlement_id) == "spent"
    assert await why_not(shop, filled.settlement_id, to="balance") == "on_balance"
    await refund(shop, filled.settlement_id, amount=100)
    await refund(shop, filled.settlement_id, requested_by="provider", external_id="cb")

    assert await owed(shop, one) == 19_900
    assert await balance(shop, one) == Balance(0, 0)
    assert (await only(shop, one)).status == "active"  # it was paid from the balance, which he owes now
    await books_agree(shop)


async def test_the_rest_of_an_overpaid_charge(shop: ShopWorld) -> None:
    """All of it goes back: the sale, and what lies on the balance; the sale first."""
    one = await shop.customer()
    result = await bought(shop, one, 25_000)

    first = await refund(shop, result.settlement_id, amount=19_900)
    assert first.removed is not None
    assert first.removed.off
    assert (await balance(shop, one)).own == 5_100
    second = await refund(shop, result.settlement_id)

    assert second.removed is None
    assert (await balance(shop, one)).own == 0
    assert await booked(shop, "held") == 25_000
    await books_agree(shop)


async def test_a_purchase_of_several_charges(shop: ShopWorld) -> None:
    """Each goes back by itself; together they undo the sale exactly."""
    one = await shop.customer()
    purchase = await shop.buy(one)
    charges = [shop.charge(purchase, amount) for amount in (5_000, 7_000, 7_900)]
    results = [await shop.settle(charge) for charge in charges]

    found = await charges_named(shop.db, purchase.public_id)
    assert [(each.amount, each.outcome, each.left) for each in found] == [
        (5_000, "underpaid", 5_000), (7_000, "underpaid", 7_000), (7_900, "settled", 7_900),
    ]  # fmt: skip
    (alone,) = await charges_named(shop.db, f" cryptopay:{charges[1].charge_id} ")
    assert alone.settlement_id == results[1].settlement_id
    for result in results:
        await refund(shop, result.settlement_id)

    assert (await shop.again(purchase)).status == "refunded"
    assert await booked(shop, "refunds") == -19_900
    assert (await only(shop, one)).status == "expired"
    await books_agree(shop)


async def test_a_part_that_went_back_is_asked_for_again(shop: ShopWorld) -> None:
    """What was paid in part and returned is missing once more, and the whole price still buys."""
    one = await shop.customer()
    purchase = await shop.buy(one)
    part = await shop.settle(shop.charge(purchase, 9_900))
    await refund(shop, part.settlement_id)

    again = await shop.again(purchase)
    assert (again.received, again.missing) == (0, 19_900)
    await shop.settle(shop.charge(again, 10_000))
    result = await shop.settle(shop.charge(again, 9_900))

    assert result.outcome is Outcome.SETTLED
    assert (await balance(shop, one)).own == 0
    await books_agree(shop)


async def test_a_second_charge_goes_back_without_touching_access(shop: ShopWorld) -> None:
    """It lies on the balance and leaves from there."""
    one = await shop.customer()
    purchase = await shop.buy(one)
    await shop.settle(shop.charge(purchase))
    second = await shop.settle(shop.charge(purchase))
    assert await why_not(shop, second.settlement_id, to="balance") == "on_balance"

    asked = await refund(shop, second.settlement_id)

    assert asked.removed is None
    assert (await only(shop, one)).status == "active"
    assert (await shop.again(purchase)).status == "paid"
    assert await balance(shop, one) == Balance(0, 0)
    await books_agree(shop)


# ---------------------------------------------------------------------- Stars


async def test_stars_go_back_whole_or_not_at_all(shop: ShopWorld) -> None:
    """Through the exchange at the purchase's own rate; a part can only go to the balance."""
    one = await shop.customer()
    result = await bought(shop, one, method="stars")
    assert await why_not(shop, result.settlement_id, amount=149) == "whole_only"

    asked = await refund(shop, result.settlement_id)
    assert (await booked(shop, "held", "XTR"), await booked(shop, "exchange", "XTR")) == (150, 0)
    assert await booked(shop, "exchange") == 0
    await shop.do(lambda tx: finish_refund(tx, asked.refund_id, "x"))
    assert await booked(shop, "clearing", "XTR") == 0
    await books_agree(shop)


async def test_a_part_of_stars_to_the_balance(shop: ShopWorld) -> None:
    """Worth its share; after that the charge cannot go back in Stars any more."""
    one = await shop.customer()
    result = await bought(shop, one, method="stars")
    for part in (50, 1, 99):
        await refund(shop, result.settlement_id, to="balance", amount=part)
        await books_agree(shop)
        if part == 50:
            assert (await balance(shop, one)).own == 19_900 * 50 // 150
            assert await why_not(shop, result.settlement_id) == "whole_only"

    assert await balance(shop, one) == Balance(19_900, 0)
    assert (await only(shop, one)).status == "expired"


async def test_what_telegram_charges_ends_with_a_whole_refund(shop: ShopWorld) -> None:
    """No further charge for what was given back: the subscription is ended at Telegram by a job."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    result = await shop.settle(recurring(shop, first, charge_id="first"))
    mine = await only(shop, one)

    await refund(shop, result.settlement_id)

    assert await star_subscription_of(shop.db, mine.id) is None
    assert (await only(shop, one)).renews == "off"
    (job,) = await shop.outbox("star_cancel:")
    assert (job["kind"], job["payload"]) == (
        "star_cancel",
        {"charge_id": "first", "telegram_id": one.telegram_id},
    )


async def test_a_second_charge_in_stars_goes_back_by_itself_once(shop: ShopWorld) -> None:
    """Its job exists already; an admin who asks again is told that nothing is left."""
    one = await shop.customer()
    purchase = await shop.buy(one, "stars")
    await shop.settle(shop.charge(purchase))
    second = await shop.settle(shop.charge(purchase, payer_telegram_id=4242))
    assert await why_not(shop, second.settlement_id) == "nothing_left"

    (made,) = await refunds_of(shop.db, second.settlement_id or 0)
    fact = await refund_fact(shop.db, made.id)
    assert fact is not None
    assert (fact.telegram_id, fact.charge_amount, fact.refund.source) == (4242, 150, "held")
    await shop.do(lambda tx: finish_refund(tx, made.id, "x"))
    assert await booked(shop, "held", "XTR") == 0


async def test_stars_that_telegram_will_not_give_back_wait_for_a_person(shop: ShopWorld) -> None:
    """What belongs to no sale has no worth here: stuck, an admin told once, and done when it goes at last."""
    one = await shop.customer()
    purchase = await shop.buy(one, "stars")
    await shop.settle(shop.charge(purchase))
    second = await shop.settle(shop.charge(purchase))
    (made,) = await refunds_of(shop.db, second.settlement_id or 0)

    for _ in range(2):
        assert await shop.do(lambda tx: turn_to_balance(tx, made.id, "USER_NOT_FOUND")) == "stuck"
    assert len(await shop.outbox("refund_refused:")) == 1
    assert await booked(shop, "held", "XTR") == 150
    assert await shop.do(lambda tx: finish_refund(tx, made.id, "x"))
    assert await booked(shop, "held", "XTR") == 0


# ---------------------------------------------------------------------- held money


async def test_held_money_goes_back_to_who_paid(shop: ShopWorld) -> None:
    """It was never anybody's, so nothing else moves."""
    result = await shop.settle(
        shop.charge(await shop.buy(await shop.customer()), payload="pnobody", details={"payer": 77})
    )
    assert result.outcome is Outcome.HELD
    assert await why_not(shop, result.settlement_id, to="balance") == "no_route"

    asked = await refund(shop, result.settlement_id)
    fact = await refund_fact(shop.db, asked.refund_id)

    assert fact is not None
    assert (fact.telegram_id, fact.payload, fact.refund.source) == (77, "pnobody", "held")
    assert await booked(shop, "held") == 19_900
    await shop.do(lambda tx: finish_refund(tx, asked.refund_id, None))
    assert (await booked(shop, "held"), await booked(shop, "clearing")) == (0, 0)
    assert await shop.outbox("refund:") == []


async def test_held_money_goes_to_the_customer_it_names(shop: ShopWorld) -> None:
    """By another method, but in the shop's currency: it is credited; in another currency it can only go back."""
    one = await shop.customer()
    purchase = await shop.buy(one)
    result = await shop.settle(shop.charge(purchase, 7_000, provider="yookassa"))
    assert (result.outcome, result.reason) == (Outcome.HELD, "other_method")
    dollars = await shop.settle(shop.charge(purchase, 7_000, currency="USD"))
    assert await why_not(shop, dollars.settlement_id, to="balance") == "no_route"

    await refund(shop, result.settlement_id, to="balance", amount=3_000)
    await refund(shop, result.settlement_id, to="balance")

    assert await balance(shop, one) == Balance(7_000, 0)
    assert await booked(shop, "held", owner="yookassa") == 0
    await books_agree(shop)


async def test_held_money_of_a_customer_is_credited_when_it_cannot_go_back(shop: ShopWorld) -> None:
    """A refusal by the provider is no end in the held account while it is known whose it is."""
    one = await shop.customer()
    result = await shop.settle(shop.charge(await shop.buy(one), 7_000, provider="yookassa"))
    asked = await refund(shop, result.settlement_id)

    assert await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "expired")) == "to_balance"
    assert await balance(shop, one) == Balance(7_000, 0)


async def test_what_could_not_be_read_has_nothing_to_give_back(shop: ShopWorld) -> None:
    """Its amount was never booked."""
    charge = shop.charge(await shop.buy(await shop.customer()))
    from attrs import evolve

    result = await shop.settle(evolve(charge, amount=None, amount_text="1.23456"))
    assert await why_not(shop, result.settlement_id) == "nothing_left"


# ---------------------------------------------------------------------- the reward


@pytest.mark.parametrize("spent", [False, True])
async def test_the_reward_goes_by_the_share(shop: ShopWorld, spent: bool) -> None:
    """Half of the money, half of the reward; what the host has spent of it, he owes, and repays by his next credit."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await levels(shop, (0, 10))
    result = await bought(shop, guest)
    if spent:
        await shop.fill(host, 18_000)
        await shop.spend(await shop.buy(host, "balance"))
        assert await balance(shop, host) == Balance(0, 90)

    await refund(shop, result.settlement_id, amount=9_950)
    assert await booked(shop, "referral") == -995
    if spent:
        assert (await balance(shop, host), await owed(shop, host)) == (Balance(0, 0), 905)
    else:
        assert (await balance(shop, host), await owed(shop, host)) == (Balance(0, 995), 0)
    await refund(shop, result.settlement_id)
    assert await booked(shop, "referral") == 0
    assert await owed(shop, host) == (1_900 if spent else 0)
    row = await shop.db.fetchrow("test", "select amount, reversed from referral_rewards")
    assert row is not None
    assert row["amount"] == row["reversed"] == 1_990
    if spent:
        await shop.fill(host, 5_000)
        assert (await balance(shop, host), await owed(shop, host)) == (Balance(3_100, 0), 0)
    await books_agree(shop)


# ---------------------------------------------------------------------- ends, repeats, refusals


async def test_a_refusal_goes_to_the_balance(shop: ShopWorld) -> None:
    """The customer is told, an admin too; the access stays taken, and a late answer changes nothing."""
    one = await shop.customer()
    result = await bought(shop, one)
    asked = await refund(shop, result.settlement_id, reason="slow")

    assert await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "AMOUNT_TOO_SMALL")) == "to_balance"

    assert await balance(shop, one) == Balance(19_900, 0)
    assert (await only(shop, one)).status == "expired"
    made = await refund_by_id(shop.db, asked.refund_id)
    assert made is not None
    assert (made.status, made.reason) == ("to_balance", "slow; AMOUNT_TOO_SMALL")
    (alert,) = await shop.outbox("refund_refused:")
    assert (alert["kind"], alert["payload"]["args"]["reason"]) == ("admin_alert", "AMOUNT_TOO_SMALL")
    (told,) = await shop.outbox("refund_to_balance:")
    assert told["payload"]["args"] == {"amount": 19_900, "currency": "RUB"}
    assert await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "again")) is None
    assert not await shop.do(lambda tx: finish_refund(tx, asked.refund_id, "late"))
    await books_agree(shop)


async def test_stars_refused_are_worth_their_price(shop: ShopWorld) -> None:
    """Back through the exchange, for exactly what was booked."""
    one = await shop.customer()
    result = await bought(shop, one, method="stars")
    asked = await refund(shop, result.settlement_id)

    await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "refused"))

    assert await balance(shop, one) == Balance(19_900, 0)
    assert await booked(shop, "exchange", "XTR") == 150
    await books_agree(shop)


@pytest.mark.parametrize("amount", [None, 5_000])
async def test_a_repeated_request_does_nothing_new(shop: ShopWorld, amount: int | None) -> None:
    """By its key, one after the other and at once."""
    one = await shop.customer()
    result = await bought(shop, one)
    assert result.settlement_id is not None
    request = RefundRequest(
        settlement_id=result.settlement_id, request_key="update:9", requested_by="admin:777", amount=amount
    )
    answers = []

    async def ask() -> None:
        answers.append(await shop.do(lambda tx: request_refund(tx, request)))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: request_refund(tx, request))
        nursery.start_soon(ask)
        await wait_for_lock(shop.db)
        await first.commit()
    await ask()

    assert [answer.created for answer in answers] == [False, False]
    assert len({answer.refund_id for answer in answers}) == 1
    assert await shop.db.fetchval("test", "select refunded from settlements") == (amount or 19_900)
    assert len(await shop.outbox("refund_job:")) == 1


async def test_two_admins_at_once_give_it_back_once(shop: ShopWorld) -> None:
    """The second waits for the first and finds nothing left."""
    one = await shop.customer()
    result = await bought(shop, one)
    refused = []

    async def ask() -> None:
        refused.append(await _why(shop, result.settlement_id))

    async with trio.open_nursery() as nursery:
        request = RefundRequest(
            settlement_id=result.settlement_id or 0, request_key="a", requested_by="admin:1", amount=15_000
        )
        first = await hold(nursery, shop.db, lambda tx: request_refund(tx, request))
        nursery.start_soon(ask)
        await wait_for_lock(shop.db)
        await first.commit()

    assert refused == ["too_much"]


async def _why(shop: ShopWorld, settlement_id: int | None) -> str:
    with pytest.raises(RefundImpossible) as caught:
        await refund(shop, settlement_id, amount=10_000)
    return caught.value.why


@pytest.mark.parametrize("amount", [0, -1, 19_901])
async def test_no_more_goes_back_than_came(shop: ShopWorld, amount: int) -> None:
    """And nothing that is no amount."""
    result = await bought(shop, await shop.customer())
    assert await why_not(shop, result.settlement_id, amount=amount) == "too_much"


async def test_an_unknown_charge_is_said_to_be_unknown(shop: ShopWorld) -> None:
    """Of a settlement, of a refund, of a name."""
    assert await why_not(shop, 10**9) == "unknown_charge"
    assert await refund_by_id(shop.db, 10**9) is None
    assert await refund_fact(shop.db, 10**9) is None
    assert await charges_named(shop.db, "p' or true --") == []
    assert not await shop.do(lambda tx: finish_refund(tx, 10**9, None))
    assert await shop.do(lambda tx: turn_to_balance(tx, 10**9, "x")) is None


async def test_a_renewal_by_balance_ends_with_its_subscription(shop: ShopWorld) -> None:
    """Switched off by a refund, it is not renewed by itself; while something is left, it still is."""
    from vpnd.shop.subscriptions import set_renewal

    one = await shop.customer()
    results = [await bought(shop, one) for _ in range(2)]
    mine = await only(shop, one)
    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))

    await refund(shop, results[1].settlement_id)
    assert (await only(shop, one)).renews == "balance"
    await refund(shop, results[0].settlement_id)
    assert (await only(shop, one)).renews == "off"
