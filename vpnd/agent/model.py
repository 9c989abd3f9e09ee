"""The agent's vocabulary: credentials, changes, and what may stand in them.

The core itself checks next to nothing: it takes an empty e-mail that can never be removed again, folds case, accepts
any short text as a uuid (hashed) and any flow, and ignores two bytes of a uuid. So all of it is checked here, before
anything reaches the core or the disk.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

#: What a credential may be called; the core knows it as the user's e-mail, which it compares without case.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EPOCH: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: SQLite's and PostgreSQL's largest integer.
MAX_INTEGER: Final = 2**63 - 1
#: Changes taken in one call.
MAX_CHANGES: Final = 10_000


class BadRequest(Exception):
    """A request that cannot be meant; `field` is the path of what is wrong with it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class TooManyChanges(Exception):
    """More changes in one call than the agent takes."""


@attrs.frozen
class Credential:
    """A credential as the agent holds it: on or off, at a version."""

    name: str
    uuid: str
    version: int
    active: bool


@attrs.frozen
class Push:
    """What one call of the daemon asks for."""

    epoch: str
    seq: int
    adopt: bool
    changes: tuple[Credential, ...]


def uuid_key(uuid: str) -> str:
    """Return what the core looks at in a canonical uuid: bytes 6 and 7 (version and variant bits) don't count."""
    return f"{uuid[:14]}0000{uuid[18:]}"


def parse_push(document: Any) -> Push:
    """Check a decoded JSON body of ``POST /v1/changes``.

    Raises `BadRequest` naming the field, or `TooManyChanges`. Takes milliseconds for a full call: use a thread.
    """
    if not isinstance(document, Mapping):
        raise BadRequest("the body must be a JSON object", "")
    _known(document, ("epoch", "seq", "adopt", "changes"), "")
    changes = document.get("changes")
    if not isinstance(changes, Sequence) or isinstance(changes, str):
        raise BadRequest("must be a list", "changes")
    if len(changes) > MAX_CHANGES:
        raise TooManyChanges(f"at most {MAX_CHANGES} changes a call")
    adopt = document.get("adopt", False)
    if not isinstance(adopt, bool):
        raise BadRequest("must be true or false", "adopt")
    return Push(
        epoch=_text(document.get("epoch"), EPOCH, "epoch"),
        seq=_integer(document.get("seq"), 0, "seq"),
        adopt=adopt,
        changes=tuple(_change(change, f"changes[{index}]") for index, change in enumerate(changes)),
    )


def _change(change: Any, field: str) -> Credential:
    if not isinstance(change, Mapping):
        raise BadRequest("must be an object", field)
    _known(change, ("name", "uuid", "version", "active"), f"{field}.")
    active = change.get("active")
    if not isinstance(active, bool):
        raise BadRequest("must be true or false", f"{field}.active")
    return Credential(
        name=_text(change.get("name"), NAME, f"{field}.name"),
        uuid=_text(change.get("uuid"), UUID, f"{field}.uuid"),
        version=_integer(change.get("version"), 1, f"{field}.version"),
        active=active,
    )


def _known(document: Mapping[Any, Any], allowed: tuple[str, ...], prefix: str) -> None:
    for key in document:
        if key not in allowed:
            raise BadRequest("is not a known key", f"{prefix}{str(key)[:64]}")


def _text(value: Any, pattern: re.Pattern[str], field: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise BadRequest(f"must be text that matches {pattern.pattern}", field)
    return value


def _integer(value: Any, low: int, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_INTEGER:
        raise BadRequest(f"must be a whole number from {low} to {MAX_INTEGER}", field)
    return value
