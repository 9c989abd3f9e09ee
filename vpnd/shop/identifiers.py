"""Random names, made before the row that carries them so that a repeated transaction decides nothing anew."""

from __future__ import annotations

import secrets
from base64 import b32encode
from typing import Final

__all__ = ["link_token", "public_id", "referral_code", "refund_key", "subscription_name"]

# Bytes of randomness. 15 bytes are 24 base32 letters without padding: nobody guesses one, and the database's
# pattern (15 to 31 letters after the prefix) has room for it.
_NAME_BYTES: Final = 15
_REFERRAL_BYTES: Final = 5  # 8 letters: short enough to read aloud; collisions are retried


def _letters(size: int) -> str:
    return b32encode(secrets.token_bytes(size)).decode("ascii").rstrip("=").lower()


def public_id() -> str:
    """A purchase's name outside the house, and its invoice payload: p and 24 letters of a-z2-7."""
    return f"p{_letters(_NAME_BYTES)}"


def refund_key() -> str:
    """What names a refund to its provider, once and for all: r and 24 letters of a-z2-7."""
    return f"r{_letters(_NAME_BYTES)}"


def subscription_name() -> str:
    """What a node calls a credential: opaque, lower case, s and 24 letters of a-z2-7."""
    return f"s{_letters(_NAME_BYTES)}"


def link_token() -> str:
    """The secret part of a subscription link, 192 bits, safe in a URL."""
    return secrets.token_urlsafe(24)


def referral_code() -> str:
    """Eight letters of A-Z2-7. Random, so that it tells nothing about the customer."""
    return _letters(_REFERRAL_BYTES).upper()
