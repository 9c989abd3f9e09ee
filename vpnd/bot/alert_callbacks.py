"""What the buttons of alerts carry. Those below an alert are pressed in the operators' group, too."""

from typing import Final

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class AlertList(Action):
    """What is open, and what is muted."""


@attrs.frozen
class OneAlert(Action):
    """An alert with everything that is known of it."""

    alert: int


@attrs.frozen
class Acknowledge(Action):
    """Whoever pressed has seen it."""

    alert: int


@attrs.frozen
class MuteAlert(Action):
    """Tell nobody of alerts of this kind for so many hours; 0: until somebody ends it."""

    alert: int
    hours: int


@attrs.frozen
class ResumeAlerts(Action):
    """Tell of alerts of this kind again; `kind` is its number, by `vpnd.shop.alerts.kind_number`."""

    kind: int


@attrs.frozen
class CloseAlert(Action):
    """It is done with."""

    alert: int


#: What stands for each of them in a button.
LETTERS: Final[dict[str, type[Action]]] = {
    "la": AlertList,
    "lb": OneAlert,
    "lc": Acknowledge,
    "ld": MuteAlert,
    "le": ResumeAlerts,
    "lf": CloseAlert,
}
