"""Outgoing HTTP: one way out, bounded, timed, counted, and never while a database connection is held.

A request waits for a place under the HTTP limiter (bounded, measured apart), and only then does its deadline
start: the deadline covers everything from the name look-up to the last byte of the body. Bodies are read in
pieces up to a ceiling, redirects are not followed, cookies are not kept, the environment's proxies and
``.netrc`` are not read: the other side does not get to decide where we go or how much memory it costs.

Callers name a *boundary* (who is called: ``"cryptopay"``) and an *operation* (what for: ``"get_invoices"``).
Both become metric labels and stand in every error; the URL's path and query do not, since they are where
tokens live.

An *origin* is a named peer with a TLS context and a connection pool of its own. :func:`pinned_context` makes
such a context for a node whose certificate is known by its SHA-256 only.
"""

from __future__ import annotations

import json as json_module
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
import trio
from attrs import frozen

from vpnd import __version__
from vpnd.runtime import metrics, observations
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.http_answers import (
    FingerprintMismatch,
    HttpBadBody,
    HttpBusy,
    HttpError,
    HttpResponse,
    HttpTimeout,
    HttpUnavailable,
)
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, Limits, LimitWaitTimeout
from vpnd.runtime.pinning import fetch_certificate, fingerprint_of, parse_fingerprint, trusting_only

__all__ = [
    "FingerprintMismatch",
    "HttpBadBody",
    "HttpBusy",
    "HttpClient",
    "HttpError",
    "HttpResponse",
    "HttpTimeout",
    "HttpUnavailable",
    "open_http_client",
    "pinned_context",
]

# Largest body that is read into memory, bytes.
DEFAULT_MAX_BODY: Final = 8 * 1024 * 1024
# The audit's line for a call that is worth a word, seconds.
SLOW_AFTER: Final = 2.0
# An idle connection is given up before common servers do it (hypercorn after 5 s), so that a request seldom
# meets a connection the peer is just closing.
_KEEP_ALIVE: Final = 4.0  # seconds
_PIN_TIMEOUT: Final = 5.0  # seconds, the ceiling of every call to a node

_journal = get_journal("http")

ContextSource = ssl.SSLContext | Callable[[], Awaitable[ssl.SSLContext]]


