"""Reminders: the nearest of what is due, once a period, outside of quiet hours, to whom it concerns."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from random import Random

import pytest
from clock_kit import OFF, go_to, go_to_hour, now
from shop_world import ShopWorld

from vpnd.database.errors import DatabaseError
from vpnd.shop import reminders
from vpnd.shop.customers import Customer, set_reachable
from vpnd.shop.reminders import STEPS, due_reminders, set_quiet_hours, set_time_zone, tell_reminders
from vpnd.shop.subscriptions import Subscription, expire_due

NIGHT = (time(22), time(9))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


async def look(shop: ShopWorld, quiet=OFF, zone: str = "UTC") -> int:
    """One round of the worker: all that is due; returns how many were told."""
    keys = await due_reminders(shop.db, 1000)
    return (await tell_reminders(shop.db, "RUB", [key for _, key in keys], zone, quiet))[1]


async def told(shop: ShopWorld) -> list[str]:
    """What was told, in order: the step, with ! after the end."""
    rows = await shop.outbox("reminder:")
    return [
        row["payload"]["args"]["when"] + ("!" if row["payload"]["template"] == "reminder_over" else "")
        for row in rows
    ]


async def subscribed(shop: ShopWorld, days: int = 30) -> tuple[Customer, Subscription]:
    """A customer with access for so many days."""
    one = await shop.customer()
    return one, (await shop.grant(one, days)).subscription


async def test_each_step_comes_when_it_is_due_and_once(shop: ShopWorld) -> None:
    """7 d, 3 d, 1 d, 3 h before the end and 1 d, 3 d, 7 d after it; each look in between tells nothing."""
    _, mine = await subscribed(shop)
    end = mine.expires_at
    seen: list[str] = []
    for before, step in zip((7 * DAY, 3 * DAY, DAY, 3 * HOUR, -DAY, -3 * DAY, -7 * DAY), STEPS, strict=True):
        await go_to(shop, end - before - timedelta(minutes=1))
        await expire_due(shop.db, 10)
        assert await look(shop) == 0
        await go_to(shop, end - before)
        assert (await look(shop), await look(shop)) == (1, 0)
        seen.append(step if before > timedelta() else f"{step}!")
        assert await told(shop) == seen

    assert await shop.db.fetchval("test", "select remind_at from subscriptions") is None


async def test_an_outage_is_made_up_for_by_the_nearest_only(shop: ShopWorld) -> None:
    """Three steps were missed: one is told, the one that is true now, and it is true until the next."""
    _, mine = await subscribed(shop)
    await go_to(shop, mine.expires_at - 5 * HOUR)

    assert (await look(shop), await told(shop)) == (1, ["1d"])
    (row,) = await shop.outbox("reminder:")
    assert row["valid_until"] == mine.expires_at - 3 * HOUR
    assert row["payload"]["args"] == {
        "subscription_id": mine.id,
        "plan_id": "basic",
        "when": "1d",
        "expires_at": row["payload"]["args"]["expires_at"],
    }
    assert datetime.fromisoformat(row["payload"]["args"]["expires_at"]) == mine.expires_at


async def test_steps_that_were_over_when_the_period_began_are_not_due(shop: ShopWorld) -> None:
    """Whoever buys two days is not told at once that they end in less than seven."""
    _, mine = await subscribed(shop, 2)
    assert await look(shop) == 0
    await go_to(shop, mine.expires_at - DAY)

    assert (await look(shop), await told(shop)) == (1, ["1d"])


async def test_a_renewal_begins_anew_and_takes_back_what_has_not_left(shop: ShopWorld) -> None:
    """Incident 67: every period has all of its reminders, and none of the last one's arrives in it."""
    one, mine = await subscribed(shop)
    await go_to(shop, mine.expires_at - 3 * DAY)
    assert await look(shop) == 1
    await shop.settle(shop.charge(await shop.buy(one)))
    assert [row["status"] for row in await shop.outbox("reminder:")] == ["dropped"]
    assert await look(shop) == 0
    (mine,) = await shop.subscriptions(one)
    await go_to(shop, mine.expires_at - 7 * DAY)
    assert await look(shop) == 1
    await go_to(shop, mine.expires_at - 3 * DAY)
    assert await look(shop) == 1

    assert await told(shop) == ["3d", "7d", "3d"]


