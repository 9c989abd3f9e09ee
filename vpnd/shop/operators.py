"""Those who run the shop, and who of them may do what.

    owner     all, and he alone says who the others are
    manager   the business: catalogue, money, broadcasts, exports, switches
    support   the customers: sees them, writes to them, gives days, makes links anew
    reader    sees everything, changes nothing

Owners of the configuration (`[telegram] admins`) and whoever has a shell on the server are owners and no rows. A role is
asked for where something is done, in the transaction that does it: what a menu showed a minute ago is no proof.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, get_args

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = [
    "ROLES",
    "Actor",
    "NotAllowed",
    "Operator",
    "Permission",
    "Role",
    "actor_of",
    "authorise",
    "list_operators",
    "may",
    "remove_operator",
    "set_operator",
    "shell_actor",
]

Role = Literal["owner", "manager", "support", "reader"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

#: Operators of one list; more than any shop has.
_MOST: Final = 200
_NAME: Final = 64  # letters of an operator's name


class Permission(StrEnum):
    """What can be allowed. The value is the name of the action in the audit log."""

    STATUS = "status.look"
    SWITCH = "switches.set"
    CUSTOMERS = "customers.look"
    MESSAGE = "customers.message"
    GIVE_DAYS = "customers.days"
    REISSUE = "customers.reissue"
    CHANGE_PLAN = "customers.plan"
    BALANCE = "customers.balance"
    REFUND = "customers.refund"
    BLOCK = "customers.block"
    CATALOGUE = "catalogue.look"
    EDIT_CATALOGUE = "catalogue.edit"
    BROADCASTS = "broadcasts.look"
    BROADCAST = "broadcasts.send"
    FIGURES = "figures.look"
    EXPORT = "exports.make"
    EXPORT_SECRETS = "exports.secrets"
    ALERTS = "alerts.handle"
    DEAD_LETTERS = "outbox.retry"
    REPAIR = "doctor.repair"
    AUDIT = "audit.look"
    OPERATORS = "operators.edit"


_LOOKS: Final = frozenset({
    Permission.STATUS, Permission.CUSTOMERS, Permission.CATALOGUE, Permission.BROADCASTS, Permission.FIGURES, Permission.AUDIT,
})  # fmt: skip
_SUPPORT: Final = frozenset({
    Permission.STATUS, Permission.CUSTOMERS, Permission.CATALOGUE, Permission.MESSAGE, Permission.GIVE_DAYS, Permission.REISSUE,
    Permission.ALERTS,
})  # fmt: skip
_OWNER: Final = frozenset(Permission)
_ALLOWED: Final[dict[Role, frozenset[Permission]]] = {
    "owner": _OWNER,
    "manager": _OWNER - {Permission.OPERATORS, Permission.EXPORT_SECRETS},
    "support": _SUPPORT,
    "reader": _LOOKS,
}


class NotAllowed(Exception):
    """Whoever asked may not do it; `permission` is what he would need."""

    def __init__(self, permission: Permission, role: str | None) -> None:
        self.permission = permission
        self.role = role
        super().__init__(f"a {role or 'customer'} may not do {permission.value}")


@frozen
class Actor:
    """Who does something.

    Attributes:
        name: as the audit log has it: "admin:777", "shell:root".
        role: None for somebody who is no operator.
        telegram_id: None for the shell.
        fixed: the role comes from the configuration or the server and not from a row.
    """

    name: str
    role: Role | None
    telegram_id: int | None = None
    fixed: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether his role, as it was read, allows it. For menus; what is done asks `authorise`."""
        return self.role is not None and may(self.role, permission)


@frozen
class Operator:
    """A row: somebody who was made an operator by an owner."""

    telegram_id: int
    role: Role
    name: str
    added_by: str
    added_at: datetime


def may(role: Role, permission: Permission) -> bool:
    """Whether a role allows something."""
    return permission in _ALLOWED[role]


def shell_actor(user: str) -> Actor:
    """Whoever has a shell on the server: an owner."""
    return Actor(f"shell:{user}", "owner", fixed=True)


async def actor_of(source: Source, telegram_id: int, owners: Collection[int]) -> Actor:
    """Who this is, as things are now. `owners` are those of the configuration."""
    name = f"admin:{telegram_id}"
    if telegram_id in owners:
        return Actor(name, "owner", telegram_id, fixed=True)
    row = await fetchrow(
        source, "operators.role", "select role from operators where telegram_id = $1", telegram_id
    )
    return Actor(name, None if row is None else row["role"], telegram_id)


async def authorise(tx: Transaction, actor: Actor, permission: Permission) -> Actor:
    """Make sure, in the transaction that does it, that he may; return him with the role that he has now.

    His row is locked against a change until the commit: who loses his role loses it before or after what he does, and not in
    the middle. Raises NotAllowed.
    """
    role = actor.role
    if not actor.fixed:
        role = await tx.fetchval(
            "select role from operators where telegram_id = $1 for share", actor.telegram_id
        )
    if role is None or not may(role, permission):
        raise NotAllowed(permission, role)
    return Actor(actor.name, role, actor.telegram_id, actor.fixed)


async def list_operators(source: Source) -> Sequence[Operator]:
    """All operators that are rows, owners first."""
    rows = await fetch(
        source,
        "operators.list",
        "select telegram_id, role, name, added_by, added_at from operators"
        " order by array_position(array['owner', 'manager', 'support', 'reader'], role), added_at, telegram_id limit $1",
        _MOST,
    )
    return [Operator(*row.values()) for row in rows]


async def set_operator(tx: Transaction, telegram_id: int, role: Role, *, name: str, by: str) -> Role | None:
    """Make somebody an operator, or give him another role; returns the role that he had.

    Raises ValueError for a role there is none of.
    """
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}")
    before: Role | None = await tx.fetchval(
        "select role from operators where telegram_id = $1 for update", telegram_id
    )
    await tx.execute(
        "insert into operators (telegram_id, role, name, added_by) values ($1, $2, $3, $4)"
        " on conflict (telegram_id) do update set role = excluded.role, name = excluded.name",
        telegram_id,
        role,
        name.replace("\x00", "").strip()[:_NAME],
        by,
    )
    return before


async def remove_operator(tx: Transaction, telegram_id: int) -> Role | None:
    """Make somebody a customer like all others; returns the role that he had, None if he had none."""
    role: Role | None = await tx.fetchval(
        "delete from operators where telegram_id = $1 returning role", telegram_id
    )
    return role
