"""The shape of a screen: a text, its buttons, and sometimes a picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

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

    def as_json(self) -> dict[str, Any]:
        """The button as the Bot API takes it."""
        if self.action is not None:
            return {"text": self.label, "callback_data": encode(self.action)}
        if self.url is not None:
            return {"text": self.label, "url": self.url}
        return {"text": self.label, "copy_text": {"text": self.copy or self.label}}


Row = tuple[Button, ...]


@frozen
class Screen:
    """What a person sees. `qr` is the text to be drawn as a picture above it, if any."""

    text: str
    rows: tuple[Row, ...] = ()
    qr: str | None = None

    def keyboard(self) -> dict[str, Any] | None:
        """The buttons as the Bot API takes them, plain JSON: a screen is made for every press. None when there are none."""
        rows = [[button.as_json() for button in row] for row in self.rows if row]
        return {"inline_keyboard": rows} if rows else None

    def actions(self) -> Iterable[Action]:
        """Every action a button of this screen can start."""
        return [button.action for row in self.rows for button in row if button.action is not None]


def paragraphs(*parts: str | None) -> str:
    """The parts that are there, an empty line between them."""
    return "\n\n".join(part for part in parts if part)
