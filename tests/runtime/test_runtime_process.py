"""Child processes."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from vpnd.runtime.process import ChildProcess, ChildStartError, User, run_child


async def test_output_and_status() -> None:
    """Lines of both streams reach their functions, and the exit status is returned."""
    out: list[str] = []
    err: list[str] = []

    status = await run_child(
        ["sh", "-c", "cat; echo two; printf three; echo oops >&2; exit 7"],
        stdin=b"one\n",
        stdout=out.append,
        stderr=err.append,
    )

    assert status == 7
    assert out == ["one", "two", "three"]
    assert err == ["oops"]


async def test_output_to_a_file_and_environment(tmp_path: Path) -> None:
    """A file is appended to, and the child sees exactly the environment and folder it is given."""
    log = tmp_path / "log"
    log.write_text("before\n")

    await run_child(
        ["/bin/sh", "-c", "echo $WORD; pwd; echo ${HOME-none}"], env={"WORD": "x"}, cwd=tmp_path, stdout=log
    )

    assert log.read_text() == f"before\nx\n{tmp_path}\nnone\n"


async def test_a_program_that_is_not_there() -> None:
    """A failed exec is an error with the errno and the program, not an exit status."""
    with pytest.raises(ChildStartError) as caught:
        await run_child(["/nowhere/program"])

    assert caught.value.errno == 2
    assert caught.value.filename == "/nowhere/program"


async def test_started_means_executed() -> None:
    """Whoever starts a child gets it when its pid is the program itself."""
    async with trio.open_nursery() as nursery:
        child: ChildProcess = await nursery.start(run_child, ["sleep", "1000"])

        assert Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n"
        assert child.returncode is None
        nursery.cancel_scope.cancel()

    assert child.returncode == -signal.SIGTERM


async def test_stop_signal_and_drained_output() -> None:
    """A cancelled child is asked with the chosen signal, and what it says while it ends is still read."""
    said: list[str] = []
    script = "trap 'echo bye; exit 0' INT; echo up; while :; do sleep 0.01; done"

    async def run(*, task_status: trio.TaskStatus[ChildProcess]) -> None:
        await run_child(
            ["sh", "-c", script], stdout=said.append, stop_signal=signal.SIGINT, task_status=task_status
        )

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child = await nursery.start(run)
            while said != ["up"]:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    assert said == ["up", "bye"]
    assert child.returncode == 0


async def test_a_deaf_child_is_killed_with_its_group() -> None:
    """A child that ignores the signal is killed after `stop_timeout`, and its own children with it."""
    said: list[str] = []
    script = "trap '' TERM; sleep 1000 & echo $!; wait; while :; do sleep 1000; done"

    async def run(*, task_status: trio.TaskStatus[ChildProcess]) -> None:
        await run_child(["sh", "-c", script], stdout=said.append, stop_timeout=0.1, task_status=task_status)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child = await nursery.start(run)
            while not said:
                await trio.sleep(0.01)
            grandchild = os.pidfd_open(int(said[0]))
            nursery.cancel_scope.cancel()

    assert child.returncode == -signal.SIGKILL
    assert select.select([grandchild], [], [], 5)[0]
    os.close(grandchild)


async def test_a_failing_sink_ends_the_child() -> None:
    """What an output function raises is not lost: the child is stopped and the error goes up."""

    def refuse(line: str) -> None:
        raise ValueError(line)

    with trio.fail_after(10), pytest.RaisesGroup(ValueError):
        await run_child(["sh", "-c", "echo x; exec sleep 1000"], stdout=refuse)


async def test_default_signals() -> None:
    """Neither the launcher's ignored SIGPIPE nor the SIGINT that a script's background ignores leaks into the program."""
    said: list[str] = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        await run_child(["grep", "SigIgn", "/proc/self/status"], stdout=said.append)
    finally:
        signal.signal(signal.SIGINT, before)

    assert int(said[0].split()[1], 16) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the uid")
async def test_another_uid_dies_with_us_too() -> None:
    """A child under another uid has no group of ours left, and still carries the wish to die with us."""
    said: list[str] = []

    await run_child(["sh", "-c", "id -u; id -G"], user=User(65534, 65533), stdout=said.append)

    assert said == ["65534", "65533"]


_PARENT = """
import sys, trio
from vpnd.runtime.process import User, run_child
user = User(65534, 65534) if sys.argv[1] == "other" else None
async def main():
    async with trio.open_nursery() as nursery:
        child = await nursery.start(lambda task_status: run_child(["sleep", "1000"], user=user, task_status=task_status))
        # Worker threads come and go; the child must depend on none of them.
        await trio.to_thread.run_sync(lambda: None)
        print(child.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.parametrize(
    "user", ["same", pytest.param("other", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root"))]
)
def test_a_killed_parent_takes_its_child_along(user: str) -> None:
    """SIGKILL of the parent, which nothing can catch, still ends the child."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, user], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        try:
            child = os.pidfd_open(int(parent.stdout.readline()))
        except BaseException:
            parent.kill()
            raise
        try:
            assert not select.select([child], [], [], 0)[0]
            parent.kill()

            assert select.select([child], [], [], 10)[0]
        finally:
            os.close(child)
