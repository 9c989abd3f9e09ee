"""What the buttons of the operators' own menu carry: the desk, who the operators are, and what they did."""

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class Desk(Action):
    """The menu of those who run the shop."""


@attrs.frozen
class Operators(Action):
    """Who they are."""


@attrs.frozen
class AddOperator(Action):
    """Somebody is to become one; who it is will be written."""


@attrs.frozen
class OneOperator(Action):
    """One of them, or somebody who may become one."""

    telegram_id: int


@attrs.frozen
class RoleAsk(Action):
    """The question whether somebody gets a role; "none" takes the one he has."""

    telegram_id: int
    role: str


@attrs.frozen
class RoleNow(Action):
    """Yes. `asked` is the update that asked."""

    telegram_id: int
    role: str
    asked: int


@attrs.frozen
class AuditLog(Action):
    """A page of what operators did; `before` is the last line of the page before, or 0."""

    before: int = 0
