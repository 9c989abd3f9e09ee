"""The trial: once a customer, judged where it is granted, never longer than it is free, and never burned by a call that hangs."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from clock_kit import OFF, go_to, now
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.customers import Customer, set_reachable
from vpnd.shop.plan_change import ChangeImpossible, quote_change
from vpnd.shop.subscriptions import Subscription, expire_due, subscription_by_id
from vpnd.shop.switches import set_switch
from vpnd.shop.trial import (
    TRIAL_NOTICES,
    TrialTerms,
    TrialUnavailable,
    due_trial_notices,
    grant_trial,
    tell_trial_notices,
    why_no_trial,
)

TERMS = TrialTerms(72)


async def take_trial(
    shop: ShopWorld, customer: Customer, key: str | None = None, terms: TrialTerms = TERMS
) -> Subscription:
    """The customer presses the button."""
    request = key or f"update:{shop.number()}"
    given = await shop.do(
        lambda tx: grant_trial(tx, customer_id=customer.id, terms=terms, request_key=request)
    )
    return given.subscription


async def refused(shop: ShopWorld, customer: Customer, terms: TrialTerms = TERMS) -> str:
    """Why the customer gets none."""
    with pytest.raises(TrialUnavailable) as caught:
        await take_trial(shop, customer, terms=terms)
    assert await why_no_trial(shop.db, customer.id, terms) == caught.value.reason
    return caught.value.reason


async def tell(shop: ShopWorld, customer: Customer, zone: str = "UTC", quiet=OFF) -> int:
    """One look at his trial's notices."""
    return (await tell_trial_notices(shop.db, [customer.id], zone, quiet))[1]


async def told(shop: ShopWorld) -> list[str]:
    """Templates of the trial's notices, in order."""
    rows = await shop.outbox("trial:") + await shop.outbox("expired:")
    return [row["payload"]["template"] for row in rows if row["status"] == "ready"]


async def test_it_gives_access_for_its_hours(shop: ShopWorld) -> None:
    """A subscription of the plan, on at once, logged for the nodes, and marked."""
    one = await shop.customer()
    assert await why_no_trial(shop.db, one.id, TERMS) is None
    made = await take_trial(shop, one, terms=TrialTerms(6, "plus"))

    assert (made.trial, made.active, made.plan_id, made.offer_id) == (True, True, "plus", None)
    assert made.expires_at - made.starts_at == timedelta(hours=6)
    row = await shop.db.fetchrow("test", "select kind, days from grants where subscription_id = $1", made.id)
    assert dict(row.items()) == {"kind": "trial", "days": 0}
    assert await shop.db.fetchval("test", "select count(*) from access_log") == 1


async def test_once_a_customer_and_a_replayed_update_gets_the_same(shop: ShopWorld) -> None:
    """The second time it is refused, for ever; the same update again gives nothing and finds what it gave."""
    one = await shop.customer()
    first = await take_trial(shop, one, "update:1")
    assert (await take_trial(shop, one, "update:1")).id == first.id
    assert await refused(shop, one) == "used"
    await shop.advance(timedelta(days=400))
    await expire_due(shop.db, 10)

    assert await refused(shop, one) == "used"
    assert len(await shop.subscriptions(one)) == 1


async def test_an_old_button_gives_a_paying_customer_nothing(shop: ShopWorld) -> None:
    """The conditions hold where it is granted: who has access, who has ever bought, a shop without a trial."""
    paying, gifted, past = [await shop.customer() for _ in range(3)]
    await shop.settle(shop.charge(await shop.buy(paying)))
    await shop.grant(gifted)
    await shop.settle(shop.charge(await shop.buy(past)))
    await shop.execute("update subscriptions set status = 'expired' where customer_id = $1", past.id)

    assert [await refused(shop, one) for one in (paying, gifted, past)] == ["active", "active", "bought"]
    stranger = await shop.customer()
    assert await refused(shop, stranger, TrialTerms(0)) == "off"
    assert await refused(shop, stranger, TrialTerms(72, "nothing")) == "no_plan"
    await set_switch(shop.db, "trial", paused=True, by="test")
    assert await refused(shop, stranger) == "paused"
    assert await shop.db.fetchval("test", "select count(*) from trials") == 0


