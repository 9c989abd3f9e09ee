"""Outgoing HTTP against real sockets on loopback: limits, deadlines, ceilings, errors, pinned certificates."""

from __future__ import annotations

import gzip
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import h11
import httpx
import pytest
import trio
from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vpnd.runtime import metrics
from vpnd.runtime.held import HeldConnectionError, open_mark
from vpnd.runtime.http import (
    FingerprintMismatch,
    HttpBadBody,
    HttpBusy,
    HttpClient,
    HttpError,
    HttpResponse,
    HttpTimeout,
    HttpUnavailable,
    open_http_client,
    pinned_context,
)
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import LimitClass, Limits, as_class

BOT = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
Answer = tuple[int, list[tuple[str, str]], bytes]


@define
class Peer:
    """A small HTTP/1.1 server; it answers by path and notes what it saw."""

    routes: dict[str, Callable[[h11.Request, bytes], Answer]]
    port: int = 0
    tls: ssl.SSLContext | None = None
    requests: list[tuple[h11.Request, bytes]] = field(factory=list)
    connections: int = 0
    plain_bytes: int = 0
    release: trio.Event = field(factory=trio.Event)
    hanging: trio.Event = field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            async with stream:
                await self._talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, ssl.SSLError):
            pass  # a client that leaves in the middle is what half of these tests are about

    async def _talk(self, stream: trio.abc.Stream) -> None:
        connection, request, body = h11.Connection(h11.SERVER), None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await stream.receive_some(65536)
                self.plain_bytes += len(data)
                connection.receive_data(bytes(data))
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                self.requests.append((request, body))
                if not await self._answer(stream, connection, request, body):
                    return
                connection.start_next_cycle()
            else:
                return

    async def _answer(
        self, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request, body: bytes
    ) -> bool:
        path = request.target.decode().partition("?")[0]
        if path == "/hang":
            self.hanging.set()
            await self.release.wait()
            return False
        if path == "/half":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            return False
        if path == "/garbage":
            await stream.send_all(b"\x00\x01 not http\r\n\r\n")
            return False
        if path == "/drip":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            await self.release.wait()
            return False
        status, headers, payload = self.routes[path](request, body)
        headers = [*headers, ("content-length", str(len(payload)))]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=payload),
            h11.EndOfMessage(),
        ):
            await stream.send_all(connection.send(event) or b"")
        return True


def answers(
    status: int = 200, body: bytes = b"{}", *headers: tuple[str, str]
) -> Callable[[h11.Request, bytes], Answer]:
    return lambda _request, _body: (status, list(headers), body)


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext | None = None, **routes: Callable[[h11.Request, bytes], Answer]
) -> AsyncIterator[Peer]:
    peer = Peer({f"/{name}": route for name, route in routes.items()}, tls=tls)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, peer.serve, 0, host="127.0.0.1"))
        peer.port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(30):
            yield peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(
    total: int = 5, *, wait: float = 0.05, slow_after: float = 2.0
) -> AsyncIterator[tuple[HttpClient, Limits]]:
    limits = Limits(5, total, acquire_timeout=wait)
    async with open_http_client(limits, slow_after=slow_after) as client:
        yield client, limits


def counted(boundary: str, outcome: str, operation: str = "ask") -> float:
    labels = {"boundary": boundary, "operation": operation, "outcome": outcome}
    return metrics.REGISTRY.get_sample_value("vpnd_http_client_request_duration_seconds_count", labels) or 0.0


async def test_request_and_answer() -> None:
    """Method, query, headers and JSON arrive; status, headers and body come back."""
    async with (
        serving(echo=answers(201, b'{"a": [1, 2]}', ("X-Kind", "test"))) as peer,
        opened() as (client, _),
    ):
        before = counted("echo", "ok")
        answer = await client.request(
            "echo",
            "ask",
            "POST",
            peer.url + "/echo",
            deadline=10,
            params={"q": "ü"},
            headers={"X-Own": "1"},
            json={"k": "ж"},
        )

        assert (answer.status, answer.ok, answer.json()) == (201, True, {"a": [1, 2]})
        assert answer.headers["x-kind"] == "test"
        request, body = peer.requests[0]
        sent = dict(request.headers)
        assert request.target == b"/echo?q=%C3%BC"
        assert body == '{"k":"ж"}'.encode()
        assert (sent[b"x-own"], sent[b"content-type"], sent[b"accept-encoding"]) == (
            b"1",
            b"application/json",
            b"identity",
        )
        assert sent[b"user-agent"].startswith(b"vpnd/")
        assert counted("echo", "ok") == before + 1


