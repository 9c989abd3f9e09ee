"""What is planned: work on a node, announced to whoever has access."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from vpnd.bot.callbacks import Help, Home
from vpnd.bot.screens.screen import Button, Screen
from vpnd.bot.speech import Speech


def maintenance(speech: Speech, args: Mapping[str, Any], ahead: tuple[timedelta, timedelta]) -> Screen:
    """Work on a node: from when until when, on the customer's own clock, which is `ahead` of UTC then."""
    text = speech.say(
        "maintenance",
        node=str(args["node"]),
        start=speech.moment(datetime.fromisoformat(str(args["starts_at"])), ahead[0]),
        end=speech.moment(datetime.fromisoformat(str(args["ends_at"])), ahead[1]),
        others=bool(args["others"]),
    )
    return Screen(
        text, ((Button(speech.label("button-help"), Help()), Button(speech.label("button-home"), Home())),)
    )
