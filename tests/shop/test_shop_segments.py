"""Segments: who is meant is the same for the count, for the recipients and for the export, and is counted page by page."""

from __future__ import annotations

import re
from functools import reduce
from itertools import combinations, product
from typing import Any

import pytest
from attrs import fields
from shop_world import ShopWorld

from vpnd.database.scope import Transaction
from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.segments import LAST, Segment, conditions, members, reach

pytestmark = pytest.mark.postgres


async def people(shop: ShopWorld) -> None:
    """Nine customers by Telegram id, each with something of his own; one who is blocked and one who cannot be reached."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code, created_at)"
        " select n, 'en', 'c' || n, vpnd_now() - interval '100 days' from generate_series(1, 8) n"
    )
    await shop.execute("update customers set seen_at = vpnd_now() - interval '5 days' where telegram_id = 1")
    await shop.execute("update customers set seen_at = vpnd_now() - interval '50 days' where telegram_id = 2")
    for number in (1, 2, 3):
        await shop.grant(await shop.customer(number))
    # 2 ended ten days ago, 3 just now; 4 had one that ended and has another.
    four = await shop.customer(4)
    await shop.grant(four)
    await shop.grant(four, plan="plus")
    # Nobody writes to these two.
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code, blocked_at, reachable)"
        " values (10, 'en', 'c10', vpnd_now(), true), (11, 'en', 'c11', null, false)"
    )
    for condition, days in (
        ("telegram_id = 2", 10),
        ("telegram_id = 3", 0),
        ("telegram_id = 4 and plan_id = 'plus'", 40),
    ):
        await shop.execute(
            "update subscriptions s set status = 'expired', starts_at = vpnd_now() - interval '90 days',"  # noqa: S608
            f" expires_at = vpnd_now() - interval '{days} days' from customers c where c.id = s.customer_id and {condition}"
        )
    await shop.fill(await shop.customer(5), 10_000)
    await shop.fill(await shop.customer(6), 500)
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code, referrer_id)"
        " select 9, 'ru', 'c9', id from customers where telegram_id = 7"
    )


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (Segment(), {1, 2, 3, 4, 5, 6, 7, 8, 9}),
        (Segment(expired_days=0), {2, 3}),
        (Segment(expired_days=5), {2}),
        (Segment(expired_days=11), set()),
        (Segment(idle_days=1), {1, 2, 3, 4, 5, 6, 7, 8}),
        (Segment(idle_days=30), {2, 3, 4, 5, 6, 7, 8}),
        (Segment(balance_over=0, currency="RUB"), {5, 6}),
        (Segment(balance_over=500, currency="RUB"), {5}),
        (Segment(balance_under=501, currency="RUB", languages=["en"]), {1, 2, 3, 4, 6, 7, 8}),
        (Segment(balance_under=0, currency="RUB"), set()),
        (Segment(balance_over=-1, currency="RUB", languages=["ru"]), {9}),
        (Segment(balance_over=0, balance_under=5000, currency="RUB"), {6}),
        (Segment(balance_over=0, currency="USD"), set()),
        (Segment(came=True), {9}),
        (Segment(came=False, brought=False), {1, 2, 3, 4, 5, 6, 8}),
        (Segment(brought=True), {7}),
        (Segment(bought=False, idle_days=60), {3, 4, 5, 6, 7, 8}),
        (Segment(active=False, trial=False, plans=None, expired_days=0), {2, 3}),
    ],
    ids=lambda value: str(value.to_json()) if isinstance(value, Segment) else "",
)
async def test_every_condition(shop: ShopWorld, segment: Segment, expected: set[int]) -> None:
    """Counted in pages of two, written down in pages of three, read in pages of one: always the same customers."""
    await people(shop)
    made = await broadcasts.create(shop.db, content={"text": {"en": "x"}}, segment=segment, created_by="t")
    await broadcasts.start(shop.db, made)
    while await broadcast_rows.fill(shop.db, made, 3):
        pass
    rows = await shop.db.fetch(
        "test",
        "select c.telegram_id from broadcast_recipients r join customers c on c.id = r.customer_id where broadcast_id = $1",
        made,
    )
    read = [member.telegram_id async for page in members(shop.db, segment, page=1) for member in page]

    assert {row["telegram_id"] for row in rows} == expected
    assert set(read) == expected
    assert len(read) == len(expected)
    assert await reach(shop.db, segment, page=2) == len(expected)
    kept = await broadcasts.progress(shop.db, made)
    assert kept is not None
    assert kept.segment == segment


def test_a_segment_survives_being_kept() -> None:
    """What is set comes back as it was; what is not known is refused by name, and so is what means nothing."""
    whole = Segment(
        languages=["en"], active=True, trial=False, bought=True, plans=["basic"], expired_days=3, balance_over=1,
        balance_under=9, currency="RUB", came=False, brought=True, idle_days=4,
    )  # fmt: skip
    assert Segment.from_json(whole.to_json()) == whole
    assert set(whole.to_json()) == {one.name for one in fields(Segment)}
    assert Segment().everybody
    with pytest.raises(ValueError, match="no colour"):
        Segment.from_json({"colour": "red"})
    with pytest.raises(ValueError, match="idle_days"):
        Segment(idle_days=-1)
    with pytest.raises(ValueError, match="balance_over"):
        Segment(balance_over=5)
    with pytest.raises(ValueError, match="plans"):
        Segment(plans=["x"] * 101)


#: Each condition with what a composer's buttons make of it.
CHOICES: dict[str, list[dict[str, Any]]] = {
    "access": [{"active": True}, {"active": False}],
    "trial": [{"trial": True}, {"trial": False}],
    "bought": [{"bought": True}, {"bought": False}],
    "expired": [{"expired_days": 5}],
    "idle": [{"idle_days": 30}],
    "language": [{"languages": ["en"]}],
    "plan": [{"plans": ["basic"]}],
    "balance": [
        {"balance_over": 0, "currency": "RUB"},
        {"balance_under": 1, "currency": "RUB"},
        {"balance_over": 100, "balance_under": 5000, "currency": "RUB"},
    ],
    "came": [{"came": True}, {"came": False}],
    "brought": [{"brought": True}, {"brought": False}],
}


def combined(most: int) -> list[tuple[dict[str, Any], ...]]:
    """Every choice of one to `most` conditions."""
    return [
        chosen
        for number in range(1, most + 1)
        for parts in combinations(CHOICES, number)
        for chosen in product(*(CHOICES[part] for part in parts))
    ]


async def ids_of(tx: Transaction, segment: Segment) -> set[int]:
    """Who is meant, by the statement that all share."""
    meant = conditions(segment)
    rows = await tx.fetch(
        f"select c.id from customers c where c.id > $1 and c.id <= $2 and {meant.sql}",  # noqa: S608 (constants)
        0,
        LAST,
        *meant.arguments,
    )
    return {row["id"] for row in rows}


async def mixed(shop: ShopWorld) -> None:
    """Two hundred customers of every kind: the numbers of each kind share no divisor, so that all meet."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code, created_at, seen_at)"
        " select n, case when n % 3 = 0 then 'ru' else 'en' end, 'c' || n, vpnd_now() - interval '100 days',"
        " vpnd_now() - make_interval(days => n % 60) from generate_series(1, 200) n"
    )
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code, referrer_id)"
        " select 1000 + id, 'en', 'g' || id, id from customers where telegram_id % 5 = 0"
    )
    for which, plan, trial, status, ends in (
        (2, "basic", "c.telegram_id % 7 = 0", "active", 20),
        (3, "plus", "false", "active", 20),
        (5, "basic", "false", "expired", -1),
        (7, "plus", "false", "expired", -30),
        (11, "basic", "true", "expired", -9),
    ):
        await shop.execute(
            "insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, trial)"  # noqa: S608
            f" select c.id, '{plan}', 's' || translate(lpad((c.id * 100 + {which})::text, 16, '0'), '0189', 'abcd'),"
            f" gen_random_uuid(), 't' || (c.id * 100 + {which}), '{status}', vpnd_now() - interval '90 days',"
            f" vpnd_now() + make_interval(days => {ends}), {trial} from customers c where c.telegram_id % {which} = 0"
        )
    await shop.execute(
        "insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount, status,"
        " request_key, expires_at)"
        " select 'p' || translate(lpad((c.id * 10 + n)::text, 16, '0'), '0189', 'abcd'), c.id, (select min(id) from offers),"
        " 'stars', 'XTR', 5, 'RUB', 5, case when c.telegram_id % 4 = 0 then 'paid' else 'expired' end, 'r' || c.id * 10 + n,"
        " vpnd_now() from customers c, generate_series(1, 2) n where c.telegram_id % 2 = 0"
    )
    await shop.execute(
        "insert into accounts (kind, owner, currency, customer_id, balance)"
        " select kind, id::text, 'RUB', id, (telegram_id % 4) * 2000 from customers, unnest(array['customer', 'bonus']) kind"
        " where telegram_id % 3 <> 0"
    )


