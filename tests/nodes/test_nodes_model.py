"""What a node says is read strictly; sums are the ones SQL computes."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.nodes.model import (
    AccessChange,
    BadAnswer,
    NodeBuckets,
    NodeStatus,
    PublicInbound,
    PushResult,
    Usage,
    digest,
)
from vpnd.runtime.digest import BUCKETS

UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"
INBOUND = {
    "tag": "main", "protocol": "vless", "transport": "tcp", "security": "reality", "host": "h", "port": 443, "sni": "s",
    "flow": "xtls-rprx-vision", "fingerprint": "chrome", "public_key": "k", "short_id": "ab", "spider_x": "/",
}  # fmt: skip
STATUS = {
    "agent": "0.1.0", "boot_id": "b", "epoch": None, "seq": 0, "users": 3,
    "core": {"state": "running", "version": "Xray 1", "restarts": 0}, "cut": "sockets", "inbounds": [INBOUND],
}  # fmt: skip
CHANGES = st.builds(
    AccessChange, st.text(max_size=8), st.uuids().map(str), st.integers(1, 2**40), st.booleans()
)


def test_the_value_is_what_sql_computes():
    """('x' || substr(md5(name || ':' || uuid || ':' || version || ':' || 1), 1, 15))::bit(60)::bigint, by hand."""
    change = AccessChange("sabc", UUID, 7, active=True)
    text = f"sabc:{UUID}:7:1"

    assert change.value == int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)
    assert change.bucket == int(hashlib.md5(b"sabc", usedforsecurity=False).hexdigest()[:2], 16)


@given(st.lists(CHANGES))
def test_sums_do_not_depend_on_the_order(changes):
    """Two sides that hold the same agree, however they came by it; what differs shows in its bucket only."""
    buckets = digest(changes)
    counts = Counter(change.bucket for change in changes)

    assert buckets == digest(list(reversed(changes)))
    assert [bucket.count for bucket in buckets] == [counts[n] for n in range(BUCKETS)]


def test_a_status_is_read():
    """Everything arrives typed; what a newer agent says besides is passed over."""
    status = NodeStatus.parse(STATUS | {"news": 1})

    assert status.epoch is None
    assert status.core.state == "running"
    assert status.inbounds[0] == PublicInbound.parse(INBOUND)
    assert PublicInbound.parse(status.inbounds[0].to_json()) == status.inbounds[0]


@pytest.mark.parametrize(
    ("parse", "document", "named"),
    [
        (NodeStatus.parse, [], "core"),
        (
            NodeStatus.parse,
            STATUS | {"core": {"state": "asleep", "version": "", "restarts": 0}},
            "core.state",
        ),
        (NodeStatus.parse, STATUS | {"cut": "axe"}, "cut"),
        (NodeStatus.parse, STATUS | {"seq": -1}, "seq"),
        (NodeStatus.parse, STATUS | {"seq": True}, "seq"),
        (NodeStatus.parse, STATUS | {"epoch": 3}, "epoch"),
        (NodeStatus.parse, STATUS | {"inbounds": [INBOUND | {"port": 0}]}, "port"),
        (NodeStatus.parse, STATUS | {"inbounds": [INBOUND | {"security": "none"}]}, "security"),
        (NodeStatus.parse, STATUS | {"inbounds": [INBOUND | {"public_key": ""}]}, "public_key"),
        (NodeStatus.parse, STATUS | {"inbounds": {}}, "inbounds"),
        (PushResult.parse, {"epoch": "e", "seq": 1, "applied": 1, "ignored": 0}, "removed"),
        (
            PushResult.parse,
            {"epoch": "e", "seq": 1, "applied": 1, "ignored": 0, "removed": [{"how": "magic"}]},
            "how",
        ),
        (NodeBuckets.parse, {"epoch": "e", "seq": 1, "buckets": [[0, "0"]] * 255}, "256"),
        (NodeBuckets.parse, {"epoch": "e", "seq": 1, "buckets": [[0, 0]] * 256}, "buckets"),
        (NodeBuckets.parse, {"epoch": "e", "seq": 1, "buckets": [[0, "-1"]] * 256}, "buckets"),
        (NodeBuckets.parse, {"epoch": "e", "seq": 1, "buckets": [[0, "9" * 41]] * 256}, "buckets"),
        (AccessChange.parse, {"name": "a", "uuid": UUID, "version": 1, "active": 1}, "active"),
        (AccessChange.parse, {"name": "", "uuid": UUID, "version": 1, "active": True}, "name"),
        (Usage.parse, {"boot_id": "b", "counters": {"a": [1]}}, "counters.a"),
        (Usage.parse, {"boot_id": "b", "counters": {"a": [1, 2]}, "next": 3}, "next"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(parse, document, named):
    """A node is another machine: nothing it says is believed unread."""
    with pytest.raises(BadAnswer, match=named):
        parse(document)
