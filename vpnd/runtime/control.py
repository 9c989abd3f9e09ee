"""The control socket: how a command in a shell talks to the running daemon.

One unix socket; a client sends one line of JSON, `{"command": "status", …}`, and gets lines of JSON back: any number of
`{"event": …}`, then one `{"result": …}` or `{"error": "a sentence"}`, and the end. The composition root registers the
commands by name.

Who may: root, the daemon's own user, and members of the socket's group. The mode of the file (0660) keeps the others out, and
the credentials that the kernel tells of the peer are checked beside it, for a file whose mode somebody has changed.

Bounded in everything: the size of a request and of an answer, the clients at once, the time to say what one wants, and the
time to read each answer. Each client has a task of its own, so a slow one holds nobody up; one that hangs up ends his
command.

A socket file that a killed daemon left is replaced; one that somebody listens on is left alone, told of once, and tried again.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import trio
from attrs import frozen

from vpnd.runtime.groups import plainest
from vpnd.runtime.journal import get_journal

__all__ = [
    "SOCKET_NAME",
    "Command",
    "CommandRefused",
    "ControlClient",
    "ControlError",
    "ControlServer",
    "Peer",
    "control_path",
]

#: The socket's name in the runtime directory.
SOCKET_NAME: Final = "control.sock"
SOCKET_MODE: Final = 0o660
#: Bytes of a request and of one line of an answer.
MAX_REQUEST: Final = 64 * 1024
MAX_ANSWER: Final = 4 * 1024 * 1024
#: Clients at once; more are told so.
MAX_CLIENTS: Final = 16
#: Seconds in which a client says what it wants, and takes one line.
REQUEST_TIME: Final = 5.0
SEND_TIME: Final = 5.0
#: Seconds that a command may take: an audit watches for an hour at most.
COMMAND_TIME: Final = 3660.0
#: Seconds between two tries to get the socket.
RETRY: Final = 30.0

_SO_PEERGROUPS: Final = 59
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid

journal = get_journal("control")


class CommandRefused(Exception):
    """A command cannot do what it was asked to; its sentence is what the client is told."""


@frozen
class Peer:
    """Who asks, as the kernel knows it."""

    pid: int
    uid: int
    groups: frozenset[int]


#: Sends one event to the client. It raises when the client is gone or does not read.
Tell = Callable[[Mapping[str, Any]], Awaitable[None]]
#: Does a command: the request's document, with who asks as `peer` (`uid`, `pid`), a way to tell of events; returns the result.
Command = Callable[[Mapping[str, Any], Tell], Awaitable[Mapping[str, Any]]]


def control_path(environ: Mapping[str, str], state_dir: Path) -> Path:
    """Return where the daemon's socket is: in $RUNTIME_DIRECTORY under systemd, else in the state directory."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return (Path(runtime) if runtime else state_dir) / SOCKET_NAME


# --- the daemon's side -----------------------------------------------------------------------------------------------------


