"""What a push may look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.agent.model import MAX_CHANGES, BadRequest, TooManyChanges, parse_push, uuid_key

UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"
GOOD = {"name": "sabc", "uuid": UUID, "version": 1, "active": True}


def push(**other):
    return {"epoch": "e1", "seq": 1, "changes": [GOOD]} | other


def change(**other):
    return push(changes=[GOOD | other])


def test_a_good_push_is_taken_as_it_is():
    """All fields arrive; adopt is off unless it is said."""
    parsed = parse_push(push())

    assert (parsed.epoch, parsed.seq, parsed.adopt) == ("e1", 1, False)
    assert parsed.changes[0].uuid == UUID


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], ""),
        (push(epoch=None), "epoch"),
        (push(epoch=""), "epoch"),
        (push(epoch="e" * 65), "epoch"),
        (push(seq=-1), "seq"),
        (push(seq=True), "seq"),
        (push(seq=2**63), "seq"),
        (push(seq="1"), "seq"),
        (push(adopt=1), "adopt"),
        (push(changes={}), "changes"),
        (push(changes="abc"), "changes"),
        (push(changes=[1]), "changes[0]"),
        (push(extra=1), "extra"),
        (change(extra=1), "changes[0].extra"),
        (change(name=""), "changes[0].name"),
        (change(name="Bob"), "changes[0].name"),
        (change(name="a>>>b"), "changes[0].name"),
        (change(name="a" * 65), "changes[0].name"),
        (change(name="sabc\n"), "changes[0].name"),
        (change(uuid=UUID.upper()), "changes[0].uuid"),
        (change(uuid="hello"), "changes[0].uuid"),
        (change(uuid=UUID.replace("-", "")), "changes[0].uuid"),
        (change(version=0), "changes[0].version"),
        (change(version=1.0), "changes[0].version"),
        (change(active="yes"), "changes[0].active"),
    ],
)
def test_garbage_is_refused_with_its_field(document, field):
    """What the core would swallow or misread never gets past the agent, and the daemon is told which field."""
    with pytest.raises(BadRequest) as caught:
        parse_push(document)

    assert caught.value.field == field


def test_a_call_takes_ten_thousand_changes():
    """One more is refused as too many, before any of them is read."""
    parse_push(push(changes=[GOOD] * MAX_CHANGES))

    with pytest.raises(TooManyChanges):
        parse_push(push(changes=[None] * (MAX_CHANGES + 1)))


@given(st.uuids(), st.integers(0, 255), st.integers(0, 255))
def test_bytes_six_and_seven_do_not_count(one, first, second):
    """Two uuids that differ only where the core doesn't look have one key, others don't."""
    raw = bytearray(one.bytes)
    raw[6], raw[7] = first, second
    near = str(type(one)(bytes=bytes(raw)))
    raw[8] ^= 1
    other = str(type(one)(bytes=bytes(raw)))

    assert uuid_key(str(one)) == uuid_key(near)
    assert uuid_key(str(one)) != uuid_key(other)