class _Origin:
    """One named peer: a TLS context, got when first needed, and the httpx client that keeps its connections."""

    def __init__(self, source: ContextSource, build: Callable[[ssl.SSLContext], httpx.AsyncClient]) -> None:
        self._source = source
        self._build = build
        self._client: httpx.AsyncClient | None = None
        self._lock = trio.Lock()

    async def client(self) -> httpx.AsyncClient:
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    source = self._source
                    context = source if isinstance(source, ssl.SSLContext) else await source()
                    self._client = self._build(context)
        return self._client

    def forget(self, client: httpx.AsyncClient) -> httpx.AsyncClient | None:
        """Have the context made anew for the next request, if ``client`` is still the one in use and it can be made anew."""
        if client is not self._client or isinstance(self._source, ssl.SSLContext):
            return None
        self._client = None
        return client

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class HttpClient:
    """The process's HTTP client; built by :func:`open_http_client`."""

    def __init__(
        self, limits: Limits, context: ssl.SSLContext, *, user_agent: str, slow_after: float = SLOW_AFTER
    ) -> None:
        self._limits = limits
        self._user_agent = user_agent
        self._slow_after = slow_after
        self._default = _Origin(context, self._build)
        self._origins: dict[str, _Origin] = {}

    def add_origin(self, name: str, ssl_context: ContextSource) -> None:
        """Name a peer that is spoken to with a TLS context of its own.

        Args:
            name: what requests say as ``origin``.
            ssl_context: the context, or an async function that makes it (``partial(pinned_context, host,
                port, fingerprint)``). The function is called by the first request, under its deadline, and
                again after a failed certificate verification; its failure is that request's failure and is
                not remembered.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._origins:
            raise ValueError(f"the origin {name!r} exists already")
        self._origins[name] = _Origin(ssl_context, self._build)

    async def drop_origin(self, name: str) -> None:
        """Forget a named peer and close its connections; who still asks it gets HttpUnavailable. An unknown name is no fault."""
        peer = self._origins.pop(name, None)
        if peer is not None:
            await peer.aclose()

    async def request(
        self,
        boundary: str,
        operation: str,
        method: str,
        url: str,
        *,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        origin: str | None = None,
        max_body: int = DEFAULT_MAX_BODY,
        cls: LimitClass | None = None,
    ) -> HttpResponse:
        """Send one request and return its whole answer, whatever its status.

        Args:
            boundary: who is called, a metric label.
            operation: what for, a metric label; one of a few names, never data.
            method: ``GET``, ``POST`` …
            url: absolute; its path and query never reach a log or an error.
            deadline: seconds from the moment a place was got to the last byte.
            headers: more headers.
            params: query parameters.
            json: a value sent as a JSON body (None: no body).
            content: a raw body, instead of ``json``.
            origin: the named peer, see :meth:`add_origin`; the system's trust store otherwise.
            max_body: most bytes of a body, after decompression.
            cls: the limiter class; the task's current one unless given.

        Raises:
            HeldConnectionError: a transaction scope is open in this task.
            HttpBusy: no place in time; nothing was sent.
            HttpTimeout: the deadline passed.
            HttpUnavailable: no connection, or it broke; FingerprintMismatch if the peer is a stranger.
            HttpBadBody: the body is too large or cannot be decompressed.

        Cancellation propagates at once; the connection is closed, not returned to the pool, and the request
        is counted.
        """
        refuse_if_held(f"an HTTP request to {boundary} ({operation})")
        peer = self._default if origin is None else self._origins.get(origin)
        if peer is None:
            raise HttpUnavailable(boundary, operation, f"the origin {origin!r} is no longer known")
        sending = _Sending(boundary, operation, max_body)
        body, sent = content, dict(headers or {})
        if json is not None:
            body = _encode(json)
            sent.setdefault("Content-Type", "application/json")
        try:
            async with self._limits.http(cls):
                return await self._timed(
                    sending, deadline, lambda: sending.exchange(peer, method, url, params, sent, body)
                )
        except LimitWaitTimeout as error:
            sending.count(HttpBusy.outcome, 0.0)
            raise HttpBusy(boundary, operation, str(error)) from None

    async def _timed(
        self, sending: _Sending, deadline: float, exchange: Callable[[], Awaitable[HttpResponse]]
    ) -> HttpResponse:
        """Run one exchange under its deadline, and count it under the outcome it had, cancellation included."""
        started = trio.current_time()
        outcome = HttpError.outcome
        try:
            with trio.move_on_after(deadline):
                response = await exchange()
                outcome = _outcome_of(response.status)
                return response
            raise HttpTimeout(sending.boundary, sending.operation, f"no whole answer within {deadline:g} s")
        except HttpError as error:
            outcome = error.outcome
            raise
        except trio.Cancelled:
            outcome = "cancelled"
            raise
        finally:
            self._measured(sending, outcome, trio.current_time() - started, deadline)

    def _measured(self, sending: _Sending, outcome: str, took: float, deadline: float) -> None:
        sending.count(outcome, took)
        observations.HTTP_CALL.note(took, sending.boundary, sending.operation)
        observations.HTTP_CEILING.note(took, sending.boundary, sending.operation, deadline)
        if took > self._slow_after:
            metrics.http_client_slow_total.labels(sending.boundary).inc()
            _journal.warning(
                "http.slow",
                f"boundary={sending.boundary} operation={sending.operation} outcome={outcome} duration={took:.2f}s",
                tag="[HTTP_SLOW]",
                boundary=sending.boundary,
                operation=sending.operation,
                outcome=outcome,
                duration=round(took, 3),
            )

    def _build(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the deadline is trio's, around the whole exchange
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=20, keepalive_expiry=_KEEP_ALIVE
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
        )

    async def _aclose(self) -> None:
        for peer in (self._default, *self._origins.values()):
            await peer.aclose()


@frozen
class _Sending:
    """One request on its way; the only place where httpx's words are translated into ours."""

    boundary: str
    operation: str
    max_body: int

    def count(self, outcome: str, took: float) -> None:
        metrics.http_client_request_duration_seconds.labels(self.boundary, self.operation, outcome).observe(
            took
        )

    async def exchange(
        self,
        peer: _Origin,
        method: str,
        url: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> HttpResponse:
        try:
            client = await peer.client()
        except HttpError as error:
            # Made by a context source, which does not know on whose behalf: say it in this request's name.
            raise type(error)(self.boundary, self.operation, error.reason) from None
        except OSError as error:
            raise HttpUnavailable(self.boundary, self.operation, _reason(error)) from None
        try:
            request = client.build_request(method, url, params=params, headers=headers, content=body)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise HttpError(self.boundary, self.operation, f"not a request: {_reason(error)}") from None
        try:
            answer = await client.send(request, stream=True)
            try:
                return HttpResponse(
                    answer.status_code,
                    {name.lower(): value for name, value in answer.headers.items()},
                    await self._read(answer),
                    self.boundary,
                    self.operation,
                )
            finally:
                await answer.aclose()
        except httpx.TimeoutException as error:
            raise HttpTimeout(self.boundary, self.operation, _reason(error)) from None
        except (httpx.TransportError, httpx.StreamError) as error:
            if _is_certificate_refusal(error) and (stale := peer.forget(client)) is not None:
                await stale.aclose()
            raise HttpUnavailable(self.boundary, self.operation, _reason(error)) from None

    async def _read(self, answer: httpx.Response) -> bytes:
        """Read the raw body and undo gzip or deflate ourselves: a few kilobytes of it can mean gigabytes."""
        raw = bytearray()
        # Left by cancellation and not by `break`: that unwinds httpx's nested generators from the inside and
        # closes the connection, where a break would leave them to the garbage collector.
        with trio.CancelScope() as reading:
            async for piece in answer.aiter_raw():
                raw += piece
                if len(raw) > self.max_body:
                    reading.cancel()
        if len(raw) > self.max_body:
            raise self._too_large()
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            return bytes(raw)
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise HttpBadBody(
                self.boundary, self.operation, f"a content encoding nobody asked for: {encoding[:40]}"
            )
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, told by the header
        try:
            plain = unpacker.decompress(bytes(raw), self.max_body + 1)
        except zlib.error:
            raise HttpBadBody(self.boundary, self.operation, f"the body is not {encoding}") from None
        if len(plain) > self.max_body:
            raise self._too_large()
        return plain

    def _too_large(self) -> HttpBadBody:
        return HttpBadBody(self.boundary, self.operation, f"the body is larger than {self.max_body} bytes")


def _encode(value: Any) -> bytes:
    return json_module.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _outcome_of(status: int) -> str:
    if status >= 500:
        return "5xx"
    return "4xx" if status >= 400 else "ok"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from; httpx and httpcore wrap a reason three or four times."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _reason(error: BaseException) -> str:
    """Return the type of an error with the first text that its chain has to offer; the outer ones are often empty."""
    text = next((str(link) for link in _chain(error) if str(link)), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_certificate_refusal(error: BaseException) -> bool:
    """Tell whether the peer's certificate was refused, however deep in the chain the reason is."""
    return any(isinstance(link, ssl.SSLCertVerificationError) for link in _chain(error))


@asynccontextmanager
async def open_http_client(
    limits: Limits, *, user_agent: str = f"vpnd/{__version__}", slow_after: float = SLOW_AFTER
) -> AsyncIterator[HttpClient]:
    """Open the client; its connections are closed with the block.

    Args:
        limits: whose ``http`` limiter every request stands under.
        user_agent: what we call ourselves.
        slow_after: seconds after which a request is reported as ``[HTTP_SLOW]``.
    """
    # In a thread: parsing the trust store takes some 20 ms.
    context = await trio.to_thread.run_sync(httpx.create_ssl_context)
    client = HttpClient(limits, context, user_agent=user_agent, slow_after=slow_after)
    try:
        yield client
    finally:
        with trio.CancelScope(deadline=trio.current_time() + 1.0, shield=True):
            await client._aclose()  # noqa: SLF001 - the lifetime belongs to this function


async def pinned_context(
    host: str, port: int, fingerprint: str, *, timeout: float = _PIN_TIMEOUT
) -> ssl.SSLContext:
    """Return a TLS context that trusts one certificate only: the one with this SHA-256, which ``host:port``
    presents now.

    A first handshake fetches the certificate and sends nothing else. If it is the pinned one, it becomes the
    only trusted certificate of the context, under standard verification: a later connection that meets
    another certificate fails in the handshake, before a byte of a request is written. Names are not checked,
    the pin is the identity.

    Args:
        host: name or address.
        port: TCP port.
        fingerprint: SHA-256 of the DER certificate, 64 hex digits in either case, colons and a ``sha256:``
            prefix allowed.
        timeout: seconds for the handshake.

    Raises:
        ValueError: the fingerprint is not a SHA-256.
        FingerprintMismatch: the certificate is another one.
        HttpTimeout: no certificate in time.
        HttpUnavailable: no connection, or no TLS there.
    """
    refuse_if_held("fetching a certificate")
    expected = parse_fingerprint(fingerprint)
    certificate: bytes | None = None
    try:
        with trio.move_on_after(timeout):
            certificate = await fetch_certificate(host, port)
    except (OSError, trio.BrokenResourceError) as error:
        raise HttpUnavailable("tls", "pin", _reason(error)) from None
    if certificate is None:
        raise HttpTimeout("tls", "pin", f"no certificate from {host}:{port} within {timeout:g} s")
    presented = fingerprint_of(certificate)
    if not expected.matches(presented):
        raise FingerprintMismatch(
            "tls", "pin", f"{host}:{port} presents the certificate {presented.hex()}, another one is pinned"
        )
    return trusting_only(certificate)
