"""Renewals from the balance: due in time, at today's price, once a period, and told where they cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from money_world import (
    about,
    balance,
    books_agree,
    discount,
    enter,
    give_bonus,
    make_promo,
    now,
    only,
    recurring,
    refund,
)
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop.customers import set_reachable
from vpnd.shop.ledger import Balance, InsufficientBalance
from vpnd.shop.opening import OfferUnavailable
from vpnd.shop.renewals import WINDOW, Due, due_renewals, renew, tell_about_renewals, untold_renewals
from vpnd.shop.settlement import Outcome
from vpnd.shop.star_subscriptions import ask_to_cancel, note_state, star_subscription_of
from vpnd.shop.subscriptions import Subscription, expire_due, set_renewal

SOON = timedelta(days=30) - WINDOW + timedelta(minutes=5)


async def renewing(shop: ShopWorld, **options) -> tuple:
    """A customer whose paid subscription is renewed from his balance."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one, **options)))
    mine = await only(shop, one)
    assert await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    return one, await only(shop, one)


async def due(shop: ShopWorld) -> list[int]:
    """Ids of what can be renewed now."""
    return [one.subscription_id for one in await due_renewals(shop.db, "RUB", 10)]


async def renewed(shop: ShopWorld, mine: Subscription):
    """Renew one as the worker does."""
    assert mine.offer_id is not None
    what = Due(mine.id, mine.customer_id, mine.offer_id)
    return await shop.do(lambda tx: renew(tx, what, "RUB"))


async def told_now(shop: ShopWorld) -> int:
    """Tell whoever is to be told, as the worker does; how many."""
    return await tell_about_renewals(shop.db, "RUB", await untold_renewals(shop.db, "RUB", 10))


async def sold_off(shop: ShopWorld) -> None:
    await shop.execute("update offers set on_sale = false where plan_id = 'basic' and days = 30")


async def test_due_within_the_window_and_payable(shop: ShopWorld) -> None:
    """Not a day before, not with a kopeck too little, not where it was not asked for."""
    one, mine = await renewing(shop)
    other = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(other)))
    await shop.fill(one, 19_899)
    await shop.fill(other, 50_000)
    await shop.advance(timedelta(days=29))
    assert await due(shop) == []
    await shop.advance(SOON - timedelta(days=29))
    assert await due(shop) == []
    await give_bonus(shop, one, 1)
    assert await due(shop) == [mine.id]
    assert [found.subscription_id for found in await due_renewals(shop.db, "RUB", 10, after=mine.id)] == []


async def test_a_renewal_is_a_purchase_paid_from_the_balance(shop: ShopWorld) -> None:
    """From the end on, for plan and period bought last; the receipt says that it came by itself."""
    one, mine = await renewing(shop, days=30)
    await shop.fill(one, 15_000)
    await give_bonus(shop, one, 10_000)
    await shop.advance(SOON)

    result = await renewed(shop, mine)

    assert result is not None
    assert result.outcome is Outcome.SETTLED
    assert result.granted is not None
    assert result.granted.from_at == mine.expires_at
    again = await only(shop, one)
    assert again.expires_at - mine.expires_at == timedelta(days=30)
    assert (again.version, again.renews) == (mine.version, "balance")
    assert await balance(shop, one) == Balance(0, 5_100)
    (receipt,) = await shop.outbox(f"receipt:{result.settlement_id}")
    assert receipt["payload"]["args"]["automatic"] is True
    row = await shop.db.fetchrow(
        "test", "select origin, method, status from purchases where id = $1", result.purchase_id
    )
    assert row is not None
    assert (row["origin"], row["method"], row["status"]) == ("renewal", "balance", "paid")
    assert await due(shop) == []
    await books_agree(shop)


async def test_what_was_bought_last_is_renewed(shop: ShopWorld) -> None:
    """A year bought behind a month is renewed by the year."""
    one, _ = await renewing(shop)
    await shop.settle(shop.charge(await shop.buy(one, days=365)))
    assert (await only(shop, one)).offer_id == shop.offer(days=365).offer_id
    await shop.fill(one, 199_000)
    await shop.advance(timedelta(days=395) - WINDOW + timedelta(minutes=5))
    await renewed(shop, await only(shop, one))
    assert await balance(shop, one) == Balance(0, 0)


async def test_the_personal_discount_counts_and_no_code(shop: ShopWorld) -> None:
    """What is due and what is taken are reckoned the same, to the kopeck."""
    one, mine = await renewing(shop)
    await make_promo(shop, "HALF", value=50)
    await enter(shop, one, "HALF")
    await discount(shop, one, 33)
    await shop.fill(one, 13_332)
    await shop.advance(SOON)
    assert await due(shop) == []
    await shop.fill(one, 1)
    assert await due(shop) == [mine.id]
    assert await renewed(shop, mine) is not None
    assert await balance(shop, one) == Balance(0, 0)


