"""Rounds: what reaches the core, in which order, and when a change counts as done."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vpnd.agent import apply as apply_module
from vpnd.agent import cutoff
from vpnd.agent.apply import BULK, Applier
from vpnd.agent.config_render import Doors
from vpnd.agent.core import Running
from vpnd.agent.model import Credential
from vpnd.agent.reconcile import Reconciler
from vpnd.agent.state import Applied, Watermark
from vpnd.agent.xray_client import CoreRejected, CoreUnavailable, UserExists, UserUnknown

TAGS = ("one", "two")
DOORS = Doors("", {"one": 1001, "two": 1002}, ())


NOTHING = Applied((), frozenset(), 0, "e", 1, 0)


def everywhere(users):
    """The same users in every inbound."""
    return {tag: dict(users) for tag in TAGS}


class FakeClient:
    """A core's lists in memory; keeps what it was asked, and fails as it is told."""

    def __init__(self, users=()):
        self.lists = {tag: dict(users) for tag in TAGS}
        self.calls = []
        self.online_ips: dict[str, set[str]] = {}
        self.late: dict[str, set[str]] = {}
        self.fail: list[Exception] = []
        self.gate: trio.Event | None = None

    async def alter(self, operations):
        await trio.lowlevel.checkpoint()
        if operations and self.fail:
            raise self.fail.pop(0)
        return [self._one(o) for o in operations]

    def _one(self, o):
        self.calls.append((o.tag, o.name, o.uuid))
        held = self.lists[o.tag]
        if o.uuid is None:
            return None if held.pop(o.name, None) else UserUnknown(o.name)
        if o.name in held:
            return UserExists(o.name)
        held[o.name] = o.uuid
        return None

    async def user(self, tag, name):
        await trio.lowlevel.checkpoint()
        return self.lists[tag].get(name)

    async def users(self, tag):
        await trio.lowlevel.checkpoint()
        return dict(self.lists[tag])

    async def add_user(self, tag, name, uuid):
        await trio.lowlevel.checkpoint()
        self.lists[tag][name] = uuid

    async def remove_user(self, tag, name):
        await trio.lowlevel.checkpoint()
        del self.lists[tag][name]

    async def replace_users(self, tag, pages):
        await trio.lowlevel.checkpoint()
        if self.fail:
            raise self.fail.pop(0)
        self.calls.append((tag, "all", None))
        self.lists[tag] = {name: uuid for page in pages for name, uuid in page}
        return True

    async def online(self):
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        seen = {name: frozenset(ips) for name, ips in self.online_ips.items()}
        self.online_ips |= self.late
        self.late = {}
        return seen


class FakeState:
    """A durable copy in memory."""

    def __init__(self):
        self.rows: dict[str, Credential] = {}
        self.revision = 0

    def put(self, *credentials):
        changed, cut = [], set()
        for c in credentials:
            old = self.rows.get(c.name)
            self.rows[c.name] = c
            changed.append(c.name)
            if old and old.active and (not c.active or old.uuid != c.uuid):
                cut.add(c.name)
        self.revision += 1
        return Applied(tuple(changed), frozenset(cut), 0, "e", self.revision, self.revision)

    async def read(self, names):
        await trio.lowlevel.checkpoint()
        return {name: self.rows[name] for name in names if name in self.rows}

    async def active_snapshot(self):
        await trio.lowlevel.checkpoint()
        return self.revision, [[c for c in self.rows.values() if c.active]]

    async def active_page(self, after):
        await trio.lowlevel.checkpoint()
        return sorted((c for c in self.rows.values() if c.active and c.name > after), key=lambda c: c.name)[
            :2
        ]

    async def watermark(self):
        await trio.lowlevel.checkpoint()
        return Watermark("e", 1, sum(c.active for c in self.rows.values()))


