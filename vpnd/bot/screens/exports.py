"""Exports for operators: what there is, the question, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpnd.bot.callbacks import Home
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.figures_callbacks import ExportAsk, ExportNow, Exports
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech
from vpnd.shop.export_tables import EXPORTS, TABLES, Export
from vpnd.shop.operators import Actor, Permission

__all__ = ["asked", "choice", "confirm", "failed", "file_caption", "in_vain", "too_big"]


def _back(speech: Speech) -> Row:
    return (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))


def choice(speech: Speech) -> Screen:
    """The tables."""
    buttons = [Button(speech.label("button-export", what=one), ExportAsk(one, 0)) for one in EXPORTS]
    rows = tuple(tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2))
    return Screen(speech.say("exports"), (*rows, _back(speech)))


def confirm(speech: Speech, actor: Actor, what: Export, *, with_secrets: bool, update: int) -> Screen:
    """What the file will hold, and whether it is to be made. `update` is the one that asks."""
    rows: list[Row] = [
        (Button(speech.label("button-export-yes"), ExportNow(what, int(with_secrets), update)),)
    ]
    if TABLES[what].secrets and not with_secrets and actor.may(Permission.EXPORT_SECRETS):
        rows.append((Button(speech.label("button-export-secrets"), ExportAsk(what, 1)),))
    rows.append((Button(speech.label("button-back"), Exports()),))
    text = speech.say("export-confirm", what=what, secrets="yes" if with_secrets else "no")
    return Screen(text, (*rows, _back(speech)))


def asked(speech: Speech, what: Export) -> Screen:
    """It is being made."""
    return Screen(
        speech.say("export-asked", what=what),
        ((Button(speech.label("button-exports"), Exports()),), _back(speech)),
    )


def file_caption(speech: Speech, what: Export, rows: int, moment: str, *, with_secrets: bool) -> Screen:
    """What stands below the file."""
    text = speech.say(
        "export-file", what=what, count=rows, moment=moment, secrets="yes" if with_secrets else "no"
    )
    return Screen(text, ((Button(speech.label("button-exports"), Exports()),), _back(speech)))


def too_big(speech: Speech, what: Export) -> Screen:
    """It is longer than a bot may send."""
    return Screen(
        speech.say("export-too-big", what=what, command=f"vpnd export {what}"),
        ((Button(speech.label("button-exports"), Exports()),), _back(speech)),
    )


def failed(speech: Speech, what: Export) -> Screen:
    """It could not be made, and why is in the journal."""
    return Screen(
        speech.say("export-failed", what=what),
        ((Button(speech.label("button-exports"), Exports()),), _back(speech)),
    )


def in_vain(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """It was tried again and again, and is tried no more: the args of the notice `export_failed`."""
    what = str(args["what"])
    return Screen(
        speech.say("export-in-vain", what=what, count=int(args["attempts"]), command=f"vpnd export {what}"),
        ((Button(speech.label("button-exports"), Exports()),), _back(speech)),
    )
