"""For admins: what can be paused, the question before it is, and the incident's banner."""

from __future__ import annotations

from typing import Final

from vpnd.bot.admin_callbacks import BannerOff, PauseAsk, PauseNow, Resume, Status, Switches
from vpnd.bot.button_data import is_word
from vpnd.bot.callbacks import Home
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.trouble import banner
from vpnd.bot.speech import Speech
from vpnd.shop.switches import PAY, SHOP, TRIAL, Snapshot, Switch

#: Buttons of one screen, lines about pauses, and letters of a reason: all of it fits into Telegram's 4096.
_MOST: Final = 40
_LINES: Final = 12
_SHOWN: Final = 60
_FIRST: Final = (SHOP, TRIAL)


def _back(speech: Speech) -> Row:
    return (Button(speech.label("button-status"), Status()), Button(speech.label("button-home"), Home()))


def overview(speech: Speech, snapshot: Snapshot, *, preface: str | None = None) -> Screen:
    """All switches: what is paused, by whom and since when, with a button each. `preface` is HTML said before it."""
    paused = [_paused(speech, switch) for switch in snapshot.all_paused[:_LINES]]
    if len(snapshot.all_paused) > _LINES:
        paused.append(speech.say("alarm-more", count=len(snapshot.all_paused) - _LINES))
    ordered = sorted(snapshot.switches.values(), key=lambda one: (one.name not in _FIRST, one.name))
    # A name that no button can carry is switched from the shell; ways to pay have a screen of their own.
    carried = [one for one in ordered if is_word(one.name) and not one.name.startswith(PAY)]
    buttons = [_button(speech, switch) for switch in carried][:_MOST]
    pairs = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    rows: list[Row] = [*pairs]
    if snapshot.banner is not None:
        rows.append((Button(speech.label("button-banner-off"), BannerOff()),))
    return Screen(
        paragraphs(
            preface,
            speech.say("switches"),
            "\n".join(paused) or speech.say("switches-none-paused"),
            banner(speech, None if snapshot.banner is None else snapshot.banner.text),
            speech.say("banner-usage"),
        ),
        (*rows, _back(speech)),
    )


def _paused(speech: Speech, switch: Switch) -> str:
    return speech.say(
        "switch-paused",
        name=switch.name,
        by=switch.changed_by or "–",
        at="–" if switch.changed_at is None else f"{switch.changed_at:%Y-%m-%d %H:%M} UTC",
        why=f": {switch.reason[:_SHOWN]}" if switch.reason else "",
    )


def _button(speech: Speech, switch: Switch) -> Button:
    if switch.paused:
        return Button(speech.label("button-resume", name=switch.name), Resume(switch.name))
    return Button(speech.label("button-pause", name=switch.name), PauseAsk(switch.name))


def confirm(speech: Speech, name: str) -> Screen:
    """The question whether it is to pause, with what that does."""
    what = name if name in _FIRST else "worker"
    return Screen(
        speech.say("pause-confirm", name=name, what=what),
        (
            (Button(speech.label("button-pause-yes"), PauseNow(name)),),
            (Button(speech.label("button-back"), Switches()), Button(speech.label("button-home"), Home())),
        ),
    )