async def test_connection_is_kept() -> None:
    """Requests to one peer share a connection."""
    async with serving(ok=answers()) as peer, opened() as (client, _):
        for _ in range(3):
            await client.request("kept", "ask", "GET", peer.url + "/ok", deadline=10)
        assert (peer.connections, len(peer.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("status", "outcome"), [(404, "4xx"), (429, "4xx"), (500, "5xx"), (503, "5xx"), (302, "ok")]
)
async def test_a_status_is_an_answer(status: int, outcome: str) -> None:
    """Error codes and redirects are returned, not raised, not followed, and counted by class."""
    async with (
        serving(x=answers(status, b"no json", ("Location", "/elsewhere"))) as peer,
        opened() as (client, _),
    ):
        before = counted("status", outcome)
        answer = await client.request("status", "ask", "GET", peer.url + "/x", deadline=10)

        assert (answer.status, answer.ok) == (status, False)
        assert len(peer.requests) == 1
        assert counted("status", outcome) == before + 1
        with pytest.raises(HttpBadBody, match=f"status {status}"):
            answer.json()


async def test_cookies_are_not_kept() -> None:
    """A peer cannot make us carry its cookies."""
    async with serving(x=answers(200, b"{}", ("Set-Cookie", "a=b; Path=/"))) as peer, opened() as (client, _):
        for _ in range(2):
            await client.request("cookie", "ask", "GET", peer.url + "/x", deadline=10)
        assert b"cookie" not in dict(peer.requests[1][0].headers)


@pytest.mark.parametrize("path", ["/hang", "/drip"])
async def test_deadline_covers_the_whole_answer(path: str) -> None:
    """A peer that is silent, or stops in the middle of a body, costs no more than the deadline and leaves no place taken."""
    async with serving() as peer, opened() as (client, limits):
        before = counted("slow", "timeout")
        with pytest.raises(HttpTimeout, match="slow ask: no whole answer"):
            await client.request("slow", "ask", "GET", peer.url + path, deadline=0.05)

        assert counted("slow", "timeout") == before + 1
        assert limits.statistics().http.borrowed == 0


@pytest.mark.parametrize("path", ["/half", "/garbage"])
async def test_broken_answer_is_unavailable(path: str) -> None:
    """A connection cut in the middle or a peer that does not speak HTTP is 'unavailable', never an empty answer."""
    async with serving() as peer, opened() as (client, _):
        before = counted("broken", "unavailable")
        with pytest.raises(HttpUnavailable):
            await client.request("broken", "ask", "GET", peer.url + path, deadline=10)
        assert counted("broken", "unavailable") == before + 1


async def test_refused_connection_is_unavailable_and_keeps_the_url_to_itself() -> None:
    """Nobody listening is 'unavailable', and neither the error nor its chain shows the token in the URL."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with opened() as (client, _):
            with pytest.raises(HttpUnavailable) as refusal:
                await client.request(
                    "tg", "getMe", "GET", f"http://127.0.0.1:{port}/bot{BOT}/getMe", deadline=10
                )

    assert (refusal.value.boundary, refusal.value.operation) == ("tg", "getMe")
    assert "AAzQ" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("url", ["http://", "nonsense", "http://a b/", "ftp://127.0.0.1/x"])
async def test_impossible_url_is_an_error_of_ours(url: str) -> None:
    """A URL that cannot be asked raises our own error like everything else."""
    async with opened() as (client, _):
        with pytest.raises(HttpError):
            await client.request("bad", "ask", "GET", url, deadline=10)


async def test_busy_limiter_refuses_before_anything_is_sent() -> None:
    """With every place taken, a request gives up after the bounded wait, is counted as busy, and the peer never hears of it."""
    async with serving(ok=answers()) as peer, opened(1) as (client, limits):
        before = counted("busy", "busy")
        async with limits.http():
            with pytest.raises(HttpBusy, match="no http place"):
                await client.request("busy", "ask", "GET", peer.url + "/ok", deadline=10)
        assert peer.requests == []
        assert counted("busy", "busy") == before + 1
        assert (await client.request("busy", "ask", "GET", peer.url + "/ok", deadline=10)).ok


async def test_deadline_starts_after_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Time spent waiting for a place does not eat the deadline: 6 s of waiting and 4 s of work pass under 5 s."""

    async def answer_after_4_s(_request: httpx.Request) -> httpx.Response:
        await trio.sleep(4)
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    async def hold(limits: Limits, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with limits.http():
            task_status.started()
            await trio.sleep(6)

    async with opened(1, wait=20) as (client, limits), trio.open_nursery() as nursery:
        client._default._client = httpx.AsyncClient(transport=httpx.MockTransport(answer_after_4_s))
        await nursery.start(hold, limits)
        started = trio.current_time()
        assert (await client.request("late", "ask", "GET", "http://peer/", deadline=5)).ok
        assert trio.current_time() - started == pytest.approx(10)


async def test_class_of_the_task_is_used() -> None:
    """A request stands under its task's class unless told: a worker's waits although a handler's place is free."""
    async with serving(ok=answers()) as peer, opened(6) as (client, limits):
        async with limits.http(LimitClass.WORKER):
            with as_class(LimitClass.WORKER), pytest.raises(HttpBusy):
                await client.request("class", "ask", "GET", peer.url + "/ok", deadline=10)
            assert (await client.request("class", "ask", "GET", peer.url + "/ok", deadline=10)).ok


async def test_refused_inside_a_transaction_scope() -> None:
    """No request may wait while a database connection is held."""
    async with serving(ok=answers()) as peer, opened() as (client, _):
        with open_mark("a scope"), pytest.raises(HeldConnectionError, match="cryptopay"):
            await client.request("cryptopay", "ask", "GET", peer.url + "/ok", deadline=10)
        assert peer.requests == []


async def test_cancellation_propagates_and_is_counted() -> None:
    """A cancelled request ends at once, gives its place back, and does not count as a timeout."""
    async with serving(ok=answers()) as peer, opened(1) as (client, limits):
        cancelled, timeouts = counted("cut", "cancelled"), counted("cut", "timeout")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.request, "cut", "ask", "GET", peer.url + "/hang", deadline=25))
            await peer.hanging.wait()
            nursery.cancel_scope.cancel()

        assert (counted("cut", "cancelled"), counted("cut", "timeout")) == (cancelled + 1, timeouts)
        assert limits.statistics().http.borrowed == 0
        assert (await client.request("cut", "ask", "GET", peer.url + "/ok", deadline=10)).ok


