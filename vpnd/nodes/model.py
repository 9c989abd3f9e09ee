"""What the daemon and a node's agent say to each other, as typed values.

Each class has a ``parse`` that takes decoded JSON and raises `BadAnswer` naming the field: a node is another machine,
perhaps of another version, and nothing it says is believed unread. Unknown fields are passed over, so that an agent
may learn to say more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from vpnd.runtime.digest import BUCKETS, bucket_of, member_value

#: Changes an agent takes in one call.
MAX_CHANGES: Final = 10_000


class BadAnswer(ValueError):
    """What a node said cannot be read; the sentence names the field."""


@attrs.frozen
class AccessChange:
    """The present state of one credential: `name` is what a node calls it, `uuid` its canonical lower case."""

    name: str
    uuid: str
    version: int
    active: bool

    @property
    def bucket(self) -> int:
        """The bucket in which it is counted, 0 to 255."""
        return bucket_of(self.name)

    @property
    def value(self) -> int:
        """What it adds to its bucket's sum."""
        return member_value(self.name, self.uuid, self.version, self.active)

    def to_json(self) -> dict[str, Any]:
        """Return it as the agent reads it."""
        return {"name": self.name, "uuid": self.uuid, "version": self.version, "active": self.active}

    @classmethod
    def parse(cls, document: Any) -> "AccessChange":
        """Read one member of a bucket."""
        return cls(
            name=_text(document, "name"),
            uuid=_text(document, "uuid"),
            version=_integer(document, "version"),
            active=_flag(document, "active"),
        )


@attrs.frozen
class PublicInbound:
    """What a link to an inbound needs. `public_key`, `short_id` and `spider_x` are empty unless it is REALITY."""

    tag: str
    host: str
    port: int
    security: Literal["reality", "tls"]
    sni: str
    protocol: str = "vless"
    transport: str = "tcp"
    flow: str = "xtls-rprx-vision"
    fingerprint: str = "chrome"
    public_key: str = ""
    short_id: str = ""
    spider_x: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, the form in which a database may keep it."""
        return attrs.asdict(self)

    @classmethod
    def parse(cls, document: Any) -> "PublicInbound":
        """Read an inbound as an agent tells it; one of a kind we can make no link for is a `BadAnswer`."""
        security = _text(document, "security")
        if security not in ("reality", "tls"):
            raise BadAnswer(f"security: {security[:32]!r} is unknown")
        if _text(document, "protocol") != "vless" or _text(document, "transport") != "tcp":
            raise BadAnswer("protocol, transport: only vless over tcp is known")
        port = _integer(document, "port")
        if not 1 <= port <= 65535:
            raise BadAnswer("port: is not from 1 to 65535")
        return cls(
            tag=_text(document, "tag"),
            host=_text(document, "host"),
            port=port,
            security="reality" if security == "reality" else "tls",
            sni=_text(document, "sni"),
            flow=_text(document, "flow", may_be_empty=True),
            fingerprint=_text(document, "fingerprint"),
            public_key=_text(document, "public_key", may_be_empty=security == "tls"),
            short_id=_text(document, "short_id", may_be_empty=True),
            spider_x=_text(document, "spider_x", may_be_empty=True),
        )


@attrs.frozen
class CoreStatus:
    """The VPN core on a node: its `state` (running, starting or down), version, and restarts since the agent began."""

    state: Literal["running", "starting", "down"]
    version: str
    restarts: int


@attrs.frozen
class NodeStatus:
    """What a node says of itself. `epoch` is None on a node that has never been given anything."""

    agent: str
    boot_id: str
    epoch: str | None
    seq: int
    users: int
    core: CoreStatus
    cut: Literal["sockets", "restart"]
    inbounds: tuple[PublicInbound, ...]

    @classmethod
    def parse(cls, document: Any) -> "NodeStatus":
        """Read the answer of ``GET /v1/status``."""
        core = _mapping(document, "core")
        state = _text(core, "state")
        if state not in ("running", "starting", "down"):
            raise BadAnswer("core.state: is unknown")
        cut = _text(document, "cut")
        if cut not in ("sockets", "restart"):
            raise BadAnswer("cut: is unknown")
        return cls(
            agent=_text(document, "agent"),
            boot_id=_text(document, "boot_id", may_be_empty=True),
            epoch=_epoch(document),
            seq=_integer(document, "seq"),
            users=_integer(document, "users"),
            core=CoreStatus(
                state="running" if state == "running" else "starting" if state == "starting" else "down",
                version=_text(core, "version", may_be_empty=True),
                restarts=_integer(core, "restarts"),
            ),
            cut="sockets" if cut == "sockets" else "restart",
            inbounds=tuple(PublicInbound.parse(inbound) for inbound in _list(document, "inbounds")),
        )


@attrs.frozen
class Removed:
    """How one credential was cut off: its addresses online, the sockets destroyed, and by what means."""

    name: str
    online_ips: int
    sockets: int
    how: Literal["sockets", "restart", "none"]

    @classmethod
    def parse(cls, document: Any) -> "Removed":
        """Read one entry of ``removed``."""
        how = _text(document, "how")
        if how not in ("sockets", "restart", "none"):
            raise BadAnswer("how: is unknown")
        return cls(
            name=_text(document, "name"),
            online_ips=_integer(document, "online_ips"),
            sockets=_integer(document, "sockets"),
            how="sockets" if how == "sockets" else "restart" if how == "restart" else "none",
        )


@attrs.frozen
class PushResult:
    """A node's acknowledgement: its core holds, and its disk keeps, everything up to `seq` of `epoch`."""

    epoch: str
    seq: int
    applied: int
    ignored: int
    removed: tuple[Removed, ...]

    @classmethod
    def parse(cls, document: Any) -> "PushResult":
        """Read the answer of ``POST /v1/changes``."""
        return cls(
            epoch=_text(document, "epoch"),
            seq=_integer(document, "seq"),
            applied=_integer(document, "applied"),
            ignored=_integer(document, "ignored"),
            removed=tuple(Removed.parse(item) for item in _list(document, "removed")),
        )


