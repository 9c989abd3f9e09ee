"""Segments: who is meant is the same for the count, for the recipients and for the export, and is counted page by page."""

from __future__ import annotations

import pytest
from attrs import fields
from shop_world import ShopWorld

from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.segments import Segment, members, reach

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
