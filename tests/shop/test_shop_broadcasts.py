"""Broadcasts as rows: their states, the clock of those that are scheduled, and who gets which variant."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from shop_world import ShopWorld

from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.broadcast_content import ButtonsUnreadable, read_buttons, variant, write_buttons
from vpnd.shop.broadcast_rows import Recorded
from vpnd.shop.broadcast_times import BadTime, read_time
from vpnd.shop.broadcasts import GRACE, Segment

pytestmark = pytest.mark.postgres

TEXT = {"text": {"en": "news"}}
BOTH = {**TEXT, "b": {"text": {"en": "other news"}}}


async def crowd(shop: ShopWorld, count: int) -> None:
    """So many customers."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code)"
        " select n, 'en', 'c' || n from generate_series(1, $1) n",
        count,
    )


async def made(shop: ShopWorld, content: Any = TEXT, **options: Any) -> int:
    """A draft."""
    return await broadcasts.create(
        shop.db, content=content, segment=Segment(), created_by="test", title="t", **options
    )


async def state(shop: ShopWorld, number: int) -> str:
    """In which state one is."""
    found = await broadcasts.progress(shop.db, number)
    assert found is not None
    return found.state


async def test_a_scheduled_one_begins_when_its_time_has_come_and_once(shop: ShopWorld) -> None:
    """Not before; then by whoever looks first, and by nobody again."""
    number = await made(shop)
    found = await broadcasts.progress(shop.db, number)
    assert found is not None
    assert await broadcasts.schedule(shop.db, number, found.now + timedelta(hours=1), expected=7)
    assert await broadcasts.start_due(shop.db) == []
    await shop.advance(timedelta(hours=1, seconds=1))

    assert await broadcasts.start_due(shop.db) == [(number, "running")]
    assert await broadcasts.start_due(shop.db) == []
    found = await broadcasts.progress(shop.db, number)
    assert found is not None
    assert found.started_at is not None
    assert found.expected == 7
    assert not await broadcasts.start(shop.db, number)
    assert not await broadcasts.schedule(shop.db, number, found.now)


@pytest.mark.parametrize(
    ("on_missed", "late", "after"),
    [
        ("send", GRACE + timedelta(days=9), "running"),
        ("skip", GRACE + timedelta(seconds=5), "missed"),
        ("skip", GRACE - timedelta(seconds=5), "running"),
    ],
)
async def test_a_missed_time(shop: ShopWorld, on_missed: Any, late: timedelta, after: str) -> None:
    """It is made up for once, or given up, as was chosen; a few minutes are no miss."""
    number = await made(shop)
    found = await broadcasts.progress(shop.db, number)
    assert found is not None
    async with shop.db.transaction("test") as tx:
        assert await broadcasts.edit(tx, number, on_missed=on_missed)
        assert await broadcasts.schedule(tx, number, found.now + timedelta(hours=1))
    await shop.advance(timedelta(hours=1) + late)

    assert await broadcasts.start_due(shop.db) == [(number, after)]
    assert await broadcasts.start_due(shop.db) == []
    assert await state(shop, number) == after


async def test_what_is_scheduled_can_be_taken_back_and_thrown_away(shop: ShopWorld) -> None:
    """A draft again is not begun; what was thrown away is in no list."""
    one, two = await made(shop), await made(shop)
    found = await broadcasts.progress(shop.db, one)
    assert found is not None
    for number in (one, two):
        await broadcasts.schedule(shop.db, number, found.now + timedelta(minutes=1))
    assert await broadcasts.unschedule(shop.db, one)
    assert await broadcasts.discard(shop.db, two)
    await shop.advance(timedelta(hours=1))

    assert await broadcasts.start_due(shop.db) == []
    assert [each.id for each in await broadcasts.listed(shop.db)] == [one]
    assert not await broadcasts.discard(shop.db, two)


async def test_variants_are_the_same_whenever_they_are_asked_and_share_as_chosen(shop: ShopWorld) -> None:
    """A customer's variant hangs on him and the broadcast alone; another broadcast deals anew; the share is kept."""
    await crowd(shop, 2000)
    first, second = await made(shop, BOTH, share_b=30), await made(shop, BOTH, share_b=30)
    sql = "select id from customers where broadcast_has_b($1, id, 30) order by id limit 3000"
    of_first = [row["id"] for row in await shop.db.fetch("test", sql, first)]
    of_second = [row["id"] for row in await shop.db.fetch("test", sql, second)]

    assert 500 < len(of_first) < 700
    assert of_first != of_second
    assert [row["id"] for row in await shop.db.fetch("test", sql, first)] == of_first
    # The hash itself must stay: a broadcast that runs over an upgrade may not deal anew.
    known = await shop.db.fetch(
        "test",
        "select n from generate_series(1, 40) n where broadcast_has_b(7, n, 25) order by n limit 40",
    )
    expected = [
        n for n in range(1, 41)
        if (int(hashlib.md5(f"7:{n}".encode()).hexdigest()[:7], 16)) % 100 < 25  # noqa: S324 (deals out, guards nothing)
    ]  # fmt: skip
    assert [row["n"] for row in known] == expected


