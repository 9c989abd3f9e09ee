"""The relay's pace: a lane that delivers at once claims ahead and more, one that waits for the world does not; a claim looks
only at what it takes."""

from __future__ import annotations

from datetime import timedelta

import trio

from vpnd.database import outbox, outbox_rows
from vpnd.database.database import Database
from vpnd.database.outbox import QUICK_BATCHES, Delivered, Delivery, NewItem, OutboxItem, Relay


async def put(db: Database, count: int, **changes: object) -> None:
    items = [NewItem(kind="message", key=f"{n}:{changes}", payload={"n": n}, **changes) for n in range(count)]
    async with db.transaction("test.put") as tx:
        await outbox.put_many(tx, items)


async def test_a_quick_lane_takes_more_at_once(db: Database, monkeypatch) -> None:
    """Thousands of items that cost nothing are not claimed ten by ten."""
    asked: list[int] = []
    claim = outbox_rows.claim

    async def counting(db: Database, kinds, lanes, **options):
        items = await claim(db, kinds, lanes, **options)
        if items:
            asked.append(len(items))
        return items

    monkeypatch.setattr(outbox, "claim", counting)
    await put(db, 400)
    done = trio.Event()
    left = 400

    async def deliver(_item: OutboxItem) -> Delivery:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return Delivered()

    relay = Relay(db, ["message"], deliver, holder="pace", batch=10)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await done.wait()
            nursery.cancel_scope.cancel()

    assert asked[0] == 10
    assert max(asked) == 10 * QUICK_BATCHES
    assert relay.statistics().repeats == 0


async def test_a_slow_lane_holds_one_batch(db: Database) -> None:
    """What a kill would leave in hand stays small where deliveries take their time."""
    await put(db, 100)
    begun = trio.Event()

    async def deliver(_item: OutboxItem) -> Delivery:
        begun.set()
        await trio.sleep(0.5)
        return Delivered()

    relay = Relay(db, ["message"], deliver, holder="pace", batch=20, concurrency=2)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await begun.wait()
            await trio.sleep(1.2)
            seen = relay.statistics()
            nursery.cancel_scope.cancel()

    assert 0 < seen.in_flight + seen.waiting <= 20


async def test_a_claim_looks_at_nothing_that_lies_in_the_future(db: Database) -> None:
    """Thousands of items that were put off stand behind those that are due, and are not read on the way."""
    await put(db, 3000, not_before=timedelta(hours=1))
    await put(db, 5)
    await db.write("test.analyze", "vacuum (analyze) outbox")
    async with db.transaction("test.explain") as tx:
        plan = await tx.fetch(
            f"explain (analyze, buffers, timing off) {outbox_rows._CLAIM}",
            ["message"], list(outbox_rows.LANES), [100] * 4, "pace", timedelta(seconds=60),
        )  # fmt: skip
    text = "\n".join(row[0] for row in plan)

    assert "Seq Scan on outbox" not in text, text
    assert "available_at <= statement_timestamp()" in text.split("Filter")[0], text
