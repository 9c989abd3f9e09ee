"""The control socket: who may, what is bounded, and what a dead daemon leaves behind."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from vpnd.runtime import control
from vpnd.runtime.control import (
    CommandRefused,
    ControlClient,
    ControlError,
    ControlServer,
    Tell,
    control_path,
)
from vpnd.runtime.journal import capture

PATIENCE = 10.0


async def echo(request: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Tell of each item, and return how many there were."""
    for item in request.get("items", ()):
        await tell({"item": item})
    return {"items": len(request.get("items", ()))}


async def refuse(_request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
    raise CommandRefused("not on a Thursday")


async def fail(_request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
    raise RuntimeError("a fault")


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: the kernel takes 107 bytes."""
    return tmp_path_factory.mktemp("c") / "control.sock"


@asynccontextmanager
async def serving(path: Path, **commands: Any) -> AsyncIterator[ControlServer]:
    """A server that listens."""
    server = ControlServer(path, {"echo": echo, "refuse": refuse, "fail": fail, **commands})
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with trio.fail_after(PATIENCE):
            while not path.exists():
                await trio.sleep(0.01)
        yield server
        nursery.cancel_scope.cancel()


async def raw(path: Path, sent: bytes, *, end: bool = False) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        try:
            await stream.send_all(sent)
            if end:
                await stream.send_eof()
        except trio.BrokenResourceError:
            pass
        answer = b""
        try:
            while piece := await stream.receive_some():
                answer += piece
        except trio.BrokenResourceError:
            pass  # it was closed on what it had not read
        return answer


async def test_a_command_is_answered_by_events_and_a_result(path: Path) -> None:
    """One line in; any number of events, then the result."""
    heard: list[Any] = []
    async with serving(path):
        client = ControlClient(path)
        result = await client.ask({"command": "echo", "items": [1, 2]}, on_event=heard.append)
        assert await client.ask({"command": "echo"}) == {"items": 0}

    assert (result, heard) == ({"items": 2}, [{"item": 1}, {"item": 2}])


async def test_the_socket_is_for_its_owner_and_group(path: Path) -> None:
    """Mode 0660 from the first moment, and gone when the daemon stops."""
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert list(path.parent.iterdir()) == [path]

    assert list(path.parent.iterdir()) == []


async def test_a_command_hears_who_asks(path: Path) -> None:
    """From the kernel; what a client says of itself does not count."""

    async def whoami(request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        return dict(request["peer"])

    async with serving(path, whoami=whoami):
        answer = await ControlClient(path).ask({"command": "whoami", "peer": {"uid": 0, "pid": 1}})

    assert answer == {"uid": os.getuid(), "pid": os.getpid()}


async def test_a_command_ends_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is cut, and the client is told."""
    monkeypatch.setattr(control, "COMMAND_TIME", 0.1)

    async def hangs(_request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        await trio.sleep_forever()

    async with serving(path, hangs=hangs):
        with pytest.raises(ControlError, match=r"not done within 0\.1 s"):
            await ControlClient(path).ask({"command": "hangs"})


async def test_a_refusal_is_a_sentence(path: Path) -> None:
    """A command that cannot be done says why; one that is unknown is told which there are."""
    async with serving(path):
        with pytest.raises(ControlError, match="not on a Thursday"):
            await ControlClient(path).ask({"command": "refuse"})
        with pytest.raises(ControlError, match="the commands are echo, fail, refuse"):
            await ControlClient(path).ask({"command": "unheard of"})


async def test_a_command_that_fails_ends_itself_only(path: Path) -> None:
    """Its fault is told in the journal, and the next client is served."""
    with capture() as lines:
        async with serving(path):
            with pytest.raises(ControlError, match="ended before"):
                await ControlClient(path).ask({"command": "fail"})
            assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}

    assert [line.event for line in lines if line.event == "control.failed"] == ["control.failed"]


@pytest.mark.parametrize(
    "sent", [b"\n", b"nonsense\n", b"[]\n", b'{"command": 3}\n', b'{"command": []}\n', b"[" * 60_000 + b"\n"]
)
async def test_nonsense_is_answered_and_harms_nobody(path: Path, sent: bytes) -> None:
    """Whatever the line is, it gets one sentence."""
    async with serving(path):
        with trio.fail_after(PATIENCE):
            answer = json.loads(await raw(path, sent))
        assert set(answer) == {"error"}
        assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}


async def test_a_request_is_bounded(path: Path) -> None:
    """A line without an end is not read on and on."""
    async with serving(path):
        with trio.fail_after(PATIENCE):
            answer = await raw(path, b"x" * (control.MAX_REQUEST + 200_000), end=True)
        assert b"error" in answer or answer == b""


async def test_who_asks_nothing_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has some seconds to say what it wants."""
    monkeypatch.setattr(control, "REQUEST_TIME", 0.05)
    async with serving(path):
        with trio.fail_after(PATIENCE):
            answer = json.loads(await raw(path, b""))

    assert "nothing was asked" in answer["error"]


async def test_a_slow_reader_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off after a while, and others are served meanwhile."""
    monkeypatch.setattr(control, "SEND_TIME", 0.3)
    ended = trio.Event()

    async def flood(_request: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        try:
            while True:
                await tell({"much": "x" * 100_000})
        finally:
            ended.set()

    async with serving(path, flood=flood):
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            await stream.send_all(b'{"command": "flood"}\n')
            with trio.fail_after(PATIENCE):
                assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}
                await ended.wait()


async def test_who_hangs_up_ends_his_command(path: Path) -> None:
    """A watch of an hour does not go on for nobody."""
    began, ended = trio.Event(), trio.Event()

    async def forever(_request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving(path, forever=forever):
        stream = await trio.open_unix_socket(str(path))
        await stream.send_all(b'{"command": "forever"}\n')
        with trio.fail_after(PATIENCE):
            await began.wait()
            await stream.aclose()
            await ended.wait()


async def test_clients_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than may be at once is told so; when one has left, there is a place."""
    monkeypatch.setattr(control, "MAX_CLIENTS", 1)
    async with serving(path):
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            await stream.send_all(b"{")
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(ControlError, match="are here already"):
                await ControlClient(path).ask({"command": "echo"})
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await ControlClient(path).ask({"command": "echo"})
                    break
                except ControlError:
                    await trio.sleep(0.01)


async def test_the_peer_is_who_the_kernel_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who got past the file's mode is refused, and told of; root, the own user and the group are let in."""
    seen: list[control.Peer] = []
    real = control.peer_of

    def noted(sock: Any) -> control.Peer:
        seen.append(real(sock))
        return seen[-1]

    monkeypatch.setattr(control, "peer_of", noted)
    async with serving(path):
        await ControlClient(path).ask({"command": "echo"})
        assert (seen[0].pid, seen[0].uid) == (os.getpid(), os.getuid())
        assert set(os.getgroups()) | {os.getgid()} <= seen[0].groups

        group = path.stat().st_gid
        for peer, allowed in (
            (control.Peer(1, 0, frozenset()), True),
            (control.Peer(1, os.geteuid(), frozenset()), True),
            (control.Peer(1, 64_001, frozenset({group})), True),
            (control.Peer(1, 64_001, frozenset({group + 1})), False),
        ):
            monkeypatch.setattr(control, "peer_of", lambda _sock, peer=peer: peer)
            with capture() as lines:
                if allowed:
                    await ControlClient(path).ask({"command": "echo"})
                else:
                    with pytest.raises(ControlError, match="you may not"):
                        await ControlClient(path).ask({"command": "echo"})
            assert any(line.event == "control.refused" for line in lines) == (not allowed)


async def test_what_a_dead_daemon_left_is_replaced(path: Path) -> None:
    """A socket file that nobody listens on is no obstacle."""
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    assert path.exists()

    async with serving(path):
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}
                    break
                except ControlError:
                    await trio.sleep(0.01)


async def test_a_living_daemon_keeps_its_socket(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one tells once that it cannot have it, lives on without, and takes it when the first has gone."""
    monkeypatch.setattr(control, "RETRY", 0.02)
    second = ControlServer(path, {"echo": echo})
    with capture() as lines:
        async with trio.open_nursery() as nursery:
            async with serving(path):
                inode = path.stat().st_ino
                await nursery.start(second.run)
                await trio.sleep(0.15)
                assert path.stat().st_ino == inode
                assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}
            with trio.fail_after(PATIENCE):
                while not path.exists():
                    await trio.sleep(0.01)
                assert await ControlClient(path).ask({"command": "echo"}) == {"items": 0}
            nursery.cancel_scope.cancel()

    assert len([line for line in lines if line.event == "control.unavailable"]) == 1


async def test_another_file_is_left_alone(path: Path) -> None:
    """What is no socket was not made by us."""
    path.write_text("precious", "utf-8")
    with capture() as lines:
        async with trio.open_nursery() as nursery:
            await nursery.start(ControlServer(path, {}).run)
            with trio.fail_after(PATIENCE):
                while not any(line.event == "control.unavailable" for line in lines):
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    assert path.read_text("utf-8") == "precious"


async def test_a_client_without_a_daemon_is_told_where_it_looked(tmp_path: Path) -> None:
    """The path is in the sentence."""
    with pytest.raises(ControlError, match=r"no daemon answers at .*absent"):
        await ControlClient(tmp_path / "absent").ask({"command": "echo"})


def test_two_commands_of_one_name_are_refused(path: Path) -> None:
    """The composition root learns it at the start."""
    server = ControlServer(path, {"echo": echo})
    server.register("more", echo)
    with pytest.raises(ValueError, match="exists"):
        server.register("echo", echo)


def test_the_socket_is_in_the_runtime_directory_of_systemd() -> None:
    """Else in the state directory."""
    state = Path("/var/lib/vpnd")
    assert control_path({"RUNTIME_DIRECTORY": "/run/vpnd:/run/other"}, state) == Path(
        "/run/vpnd/control.sock"
    )
    assert control_path({}, state) == state / "control.sock"
