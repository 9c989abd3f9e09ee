"""Child processes that cannot outlive us, not even when we are killed with SIGKILL.

The idea: the kernel kills a child when its parent dies if the child asked for it (PR_SET_PDEATHSIG, prctl(2)).
Three traps make the obvious ways wrong:

* The wish is tied to the *thread* that forked. `trio.run_process` forks from a worker thread, which trio ends
  after ten idle seconds: the child would die with it. So the fork happens here, in the thread of the loop; it is
  a vfork and takes about a millisecond.
* ``preexec_fn`` runs Python between fork and exec in a process with threads, which may deadlock, and gives up
  vfork. So a small launcher, a Python of its own, makes the wish and then *becomes* the program by exec: the pid
  stays, the wish survives an exec.
* The wish is dropped when the process changes its uid, so the launcher changes it first; and by the exec of a
  program with file capabilities or set-user-id: give such a program its rights as ambient capabilities instead.

The launcher checks that its parent is still there after the wish stands, which closes the instant before it. It
tells of a failed exec through a pipe that a successful exec closes; so whoever awaits the start also knows that
the pid is the program.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs
import trio

from vpnd.runtime.journal import get_journal

journal = get_journal("runtime")

#: Where a stream of the child goes: a descriptor or one of subprocess' constants, a file (appended to), or a
#: function that gets each line as text, without its end.
Output = int | Path | Callable[[str], object]

# A line longer than this is handed over in pieces, so that a child that never ends a line costs no memory.
MAX_LINE: Final = 64 * 1024
# After the child's end its output is read to the end, unless a grandchild keeps the pipe open; seconds.
OUTPUT_GRACE: Final = 1.0
# SIGKILL works at once, except on a process inside an uninterruptible system call; seconds.
KILL_GRACE: Final = 5.0

# Everything is imported before the uid changes: the other one may not be able to read our Python's library (execvp
# imports warnings). An error without an errno is told as ENOEXEC, 8. An ignored signal stays ignored through fork and exec, and a
# shell cannot even trap it: Python ignores SIGPIPE, and whoever was started in the background of a script ignores SIGINT, by
# which some programs are asked to stop.
_LAUNCHER: Final = """\
import ctypes, os, signal, sys, warnings
report, parent, uid, gid = map(int, sys.argv[1:5])
command = sys.argv[5:]
try:
    os.set_inheritable(report, False)
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if libc.prctl(1, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(126)
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)
except Exception as error:
    os.write(report, str(getattr(error, "errno", None) or 8).encode())
    os._exit(127)
