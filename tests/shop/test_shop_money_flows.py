"""Money flows: promo uses, referral rewards, the balance, top-ups, and what a provider charges by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from money_world import (
    about,
    balance,
    booked,
    books_agree,
    enter,
    give_bonus,
    guest_of,
    levels,
    make_promo,
    now,
    only,
    owed,
    promo,
    recurring,
    refund,
    uses,
)
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.balance import charge_of
from vpnd.shop.ledger import Balance, InsufficientBalance
from vpnd.shop.purchases import expire_purchases, reopen_purchase
from vpnd.shop.referrals import standing_of
from vpnd.shop.settlement import Outcome, PurchaseClosed, settle
from vpnd.shop.star_subscriptions import star_subscription_of
from vpnd.shop.subscriptions import expire_due


async def paid(shop: ShopWorld, customer, **options):
    """A purchase that is paid exactly, and what came of it."""
    bought = await shop.buy(customer, **options)
    return bought, await shop.settle(shop.charge(bought))


# ---------------------------------------------------------------------- promo codes


async def test_a_late_payment_of_a_freed_use_is_honoured_and_counted(shop: ShopWorld) -> None:
    """Its price was promised: it is sold beyond the cap, and the code says that it was late."""
    one, other = await shop.customer(), await shop.customer()
    await make_promo(shop, "LAST", value=50, total_cap=1)
    await enter(shop, one, "LAST")
    await enter(shop, other, "LAST")
    mine = await shop.buy(one)
    await shop.advance(timedelta(hours=2))
    await expire_purchases(shop.db, 10)
    theirs = await shop.buy(other)
    await shop.settle(shop.charge(theirs))

    result = await shop.settle(shop.charge(mine))

    assert result.outcome is Outcome.SETTLED
    assert ((await promo(shop, "LAST")).used, (await promo(shop, "LAST")).late) == (2, 1)
    assert await uses(shop) == [("consumed", True), ("consumed", False)]


async def test_a_use_is_consumed_by_what_is_paid_and_not_by_a_part(shop: ShopWorld) -> None:
    """A charge that is too small leaves it reserved; the one that makes the price up consumes it, once."""
    one = await shop.customer()
    await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "HALF")
    bought = await shop.buy(one)

    await shop.settle(shop.charge(bought, 5_000))
    assert await uses(shop) == [("reserved", False)]
    await shop.settle(shop.charge(bought, 4_950))
    await shop.settle(shop.charge(bought))  # a second payment

    assert await uses(shop) == [("consumed", False)]
    assert (await promo(shop, "HALF")).used == 1


async def test_another_code_goes_on_waiting(shop: ShopWorld) -> None:
    """Paying an older purchase forgets the code that made it, and not one that was entered since."""
    one = await shop.customer()
    await make_promo(shop, "TEN", value=10)
    made = await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "TEN")
    bought = await shop.buy(one)
    await enter(shop, one, "HALF")

    await shop.settle(shop.charge(bought))

    row = await shop.db.fetchrow(
        "test", "select promo_id, first_paid_at from customers where id = $1", one.id
    )
    assert row is not None
    assert row["promo_id"] == made.id
    assert row["first_paid_at"] is not None


async def test_what_was_reopened_keeps_its_promise(shop: ShopWorld) -> None:
    """A purchase paid in part and completed after its hour has its price, and a use that counts as late."""
    one = await shop.customer()
    await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "HALF")
    bought = await shop.buy(one)
    await shop.settle(shop.charge(bought, 5_000))
    await shop.advance(timedelta(hours=2))
    await expire_purchases(shop.db, 10)

    assert await shop.do(lambda tx: reopen_purchase(tx, bought.public_id, one.telegram_id))
    result = await shop.settle(shop.charge(bought, 4_950))

    assert result.granted is not None
    assert await uses(shop) == [("consumed", True)]
    await books_agree(shop)


# ---------------------------------------------------------------------- referrals


async def test_a_reward_comes_once_for_each_purchase(shop: ShopWorld) -> None:
    """However often the charge is told: bonus for the host, a message, and what it cost in the books."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await levels(shop, (0, 10))
    bought = await shop.buy(guest)
    charge = shop.charge(bought)
    for _ in range(3):
        await shop.settle(charge)

    assert await balance(shop, host) == Balance(0, 1990)
    assert await booked(shop, "referral") == -1990
    (told,) = await shop.outbox("referral:")
    assert told["payload"]["chat_id"] == host.telegram_id
    assert told["payload"]["args"] == {"amount": 1990, "currency": "RUB", "percent": 10}
    standing = await standing_of(shop.db, host.id, "RUB")
    assert (standing.guests, standing.paying, standing.percent, standing.earned) == (1, 1, 10, 1990)
    await books_agree(shop)