async def test_one_period_is_paid_once(shop: ShopWorld) -> None:
    """By two workers at once: one waits for the customer and then finds nothing to do."""
    one, mine = await renewing(shop)
    await shop.fill(one, 60_000)
    await shop.advance(SOON)
    assert mine.offer_id is not None
    what = Due(mine.id, one.id, mine.offer_id)
    results = []

    async def second() -> None:
        results.append(await renewed(shop, mine))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: renew(tx, what, "RUB"))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert results == [None]
    assert await renewed(shop, mine) is None
    assert (await balance(shop, one)).own == 40_100
    assert await shop.db.fetchval("test", "select count(*) from grants") == 2


async def test_what_changed_since_it_was_found_is_let_go(shop: ShopWorld) -> None:
    """Switched off, renewed by hand, or of another offer by now: nothing is taken."""
    one, mine = await renewing(shop)
    await shop.fill(one, 60_000)
    await shop.advance(SOON)
    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=False))
    assert await renewed(shop, mine) is None
    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    await shop.settle(shop.charge(await shop.buy(one, days=90)))
    assert await renewed(shop, mine) is None
    assert await renewed(shop, await only(shop, one)) is None
    assert (await balance(shop, one)).own == 60_000


async def test_what_cannot_be_is_told_by_an_error_and_writes_nothing(shop: ShopWorld) -> None:
    """The balance was spent, or the offer went off sale, since it was found."""
    _, mine = await renewing(shop)
    await shop.advance(SOON)
    with pytest.raises(InsufficientBalance):
        await renewed(shop, mine)
    await sold_off(shop)
    with pytest.raises(OfferUnavailable):
        await renewed(shop, mine)
    assert await shop.db.fetchval("test", "select count(*) from purchases where origin = 'renewal'") == 0


async def test_who_has_too_little_is_told_once_a_period(shop: ShopWorld) -> None:
    """With what is missing; a top-up makes it due, and the next period is told again."""
    one, mine = await renewing(shop)
    await shop.fill(one, 10_000)
    assert await told_now(shop) == 0
    await shop.advance(SOON)

    assert await told_now(shop) == 1
    assert await told_now(shop) == 0
    (told,) = await shop.outbox("renewal:")
    assert (told["lane"], told["order_key"], told["valid_until"]) == (
        "notice",
        f"chat:{one.telegram_id}",
        mine.expires_at,
    )
    assert told["payload"]["template"] == "renewal_short"
    args = told["payload"]["args"]
    assert (args["price"], args["missing"], args["currency"], args["plan_id"]) == (
        19_900,
        9_900,
        "RUB",
        "basic",
    )
    assert datetime.fromisoformat(args["expires_at"]) == mine.expires_at

    await shop.fill(one, 10_000)
    assert await due(shop) == [mine.id]
    await renewed(shop, mine)
    await shop.advance(timedelta(days=30))
    assert await told_now(shop) == 1
    assert len(await shop.outbox("renewal:")) == 2


async def test_an_offer_that_is_gone_is_told_as_that(shop: ShopWorld) -> None:
    """However much he has, and it is not renewed by anything else."""
    one, _ = await renewing(shop)
    await shop.fill(one, 60_000)
    await sold_off(shop)
    await shop.advance(SOON)

    assert await due(shop) == []
    assert await told_now(shop) == 1
    (told,) = await shop.outbox("renewal:")
    assert told["payload"]["template"] == "renewal_unavailable"


async def test_who_cannot_be_reached_is_not_told(shop: ShopWorld) -> None:
    """He has blocked the bot."""
    one, _ = await renewing(shop)
    await shop.do(lambda tx: set_reachable(tx, one.telegram_id, False))
    await shop.advance(SOON)
    assert await told_now(shop) == 0


async def test_an_expired_one_is_not_renewed_by_itself(shop: ShopWorld) -> None:
    """Its time is over: who wants it again pays it himself."""
    one, mine = await renewing(shop)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    await shop.fill(one, 60_000)
    assert await due(shop) == []
    assert await renewed(shop, mine) is None


async def test_only_what_was_bought_can_be_renewed(shop: ShopWorld) -> None:
    """A gift has no offer to be renewed by; another's subscription is none of his business."""
    one, other = await shop.customer(), await shop.customer()
    gift = (await shop.grant(one)).subscription
    assert not await shop.do(lambda tx: set_renewal(tx, gift.id, one.id, from_balance=True))
    _, mine = await renewing(shop)
    assert not await shop.do(lambda tx: set_renewal(tx, mine.id, other.id, from_balance=False))


