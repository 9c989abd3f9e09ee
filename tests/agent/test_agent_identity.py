"""The node's certificate and REALITY keys."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from vpnd.agent.identity import IdentityError, load_identity, public_key_of


def test_an_identity_is_made_once(tmp_path):
    """Links and pins depend on it: a second start finds the same one."""
    first = load_identity(tmp_path / "state")
    second = load_identity(tmp_path / "state")

    assert first == second
    assert first.reality.public_key == public_key_of(first.reality.private_key)
    assert len(bytes.fromhex(first.reality.short_ids[0])) == 8


def test_its_files_are_private(tmp_path):
    """Nobody but the agent reads its keys."""
    load_identity(tmp_path / "state")

    assert {place.name: place.stat().st_mode & 0o777 for place in (tmp_path / "state").iterdir()} == {
        "agent.crt": 0o600,
        "agent.key": 0o600,
        "reality.json": 0o600,
    }


def test_the_fingerprint_is_the_certificates_sha256(tmp_path):
    """What is printed is what a daemon computes from the handshake."""
    identity = load_identity(tmp_path)
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())

    assert identity.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    ssl.create_default_context(cafile=str(identity.certificate))


def test_the_private_key_is_not_shown(tmp_path):
    """A traceback that holds an identity holds no key."""
    identity = load_identity(tmp_path)

    assert identity.reality.private_key not in repr(identity)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"private_key": 1, "short_ids": []}', '{"private_key": "AA", "short_ids": []}']
)
def test_a_broken_key_file_is_never_replaced(tmp_path, text):
    """New keys would break every customer's link, so an unreadable file is an error and stays."""
    load_identity(tmp_path)
    (tmp_path / "reality.json").write_text(text)

    with pytest.raises(IdentityError):
        load_identity(tmp_path)
    assert (tmp_path / "reality.json").read_text() == text


def test_a_certificate_whose_key_was_lost_is_an_error(tmp_path):
    """Daemons pin it: making another one behind their back would only look like an attack."""
    load_identity(tmp_path)
    (tmp_path / "agent.key").unlink()

    with pytest.raises(IdentityError):
        load_identity(tmp_path)
