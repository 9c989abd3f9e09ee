"""The worker `reconcile`: what drifted is mended both ways, and what may be the fault of a wrong database waits for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from attrs import define, evolve, field
from database_kit import database_settings
from node_world import FakeNode, fake_node, newer, shop_holds, stranger, time_passes
from shop_world import ShopWorld

from vpnd.config import WorkerSettings
from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.nodes.client import NodeUnavailable
from vpnd.nodes.model import AccessChange
from vpnd.runtime.journal import capture
from vpnd.runtime.journal_lines import Entry
from vpnd.runtime.limits import Limits
from vpnd.runtime.worker import WorkerRunner, configured
from vpnd.shop import access_log, node_stops
from vpnd.shop.identifiers import link_token, subscription_name
from vpnd.shop.node_stops import FEW, Seen, reason_to_stop
from vpnd.workers import node_follower, node_gauges
from vpnd.workers.node_compare import compare
from vpnd.workers.node_follower import NodeFollower
from vpnd.workers.reconcile import reconcile

CREDENTIALS = (
    "insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at)"
    " select $1, 'basic', n.name, gen_random_uuid(), n.token, 'active', vpnd_now(), vpnd_now() + interval '30 days'"
    " from unnest($2::text[], $3::text[]) as n (name, token)"
)


@define
class Alerts:
    """Counts how often the relay was woken."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


@define
class Street:
    """Nodes that hold what the shop says, and a worker over them."""

    shop: ShopWorld
    nodes: list[FakeNode]
    alerts: Alerts = field(factory=Alerts)

    @property
    def node(self) -> FakeNode:
        """The first one."""
        return self.nodes[0]

    def runner(self, db: Database | None = None, **changes: Any) -> WorkerRunner:
        """A worker that has just been started; `changes` are an operator's, or of the declaration."""
        clients = [node.client for node in self.nodes]
        spec = configured(
            reconcile(db or self.shop.db, clients, alert=self.alerts),
            WorkerSettings(batch=changes.pop("batch", None)),
        )
        return WorkerRunner(evolve(spec, **changes))

    async def run(self, **changes: Any) -> str:
        """Run it once, as a daemon that was started anew; some time later, so that what was seen once is due."""
        await time_passes(self.shop)
        return await self.runner(**changes).run_once()

    async def sold(self, count: int) -> None:
        """Sell so many, and let all nodes know them."""
        customer = await self.shop.customer()
        names = [subscription_name() for _ in range(count)]
        await self.shop.execute(CREDENTIALS, customer.id, names, [link_token() for _ in range(count)])
        for node in self.nodes:
            await self.knows(node, (await shop_holds(self.shop.db)).values())

    async def knows(self, node: FakeNode, changes: Iterable[AccessChange]) -> None:
        """Let a node hold more, without moving its place."""
        head = await access_log.head(self.shop.db)
        everything = list(changes)
        for start in range(0, max(1, len(everything)), 5000):
            await node.client.push(head.epoch, 0, everything[start : start + 5000], adopt=True)
        await self.shop.execute(
            "insert into nodes (name) values ($1) on conflict (name) do nothing", node.client.name
        )

    async def lose(self, node: FakeNode, names: Iterable[str]) -> None:
        """Make a node forget these, behind everybody's back."""
        gone = set(names)
        held = [change for name, change in (await node.held()).items() if name not in gone]
        await node.wipe()
        await self.knows(node, held)

    async def strangers(self, count: int, node: FakeNode | None = None, *, prefix: str = "x") -> set[str]:
        """So many credentials that no shop knows."""
        crowd = [stranger(f"{prefix}{number}") for number in range(count)]
        await self.knows(node or self.node, crowd)
        return {one.name for one in crowd}

    async def equal(self) -> bool:
        """Whether every node serves exactly what the shop says."""
        ours = {change.name for change in (await shop_holds(self.shop.db)).values() if change.active}
        return all([await node.active() == ours for node in self.nodes])

    async def stop(self, node: str = "oslo") -> node_stops.Stop:
        """The stop in force."""
        found = await node_stops.stop_of(self.shop.db, node)
        assert found is not None
        assert found.in_force
        return found


