"""For operators: what could not leave the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vpnd.bot.callbacks import Home
from vpnd.bot.customer_callbacks import DeadLetters, LetterAgain, LetterDropAsk, LetterDropNow, OneLetter
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.dead_letters import DeadLetter

PAGE: Final = 8
_LABEL: Final = 36  # letters of a key on a button
_KEY: Final = 120
_ERROR: Final = 160


def _back(speech: Speech, *, listed: bool = False) -> tuple[Row, ...]:
    last = (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))
    return (last,) if listed else ((Button(speech.label("button-letters"), DeadLetters()),), last)


def page(speech: Speech, letters: Sequence[DeadLetter], *, preface: str | None = None) -> Screen:
    """A page of them, the newest first; there is a next one if it is longer than `PAGE`."""
    shown = letters[:PAGE]
    rows: list[Row] = [(Button(one.key[:_LABEL], OneLetter(one.id)),) for one in shown]
    if len(letters) > PAGE:
        rows.append((Button(speech.label("button-older"), DeadLetters(shown[-1].id)),))
    lines = "\n".join(_line(speech, one, _ERROR) for one in shown)
    head = speech.say("letters" if shown else "letters-none")
    return Screen(paragraphs(preface, head, lines), (*rows, *_back(speech, listed=True)))


def _line(speech: Speech, one: DeadLetter, most: int) -> str:
    return speech.say(
        "letter-line",
        kind=one.kind,
        key=one.key[:_KEY],
        error=one.error[:most] or speech.label("letter-silent"),
        failures=str(one.failures),
        at="–" if one.finished_at is None else f"{one.finished_at:%Y-%m-%d %H:%M} UTC",
    )


def letter(speech: Speech, one: DeadLetter) -> Screen:
    """One of them, and what can be done with it."""
    again = Button(speech.label("button-letter-again"), LetterAgain(one.id))
    drop = Button(speech.label("button-letter-drop"), LetterDropAsk(one.id))
    return Screen(paragraphs(speech.say("letter"), _line(speech, one, 600)), ((again, drop), *_back(speech)))


def confirm_drop(speech: Speech, one: DeadLetter, asked: int) -> Screen:
    """What dropping means, and the question whether to."""
    yes = Button(speech.label("button-letter-drop-yes"), LetterDropNow(one.id, asked))
    text = paragraphs(speech.say("letter-drop"), _line(speech, one, 600))
    return Screen(text, ((yes,), *_back(speech)))


def gone(speech: Speech) -> Screen:
    """Somebody has seen to it."""
    return Screen(speech.say("letter-gone"), _back(speech))