async def test_the_level_is_that_before_the_purchase(shop: ShopWorld) -> None:
    """The guest who makes the host rise is paid for on the old level; the next purchase on the new one."""
    host = await shop.customer()
    guests = [await guest_of(shop, host) for _ in range(3)]
    await levels(shop, (0, 10), (2, 50))
    shown = []
    for guest in guests:
        shown.append((await standing_of(shop.db, host.id, "RUB")).percent)
        await paid(shop, guest)

    rows = await shop.db.fetch("test", "select percent, amount from referral_rewards order by purchase_id")
    assert [row["percent"] for row in rows] == shown == [10, 10, 50]
    standing = await standing_of(shop.db, host.id, "RUB")
    assert (standing.next_at, standing.next_percent) == (None, None)
    assert standing.earned == sum(row["amount"] for row in rows) == 1990 + 1990 + 9950


async def test_without_levels_there_is_no_programme(shop: ShopWorld) -> None:
    """And a level that begins later pays nothing before; a level can go again."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await paid(shop, guest)
    await levels(shop, (2, 30))
    await paid(shop, guest)
    await levels(shop)
    await paid(shop, guest)

    assert await balance(shop, host) == Balance(0, 0)
    standing = await standing_of(shop.db, host.id, "RUB")
    assert (standing.percent, standing.next_at) == (0, None)


async def test_only_own_money_earns_a_reward(shop: ShopWorld) -> None:
    """Of a purchase by balance the host gets his part of the own money; what was given earns nothing, and pays no guest."""
    host = await shop.customer()
    mixed, given = await guest_of(shop, host), await guest_of(shop, host)
    await levels(shop, (0, 10))
    await shop.fill(mixed, 5_000)
    await give_bonus(shop, mixed, 20_000)
    await give_bonus(shop, given, 20_000)

    await shop.spend(await shop.buy(mixed, "balance"))
    await shop.spend(await shop.buy(given, "balance"))

    rows = await shop.db.fetch("test", "select base, amount from referral_rewards")
    assert [(row["base"], row["amount"]) for row in rows] == [(5_000, 500)]
    assert (await standing_of(shop.db, host.id, "RUB")).paying == 1


async def test_a_topup_earns_nothing_until_it_is_spent(shop: ShopWorld) -> None:
    """So that nobody is paid twice for one rouble."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await levels(shop, (0, 10))
    await shop.fill(guest, 30_000)
    assert (await balance(shop, host)).bonus == 0
    await shop.spend(await shop.buy(guest, "balance"))
    assert (await balance(shop, host)).bonus == 1990