async def test_after_the_end_and_a_renewal_late(shop: ShopWorld) -> None:
    """Whoever comes back is not told any more that he is gone."""
    one, mine = await subscribed(shop)
    await go_to(shop, mine.expires_at + DAY)
    await expire_due(shop.db, 10)
    assert (await look(shop), await told(shop)) == (1, ["1d!"])
    await shop.settle(shop.charge(await shop.buy(one)))
    await go_to(shop, mine.expires_at + 3 * DAY)

    assert await look(shop) == 0
    assert [row["status"] for row in await shop.outbox("reminder:")] == ["dropped"]


async def test_who_renews_by_himself_is_left_alone_while_he_can_pay(shop: ShopWorld) -> None:
    """By his balance if it holds enough, or in Stars; with too little he is reminded like anybody."""
    rich, poor, stars = await shop.customer(), await shop.customer(), await shop.customer()
    for one in (rich, poor, stars):
        await shop.settle(shop.charge(await shop.buy(one)))
    await shop.fill(rich, 19_900)
    await shop.fill(poor, 5_000)
    await shop.execute(
        "update subscriptions set renews = case when customer_id = $1 then 'stars' else 'balance' end",
        stars.id,
    )
    (mine,) = await shop.subscriptions(rich)
    await go_to(shop, mine.expires_at - 3 * DAY + timedelta(minutes=5))
    assert await look(shop) == 1
    (row,) = await shop.outbox("reminder:")

    assert row["payload"]["chat_id"] == poor.telegram_id


async def test_who_cannot_be_reached_or_has_other_access_is_left_alone(shop: ShopWorld) -> None:
    """A step that passed unsaid is not made up for."""
    gone, mine = await subscribed(shop)
    other, _ = await subscribed(shop)
    await shop.do(lambda tx: set_reachable(tx, gone.telegram_id, False))
    await go_to(shop, mine.expires_at - 7 * DAY + timedelta(minutes=5))
    assert await look(shop) == 1
    await shop.do(lambda tx: set_reachable(tx, gone.telegram_id, True))
    assert await look(shop) == 0
    await shop.grant(other, 90, "plus")
    await go_to(shop, mine.expires_at + DAY + timedelta(minutes=5))
    await expire_due(shop.db, 10)
    await look(shop)

    rows = [row for row in await shop.outbox("reminder:") if row["payload"]["template"] == "reminder_over"]
    assert [row["payload"]["chat_id"] for row in rows] == [gone.telegram_id]


async def test_who_had_his_time_taken_back_is_reminded_of_nothing(shop: ShopWorld) -> None:
    """A period that was cut is none that ended."""
    _, mine = await subscribed(shop)
    await shop.execute(
        "update subscriptions set expires_at = vpnd_now(), status = 'expired' where id = $1", mine.id
    )
    await shop.advance(8 * DAY)

    assert await look(shop) == 0


async def test_quiet_hours_are_waited_for(shop: ShopWorld) -> None:
    """What falls due at night is told in the morning, once."""
    _, mine = await subscribed(shop)
    await shop.execute(
        "update subscriptions set expires_at = date_trunc('day', expires_at) + interval '23 hours'"
    )
    (mine,) = await shop.subscriptions(await _owner(shop, mine))
    due = mine.expires_at - 3 * DAY
    await go_to(shop, mine.expires_at - 7 * DAY)
    await look(shop)
    await shop.execute("delete from outbox")
    await go_to(shop, due)
    assert (await look(shop, NIGHT), await look(shop, NIGHT)) == (0, 0)
    await go_to(shop, due + 9 * HOUR)
    assert await look(shop, NIGHT) == 0
    await go_to(shop, due + 10 * HOUR)

    assert (await look(shop, NIGHT), await look(shop, NIGHT)) == (1, 0)
    assert await told(shop) == ["3d"]


