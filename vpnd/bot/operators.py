"""The desk of those who run the shop: its menu, who the operators are, and what they did."""

from __future__ import annotations

from typing import Final

from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.desk_callbacks import AuditLog, OneOperator, RoleAsk, RoleNow
from vpnd.bot.screens import desk
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change, entries
from vpnd.shop.operators import (
    ROLES,
    Operator,
    Permission,
    Role,
    list_operators,
    remove_operator,
    set_operator,
)
from vpnd.shop.source import fetchrow

_MOST_DIGITS: Final = 19  # a bigint

_BY_NAME: Final = """
select telegram_id, first_name, username from customers where lower(username) = lower($1) order by id desc limit 1
"""
_BY_ID: Final = "select telegram_id, first_name, username from customers where telegram_id = $1"


async def open_desk(visit: Visit, _words: str = "") -> None:
    """`/admin`: the operators' menu."""
    await visit.expect_nothing()
    await visit.show(desk.menu(visit.speech, visit.actor))


async def show_desk(visit: Visit, _action: Action) -> None:
    """The same by a button."""
    await visit.show(desk.menu(visit.speech, visit.actor))


# ------------------------------------------------------------------------------------------ who they are


async def show_operators(visit: Visit, _action: Action) -> None:
    """All operators."""
    await _show_operators(visit)


async def _show_operators(visit: Visit, preface: str | None = None) -> None:
    others = await list_operators(visit.deps.db)
    await visit.show(desk.operators(visit.speech, visit.deps.admins, others, preface=preface))


async def ask_who(visit: Visit, _action: Action) -> None:
    """Ask who is to become one."""
    await visit.expect("operator")
    await visit.show(desk.ask_who(visit.speech))


async def read_words(visit: Visit, text: str) -> None:
    """Take what was written for a Telegram id or a @name."""
    if not visit.may(Permission.OPERATORS):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return
    found = await _find(visit, text)
    if found is None:
        await visit.show(desk.ask_who(visit.speech, unknown=True))
        return
    telegram_id, name = found
    current = await _operator(visit, telegram_id)
    await visit.show(
        desk.operator(visit.speech, telegram_id, name, None if current is None else current.role)
    )
    await visit.expect_nothing()


async def _find(visit: Visit, text: str) -> tuple[int, str] | None:
    """A person by what was written: one who has written to the bot, or a Telegram id that has not yet."""
    word = text.strip().removeprefix("@").replace("\x00", "")
    if word.isascii() and word.isdecimal() and 0 < len(word) < _MOST_DIGITS:
        telegram_id = int(word)
        return telegram_id, await _name_of(visit, telegram_id)
    row = await fetchrow(visit.deps.db, "bot.customer_by_name", _BY_NAME, word)
    return None if row is None else (row["telegram_id"], _called(row["first_name"], row["username"]))


async def _name_of(visit: Visit, telegram_id: int) -> str:
    row = await fetchrow(visit.deps.db, "bot.customer_by_id", _BY_ID, telegram_id)
    return "" if row is None else _called(row["first_name"], row["username"])


def _called(first_name: str, username: str | None) -> str:
    return f"{first_name} @{username}" if username else first_name


async def _operator(visit: Visit, telegram_id: int) -> Operator | None:
    return next((one for one in await list_operators(visit.deps.db) if one.telegram_id == telegram_id), None)


async def show_operator(visit: Visit, action: OneOperator) -> None:
    """One of them, and the roles he can have."""
    current = await _operator(visit, action.telegram_id)
    if current is None:
        await _show_operators(visit)
        return
    await visit.show(desk.operator(visit.speech, action.telegram_id, current.name, current.role))


async def ask_about_role(visit: Visit, action: RoleAsk) -> None:
    """Say what the role allows, and ask."""
    if action.role not in (*ROLES, desk.NOBODY):
        await stale(visit, "unreadable")
        return
    current = await _operator(visit, action.telegram_id)
    name = await _name_of(visit, action.telegram_id) if current is None else current.name
    before = None if current is None else current.role
    await visit.show(desk.confirm_role(visit.speech, action, name, before, visit.update_id))


async def give_role(visit: Visit, action: RoleNow) -> None:
    """Give the role, or take the one there is."""
    role: Role | None = next((one for one in ROLES if one == action.role), None)
    if role is None and action.role != desk.NOBODY:
        await stale(visit, "unreadable")
        return
    name = await _name_of(visit, action.telegram_id)

    async def deed(tx: Transaction) -> Change:
        if role is None:
            before = await remove_operator(tx, action.telegram_id)
        else:
            before = await set_operator(tx, action.telegram_id, role, name=name, by=visit.actor.name)
        return Change(
            subject=f"operator:{action.telegram_id}",
            before=None if before is None else {"role": before},
            after=None if role is None else {"role": role},
        )

    await visit.perform("bot.operator", Permission.OPERATORS, deed, asked=action.asked)
    said = visit.speech.say("operator-done", id=str(action.telegram_id), role=action.role)
    await _show_operators(visit, said)


# ------------------------------------------------------------------------------------------ what they did


async def show_audit_log(visit: Visit, action: AuditLog) -> None:
    """A page of the audit log."""
    page = await entries(visit.deps.db, before=action.before or None, limit=desk.PAGE + 1)
    await visit.show(desk.audit_log(visit.speech, page))
