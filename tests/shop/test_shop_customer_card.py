"""A customer at a glance, and all that happened to him."""

from __future__ import annotations

from datetime import timedelta

import pytest
from money_world import give_bonus, only
from shop_world import ShopWorld

from vpnd.shop import access_log
from vpnd.shop.audit_log import Change, record
from vpnd.shop.blocking import block
from vpnd.shop.customer_card import Card, card_of
from vpnd.shop.customers import Customer
from vpnd.shop.discounts import set_discount
from vpnd.shop.erasure import erase
from vpnd.shop.operators import Permission, shell_actor
from vpnd.shop.plan_change import change_plan
from vpnd.shop.rotation import rotate_link
from vpnd.shop.subscriptions import expire_due
from vpnd.shop.timeline import BEGINNING, Event, timeline_of
from vpnd.shop.trial import TrialTerms, grant_trial

pytestmark = pytest.mark.postgres


async def card(shop: ShopWorld, customer: Customer) -> Card:
    """His card."""
    found = await card_of(shop.db, customer.id, "RUB")
    assert found is not None
    return found


async def test_everything_at_a_glance(shop: ShopWorld) -> None:
    """Who brought him and whom he brought, what he has and can spend, what he paid."""
    host = await shop.customer()
    one = await shop.customer(code=host.referral_code)
    guest = await shop.customer(code=one.referral_code)
    await shop.customer(code=one.referral_code)
    await shop.settle(shop.charge(await shop.buy(guest)))
    await shop.do(
        lambda tx: grant_trial(tx, customer_id=one.id, terms=TrialTerms(72), request_key="update:t")
    )
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.fill(one, 7000)
    await give_bonus(shop, one, 300)
    await shop.do(lambda tx: set_discount(tx, one.id, 15))

    seen = await card(shop, one)

    assert (seen.referrer_id, seen.guests, seen.paying_guests) == (host.id, 2, 1)
    assert (seen.own, seen.bonus, seen.owed, seen.discount) == (7000, 300, 0, 15)
    assert (seen.purchases, seen.role, seen.blocked_at, seen.erased_at) == (2, None, None, None)
    assert seen.trial_ends_at is not None
    (mine,) = seen.subscriptions
    assert (mine.plan_id, mine.active, mine.trial, mine.acknowledged, mine.nodes) == (
        "basic",
        True,
        False,
        0,
        0,
    )
    assert [(paid.kind, paid.left) for paid in seen.payments] == [("topup", 7000), ("access", 19900)]
    assert await card_of(shop.db, 10**9, "RUB") is None


async def test_who_has_acknowledged(shop: ShopWorld) -> None:
    """A node counts once it holds the present state; a change makes all of them wait again."""
    one = await shop.customer()
    await shop.grant(one)
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)
    await access_log.record_ack(shop.db, "n1", head.epoch, head.last_seq)
    await access_log.record_ack(shop.db, "n2", head.epoch, 0)

    (mine,) = (await card(shop, one)).subscriptions
    await shop.do(lambda tx: block(tx, one.id))
    (later,) = (await card(shop, one)).subscriptions

    assert (mine.acknowledged, mine.nodes) == (1, 2)
    assert (later.acknowledged, later.active) == (0, False)


async def test_the_card_of_somebody_forgotten(shop: ShopWorld) -> None:
    """What is kept is shown: his number, his payments and his balance; his names are not."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.fill(one, 500)
    await shop.do(lambda tx: erase(tx, customer_id=one.id, request_key="update:1", language="en"))

    seen = await card(shop, one)

    assert (seen.name, seen.telegram_id, seen.own) == ("", one.telegram_id, 500)
    assert seen.erased_at is not None
    assert len(seen.payments) == 2


async def all_of(shop: ShopWorld, customer: Customer, limit: int = 50) -> list[Event]:
    """All pages of what happened to him."""
    events: list[Event] = []
    place = BEGINNING
    while page := await timeline_of(shop.db, customer.id, before=place, limit=limit):
        assert len(page) <= limit
        events.extend(page)
        place = page[-1].place
    return events


async def test_all_that_happened_is_told(shop: ShopWorld) -> None:
    """Each kind of event, the newest first, and nothing of anybody else."""
    one = await shop.customer()
    other = await shop.customer(code=one.referral_code)
    await shop.settle(shop.charge(await shop.buy(one)))
    mine = await only(shop, one)
    await shop.do(
        lambda tx: rotate_link(tx, subscription_id=mine.id, customer_id=one.id, request_key="update:r")
    )
    await shop.do(
        lambda tx: change_plan(
            tx,
            subscription_id=mine.id,
            customer_id=one.id,
            to_plan="plus",
            shop_currency="RUB",
            request_key="update:p",
        )
    )
    line = Change(subject=f"customer:{one.id}", detail="given")
    await shop.do(lambda tx: record(tx, shell_actor("root"), Permission.GIVE_DAYS, line, reason="because"))
    await shop.execute("update outbox set status = 'done'")
    await shop.advance(timedelta(days=60))
    await expire_due(shop.db, 10)
    await shop.settle(shop.charge(await shop.buy(other)))
    await shop.do(lambda tx: erase(tx, customer_id=one.id, request_key="update:e", language="en"))

    told = await all_of(shop, one)

    assert {event.kind for event in told} == {
        "joined", "payment", "grant", "ended", "plan", "link", "message", "deed", "erased",
    }  # fmt: skip
    assert told == sorted(
        told, key=lambda event: (event.at, event.place.source, event.place.id), reverse=True
    )
    deed = next(event for event in told if event.kind == "deed")
    assert deed.facts == {"actor": "shell:root", "action": "customers.days.given", "reason": "because"}
    assert [event.kind for event in await all_of(shop, other) if event.kind == "payment"] == ["payment"]


async def test_pages_miss_nothing(shop: ShopWorld) -> None:
    """However small the pages and however many events of one moment: together they are all, each once."""
    one = await shop.customer()
    for _ in range(4):
        await shop.settle(shop.charge(await shop.buy(one)))

    async def lines(tx: object) -> None:
        for _ in range(5):
            await record(tx, shell_actor("root"), Permission.MESSAGE, Change(subject=f"customer:{one.id}"))  # type: ignore[arg-type]

    await shop.do(lines)

    whole = await all_of(shop, one)
    assert len(whole) == 14
    for size in (1, 2, 3, 7):
        assert await all_of(shop, one, size) == whole
