"""What a customer does with what he has: it renews itself, one more beside it, another plan; and Stars every month."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import callbacks
from vpnd.bot.callbacks import decode
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Delivered
from vpnd.shop.referrals import apply_levels
from vpnd.shop.renewals import due_renewals, renew, tell_about_renewals, untold_renewals
from vpnd.shop.subscriptions import grant

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db, admins=(BORIS,)) as world:
        yield world


async def buy(world: World, user: int = ANNA, plan: str = "basic") -> int:
    """Let somebody buy a month by his balance; returns the subscription."""
    await world.fill(user, 40000)
    asked = await world.press(user, callbacks.Pay("balance", await world.offer(plan, 30)))
    await world.press(user, asked[1].data("from the balance"))
    await world.change("update outbox set status = 'done'")
    rows = await world.sql("select max(id) as id from subscriptions")
    return int(rows[0]["id"])


async def subscriptions(world: World) -> list[tuple[str, str]]:
    """Plan and way of renewal of every subscription, the oldest first."""
    rows = await world.sql("select plan_id, renews from subscriptions order by id")
    return [(row["plan_id"], row["renews"]) for row in rows]


def text_of(calls: list[Call]) -> str:
    """What the answer says."""
    return calls[-1].text


# ------------------------------------------------------------------------------------------ auto-renewal


async def test_auto_renewal_is_switched_on_and_off(world: World) -> None:
    """The screen says how it stands and offers the other; a second press of the same button changes nothing."""
    own = await buy(world)
    shown = await world.press(ANNA, callbacks.Subscriptions())
    assert "Auto-renewal is off" in text_of(shown)

    switch = shown[1].data("Turn auto-renewal on")
    shown = await world.press(ANNA, switch)
    assert await subscriptions(world) == [("basic", "balance")]
    assert "renews itself from your balance" in text_of(shown)
    shown = await world.press(ANNA, switch)
    assert await subscriptions(world) == [("basic", "balance")]
    shown = await world.press(ANNA, shown[1].data("Stop auto-renewal"))

    assert "Auto-renewal is off" in text_of(shown)
    assert await subscriptions(world) == [("basic", "off")]
    assert "can’t show this" in text_of(await world.press(BORIS, callbacks.Renewal(own, 1)))
    assert await subscriptions(world) == [("basic", "off")]


async def test_what_was_only_given_does_not_renew_itself(world: World) -> None:
    """A gift has no price to be renewed at, so nothing is offered."""
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers")
    async with world.db.transaction("test") as tx:
        await grant(tx, customer_id=row["id"], plan_id="basic", days=5, kind="gift")

    shown = await world.press(ANNA, callbacks.Subscriptions())

    assert "enewal" not in text_of(shown)
    assert not shown[1].has("renewal")


async def test_a_renewal_that_lacks_money_is_told_with_the_way_to_it(world: World) -> None:
    """What is missing, a button that fills exactly that, one that stops it; and the renewal's receipt says it came by itself."""
    own = await buy(world)
    await world.press(ANNA, callbacks.Renewal(own, 1))
    await world.change("update accounts set balance = 15000 where kind = 'customer'")
    await world.advance(timedelta(days=30, hours=-5))
    await tell_about_renewals(world.db, "RUB", await untold_renewals(world.db, "RUB", 10))

    ((outcome, (notice,)),) = await world.deliver()
    assert outcome == Delivered()
    assert "<b>199 ₽</b>" in notice.text
    assert "short of <b>49 ₽</b>" in notice.text
    # Less than 50 roubles cannot be filled up.
    assert decode(notice.data("Top up by 50 ₽")) == callbacks.TopUpAmount(5000)
    assert decode(notice.data("Renew another way")) == callbacks.Periods("basic", own)
    assert decode(notice.data("Stop auto-renewal")) == callbacks.Renewal(own, 0)
    await world.change("update accounts set balance = 20000 where kind = 'customer'")
    (due,) = await due_renewals(world.db, "RUB", 10)
    async with world.db.transaction("test") as tx:
        await renew(tx, due, "RUB")
    (receipt,) = await world.told()

    assert "Renewed by itself" in receipt


