"""The shape of a screen: a text, its buttons, and sometimes a picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen
from telegram import CopyTextButton, InlineKeyboardButton, InlineKeyboardMarkup

from vpnd.bot.callbacks import Action, encode

MAX_TEXT: Final = 4096  # Telegram's limits, in characters after its HTML was read
MAX_CAPTION: Final = 1024
MAX_COPY: Final = 256


@frozen
class Button:
    """A label with exactly one effect: an action of ours, a page to open, or a text to copy."""

    label: str
    action: Action | None = None
    url: str | None = None
    copy: str | None = None

    def as_telegram(self) -> InlineKeyboardButton:
        """The button as PTB sends it."""
        if self.action is not None:
            return InlineKeyboardButton(self.label, callback_data=encode(self.action))
        if self.url is not None:
            return InlineKeyboardButton(self.label, url=self.url)
        return InlineKeyboardButton(self.label, copy_text=CopyTextButton(self.copy or self.label))


Row = tuple[Button, ...]


@frozen
class Screen:
    """What a person sees. `qr` is the text to be drawn as a picture above it, if any."""

    text: str
    rows: tuple[Row, ...] = ()
    qr: str | None = None

    def keyboard(self) -> InlineKeyboardMarkup | None:
        """The buttons as PTB sends them; None when there are none."""
        rows = [[button.as_telegram() for button in row] for row in self.rows if row]
        return InlineKeyboardMarkup(rows) if rows else None

    def actions(self) -> Iterable[Action]:
        """Every action a button of this screen can start."""
        return [button.action for row in self.rows for button in row if button.action is not None]


def paragraphs(*parts: str | None) -> str:
    """The parts that are there, an empty line between them."""
    return "\n\n".join(part for part in parts if part)