async def test_two_guests_at_once_reward_their_host_twice(shop: ShopWorld) -> None:
    """Both settlements move the same balance, one after the other."""
    host = await shop.customer()
    await levels(shop, (0, 10))
    charges = [shop.charge(await shop.buy(await guest_of(shop, host))) for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for charge in charges * 2:
            nursery.start_soon(shop.settle, charge)

    assert await balance(shop, host) == Balance(0, 4 * 1990)
    await books_agree(shop)


async def test_a_host_and_his_guest_may_pay_at_once(shop: ShopWorld) -> None:
    """Each locks accounts in the order of their ids: nobody waits in a circle."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await levels(shop, (0, 10))
    await shop.fill(host, 30_000)
    await shop.fill(guest, 30_000)
    bought = [await shop.buy(one, "balance") for one in (host, guest)]
    async with trio.open_nursery() as nursery:
        for purchase in bought:
            nursery.start_soon(shop.spend, purchase)

    assert await balance(shop, host) == Balance(10_100, 1990)
    await books_agree(shop)


# ---------------------------------------------------------------------- the balance


async def test_own_money_is_spent_before_the_bonus(shop: ShopWorld) -> None:
    """And the bonus only for what is missing."""
    one = await shop.customer()
    await shop.fill(one, 15_000)
    await give_bonus(shop, one, 8_000)

    result = await shop.spend(await shop.buy(one, "balance"))

    assert result.granted is not None
    assert await balance(shop, one) == Balance(0, 3_100)
    rows = await shop.db.fetch("test", "select kind, amount from ledger where kind like 'sale%' order by id")
    assert [(row["kind"], row["amount"]) for row in rows] == [("sale", 15_000), ("sale_bonus", 4_900)]
    (receipt,) = await shop.outbox("receipt:")
    assert (receipt["payload"]["args"]["amount"], receipt["payload"]["args"]["automatic"]) == (19900, False)
    await books_agree(shop)


async def test_a_purchase_is_paid_from_the_balance_once(shop: ShopWorld) -> None:
    """However often the button is pressed, one after the other and at once."""
    one = await shop.customer()
    await shop.fill(one, 60_000)
    bought = await shop.buy(one, "balance")
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(shop.spend, bought)
    again = await shop.spend(bought)

    assert again.outcome is Outcome.ALREADY_SETTLED
    assert (await balance(shop, one)).own == 40_100
    assert about((await only(shop, one)).expires_at, await now(shop) + timedelta(days=30))


async def test_a_second_press_that_waited_for_the_first_is_told_so(shop: ShopWorld) -> None:
    """It saw the world as of its beginning, and the purchase as it is now: paid by this very charge, and not closed."""
    one = await shop.customer()
    await shop.fill(one, 19_900)
    bought = await shop.buy(one, "balance")
    outcomes = []

    async def press() -> None:
        outcomes.append((await shop.spend(bought)).outcome)

    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, lambda tx: settle(tx, charge_of(bought)))
        nursery.start_soon(press)
        await wait_for_lock(shop.db)
        await held.commit()

    assert outcomes == [Outcome.ALREADY_SETTLED]


async def test_a_closed_purchase_takes_nothing_from_the_balance(shop: ShopWorld) -> None:
    """Nobody has paid yet, so there is nothing to be honoured."""
    one = await shop.customer()
    await shop.fill(one, 60_000)
    bought = await shop.buy(one, "balance")
    await shop.advance(timedelta(hours=2))
    await expire_purchases(shop.db, 10)

    with pytest.raises(PurchaseClosed):
        await shop.spend(bought)
    assert (await balance(shop, one)).own == 60_000
    assert await shop.subscriptions(one) == []
    assert await shop.db.fetchval("test", "select count(*) from settlements where provider = 'balance'") == 0


async def test_a_balance_that_is_too_small_buys_nothing(shop: ShopWorld) -> None:
    """Own money and bonus together decide; afterwards nothing has happened, and the purchase waits."""
    one = await shop.customer()
    await shop.fill(one, 10_000)
    await give_bonus(shop, one, 9_899)
    bought = await shop.buy(one, "balance")

    with pytest.raises(InsufficientBalance, match="19899 of 19900"):
        await shop.spend(bought)
    assert await balance(shop, one) == Balance(10_000, 9_899)
    assert (await shop.again(bought)).status == "pending"
    await give_bonus(shop, one, 1)
    assert (await shop.spend(bought)).outcome is Outcome.SETTLED
    assert (await balance(shop, one)).total == 0


async def test_of_two_purchases_at_once_the_balance_pays_one(shop: ShopWorld) -> None:
    """The second sees what the first has left."""
    one = await shop.customer()
    await shop.fill(one, 60_000)
    bought = [await shop.buy(one, "balance", days=90), await shop.buy(one, "balance", plan="plus", days=30)]
    refused: list[str] = []

    async def spend(purchase) -> None:
        try:
            await shop.spend(purchase)
        except InsufficientBalance as error:
            refused.append(str(error))

    async with trio.open_nursery() as nursery:
        for purchase in bought:
            nursery.start_soon(spend, purchase)

    assert len(refused) == 1
    await books_agree(shop)


async def test_only_a_purchase_by_balance_has_such_a_charge(shop: ShopWorld) -> None:
    """A charge that names another method's purchase is held like any other that fits nothing."""
    one = await shop.customer()
    bought = await shop.buy(one)
    with pytest.raises(ValueError, match="not paid from the balance"):
        charge_of(bought)
    result = await shop.settle(shop.charge(bought, provider="balance"))
    assert (result.outcome, result.reason) == (Outcome.HELD, "other_method")


# ---------------------------------------------------------------------- top-ups


@pytest.mark.parametrize("came", [30_000, 100, 70_000])
async def test_a_topup_credits_what_came(shop: ShopWorld, came: int) -> None:
    """Be it less or more than was asked for: it is paid, told, and nothing is sold."""
    one = await shop.customer()
    filled = await shop.topup(one, 30_000)

    result = await shop.settle(shop.charge(filled, came))

    assert (result.outcome, result.credited, result.granted) == (Outcome.SETTLED, True, None)
    assert await balance(shop, one) == Balance(came, 0)
    assert (await shop.again(filled)).status == "paid"
    (told,) = await shop.outbox("topup:")
    assert (told["lane"], told["payload"]["args"]) == ("receipt", {"amount": came, "currency": "RUB"})
    assert await shop.subscriptions(one) == []
    assert await booked(shop, "revenue") == 0


async def test_a_second_charge_for_a_topup_is_credited_too(shop: ShopWorld) -> None:
    """It is money of his all the same, under the name it has."""
    one = await shop.customer()
    filled = await shop.topup(one, 30_000)
    await shop.settle(shop.charge(filled))

    result = await shop.settle(shop.charge(filled, 20_000))

    assert (result.outcome, result.credited) == (Outcome.SECOND_CHARGE, True)
    assert await balance(shop, one) == Balance(50_000, 0)


async def test_a_topup_in_stars_is_worth_what_was_told(shop: ShopWorld) -> None:
    """By the purchase's own rate, rounded down for a part; a second charge goes back in Stars."""
    from vpnd.shop.opening import open_topup

    one = await shop.customer()
    filled = await shop.do(
        lambda tx: open_topup(tx, customer_id=one.id, terms=shop.terms("stars"), amount=231, shop_amount=30_000,
                              shop_currency="RUB", request_key="k")
    )  # fmt: skip
    await shop.settle(shop.charge(filled, 100))
    assert (await balance(shop, one)).own == 30_000 * 100 // 231
    second = await shop.settle(shop.charge(filled))
    assert (second.outcome, second.credited) == (Outcome.SECOND_CHARGE, False)
    assert len(await shop.outbox("refund_job:")) == 1
    await books_agree(shop)


async def test_a_topup_repays_what_is_owed_first(shop: ShopWorld) -> None:
    """What a customer spent before it was taken back: his next credits bring it back, and no more than that."""
    one = await shop.customer()
    first = await shop.fill(one, 19_900)
    await shop.spend(await shop.buy(one, "balance"))
    await refund(shop, first.settlement_id, requested_by="provider", external_id="cb-1")
    assert (await owed(shop, one), (await balance(shop, one)).own) == (19_900, 0)

    await shop.fill(one, 5_000)
    assert (await owed(shop, one), (await balance(shop, one)).own) == (14_900, 0)
    await shop.fill(one, 20_000)
    assert (await owed(shop, one), (await balance(shop, one)).own) == (0, 5_100)
    await books_agree(shop)


# ---------------------------------------------------------------------- what Telegram charges by itself


async def test_the_next_charge_is_the_next_period(shop: ShopWorld) -> None:
    """Under the first purchase's payload: a purchase of its own that renews what the first one bought."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    begun = await shop.settle(
        recurring(shop, first, charge_id="first", runs_until=await now(shop) + timedelta(days=30))
    )
    mine = await only(shop, one)
    assert mine.renews == "stars"
    told = await star_subscription_of(shop.db, mine.id)
    assert told is not None
    assert (told.charge_id, told.amount, told.telegram_id) == ("first", 150, one.telegram_id)

    await shop.advance(timedelta(days=29, hours=23))
    until = await now(shop) + timedelta(days=30)
    charge = recurring(shop, first, charge_id="second", runs_until=until)
    results = [await shop.settle(charge) for _ in range(2)]

    assert [one.outcome for one in results] == [Outcome.SETTLED, Outcome.ALREADY_SETTLED]
    assert results[0].purchase_id == results[1].purchase_id != begun.purchase_id
    again = await only(shop, one)
    assert again.expires_at - mine.expires_at == timedelta(days=30)
    assert (again.credential, again.version) == (mine.credential, mine.version)
    row = await shop.db.fetchrow("test", "select * from purchases where id = $1", results[0].purchase_id)
    assert row is not None
    assert (row["origin"], row["status"], row["subscription_id"], row["received"], row["amount"]) == (
        "recurring", "paid", mine.id, 150, 150,
    )  # fmt: skip
    note = await star_subscription_of(shop.db, mine.id)
    assert note is not None
    assert (note.charge_id, note.runs_until) == ("first", until)
    (receipt,) = await shop.outbox(f"receipt:{results[0].settlement_id}")
    assert receipt["payload"]["args"]["automatic"] is True
    await books_agree(shop)


async def test_a_recurring_charge_switches_on_what_had_ended(shop: ShopWorld) -> None:
    """A renewal that is told late, after the sweep: the same credential again, and the nodes are told."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    await shop.settle(recurring(shop, first))
    mine = await only(shop, one)
    await shop.advance(timedelta(days=30, minutes=30))
    assert await expire_due(shop.db, 10) == 0  # Telegram tells a moment after it has charged
    await shop.advance(timedelta(hours=1))
    assert await expire_due(shop.db, 10) == 1

    result = await shop.settle(recurring(shop, first))

    assert result.access_changed
    again = await only(shop, one)
    assert (again.status, again.credential, again.version) == ("active", mine.credential, mine.version + 2)


async def test_a_smaller_recurring_charge_buys_nothing(shop: ShopWorld) -> None:
    """It goes back to who paid; access stays as it was."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    await shop.settle(recurring(shop, first))
    before = await only(shop, one)

    result = await shop.settle(recurring(shop, first, paid_amount=149))

    assert result.outcome is Outcome.SECOND_CHARGE
    assert (await only(shop, one)).expires_at == before.expires_at
    assert await booked(shop, "held", "XTR") == 149
    assert len(await shop.outbox("refund_job:")) == 1


async def test_a_larger_recurring_charge_leaves_the_rest_on_the_balance(shop: ShopWorld) -> None:
    """As with any other charge."""
    one = await shop.customer()
    first = await shop.buy(one, "stars", recurring=True)
    await shop.settle(recurring(shop, first))

    result = await shop.settle(recurring(shop, first, paid_amount=300))

    assert result.credited
    assert (await balance(shop, one)).own == 19_900
    await books_agree(shop)


async def test_a_recurring_charge_of_a_plain_purchase_is_a_second_charge(shop: ShopWorld) -> None:
    """Only what was opened as a subscription goes on by itself."""
    one = await shop.customer()
    bought, _ = await paid(shop, one, method="stars")
    result = await shop.settle(recurring(shop, bought))
    assert result.outcome is Outcome.SECOND_CHARGE


async def test_each_recurring_charge_rewards_the_host(shop: ShopWorld) -> None:
    """Each is a purchase, once."""
    host = await shop.customer()
    guest = await guest_of(shop, host)
    await levels(shop, (0, 10))
    first = await shop.buy(guest, "stars", recurring=True)
    for number in (1, 2, 2, 3):
        await shop.settle(recurring(shop, first, charge_id=f"c{number}"))

    assert (await balance(shop, host)).bonus == 3 * 1990


async def test_recurring_charges_told_in_the_wrong_order_give_the_same(shop: ShopWorld) -> None:
    """The first that is told buys, the others renew; the later end of the subscription at Telegram stands."""
    one = await shop.customer()
    begin = await now(shop)
    first = await shop.buy(one, "stars", recurring=True)
    for number in (3, 1, 2):
        until = begin + timedelta(days=30 * number)
        await shop.settle(recurring(shop, first, charge_id=f"c{number}", runs_until=until))

    mine = await only(shop, one)
    assert about(mine.expires_at, begin + timedelta(days=90))
    note = await star_subscription_of(shop.db, mine.id)
    assert note is not None
    assert note.runs_until == begin + timedelta(days=90)


# ---------------------------------------------------------------------- one more, or the same


async def test_a_fresh_purchase_makes_a_subscription_of_its_own(shop: ShopWorld) -> None:
    """Beside the one he has of the same plan, under a credential of its own."""
    one = await shop.customer()
    await paid(shop, one)
    _, result = await paid(shop, one, fresh=True)

    assert result.granted is not None
    assert not result.granted.renewed
    mine, month = await shop.subscriptions(one), await now(shop) + timedelta(days=30)
    assert len({each.credential for each in mine}) == 2
    assert all(about(each.expires_at, month) for each in mine)


async def test_a_recurring_fresh_purchase_renews_its_own(shop: ShopWorld) -> None:
    """The second charge finds what the first one has made, and not the older subscription of the plan."""
    one = await shop.customer()
    await paid(shop, one, days=365)
    first = await shop.buy(one, "stars", recurring=True, fresh=True)
    begun = await shop.settle(recurring(shop, first))
    again = await shop.settle(recurring(shop, first))

    assert begun.granted is not None
    assert again.granted is not None
    assert begun.granted.subscription_id == again.granted.subscription_id
    assert len(await shop.subscriptions(one)) == 2


async def test_a_subscription_made_while_we_waited_is_renewed(shop: ShopWorld) -> None:
    """Two first payments at once by two purchases: the one that waited for the customer looks again, and makes no other."""
    one = await shop.customer()
    first, second = await shop.buy(one), await shop.buy(one, days=90)
    results = []

    async def wait() -> None:
        results.append(await shop.settle(shop.charge(second)))

    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, lambda tx: settle(tx, shop.charge(first)))
        nursery.start_soon(wait)
        await wait_for_lock(shop.db)
        await held.commit()

    assert results[0].outcome is Outcome.SETTLED
    assert results[0].granted is not None
    assert results[0].granted.renewed
    assert about((await only(shop, one)).expires_at, await now(shop) + timedelta(days=120))
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 1
    await books_agree(shop)


async def test_a_fresh_one_does_not_wait_for_another(shop: ShopWorld) -> None:
    """What came in between is none of its business: both are made."""
    one = await shop.customer()
    first, second = await shop.buy(one), await shop.buy(one, fresh=True)
    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, lambda tx: settle(tx, shop.charge(first)))
        nursery.start_soon(shop.settle, shop.charge(second))
        await wait_for_lock(shop.db)
        await held.commit()

    assert len(await shop.subscriptions(one)) == 2


async def test_one_charge_told_twice_at_once_is_settled_once(shop: ShopWorld) -> None:
    """Whoever waits finds it settled, and says so."""
    one = await shop.customer()
    bought = await shop.buy(one)
    charge = shop.charge(bought)
    outcomes = []

    async def wait() -> None:
        outcomes.append((await shop.settle(charge)).outcome)

    async with trio.open_nursery() as nursery:
        held = await hold(nursery, shop.db, lambda tx: settle(tx, charge))
        nursery.start_soon(wait)
        await wait_for_lock(shop.db)
        await held.commit()

    assert outcomes == [Outcome.ALREADY_SETTLED]
    assert await shop.db.fetchval("test", "select count(*) from grants") == 1
