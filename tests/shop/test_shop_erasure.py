"""A customer has his data deleted: what goes at once, what the books keep, and what happens when he comes back."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from money_world import balance, books_agree, enter, make_promo, promo, refund
from shop_world import ShopWorld

from vpnd.database import Row
from vpnd.shop import access_log, broadcast_rows, broadcasts
from vpnd.shop.broadcasts import Segment
from vpnd.shop.customers import Customer, ensure_customer, set_reachable
from vpnd.shop.dialogs import set_expectation
from vpnd.shop.erasure import Erased, erase, holdings
from vpnd.shop.reminders import due_reminders, set_quiet_hours, set_time_zone
from vpnd.shop.subscriptions import expire_due, set_renewal
from vpnd.shop.titles import set_title
from vpnd.shop.trial import TrialTerms, TrialUnavailable, grant_trial

pytestmark = pytest.mark.postgres


async def forget(shop: ShopWorld, customer: Customer, key: str = "update:forget") -> Erased:
    """He says yes."""
    return await shop.do(lambda tx: erase(tx, customer_id=customer.id, request_key=key, language="ru"))


async def person(shop: ShopWorld, customer: Customer) -> Row:
    """What is known of him."""
    return (await shop.db.fetch("test", "select * from customers where id = $1", customer.id))[0]


async def rows(shop: ShopWorld, table: str) -> list[Row]:
    """All of a table."""
    return await shop.db.fetch("test", f"select * from {table} order by 1")  # noqa: S608 (a test's own word)


async def test_access_ends_and_the_nodes_are_told(shop: ShopWorld) -> None:
    """What is on is off, under credentials and pages that no old link leads to; what was off has new ones, too."""
    one = await shop.customer()
    on = (await shop.grant(one)).subscription
    off = (await shop.grant(one, plan="plus")).subscription
    await shop.execute(
        "update subscriptions set status = 'expired', expires_at = starts_at where id = $1", off.id
    )
    await shop.do(lambda tx: set_renewal(tx, on.id, one.id, from_balance=True))
    await shop.do(lambda tx: set_title(tx, on.id, one.id, "Mum"))
    await access_log.number(shop.db)
    before = {s.id: s for s in (on, off)}

    assert (await forget(shop, one)) == Erased(1, created=True)

    for now in await rows(shop, "subscriptions"):
        old = before[now["id"]]
        assert (now["status"], now["renews"], now["title"], now["remind_at"]) == (
            "expired",
            "off",
            None,
            None,
        )
        assert now["version"] > old.version
        assert str(now["credential"]) != str(old.credential)
        assert now["link_token"] != old.link_token
        assert now["expires_at"] <= await shop.db.fetchval("test", "select vpnd_now()")
    unnumbered = await shop.db.fetch(
        "test", "select subscription_id from access_log where seq is null order by 1"
    )
    assert [row["subscription_id"] for row in unnumbered] == [on.id, off.id]


async def test_who_he_is_is_forgotten(shop: ShopWorld) -> None:
    """Name, language, clock, quiet hours, dialog and waiting code; he cannot be reached, by an unblocking either."""
    one = await shop.customer()
    await make_promo(shop, "SPRING")
    await enter(shop, one, "SPRING")
    await shop.do(lambda tx: set_quiet_hours(tx, one.id, (time(22), time(9))))
    await shop.do(lambda tx: set_time_zone(tx, one.id, "Etc/GMT-3"))
    await shop.do(lambda tx: set_expectation(tx, one.id, "promo_code"))

    await forget(shop, one)

    now = await person(shop, one)
    empty = (
        "username",
        "time_zone",
        "quiet_from",
        "quiet_to",
        "expects",
        "expects_until",
        "expects_about",
        "promo_id",
    )
    assert {name: now[name] for name in empty} == dict.fromkeys(empty)
    assert (now["first_name"], now["language"], now["reachable"]) == ("", "ru", False)
    assert now["telegram_id"] == one.telegram_id
    assert not await shop.do(lambda tx: set_reachable(tx, one.telegram_id, True))


async def test_the_books_stay(shop: ShopWorld) -> None:
    """Purchases, charges and ledger are as they were, and so is his balance: it is his money and no data."""
    one = await shop.customer()
    await shop.fill(one, 50000)
    await shop.settle(shop.charge(await shop.buy(one)))
    tables = ("settlements", "ledger", "accounts")
    before = [await rows(shop, table) for table in tables]
    there_is = await holdings(shop.db, one.id, "RUB")

    await forget(shop, one)

    assert (there_is.active, there_is.charged_by_stars, there_is.balance) == (1, 0, 50000)
    assert [await rows(shop, table) for table in tables] == before
    assert (await balance(shop, one)).total == 50000
    assert {row["status"] for row in await rows(shop, "purchases")} == {"paid"}
    await books_agree(shop)


async def test_what_was_open_is_closed(shop: ShopWorld) -> None:
    """An open purchase is cancelled and gives its promo code back; one that is paid all the same is honoured."""
    one = await shop.customer()
    await make_promo(shop, "SPRING", total_cap=1)
    await enter(shop, one, "SPRING")
    purchase = await shop.buy(one)
    assert (await promo(shop, "SPRING")).used == 1

    await forget(shop, one)

    assert (await shop.again(purchase)).status == "cancelled"
    assert (await promo(shop, "SPRING")).used == 0
    await shop.settle(shop.charge(purchase))
    assert [one.active for one in await shop.subscriptions(one)] == [True]


async def test_nothing_is_sent_any_more(shop: ShopWorld) -> None:
    """Reminders, waiting notices and broadcasts are withdrawn; receipts tell of money and stay."""
    one, other = await shop.customer(), await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.grant(one, plan="plus")
    await shop.grant(other)
    await shop.advance(timedelta(days=31))
    await expire_due(shop.db, 10)
    broadcast = await broadcasts.create(
        shop.db, content={"text": {"en": "x"}}, segment=Segment(), created_by="test"
    )
    await broadcasts.start(shop.db, broadcast)
    while await broadcast_rows.fill(shop.db, broadcast):
        pass

    await forget(shop, one)

    states = [(row["order_key"], row["key"].partition(":")[0], row["status"]) for row in await shop.outbox()]
    his, others = f"chat:{one.telegram_id}", f"chat:{other.telegram_id}"
    assert set(states) == {
        (his, "receipt", "ready"),
        (his, "expired", "dropped"),
        (others, "expired", "ready"),
    }
    claimed = await broadcast_rows.claim(shop.db, [broadcast], 10, holder="test", lease=30.0)
    assert [one.customer_id for one in claimed] == [other.id]
    told = await broadcasts.progress(shop.db, broadcast)
    assert told is not None
    assert (told.total, told.unreachable) == (2, 1)
    mine = [row["id"] for row in await rows(shop, "subscriptions") if row["customer_id"] == one.id]
    assert not {key for _, key in await due_reminders(shop.db, 100)} & set(mine)


async def test_a_trial_is_not_given_twice(shop: ShopWorld) -> None:
    """That there was one is kept; its notices end."""
    one = await shop.customer()
    terms = TrialTerms(72)
    await shop.do(lambda tx: grant_trial(tx, customer_id=one.id, terms=terms, request_key="update:1"))

    await forget(shop, one)

    (trial,) = await rows(shop, "trials")
    assert trial["notice_at"] is None
    with pytest.raises(TrialUnavailable, match="used"):
        await shop.do(lambda tx: grant_trial(tx, customer_id=one.id, terms=terms, request_key="update:2"))


async def test_played_again_it_ends_nothing_that_was_bought_since(shop: ShopWorld) -> None:
    """The replay has learnt his name anew and forgets it; what he bought after the first time stays on."""
    one = await shop.customer()
    await shop.grant(one)
    await forget(shop, one)
    await shop.customer(one.telegram_id)
    await shop.grant(one)

    assert await forget(shop, one) == Erased(0, created=False)

    assert [held.active for held in await shop.subscriptions(one)] == [True]
    assert (await person(shop, one))["first_name"] == ""
    assert len(await rows(shop, "erasures")) == 1


async def test_who_comes_back_begins_anew(shop: ShopWorld) -> None:
    """His next message makes him reachable, in the language that Telegram says; a refund of old time takes no new time."""
    one = await shop.customer()
    purchase = await shop.buy(one)
    settled = await shop.settle(shop.charge(purchase))
    await forget(shop, one)
    back, created = await shop.do(
        lambda tx: ensure_customer(tx, one.telegram_id, language="en", username="new", first_name="New")
    )
    now = await person(shop, one)
    assert (created, back.id, back.language, back.reachable, now["erased_at"]) == (
        False,
        one.id,
        "en",
        True,
        None,
    )
    await shop.settle(shop.charge(await shop.buy(one)))
    (held,) = await shop.subscriptions(one)

    await refund(shop, settled.settlement_id)

    assert [again.expires_at for again in await shop.subscriptions(one)] == [held.expires_at]