async def test_one_more_subscription_is_bought_beside_the_first(world: World) -> None:
    """A fresh purchase makes a second subscription; the plain button goes on renewing the first."""
    await buy(world)
    shown = await world.press(ANNA, callbacks.Subscriptions())

    periods = await world.press(ANNA, shown[1].data("One more"))
    assert "one more subscription" in text_of(periods)
    methods = await world.press(ANNA, periods[1].data("1 month"))
    page = await world.press(ANNA, methods[1].data("Card or SBP"))
    other = await world.press(ANNA, page[1].data("Another way"))
    await world.settle(world.yookassa.charge("yoo-2"))
    several = await world.press(ANNA, callbacks.Subscriptions())

    assert isinstance(decode(other[1].data("Card or SBP")), callbacks.MorePay)
    assert await subscriptions(world) == [("basic", "off"), ("basic", "off")]
    assert "Your subscriptions" in text_of(several)


# ------------------------------------------------------------------------------------------ Stars every month


async def subscribe(world: World, user: int = ANNA) -> str:
    """Begin a subscription in Stars; returns the payload of its charges."""
    methods = await world.press(user, callbacks.Methods(await world.offer("basic", 30)))
    calls = await world.press(user, methods[1].data("every month"))
    link = next(call for call in calls if call.method == "createInvoiceLink")
    assert link.parameters["subscription_period"] == 2_592_000
    assert link.parameters["prices"] == [{"label": "VPN: 1 month", "amount": 150}]
    payload = str(link.parameters["payload"])
    assert calls[-1].url("Subscribe: 150 ⭐ a month") == f"https://t.me/${payload}"
    (answer,) = await world.pre_checkout(user, payload, 150)
    assert answer.parameters["ok"] is True
    await world.paid(user, payload, 150, "first", **recurring(30, first=True))
    return payload


def recurring(days: int, *, first: bool = False) -> dict[str, Any]:
    """What a payment of a subscription carries."""
    until = datetime.now(UTC) + timedelta(days=days)
    told = {"is_recurring": True, "subscription_expiration_date": int(until.timestamp())}
    return told | ({"is_first_recurring": True} if first else {})


async def test_stars_every_month(world: World) -> None:
    """A link begins it; each further charge is the next period, told as one that came by itself."""
    payload = await subscribe(world)
    shown = await world.press(ANNA, callbacks.Subscriptions())
    await world.deliver()

    await world.paid(ANNA, payload, 150, "second", **recurring(60))
    await world.paid(ANNA, payload, 150, "second", **recurring(60))

    assert "Telegram renews it by itself" in text_of(shown)
    assert await subscriptions(world) == [("basic", "stars")]
    assert len(await world.sql("select id from grants")) == 2
    (told,) = await world.told()
    assert "Renewed by itself" in told
    (row,) = await world.sql("select runs_until > now() + interval '59 days' as long from star_subscriptions")
    assert row["long"]


async def test_a_double_tap_on_the_link_begins_one(world: World) -> None:
    """Two taps are one purchase: the second link is refused at the checkout once the first is paid."""
    wish = callbacks.Pay("stars_monthly", await world.offer("basic", 30))
    first = await world.press(ANNA, wish)
    second = await world.press(ANNA, wish)
    payload = str(first[1].parameters["payload"])
    await world.paid(ANNA, payload, 150, "first", **recurring(30, first=True))

    (answer,) = await world.pre_checkout(ANNA, payload, 150)

    assert first[-1].buttons == second[-1].buttons
    assert answer.parameters["ok"] is False
    assert "already paid" in answer.parameters["error_message"]


async def test_what_cannot_repeat_is_not_sold_that_way(db: Database) -> None:
    """Another period, or a shop that has switched it off: no button, and a forged one opens nothing."""
    async with open_world(db, star_subscriptions=False) as world:
        offer = await world.offer("basic", 30)
        methods = await world.press(ANNA, callbacks.Methods(offer))
        forged = await world.press(ANNA, callbacks.Pay("stars_monthly", offer))
        assert not methods[1].has("every month")
        assert "no longer on sale" in text_of(forged)
        assert await world.sql("select id from purchases") == []


