"""How to connect: a platform, an app, four steps."""

from __future__ import annotations

from typing import Final

from vpnd.bot.callbacks import Help, HelpFor, Home, Subscriptions
from vpnd.bot.screens.screen import Button, Screen, paragraphs
from vpnd.bot.speech import Speech

PLATFORMS: Final = ("android", "ios", "windows", "macos", "linux", "tv")


def _support(speech: Speech, support: str | None) -> str | None:
    return speech.say("help-support", support=support) if support else None


def overview(speech: Speech, support: str | None) -> Screen:
    """The choice of a platform."""
    buttons = [Button(speech.label(f"button-platform-{name}"), HelpFor(name)) for name in PLATFORMS]
    pairs = tuple(tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2))
    home = (Button(speech.label("button-home"), Home()),)
    return Screen(paragraphs(speech.say("help"), _support(speech, support)), (*pairs, home))


def platform(speech: Speech, name: str, support: str | None) -> Screen | None:
    """The steps on one platform; None for one we don't know."""
    if name not in PLATFORMS:
        return None
    return Screen(
        paragraphs(speech.say(f"help-{name}"), _support(speech, support)),
        (
            (Button(speech.label("button-subscription"), Subscriptions()),),
            (Button(speech.label("button-back"), Help()), Button(speech.label("button-home"), Home())),
        ),
    )