async def test_together_conditions_mean_what_each_means(shop: ShopWorld) -> None:
    """Whoever is meant by two or three conditions is meant by each of them, though what follows from another is left out."""
    await mixed(shop)

    async def look(tx: Transaction) -> tuple[list[str], set[int]]:
        alone = {str(one): await ids_of(tx, Segment(**one)) for (one,) in combined(1)}
        wrong = []
        for chosen in combined(3):
            found = await ids_of(tx, Segment(**reduce(dict.__or__, chosen)))
            if found != set.intersection(*(alone[str(one)] for one in chosen)):
                wrong.append(str(chosen))
        return wrong, {len(one) for one in alone.values()}

    async with shop.db.transaction("test", deadline=60) as tx:
        wrong, sizes = await look(tx)

    assert wrong == []
    assert min(sizes) > 0


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_condition_is_looked_for_again_for_each_customer(shop: ShopWorld, mode: str) -> None:
    """Whatever is combined, and whatever the planner expects: what other tables say is read once a statement and hashed, and the
    time is asked once. A nested loop over a page made 10 s of a count of a million, and a call of vpnd_now() a row 4 s."""
    await mixed(shop)
    await shop.execute("analyze")
    faults = []
    async with shop.db.transaction("test", deadline=60) as tx:
        await tx.execute(f"set local plan_cache_mode = {mode}")
        for number, chosen in enumerate(combined(2)):
            meant = conditions(Segment(**reduce(dict.__or__, chosen)))
            types = ["bigint", "bigint", *re.findall(r"\$\d+::([a-z]+(?:\[\])?)", meant.sql)]
            sql = f"select count(*) from customers c where c.id > $1 and c.id <= $2 and {meant.sql}"  # noqa: S608 (constants)
            await tx.script(f"prepare counting_{number} ({', '.join(types)}) as {sql}")
            values = ", ".join(
                f"array['{one[0]}']" if isinstance(one, list) else f"'{one}'"
                for one in (0, 100, *meant.arguments)
            )
            rows = await tx.fetch(f"explain (costs off) execute counting_{number}({values})")
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            by_row = re.findall(r"(?<!hashed )SubPlan \d+\)|Nested Loop|vpnd_now", plan)
            if by_row:
                faults.append(f"{chosen}: {by_row}\n{plan}")

    assert not faults, f"{len(faults)}, like {faults[0]}"