# ---------------------------------------------------------------------- what Telegram renews


async def in_stars(shop: ShopWorld, number: int = 1, customer=None):
    """A subscription that Telegram charges, and the purchase that began it."""
    one = customer or await shop.customer()
    first = await shop.buy(one, "stars", recurring=True, key=f"begin:{one.id}:{number}")
    await shop.settle(recurring(shop, first, charge_id=f"first-{one.id}-{number}"))
    return one, first, await only(shop, one)


async def test_what_telegram_charges_is_left_alone(shop: ShopWorld) -> None:
    """Neither renewed from the balance, nor switched to it, nor spoken of."""
    one, _, mine = await in_stars(shop)
    await shop.fill(one, 60_000)
    assert not await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    await shop.advance(SOON)
    assert await due(shop) == []
    assert await told_now(shop) == 0


async def test_a_customer_ends_his_own_subscription_in_stars(shop: ShopWorld) -> None:
    """By a job for Telegram, once; nobody ends another's; what is paid stays on."""
    one, _, mine = await in_stars(shop)
    other = await shop.customer()
    assert not await shop.do(lambda tx: ask_to_cancel(tx, mine.id, other.id))
    assert await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))
    assert not await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))

    (job,) = await shop.outbox("star_cancel:")
    assert job["payload"] == {"charge_id": f"first-{one.id}-1", "telegram_id": one.telegram_id}
    again = await only(shop, one)
    assert (again.renews, again.expires_at, again.status) == ("off", mine.expires_at, "active")


@pytest.mark.parametrize("state", ["canceled", "failed"])
async def test_what_telegram_tells_of_a_subscription(shop: ShopWorld, state) -> None:
    """Ended, failed, taken up again: the shop shows it; of a stranger's nothing changes."""
    one, first, mine = await in_stars(shop)
    assert not await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id + 1, state))
    assert not await shop.do(lambda tx: note_state(tx, "pnobody", one.telegram_id, state))
    assert (await only(shop, one)).renews == "stars"

    assert await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id, state))
    assert (await only(shop, one)).renews == "off"
    assert await star_subscription_of(shop.db, mine.id) is None
    assert await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id, "active"))
    assert (await only(shop, one)).renews == "stars"
    assert await star_subscription_of(shop.db, mine.id) is not None


async def test_of_two_that_charge_for_one_access_one_is_ended(shop: ShopWorld) -> None:
    """The customer pays once: the older ends, and its end changes nothing for the newer."""
    one, first, mine = await in_stars(shop)
    _, second, _ = await in_stars(shop, 2, one)

    (job,) = await shop.outbox("star_cancel:")
    assert job["payload"]["charge_id"] == f"first-{one.id}-1"
    note = await star_subscription_of(shop.db, mine.id)
    assert note is not None
    assert note.purchase_id == second.id
    await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id, "canceled"))
    assert (await only(shop, one)).renews == "stars"


async def test_a_resumed_subscription_ends_the_other(shop: ShopWorld) -> None:
    """Ended by the customer, replaced, and then taken up again in Telegram's settings: still one that charges."""
    one, first, mine = await in_stars(shop)
    await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id, "canceled"))
    await in_stars(shop, 2, one)
    assert await shop.outbox("star_cancel:") == []

    assert await shop.do(lambda tx: note_state(tx, first.public_id, one.telegram_id, "active"))

    (job,) = await shop.outbox("star_cancel:")
    assert job["payload"]["charge_id"] == f"first-{one.id}-2"
    note = await star_subscription_of(shop.db, mine.id)
    assert note is not None
    assert note.purchase_id == first.id
    assert about((await only(shop, one)).expires_at, await now(shop) + timedelta(days=60))


async def test_a_renewal_given_back_is_not_made_again_by_itself(shop: ShopWorld) -> None:
    """Who wants his money back does not want it taken again in ten minutes; when he switches it on again, it is renewed."""
    one, mine = await renewing(shop)
    await shop.fill(one, 60_000)
    await shop.advance(SOON)
    first = await renewed(shop, mine)
    assert first is not None

    await refund(shop, first.settlement_id, to="balance")
    given_back = await only(shop, one)
    assert (given_back.expires_at, given_back.renews) == (mine.expires_at, "off")
    assert await due(shop) == []

    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    assert await due(shop) == [mine.id]
    again = await renewed(shop, mine)
    assert again is not None
    assert again.outcome is Outcome.SETTLED
    assert (await only(shop, one)).expires_at == mine.expires_at + timedelta(days=30)
    await books_agree(shop)
