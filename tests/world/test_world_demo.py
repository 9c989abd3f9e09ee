"""`vpnd demo` leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from world_kit import alive, family_of, program

pytestmark = pytest.mark.world

#: Seconds in which everything must be gone.
GONE_WITHIN = 15.0


@contextmanager
def open_demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Run `vpnd demo` until the shop is open; yield it and all its processes. Its temporary files go below `folder`."""
    with program("demo", "--port", "0", env=os.environ | {"TMPDIR": str(folder)}) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "The shop is open" in line:
                break
        else:
            raise AssertionError("the demo ended before the shop was open")
        family = family_of(demo.pid)
        # The demo, the sandbox's servers, the agent, the core, the daemon, PostgreSQL and its own.
        assert len(family) >= 6
        yield demo, family


def wait_until_gone(family: list[psutil.Process]) -> list[str]:
    """Wait for the end of all; return who is left. Only a real clock can be waited by: nobody tells of a stranger's end."""
    until = time.monotonic() + GONE_WITHIN
    while (left := alive(family)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def folders_of(family: list[psutil.Process]) -> set[Path]:
    """Return the folders below /tmp that the processes were told of or have a file open in; others' worlds stand beside them."""
    told: list[str] = []
    for process in family:
        try:
            told += process.cmdline()
            told += map(str, process.environ().items())
            told += [one.path for one in process.open_files()]
        except psutil.Error:
            continue  # it has just ended
    found = {Path(name) for name in re.findall(r"/tmp/vpnd-[\w-]+", " ".join(told))}
    # Kept between runs, for all worlds.
    return {path for path in found if not path.name.startswith(("vpnd-postgres-", "vpnd-core-"))}


def test_demo_ends_with_ctrl_c(tmp_path: Path) -> None:
    """SIGINT ends it in order: exit status 0, no process, no file."""
    with open_demo(tmp_path) as (demo, family):
        folders = folders_of(family)
        demo.send_signal(signal.SIGINT)
        words, _ = demo.communicate(timeout=GONE_WITHIN)

        assert demo.returncode == 0, words
        assert wait_until_gone(family) == []
    assert folders
    assert [path for path in folders if path.exists()] == []
    assert list(tmp_path.iterdir()) == []


def test_demo_killed_leaves_no_process(tmp_path: Path) -> None:
    """After `kill -9` nothing of the demo runs on: not the daemon, not the core, not PostgreSQL."""
    with open_demo(tmp_path) as (demo, family):
        demo.kill()
        demo.wait(timeout=5)

        assert wait_until_gone(family) == []
