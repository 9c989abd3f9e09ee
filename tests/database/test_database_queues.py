"""Inbox, leases and the statements of the outbox."""

from __future__ import annotations

import json
from pathlib import Path

import trio
from database_kit import database_settings

from vpnd.database import inbox
from vpnd.database.connect import encode_json
from vpnd.database.database import Database, open_database
from vpnd.database.leases import Instance, Lease, instance_id
from vpnd.runtime.limits import Limits


async def test_an_update_is_stored_once(db: Database) -> None:
    """Of a batch only the numbers not seen before are new, in whatever order and batch they come again."""
    batch = [(number, 7, "message", {"n": number}) for number in (3, 1, 2)]
    assert set(await inbox.store(db, batch)) == {1, 2, 3}
    assert set(await inbox.store(db, [*batch, (4, 8, "callback_query", {})])) == {4}
    assert set(await inbox.store(db, [])) == set()


async def test_overlapping_batches_at_once_store_each_update_once(db: Database) -> None:
    """Two intakes with the same updates (a webhook retried, a poll repeated) share them out and neither deadlocks."""
    new: list[int] = []

    async def intake(numbers: range) -> None:
        new.extend(await inbox.store(db, [(number, 1, "message", {}) for number in numbers]))

    async with trio.open_nursery() as nursery:
        for start in range(10):
            nursery.start_soon(intake, range(start * 10, start * 10 + 100))
            nursery.start_soon(intake, range(start * 10 + 99, start * 10 - 1, -1))
    assert sorted(new) == list(range(190))


async def test_what_is_not_done_is_found_again_in_order(db: Database) -> None:
    """After a restart the undone updates are served in the order of their numbers, each queue in its own."""
    await inbox.store(db, [inbox.NewUpdate(n, n % 2, "message", {"n": n}, n == 5) for n in range(1, 8)])
    await inbox.finish(db, [(4, "done"), (1, "done"), (6, "failed"), (2, "done")])
    assert [update.update_id for update in await inbox.unfinished(db)] == [3, 5, 7]
    assert [update.update_id for update in await inbox.unfinished(db, limit=1, after=3)] == [5]
    assert [update.payload for update in await inbox.of_queue(db, 1)] == [{"n": 3}, {"n": 5}, {"n": 7}]
    statistics = await inbox.statistics(db)
    assert (statistics.pending, statistics.pending_money) == (3, 1)
    assert statistics.oldest_age > 0
    await inbox.note_attempts(db, [3, 6])
    assert [update.attempts for update in await inbox.unfinished(db)] == [1, 0, 0]


async def test_money_is_on_the_disk_and_a_press_waits_for_none(database_url: str, db: Database) -> None:
    """A batch that carries money commits as the server is set up to; presses and the ends of updates do not wait for its disk."""
    async with db.transaction("test.watch") as tx:
        await tx.script(
            """
            create table commits (update_id bigint, waits text);
            create function note_commit() returns trigger language plpgsql as $$
            begin
                insert into commits values (new.update_id, current_setting('synchronous_commit'));
                return new;
            end $$;
            create trigger note_commit before insert or update on inbox for each row execute function note_commit();
            do $$ begin execute format('alter database %I set synchronous_commit = local', current_database()); end $$;
            """
        )
    press, payment = inbox.NewUpdate(1, 7, "callback_query", {}), inbox.NewUpdate(2, 7, "message", {}, True)

    async with open_database(database_settings(database_url), Limits(2, 2), instance_name="test") as set_up:
        await inbox.store(set_up, [press])
        await inbox.store(set_up, [inbox.NewUpdate(3, 7, "message", {}), payment])
        await inbox.finish(set_up, [(2, "done")])
        kept = await set_up.fetchval("test.kept", "select current_setting('synchronous_commit')")

    rows = await db.fetch("test.commits", "select update_id, waits from commits limit 10")
    assert [tuple(row.values()) for row in rows] == [(1, "off"), (2, "local"), (3, "local"), (2, "off")]
    assert kept == "local"


ONE, TWO = Instance("one", "id-1"), Instance("two", "id-2")


async def expire(db: Database) -> None:
    async with db.transaction("test.expire") as tx:
        await tx.execute("update leases set expires_at = clock_timestamp() - interval '1 ms'")


async def test_a_lease_has_one_holder_until_it_expires(db: Database) -> None:
    """Another instance gets it by expiry on the database's clock, with a higher term; the old holder then knows."""
    one, two = Lease(db, "sweep", ONE, ttl=0.003), Lease(db, "sweep", TWO)
    # ttl is tiny so that the local trust is over at once; the row is kept alive by hand.
    assert await one.hold()
    async with db.transaction("test.extend") as tx:
        await tx.execute("update leases set expires_at = clock_timestamp() + interval '1 hour'")
    assert not await two.hold()
    await expire(db)
    assert await two.hold()
    assert (one.term, two.term) == (1, 2)
    await trio.sleep(0.002)
    assert not await one.hold()
    assert await two.hold()


async def test_a_renewal_keeps_the_term(db: Database) -> None:
    """The term changes with the holder, not with time."""
    lease = Lease(db, "sweep", ONE, ttl=0.03)
    assert await lease.hold()
    await trio.sleep(0.011)
    assert await lease.hold()
    assert lease.term == 1


async def test_an_instance_takes_its_own_former_lease_at_once(db: Database) -> None:
    """A daemon that was killed and started again does not wait for its own lease; the old process is fenced off by the term."""
    former = Lease(db, "sweep", ONE, ttl=0.003)
    assert await former.hold()
    async with db.transaction("test.extend") as tx:
        await tx.execute("update leases set expires_at = clock_timestamp() + interval '1 hour'")
    again = Lease(db, "sweep", ONE)
    assert await again.hold()
    assert again.term == 2
    await trio.sleep(0.002)
    assert not await former.hold()


async def test_a_released_lease_is_free(db: Database) -> None:
    """A daemon that stops in order lets the next one start at once."""
    one, two = Lease(db, "sweep", ONE), Lease(db, "sweep", TWO)
    assert await one.hold()
    await one.release()
    assert await two.hold()
    await one.release()
    assert not await one.hold()


async def test_only_one_of_many_gets_it(db: Database) -> None:
    """Asked for at the same time, it has one holder."""
    got: list[str] = []

    async def ask(name: str) -> None:
        if await Lease(db, "sweep", Instance(name, name)).hold():
            got.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, f"n{number}")
    assert len(got) == 1


def test_the_instance_id_is_kept(tmp_path: Path) -> None:
    """The id is made once for a state directory and found again."""
    first = instance_id(tmp_path / "state")
    assert len(first) == 32
    assert instance_id(tmp_path / "state") == first
    assert instance_id(tmp_path / "other") != first


def test_json_holds_what_jsonb_can_hold() -> None:
    """NUL and half pairs are replaced, a written backslash-u0000 and everything else stay as they are."""
    value = {"a": "x\x00y", "b": "\\u0000", "c": "\\\x00", "d": "\ud83d!", "e": "\U0001f648"}
    assert json.loads(encode_json(value)) == {
        "a": "x\ufffdy",
        "b": "\\u0000",
        "c": "\\\ufffd",
        "d": "\ufffd!",
        "e": "\U0001f648",
    }


async def test_an_update_with_odd_letters_is_kept(db: Database) -> None:
    """What a stranger writes can hold anything; his update is kept all the same."""
    assert set(await inbox.store(db, [(1, 1, "message", {"text": "a\x00b\udc00"})])) == {1}
    [kept] = await inbox.unfinished(db)
    assert kept.payload == {"text": "a\ufffdb\ufffd"}