async def test_two_taps_at_once_give_one(shop: ShopWorld) -> None:
    """The second waits for the customer's lock and sees what the first has done."""
    one = await shop.customer()
    outcomes: list[str] = []

    async def tap() -> None:
        try:
            await take_trial(shop, one)
            outcomes.append("given")
        except TrialUnavailable as error:
            outcomes.append(error.reason)

    async with trio.open_nursery() as nursery:
        held = await hold(
            nursery, shop.db, lambda tx: tx.execute("select from customers where id = $1 for update", one.id)
        )
        nursery.start_soon(tap)
        nursery.start_soon(tap)
        await wait_for_lock(shop.db, 2)
        await held.commit()

    assert sorted(outcomes) == ["given", "used"]


async def test_a_call_that_hangs_burns_nothing(shop: ShopWorld) -> None:
    """It is cut while it waits, or before its commit: the customer can press again."""
    one = await shop.customer()
    async with trio.open_nursery() as nursery:
        held = await hold(
            nursery, shop.db, lambda tx: tx.execute("select from customers where id = $1 for update", one.id)
        )
        with trio.move_on_after(0.2) as scope:
            await take_trial(shop, one)
        assert scope.cancelled_caught
        await held.commit()
    with trio.move_on_after(0.5) as scope:
        async with shop.db.transaction("test") as tx:
            await grant_trial(tx, customer_id=one.id, terms=TERMS, request_key="update:9")
            await trio.sleep_forever()
    assert scope.cancelled_caught

    assert (await take_trial(shop, one, "update:9")).trial


@pytest.mark.parametrize("bought", ["basic", "plus"])
@pytest.mark.parametrize("late", [False, True])
async def test_it_converts_to_paid_without_losing_days(shop: ShopWorld, bought: str, late: bool) -> None:
    """Whatever plan is bought, it goes on from the trial's end, under the same link, and is no trial any more."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    if late:
        await shop.advance(timedelta(hours=100))
        await expire_due(shop.db, 10)
    before = await now(shop)
    await shop.settle(shop.charge(await shop.buy(one, plan=bought)))

    (own,) = await shop.subscriptions(one)
    assert (own.id, own.link_token, own.plan_id, own.trial, own.active) == (
        trial.id,
        trial.link_token,
        bought,
        False,
        True,
    )
    expected = (before if late else trial.expires_at) + timedelta(days=30)
    assert abs(own.expires_at - expected) < timedelta(seconds=5)
    assert own.credential == trial.credential


async def test_the_second_purchase_of_another_plan_is_beside_it(shop: ShopWorld) -> None:
    """Only a trial turns into whatever is bought: what was bought stays what it is. And "beside" leaves the trial alone."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    await shop.settle(shop.charge(await shop.buy(one, plan="plus", fresh=True)))
    assert {(s.id == trial.id, s.trial, s.plan_id) for s in await shop.subscriptions(one)} == {
        (True, True, "basic"),
        (False, False, "plus"),
    }
    await shop.settle(shop.charge(await shop.buy(one, plan="plus")))

    assert {(s.trial, s.plan_id) for s in await shop.subscriptions(one)} == {
        (True, "basic"),
        (False, "plus"),
    }


async def test_a_payment_and_a_trial_at_once_end_in_one_subscription(shop: ShopWorld) -> None:
    """The payment that waited for the customer's lock turns the trial that was granted meanwhile into what was bought."""
    one = await shop.customer()
    purchase = await shop.buy(one, plan="plus")
    async with trio.open_nursery() as nursery:
        held = await hold(
            nursery,
            shop.db,
            lambda tx: grant_trial(tx, customer_id=one.id, terms=TERMS, request_key="update:1"),
        )
        nursery.start_soon(shop.settle, shop.charge(purchase))
        await wait_for_lock(shop.db)
        await held.commit()

    (own,) = await shop.subscriptions(one)
    assert (own.trial, own.plan_id) == (False, "plus")
    assert own.expires_at - await now(shop) > timedelta(days=32)


async def test_a_gift_makes_it_no_trial_and_is_not_lost(shop: ShopWorld) -> None:
    """Incident 69 the other way round: whatever gave access beside the trial ends what is told of it."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    await shop.grant(one, 30)

    (own,) = await shop.subscriptions(one)
    assert (own.trial, own.expires_at) == (False, trial.expires_at + timedelta(days=30))
    await go_to(shop, trial.starts_at + timedelta(hours=50))
    assert await tell(shop, one) == 0


async def test_its_plan_cannot_be_changed(shop: ShopWorld) -> None:
    """Time that was given for nothing is not exchanged for time of another plan."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    with pytest.raises(ChangeImpossible):
        await shop.do(
            lambda tx: quote_change(
                tx, subscription_id=trial.id, customer_id=one.id, to_plan="plus", shop_currency="RUB"
            )
        )


