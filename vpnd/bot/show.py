"""Puts a screen in front of somebody: by changing the message that was pressed, or by a new one.

A conversation by buttons stays in one message. Where Telegram cannot change it (a picture, a message that is too old, one
that was deleted) a new one is sent, so a press always has a visible answer.
"""

from __future__ import annotations

from typing import Any, Final

from telegram import InputFile
from telegram.constants import ParseMode

from vpnd.bot.markup import fits, fitting
from vpnd.bot.qr import QrDrawer
from vpnd.bot.screens.screen import MAX_CAPTION, MAX_TEXT, Screen
from vpnd.runtime.journal import get_journal
from vpnd.telegram.errors import NotModified, Rejected
from vpnd.telegram.press import PressedMessage
from vpnd.telegram.sender import Lane, Sender

log = get_journal("bot")

_NO_PREVIEW: Final = {"is_disabled": True}


async def send(sender: Sender, lane: Lane, chat_id: int, screen: Screen, qr: QrDrawer | None) -> None:
    """Send a screen as one new message, with its picture if it has one that fits and can be drawn.

    Raises `vpnd.telegram.errors.TelegramError`.
    """
    keyboard = screen.keyboard()
    common: dict[str, Any] = {"chat_id": chat_id, "parse_mode": ParseMode.HTML, "reply_markup": keyboard}
    if screen.qr is not None and qr is not None and fits(screen.text, MAX_CAPTION):
        png = await qr.draw(screen.qr)
        if png is not None and await _send_picture(sender, lane, png, screen.text, common):
            return
    await sender.post(
        lane, "sendMessage", {"text": _text(screen), "link_preview_options": _NO_PREVIEW, **common}
    )


def _text(screen: Screen) -> str:
    """The text of a screen, as much of it as Telegram takes."""
    if fits(screen.text, MAX_TEXT):
        return screen.text
    log.error(
        "bot.text_cut",
        message=f"a text of {len(screen.text)} characters is cut to what Telegram takes; a text of yours may be too long",
    )
    return fitting(screen.text, MAX_TEXT)


async def _send_picture(sender: Sender, lane: Lane, png: bytes, caption: str, common: dict[str, Any]) -> bool:
    """Send a picture with its text; False where Telegram refuses it, for the words are what matters."""
    try:
        picture = InputFile(png, filename="link.png")
        await sender.post(lane, "sendPhoto", {"photo": picture, "caption": caption, **common})
    except Rejected as error:
        log.warning("bot.picture_refused", message=f"a picture was refused, its text goes alone: {error}")
        return False
    return True


async def replace(
    sender: Sender, message: PressedMessage, chat_id: int, screen: Screen, qr: QrDrawer | None
) -> None:
    """Show a screen in place of `message`, or as a new message where that is impossible.

    Raises `vpnd.telegram.errors.TelegramError`.
    """
    edited = (
        screen.qr is None and message.editable and await edit(sender, chat_id, message.message_id, screen)
    )
    if not edited:
        await send(sender, Lane.REPLY, chat_id, screen, qr)


async def edit(
    sender: Sender, chat_id: int, message_id: int, screen: Screen, *, lane: Lane = Lane.REPLY
) -> bool:
    """Change a message; False where that is impossible. A second tap, which changes nothing, counts as done.

    Raises `vpnd.telegram.errors.TelegramError`.
    """
    try:
        await sender.post(
            lane,
            "editMessageText",
            {
                "text": _text(screen),
                "chat_id": chat_id,
                "message_id": message_id,
                "parse_mode": ParseMode.HTML,
                "reply_markup": screen.keyboard(),
                "link_preview_options": _NO_PREVIEW,
            },
        )
    except NotModified:
        return True
    except Rejected as error:
        log.debug("bot.edit_refused", message=f"a message could not be changed, a new one is sent: {error}")
        return False
    return True
