"""Queues and nodes, in a real database: ages, counts, dead letters, and who is wrong on a node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import trio
from database_kit import database_settings
from shop_world import ShopWorld, open_world

from vpnd.database import outbox
from vpnd.database.database import Database, open_database
from vpnd.monitors import gauges
from vpnd.monitors.alarms import KEY, Alarms
from vpnd.monitors.nodes import NodeMonitor
from vpnd.monitors.queues import QueueMonitor
from vpnd.monitors.service import ALARMS, Monitors
from vpnd.runtime import metrics
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import Limits
from vpnd.shop import access_log
from vpnd.shop.alerts import open_alarms

pytestmark = pytest.mark.postgres

KINDS = ("message", "refund_stars")


async def nobody(_key: str, _args: Mapping[str, Any]) -> None:
    """Tell nobody."""


def alarms() -> Alarms:
    return Alarms(ALARMS, nobody)


async def put(db: Database, key: str, kind: str = "message", lane: str = "receipt") -> None:
    async with db.transaction("test.put") as tx:
        await outbox.put(tx, kind, key, {}, lane=lane)


async def execute(db: Database, sql: str, *args: object) -> None:
    async with db.transaction("test.execute") as tx:
        await tx.execute(sql, *args)


async def test_empty_queues_are_seen_as_empty(db: Database) -> None:
    """Every kind has its number from the start, and it is nothing."""
    picture = await QueueMonitor(db, alarms(), KINDS).look()

    assert picture.outbox_age == dict.fromkeys(KINDS, 0.0)
    assert picture.outbox_ready == dict.fromkeys(KINDS, 0)
    assert (picture.dead_letters, picture.inbox_pending, picture.inbox_age) == (0, 0, 0.0)


async def test_the_oldest_and_the_given_up_are_seen(db: Database) -> None:
    """By kind; what waits for its time is not due, and what was given up counts until somebody looks at it."""
    for key in ("a", "b", "later", "given up"):
        await put(db, key)
    await put(db, "refund", "refund_stars")
    await execute(db, "update outbox set available_at = clock_timestamp() - interval '400 s' where key = 'b'")
    await execute(
        db, "update outbox set available_at = clock_timestamp() + interval '1 h' where key = 'later'"
    )
    await execute(db, "update outbox set status = 'dead' where key = 'given up'")
    await execute(
        db,
        "insert into inbox (update_id, queue_key, kind, payload, received_at)"
        " values (1, 1, 'message', '{}', clock_timestamp() - interval '50 s')",
    )
    watched = alarms()
    picture = await QueueMonitor(db, watched, KINDS).look()

    assert picture.outbox_age["message"] == pytest.approx(400, abs=30)
    assert picture.outbox_age["refund_stars"] < 60
    assert picture.outbox_ready == {"message": 3, "refund_stars": 1}
    assert (picture.dead_letters, picture.inbox_pending) == (1, 1)
    assert {state.alarm.name for state in watched.raised()} == {"outbox_age", "inbox_age", "dead_letters"}
    assert gauges.outbox_dead_letters._value.get() == 1
    assert metrics.outbox_oldest_age_seconds.labels("message")._value.get() == picture.outbox_age["message"]


async def test_a_long_queue_of_notices_is_no_alarm(db: Database) -> None:
    """A hundred thousand of them take an hour at Telegram's rate; a refund that waits as long is one, in whatever lane."""
    await put(db, "reminder", lane="notice")
    await put(db, "broadcast", lane="broadcast")
    await execute(db, "update outbox set available_at = clock_timestamp() - interval '1 h'")
    watched = alarms()
    monitor = QueueMonitor(db, watched, KINDS)
    assert (await monitor.look()).outbox_age["message"] == 0
    assert watched.raised() == []

    await put(db, "refund", "refund_stars", lane="notice")
    await execute(db, "update outbox set available_at = clock_timestamp() - interval '1 h'")
    assert (await monitor.look()).outbox_age["refund_stars"] > 3000
    assert [state.who for state in watched.raised()] == ["refund_stars"]


