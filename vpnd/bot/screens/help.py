"""Help: connect a device, find out why it does not work, reach a person."""

from __future__ import annotations

from vpnd.bot.callbacks import Home
from vpnd.bot.own_callbacks import DoesNotWork, MyData
from vpnd.bot.screens.connecting import platform_rows
from vpnd.bot.screens.plans import terms_rows
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.config import contact_link


def support_line(speech: Speech, support: str | None) -> str | None:
    """Whom to write to, in a shop that has somebody."""
    return speech.say("help-support", support=support) if support else None


def support_row(speech: Speech, support: str | None) -> Row:
    """A button that opens the chat with him, where he has an address."""
    link = contact_link(support)
    return () if link is None else (Button(speech.label("button-support"), url=link),)


def overview(speech: Speech, support: str | None, terms_url: str | None = None) -> Screen:
    """The choice of a platform, and what helps otherwise."""
    rows: list[Row] = [
        *platform_rows(speech),
        (
            Button(speech.label("button-does-not-work"), DoesNotWork(0)),
            Button(speech.label("button-my-data"), MyData()),
        ),
        support_row(speech, support),
        *terms_rows(speech, terms_url),
        (Button(speech.label("button-home"), Home()),),
    ]
    return Screen(paragraphs(speech.say("help"), support_line(speech, support)), tuple(rows))
