"""The transport over real sockets, and over streams that hang or break where it hurts."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
from telegram import InputFile
from telegram._utils.files import parse_file_input
from telegram.request import RequestData
from telegram.request._requestparameter import RequestParameter
from telegram_fakes import TOKEN, Answer, fake_telegram, fault, ok

from vpnd.runtime import metrics
from vpnd.runtime.held import HeldConnectionError, open_mark
from vpnd.telegram.errors import TransportFailure, TransportTimeout
from vpnd.telegram.proxied import ProxiedRequest
from vpnd.telegram.transport import IDLE_SECONDS, MAX_RESPONSE, DirectRequest


def data(**parameters: object) -> RequestData:
    return RequestData([RequestParameter.from_input(name, value) for name, value in parameters.items()])


async def post(request: DirectRequest, method: str, base: str, **options: Any) -> tuple[int, bytes]:
    return await request.do_request(f"{base}/bot{TOKEN}/{method}", "POST", data(chat_id=1), **options)


async def hang(_parameters: dict[str, str]) -> Answer:
    await trio.sleep_forever()


async def drop(_parameters: dict[str, str]) -> Answer:
    return None


async def test_a_connection_is_kept_and_used_again() -> None:
    """Calls one after the other share one connection; calls at once get their own."""
    async with fake_telegram() as fake:
        request = DirectRequest(fake.base)
        for _ in range(5):
            assert (await post(request, "sendMessage", fake.base))[0] == 200
        assert fake.connections == 1
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(post, request, "sendMessage", fake.base)
        assert fake.connections == 3
        await request.shutdown()


async def test_no_more_connections_than_places() -> None:
    """A call that finds all places taken waits, and is told when its pool timeout passes."""
    async with fake_telegram() as fake:
        fake.script["sendMessage"] = hang
        request = DirectRequest(fake.base, connections=2)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(post, request, "sendMessage", fake.base)
            await fake.until(lambda: len(fake.calls) == 2)
            with pytest.raises(TransportTimeout) as caught:
                await post(request, "getMe", fake.base, pool_timeout=0.01)
            assert not caught.value.maybe_sent
            nursery.cancel_scope.cancel()
        assert "free=2/2" in repr(request)


async def test_a_cancelled_call_closes_its_connection() -> None:
    """A connection with an unread answer on it is never used again."""
    async with fake_telegram() as fake:
        fake.script["sendMessage"] = hang
        request = DirectRequest(fake.base)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, request, "sendMessage", fake.base)
            await fake.until(lambda: len(fake.calls) == 1)
            nursery.cancel_scope.cancel()
        assert "idle=0 free=64/64" in repr(request)
        assert (await post(request, "getMe", fake.base))[0] == 200
        assert fake.connections == 2
        await request.shutdown()


class Sleepy(trio.abc.Stream):
    """A stream that hangs at one operation until it is cancelled."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(999 if self.at == "send" else 0)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep(999)
        return b""

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("at", ["send", "receive"])
@pytest.mark.parametrize("how", ["cancelled", "timeout"])
async def test_a_hung_stream_is_closed(autojump_clock: trio.testing.MockClock, at: str, how: str) -> None:
    """Wherever a call hangs, a cancellation or its timeout ends it, closes the stream and frees the place."""
    stream = Sleepy(at)

    async def connect(*_: object) -> trio.abc.Stream:
        return stream

    request = DirectRequest("http://127.0.0.1:1", connect=connect)
    if how == "cancelled":
        with trio.move_on_after(1):
            await post(request, "sendMessage", "http://127.0.0.1:1")
    else:
        with pytest.raises(TransportTimeout) as caught:
            await post(request, "sendMessage", "http://127.0.0.1:1")
        assert caught.value.maybe_sent is (at == "receive")
    assert stream.closed
    assert "idle=0 free=64/64" in repr(request)


