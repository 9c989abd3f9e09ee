"""The maker of docs/screens.md: it can send every sample, and leaves out what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from contact_sheet import A_CHAT, ALIKE, chats_of, chosen, fields

sys.path.insert(0, str(Path(__file__).parents[1] / "bot"))

from screen_samples import screens

from vpnd.bot.speech import Speech
from vpnd.bot.texts import Texts


def test_every_sample_can_be_sent() -> None:
    """The fields are those of the Bot API, plain text each."""
    for name, screen in screens(Speech(Texts.load(), "en")).items():
        sent = fields(5, screen)

        assert all(isinstance(value, str) for value in sent.values()), name
        assert screen.rows == () or json.loads(sent["reply_markup"])["inline_keyboard"], name


def test_what_is_alike_is_drawn_once() -> None:
    """Each pattern of what is left out meets a sample still; every room of customers and operators stays in the pictures."""
    names = list(screens(Speech(Texts.load(), "en")))
    drawn = chosen(names, "", alike=False)

    assert chosen(names, "", alike=True) == names
    assert 0 < len(names) - len(drawn) == len([name for name in names if ALIKE.fullmatch(name)])
    assert {name.split()[0] for name in names} - {name.split()[0] for name in drawn} == set()


def test_no_chat_holds_more_than_the_sandbox_keeps() -> None:
    """All screens are there, in their order, in chats of their language."""
    names = [str(number) for number in range(2 * A_CHAT + 1)]
    first, second = chats_of(names, 0), chats_of(names, 1)

    assert [name for _, shown in first for name in shown] == names
    assert [len(shown) for _, shown in second] == [A_CHAT, A_CHAT, 1]
    assert not {chat for chat, _ in first} & {chat for chat, _ in second}
