"""Notices about an end that comes or has come, of a subscription or a trial. Each says what is left when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vpnd.bot.callbacks import Home, Notifications, OneSubscription, Periods, Plans
from vpnd.bot.clocks import Ending
from vpnd.bot.own_callbacks import Connect, DoesNotWork, Works
from vpnd.bot.screens.screen import Button, Row, Screen
from vpnd.bot.speech import Speech


def _home(speech: Speech) -> Row:
    return (
        Button(speech.label("button-notifications"), Notifications()),
        Button(speech.label("button-home"), Home()),
    )


def _values(speech: Speech, ending: Ending) -> dict[str, str]:
    return {
        "title": ending.title(speech.language),
        "until": speech.moment(ending.expires_at, ending.ahead),
        "left": speech.left(ending.expires_at, ending.now),
    }


def _step(args: Mapping[str, Any]) -> str:
    """The step as the texts name it: d7, h3."""
    when = str(args["when"])
    return when[-1:] + when[:-1]


def _renew(speech: Speech, args: Mapping[str, Any]) -> Row:
    wish = Periods(str(args["plan_id"]), int(args["subscription_id"]))
    return (Button(speech.label("button-renew"), wish),)


def reminder(speech: Speech, args: Mapping[str, Any], ending: Ending) -> Screen:
    """It ends soon: when, how much is left, and the button that prolongs it."""
    text = speech.say("reminder", when=_step(args), **_values(speech, ending))
    return Screen(text, (_renew(speech, args), _home(speech)))


def reminder_over(speech: Speech, args: Mapping[str, Any], ending: Ending) -> Screen:
    """It has ended a while ago; one press begins to renew it."""
    text = speech.say(
        "reminder-over",
        when=_step(args),
        title=ending.title(speech.language),
        until=speech.moment(ending.expires_at, ending.ahead),
    )
    return Screen(text, (_renew(speech, args), _home(speech)))


def trial_checkup(speech: Speech, args: Mapping[str, Any], ending: Ending) -> Screen:
    """Some hours into the trial: is it connected?"""
    own = int(args["subscription_id"])
    rows: tuple[Row, ...] = (
        (
            Button(speech.label("button-works"), Works()),
            Button(speech.label("button-does-not-work"), DoesNotWork(own)),
        ),
        (Button(speech.label("button-how-to-connect"), Connect(own)),),
        (Button(speech.label("button-subscription"), OneSubscription(own)),),
        _home(speech),
    )
    return Screen(speech.say("trial-checkup", **_values(speech, ending)), rows)


def _buy(speech: Speech, text: str) -> Screen:
    return Screen(text, ((Button(speech.label("button-choose-plan"), Plans()),), _home(speech)))


def trial_progress(speech: Speech, _args: Mapping[str, Any], ending: Ending) -> Screen:
    """Most of the trial is over: how it can go on."""
    return _buy(speech, speech.say("trial-progress", **_values(speech, ending)))


def trial_ending(speech: Speech, _args: Mapping[str, Any], ending: Ending) -> Screen:
    """The trial ends soon."""
    return _buy(speech, speech.say("trial-ending", **_values(speech, ending)))


def trial_ended(speech: Speech, _args: Mapping[str, Any], ending: Ending) -> Screen:
    """The trial has ended."""
    until = speech.moment(ending.expires_at, ending.ahead)
    return _buy(speech, speech.say("trial-ended", until=until))


#: The notices that are made with how their subscription stands.
ENDINGS: Final[dict[str, Callable[[Speech, Mapping[str, Any], Ending], Screen]]] = {
    "reminder": reminder,
    "reminder_over": reminder_over,
    "trial_checkup": trial_checkup,
    "trial_progress": trial_progress,
    "trial_ending": trial_ending,
    "trial_ended": trial_ended,
}
_AFTERWARDS: Final = ("reminder_over", "trial_ended")


def still_true(template: str, args: Mapping[str, Any], ending: Ending) -> bool:
    """Whether a notice can be sent as it was decided: nobody has paid, given or taken back anything since."""
    if ending.expires_at != datetime.fromisoformat(str(args["expires_at"])):
        return False
    if template.startswith("trial_") and not ending.trial:
        return False
    if template in _AFTERWARDS:
        return not ending.active
    return ending.active and ending.expires_at > ending.now