"""


class ChildStartError(OSError):
    """The program could not be started; `errno` and `strerror` say why, `filename` which."""


@attrs.frozen
class User:
    """The numbers a child runs under. No name is looked up: nothing needs to be in /etc/passwd."""

    uid: int
    gid: int


class ChildProcess:
    """A running child, as handed to whoever started `run_child`."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._waiting = trio.Lock()  # trio lets one task at a time wait for a descriptor
        self.pid: Final = popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the child runs."""
        return self._popen.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to the child; nothing happens when it has ended already."""
        self._popen.send_signal(number)

    async def wait(self) -> int:
        """Wait for the end of the child and return its exit status. Any number of tasks may wait."""
        async with self._waiting:
            while (status := self._popen.poll()) is None:
                await trio.lowlevel.wait_readable(self._pidfd)
        return status

    async def stop(self, number: int, grace: float) -> None:
        """End the child: signal `number`, then after `grace` seconds SIGKILL for its whole process group.

        Not cancellable, but bounded.
        """
        with trio.CancelScope(shield=True):
            if self.returncode is None:
                self.send_signal(number)
                with trio.move_on_after(grace):
                    await self.wait()
            if self.returncode is None:
                journal.warning(
                    "child_process.killed",
                    message=f"Process {self.pid} did not end within {grace:g} s of signal {number}; it was killed",
                    pid=self.pid,
                )
                os.killpg(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
                with trio.move_on_after(KILL_GRACE):
                    await self.wait()
            if self.returncode is None:
                journal.error(
                    "child_process.stuck", message=f"Process {self.pid} survives SIGKILL", pid=self.pid
                )

    def close(self) -> None:
        """Give back the descriptor that watches the child."""
        if self._pidfd >= 0:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


async def run_child(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    stdout: Output = subprocess.DEVNULL,
    stderr: Output = subprocess.DEVNULL,
    user: User | None = None,
    stop_signal: int = signal.SIGTERM,
    stop_timeout: float = 5.0,
    task_status: trio.TaskStatus[ChildProcess] = trio.TASK_STATUS_IGNORED,
) -> int:
    """Run a program as a task: it ends when the task is cancelled, and dies when this process does.

    Args:
        argv: program and arguments; a program without a slash is looked for in `env`'s PATH.
        env: the whole environment of the child; None gives it ours.
        cwd: its working directory.
        stdin: bytes it can read; None is an empty input.
        stdout: where its output goes, see `Output`; a function that raises ends the child.
        stderr: likewise.
        user: uid and gid to run under, without supplementary groups; needs the right to change to them.
        stop_signal: how it is asked to end when the task is cancelled.
        stop_timeout: seconds it gets for that before its process group is killed.
        task_status: told the `ChildProcess` as soon as it is the program itself.

    Returns:
        The exit status, negative for a signal, when the child ended by itself.

    Raises:
        ChildStartError: the program could not be executed.
        ExceptionGroup: what an output function raised.

    Cancellation: bounded by `stop_timeout` and a few seconds more; the child's output is read until it ended.
    The child leads a session of its own, so that Ctrl-C at a terminal reaches only us and we stop it in order.
    """
    with ExitStack() as stack:
        spawned = _spawn(argv, env, cwd, stdin, stdout, stderr, user, stack)
        child = ChildProcess(spawned.popen)
        stack.callback(child.close)
        outputs = [trio.CancelScope(shield=True) for _ in spawned.sinks]
        async with trio.open_nursery() as nursery:
            for scope, (stream, sink) in zip(outputs, spawned.sinks, strict=True):
                nursery.start_soon(_pump, scope, stream, sink)
            try:
                failed = await _await_exec(spawned.report)
                if not failed:
                    if spawned.feed is not None and stdin is not None:
                        nursery.start_soon(_feed, spawned.feed, stdin)
                    task_status.started(child)
                await child.wait()
            finally:
                await child.stop(stop_signal, stop_timeout)
                for scope in (nursery.cancel_scope, *outputs):
                    scope.deadline = trio.current_time() + OUTPUT_GRACE
        if failed:
            raise ChildStartError(failed, os.strerror(failed), str(argv[0]))
        return await child.wait()


@attrs.frozen
class _Spawned:
    popen: "subprocess.Popen[bytes]"
    report: trio.lowlevel.FdStream
    feed: trio.lowlevel.FdStream | None
    sinks: list[tuple[trio.lowlevel.FdStream, Callable[[str], object]]]


def _spawn(
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: bytes | None,
    stdout: Output,
    stderr: Output,
    user: User | None,
    ours: ExitStack,
) -> _Spawned:
    """Fork in this very thread. `ours` gets what the parent has to close, also when something fails halfway."""
    with ExitStack() as childs:

        def stream(read_end: bool) -> tuple[trio.lowlevel.FdStream, int]:
            reading, writing = os.pipe()
            keep, give = (reading, writing) if read_end else (writing, reading)
            childs.callback(os.close, give)
            kept = trio.lowlevel.FdStream(keep)
            ours.callback(kept.close)
            return kept, give

        def output(target: Output) -> int:
            if isinstance(target, int):
                return target
            if isinstance(target, Path):
                opened = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
                childs.callback(os.close, opened)
                return opened
            kept, given = stream(read_end=True)
            sinks.append((kept, target))
            return given

        sinks: list[tuple[trio.lowlevel.FdStream, Callable[[str], object]]] = []
        report, report_given = stream(read_end=True)
        feed, feed_given = stream(read_end=False) if stdin is not None else (None, subprocess.DEVNULL)
        uid, gid = (user.uid, user.gid) if user is not None else (-1, -1)
        numbers = [str(number) for number in (report_given, os.getpid(), uid, gid)]
        popen = subprocess.Popen(  # noqa: S603 - the argv is the caller's, no shell is involved
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, *numbers, *map(str, argv)],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=feed_given,
            stdout=output(stdout),
            stderr=output(stderr),
            pass_fds=(report_given,),
            start_new_session=True,
        )
        return _Spawned(popen, report, feed, sinks)


async def _await_exec(report: trio.lowlevel.FdStream) -> int:
    """Wait until the launcher has become the program, and return 0; or the errno of its failure."""
    told = b""
    while chunk := await report.receive_some(64):
        told += chunk
    return int(told or b"0")


async def _feed(stream: trio.lowlevel.FdStream, data: bytes) -> None:
    try:
        async with stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        # The child ended or does not want to know; its exit status tells the rest.
        journal.debug(
            "child_process.stdin_refused", message="A child closed its input before it had read all of it"
        )


async def _pump(
    scope: trio.CancelScope, stream: trio.lowlevel.FdStream, sink: Callable[[str], object]
) -> None:
    """Hand lines over until the stream ends. `scope` is shielded: a child that stops may still have to say much."""
    rest = b""
    with scope:
        while chunk := await stream.receive_some(MAX_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                sink(line.decode(errors="replace"))
            if len(rest) >= MAX_LINE:
                sink(rest.decode(errors="replace"))
                rest = b""
    if rest:
        sink(rest.decode(errors="replace"))