async def test_a_quarter_is_not_sold_every_month(world: World) -> None:
    """Telegram charges every 30 days and nothing else."""
    offer = await world.offer("basic", 90)

    methods = await world.press(ANNA, callbacks.Methods(offer))
    forged = await world.press(ANNA, callbacks.Pay("stars_monthly", offer))

    assert not methods[1].has("every month")
    assert "no longer on sale" in text_of(forged)
    assert await world.sql("select id from purchases") == []


async def test_stopping_the_stars_is_asked_about_and_told_to_telegram(world: World) -> None:
    """A question, then Telegram is told once, by the first charge; what was paid for stays on."""
    await subscribe(world)
    shown = await world.press(ANNA, callbacks.Subscriptions())
    world.woken.clear()

    asked = await world.press(ANNA, shown[1].data("Stop renewing"))
    assert "Stop renewing Basic?" in text_of(asked)
    assert await subscriptions(world) == [("basic", "stars")]
    yes = asked[1].data("Yes, stop")
    stopped = await world.press(ANNA, yes)
    await world.press(ANNA, yes)
    ((outcome, (call,)),) = await world.deliver("star_cancel")

    assert "Auto-renewal is off" in text_of(stopped)
    assert world.woken
    assert outcome == Delivered()
    assert (call.method, call.parameters["telegram_payment_charge_id"]) == (
        "editUserStarSubscription",
        "first",
    )
    late = await world.press(ANNA, asked[1].data("Back"))
    assert "On until" in text_of(late) or "Paid until" in text_of(late)


async def test_nobody_stops_or_changes_what_is_not_his(world: World) -> None:
    """A subscription of another customer does not exist for whoever names it."""
    await subscribe(world)
    (row,) = await world.sql("select id from subscriptions")
    own = row["id"]
    wishes = [
        callbacks.StopStars(own), callbacks.StopStarsNow(own), callbacks.ChangePlan(own),
        callbacks.ChangeTo(own, "plus"), callbacks.ChangeNow(own, "plus", 1), callbacks.Renewal(own, 0),
    ]  # fmt: skip

    for wish in wishes:
        assert "can’t show this" in text_of(await world.press(BORIS, wish)), wish

    assert await subscriptions(world) == [("basic", "stars")]


@pytest.mark.parametrize(("state", "renews"), [("canceled", "off"), ("failed", "off"), ("active", "stars")])
async def test_telegram_tells_how_a_subscription_stands(world: World, state: str, renews: str) -> None:
    """What its owner did in Telegram's own settings is known here, too, and nobody is written to."""
    payload = await subscribe(world)

    assert await world.subscription(ANNA, payload, state) == []

    assert await subscriptions(world) == [("basic", renews)]


async def test_strange_news_of_a_subscription_changes_nothing(world: World) -> None:
    """An unknown purchase, another person, a state of the future, garbage: noted in the journal and done."""
    payload = await subscribe(world)

    await world.subscription(ANNA, "pnothingofours", "canceled")
    await world.subscription(BORIS, payload, "canceled")
    await world.subscription(ANNA, payload, "paused")
    await world.subscription(ANNA, None, "canceled")

    assert await subscriptions(world) == [("basic", "stars")]


# ------------------------------------------------------------------------------------------ another plan


async def test_a_plan_is_changed_at_the_rate_that_was_shown(world: World) -> None:
    """What is left becomes time of the other plan worth the same; two yeses change it once."""
    await buy(world)
    shown = await world.press(ANNA, callbacks.Subscriptions())
    plans = await world.press(ANNA, shown[1].data("Change the plan"))
    asked = await world.press(ANNA, plans[1].data("Plus <b> · 17 days"))
    assert "Left now: <b>30 days</b> of Basic" in text_of(asked)
    assert "Afterwards: <b>17 days</b> of Plus &lt;b&gt;" in text_of(asked)
    yes = asked[1].data("Change the plan")
    world.woken.clear()

    changed = await world.press(ANNA, yes)
    twice = await world.press(ANNA, yes)

    assert "Plus" in text_of(changed)
    assert text_of(changed) == text_of(twice)
    assert world.woken
    assert await subscriptions(world) == [("plus", "off")]
    assert len(await world.sql("select id from plan_changes")) == 1