@pytest.mark.parametrize("packed", [False, True])
async def test_body_has_a_ceiling(packed: bool) -> None:
    """A body over the ceiling is refused, be it large on the wire or only after decompression."""
    body = b"x" * 2_000_000
    route = answers(200, gzip.compress(body), ("Content-Encoding", "gzip")) if packed else answers(200, body)
    async with serving(big=route) as peer, opened() as (client, _):
        with pytest.raises(HttpBadBody, match="larger than 1000000 bytes"):
            await client.request("big", "ask", "GET", peer.url + "/big", deadline=10, max_body=1_000_000)
        whole = await client.request("big", "ask", "GET", peer.url + "/big", deadline=10, max_body=2_000_000)
        assert whole.body == body


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_unreadable_encodings_are_refused(encoding: str) -> None:
    """A body in an encoding we do not read, or that is not what it says, is an error and not garbage."""
    async with (
        serving(x=answers(200, b"\x01\x02", ("Content-Encoding", encoding))) as peer,
        opened() as (client, _),
    ):
        with pytest.raises(HttpBadBody, match=encoding):
            await client.request("enc", "ask", "GET", peer.url + "/x", deadline=10)


async def test_slow_call_is_reported_with_its_tag() -> None:
    """A call over the line is said once, with the audit's tag, boundary, operation and duration."""
    async with serving(ok=answers()) as peer, opened(slow_after=0.0) as (client, _):
        with capture() as said:
            await client.request("sluggish", "ask", "GET", peer.url + f"/ok?token={BOT}", deadline=10)

    slow = [entry for entry in said if entry.event == "http.slow"]
    assert len(slow) == 1
    assert slow[0].sentence.startswith("[HTTP_SLOW] boundary=sluggish operation=ask outcome=ok duration=")
    assert "AAzQ" not in repr(said)


def test_deeply_nested_json_is_refused() -> None:
    """A body made to exhaust the parser is a bad body."""
    with pytest.raises(HttpBadBody):
        HttpResponse(200, {}, b"[" * 200_000).json()


def test_response_does_not_show_its_body() -> None:
    """A response that gets into a log line shows neither body nor headers."""
    assert "secret" not in repr(HttpResponse(200, {"x": "secret"}, b"secret"))


# --- pinned certificates ---------------------------------------------------------------------------------------------------


@define
class Identity:
    """A self-signed certificate and the server context that presents it."""

    context: ssl.SSLContext
    fingerprint: str


def make_identity(directory: Path, name: str, *, authority: bool = False) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Identity(context, hashlib.sha256(der).hexdigest())


