"""Serving over real sockets."""

import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vpnd.runtime import journal
from vpnd.runtime.serve import TlsFiles, serve_asgi

EVERY_BIND = ["127.0.0.1:0", "unix"]


async def _app(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    if scope["path"] == "/fail":
        raise ValueError("broken handler")
    if scope["path"] == "/slow":
        await trio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _endless(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})


@asynccontextmanager
async def _served(app: Any, bind: str, **options: Any) -> AsyncIterator[tuple[str, trio.Event]]:
    """Serve in the background; ends with the orderly shutdown of the server."""
    stop = trio.Event()

    async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
        await serve_asgi(app, [bind], shutdown_trigger=stop.wait, task_status=task_status, **options)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(run)
            yield bound, stop
            stop.set()


async def _connect(bound: str) -> trio.SocketStream:
    if bound.startswith("unix:"):
        return await trio.open_unix_socket(bound.removeprefix("unix:"))  # type: ignore[return-value]  # a SocketStream
    host, _, port = bound.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def _get(stream: trio.abc.Stream, path: str) -> bytes:
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := await stream.receive_some():
            answer += chunk
    return answer


@pytest.fixture(params=EVERY_BIND)
def bind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A TCP and a unix bind."""
    return f"unix:{tmp_path / 'sock'}" if request.param == "unix" else request.param


async def test_serves_and_cleans_up(bind: str) -> None:
    """A request is answered without a server header, and nothing of a unix socket stays behind."""
    async with _served(_app, bind) as (bound, _stop):
        answer = await _get(await _connect(bound), "/")

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"ok")
    assert b"server:" not in answer.lower()
    assert not bound.startswith("unix:") or not Path(bound.removeprefix("unix:")).exists()


async def test_an_apps_error_is_a_500_in_the_journal() -> None:
    """What an application raises is told with its traceback, and the client gets a 500."""
    with journal.capture() as entries:
        async with _served(_app, "127.0.0.1:0") as (bound, _stop):
            answer = await _get(await _connect(bound), "/fail")

    assert answer.startswith(b"HTTP/1.1 500")
    assert any("broken handler" in str(entry) for entry in entries)


async def test_a_request_in_flight_is_finished() -> None:
    """The shutdown lets a request end that takes less than the grace."""
    answers: list[bytes] = []

    async def ask(bound: str) -> None:
        answers.append(await _get(await _connect(bound), "/slow"))

    async with trio.open_nursery() as nursery:
        async with _served(_app, "127.0.0.1:0") as (bound, stop):
            nursery.start_soon(ask, bound)
            await trio.sleep(0.1)
            stop.set()

    assert answers[0].endswith(b"ok")


@pytest.mark.parametrize("how", ["shutdown", "cancel"])
async def test_a_client_that_never_reads_cannot_hold_us(bind: str, how: str) -> None:
    """Neither an orderly shutdown nor a cancellation waits for a client that asked and does not read."""
    with trio.fail_after(10), trio.CancelScope() as everything:
        async with _served(_endless, bind, graceful_timeout=0.2) as (bound, stop):
            client = await _connect(bound)
            await client.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await client.receive_some(10)
            await trio.sleep(0.1)  # the server's buffers fill up
            if how == "cancel":
                everything.cancel()
            stop.set()
    await client.aclose()


async def test_garbage_ends_one_connection_only() -> None:
    """A client that speaks no HTTP does not end the server."""
    async with _served(_app, "127.0.0.1:0") as (bound, _stop):
        for garbage in (
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish" * 9,
            b"GET\r\n\r\n",
        ):
            stranger = await _connect(bound)
            await stranger.send_all(garbage)
            await stranger.aclose()

        assert (await _get(await _connect(bound), "/")).endswith(b"ok")


@pytest.mark.parametrize("when", ["nothing was asked", "asked", "answered", "idle"])
async def test_who_goes_is_not_waited_for(bind: str, when: str) -> None:
    """A client that says that it sends no more gets the answer that it still waits for, and its connection is closed at once.
    Kept until an idle one would be, connections of those who are gone add up to the most that there may be."""
    async with _served(_app, bind) as (bound, _), await _connect(bound) as stream:
        answer = b""
        if when != "nothing was asked":
            path = "/slow" if when == "asked" else "/"
            await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        while when in ("answered", "idle") and not answer.endswith(b"ok"):
            answer += await stream.receive_some()
        if when in ("nothing was asked", "idle"):
            await wait_all_tasks_blocked()
        with trio.fail_after(5):
            await stream.send_eof()
            while chunk := await stream.receive_some():
                answer += chunk
        assert answer[-2:] == (b"" if when == "nothing was asked" else b"ok")


async def test_an_inherited_socket_can_be_served_twice() -> None:
    """fd://N is duplicated, so that a restarted server finds it again."""
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        for _ in range(2):
            async with _served(_app, f"fd://{inherited.fileno()}") as (bound, _stop):
                assert (await _get(await _connect(bound), "/")).endswith(b"ok")
                assert bound == f"127.0.0.1:{inherited.getsockname()[1]}"


async def test_a_stale_unix_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    """The socket of a dead process gives way; one that answers is another server's."""
    place = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as former:
        former.bind(str(place))
        former.listen()
        with pytest.raises(OSError, match="in use"):
            await serve_asgi(_app, [f"unix:{place}"], shutdown_trigger=trio.sleep_forever)

    async with _served(_app, f"unix:{place}") as (bound, _stop):
        assert (await _get(await _connect(bound), "/")).endswith(b"ok")


async def test_tls(tmp_path: Path) -> None:
    """With files, every bind speaks TLS; a client that hangs in the handshake holds nothing up."""
    files = TlsFiles(tmp_path / "c.pem", tmp_path / "k.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(files.key), "-out", str(files.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(files.certificate))

    async with _served(_app, "127.0.0.1:0", tls=files, graceful_timeout=0.2) as (bound, _stop):
        silent = await _connect(bound)
        stream = trio.SSLStream(
            await _connect(bound), context, server_hostname="localhost", https_compatible=True
        )
        answer = await _get(stream, "/")

    assert answer.endswith(b"ok")
    await silent.aclose()


async def test_sockets_are_not_inherited() -> None:
    """No child process gets hold of a listening socket."""
    async with _served(_app, "127.0.0.1:0"):
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                listens = socket.socket(fileno=os.dup(number))
            except OSError:
                continue
            with listens:
                if listens.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    assert not os.get_inheritable(number)
