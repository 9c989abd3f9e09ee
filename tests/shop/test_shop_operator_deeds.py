"""What operators do to customers: allowed and refused, once, written down, and the books at zero."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from money_world import balance, booked, books_agree, give_bonus, only
from shop_world import ShopWorld

from vpnd.shop.asked_deeds import ask, asked_deed
from vpnd.shop.audit_log import AlreadyDone, Change, Entry, entries, perform
from vpnd.shop.blocking import block
from vpnd.shop.customers import Customer, set_reachable
from vpnd.shop.deed import MOST_DAYS, MOST_TEXT, Deed, DeedKind, DeedRefused, permission_of
from vpnd.shop.deeds_giving import guard_refund
from vpnd.shop.operator_deeds import carry_out, rehearse
from vpnd.shop.operators import ROLES, Actor, NotAllowed, Role, may, set_operator, shell_actor
from vpnd.shop.subscriptions import expire_due, subscription_by_id

pytestmark = pytest.mark.postgres

SHELL = shell_actor("root")


async def perform_deed(
    shop: ShopWorld, deed: Deed, actor: Actor = SHELL, key: str | None = None, owners: Sequence[int] = ()
) -> Change:
    """Do it as an operator does, for the reason "because"."""
    request = key or f"update:{shop.number()}"
    return await shop.do(
        lambda tx: perform(
            tx,
            actor,
            permission_of(deed),
            lambda tx: carry_out(tx, actor, deed, request_key=request, currency="RUB", owners=owners),
            request_key=request,
            reason="because",
        )
    )


async def operator(shop: ShopWorld, role: Role, telegram_id: int = 777) -> Actor:
    """Somebody with a role."""
    await shop.do(lambda tx: set_operator(tx, telegram_id, role, name="N", by="test"))
    return Actor(f"admin:{telegram_id}", role, telegram_id)


async def deed_of(shop: ShopWorld, kind: DeedKind) -> tuple[Customer, Deed]:
    """A deed that can be done, with the customer whom it is done to."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    mine = await only(shop, one)
    if kind == "unblock":
        await shop.do(lambda tx: block(tx, one.id))
    values: dict[DeedKind, dict[str, Any]] = {
        "days": {"subscription_id": mine.id, "days": 7},
        "money": {"amount": 5000},
        "plan": {"subscription_id": mine.id, "plan": "plus"},
        "link": {"subscription_id": mine.id},
        "message": {"text": "Hello, " + "x" * 100},
    }
    return one, Deed(kind=kind, customer_id=one.id, **values.get(kind, {}))