def with_colons(fingerprint: str) -> str:
    return "SHA256:" + ":".join(fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()


@pytest.mark.parametrize("authority", [False, True])
async def test_pinned_peer_is_spoken_to(tmp_path: Path, authority: bool) -> None:
    """A self-signed peer with the pinned certificate is trusted, in whatever spelling the fingerprint came."""
    identity = make_identity(tmp_path, "node", authority=authority)
    async with serving(identity.context, ok=answers()) as peer, opened() as (client, _):
        pin = partial(pinned_context, "127.0.0.1", peer.port, with_colons(identity.fingerprint))
        client.add_origin("node", pin)
        for _ in range(2):
            assert (
                await client.request("node", "ask", "GET", peer.url + "/ok", deadline=10, origin="node")
            ).ok

        assert peer.connections == 2, "one to pin, one kept for both requests"
        with pytest.raises(ValueError, match="exists already"):
            client.add_origin("node", pin)


async def test_stranger_gets_no_byte(tmp_path: Path) -> None:
    """A peer with another certificate is refused before a byte of a request is sent, and the next request asks again."""
    stranger, node = make_identity(tmp_path, "stranger"), make_identity(tmp_path, "node")
    async with serving(stranger.context, ok=answers()) as peer, opened() as (client, limits):
        before = counted("node", "unavailable")
        client.add_origin("node", partial(pinned_context, "127.0.0.1", peer.port, node.fingerprint))
        with pytest.raises(FingerprintMismatch, match=stranger.fingerprint) as refusal:
            await client.request(
                "node", "ask", "POST", peer.url + "/ok", deadline=10, origin="node", json={"token": "x"}
            )

        assert (refusal.value.boundary, refusal.value.operation) == ("node", "ask")
        assert counted("node", "unavailable") == before + 1
        peer.tls = node.context
        assert (await client.request("node", "ask", "GET", peer.url + "/ok", deadline=10, origin="node")).ok
        assert len(peer.requests) == 1
        assert limits.statistics().http.borrowed == 0


async def test_certificate_changed_after_pinning_gets_no_byte(tmp_path: Path) -> None:
    """A peer that shows another certificate after it was pinned fails in TLS, unseen by HTTP; then it is pinned anew."""
    stranger, node = make_identity(tmp_path, "stranger"), make_identity(tmp_path, "node")
    async with serving(node.context, ok=answers()) as peer, opened() as (client, _):

        async def pin_then_swap() -> ssl.SSLContext:
            context = await pinned_context("127.0.0.1", peer.port, node.fingerprint)
            peer.tls = stranger.context
            return context

        client.add_origin("node", pin_then_swap)
        with pytest.raises(HttpUnavailable):
            await client.request(
                "node", "ask", "GET", peer.url + "/ok", deadline=10, origin="node", headers={"X": "secret"}
            )
        assert (peer.requests, peer.plain_bytes) == ([], 0)

        with pytest.raises(FingerprintMismatch):
            await client.request("node", "ask", "GET", peer.url + "/ok", deadline=10, origin="node")
        assert (peer.requests, peer.plain_bytes) == ([], 0)


async def test_unpinned_self_signed_peer_is_refused(tmp_path: Path) -> None:
    """Without a pin, the system's trust store decides, and a self-signed peer is a stranger."""
    identity = make_identity(tmp_path, "node")
    async with serving(identity.context, ok=answers()) as peer, opened() as (client, _):
        with pytest.raises(HttpUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.request("node", "ask", "GET", peer.url + "/ok", deadline=10)
        assert peer.requests == []


async def test_pinning_fails_in_our_own_words(tmp_path: Path) -> None:
    """No TLS, no listener, no answer in time, a senseless fingerprint: each is its own clear error."""
    good = "ab" * 32
    async with serving() as peer:
        with pytest.raises(HttpUnavailable, match="tls pin"):
            await pinned_context("127.0.0.1", peer.port, good)
    with pytest.raises(HttpUnavailable, match="tls pin"):
        await pinned_context("127.0.0.1", peer.port, good)
    for senseless in ("", "ab", "zz" * 32, good + "ab"):
        with pytest.raises(ValueError, match="64 hex digits"):
            await pinned_context("127.0.0.1", 1, senseless)

    async def mute(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, mute, 0, host="127.0.0.1"))
        with pytest.raises(HttpTimeout, match="no certificate"):
            await pinned_context("127.0.0.1", listeners[0].socket.getsockname()[1], good, timeout=0.05)
        nursery.cancel_scope.cancel()


async def test_a_dropped_origin_is_unavailable_and_its_name_free() -> None:
    """Whoever still asks a peer that was dropped gets an error of ours; another peer may have the name."""
    async with opened() as (client, _):
        client.add_origin("node", ssl.create_default_context())
        await client.drop_origin("node")
        await client.drop_origin("node")
        with pytest.raises(HttpUnavailable, match="no longer known"):
            await client.request("node", "ask", "GET", "https://127.0.0.1:1/", deadline=1, origin="node")
        client.add_origin("node", ssl.create_default_context())
