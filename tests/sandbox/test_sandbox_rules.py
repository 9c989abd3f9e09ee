"""The rules inside the sandboxed Telegram that no socket is needed for: formatted text, flood limits, keyboards."""

from __future__ import annotations

import html
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from telegram import Message

from vpnd.sandbox.telegram_entities import command_entities, given_entities, parse_html, utf16_length
from vpnd.sandbox.telegram_errors import ApiError
from vpnd.sandbox.telegram_limits import FloodLimits
from vpnd.sandbox.telegram_markup import read_markup

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)


def markup() -> st.SearchStrategy[str]:
    """Well-formed HTML of Telegram's kind, nested at random; no tag is put inside one of its own."""
    leaf = TEXT.map(html.escape)

    def wrap(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        tags = st.sampled_from(["b", "i", "u", "s", "tg-spoiler"])
        wrapped = (
            st.tuples(tags, inner)
            .filter(lambda p: f"<{p[0]}>" not in p[1])
            .map(lambda p: f"<{p[0]}>{p[1]}</{p[0]}>")
        )
        return wrapped | st.lists(inner, min_size=1, max_size=3).map(" ".join)

    return st.recursive(leaf, wrap, max_leaves=8)


@given(TEXT)
def test_escaped_text_comes_back_unchanged(text: str) -> None:
    """What was escaped for HTML is shown as it was, without entities."""
    assert parse_html(html.escape(text)) == (text, [])


@settings(deadline=None)
@given(markup())
def test_ptb_writes_back_what_was_parsed(source: str) -> None:
    """PTB, which computes HTML from text and entities, agrees with our offsets: parsing its HTML gives the same again."""
    text, entities = parse_html(source)
    chat = {"id": 1, "type": "private"}
    raw: dict[str, Any] = {"message_id": 1, "date": 0, "chat": chat, "text": text, "entities": entities}
    assert parse_html(Message.de_json(raw, None).text_html) == (text, entities)


def test_entities_are_counted_in_utf16() -> None:
    """A letter outside the basic plane counts two, for commands and for given entities alike."""
    assert utf16_length("🙂a") == 3
    assert command_entities("🙂 /start now")[0] == {"type": "bot_command", "offset": 3, "length": 6}
    inside = {"type": "bold", "offset": 0, "length": 3}
    assert given_entities([inside, {"type": "bold", "offset": 0, "length": 4}], "🙂a") == [inside]


async def test_a_chat_gets_its_burst_and_then_one_a_second(mock_clock: trio.testing.MockClock) -> None:
    """After the burst a chat waits a full second for each message, and the refusal says how long."""
    limits = FloodLimits()
    for _ in range(limits.chat_burst):
        limits.admit(1)
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            limits.admit(1)
        assert caught.value.parameters == {"retry_after": 1}
        mock_clock.jump(1.0)
        limits.admit(1)
    limits.admit(2)


async def test_a_group_gets_twenty_a_minute(mock_clock: trio.testing.MockClock) -> None:
    """The twenty-first message to a group within a minute waits for the first to be a minute old."""
    limits = FloodLimits()
    for _ in range(20):
        limits.admit(-5)
        mock_clock.jump(1.0)
    with pytest.raises(ApiError) as caught:
        limits.admit(-5)
    assert caught.value.parameters == {"retry_after": 40}
    mock_clock.jump(40.0)
    limits.admit(-5)


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.05, 0.3])
async def test_no_second_has_more_than_its_messages(mock_clock: trio.testing.MockClock, pause: float) -> None:
    """Whatever the pace, no rolling second holds more accepted messages than the limit."""
    limits = FloodLimits(per_second=10)
    accepted: list[float] = []
    for chat in range(1, 200):
        try:
            limits.admit(chat)
            accepted.append(trio.current_time())
        except ApiError:
            mock_clock.jump(0.1)
        mock_clock.jump(pause)
    for start in accepted:
        assert sum(start <= moment < start + 1.0 for moment in accepted) <= 10
    assert limits.busiest_second <= 10


@pytest.mark.parametrize("data", ["", "x" * 65, "ж" * 33, 5])
def test_callback_data_is_1_to_64_bytes(data: Any) -> None:
    """Bytes are counted, not letters."""
    with pytest.raises(ApiError, match="BUTTON_DATA_INVALID"):
        read_markup({"inline_keyboard": [[{"text": "A", "callback_data": data}]]})


def test_an_empty_keyboard_is_none() -> None:
    """Rows without buttons vanish, and a keyboard without rows is no keyboard."""
    assert read_markup({"inline_keyboard": [[]]}) is None