async def test_an_alarms_own_message_raises_no_alarm(db: Database) -> None:
    """Else one that cannot be delivered would raise the next, for ever."""
    for number in range(3):
        await put(db, f"{KEY}vpnd:{number}")
        await put(db, f"{KEY}vpnd:{number}:4711")
    await execute(db, "update outbox set available_at = clock_timestamp() - interval '1 h'")
    await execute(db, "update outbox set status = 'dead' where key like '%:4711'")
    watched = alarms()
    picture = await QueueMonitor(db, watched, KINDS).look()

    assert (picture.outbox_age["message"], picture.dead_letters) == (0.0, 0)
    assert watched.raised() == []


async def customer_on(world: ShopWorld) -> int:
    """A customer with a subscription; its id."""
    customer = await world.customer()
    granted = await world.grant(customer)
    return granted.subscription.id


async def test_a_node_is_held_against_the_shop(db: Database) -> None:
    """Off and not acknowledged: still on. Paid, on for the first time, and not acknowledged: not on yet."""
    world = await open_world(db)
    await execute(db, "insert into nodes (name, seen_at) values ('berlin', vpnd_now()), ('gone', vpnd_now())")
    first, second = await customer_on(world), await customer_on(world)
    await access_log.number(db)
    head = await access_log.head(db)
    watched = alarms()
    monitor = NodeMonitor(db, watched, ("berlin",))

    (berlin,) = (await monitor.look()).nodes
    assert (berlin.name, berlin.behind, berlin.paid_but_off, berlin.expired_but_on) == ("berlin", 2, 2, 0)

    await access_log.record_ack(db, "berlin", head.epoch, head.last_seq)
    (berlin,) = (await monitor.look()).nodes
    assert (berlin.behind, berlin.paid_but_off, berlin.expired_but_on) == (0, 0, 0)

    # One is turned off, and the row that says so has no number yet.
    await execute(
        db, "update subscriptions set status = 'expired', version = version + 1 where id = $1", first
    )
    await execute(db, "insert into access_log (subscription_id) values ($1)", first)
    picture = await monitor.look()
    assert (picture.nodes[0].expired_but_on, picture.nodes[0].paid_but_off, picture.overdue) == (1, 0, 0)
    assert metrics.node_expired_but_on.labels("berlin")._value.get() == 1

    # And one is past its end, and nobody has turned it off.
    await execute(
        db,
        "update subscriptions set starts_at = vpnd_now() - interval '2 d', expires_at = vpnd_now() - interval '1 h'"
        " where id = $1",
        second,
    )
    assert (await monitor.look()).overdue == 1
    assert gauges.subscriptions_overdue._value.get() == 1


async def test_a_database_that_is_away_leaves_everything_as_it_was() -> None:
    """The monitors live on, blind, and judge what needs no database."""
    tables = trio.Event()
    tables.set()
    settings = database_settings("postgresql://nobody@127.0.0.1:1/none", acquire_timeout=0.5)
    with capture() as lines:
        async with open_database(settings, Limits(10, 10), instance_name="test") as away:
            monitors = Monitors(
                away, nobody, instance="test", kinds=KINDS, nodes=("berlin",), workers=list, tables=tables,
                standing=partial(open_alarms, away),
            )  # fmt: skip
            async with trio.open_nursery() as nursery:
                await nursery.start(monitors.run)
                with trio.fail_after(20):
                    while not any(line.event == "monitor.blind" for line in lines):
                        await trio.sleep(0.05)
                    while monitors.process.picture is None:
                        await trio.sleep(0.05)
                monitors.judge()
                nursery.cancel_scope.cancel()

    assert monitors.pictures()["queues"] is None
    assert monitors.pictures()["process"]["memory"] > 0
    # How much the process of the tests weighs is no matter of the database's.
    assert {one["name"] for one in monitors.raised()} <= {"memory"}
