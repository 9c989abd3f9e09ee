"""Screens of those who run the shop, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, datetime

from vpnd.bot.desk_callbacks import RoleAsk
from vpnd.bot.screens import desk
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.shop.audit_log import Entry
from vpnd.shop.operators import ROLES, Actor, Operator, Permission

HUGE = 2**63 - 1
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OTHERS = [Operator(HUGE - number, ROLES[number % 4], "A<b>&" * 12, "admin:1", NOW) for number in range(60)]
ENTRIES = [
    Entry(
        HUGE - number, NOW, f"admin:{HUGE}", "owner", "customers.balance.taken", f"customer:{HUGE}",
        {"balance": "<1>" * 100}, {"balance": 2, "list": [1, "&"]}, "because <so> " * 80,
    )
    for number in range(desk.PAGE + 1)
]  # fmt: skip


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen of the desk."""
    name = "A<b>&" * 12
    return {
        **{f"desk {role}": desk.menu(speech, Actor("admin:1", role, 1)) for role in ROLES},
        **{f"desk refused {role}": desk.refused(speech, role, Permission.EXPORT_SECRETS) for role in ROLES},
        "desk done already": desk.done_already(speech),
        "operators": desk.operators(speech, (1, HUGE), OTHERS, preface=speech.say("catalogue-done")),
        "operators none": desk.operators(speech, (1,), []),
        "operator ask": desk.ask_who(speech),
        "operator ask again": desk.ask_who(speech, unknown=True),
        **{f"operator {role}": desk.operator(speech, HUGE, name, role) for role in (*ROLES, None)},
        **{
            f"operator confirm {role}": desk.confirm_role(speech, RoleAsk(HUGE, role), name, before, HUGE)
            for role, before in zip((*ROLES, desk.NOBODY), (None, *ROLES), strict=True)
        },
        "operators with news": desk.operators(
            speech, (), OTHERS[:2], preface=speech.say("operator-done", id="1", role="none")
        ),
        "audit log": desk.audit_log(speech, ENTRIES),
        "audit log none": desk.audit_log(speech, []),
    }
