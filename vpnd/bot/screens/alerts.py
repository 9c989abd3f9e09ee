"""For admins: what the daemon cannot mend by itself. Nodes that wait for a person, access that no node has, alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from vpnd.bot.admin_callbacks import Status
from vpnd.bot.callbacks import Home
from vpnd.bot.screens.paid import admin_lines, for_operators
from vpnd.bot.screens.screen import Button, Screen, paragraphs
from vpnd.bot.speech import Speech

#: Alarms of one message, and letters of who is named in one: all of them fit into Telegram's 4096.
_SHOWN: Final = 10
_WHO: Final = 70
# Units that are no words.
_UNITS: Final = {"of 1": "share"}


def node_stopped(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A node disagrees so much with the database that nothing is taken away until a person has looked."""
    return admin_lines(speech, "node-stopped", args, ("node", "held", "strangers", "newer", "reason"))


def activation_late(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Somebody has paid, and no node has let him in yet."""
    since = datetime.fromisoformat(str(args["since"]))
    shown = {
        "subscription_id": str(args["subscription_id"]),
        "telegram_id": "–" if args["telegram_id"] is None else str(args["telegram_id"]),
        "plan_id": "–" if args["plan_id"] is None else str(args["plan_id"]),
        "since": f"{since:%Y-%m-%d %H:%M} UTC",
    }
    others = int(args["others"])
    more = speech.say("activation-late-others", count=others) if others else None
    text = speech.say("activation-late", attempts=int(args["attempts"]), **shown)
    return for_operators(speech, paragraphs(text, more))


def alarm_line(speech: Speech, alarm: Mapping[str, Any], key: str = "alarm-line") -> str:
    """One alarm: what is measured, its worst, its threshold, and who."""
    name = str(alarm["name"])
    who = str(alarm.get("who") or "")[:_WHO]
    unit = speech.label("alarm-unit", unit=_UNITS.get(str(alarm["unit"]), str(alarm["unit"])))
    return speech.say(
        key,
        what=speech.label("alarm-what", name=name, what=str(alarm["what"])),
        value=f"{float(alarm['value']):g}",
        threshold=f"{float(alarm['threshold']):g}",
        unit=f" {unit}" if unit else "",
        who=f" ({who})" if who else "",
    )


def _list(speech: Speech, head: str, key: str, alarms: Sequence[Mapping[str, Any]]) -> str | None:
    if not alarms:
        return None
    lines = [alarm_line(speech, alarm, key) for alarm in alarms[:_SHOWN]]
    if len(alarms) > _SHOWN:
        lines.append(speech.say("alarm-more", count=len(alarms) - _SHOWN))
    return "\n".join([speech.say(head), *lines])


def alarms(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """All that was raised and cleared within some seconds, in one message."""
    text = paragraphs(
        _list(speech, "alarms-raised", "alarm-line", args["raised"]),
        _list(speech, "alarms-cleared", "alarm-line-cleared", args["cleared"]),
    )
    if not text:
        raise ValueError("a message about no alarm at all")
    row = (Button(speech.label("button-status"), Status()), Button(speech.label("button-home"), Home()))
    return Screen(text, (row,))


def group_moved(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """The group that alerts are posted to became a supergroup."""
    return admin_lines(speech, "alert-group-moved", args, ("old", "new"))


#: The notices of this module by their names.
ALERTS: Final[dict[str, Callable[[Speech, Mapping[str, Any]], Screen]]] = {
    "node_stopped": node_stopped,
    "activation_late": activation_late,
    "alarms": alarms,
    "alert_group_moved": group_moved,
}