async def _owner(shop: ShopWorld, mine: Subscription) -> Customer:
    from vpnd.shop.customers import customer_by_telegram_id

    telegram_id = await shop.db.fetchval(
        "test", "select telegram_id from customers where id = $1", mine.customer_id
    )
    found = await customer_by_telegram_id(shop.db, telegram_id)
    assert found is not None
    return found


async def ending_at(shop: ShopWorld, hour: int) -> Subscription:
    """A subscription whose end is at this hour, UTC, with all steps but the last behind it."""
    one, mine = await subscribed(shop)
    await shop.execute(
        "update subscriptions set expires_at = date_trunc('day', expires_at) + make_interval(hours => $2) where id = $1",
        mine.id,
        hour,
    )
    (mine,) = await shop.subscriptions(one)
    await go_to(shop, mine.expires_at - DAY + timedelta(minutes=30))
    await look(shop, OFF)
    await shop.execute("delete from outbox")
    # Placed for the night's hours, as the worker would have.
    await shop.execute("update subscriptions set remind_at = vpnd_now() where id = $1", mine.id)
    await look(shop, NIGHT)
    assert await told(shop) == []
    return mine


async def test_the_last_hours_are_told_before_the_night_that_outlasts_them(shop: ShopWorld) -> None:
    """It ends at 2 at night: nobody hears at 23 that it does, and at 9 it is over. So it is told after 21."""
    mine = await ending_at(shop, 2)
    await go_to(shop, mine.expires_at - 5 * HOUR - timedelta(minutes=1))
    assert await look(shop, NIGHT) == 0
    await go_to(shop, mine.expires_at - 5 * HOUR)

    assert (await look(shop, NIGHT), await told(shop)) == (1, ["3h"])


async def test_the_last_hours_are_told_in_the_morning_if_it_is_still_on(shop: ShopWorld) -> None:
    """It ends at 11, three hours before is 8, and at 9 there are two hours left to renew it."""
    mine = await ending_at(shop, 11)
    await go_to(shop, mine.expires_at - 3 * HOUR + timedelta(minutes=1))
    assert await look(shop, NIGHT) == 0
    await go_to(shop, mine.expires_at - 2 * HOUR)

    assert (await look(shop, NIGHT), await told(shop)) == (1, ["3h"])


async def test_the_last_hours_are_dropped_when_they_would_be_told_too_late(shop: ShopWorld) -> None:
    """The daemon was away in the hour before the night: in the morning it is no longer true, and never said."""
    mine = await ending_at(shop, 2)
    await go_to(shop, mine.expires_at - 2 * HOUR)
    assert await look(shop, NIGHT) == 0
    await go_to(shop, mine.expires_at + 8 * HOUR)
    assert await look(shop, NIGHT) == 0
    await expire_due(shop.db, 10)
    await go_to(shop, mine.expires_at + 32 * HOUR)

    assert (await look(shop, NIGHT), await told(shop)) == (1, ["1d!"])


async def test_the_quiet_hours_are_the_customers(shop: ShopWorld) -> None:
    """In his time zone, and those he has chosen; the shop's are for who has chosen none."""
    _, mine = await subscribed(shop)
    far, _ = await subscribed(shop)
    never, _ = await subscribed(shop)
    await shop.do(lambda tx: set_time_zone(tx, far.id, "Asia/Vladivostok"))  # UTC+10, no summer time
    await shop.do(lambda tx: set_quiet_hours(tx, never.id, (time(3), time(3))))
    await look(shop, NIGHT)
    await go_to(shop, mine.expires_at - 7 * DAY + HOUR)
    await go_to_hour(shop, 23)
    await look(shop, NIGHT)
    rows = {row["payload"]["chat_id"] for row in await shop.outbox("reminder:")}
    assert {far.telegram_id, never.telegram_id} <= rows
    await go_to_hour(shop, 9)
    await look(shop, NIGHT)

    assert len(await shop.outbox("reminder:")) == 3


