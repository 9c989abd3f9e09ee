"""What buttons carry: compact, exact, and safe against whatever comes back."""

from __future__ import annotations

import sys

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.bot import callbacks
from vpnd.bot.broadcast_callbacks import SetSegment
from vpnd.bot.callbacks import MAX_BYTES, Action, decode, encode
from vpnd.bot.presses import HANDLERS, OPERATORS
from vpnd.bot.screens.broadcast_segments import PARTS
from vpnd.bot.texts import Texts

#: Those that stand in their module: attrs leaves the class that it was given behind, until a full collection.
KINDS = [
    kind for kind in Action.__subclasses__() if getattr(sys.modules[kind.__module__], kind.__name__) is kind
]
words = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
numbers = st.integers(min_value=0, max_value=2**63 - 1)
#: Of two words in one button only one is free, the id of a plan; the other is one of the house's own, of this length at most.
LONGEST_OWN = 12
own_words = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
OWN = {"part", "variant", "language", "what", "period"}


@st.composite
def actions(draw: st.DrawFn) -> Action:
    """Any action with any values it may have."""
    kind = draw(st.sampled_from(KINDS))
    strategies = {
        field.name: numbers if field.type is int else own_words if field.name in OWN else words
        for field in attrs.fields(kind)
    }
    return kind(**{name: draw(strategy) for name, strategy in strategies.items()})


def test_the_houses_own_words_are_short() -> None:
    """Two words and a number fit into a button since one of the words is one of these; what would not fit is no button."""
    languages = Texts.load(("en", "ru")).languages
    assert all(
        len(word) <= LONGEST_OWN for word in (*PARTS, *(v for vs in PARTS.values() for v in vs), *languages)
    )
    with pytest.raises(ValueError, match="65 bytes"):
        encode(SetSegment(2_176_782_336, "a" * 20, "b" * 32))


@given(actions())
def test_round_trip(action: Action) -> None:
    """Whatever a button can mean fits into 64 bytes and comes back as it was."""
    data = encode(action)

    assert len(data.encode()) <= MAX_BYTES
    assert decode(data) == action


@given(st.one_of(st.text(max_size=80), st.text(alphabet="01hpbymdisoqwflgrnvatuekxcj.z_-", max_size=70)))
def test_garbage_decodes_to_nothing_or_to_itself(data: str) -> None:
    """Whatever comes in, nothing is raised, and what is accepted is exactly what we would have written."""
    action = decode(data)

    assert action is None or encode(action) == data


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "0h",
        "2h",
        "h",
        "1",
        "1hh",
        "1h.1",
        "1o.-1",
        "1o.1Z",
        "1o.01",
        "1o.zzzzzzzzzzzzz",
        "1p..0",
        "1o.١",
    ],
)
def test_old_or_broken_data(data: str | None) -> None:
    """Another version, a missing or extra argument, a number that is none: nothing of it is guessed at."""
    assert decode(data) is None


@pytest.mark.parametrize(
    "action", [callbacks.OneSubscription(-1), callbacks.OneSubscription(2**63), callbacks.HelpFor("A B")]
)
def test_what_cannot_be_carried_is_refused(action: Action) -> None:
    """A value that would not come back is refused when the button is made."""
    with pytest.raises(ValueError, match=r"button|key"):
        encode(action)


def test_every_action_has_a_handler() -> None:
    """No button leads nowhere."""
    assert set(HANDLERS) | set(OPERATORS) == set(KINDS)
    assert not set(HANDLERS) & set(OPERATORS)