async def test_a_replayed_change_changes_once(world: World) -> None:
    """The change is keyed by the update."""
    own = await buy(world)
    asked = await world.press(ANNA, callbacks.ChangeTo(own, "plus"))

    for _ in range(2):
        calls = await world.press(ANNA, asked[1].data("Change the plan"), update_id=9001)
        assert "Plus" in text_of(calls)

    assert len(await world.sql("select id from plan_changes")) == 1


async def test_a_price_that_changed_meanwhile_is_asked_about_again(world: World) -> None:
    """Nothing is changed at a rate he has not seen."""
    own = await buy(world)
    asked = await world.press(ANNA, callbacks.ChangeTo(own, "plus"))
    await world.change("update prices set amount = 40000 where amount = 34900")

    again = await world.press(ANNA, asked[1].data("Change the plan"))
    assert "Prices have changed" in text_of(again)
    assert await subscriptions(world) == [("basic", "off")]
    await world.press(ANNA, again[1].data("Change the plan"))

    assert await subscriptions(world) == [("plus", "off")]


async def test_a_change_that_is_impossible_says_so(world: World) -> None:
    """The same plan, an unknown one, one that Telegram charges for, one that has ended: told, and nothing done."""
    own = await buy(world)
    for plan in ("basic", "gold"):
        assert "can’t be changed like this" in text_of(await world.press(ANNA, callbacks.ChangeTo(own, plan)))
    await world.change("update subscriptions set renews = 'stars'")
    for wish in (
        callbacks.ChangePlan(own),
        callbacks.ChangeTo(own, "plus"),
        callbacks.ChangeNow(own, "plus", 570201),
    ):
        assert "Stop renewing first" in text_of(await world.press(ANNA, wish))
    await world.change("update subscriptions set renews = 'off', status = 'expired'")
    assert "Off since" in text_of(await world.press(ANNA, callbacks.ChangePlan(own)))

    assert await world.sql("select id from plan_changes") == []


async def test_without_another_plan_there_is_nothing_to_change_to(world: World) -> None:
    """The button is only there where it leads somewhere, and an old one says so."""
    own = await buy(world)
    await world.change("update plans set on_sale = false where id = 'plus'")

    shown = await world.press(ANNA, callbacks.Subscriptions())

    assert not shown[1].has("Change the plan")
    assert "no other plan" in text_of(await world.press(ANNA, callbacks.ChangePlan(own)))


# ------------------------------------------------------------------------------------------ hosts and guests


async def test_a_host_sees_his_level_and_is_told_of_each_reward(world: World) -> None:
    """What he gets, what comes next, what he has earned; and the notice of it is in his language."""
    await apply_levels(world.db, [(1, 10), (3, 20)])
    await world.say(ANNA, "/start", language="ru")
    (anna,) = await world.sql("select referral_code from customers")
    before = await world.press(ANNA, callbacks.Invite(), language="ru")
    await world.say(BORIS, f"/start ref_{anna['referral_code']}")
    for _ in range(2):
        page = await world.press(BORIS, callbacks.Pay("yookassa", await world.offer("basic", 30)))
        await world.settle(world.yookassa.charge(page[1].url("Pay").rpartition("/")[2]))

    told = [text for text in await world.told() if "гость" in text]
    after = await world.press(ANNA, callbacks.Invite(), language="ru")

    assert "Ещё 1 платящий гость — и вы получаете <b>10%</b>" in text_of(before)
    assert [("Вам — 10%: <b>19,90 ₽</b>" in text) for text in told] == [True]
    assert "вы получаете на баланс <b>10%</b>" in text_of(after)
    assert "Ещё 2 платящих гостя" in text_of(after)
    assert "Платящих гостей: <b>1</b>, заработано: <b>19,90 ₽</b>" in text_of(after)