async def test_a_customer_who_changes_his_hours_is_placed_anew(shop: ShopWorld) -> None:
    """What waited for the morning need not wait when the night is none any more."""
    one, mine = await subscribed(shop)
    await go_to(shop, mine.expires_at - 7 * DAY + HOUR)
    await go_to_hour(shop, 23)
    assert await look(shop, NIGHT) == 0
    await shop.do(lambda tx: set_quiet_hours(tx, one.id, (time(0), time(0))))

    assert await look(shop, NIGHT) == 1
    await shop.do(lambda tx: set_quiet_hours(tx, one.id, None))
    with pytest.raises(DatabaseError):
        await shop.do(lambda tx: set_time_zone(tx, one.id, "Atlantis/Poseidonis"))


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_hours_nobody_is_woken_and_nothing_false_is_said(
    shop: ShopWorld, seed: int
) -> None:
    """Random ends, zones, hours and pauses of the worker, against a calculation in Python."""
    from zoneinfo import ZoneInfo

    rng = Random(seed)
    zone = rng.choice(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"])
    quiet = (time(rng.randrange(24), rng.choice([0, 30])), time(rng.randrange(24)))
    one, mine = await subscribed(shop, rng.choice([1, 2, 5, 30]))
    await shop.execute(
        "update subscriptions set expires_at = expires_at + make_interval(mins => $1)", rng.randrange(1440)
    )
    (mine,) = await shop.subscriptions(one)
    until = mine.expires_at + 9 * DAY
    await go_to(shop, max(await now(shop), mine.expires_at - 8 * DAY))
    steps: list[str] = []
    while (here := await now(shop)) < until:
        await expire_due(shop.db, 10)
        if await look(shop, quiet, zone):
            local = here.astimezone(ZoneInfo(zone)).time()
            start, end = quiet
            asleep = start <= local < end if start < end else local >= start or local < end
            assert not (asleep and start != end), (here, zone, quiet)
            step = (await told(shop))[-1]
            assert step not in steps
            steps.append(step)
            assert step.endswith("!") == (here >= mine.expires_at)
            (*_, row) = await shop.outbox("reminder:")
            assert row["valid_until"] > here
        await shop.advance(timedelta(minutes=rng.choice([45, 60, 90, 120, 300])))

    order = ["7d", "3d", "1d", "3h", "1d!", "3d!", "7d!"]
    assert steps == [step for step in order if step in steps]
    assert steps[-1] == "7d!"


async def test_a_look_costs_what_is_due(shop: ShopWorld) -> None:
    """With 20 000 subscriptions, of which ten are due: an index of what is due, and no more than it holds."""
    async with shop.db.transaction("test", deadline=60) as tx:
        await tx.script(
            "set local session_replication_role = replica"
        )  # checks of each row would take longer than the rest
        await tx.execute(
            """
            insert into customers (telegram_id, language, referral_code)
            select n, 'en', 'c' || n from generate_series(1, 20000) n
            """
        )
        await tx.execute(
            """
            insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at,
                                       remind_at)
            select c.id, 'basic', 's' || translate(lpad(c.id::text, 16, '0'), '0189', 'abcd'), gen_random_uuid(), 't' || c.id,
                   'active', now(), now() + interval '20 days',
                   case when c.id % 2000 = 0 then now() else now() + make_interval(days => 1 + (c.id % 20)::integer) end
            from customers c
            """
        )
        await tx.script("analyze subscriptions")
    plan = await shop.do(
        lambda tx: tx.fetch(f"explain (analyze, format json) {reminders._DUE}", 500, None, None)
    )
    root = plan[0][0][0]["Plan"]
    names = []

    def walk(node) -> None:
        names.append((node["Node Type"], node.get("Index Name"), node["Actual Rows"]))
        for child in node.get("Plans", []):
            walk(child)

    walk(root)
    assert any(index == "subscriptions_remind" for _, index, _ in names), names
    assert all(rows <= 10 for _, _, rows in names), names
    assert "Seq Scan" not in {kind for kind, _, _ in names}