KINDS: list[DeedKind] = ["days", "money", "plan", "link", "block", "unblock", "message"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
async def test_each_deed_by_each_role(shop: ShopWorld, kind: DeedKind, role: Role) -> None:
    """Done and written down with before, after and reason, or refused with nothing changed; a replay does nothing twice."""
    actor = await operator(shop, role)
    one, deed = await deed_of(shop, kind)
    before = await everything(shop)

    if not may(role, permission_of(deed)):
        with pytest.raises(NotAllowed):
            await perform_deed(shop, deed, actor)
        with pytest.raises(NotAllowed):
            await rehearse(shop.db, actor, deed, currency="RUB")
        assert await everything(shop) == before
        assert await entries(shop.db) == []
        return
    foreseen = await rehearse(shop.db, actor, deed, currency="RUB")
    assert await everything(shop) == before
    done = await perform_deed(shop, deed, actor, "update:once")
    after = await everything(shop)
    with pytest.raises(AlreadyDone):
        await perform_deed(shop, deed, actor, "update:once")

    assert await everything(shop) == after != before
    assert done.before == foreseen.before
    assert {**(done.after or {}), "until": 0} == {
        **(foreseen.after or {}),
        "until": 0,
    }  # of a change of plan it moves on
    (line,) = await entries(shop.db)
    assert (line.actor, line.role, line.reason) == (actor.name, role, "because")
    assert line.subject == f"customer:{one.id}"
    assert line.action.startswith(permission_of(deed).value)
    assert (line.before, line.after) == (done.before, done.after)
    await books_agree(shop)


async def everything(shop: ShopWorld) -> list[Any]:
    """All that a deed may touch."""
    queries = (
        "select * from customers order by id", "select * from subscriptions order by id", "select * from grants order by id",
        "select count(*) as n from access_log", "select * from accounts where balance is not null order by id",
        "select count(*) as n from ledger", "select key, status from outbox order by id",
        "select count(*) as n from plan_changes",
    )  # fmt: skip
    return [
        [{k: v for k, v in row.items() if k != "balance" or v} for row in await shop.db.fetch("test", q)]
        for q in queries
    ]


async def last(shop: ShopWorld) -> Entry:
    """The last line of the audit log."""
    return (await entries(shop.db, limit=1))[0]


async def refused(shop: ShopWorld, deed: Deed, actor: Actor = SHELL, **options: Any) -> str:
    """Why it is refused; nothing is changed or written then."""
    before, lines = await everything(shop), len(await entries(shop.db))
    with pytest.raises(DeedRefused) as caught:
        await perform_deed(shop, deed, actor, **options)
    assert await everything(shop) == before
    assert len(await entries(shop.db)) == lines
    assert str(caught.value)
    return caught.value.why


# ------------------------------------------------------------------------------------------ days


async def test_days_are_added_to_the_end(shop: ShopWorld) -> None:
    """A gift: from the end of what is on; the customer is told; the log says from when to when."""
    one, deed = await deed_of(shop, "days")
    mine = await only(shop, one)

    done = await perform_deed(shop, deed)

    now = await only(shop, one)
    assert now.expires_at == mine.expires_at + timedelta(days=7)
    assert done.before is not None
    assert done.after is not None
    assert done.before["until"] == mine.expires_at.isoformat()
    assert done.after["until"] == now.expires_at.isoformat()
    assert (await last(shop)).action == "customers.days.given"
    assert await shop.db.fetchval("test", "select count(*) from outbox where key like 'gift_days:%'") == 1
    assert await shop.db.fetchval("test", "select kind from grants order by id desc limit 1") == "gift"


async def test_days_make_a_subscription(shop: ShopWorld) -> None:
    """Somebody without any gets one of the plan that is named; of a plan there is none of he gets nothing."""
    one = await shop.customer()

    assert await refused(shop, Deed(kind="days", customer_id=one.id, plan="nope", days=3)) == "no_plan"
    assert await refused(shop, Deed(kind="days", customer_id=one.id, days=3)) == "no_plan"
    done = await perform_deed(shop, Deed(kind="days", customer_id=one.id, plan="plus", days=3))

    mine = await only(shop, one)
    assert (mine.plan_id, mine.status) == ("plus", "active")
    assert done.before is None


async def test_days_are_taken_from_the_end(shop: ShopWorld) -> None:
    """The end moves, with the last slices of time; access stays on while something is left."""
    one, _ = await deed_of(shop, "days")
    mine = await only(shop, one)
    await perform_deed(shop, Deed(kind="days", customer_id=one.id, subscription_id=mine.id, days=10))

    await perform_deed(shop, Deed(kind="days", customer_id=one.id, subscription_id=mine.id, days=-15))

    now = await only(shop, one)
    assert (now.status, now.version) == ("active", mine.version)
    assert now.expires_at == mine.expires_at - timedelta(days=5)
    slices = await shop.db.fetch("test", "select from_at, until_at, removed_seconds from grants order by id")
    assert [row["until_at"] for row in slices] == [now.expires_at, now.expires_at]
    assert [row["removed_seconds"] for row in slices] == [5 * 86400, 10 * 86400]
    assert (await last(shop)).action == "customers.days.taken"


async def test_taking_all_days_cuts_off(shop: ShopWorld) -> None:
    """More than is left ends it now: off, a higher version, a log row; there is nothing to take any more."""
    one, _ = await deed_of(shop, "days")
    mine = await only(shop, one)
    logged = await shop.db.fetchval("test", "select count(*) from access_log")
    take = Deed(kind="days", customer_id=one.id, subscription_id=mine.id, days=-400)

    await perform_deed(shop, take)

    now = await only(shop, one)
    assert (now.status, now.version) == ("expired", mine.version + 1)
    assert await shop.db.fetchval("test", "select count(*) from access_log") == logged + 1
    assert await refused(shop, take) == "nothing_left"


async def test_days_within_reason(shop: ShopWorld) -> None:
    """None, too many, and those of somebody else's subscription are refused."""
    one, deed = await deed_of(shop, "days")
    other = await shop.customer()
    foreign = Deed(kind="days", customer_id=other.id, subscription_id=deed.subscription_id, days=1)

    assert await refused(shop, Deed(kind="days", customer_id=one.id, days=0)) == "too_much"
    assert await refused(shop, Deed(kind="days", customer_id=one.id, days=MOST_DAYS + 1)) == "too_much"
    assert await refused(shop, foreign) == "no_subscription"
    assert await refused(shop, Deed(kind="days", customer_id=10**9, days=1)) == "no_customer"


# ------------------------------------------------------------------------------------------ money


async def test_money_that_is_given_is_a_gift(shop: ShopWorld) -> None:
    """One row of the ledger, from the house's adjustments to the customer's bonus, under a reference of its own."""
    one, deed = await deed_of(shop, "money")
    rows = await shop.db.fetchval("test", "select count(*) from ledger")

    await perform_deed(shop, deed, key="update:5")

    purse = await balance(shop, one)
    assert (purse.own, purse.bonus) == (0, 5000)
    assert await shop.db.fetchval("test", "select count(*) from ledger") == rows + 1
    assert await booked(shop, "adjustments") == -5000
    reference = await shop.db.fetchval("test", "select reference from ledger order by id desc limit 1")
    assert reference == "adjustment:update:5:given"
    assert (await last(shop)).action == "customers.balance.given"
    await books_agree(shop)


async def test_money_is_taken_from_gifts_first(shop: ShopWorld) -> None:
    """Then from his own; more than there is is refused, and nothing goes."""
    one = await shop.customer()
    await shop.fill(one, 10_000)
    await give_bonus(shop, one, 3_000)

    assert await refused(shop, Deed(kind="money", customer_id=one.id, amount=-13_001)) == "too_little"
    await perform_deed(shop, Deed(kind="money", customer_id=one.id, amount=-4_000))
    purse = await balance(shop, one)
    assert (purse.own, purse.bonus) == (9_000, 0)
    await perform_deed(shop, Deed(kind="money", customer_id=one.id, amount=-9_000))

    assert (await balance(shop, one)).total == 0
    assert await booked(shop, "adjustments") == 13_000
    assert (await last(shop)).action == "customers.balance.taken"
    assert await refused(shop, Deed(kind="money", customer_id=one.id, amount=-1)) == "too_little"
    await books_agree(shop)


async def test_amounts_within_reason(shop: ShopWorld) -> None:
    """Nothing, and what no balance holds, are refused."""
    one = await shop.customer()

    assert await refused(shop, Deed(kind="money", customer_id=one.id)) == "too_much"
    assert await refused(shop, Deed(kind="money", customer_id=one.id, amount=10**15)) == "too_much"


# ------------------------------------------------------------------------------------------ oneself


@pytest.mark.parametrize("role", ["owner", "manager", "support"])
async def test_nobody_but_an_owner_gives_himself_days(shop: ShopWorld, role: Role) -> None:
    """Whoever may give days to others may not to himself, unless he owns the shop; taking is nobody's gain."""
    one, deed = await deed_of(shop, "days")
    actor = await operator(shop, role, one.telegram_id)

    if role == "owner":
        await perform_deed(shop, deed, actor)
    else:
        assert await refused(shop, deed, actor) == "own_days"
    await perform_deed(
        shop, Deed(kind="days", customer_id=one.id, subscription_id=deed.subscription_id, days=-1), actor
    )


@pytest.mark.parametrize("role", ["owner", "manager"])
async def test_nobody_gives_himself_money(shop: ShopWorld, role: Role) -> None:
    """Not an owner either, in Telegram; at the shell the log names the server's account."""
    one, deed = await deed_of(shop, "money")
    actor = await operator(shop, role, one.telegram_id)

    assert await refused(shop, deed, actor) == "own_money"
    fixed = Actor(f"admin:{one.telegram_id}", "owner", one.telegram_id, fixed=True)
    assert await refused(shop, deed, fixed) == "own_money"
    await perform_deed(shop, deed, SHELL)
    await perform_deed(shop, Deed(kind="money", customer_id=one.id, amount=-1), actor)


async def test_a_role_that_was_lost_counts_at_once(shop: ShopWorld) -> None:
    """Whoever was an owner a moment ago and is a manager now gives himself no days."""
    one, deed = await deed_of(shop, "days")
    was = await operator(shop, "owner", one.telegram_id)
    await operator(shop, "manager", one.telegram_id)

    assert await refused(shop, deed, was) == "own_days"


@pytest.mark.parametrize("role", ["owner", "manager"])
async def test_nobody_but_an_owner_gives_his_payment_back(shop: ShopWorld, role: Role) -> None:
    """The guard before a refund; others' payments and the shell's refunds pass."""
    one, other = await shop.customer(), await shop.customer()
    actor = await operator(shop, role, one.telegram_id)

    async def guard(customer_id: int | None, who: Actor) -> None:
        await shop.do(lambda tx: guard_refund(tx, who, customer_id))

    await guard(other.id, actor)
    await guard(None, actor)
    await guard(one.id, SHELL)
    if role == "owner":
        await guard(one.id, actor)
    else:
        with pytest.raises(DeedRefused) as caught:
            await guard(one.id, actor)
        assert caught.value.why == "own_refund"


async def test_who_runs_the_shop_is_not_blocked(shop: ShopWorld) -> None:
    """Operators that are rows, owners of the configuration, and oneself."""
    one, other = await shop.customer(), await shop.customer()
    await operator(shop, "reader", one.telegram_id)
    himself = Actor(f"admin:{other.telegram_id}", "owner", other.telegram_id, fixed=True)

    assert await refused(shop, Deed(kind="block", customer_id=one.id)) == "operator"
    assert (
        await refused(shop, Deed(kind="block", customer_id=other.id), owners=[other.telegram_id])
        == "operator"
    )
    assert await refused(shop, Deed(kind="block", customer_id=other.id), himself) == "operator"


# ------------------------------------------------------------------------------------------ the others


async def test_a_block_and_its_end_are_told_as_they_are(shop: ShopWorld) -> None:
    """What went off and what came back stands in the log; a block of who is blocked is none."""
    one, deed = await deed_of(shop, "block")
    await perform_deed(shop, deed)
    blocked = await last(shop)
    again = await refused(shop, deed)
    await perform_deed(shop, Deed(kind="unblock", customer_id=one.id))
    lifted = await last(shop)

    assert blocked.after == {"blocked": True, "switched_off": 1, "charged_no_more": 0}
    assert again == "as_it_was"
    assert (lifted.action, lifted.after) == ("customers.block.lifted", {"blocked": False, "switched_on": 1})
    assert await refused(shop, Deed(kind="unblock", customer_id=one.id)) == "as_it_was"
    assert await shop.db.fetchval("test", "select count(*) from outbox where key like 'unblocked:%'") == 1


async def test_another_plan_is_worth_the_same(shop: ShopWorld) -> None:
    """As when the customer changes it; what cannot be changed is refused with what helps."""
    one, deed = await deed_of(shop, "plan")
    await perform_deed(shop, deed)
    mine = await only(shop, one)
    same = await refused(shop, deed)
    await shop.do(lambda tx: block(tx, one.id))

    assert mine.plan_id == "plus"
    assert same == "plan_impossible"
    assert await refused(shop, deed) == "blocked"
    foreign = Deed(kind="plan", customer_id=(await shop.customer()).id, subscription_id=mine.id, plan="basic")
    assert await refused(shop, foreign) == "no_subscription"


async def test_a_new_link(shop: ShopWorld) -> None:
    """Another credential and page, no secret in the log; not at once again, and not for what is off."""
    one, deed = await deed_of(shop, "link")
    mine = await only(shop, one)
    await perform_deed(shop, deed)
    now = await only(shop, one)

    assert (now.credential, now.link_token) != (mine.credential, mine.link_token)
    assert (await last(shop)).after == {"subscription": mine.id, "plan": "basic"}
    assert await refused(shop, deed) == "link_too_soon"
    await shop.execute("delete from link_rotations")
    await shop.execute("update subscriptions set expires_at = vpnd_now(), starts_at = vpnd_now()")
    await expire_due(shop.db, 10)
    assert await refused(shop, deed) == "link_off"
    assert await subscription_by_id(shop.db, mine.id) is not None


async def test_a_message_leaves_by_the_outbox(shop: ShopWorld) -> None:
    """As a notice, once; the log keeps its length and beginning only."""
    one, deed = await deed_of(shop, "message")
    await perform_deed(shop, deed)

    row = await shop.db.fetchrow("test", "select * from outbox where key like 'operator_message:%'")
    assert row is not None
    assert (row["lane"], row["order_key"]) == ("notice", f"chat:{one.telegram_id}")
    assert row["payload"]["args"] == {"text": deed.text}
    after = (await last(shop)).after
    assert after == {"letters": 107, "begins": "Hello, xxxxxxxxxxxxxxxxx…"}


async def test_messages_that_make_no_sense(shop: ShopWorld) -> None:
    """None, too long, and one that would not arrive."""
    one = await shop.customer()
    assert await refused(shop, Deed(kind="message", customer_id=one.id, text=" \x00 ")) == "no_words"
    assert (
        await refused(shop, Deed(kind="message", customer_id=one.id, text="x" * (MOST_TEXT + 1)))
        == "no_words"
    )
    await shop.do(lambda tx: set_reachable(tx, one.telegram_id, False))
    assert await refused(shop, Deed(kind="message", customer_id=one.id, text="x")) == "unreachable"


# ------------------------------------------------------------------------------------------ questions


async def test_a_question_is_its_operators(shop: ShopWorld) -> None:
    """Nobody else can say yes to it, a replayed update keeps it, and after a day it is gone."""
    _, deed = await deed_of(shop, "days")
    for reason in ("first", "replayed"):
        await shop.do(lambda tx, reason=reason: ask(tx, asked=1, telegram_id=7, deed=deed, reason=reason))  # type: ignore[misc]

    mine = await asked_deed(shop.db, 1, 7)
    assert mine is not None
    assert (mine.deed, mine.reason) == (deed, "first")
    assert await asked_deed(shop.db, 1, 8) is None
    await shop.execute("update asked_deeds set created_at = created_at - interval '25 hours'")
    assert await asked_deed(shop.db, 1, 7) is None
    await shop.do(lambda tx: ask(tx, asked=2, telegram_id=7, deed=deed, reason="x"))
    assert await shop.db.fetchval("test", "select count(*) from asked_deeds") == 1