class FakeCore:
    """Lives that begin and end when the test says so; a restart begins a new one, filled from the state."""

    def __init__(self, state):
        self.state = state
        self.doors = DOORS
        self.restarts: list[str] = []
        self.current: Running | None = None
        self.number = 0
        self.up = trio.Event()

    def start(self):
        self.number += 1
        users = {c.name: c.uuid for c in self.state.rows.values() if c.active}
        client = FakeClient(users)
        self.current = Running(client, f"boot{self.number}", self.number, self.state.revision, DOORS, 0.0)
        self.up.set()
        return client

    def die(self):
        self.current.lost.set()
        self.current, self.up = None, trio.Event()

    async def running(self):
        while self.current is None:
            await self.up.wait()
        await trio.lowlevel.checkpoint()
        return self.current

    async def restart(self, life, reason, *, urgent=False):
        if self.current is life:
            self.restarts.append(reason)
            self.die()
            self.start()
        return await self.running()


class World:
    def __init__(self, *, sockets=True):
        self.state = FakeState()
        self.core = FakeCore(self.state)
        self.client = self.core.start()
        self.applier = Applier(self.core, self.state, sockets_can_be_cut=sockets)


def on(name, number=1, version=1):
    return Credential(name, f"uuid-{number}", version, active=True)


def off(name, version=2):
    return Credential(name, "uuid-1", version, active=False)


@pytest.fixture
def destroyed(monkeypatch):
    """Record what would be destroyed; the peers named leave the online list of the world that is set."""
    calls = []

    def destroy(peers, ports):
        calls.append((frozenset(peers), tuple(ports)))
        world = destroy.world
        for ips in world.client.online_ips.values():
            ips -= peers
        return dict.fromkeys(peers, 2)

    monkeypatch.setattr(cutoff, "destroy", destroy)
    destroy.calls = calls
    return destroy


async def test_a_change_is_in_every_inbound_when_it_is_answered(autojump_clock, nursery):
    """Done means that a customer can connect now, by whichever door."""
    world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a"), on("b", 2)))

    assert world.client.lists == everywhere({"a": "uuid-1", "b": "uuid-2"})
    assert world.applier.idle


async def test_a_removed_customer_is_cut_off_before_the_answer(autojump_clock, nursery, destroyed):
    """Removed from the lists first, then his sockets; the answer says how many and how."""
    world = destroyed.world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.online_ips["a"] = {"192.0.2.1", "192.0.2.2"}
    removed = (await world.applier.carry_out(world.state.put(off("a"))))["a"]

    assert world.client.lists == everywhere({})
    assert destroyed.calls == [(frozenset({"192.0.2.1", "192.0.2.2"}), (1001, 1002))]
    assert (removed.online_ips, removed.sockets, removed.how) == (2, 4, "sockets")


async def test_a_connection_that_shows_up_late_is_found_too(autojump_clock, nursery, destroyed):
    """A connection accepted just before the removal enters the online list just after the first look."""
    world = destroyed.world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.late = {"a": {"192.0.2.9"}}
    await world.applier.carry_out(world.state.put(off("a")))

    assert destroyed.calls == [(frozenset({"192.0.2.9"}), (1001, 1002))]


async def test_nobody_online_costs_nothing(autojump_clock, nursery):
    """Without sockets to destroy the means don't matter, and no core is restarted."""
    world = World(sockets=False)
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    removed = await world.applier.carry_out(world.state.put(off("a")))

    assert removed["a"].how == "none"
    assert world.core.restarts == []


async def test_without_the_capability_the_core_is_restarted(autojump_clock, nursery):
    """He is online and sockets cannot be destroyed: only the end of the core ends his connection."""
    world = World(sockets=False)
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a"), on("b", 2)))
    world.client.online_ips["a"] = {"192.0.2.1"}
    removed = await world.applier.carry_out(world.state.put(off("a")))

    assert (removed["a"].how, removed["a"].online_ips) == ("restart", 1)
    assert len(world.core.restarts) == 1
    assert world.core.current.client.lists == everywhere({"b": "uuid-2"})


