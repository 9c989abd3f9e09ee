"""Certificates known by their SHA-256: fetch, compare, trust exactly one.

A node's agent makes its own certificate, so no authority vouches for it; what the operator copied into
``fingerprint`` does.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from typing import Final

import trio
from attrs import frozen

__all__ = ["Fingerprint", "fetch_certificate", "fingerprint_of", "parse_fingerprint", "trusting_only"]

_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")


@frozen
class Fingerprint:
    """A pinned SHA-256."""

    digest: bytes

    def matches(self, presented: bytes) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.digest, presented)


def parse_fingerprint(text: str) -> Fingerprint:
    """Read a SHA-256 as tools print it: hex in either case, with or without colons, blanks and a ``sha256``
    prefix.

    Raises:
        ValueError: something else.
    """
    cleaned = re.sub(r"^sha-?256(?: fingerprint)?\s*[:=]\s*", "", text.strip().lower())
    cleaned = re.sub(r"[:\s]", "", cleaned)
    if not _SHA256_HEX.fullmatch(cleaned):
        raise ValueError("a fingerprint is a SHA-256: 64 hex digits, colons allowed")
    return Fingerprint(bytes.fromhex(cleaned))


def fingerprint_of(certificate: bytes) -> bytes:
    """Return the SHA-256 of a DER certificate."""
    return hashlib.sha256(certificate).digest()


async def fetch_certificate(host: str, port: int) -> bytes:
    """Shake hands with ``host:port``, take its certificate (DER) and hang up; no application data is sent.

    Raises:
        OSError: no connection (``ssl.SSLError`` is one).
        trio.BrokenResourceError: what answers does not speak TLS.
    """
    # Verification is off because this handshake only asks what is there. Nothing is sent over it, and the
    # caller compares.
    context = _client_context()
    context.verify_mode = ssl.CERT_NONE
    stream = await trio.open_tcp_stream(host, port)
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
        certificate: bytes | None = secured.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(secured)
    if not certificate:
        raise OSError("the peer presented no certificate")
    return certificate


def trusting_only(certificate: bytes) -> ssl.SSLContext:
    """Return a client context that accepts this very DER certificate and no other; the peer must hold its key."""
    context = _client_context()
    context.verify_mode = ssl.CERT_REQUIRED
    # The certificate need not be an authority to be its own anchor.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    return context
