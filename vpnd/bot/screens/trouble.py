"""What went wrong, said kindly, and always with a way on."""

from __future__ import annotations

from typing import Final

from vpnd.bot.callbacks import Home, Plans
from vpnd.bot.screens.screen import Button, Screen, paragraphs
from vpnd.bot.speech import Speech

#: What can be said without knowing anything: text keys that take no values.
WORDS: Final = ("stale", "not-yours", "trouble", "unknown-text", "repair", "notice-unknown", "too-fast")


def words(speech: Speech, key: str) -> Screen:
    """One of `WORDS`, with the way back to the menu."""
    return Screen(speech.say(key), ((Button(speech.label("button-home"), Home()),),))


def banner(speech: Speech, text: str | None) -> str | None:
    """What an operator has everybody read first, as HTML; None when there is nothing."""
    return speech.say("banner", text=text) if text else None


def shop_paused(speech: Speech, banner_text: str | None) -> Screen:
    """Nothing is sold for the moment, and why, if it was said."""
    text = paragraphs(banner(speech, banner_text), speech.say("shop-paused"))
    return Screen(text, ((Button(speech.label("button-home"), Home()),),))


def not_on_sale(speech: Speech) -> Screen:
    """The offer is gone or its price has changed: here is what there is now."""
    return Screen(
        speech.say("not-on-sale"),
        ((Button(speech.label("button-buy"), Plans()),), (Button(speech.label("button-home"), Home()),)),
    )
