"""The running daemon is asked from outside: its status, and its audit, over the real socket."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from functools import partial

import pytest
import trio
from world_kit import a_world, eventually, first_screen

from vpnd.daemon import Daemon
from vpnd.sandbox.customer import Customer
from vpnd.sandbox.world import World

pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(not hasattr(Daemon, "children"), reason="the daemon has no control socket yet"),
]


async def command(world: World, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run `vpnd …` beside the world's daemon, with nothing but its configuration's path."""
    return await trio.run_process(
        [sys.executable, "-m", "vpnd", *words, "--config", str(world.config_path)],
        check=False, capture_stdout=True, capture_stderr=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


async def test_a_daemon_at_work_is_audited() -> None:
    """A customer is served, and each finding that such a world can show is measured: no limit is broken."""
    async with a_world() as (world, _lines):
        await world.start_daemon()
        await first_screen(Customer(world, 4711))

        async def audited() -> dict[str, str] | None:
            done = await command(world, "audit", "--json")
            states = {line["measure"]: line["state"] for line in json.loads(done.stdout)["lines"]}
            idle = {name for name, state in states.items() if state == "not measured"}
            return states if idle <= {"broadcast_rate"} else None

        states = await eventually("everything but a broadcast was measured", audited)
        assert "broken" not in states.values()
        done = await command(world, "audit", "--allow-idle")
        assert done.returncode == 0, done.stdout.decode()

        status = await command(world, "status")
        assert status.returncode == 0
        for part in (b"serving customers", b"expiry", b"amsterdam", b"receipt 0", b"money today", b"inbox"):
            assert part in status.stdout, part


async def test_the_socket_comes_and_goes_with_the_daemon() -> None:
    """0660 in the state directory of a daemon without systemd; a killed daemon's is replaced, and a stopped one leaves none."""
    async with a_world(node=False) as (world, _lines):
        await world.start_daemon()
        found = list(world.folder.rglob("control.sock"))
        assert len(found) == 1
        assert stat.S_IMODE(found[0].stat().st_mode) == 0o660
        answers = partial(command, world, "status")
        assert (await answers()).returncode == 0

        await world.daemon.kill()
        refused = await answers()
        assert refused.returncode == 1
        assert b"no daemon answers" in refused.stderr
        await world.start_daemon()

        async def is_back() -> bool:
            return (await answers()).returncode == 0

        await eventually("the socket is the new daemon's", is_back)
