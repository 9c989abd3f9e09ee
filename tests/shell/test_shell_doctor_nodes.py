"""`vpnd doctor` and the nodes: what would be done by name, done one by one with --repair, and a person's word about a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from node_world import TOKEN, FakeNode, fake_node, newer, shop_holds, stranger, time_passes
from shell_kit import Said, several, shop_environment
from shop_world import ShopWorld

from vpnd.nodes.model import AccessChange
from vpnd.shop import access_log, node_stops


@define
class Clinic:
    """A shop, a node that holds what it says, and the command."""

    shop: ShopWorld
    node: FakeNode
    environment: dict[str, str]
    config: str

    async def doctor(self, *commands: Sequence[str]) -> list[Said]:
        """Run `vpnd doctor` with these words, once for each."""
        return await several(
            self.environment,
            *(["doctor", "--config", self.config, "--only", "nodes", *words] for words in commands),
        )

    async def sold(self, count: int) -> list[AccessChange]:
        """Sell so many, and let the node know; nothing is under way any more."""
        for _ in range(count):
            await self.shop.grant(await self.shop.customer())
        await access_log.number(self.shop.db)
        head = await access_log.head(self.shop.db)
        ours = list((await shop_holds(self.shop.db)).values())
        await self.node.holds(head.epoch, head.last_seq, ours)
        await self.shop.execute("insert into nodes (name) values ('oslo') on conflict (name) do nothing")
        await time_passes(self.shop)
        return ours

    async def knows(self, *changes: AccessChange) -> None:
        """Let the node hold these, too."""
        await self.node.client.push((await access_log.head(self.shop.db)).epoch, 0, list(changes), adopt=True)

    async def lose(self, name: str) -> None:
        """Make the node forget one."""
        held = await self.node.held()
        epoch = (await access_log.head(self.shop.db)).epoch
        await self.node.wipe()
        await self.node.holds(epoch, 0, [change for change in held.values() if change.name != name])

    async def everything(self) -> tuple[Any, ...]:
        """All that a look must not change."""
        tables = ("access_head", "access_log", "nodes", "node_stops", "outbox", "subscriptions")
        rows = [
            await self.shop.db.fetch("test", f"select * from {table} order by 1")  # noqa: S608  names of this list
            for table in tables
        ]
        mark = await self.node.state.watermark()
        return ([[tuple(row.values()) for row in each] for each in rows], await self.node.held(), mark)


@pytest.fixture
async def clinic(shop: ShopWorld, database_url: str, tmp_path: Path) -> AsyncIterator[Clinic]:
    """A shop with one node."""
    async with fake_node(tmp_path / "node") as node:
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "vpnd.toml").write_text(
            f'[stars]\nenabled = false\n\n[[nodes]]\nname = "oslo"\nurl = "{node.client._base}"\n'
            f'token_file = "{tmp_path / "token"}"\n'
        )
        yield Clinic(shop, node, shop_environment(database_url), str(tmp_path / "vpnd.toml"))


def lines(said: Said) -> list[str]:
    """What was said of the node."""
    return [
        line.removeprefix("node oslo").strip() for line in said.out.splitlines() if line.startswith("node ")
    ]


async def test_a_node_that_agrees(clinic: Clinic) -> None:
    """One line, and exit code 0."""
    await clinic.sold(2)

    (said,) = await clinic.doctor([])

    assert (said.code, lines(said)) == (0, ["2 credentials on, 0 differences left"])
    assert said.out.endswith("Everything agrees.\n")


async def test_a_look_names_everything_and_changes_nothing(clinic: Clinic) -> None:
    """Missing, older, newer and unknown, each by name and with what would be done; exit code 1."""
    ours = await clinic.sold(30)
    await clinic.lose(ours[0].name)
    await clinic.shop.execute("update subscriptions set version = 5 where name = $1", ours[1].name)
    await clinic.knows(newer(ours[2], 7, active=False), stranger("x1"))
    before = await clinic.everything()

    looked, again = await clinic.doctor([], [])

    assert await clinic.everything() == before
    assert looked == again
    assert looked.code == 1
    assert sorted(lines(looked)) == sorted(
        [
            f"missing {ours[0].name}: left (on in the shop: would be sent)",
            f"older {ours[1].name}: left (on in the shop: would be sent)",
            f"newer {ours[2].name}: left (the shop's word would hold)",
            "stranger x1: left (seen for the first time, or just now: look again in half a minute)",
            "29 credentials on, 4 differences left",
        ]
    )


async def test_a_repair_mends_one_by_one(clinic: Clinic) -> None:
    """Each in a call of its own, by name; a stranger at second sight only; then nothing is left."""
    ours = await clinic.sold(30)
    for one in ours[:3]:
        await clinic.lose(one.name)
    await clinic.knows(newer(ours[5], 7, active=False), stranger("x1"))
    pushes = clinic.node.count("/v1/changes")

    (first,) = await clinic.doctor(["--repair"])
    assert first.code == 1
    assert clinic.node.count("/v1/changes") == pushes + 3
    assert {f"missing {one.name}: mended (sent, on)" for one in ours[:3]} < set(lines(first))
    assert f"newer {ours[5].name}: mended (the shop's word holds)" in lines(first)
    assert lines(first)[-1] == "27 credentials were on, 1 differences left"
    await time_passes(clinic.shop)
    second, third = await clinic.doctor(["--repair"], ["--repair"])

    assert "stranger x1: mended (switched off)" in lines(second)
    assert second.code == 0
    assert third.out.endswith("Everything agrees.\n")
    assert "x1" not in await clinic.node.active()


async def test_a_node_that_refuses_one_or_is_away(clinic: Clinic) -> None:
    """The one is named and left, the others are sent; a node without an answer is no empty one."""
    ours = await clinic.sold(20)
    await clinic.node.wipe()
    await clinic.knows(evolve(ours[0], name="x1"))

    (said,) = await clinic.doctor(["--repair"])
    assert said.code == 1
    assert f"missing {ours[0].name}: left (the node refuses it)" in lines(said)
    assert sum("mended" in line for line in lines(said)) == 19
    clinic.node.fail("/v1/status", "away")
    clinic.node.fail("/v1/bucket", "away")
    for away in await clinic.doctor([], ["--repair"]):
        assert away.code == 1
        assert lines(away)[-1].startswith("could not be asked: ")

    assert len(await clinic.node.active()) == 20


async def test_a_person_accepts_a_foreign_database(clinic: Clinic) -> None:
    """It is told what was seen, stops, and goes on with as many as he saw when he said so."""
    ours = await clinic.sold(3)
    crowd = [stranger(f"x{number}") for number in range(12)]
    await clinic.knows(*crowd)
    before = await clinic.everything()
    looked, no = await clinic.doctor([], ["--accept-node", "rome"])
    assert await clinic.everything() == before
    assert "does not know too many of them: it serves 15, 12 of them unknown" in lines(looked)[-2]
    assert "vpnd doctor --accept-node oslo" in lines(looked)[-2]
    assert (no.code, no.err) == (1, "vpnd: there is no node 'rome'; configured: oslo\n")

    (repaired,) = await clinic.doctor(["--repair"])
    await time_passes(clinic.shop)
    (still,) = await clinic.doctor(["--repair"])
    assert (repaired.code, still.code) == (1, 1)
    assert len(await clinic.node.active()) == 15
    assert sum("left (the node is stopped)" in line for line in lines(still)) == 12
    assert len(await clinic.shop.outbox("node_stopped:")) == 1

    accepted, mended = await clinic.doctor(["--accept-node", "oslo"], ["--repair"])
    assert accepted.code == 0
    assert (
        "accepted (strangers): it serves 15 credentials; 12 that the shop does not know" in lines(accepted)[0]
    )
    assert mended.code == 0
    assert await clinic.node.active() == {one.name for one in ours}
    again, none = await clinic.doctor(["--repair"], ["--accept-node", "oslo"])
    assert again.out.endswith("Everything agrees.\n")
    assert (none.code, none.err) == (1, "vpnd: node oslo is not stopped: there is nothing to accept\n")
    assert await node_stops.stop_of(clinic.shop.db, "oslo") is None


async def test_a_person_accepts_an_old_database(clinic: Clinic) -> None:
    """A node ahead of the log: named by a look, left by a repair; his word begins a new epoch, and stops the others."""
    await clinic.sold(3)
    head = await access_log.head(clinic.shop.db)
    await clinic.node.client.push(head.epoch, head.last_seq + 50, [])
    await clinic.shop.execute("insert into nodes (name) values ('rome')")
    before = await clinic.everything()
    looked, repaired = await clinic.doctor([], ["--repair"])
    assert await clinic.everything() == before
    assert "the database is an older copy of itself" in lines(looked)[0]
    assert "is ahead of the access log" in lines(repaired)[0]
    assert (looked.code, repaired.code) == (1, 1)

    (accepted,) = await clinic.doctor(["--accept-node", "oslo"])

    assert accepted.code == 0
    assert "a new epoch of the log begins" in lines(accepted)[0]
    assert (await access_log.head(clinic.shop.db)).epoch != head.epoch
    assert [stop.node for stop in await node_stops.stops(clinic.shop.db)] == ["rome"]
    (unadopted,) = await clinic.doctor([])
    assert "does not follow this database's log" in lines(unadopted)[0]


async def test_nothing_is_accepted_unseen(clinic: Clinic) -> None:
    """A node that is away may hold whatever it likes."""
    await clinic.knows(stranger("x1"))
    clinic.node.fail("/v1/status", "away")

    away, empty = await clinic.doctor(["--accept-node", "oslo"], ["--accept-node", "oslo"])

    assert away.code == 1
    assert away.err.startswith("vpnd: nothing is accepted unseen: node oslo: ")
    assert empty.code == 0
    assert "accepted (empty): it serves 1 credentials" in lines(empty)[0]


async def test_a_very_long_list_is_cut_in_a_look(clinic: Clinic) -> None:
    """A thousand are named; how many more there are is said."""
    await clinic.sold(1)
    await clinic.knows(*[stranger(f"x{number}") for number in range(1100)])

    (said,) = await clinic.doctor([])

    assert sum("stranger x" in line for line in lines(said)) == 1000
    assert "… and 100 more" in lines(said)
