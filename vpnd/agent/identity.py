"""Who this node is: its TLS certificate and its REALITY keys, made once and kept in the state folder.

The certificate is self-signed, because a node has no name that an authority could vouch for. The daemon pins its
SHA-256 fingerprint instead, which the agent prints at every start. The REALITY key pair stands in every customer's
link: losing it would break all of them, so it is written to the disk before it is used, and never made anew while the
file exists.
"""

import base64
import datetime as dt
import json
import os
import secrets
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE: Final = "agent.crt"
PRIVATE_KEY: Final = "agent.key"
REALITY: Final = "reality.json"
#: A pinned certificate is replaced by hand or never, so it must outlive the machine.
LIFETIME: Final = dt.timedelta(days=30 * 365)
_RAW: Final = serialization.Encoding.Raw


class IdentityError(Exception):
    """A file of the identity is there and unreadable; making a new one would break every link, so it is left."""


@attrs.frozen
class RealityKeys:
    """A REALITY key pair (unpadded base64url, as the core wants it) and the short ids clients may use."""

    private_key: str = attrs.field(repr=False)
    public_key: str
    short_ids: tuple[str, ...]


@attrs.frozen
class Identity:
    """What a node shows to the world. `fingerprint` is the SHA-256 of the certificate in lower-case hex."""

    certificate: Path
    private_key: Path
    fingerprint: str
    reality: RealityKeys


def load_identity(folder: Path) -> Identity:
    """Read the identity in `folder`, making what is missing, with mode 0600.

    Blocks on the disk and on key generation for some milliseconds: run it in a thread. Raises `IdentityError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, private_key = folder / CERTIFICATE, folder / PRIVATE_KEY
    # The certificate is written last: where it stands, its key stands too.
    if not certificate.exists():
        _make_certificate(certificate, private_key)
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        private_key.stat()
    except (OSError, ValueError) as error:
        raise IdentityError(f"{certificate} and {private_key} cannot be used: {error}") from None
    fingerprint = loaded.fingerprint(hashes.SHA256()).hex()
    return Identity(certificate, private_key, fingerprint, _reality(folder / REALITY))


def public_key_of(private_key: str) -> str:
    """Return the public half of a REALITY private key, both as unpadded base64url. Raises `ValueError`."""
    raw = base64.urlsafe_b64decode(private_key + "=" * (-len(private_key) % 4))
    return _unpadded(x25519.X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw())


def _reality(place: Path) -> RealityKeys:
    if not place.exists():
        private = x25519.X25519PrivateKey.generate()
        document = {
            "private_key": _unpadded(private.private_bytes_raw()),
            "short_ids": [secrets.token_hex(8)],
        }
        write_private(place, json.dumps(document, indent=2).encode() + b"\n")
    try:
        document = json.loads(place.read_bytes())
        private_key, short_ids = document["private_key"], document["short_ids"]
        return RealityKeys(private_key, public_key_of(private_key), tuple(short_ids))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IdentityError(
            f"{place} cannot be read ({type(error).__name__}): every customer's link depends on it, restore it"
        ) from None


def _make_certificate(certificate: Path, private_key: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vpnd-agent")])
    now = dt.datetime.now(dt.UTC)
    public = key.public_key()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))  # a daemon's clock may be behind
        .not_valid_after(now + LIFETIME)
        # What OpenSSL's strict mode (the default from Python 3.13 on) asks of a certificate that is its own authority.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("vpnd-agent")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(private_key, key.private_bytes(pem, pkcs8, plain))
    write_private(certificate, built.public_bytes(pem))


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def write_private(place: Path, data: bytes) -> None:
    """Write a file with mode 0600 so that a crash leaves the old one or the new one, never half of either."""
    draft = place.with_name(f".{place.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