async def test_a_hung_connect_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody waits longer for a connection than the connect timeout."""

    async def connect(*_: object) -> trio.abc.Stream:
        await trio.sleep(999)
        return Sleepy("send")

    with pytest.raises(TransportTimeout, match="no connection"):
        await post(DirectRequest("http://127.0.0.1:1", connect=connect), "getMe", "http://127.0.0.1:1")
    assert trio.current_time() < 10


class Replay(Sleepy):
    """A stream that answers once and is then broken, as a server's restart leaves it."""

    def __init__(self, breaks: str, log: list[str]) -> None:
        super().__init__("")
        self.breaks = breaks
        self.log = log
        self.requests = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.requests += 1
        if self.requests > 1 and self.breaks == "write":
            raise trio.BrokenResourceError
        self.log.append(bytes(data).split()[1].decode().rpartition("/")[2])

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.requests > 1:
            if self.breaks == "half":
                self.breaks = "eof"
                return b"HTTP/1.1 200 OK\r\nContent-Le"
            return b""
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def two_connections(breaks: str, log: list[str]) -> Callable[..., object]:
    streams = [Replay(breaks, log), Replay("", log)]

    async def connect(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return streams.pop(0)

    return connect


@pytest.mark.parametrize(
    ("method", "breaks", "repeated"),
    [
        ("getUpdates", "eof", True),
        ("sendMessage", "eof", False),
        ("sendMessage", "write", True),
        ("getUpdates", "half", False),
    ],
)
async def test_a_stale_connection_is_replaced_only_when_nothing_can_happen_twice(
    method: str, breaks: str, repeated: bool
) -> None:
    """A call moves to a fresh connection if it only reads, or never left; a send that may have arrived is never repeated."""
    log: list[str] = []
    request = DirectRequest("http://127.0.0.1:1", connect=two_connections(breaks, log))  # type: ignore[arg-type]  # a fake
    await post(request, "getMe", "http://127.0.0.1:1")
    if repeated:
        assert (await post(request, method, "http://127.0.0.1:1"))[0] == 200
        assert log.count(method) == (1 if breaks == "write" else 2)
    else:
        with pytest.raises(TransportFailure) as caught:
            await post(request, method, "http://127.0.0.1:1")
        assert caught.value.maybe_sent
        assert log.count(method) == 1


async def test_a_closed_idle_connection_is_noticed_before_it_is_used() -> None:
    """A send is not lost to a connection that the server closed while it was idle."""
    async with fake_telegram() as fake:
        request = DirectRequest(fake.base)
        assert (await post(request, "sendMessage", fake.base))[0] == 200
        idle = request._idle[0].stream
        assert isinstance(idle, trio.SocketStream)
        idle.socket.shutdown(trio.socket.SHUT_RD)  # as if the peer had said farewell
        assert (await post(request, "sendMessage", fake.base))[0] == 200
        assert fake.connections == 2
        await request.shutdown()


async def test_what_a_burst_has_opened_is_closed_again() -> None:
    """Idle connections that nobody has used for long are closed by the next call, also behind one that is used all the time."""
    async with fake_telegram() as fake:
        request = DirectRequest(fake.base)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(post, request, "sendMessage", fake.base)
        assert "idle=8 " in repr(request)
        for connection in request._idle[:-1]:
            connection.idle_since -= IDLE_SECONDS + 1
        assert (await post(request, "sendMessage", fake.base))[0] == 200
        assert "idle=1 free=64/64" in repr(request)
        assert fake.connections == 8
        await request.shutdown()


async def test_an_endless_answer_is_cut() -> None:
    """An answer longer than the bound is refused, not kept in memory."""

    async def flood(_: dict[str, str]) -> Answer:
        return 200, b"x" * (MAX_RESPONSE + 1)

    async with fake_telegram() as fake:
        fake.script["getMe"] = flood
        with pytest.raises(TransportFailure, match="longer"):
            await post(DirectRequest(fake.base), "getMe", fake.base)


async def test_no_error_tells_the_token() -> None:
    """Whatever fails, the URL with the token is not in the error."""
    async with fake_telegram() as fake:
        fake.script["sendMessage"] = drop
        with pytest.raises(TransportFailure) as caught:
            await post(DirectRequest(fake.base), "sendMessage", fake.base)
    text = repr(caught.value) + str(caught.value)
    assert TOKEN not in text
    assert "bot" not in text
    with pytest.raises(TransportFailure) as refused:
        await post(DirectRequest(fake.base), "sendMessage", fake.base)  # nobody listens any more
    assert not refused.value.maybe_sent
    with pytest.raises(TransportFailure) as foreign:
        await post(DirectRequest(fake.base), "sendMessage", "http://127.0.0.1:2")
    assert TOKEN not in str(foreign.value)


async def test_no_call_while_a_connection_is_held() -> None:
    """A transaction scope and a call of the Bot API exclude each other."""
    request = DirectRequest("http://127.0.0.1:1")
    with open_mark("test"), pytest.raises(HeldConnectionError):
        await post(request, "getMe", "http://127.0.0.1:1")


async def test_calls_are_timed_and_counted() -> None:
    """Each call stands in the HTTP client's metrics under its method and outcome."""

    def count(outcome: str) -> float:
        labels = {"boundary": "telegram", "operation": "sendDice", "outcome": outcome}
        name = "vpnd_http_client_request_duration_seconds_count"
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    async def refuse(_: dict[str, str]) -> Answer:
        return fault(400, "Bad Request")

    async with fake_telegram() as fake:
        request = DirectRequest(fake.base)
        before = count("ok"), count("4xx")
        await post(request, "sendDice", fake.base)
        fake.script["sendDice"] = refuse
        assert (await post(request, "sendDice", fake.base))[0] == 400
        assert (count("ok"), count("4xx")) == (before[0] + 1, before[1] + 1)
        await request.shutdown()


async def test_files_go_as_multipart() -> None:
    """A photo arrives whole, beside its parameters."""
    async with fake_telegram() as fake:

        async def take(parameters: dict[str, str]) -> Answer:
            body = parameters["_multipart"]
            assert 'name="caption"\r\n\r\nTšst'.encode().decode("latin-1") in body
            assert 'filename="qr.png"' in body
            assert "\r\n\r\n\x89PNG\r\n\x00\xff\r\n--" in body
            return ok(True)

        fake.script["sendPhoto"] = take
        photo = parse_file_input(InputFile(b"\x89PNG\r\n\x00\xff", filename="qr.png"))
        request = DirectRequest(fake.base)
        body = data(chat_id=1, caption="Tšst", photo=photo)
        answer = await request.do_request(f"{fake.base}/bot{TOKEN}/sendPhoto", "POST", body)
        assert answer[0] == 200
        await request.shutdown()


def test_plain_http_stays_on_this_machine() -> None:
    """The token does not travel in the clear."""
    for base in ("http://example.org", "ftp://127.0.0.1", "nonsense"):
        with pytest.raises(ValueError, match="Bot API"):
            DirectRequest(base)
    context = DirectRequest("https://example.org")._context
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_a_proxy_is_used_under_the_same_guards() -> None:
    """Behind a proxy, PTB's own transport runs on trio, under our errors and our rule about held connections."""
    url = f"http://telegram.invalid/bot{TOKEN}/getMe"
    async with fake_telegram() as fake:
        request = ProxiedRequest(fake.base)
        await request.initialize()
        assert (await request.do_request(url, "POST", data(chat_id=1)))[0] == 200
        with open_mark("test"), pytest.raises(HeldConnectionError):
            await request.do_request(url, "POST")
        fake.script["getMe"] = drop
        with pytest.raises(TransportFailure) as caught:
            await request.do_request(url, "POST", data(chat_id=1))
        assert caught.value.maybe_sent
        assert TOKEN not in str(caught.value)
        fake.script["getMe"] = hang
        with pytest.raises(TransportTimeout):
            await request.do_request(url, "POST", data(chat_id=1), read_timeout=0.01)
        await request.shutdown()
    request = ProxiedRequest(fake.base)  # nobody listens there any more
    await request.initialize()
    with pytest.raises(TransportFailure) as refused:
        await request.do_request(url, "POST")
    assert not refused.value.maybe_sent
    await request.shutdown()
