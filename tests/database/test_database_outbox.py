"""The outbox: what was decided is delivered, in order, once on record, and given up only loudly."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import trio
from database_kit import database_settings

from vpnd.database import outbox, outbox_rows
from vpnd.database.database import Database, open_database
from vpnd.database.outbox import (
    BoundaryDown,
    Dead,
    Delivered,
    Delivery,
    Drop,
    NewItem,
    OutboxItem,
    Relay,
    Retry,
)
from vpnd.runtime.limits import Limits

Deliver = Callable[[OutboxItem], Awaitable[Delivery]]


async def put(db: Database, *items: NewItem) -> int:
    async with db.transaction("test.put") as tx:
        return await outbox.put_many(tx, items)


def item(key: object, **changes: Any) -> NewItem:
    return NewItem(**({"kind": "message", "key": str(key), "payload": {"key": key}} | changes))


async def rows(db: Database) -> dict[str, str]:
    return dict(await db.fetch("test.rows", "select key, status from outbox order by id"))


async def until(db: Database, **statuses: int) -> None:
    """Wait until the table has exactly so many rows of each status."""
    with trio.fail_after(20):
        while Counter((await rows(db)).values()) != Counter(statuses):
            await trio.sleep(0.005)


_holders = itertools.count(1)


@asynccontextmanager
async def relaying(db: Database, deliver: Deliver, **options: Any) -> AsyncIterator[Relay]:
    defaults = {"interval": 0.05, "holder": f"test {next(_holders)}"}
    relay = Relay(db, ["message"], deliver, rng=Random(1), **(defaults | options))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield relay
        nursery.cancel_scope.cancel()


async def test_a_key_is_written_once_and_only_with_its_transaction(db: Database) -> None:
    """Deciding twice sends once, and what is rolled back is not sent."""
    async with db.transaction("test.put") as tx:
        assert await outbox.put(tx, "message", "a", {"x": 1})
        assert not await outbox.put(tx, "message", "a", {"x": 2})
    with pytest.raises(KeyError):
        async with db.transaction("test.put") as tx:
            await outbox.put(tx, "message", "b", {})
            raise KeyError
    assert await rows(db) == {"a": "ready"}


async def test_items_are_delivered_and_recorded(db: Database) -> None:
    """Every item is delivered once, its result is kept, and a wake-up finds new ones at once."""
    seen: list[str] = []

    async def deliver(one: OutboxItem) -> Delivery:
        seen.append(one.key)
        return Delivered({"id": one.payload["key"]})

    await put(db, *(item(n) for n in range(250)))
    async with relaying(db, deliver, interval=30.0) as relay:
        await until(db, done=250)
        async with db.transaction("test.put") as tx:
            tx.after_commit(relay.wake)
            await outbox.put(tx, "message", "late", {"key": "late"})
        await until(db, done=251)
    assert sorted(seen) == sorted([*map(str, range(250)), "late"])
    assert await db.fetchval("test.read", "select result from outbox where key = 'late'") == {"id": "late"}
    assert relay.statistics().repeats == 0


async def test_a_killed_relays_claims_are_taken_back_at_its_next_start(db: Database) -> None:
    """A receipt that a killed process had in hand does not wait for the lease: the next life of that process repeats it."""
    seen: list[tuple[str, bool]] = []

    async def deliver(one: OutboxItem) -> Delivery:
        seen.append((one.key, one.repeat))
        return Delivered()

    await put(db, item(1), item(2), item(3))
    # A claim that nothing became of is what a kill leaves behind.
    assert len(await outbox_rows.claim(db, ["message"], {"notice": 2}, holder="killed", lease=3600)) == 2
    async with relaying(db, deliver, holder="another"):
        await until(db, ready=2, done=1)
    async with relaying(db, deliver, holder="killed"):
        await until(db, done=3)
    assert seen == [("3", False), ("1", True), ("2", True)]


async def test_order_is_kept_within_a_key(db: Database) -> None:
    """Items of one chat leave one after the other, also when one has to be repeated; other chats do not wait for it."""
    seen: list[tuple[str, int]] = []
    failed = set()

    async def deliver(one: OutboxItem) -> Delivery:
        chat, number = one.payload["chat"], one.payload["n"]
        await trio.lowlevel.checkpoint()
        if (chat, number) == ("a", 2) and not failed:
            failed.add(1)
            return Retry(after=0.1)
        seen.append((chat, number))
        return Delivered()

    await put(
        db,
        *(
            item(f"{c}{n}", order_key=c, payload={"chat": c, "n": n})
            for n in range(6)
            for c in ("a", "b", "c")
        ),
    )
    async with relaying(db, deliver), relaying(db, deliver):
        await until(db, done=18)
    for chat in ("a", "b", "c"):
        assert [number for of, number in seen if of == chat] == list(range(6))
    assert seen.index(("b", 5)) < seen.index(("a", 5))


async def test_a_failing_item_dies_loudly_and_can_be_revived(db: Database) -> None:
    """A poisoned item costs its attempts and no more; it stands among the dead until an admin retries it. Others pass it."""
    calls: Counter[str] = Counter()
    mended = False

    async def deliver(one: OutboxItem) -> Delivery:
        calls[one.key] += 1
        if one.key == "poison" and not mended:
            if calls[one.key] % 2:
                raise ValueError("cannot be said")
            return Retry(after=0.0, error="refused")
        return Delivered()

    await put(db, item("poison"), item("good"))
    async with relaying(db, deliver):
        with trio.fail_after(20):
            while (await rows(db))["poison"] != "dead":
                # Its back-off is hours in the end: time is moved instead of waited for.
                async with db.transaction("test.hurry") as tx:
                    await tx.execute(
                        "update outbox set available_at = clock_timestamp() where lease_until is null and status = 'ready'"
                    )
                await trio.sleep(0.005)
        assert calls == {"poison": 20, "good": 1}
        (letter,) = await outbox.dead_letters(db)
        assert letter["key"] == "poison"
        assert letter["failures"] == 20
        mended = True
        assert await outbox.retry_dead(db, letter["id"])
        assert not await outbox.retry_dead(db, letter["id"])
        await until(db, done=2)


async def test_drop_and_dead_end_an_item(db: Database) -> None:
    """What is not wanted any more is dropped, what can never succeed is dead at once, both with the reason."""

    async def deliver(one: OutboxItem) -> Delivery:
        return Drop("blocked") if one.key == "drop" else Dead("bad payload")

    await put(db, item("drop"), item("dead"))
    async with relaying(db, deliver):
        await until(db, dropped=1, dead=1)
    assert dict(await db.fetch("test.read", "select key, last_error from outbox")) == {
        "drop": "blocked",
        "dead": "bad payload",
    }


async def test_a_stale_notice_is_dropped_by_business_time(db: Database) -> None:
    """A notice says until when it is true, in the shop's time; later it is not sent."""
    seen: list[str] = []

    async def deliver(one: OutboxItem) -> Delivery:
        seen.append(one.key)
        return Delivered()

    async with db.transaction("test.clock") as tx:
        await tx.execute("insert into sandbox_clock (offset_seconds) values (3600)")
    soon, later = datetime.now(UTC) + timedelta(minutes=30), datetime.now(UTC) + timedelta(hours=2)
    await put(db, item("past", valid_until=soon), item("true", valid_until=later))
    async with relaying(db, deliver):
        await until(db, dropped=1, done=1)
    assert seen == ["true"]


