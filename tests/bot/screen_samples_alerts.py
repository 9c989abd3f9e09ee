"""Screens of alerts, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from vpnd.bot.screens import alert_board
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.monitors.alarms import AlarmState
from vpnd.monitors.service import ALARMS
from vpnd.shop.alerts import Alert, Mute

HUGE = 2**63 - 1
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALARM = AlarmState(ALARMS[0], raised=True, since=1.7e9, worst=9.5, worst_who="<who> & " * 40).to_json()
NODE = {"node": "<de>", "held": 1000, "strangers": 800, "newer": 0, "reason": "strangers"}


def made(**changes: Any) -> Alert:
    """An alert with everything that can be said of one."""
    values: dict[str, Any] = {
        "id": HUGE, "kind": "node_stopped", "subject": "<de>" * 40, "severity": "critical", "args": NODE, "times": 2**31 - 1,
        "opened_at": NOW, "last_at": NOW, "acknowledged_by": f"admin:{HUGE}", "acknowledged_at": NOW, "closed_at": None,
        "closed_by": None, "chat_id": -HUGE, "message_id": HUGE, "told_at": NOW, "muted": True,
        "muted_until": NOW + timedelta(hours=8), "muted_by": f"admin:{HUGE}", "now": NOW,
    }  # fmt: skip
    return Alert(**(values | changes))


NEW = made(
    kind=f"alarm:{ALARM['name']}", subject="", severity="warning", args=ALARM, times=1, acknowledged_by=None,
    acknowledged_at=None, muted=False, muted_until=None, muted_by=None,
)  # fmt: skip
OVER = attrs.evolve(NEW, closed_at=NOW)
DONE = attrs.evolve(made(), closed_at=NOW, closed_by="admin:1", muted_until=None)
STRANGE = made(kind="something_new", args={"x": "{y}"}, severity="info")
MUTES = [
    Mute("held_charge", None, f"admin:{HUGE}", NOW),
    *(Mute(f"alarm:{'w' * 20}{n}", NOW, "a", NOW) for n in range(12)),
]


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen of alerts."""
    return {
        **{
            f"alert {name}": alert_board.in_private(speech, alert, preface=speech.say("alerts-done", what="seen"))
            for name, alert in (
                ("muted", made()), ("new", NEW), ("over", OVER), ("done", DONE), ("strange", STRANGE),
                ("unreadable", made(args={})),
            )
        },
        "alert board": alert_board.board(
            speech,
            [made()] * 5 + [NEW] * 6,
            MUTES,
            {"0": "<why> " * 40, "4": "TOPIC_CLOSED"},
            preface=speech.say("catalogue-done"),
        ),
        "alert board none": alert_board.board(speech, [], [], {}),
        "alerts in group": attrs.evolve(alert_board.in_group(speech, made()), rows=alert_board.private_rows(speech, HUGE)),
    }  # fmt: skip