async def test_a_capability_that_is_lost_is_noticed(autojump_clock, nursery, monkeypatch):
    """The first refusal of the kernel turns to restarts, and stays there."""

    def refuse(peers, ports):
        raise cutoff.CutOffUnavailable("CAP_NET_ADMIN is missing")

    monkeypatch.setattr(cutoff, "destroy", refuse)
    world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.online_ips["a"] = {"192.0.2.1"}
    removed = await world.applier.carry_out(world.state.put(off("a")))

    assert removed["a"].how == "restart"
    assert world.applier.means == "restart"


async def test_who_cannot_be_got_rid_of_costs_a_restart(autojump_clock, nursery, monkeypatch):
    """To say "off" while he is still listed would be a lie."""
    monkeypatch.setattr(cutoff, "destroy", lambda peers, ports: dict.fromkeys(peers, 0))
    world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.online_ips["a"] = {"192.0.2.1"}
    removed = await world.applier.carry_out(world.state.put(off("a")))

    assert removed["a"].how == "restart"
    assert len(world.core.restarts) == 1


async def test_a_customer_who_renewed_meanwhile_is_not_hunted(autojump_clock, nursery, destroyed):
    """Turned off, cut, turned on again: his new connection is left alone and the core keeps running."""
    world = destroyed.world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.online_ips["a"] = {"192.0.2.1"}
    world.client.gate = trio.Event()
    turned_off = world.state.put(off("a"))
    turned_on = world.state.put(on("a", version=3))
    async with trio.open_nursery() as inner:
        inner.start_soon(world.applier.carry_out, turned_off)
        await wait_all_tasks_blocked()
        inner.start_soon(world.applier.carry_out, turned_on)
        world.client.gate.set()

    assert world.client.lists["one"] == {"a": "uuid-1"}
    assert world.core.restarts == []


async def test_a_new_uuid_replaces_the_old_one(autojump_clock, nursery, destroyed):
    """The name stays, the old uuid must not, and whoever is connected with it is cut."""
    world = destroyed.world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a", 1)))
    world.client.online_ips["a"] = {"192.0.2.1"}
    removed = await world.applier.carry_out(world.state.put(on("a", 2, version=2)))

    assert world.client.lists == everywhere({"a": "uuid-2"})
    assert removed["a"].how == "sockets"


async def test_a_user_already_there_is_compared(autojump_clock, nursery):
    """ "Already exists" is fine with the same uuid; another one is replaced."""
    world = World()
    world.client.lists["one"]["a"] = "uuid-1"
    world.client.lists["two"]["a"] = "uuid-wrong"
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))

    assert world.client.lists == everywhere({"a": "uuid-1"})


async def test_an_answer_waits_for_a_core(autojump_clock, nursery):
    """While there is no core nothing is acknowledged; its next life is born with the change."""
    world = World()
    await nursery.start(world.applier.run)
    world.core.die()
    applied = world.state.put(on("a"))
    with trio.move_on_after(10) as waiting:
        await world.applier.carry_out(applied)
    client = world.core.start()
    await world.applier.carry_out(Applied((), frozenset(), 1, "e", 1, applied.revision))

    assert waiting.cancelled_caught
    assert client.lists == everywhere({"a": "uuid-1"})
    assert client.calls == []


async def test_a_core_that_dies_midway_loses_nothing(autojump_clock, nursery):
    """The change goes into the next life, and only then is it answered."""
    world = World()
    await nursery.start(world.applier.run)
    world.client.fail = [CoreUnavailable("gone")] * 2
    await world.applier.carry_out(world.state.put(on("a")))

    assert world.core.current.client.lists["two"] == {"a": "uuid-1"}


async def test_a_core_that_refuses_is_replaced(autojump_clock, nursery):
    """After three attempts the life is ended: the next one reads everything from its configuration."""
    world = World()
    await nursery.start(world.applier.run)
    world.client.fail = [CoreRejected("no")] * 9
    await world.applier.carry_out(world.state.put(on("a")))

    assert len(world.core.restarts) == 1
    assert world.core.current.client.lists["one"] == {"a": "uuid-1"}