async def test_figures_are_kept_for_each_variant(shop: ShopWorld) -> None:
    """Who got what, who could not be reached and who refused it, of A and of B; each gets his own content."""
    await crowd(shop, 200)
    number = await made(shop, BOTH, share_b=50)
    await broadcasts.start(shop.db, number)
    while await broadcast_rows.fill(shop.db, number):
        pass
    claimed = await broadcast_rows.claim(shop.db, [number], 200, holder="t", lease=60)
    outcomes: Any = ("sent", "unreachable", "failed")
    await broadcast_rows.record(
        shop.db, [Recorded(one, outcomes[place % 3]) for place, one in enumerate(claimed)]
    )
    found = await broadcasts.progress(shop.db, number)
    assert found is not None
    of_b = [one for one in claimed if one.has_b]

    assert 70 < len(of_b) < 130
    assert (found.b.total, found.a.total) == (len(of_b), 200 - len(of_b))
    assert found.b.sent == sum(one.has_b and place % 3 == 0 for place, one in enumerate(claimed))
    assert found.a.failed == sum(not one.has_b and place % 3 == 2 for place, one in enumerate(claimed))
    assert found.a.unreachable + found.b.unreachable == found.unreachable
    assert variant(found.content, has_b=True) == BOTH["b"]
    assert variant(TEXT, has_b=True) == TEXT


async def test_without_a_second_variant_nobody_gets_it(shop: ShopWorld) -> None:
    """Whatever share was asked for."""
    await crowd(shop, 50)
    number = await made(shop, TEXT, share_b=50)
    await broadcasts.start(shop.db, number)
    await broadcast_rows.fill(shop.db, number)
    claimed = await broadcast_rows.claim(shop.db, [number], 50, holder="t", lease=60)

    assert not any(one.has_b for one in claimed)


def test_buttons_are_read_and_written() -> None:
    """Rows of lines, several between bars; what is written is read as the same."""
    rows = read_buttons(
        "Buy now - https://example.org/a-b?c=1\n\nA — http://a.example | B - tg://resolve?domain=b"
    )

    assert [[one["text"] for one in row] for row in rows] == [["Buy now"], ["A", "B"]]
    assert rows[0][0]["url"] == "https://example.org/a-b?c=1"
    assert read_buttons(write_buttons(rows)) == rows
    assert read_buttons("") == []


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("Buy", 1, "form"),
        ("A - https://a.example\nBuy https://a.example", 2, "form"),
        (f"{'x' * 65} - https://a.example", 1, "label"),
        ("Buy - javascript:alert(1)", 1, "address"),
        ("Buy - https://", 1, "address"),
        (f"Buy - https://a.example/{'x' * 600}", 1, "address"),
        (" | ".join(["A - https://a.example"] * 4), 1, "row"),
        ("\n".join(["A - https://a.example"] * 13), 13, "many"),
    ],
)
def test_what_is_no_button_is_named_by_its_line(text: str, line: int, fault: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(ButtonsUnreadable) as caught:
        read_buttons(text)

    assert (caught.value.line, caught.value.fault) == (line, fault)


async def test_a_time_is_read_on_a_clock(shop: ShopWorld) -> None:
    """Two ways of writing it, in any zone; what is none, over, or far away is refused by name."""
    now = await shop.db.fetchval("test", "select vpnd_now()")
    day = now + timedelta(days=2)

    iso = await read_time(shop.db, f"{day:%Y-%m-%d} 9:05", "Europe/Moscow")
    dotted = await read_time(shop.db, f" {day:%d.%m.%Y} 09:05 ", "Europe/Moscow")

    assert iso == dotted
    assert f"{iso:%H:%M}" == "06:05"
    for text, fault in (
        ("soon", "form"),
        ("2026-13-40 10:00", "form"),
        ("2020-01-01 10:00", "past"),
        ("2199-01-01 10:00", "far"),
    ):
        with pytest.raises(BadTime) as caught:
            await read_time(shop.db, text, "UTC")
        assert caught.value.fault == fault