class ControlServer:
    """Serves the socket; one child of the supervisor.

    Args:
        path: where.
        commands: what can be asked, by name; more may be added until `run`.
    """

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self.path: Final = path
        self._commands = dict(commands)
        self._clients = 0
        self._group = -1

    def register(self, name: str, command: Command) -> None:
        """Add a command. Raises ValueError when there is one of this name."""
        if name in self._commands:
            raise ValueError(f"the command {name!r} exists already")
        self._commands[name] = command

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve until cancelled. A socket that is not to be had is told once, and tried again."""
        task_status.started()
        told = False
        while True:
            try:
                listening = await trio.to_thread.run_sync(_listen, self.path)
            except OSError as error:
                if not told:
                    journal.error(
                        "control.unavailable",
                        message=f"`vpnd status` and `vpnd audit` cannot reach us, {self.path}: {error}",
                    )
                    told = True
                await trio.sleep(RETRY)
                continue
            self._group = listening.group
            try:
                async with trio.SocketListener(trio.socket.from_stdlib_socket(listening.sock)) as listener:
                    await trio.serve_listeners(self._serve, [listener])
            finally:
                # In a thread and shielded: two system calls on a file of ours.
                with trio.move_on_after(1.0, shield=True):
                    await trio.to_thread.run_sync(listening.remove, abandon_on_cancel=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one client; whatever it does, or its command, ends with it."""
        self._clients += 1
        try:
            async with stream:
                await self._answer(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # gone, or it does not read
        except* Exception as group:
            journal.error("control.failed", message="A command failed", exc_info=group)
        finally:
            self._clients -= 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        peer = peer_of(stream.socket)
        fault = None
        if not self._allowed(peer):
            fault = "you may not: root, the daemon's user and members of the socket's group may"
            journal.warning(
                "control.refused", message=f"user {peer.uid} is not let in", uid=peer.uid, pid=peer.pid
            )
        elif self._clients > MAX_CLIENTS:
            fault = f"{MAX_CLIENTS} clients are here already"
        if fault is not None:
            await _send(stream, {"error": fault})
            return
        with trio.move_on_after(REQUEST_TIME) as reading:
            line, _ = await _receive_line(stream, b"", MAX_REQUEST)
        if reading.cancelled_caught:
            await _send(stream, {"error": f"nothing was asked within {REQUEST_TIME:g} s"})
            return
        await _send(stream, await self._perform(line, stream, peer))

    async def _perform(self, line: bytes | None, stream: trio.SocketStream, peer: Peer) -> Mapping[str, Any]:
        """Do what a line asks for; return the last line of the answer."""
        try:
            request = json.loads(line or b"")
            name = request["command"]
            command = self._commands[name]
        except (ValueError, TypeError, RecursionError):
            return {"error": "a request is one line of JSON, an object with a command"}
        except KeyError:
            return {"error": f"the commands are {', '.join(sorted(self._commands))}"}
        journal.debug("control.command", message=f"{name} by user {peer.uid}", uid=peer.uid, pid=peer.pid)

        async def tell(event: Mapping[str, Any]) -> None:
            await _send(stream, {"event": event})

        # Who asks is told to the command, and nobody says it of himself.
        asked = {**request, "peer": {"uid": peer.uid, "pid": peer.pid}}
        answer: Mapping[str, Any] = {"error": f"not done within {COMMAND_TIME:g} s"}
        try:
            with trio.move_on_after(COMMAND_TIME):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
                    answer = {"result": await command(asked, tell)}
                    nursery.cancel_scope.cancel()
        except* CommandRefused as group:
            answer = {"error": str(plainest(group))}
        return answer

    def _allowed(self, peer: Peer) -> bool:
        return peer.uid in (0, os.geteuid()) or self._group in peer.groups


@frozen
class _Listening:
    """A socket that is ours, and the file by which it is found."""

    sock: socket.socket
    path: Path
    inode: int
    group: int

    def remove(self) -> None:
        """Remove the file, unless another daemon has put its own there."""
        try:
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


def _listen(path: Path) -> _Listening:
    """Make the socket; blocks for a few system calls.

    It is made under another name and moved into its place, so that nobody ever finds it with another mode.

    Raises:
        OSError: somebody listens there, or the place cannot be had.
    """
    if _lives(path):
        raise OSError("another daemon listens there")
    made = path.with_name(f".{SOCKET_NAME}.{os.getpid()}")
    made.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.bind(str(made))
        made.chmod(SOCKET_MODE)
        sock.listen(MAX_CLIENTS)
        found = made.stat()
        made.replace(path)
    except OSError:
        sock.close()
        made.unlink(missing_ok=True)
        raise
    return _Listening(sock, path, found.st_ino, found.st_gid)


def _lives(path: Path) -> bool:
    """Whether somebody listens at `path`. Raises OSError when it is a file of another kind, which is not ours to replace."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError("a file of that name is there, and it is no socket")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True  # its backlog is full: alive, and busy
    return True


def peer_of(sock: trio.socket.SocketType) -> Peer:
    """Return who is at the other end of a unix socket, as the kernel noted it at the connect."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    groups = {gid}
    try:
        more = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4096)
    except OSError:
        more = b""  # a kernel before 4.13, or more groups than fit: the main one counts
    groups.update(group for (group,) in struct.iter_unpack("I", more[: len(more) // 4 * 4]))
    return Peer(pid, uid, frozenset(groups))


async def _until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Cancel `scope` when the client hangs up. What it says beyond its request is passed over."""
    try:
        while await stream.receive_some(4096):
            pass
    except trio.BrokenResourceError:
        pass
    scope.cancel()


async def _send(stream: trio.SocketStream, document: Mapping[str, Any]) -> None:
    """Send one line; raises TooSlowError for a client that does not read."""
    line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_ANSWER:
        line = b'{"error":"the answer is too long"}\n'
    with trio.fail_after(SEND_TIME):
        await stream.send_all(line)


async def _receive_line(stream: trio.SocketStream, rest: bytes, most: int) -> tuple[bytes | None, bytes]:
    """Return the next line and what came after it; None when the other side ended, or sends without an end."""
    buffer = bytearray(rest)
    while True:
        line, found, after = bytes(buffer).partition(b"\n")
        if found:
            return line, after
        if len(buffer) > most:
            return None, b""
        piece = await stream.receive_some(65_536)
        if not piece:
            return None, b""
        buffer += piece


# --- the shell's side ------------------------------------------------------------------------------------------------------


class ControlError(Exception):
    """The daemon cannot be asked, or says no; the sentence says why."""


class ControlClient:
    """Asks the daemon that listens at `path`."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    async def ask(
        self,
        request: Mapping[str, Any],
        *,
        deadline: float = 10.0,
        on_event: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> Mapping[str, Any]:
        """Send one request and return its result; `on_event` hears of what comes before.

        Raises:
            ControlError: no daemon, no permission, no answer within `deadline` seconds, or its refusal.
        """
        try:
            with trio.fail_after(deadline):
                stream = await trio.open_unix_socket(str(self.path))
                async with stream:
                    await stream.send_all(json.dumps(dict(request)).encode() + b"\n")
                    return await self._answer(stream, on_event)
        except trio.TooSlowError:
            raise ControlError(f"the daemon gave no answer within {deadline:g} s") from None
        except PermissionError:
            raise ControlError(
                f"{self.path}: no permission; root, the daemon's user and its group may"
            ) from None
        except (OSError, trio.BrokenResourceError) as error:
            raise ControlError(f"no daemon answers at {self.path} ({error}); does it run?") from None

    async def _answer(
        self, stream: trio.SocketStream, on_event: Callable[[Mapping[str, Any]], object] | None
    ) -> Mapping[str, Any]:
        rest = b""
        while True:
            line, rest = await _receive_line(stream, rest, MAX_ANSWER)
            if line is None:
                raise ControlError("the daemon ended before it answered")
            try:
                document = json.loads(line)
            except ValueError:
                raise ControlError("what answers there is no daemon of ours") from None
            if "error" in document:
                raise ControlError(str(document["error"]))
            if "result" in document:
                result: Mapping[str, Any] = document["result"]
                return result
            if on_event is not None and "event" in document:
                on_event(document["event"])