@asynccontextmanager
async def street(shop: ShopWorld, folder: Path, *names: str) -> AsyncIterator[Street]:
    """Nodes that know nothing yet."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(fake_node(folder / name, name)) for name in names]
        for node in nodes:
            node_gauges.declare(node.client.name)
        made = Street(shop, nodes)
        for node in nodes:
            await made.knows(node, [])
        yield made


@pytest.fixture
async def oslo(shop: ShopWorld, tmp_path: Path) -> AsyncIterator[Street]:
    """One node."""
    async with street(shop, tmp_path, "oslo") as made:
        yield made


@pytest.fixture
async def pair(shop: ShopWorld, tmp_path: Path) -> AsyncIterator[Street]:
    """Two nodes."""
    async with street(shop, tmp_path, "oslo", "rome") as made:
        yield made


def said(lines: list[Entry], event: str) -> list[Entry]:
    """The lines of one event."""
    return [line for line in lines if line.event == event]


async def alerts(shop: ShopWorld) -> list[dict[str, Any]]:
    """What the admins are told."""
    return [row["payload"] for row in await shop.outbox("node_stopped:")]


def figure(metric: Any, *labels: str) -> float:
    """A metric's value now."""
    return float(metric.labels(*labels)._value.get())


# ---------------------------------------------------------------------- what it is


def test_it_runs_every_ten_minutes_in_bounds() -> None:
    """As operators know it: 600 s and 100 removals; no node may take the time of the others."""
    nothing: Any = object()
    spec = reconcile(nothing, (), alert=lambda: None)

    assert (spec.name, spec.interval, spec.batch) == ("reconcile", 600, 100)
    assert spec.item_deadline is not None
    assert spec.item_deadline * 2 < spec.deadline < spec.interval


# ---------------------------------------------------------------------- both directions


async def test_what_drifted_is_mended_both_ways(oslo: Street) -> None:
    """Missing, older, newer and unknown, in one run and the next; the node's place in the log is left alone."""
    await oslo.sold(40)
    lost, old, ahead, off = list(await oslo.node.held())[:4]
    await oslo.lose(oslo.node, [lost])
    await oslo.shop.execute("update subscriptions set version = 4 where name = $1", old)
    held = await oslo.node.held()
    await oslo.knows(oslo.node, [newer(held[ahead], 7, active=False), newer(held[off], 3)])
    await oslo.shop.execute("update subscriptions set status = 'expired', version = 3 where name = $1", off)
    gone = await oslo.strangers(2)
    before = await oslo.node.state.watermark()

    assert await oslo.run() == "ok"

    assert lost in await oslo.node.active()
    assert (await oslo.node.held())[old].version == 4
    assert gone | {off} <= await oslo.node.active()  # what takes away waits for a second sight
    assert figure(node_gauges.differences, "oslo", "strangers") == 2
    assert figure(node_gauges.differences, "oslo", "newer") == 2
    assert await oslo.run() == "ok"
    await access_log.number(oslo.shop.db)
    async with following(oslo.shop, oslo.node):
        await until_equal(oslo)
    assert not (gone | {off}) & await oslo.node.active()
    assert ahead in await oslo.node.active()
    assert (before.epoch, before.seq) == ((await access_log.head(oslo.shop.db)).epoch, 0)
    assert await oslo.run() == "ok"
    assert [figure(node_gauges.differences, "oslo", kind) for kind in node_gauges.DIFFERENCES] == [
        0,
        0,
        0,
        0,
    ]


async def test_what_the_log_is_bringing_is_no_difference(oslo: Street) -> None:
    """It is left to the log for a minute, and sent after that, whatever keeps the log from it."""
    await oslo.sold(5)
    await oslo.shop.grant(await oslo.shop.customer())
    await access_log.number(oslo.shop.db)

    assert await oslo.runner().run_once() == "ok"
    assert figure(node_gauges.differences, "oslo", "missing") == 0
    assert len(await oslo.node.active()) == 5
    assert await oslo.run() == "ok"

    assert len(await oslo.node.active()) == 6


