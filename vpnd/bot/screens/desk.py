"""For those who run the shop: their menu, who they are, and what they did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from vpnd.bot.admin_callbacks import Status, Switches
from vpnd.bot.alert_callbacks import AlertList
from vpnd.bot.broadcast_callbacks import Broadcasts
from vpnd.bot.button_data import Action
from vpnd.bot.callbacks import Home
from vpnd.bot.catalogue_callbacks import Catalogue
from vpnd.bot.customer_callbacks import DeadLetters, FindCustomer
from vpnd.bot.desk_callbacks import AddOperator, AuditLog, Desk, OneOperator, Operators, RoleAsk, RoleNow
from vpnd.bot.figures_callbacks import Exports, Figures
from vpnd.bot.markup import code
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.audit_log import Entry
from vpnd.shop.operators import ROLES, Actor, Operator, Permission

#: What takes a role away, where a role is named.
NOBODY: Final = "none"
#: Lines of a page of the audit log, and letters of what one says was before and after: a page fits into Telegram's 4096.
PAGE: Final = 8
_SHOWN: Final = 120
#: Operators that have a button; the shell lists all of them.
_BUTTONS: Final = 30
_NAME: Final = 32  # letters of a name on a button

#: The rooms of the desk: what an operator needs for one, its label, and what its button does. In pairs, from the top.
SECTIONS: Final[tuple[tuple[Permission, str, Action], ...]] = (
    (Permission.STATUS, "button-status", Status()),
    (Permission.SWITCH, "button-switches", Switches()),
    (Permission.OPERATORS, "button-operators", Operators()),
    (Permission.AUDIT, "button-audit-log", AuditLog()),
    (Permission.CATALOGUE, "button-catalogue", Catalogue()),
    (Permission.CUSTOMERS, "button-find", FindCustomer()),
    (Permission.DEAD_LETTERS, "button-letters", DeadLetters()),
    (Permission.BROADCASTS, "button-broadcasts", Broadcasts()),
    (Permission.FIGURES, "button-figures", Figures("today")),
    (Permission.EXPORT, "button-exports", Exports()),
    (Permission.ALERTS, "button-alerts", AlertList()),
)


def _back(speech: Speech) -> Row:
    return (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))


def menu(speech: Speech, actor: Actor) -> Screen:
    """All that this operator may enter."""
    buttons = [Button(speech.label(key), action) for needs, key, action in SECTIONS if actor.may(needs)]
    rows: list[Row] = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    text = speech.say("desk", role=actor.role or NOBODY)
    return Screen(text, (*rows, (Button(speech.label("button-home"), Home()),)))


def refused(speech: Speech, role: str, permission: Permission) -> Screen:
    """A role does not allow it."""
    return Screen(speech.say("desk-refused", role=role, action=permission.value), (_back(speech),))


def done_already(speech: Speech) -> Screen:
    """The question was answered before."""
    return Screen(speech.say("desk-done-already"), (_back(speech),))


# ------------------------------------------------------------------------------------------ who they are


def operators(
    speech: Speech, owners: Sequence[int], others: Sequence[Operator], *, preface: str | None = None
) -> Screen:
    """The owners of the configuration, and those who were made operators, with a button each."""
    lines = [
        *(speech.say("operator-fixed", id=str(owner)) for owner in owners),
        *(
            speech.say("operator-line", id=str(one.telegram_id), name=one.name, role=one.role)
            for one in others[:_BUTTONS]
        ),
    ]
    buttons: list[Row] = [
        (
            Button(
                speech.label("button-operator", name=(one.name or str(one.telegram_id))[:_NAME]),
                OneOperator(one.telegram_id),
            ),
        )
        for one in others[:_BUTTONS]
    ]
    return Screen(
        paragraphs(preface, speech.say("operators"), "\n".join(lines)),
        (*buttons, (Button(speech.label("button-operator-add"), AddOperator()),), _back(speech)),
    )


def ask_who(speech: Speech, *, unknown: bool = False) -> Screen:
    """Who is to become an operator, in words."""
    problem = speech.say("operator-unknown") if unknown else None
    return Screen(
        paragraphs(problem, speech.say("operator-ask")),
        ((Button(speech.label("button-operators"), Operators()),), _back(speech)),
    )


def operator(speech: Speech, telegram_id: int, name: str, role: str | None) -> Screen:
    """One person, and the roles that he can have."""
    rows: list[Row] = [
        (Button(speech.label("button-role", role=other), RoleAsk(telegram_id, other)),)
        for other in ROLES
        if other != role
    ]
    if role is not None:
        rows.append((Button(speech.label("button-role", role=NOBODY), RoleAsk(telegram_id, NOBODY)),))
    text = speech.say("operator", id=code(telegram_id), name=name, role=role or NOBODY)
    return Screen(text, (*rows, (Button(speech.label("button-operators"), Operators()),), _back(speech)))


def confirm_role(speech: Speech, action: RoleAsk, name: str, before: str | None, asked: int) -> Screen:
    """What a role allows, and the question whether he is to have it."""
    text = speech.say(
        "operator-confirm", id=str(action.telegram_id), name=name, role=action.role, before=before or NOBODY
    )
    yes = RoleNow(action.telegram_id, action.role, asked)
    return Screen(
        text,
        (
            (Button(speech.label("button-role-yes"), yes),),
            (Button(speech.label("button-back"), OneOperator(action.telegram_id)),),
            _back(speech),
        ),
    )


# ------------------------------------------------------------------------------------------ what they did


def audit_log(speech: Speech, entries: Sequence[Entry]) -> Screen:
    """A page of it, the newest first; there is a next one if it is longer than `PAGE`."""
    lines = [_entry(speech, entry) for entry in entries[:PAGE]]
    rows: list[Row] = []
    if len(entries) > PAGE:
        rows.append((Button(speech.label("button-older"), AuditLog(entries[PAGE - 1].id)),))
    text = paragraphs(speech.say("audit-log"), *lines) if lines else speech.say("audit-log-empty")
    return Screen(text, (*rows, _back(speech)))


def _entry(speech: Speech, entry: Entry) -> str:
    return speech.say(
        "audit-line",
        at=f"{entry.at:%Y-%m-%d %H:%M}",
        actor=entry.actor,
        role=entry.role,
        action=entry.action,
        subject=entry.subject,
        change=_change(entry),
        why=f" — {entry.reason[:_SHOWN]}" if entry.reason else "",
    )


def _change(entry: Entry) -> str:
    sides = " → ".join(side for side in (_values(entry.before), _values(entry.after)) if side)
    return f" · {sides}" if sides else ""


def _values(values: Any) -> str:
    if not values:
        return ""
    text = ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
    )
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def entry_lines(speech: Speech, entries: Sequence[Entry]) -> list[str]:
    """Lines of the audit log, as finished HTML: for the history of one thing."""
    return [_entry(speech, entry) for entry in entries]