async def test_not_before_is_waited_for(db: Database) -> None:
    """An item that is not due is not claimed."""
    await put(db, item("later", not_before=timedelta(hours=1)), item("now"))
    claimed = await outbox_rows.claim(db, ["message"], {"notice": 10}, holder="t", lease=60)
    assert [one.key for one in claimed] == ["now"]


async def test_a_boundary_that_is_down_costs_nothing_and_is_asked_by_one(db: Database) -> None:
    """The relay pauses, every item keeps its attempts, and after the pause a single item goes ahead."""
    down = True
    calls: list[str] = []
    most_at_once = 0
    inside = 0

    async def deliver(one: OutboxItem) -> Delivery:
        nonlocal most_at_once, inside
        calls.append(one.key)
        inside += 1
        if len(calls) > 20:
            most_at_once = max(most_at_once, inside)
        await trio.sleep(0.002)
        inside -= 1
        return BoundaryDown(after=0.02) if down else Delivered()

    await put(db, *(item(n) for n in range(100)))
    async with relaying(db, deliver, concurrency=20) as relay:
        with trio.fail_after(20):
            while len(calls) < 25:
                await trio.sleep(0.005)
        assert relay.statistics().delivered == 0
        assert most_at_once == 1
        down = False
        await until(db, done=100)
    assert await db.fetchval("test.read", "select max(failures) from outbox") == 0
    assert relay.statistics().repeats == 0


async def test_an_error_with_boundary_down_pauses_too(db: Database) -> None:
    """Errors that carry `boundary_down` (a database or an API that is away) charge nothing."""

    class Away(Exception):
        boundary_down = True

    calls = 0

    async def deliver(one: OutboxItem) -> Delivery:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Away
        return Delivered()

    await put(db, item("a"))
    async with relaying(db, deliver) as relay:
        with trio.fail_after(10):
            while not relay.statistics().paused:
                await trio.sleep(0.001)
        await until(db, done=1)
    assert await db.fetchval("test.read", "select failures from outbox") == 0