async def test_what_was_removed_is_not_listed_for_ever(oslo: Street) -> None:
    """A removed stranger stays in the node's sums; the shop remembers the sum of those, until it changes."""
    await oslo.sold(30)
    await oslo.strangers(2)
    for _ in range(3):
        await oslo.run()
    listed = oslo.node.count("/v1/bucket")

    await oslo.run()
    assert oslo.node.count("/v1/bucket") == listed
    await oslo.strangers(1, prefix="y")
    await oslo.run()
    assert oslo.node.count("/v1/bucket") == listed + 1
    await oslo.node.wipe()
    await oslo.knows(oslo.node, [])
    await oslo.run()

    assert len(await oslo.node.active()) == 30


async def test_one_poisoned_among_a_thousand(oslo: Street) -> None:
    """A stranger has its uuid, so the node refuses it: all others are sent, it is named, and sent when the stranger is gone."""
    await oslo.sold(1000)
    victim, *others = list(await oslo.node.held())
    squatter = evolve((await shop_holds(oslo.shop.db))[victim], name="x1")
    await oslo.node.wipe()
    await oslo.knows(oslo.node, [squatter])

    with capture() as lines:
        assert await oslo.run() == "ok"
        assert await oslo.node.active() == {*others, "x1"}
        assert [line.fields["name"] for line in said(lines, "node.credential_refused")] == [victim]
        assert await oslo.run() == "ok"

    assert await oslo.node.active() == {*others, victim}
    assert len(said(lines, "node.credential_refused")) == 1


async def test_a_refusal_of_everything_is_not_halved(oslo: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that knows another token is not asked a thousand times; it is told, and nothing is noted."""
    await oslo.sold(20)
    await oslo.node.wipe()
    await oslo.knows(oslo.node, [])
    monkeypatch.setattr(
        oslo.node.client, "_token", type(oslo.node.client._token)("another token, quite long")
    )
    before = len(oslo.node.asked)

    with capture() as lines:
        assert await oslo.run() == "ok"

    assert len(oslo.node.asked) == before + 1
    assert [line.fields["key"] for line in said(lines, "worker.item_failed")] == ["oslo"]


# ---------------------------------------------------------------------- two sightings, a share, a number


async def test_a_stranger_goes_at_second_sight(oslo: Street) -> None:
    """Not at first sight, and not at one too soon after it."""
    await oslo.sold(30)
    crowd = await oslo.strangers(3)
    for _ in range(3):
        assert await oslo.runner().run_once() == "ok"
        assert crowd <= await oslo.node.active()

    assert await oslo.run() == "ok"

    assert await oslo.equal()
    assert figure(node_gauges.mended_total, "oslo", "removed") >= 3


async def test_a_stranger_that_the_shop_came_to_know_stays(
    oslo: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is to be switched off is looked up once more, just before."""
    await oslo.sold(30)
    name = subscription_name()
    newcomer = stranger(name)
    await oslo.knows(oslo.node, [newcomer])
    await oslo.run()
    await time_passes(oslo.shop)
    judge = node_stops.judge

    async def slowly(*args: Any) -> Any:
        judgement = await judge(*args)
        customer = await oslo.shop.customer()
        await oslo.shop.execute(CREDENTIALS, customer.id, [name], [link_token()])
        return judgement

    monkeypatch.setattr(node_stops, "judge", slowly)
    assert await oslo.runner().run_once() == "ok"

    assert (await oslo.node.held())[name] == newcomer


async def test_a_hundred_a_run_over_all_nodes(pair: Street) -> None:
    """However many are due on however many nodes; the rest is the next run's."""
    await pair.sold(10)
    for node in pair.nodes:
        await pair.strangers(80, node)
    await pair.run()
    for name in ("oslo", "rome"):
        await node_stops.accept(pair.shop.db, await pair.stop(name), by="test")

    assert await pair.run() == "ok"
    assert [len(await node.active()) for node in pair.nodes] == [10, 70]
    assert await pair.run() == "ok"
    assert await pair.equal()
    assert await pair.run() == "ok"

    assert [await node_stops.stop_of(pair.shop.db, name) for name in ("oslo", "rome")] == [None, None]


async def test_a_removal_whose_answer_is_lost_counts(pair: Street) -> None:
    """What may have been done is of the hundred, or a bad line would make them two hundred."""
    await pair.sold(100)
    for node in pair.nodes:
        await pair.strangers(4, node)
    await pair.run()
    pair.node.fail("/v1/changes", "lost")

    assert await pair.run(batch=5) == "ok"

    assert [len(await node.active()) for node in pair.nodes] == [100, 103]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(held=1000, strangers=0, newer=0, doubted=0, known=2000), None),
        (Seen(held=1000, strangers=50, newer=0, doubted=50, known=2000), None),
        (Seen(held=1000, strangers=51, newer=0, doubted=51, known=2000), "strangers"),
        (Seen(held=1000, strangers=0, newer=51, doubted=0, known=2000), "newer"),
        (Seen(held=1000, strangers=20, newer=40, doubted=60, known=2000), "newer"),
        (Seen(held=100, strangers=FEW, newer=0, doubted=FEW, known=90), None),
        (Seen(held=100, strangers=FEW + 1, newer=0, doubted=FEW + 1, known=90), "strangers"),
        (Seen(held=6, strangers=3, newer=0, doubted=3, known=3), None),
        (Seen(held=6, strangers=4, newer=0, doubted=4, known=2), "strangers"),
        (Seen(held=3, strangers=0, newer=2, doubted=2, known=3), "newer"),
        (Seen(held=1, strangers=1, newer=0, doubted=1, known=0), "empty"),
        (Seen(held=0, strangers=0, newer=0, doubted=0, known=0), None),
    ],
)
def test_when_a_person_has_to_look(seen: Seen, reason: str | None) -> None:
    """Above a share, or a few; of a small node, when more is doubted than not; always when the shop knows nobody."""
    assert reason_to_stop(seen) == reason