async def test_an_acknowledgement_covers_everything_before_it(autojump_clock, nursery):
    """A later round, though ready, is done only after the earlier one that still cuts."""
    world = World()
    done = []

    async def carry_out(name, applied):
        await world.applier.carry_out(applied)
        done.append(name)

    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("a")))
    world.client.gate = trio.Event()
    nursery.start_soon(carry_out, "off", world.state.put(off("a")))
    await wait_all_tasks_blocked()
    nursery.start_soon(carry_out, "on", world.state.put(on("b", 2)))
    await wait_all_tasks_blocked()
    served_before, done_before = dict(world.client.lists["one"]), list(done)
    world.client.gate.set()
    await carry_out("nothing", NOTHING)

    assert served_before == {"b": "uuid-2"}, "who has paid gets in while another is still being cut"
    assert done_before == []
    assert done == ["off", "on", "nothing"]


async def test_many_changes_go_in_bulk(autojump_clock, nursery):
    """Above the bound an inbound gets its whole list at once, one call a door."""
    world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(on("first", 0)))
    await world.applier.carry_out(world.state.put(*(on(f"s{n}", n) for n in range(BULK + 1))))

    assert Counter(name for _tag, name, _uuid in world.client.calls) == {"first": 2, "all": 2}
    assert len(world.client.lists["two"]) == BULK + 2


async def test_a_list_too_long_for_one_message_goes_one_by_one(autojump_clock, nursery, monkeypatch):
    """The core takes 4 MiB a message; beyond that nobody may be left out for a moment."""
    monkeypatch.setattr(apply_module, "BULK_USERS", BULK)
    world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(*(on(f"s{n}", n) for n in range(BULK + 1))))

    assert len(world.client.calls) == 2 * (BULK + 1)
    assert len(world.client.lists["two"]) == BULK + 1


async def test_an_inbound_lost_in_bulk_is_brought_back(autojump_clock, nursery):
    """Taken away and not added again: a new life at once, with everybody in it."""
    world = World()
    await nursery.start(world.applier.run)
    world.client.fail = [CoreUnavailable("gone")]
    await world.applier.carry_out(world.state.put(*(on(f"s{n}", n) for n in range(BULK + 1))))

    assert world.core.restarts == ["an inbound was lost"]
    assert len(world.core.current.client.lists["two"]) == BULK + 1


async def test_a_comparison_mends_the_core(autojump_clock, nursery, destroyed):
    """Strangers are cut off, missing ones added, wrong ones replaced; the copy is the truth."""
    world = destroyed.world = World()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(world.state.put(*(on(f"s{n}", n) for n in range(5))))
    world.client.lists["one"]["stranger"] = "uuid-x"
    world.client.online_ips["stranger"] = {"192.0.2.66"}
    del world.client.lists["two"]["s3"]
    world.client.lists["two"]["s4"] = "uuid-wrong"
    reconciler = Reconciler(world.core, world.state, world.applier)
    found = await reconciler.compare()

    assert found == {"stranger", "s3", "s4"}
    assert world.client.lists == everywhere({f"s{n}": f"uuid-{n}" for n in range(5)})
    assert destroyed.calls[0][0] == {"192.0.2.66"}
    assert await reconciler.compare() == set()


async def test_an_applier_that_is_started_again_goes_on(autojump_clock, nursery):
    """Its death loses no round: whoever waits is answered by its next life."""
    world = World()
    world.client.gate = trio.Event()
    applied = world.state.put(on("a"))
    async with trio.open_nursery() as first:
        await first.start(world.applier.run)
        first.start_soon(world.applier.carry_out, applied)
        await wait_all_tasks_blocked()
        applied = world.state.put(off("a"))
        first.start_soon(world.applier.carry_out, applied)
        await wait_all_tasks_blocked()
        first.cancel_scope.cancel()
    left = not world.applier.idle
    world.client.gate.set()
    await nursery.start(world.applier.run)
    await world.applier.carry_out(NOTHING)

    assert left
    assert world.applier.idle
    assert world.client.lists["one"] == {}