async def test_a_late_completion_is_fenced_off(db: Database) -> None:
    """After its lease a row may be in another's hands: who completes with an older attempt changes nothing."""
    await put(db, item("a"))
    (first,) = await outbox_rows.claim(db, ["message"], {"notice": 1}, holder="slow", lease=0.0)
    (second,) = await outbox_rows.claim(db, ["message"], {"notice": 1}, holder="next", lease=60)
    assert (first.attempt, first.repeat, second.attempt, second.repeat) == (1, False, 2, True)
    late = outbox_rows.Completion(first.id, first.attempt, "dead", cost=1)
    assert await outbox_rows.complete(db, [late]) == 0
    assert await rows(db) == {"a": "ready"}
    assert await outbox_rows.complete(db, [outbox_rows.Completion(second.id, second.attempt, "done")]) == 1


async def test_a_kill_between_delivery_and_record_repeats_and_is_counted(db: Database) -> None:
    """What was delivered but not recorded comes again, marked; what was in memory and not begun is given back unmarked."""
    begun: list[str] = []

    async def never(one: OutboxItem) -> Delivery:
        begun.append(one.key)
        await trio.sleep_forever()
        raise AssertionError

    await put(db, *(item(n) for n in range(5)))
    async with relaying(db, never, concurrency=2):
        with trio.fail_after(10):
            while len(begun) < 2:
                await trio.sleep(0.001)
    async with db.transaction("test.hurry") as tx:
        assert (
            await tx.execute(
                "update outbox set available_at = clock_timestamp() where lease_until is not null"
            )
            == 2
        )
    seen: dict[str, bool] = {}

    async def deliver(one: OutboxItem) -> Delivery:
        seen[one.key] = one.repeat
        return Delivered()

    async with relaying(db, deliver) as relay:
        await until(db, done=5)
    assert {key for key, repeat in seen.items() if repeat} == set(begun)
    assert relay.statistics().repeats == 2


async def test_a_stop_records_what_was_delivered(db: Database) -> None:
    """A relay that is cancelled writes down what has left before it goes."""

    async def deliver(one: OutboxItem) -> Delivery:
        return Delivered()

    await put(db, *(item(n) for n in range(20)))
    delivered = 0
    async with relaying(db, deliver) as relay:
        with trio.fail_after(10):
            while relay.statistics().delivered == 0:
                await trio.lowlevel.checkpoint()
        delivered = relay.statistics().delivered
    assert Counter((await rows(db)).values())["done"] >= delivered
    assert await db.fetchval("test.read", "select count(*) from outbox where lease_until is not null") == 0


async def test_a_slow_broadcast_does_not_hold_up_a_receipt(db: Database) -> None:
    """Each lane has places of its own: with every broadcast place taken, a receipt leaves at once."""
    gate = trio.Event()

    async def deliver(one: OutboxItem) -> Delivery:
        if one.lane == "broadcast":
            await gate.wait()
        return Delivered()

    await put(db, *(item(n, lane="broadcast") for n in range(50)))
    async with relaying(db, deliver, concurrency=3, batch=10) as relay:
        with trio.fail_after(10):
            while relay.statistics().in_flight < 3:
                await trio.sleep(0.001)
        await put(db, item("receipt", lane="receipt"))
        relay.wake()
        await until(db, ready=50, done=1)
        gate.set()
        await until(db, done=51)


async def test_two_relays_share_the_work(db: Database) -> None:
    """Rows in one relay's hands are skipped by the other: nothing is delivered twice."""
    seen: Counter[str] = Counter()

    async def deliver(one: OutboxItem) -> Delivery:
        seen[one.key] += 1
        return Delivered()

    await put(db, *(item(n) for n in range(500)))
    async with relaying(db, deliver, batch=20), relaying(db, deliver, batch=20):
        await until(db, done=500)
    assert set(seen.values()) == {1}


async def test_a_relay_that_finds_nothing_serves_nobody(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its looks are no reason for a heavy statement to rest; what it delivers is."""
    looks = 0

    async def look(*args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        return await outbox_rows.claim(*args, **options)

    async def deliver(_item: OutboxItem) -> Delivery:
        await trio.lowlevel.checkpoint()
        return Delivered()

    monkeypatch.setattr(outbox, "claim", look)
    limits = Limits(10, 10)
    async with (
        open_database(database_settings(database_url), limits, instance_name="test") as db,
        relaying(db, deliver),
    ):
        with trio.fail_after(20):
            while looks < 5:
                await trio.sleep(0.005)
        assert limits.served == 0
        await put(db, item("a"))
        before = limits.served
        with trio.fail_after(20):
            while limits.served == before:
                await trio.sleep(0.005)


async def test_the_age_of_the_oldest_due_item(db: Database) -> None:
    """A queue that stands still shows by the age of what is due, kind by kind; what is not due yet has none."""
    await put(db, item("a"), item("b", kind="stars_refund", not_before=timedelta(hours=1)))
    async with db.transaction("test.age") as tx:
        await tx.execute(
            "update outbox set available_at = available_at - interval '1 minute' where key = 'a'"
        )
    ages = await outbox.oldest_due(db, ["message", "stars_refund"])
    assert 60 <= ages["message"] < 120
    assert ages["stars_refund"] == 0