# ---------------------------------------------------------------------- no answer is no answer


async def test_a_node_that_gives_no_answer_is_not_empty(pair: Street) -> None:
    """Nothing is concluded from it, whatever it was asked; the other node is done; it is not told each time."""
    await pair.sold(20)
    crowd = await pair.strangers(1)
    other = await pair.strangers(1, pair.nodes[1])
    with capture() as lines:
        for path in ("/v1/status", "/v1/buckets", "/v1/bucket"):
            pair.node.fail(path, "away")
            before = await pair.node.held()
            assert await pair.run() == "ok"
            assert await pair.node.held() == before

    assert await pair.shop.db.fetchval("test", "select suspects::text from nodes where name = 'oslo'") == "{}"
    assert crowd <= await pair.node.active()
    assert not other & await pair.nodes[1].active()
    assert [line.event for line in lines if line.level in ("warning", "error")] == []


async def test_a_node_that_hangs_costs_its_own_time(pair: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut, told, and the next one is done in the same run."""
    await pair.sold(20)
    lost = next(iter(await pair.nodes[1].held()))
    await pair.lose(pair.nodes[1], [lost])
    monkeypatch.setattr(pair.node.client, "buckets", trio.sleep_forever)

    with capture() as lines, trio.fail_after(20):
        assert await pair.run(item_deadline=2.0) == "ok"

    assert [line.fields["key"] for line in said(lines, "worker.item_failed")] == ["oslo"]
    assert await pair.nodes[1].active() == set(await shop_holds(pair.shop.db))


async def test_a_run_out_of_time_goes_on_where_it_stopped(
    pair: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the node it was cut at, and with what is left of its removals."""
    await pair.sold(100)
    for node in pair.nodes:
        await pair.strangers(4, node)
    await pair.run()
    await time_passes(pair.shop)
    runner = pair.runner(batch=5, deadline=2.0, item_deadline=None)
    buckets = pair.nodes[1].client.buckets
    monkeypatch.setattr(pair.nodes[1].client, "buckets", trio.sleep_forever)

    assert await runner.run_once() == "timeout"
    assert [len(await node.active()) for node in pair.nodes] == [100, 104]
    monkeypatch.setattr(pair.nodes[1].client, "buckets", buckets)
    asked = len(pair.node.asked)
    assert await runner.run_once() == "ok"

    assert len(pair.node.asked) == asked
    assert [len(await node.active()) for node in pair.nodes] == [100, 103]


async def test_a_database_lost_on_the_way(oslo: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has failed, nothing is noted or taken away, and the next one does it all."""
    await oslo.sold(20)
    crowd = await oslo.strangers(2)
    await oslo.run()
    members = access_log.bucket_members

    async def lost(*_args: Any, **_others: Any) -> Any:
        raise DatabaseUnavailable("the database went away")

    monkeypatch.setattr(access_log, "bucket_members", lost)
    with capture():
        assert await oslo.run() == "failed"
    assert crowd <= await oslo.node.active()
    monkeypatch.setattr(access_log, "bucket_members", members)
    assert await oslo.run() == "ok"

    assert await oslo.equal()


async def test_a_clock_that_jumps_is_no_second_sight(oslo: Street) -> None:
    """Business time may be moved by a day: what was seen once was seen a moment ago."""
    await oslo.sold(20)
    crowd = await oslo.strangers(1)
    await oslo.runner().run_once()
    await oslo.shop.advance(timedelta(days=1))
    await oslo.runner().run_once()
    assert crowd <= await oslo.node.active()
    await oslo.run()

    assert not crowd & await oslo.node.active()


async def test_a_database_in_another_time_zone(oslo: Street, database_url: str) -> None:
    """Neither the second sight nor what is under way depends on it."""
    name = urlsplit(database_url).path.removeprefix("/")
    await oslo.shop.execute(f"alter database {name} set timezone to 'America/St_Johns'")
    async with open_database(database_settings(database_url), Limits(5, 5), instance_name="zone") as far:
        await oslo.sold(20)
        crowd = await oslo.strangers(1)
        await oslo.shop.grant(await oslo.shop.customer())
        for _ in range(2):
            await oslo.runner(far).run_once()
        assert crowd <= await oslo.node.active()
        assert len(await oslo.node.active()) == 21
        await time_passes(oslo.shop)
        await oslo.runner(far).run_once()

    assert await oslo.equal()


# ---------------------------------------------------------------------- a wrong database


async def test_an_empty_database_stops_it(oslo: Street) -> None:
    """One customer on the node is enough. It is told once, kept over restarts, and what is sold goes on."""
    crowd = await oslo.strangers(1)
    with capture() as lines:
        for _ in range(3):
            assert await oslo.run() == "ok"
        await oslo.sold(3)
        await oslo.lose(oslo.node, await shop_holds(oslo.shop.db))
        assert await oslo.run() == "ok"

    assert len(await oslo.node.active()) == 4
    assert crowd <= await oslo.node.active()
    (line,) = said(lines, "node.stopped")
    assert (line.level, line.fields["reason"], line.fields["held"]) == ("error", "empty", 1)
    assert [payload["args"]["reason"] for payload in await alerts(oslo.shop)] == ["empty"]
    assert oslo.alerts.count == 1
    assert (await oslo.stop()).held == 4
    assert figure(node_gauges.stopped, "oslo") == 1


async def test_an_old_database_stops_all_nodes(pair: Street) -> None:
    """A node that is ahead of the log: a new epoch, each node compared and stopped; nobody loses what he bought since."""
    await pair.sold(30)
    since = [await pair.strangers(2, node, prefix=node.client.name) for node in pair.nodes]
    head = await access_log.head(pair.shop.db)
    await pair.node.client.push(head.epoch, 1000, [])

    with capture() as lines:
        assert await pair.run() == "ok"
        fresh = await access_log.head(pair.shop.db)
        assert fresh.epoch != head.epoch
        assert [stop.reason for stop in await node_stops.stops(pair.shop.db)] == ["behind", "behind"]
        for node in pair.nodes:
            async with following(pair.shop, node) as follower:
                await until_epoch(node, fresh.epoch)
                await until(lambda follower=follower: follower.stopped)
        for _ in range(2):
            assert await pair.run() == "ok"

    for node, crowd in zip(pair.nodes, since, strict=True):
        assert crowd <= await node.active()
    assert len(said(lines, "node.ahead")) == 1
    assert [payload["args"]["node"] for payload in await alerts(pair.shop)] == ["oslo", "rome"]
    assert [payload["args"]["strangers"] for payload in await alerts(pair.shop)] == [2, 2]
    # A person says that this database is the one to go on with.
    await node_stops.accept(pair.shop.db, await pair.stop("oslo"), by="test")
    for _ in range(2):
        assert await pair.run() == "ok"
    assert not since[0] & await pair.node.active()
    assert since[1] <= await pair.nodes[1].active()
    assert await node_stops.stop_of(pair.shop.db, "oslo") is None


async def test_an_old_database_whose_log_has_grown_past_the_node(oslo: Street) -> None:
    """Its numbers look right; that the node is newer in too much gives it away. Whoever is on in the shop is switched on."""
    await oslo.sold(60)
    held = list((await oslo.node.held()).values())
    await oslo.shop.execute(
        "update subscriptions set status = 'expired' where name = any($1::text[])",
        [change.name for change in held[:8]],
    )
    await oslo.knows(oslo.node, [newer(change, 2) for change in held[:8]])  # renewed since the backup
    await oslo.knows(oslo.node, [newer(change, 2, active=False) for change in held[8:16]])  # expired since
    for _ in range(3):
        assert await oslo.run() == "ok"
    assert (await oslo.stop()).reason == "newer"
    async with following(oslo.shop, oslo.node):
        await access_log.number(oslo.shop.db)
        await until_names(oslo, {change.name for change in held})

    await node_stops.accept(oslo.shop.db, await oslo.stop(), by="test")
    await oslo.run()
    async with following(oslo.shop, oslo.node):
        await access_log.number(oslo.shop.db)
        await until_equal(oslo)
    await oslo.run()
    assert await node_stops.stop_of(oslo.shop.db, "oslo") is None


async def test_a_foreign_database_stops_it(oslo: Street) -> None:
    """It has customers of its own, and knows none of the node's: they stay on, its own are served."""
    crowd = await oslo.strangers(60)
    await oslo.sold(5)
    await oslo.node.client.push("elsewhere", 7, [], adopt=True)  # it followed another shop

    async with following(oslo.shop, oslo.node) as follower:
        await until_epoch(oslo.node, (await access_log.head(oslo.shop.db)).epoch)
        await until(lambda: follower.stopped)
    for _ in range(2):
        assert await oslo.run() == "ok"

    assert crowd <= await oslo.node.active()
    assert len(await oslo.node.active()) == 65
    assert (await oslo.stop()).reason == "strangers"
    assert len(await alerts(oslo.shop)) == 1


async def test_very_much_that_is_wrong_stops_it_before_the_end(
    oslo: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison that is cut before its end has told what it saw: it might never reach it."""
    await oslo.sold(20)
    await oslo.strangers(200)
    monkeypatch.setattr("vpnd.workers.node_differences.MAX_LISTED", 1)
    members, asked = oslo.node.client.members, 0

    async def tiring(buckets: Iterable[int]) -> list[AccessChange]:
        nonlocal asked
        asked += 1
        if asked > 60:
            raise NodeUnavailable("oslo", "it is tired")
        return await members(buckets)

    monkeypatch.setattr(oslo.node.client, "members", tiring)
    assert await oslo.run() == "ok"

    assert (await oslo.stop()).strangers > FEW
    assert len(await alerts(oslo.shop)) == 1


async def test_what_was_accepted_is_no_blank_cheque(oslo: Street) -> None:
    """As many as were seen may go; more than that stops it again, and is told again."""
    await oslo.sold(20)
    await oslo.strangers(30)
    await oslo.run()
    await node_stops.accept(oslo.shop.db, await oslo.stop(), by="test")
    await oslo.run(batch=5)
    assert len(await oslo.node.active()) == 45
    await oslo.strangers(6, prefix="y")

    assert await oslo.run(batch=5) == "ok"

    assert len(await oslo.node.active()) == 51
    assert (await oslo.stop()).strangers == 31
    assert len(await alerts(oslo.shop)) == 2
    await node_stops.accept(oslo.shop.db, await oslo.stop(), by="test")
    with capture() as lines:
        for _ in range(3):
            await oslo.run()
    assert await oslo.equal()
    assert len(said(lines, "node.resumed")) == 1
    assert figure(node_gauges.stopped, "oslo") == 0


# ---------------------------------------------------------------------- at once


async def test_two_instances_at_once(oslo: Street) -> None:
    """Without a lease both do it: what is to go goes, what is to come comes, and the admins are told once."""
    await oslo.sold(40)
    lost = list(await oslo.node.held())[:5]
    await oslo.lose(oslo.node, lost)
    crowd = await oslo.strangers(2)
    await at_once(oslo)
    assert set(lost) | crowd <= await oslo.node.active()
    await at_once(oslo)
    assert await oslo.equal()

    await oslo.strangers(30, prefix="y")
    await at_once(oslo)

    assert len(await alerts(oslo.shop)) == 1
    assert oslo.alerts.count >= 1


async def test_it_may_meet_the_follower(oslo: Street) -> None:
    """Adoptions, pages of the log and runs of the worker over each other end as if they had come one after the other."""
    await oslo.sold(40)
    await oslo.strangers(2)
    with capture() as lines:
        async with following(oslo.shop, oslo.node) as follower, trio.open_nursery() as nursery:

            async def selling() -> None:
                for number in range(12):
                    await oslo.shop.grant(await oslo.shop.customer())
                    await access_log.number(oslo.shop.db)
                    follower.wake()
                    if number % 3 == 0:
                        await access_log.new_epoch(oslo.shop.db)
                nursery.cancel_scope.cancel()

            async def running() -> None:
                while True:
                    await oslo.run()
                    await trio.lowlevel.checkpoint()

            async def adopting() -> None:
                while True:
                    await compare(oslo.shop.db, oslo.node.client, adopt=True)

            nursery.start_soon(running)
            nursery.start_soon(adopting)
            await selling()
        async with following(oslo.shop, oslo.node):
            await until_epoch(oslo.node, (await access_log.head(oslo.shop.db)).epoch)
            for _ in range(2):
                await oslo.run()
            await until_equal(oslo)

    assert [line.event for line in lines if line.level == "error"] == []


# ---------------------------------------------------------------------- helpers


async def at_once(oslo: Street) -> None:
    """Two daemons whose leases both hold."""
    await time_passes(oslo.shop)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(oslo.runner().run_once)


@asynccontextmanager
async def following(shop: ShopWorld, node: FakeNode) -> AsyncIterator[NodeFollower]:
    """The node's follower at work."""
    follower = NodeFollower(shop.db, node.client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_follower, "GREET_EVERY", 0.05)
        async with trio.open_nursery() as nursery:
            await nursery.start(follower.run)
            yield follower
            nursery.cancel_scope.cancel()


async def until(holds: Any) -> None:
    """Wait until `holds()` is true."""
    with trio.fail_after(15):
        while not holds():
            await trio.sleep(0.01)


async def until_equal(oslo: Street) -> None:
    """Wait until the nodes serve what the shop says."""
    with trio.fail_after(15):
        while not await oslo.equal():
            await trio.sleep(0.01)


async def until_epoch(node: FakeNode, epoch: str) -> None:
    """Wait until a node follows this epoch, not from its beginning if there is more."""
    with trio.fail_after(15):
        while (await node.state.watermark()).epoch != epoch:
            await trio.sleep(0.01)


async def until_names(oslo: Street, names: set[str]) -> None:
    """Wait until the node serves these."""
    with trio.fail_after(15):
        while await oslo.node.active() != names:
            await trio.sleep(0.01)
