"""What lies behind the VPN in a sandbox: a page, a download that never ends, and a site for REALITY to borrow.

All of it on the loopback address, speaking just enough HTTP. The endless download is how one sees that a customer was
cut off: it ends. Over TLS 1.3 it makes the core hand bytes through at the lowest level, where a cut is hardest.
"""

import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: What the page holds.
PAGE: Final = b"You are behind the VPN.\n" + b"." * 100_000
#: What a stranger who knocks at a REALITY inbound gets to see.
DECOY_PAGE: Final = b"An ordinary site.\n"
#: The name the decoy answers to.
DECOY_NAME: Final = "www.example.com"
_DRIP: Final = b"drip" * 1024
#: Seconds between two drips.
_DRIP_INTERVAL: Final = 0.02

Handler = Callable[[trio.abc.Stream], Coroutine[Any, Any, None]]


@attrs.frozen
class Targets:
    """Where the targets listen, all on 127.0.0.1, and the certificate that the TLS ones show."""

    http_port: int
    https_port: int
    decoy_port: int
    certificate: Path
    private_key: Path

    @property
    def page_url(self) -> str:
        """A page of `PAGE`."""
        return f"http://127.0.0.1:{self.http_port}/"

    @property
    def drip_url(self) -> str:
        """A download that never ends, in plain HTTP."""
        return f"http://127.0.0.1:{self.http_port}/drip"

    @property
    def secure_drip_url(self) -> str:
        """A download that never ends, over TLS 1.3."""
        return f"https://127.0.0.1:{self.https_port}/drip"

    @property
    def decoy(self) -> str:
        """The ``target`` for a REALITY inbound, whose ``sni`` is `DECOY_NAME`."""
        return f"127.0.0.1:{self.decoy_port}"


@contextlib.asynccontextmanager
async def open_targets(folder: Path) -> AsyncIterator[Targets]:
    """Serve all targets while the context lasts; their certificate is made in `folder`."""
    certificate, private_key = await trio.to_thread.run_sync(make_certificate, DECOY_NAME, folder)
    context = await trio.to_thread.run_sync(_server_context, certificate, private_key)
    async with trio.open_nursery() as nursery:
        http_port = await nursery.start(_serve, _page)
        https_port = await nursery.start(_serve, partial(_over_tls, context, _page))
        decoy_port = await nursery.start(_serve, partial(_over_tls, context, _decoy))
        yield Targets(http_port, https_port, decoy_port, certificate, private_key)
        nursery.cancel_scope.cancel()


def make_certificate(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate for `name` that is its own authority, and return the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private_key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private_key.touch(mode=0o600)
    private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private_key


def _server_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # REALITY borrows the handshake of a TLS 1.3 site that speaks HTTP/2.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, private_key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def _serve(handler: Handler, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(int(listeners[0].socket.getsockname()[1]))

    async def survive(stream: trio.abc.Stream) -> None:
        # A client that goes away is what these targets are for.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            await handler(stream)

    await trio.serve_listeners(survive, listeners)


async def _over_tls(context: ssl.SSLContext, handler: Handler, stream: trio.abc.Stream) -> None:
    await handler(trio.SSLStream(stream, context, server_side=True, https_compatible=True))


async def _request_line(stream: trio.abc.Stream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        piece = await stream.receive_some(4096)
        if not piece:
            return b""
        head += piece
    return head.partition(b"\r\n")[0]


async def _page(stream: trio.abc.Stream) -> None:
    line = await _request_line(stream)
    if line.startswith(b"GET /drip"):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await stream.send_all(_DRIP)
            await trio.sleep(_DRIP_INTERVAL)
    if line:
        await _answer(stream, PAGE)


async def _decoy(stream: trio.abc.Stream) -> None:
    if await _request_line(stream):
        await _answer(stream, DECOY_PAGE)


async def _answer(stream: trio.abc.Stream, body: bytes) -> None:
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await stream.aclose()
