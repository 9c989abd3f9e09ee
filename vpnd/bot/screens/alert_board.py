"""For operators: an alert as it stands, in their group or in private, and the list of what is open and what is muted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vpnd.bot.alert_callbacks import Acknowledge, AlertList, CloseAlert, MuteAlert, OneAlert, ResumeAlerts
from vpnd.bot.callbacks import Home
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.screens import money
from vpnd.bot.screens.alerts import alarm_line
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.alerts import ALARM, HOURS, Alert, Mute, kind_number

#: Alerts and mutes of one list, and letters of a subject there.
SHOWN: Final = 10
_SUBJECT: Final = 24


def _at(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def said(speech: Speech, kind: str, args: Mapping[str, Any], *, over: bool = False) -> str:
    """What an alert is about, in words."""
    try:
        if kind.startswith(ALARM):
            return alarm_line(speech, args, "alarm-line-cleared" if over else "alarm-line")
        render = money.NOTICES.get(kind)
        # A newer version may have written it: there is news all the same.
        return speech.say("alert-unknown", kind=kind) if render is None else render(speech, args).text
    except (KeyError, ValueError, TypeError):
        return speech.say("alert-unknown", kind=kind)


def _state(alert: Alert) -> str:
    return "over" if alert.closed_at is not None else alert.severity


def text(speech: Speech, alert: Alert) -> str:
    """An alert with how bad it is, how often it came, who has seen it and whether it is muted."""
    closed = alert.closed_at is not None
    more: list[str | None] = [
        speech.say("alert-times", count=alert.times, at=_at(alert.last_at)) if alert.times > 1 else None,
        None
        if alert.acknowledged_at is None
        else speech.say("alert-seen", by=alert.acknowledged_by or "–", at=_at(alert.acknowledged_at)),
        _muted(speech, alert),
        speech.say("alert-closed", by=alert.closed_by, at=_at(alert.closed_at))
        if closed and alert.closed_by is not None
        else None,
    ]
    head = speech.say("alert-head", state=_state(alert), at=_at(alert.opened_at))
    lines = "\n".join(line for line in more if line) or None
    return paragraphs(head, said(speech, alert.kind, alert.args, over=closed), lines)


def _muted(speech: Speech, alert: Alert) -> str | None:
    if not alert.muted:
        return None
    until = "–" if alert.muted_until is None else _at(alert.muted_until)
    ends = "no" if alert.muted_until is None else "yes"
    return speech.say("alert-muted", by=alert.muted_by or "–", until=until, ends=ends)


def rows(speech: Speech, alert: Alert) -> tuple[Row, ...]:
    """What can be done about an alert."""
    if alert.closed_at is not None:
        return ()
    first: list[Button] = []
    if alert.acknowledged_by is None:
        first.append(Button(speech.label("button-alert-seen"), Acknowledge(alert.id)))
    first.append(Button(speech.label("button-alert-close"), CloseAlert(alert.id)))
    if alert.muted:
        return (
            tuple(first),
            (Button(speech.label("button-alert-resume"), ResumeAlerts(kind_number(alert.kind))),),
        )
    mutes = tuple(
        Button(speech.label("button-alert-mute", hours=hours), MuteAlert(alert.id, hours)) for hours in HOURS
    )
    return (tuple(first), mutes)


def in_group(speech: Speech, alert: Alert) -> Screen:
    """An alert as the operators' group has it."""
    return Screen(text(speech, alert), rows(speech, alert))


def in_private(speech: Speech, alert: Alert, *, preface: str | None = None) -> Screen:
    """The same for one operator, with the way back."""
    back = (Button(speech.label("button-alerts"), AlertList()), Button(speech.label("button-home"), Home()))
    return Screen(paragraphs(preface, text(speech, alert)), (*rows(speech, alert), back))


def private_rows(speech: Speech, alert_id: int) -> tuple[Row, ...]:
    """The buttons below an alert that an operator is told in private."""
    return (
        (Button(speech.label("button-alert-seen"), Acknowledge(alert_id)),),
        (
            Button(speech.label("button-alert-more"), OneAlert(alert_id)),
            Button(speech.label("button-home"), Home()),
        ),
    )


def name(speech: Speech, kind: str) -> str:
    """What a kind is called in a list and on a button."""
    if kind.startswith(ALARM):
        return kind.removeprefix(ALARM)
    return speech.label("alert-kind", kind=kind)


def board(
    speech: Speech,
    found: Sequence[Alert],
    mutes: Sequence[Mute],
    lost: Mapping[str, str],
    *,
    preface: str | None = None,
) -> Screen:
    """What is open, what is muted and until when, and whether the group can be written to. `preface` is HTML said before."""
    lines = [
        speech.say(
            "alert-line",
            state=_state(alert),
            name=name(speech, alert.kind),
            about="yes" if alert.subject else "no",
            subject=alert.subject[:_SUBJECT],
            at=_at(alert.last_at),
            again="yes" if alert.times > 1 else "no",
            times=str(alert.times),
            seen="no" if alert.acknowledged_by is None else "yes",
            by=alert.acknowledged_by or "",
        )
        for alert in found[:SHOWN]
    ]
    buttons = [
        Button(
            speech.label("button-alert-one", state=_state(alert), name=name(speech, alert.kind)),
            OneAlert(alert.id),
        )
        for alert in found[:SHOWN]
    ]
    pairs: list[Row] = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    quiet = [
        speech.say(
            "alert-mute-line",
            name=name(speech, mute.kind),
            by=mute.muted_by,
            until="–" if mute.until is None else _at(mute.until),
            ends="no" if mute.until is None else "yes",
        )
        for mute in mutes[:SHOWN]
    ]
    ends: list[Row] = [
        (
            Button(
                speech.label("button-alert-resume-kind", name=name(speech, mute.kind)),
                ResumeAlerts(kind_number(mute.kind)),
            ),
        )
        for mute in mutes[:SHOWN]
    ]
    trouble = [
        speech.say("alert-group-lost", one="no" if topic == "0" else "yes", topic=topic, reason=reason[:80])
        for topic, reason in list(lost.items())[:3]
    ]
    desk = (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))
    body = paragraphs(
        preface,
        speech.say("alerts"),
        "\n".join(trouble) or None,
        "\n".join(lines) or speech.say("alerts-none"),
        "\n".join([speech.say("alerts-muted"), *quiet]) if quiet else None,
    )
    return Screen(body, (*pairs, *ends, desk))