@attrs.frozen
class Bucket:
    """How many credentials fall into a bucket, and the sum of their values."""

    count: int
    sum: int


@attrs.frozen
class NodeBuckets:
    """All 256 buckets of a node, at the watermark it had reached."""

    epoch: str | None
    seq: int
    buckets: tuple[Bucket, ...]

    @classmethod
    def parse(cls, document: Any) -> "NodeBuckets":
        """Read the answer of ``GET /v1/buckets``."""
        rows = _list(document, "buckets")
        if len(rows) != BUCKETS:
            raise BadAnswer(f"buckets: are not {BUCKETS}")
        return cls(_epoch(document), _integer(document, "seq"), tuple(_bucket(row) for row in rows))


@attrs.frozen
class Usage:
    """Bytes up and down by name since the core with this `boot_id` started; `next` continues a long list."""

    boot_id: str
    counters: dict[str, tuple[int, int]]
    next: str | None

    @classmethod
    def parse(cls, document: Any) -> "Usage":
        """Read the answer of ``GET /v1/usage``."""
        counters = {}
        for name, pair in _mapping(document, "counters").items():
            if not (isinstance(pair, list) and len(pair) == 2 and all(_is_count(value) for value in pair)):
                raise BadAnswer(f"counters.{str(name)[:64]}: is not a pair of whole numbers")
            counters[str(name)] = (pair[0], pair[1])
        following = document.get("next")
        if following is not None and not isinstance(following, str):
            raise BadAnswer("next: is not text")
        return cls(_text(document, "boot_id", may_be_empty=True), counters, following)


def digest(changes: Sequence[AccessChange]) -> tuple[Bucket, ...]:
    """Return the 256 buckets of some credentials: what a node that holds exactly these will answer."""
    counts, sums = [0] * BUCKETS, [0] * BUCKETS
    for change in changes:
        counts[change.bucket] += 1
        sums[change.bucket] += change.value
    return tuple(Bucket(count, total) for count, total in zip(counts, sums, strict=True))


# -- reading decoded JSON


def _mapping(document: Any, field: str) -> Mapping[str, Any]:
    value = _value(document, field)
    if not isinstance(value, Mapping):
        raise BadAnswer(f"{field}: is not an object")
    return value


def _list(document: Any, field: str) -> list[Any]:
    value = _value(document, field)
    if not isinstance(value, list):
        raise BadAnswer(f"{field}: is not a list")
    return value


def _text(document: Any, field: str, *, may_be_empty: bool = False) -> str:
    value = _value(document, field)
    if not isinstance(value, str) or not (value or may_be_empty) or len(value) > 1024:
        raise BadAnswer(f"{field}: is not text")
    return value


def _integer(document: Any, field: str) -> int:
    value = _value(document, field)
    if not _is_count(value):
        raise BadAnswer(f"{field}: is not a whole number")
    return int(value)


def _flag(document: Any, field: str) -> bool:
    value = _value(document, field)
    if not isinstance(value, bool):
        raise BadAnswer(f"{field}: is not true or false")
    return value


def _epoch(document: Any) -> str | None:
    return None if _value(document, "epoch") is None else _text(document, "epoch")


def _bucket(row: Any) -> Bucket:
    if not (isinstance(row, list) and len(row) == 2 and _is_count(row[0]) and isinstance(row[1], str)):
        raise BadAnswer("buckets: one is not a count and a sum")
    if not (row[1].isdecimal() and row[1].isascii() and len(row[1]) <= 40):
        raise BadAnswer("buckets: a sum is not a decimal number")
    return Bucket(row[0], int(row[1]))


def _value(document: Any, field: str) -> Any:
    if not isinstance(document, Mapping) or field not in document:
        raise BadAnswer(f"{field}: is missing")
    return document[field]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