async def test_notices_come_at_their_shares_and_once(shop: ShopWorld) -> None:
    """Of 72 hours after 6, after 48, 6 before the end, and at the end, by whoever ends it."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    for hours, expected in ((5.9, 0), (6.1, 1), (6.2, 1), (47.9, 1), (48.1, 2), (66.1, 3), (71, 3)):
        await go_to(shop, trial.starts_at + timedelta(hours=hours))
        await tell(shop, one)
        assert len(await told(shop)) == expected, hours
    await go_to(shop, trial.expires_at)
    assert await expire_due(shop.db, 10) == 1
    await tell(shop, one)

    assert await told(shop) == ["trial_checkup", "trial_progress", "trial_ending", "trial_ended"]
    claimed = await shop.db.fetch("test", "select notice from trial_notices order by notice")
    assert [row["notice"] for row in claimed] == ["checkup", "ended", "ending", "progress"]
    assert await due_trial_notices(shop.db, 10) == []


async def test_only_the_nearest_of_several_due(shop: ShopWorld) -> None:
    """A daemon that was away makes up for nothing but what is true now."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    await go_to(shop, trial.starts_at + timedelta(hours=67))

    assert (await tell(shop, one), await tell(shop, one)) == (1, 0)
    (row,) = await shop.outbox("trial:")
    assert row["payload"]["template"] == "trial_ending"
    assert row["payload"]["args"].keys() == {"subscription_id", "plan_id", "expires_at"}
    assert row["valid_until"] == trial.expires_at


async def test_who_has_paid_is_told_nothing_of_a_trial(shop: ShopWorld) -> None:
    """Neither later, nor what had been written and not sent when he paid, nor an end he does not care for."""
    one, beside = await shop.customer(), await shop.customer()
    trial = await take_trial(shop, one)
    await take_trial(shop, beside)
    await go_to(shop, trial.starts_at + timedelta(hours=7))
    assert (await tell(shop, one), await tell(shop, beside)) == (1, 1)
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.settle(shop.charge(await shop.buy(beside, fresh=True)))
    statuses = [row["status"] for row in await shop.outbox("trial:")]
    assert statuses == ["dropped", "ready"]
    await shop.execute("update outbox set status = 'done'")
    await go_to(shop, trial.starts_at + timedelta(hours=67))
    assert (await tell(shop, one), await tell(shop, beside)) == (0, 0)
    await go_to(shop, trial.expires_at)
    await expire_due(shop.db, 10)

    assert await told(shop) == []
    assert sorted(s.active for s in await shop.subscriptions(beside)) == [False, True]


async def test_a_trial_that_ends_leaves_what_was_paid_for_alone(shop: ShopWorld) -> None:
    """Incident 8: the expiry looks at a subscription's own end, and a paying customer's is another."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    await shop.settle(shop.charge(await shop.buy(one)))
    await go_to(shop, trial.expires_at + timedelta(hours=1))

    assert await expire_due(shop.db, 10) == 0
    own = await subscription_by_id(shop.db, trial.id)
    assert own is not None
    assert own.active


async def test_who_cannot_be_reached_is_not_written_to(shop: ShopWorld) -> None:
    """And the trial's later notices come when he is there again."""
    one = await shop.customer()
    trial = await take_trial(shop, one)
    await shop.do(lambda tx: set_reachable(tx, one.telegram_id, False))
    await go_to(shop, trial.starts_at + timedelta(hours=7))
    assert await tell(shop, one) == 0
    await shop.do(lambda tx: set_reachable(tx, one.telegram_id, True))
    assert await tell(shop, one) == 0
    await go_to(shop, trial.starts_at + timedelta(hours=49))

    assert await tell(shop, one) == 1


def test_the_shares_are_in_order() -> None:
    """The schedule is data: shares between none and all of it, rising, each with a name of its own."""
    shares = [notice.share for notice in TRIAL_NOTICES]
    assert shares == sorted(set(shares))
    assert 0 < shares[0] <= shares[-1] < 1
    assert len({notice.name for notice in TRIAL_NOTICES}) == len(TRIAL_NOTICES)
