"""The tour: a customer's whole life, each step proven, in every way it can be played."""

from __future__ import annotations

import shutil

import pytest
import trio
from world_kit import a_world, vpnd

from vpnd.agent.cutoff import probe
from vpnd.sandbox.tour import Tour, play

pytestmark = pytest.mark.world

STEPS = 12


async def test_tour_by_webhook() -> None:
    """All that holds when updates are polled holds when they are delivered."""
    lines: list[str] = []
    async with a_world(mode="webhook") as (world, _):
        await world.start_daemon()
        with trio.fail_after(60):
            await play(world, Tour(write=lines.append))

    assert len(lines) == STEPS + 1
    assert f"{STEPS} steps held" in lines[-1]


@pytest.mark.skipif(probe() is not None, reason="needs CAP_NET_ADMIN, to take it away")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux' setpriv")
async def test_tour_without_the_right_to_cut_sockets() -> None:
    """A node without CAP_NET_ADMIN still cuts off whoever expired: the core is restarted, and the tour says so."""
    lines: list[str] = []
    async with a_world(agent_prefix=("setpriv", "--bounding-set", "-net_admin")) as (world, _):
        await world.start_daemon()
        with trio.fail_after(60):
            await play(world, Tour(write=lines.append))

    [dead] = [line for line in lines if "the open connection is dead" in line]
    assert "by a restart of the core" in dead


def test_tour_as_a_command() -> None:
    """`vpnd demo --tour` plays it with updates polled, prints each step, and its exit status says that all held."""
    done = vpnd("demo", "--tour", timeout=90)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{STEPS + 1}. the books" in done.stdout
    assert "The tour is over: 13 steps held" in done.stdout
    assert "error" not in done.stdout
