"""A deed of an operator's to a customer as a plain value, how it is refused, and what its doing works with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NoReturn

from attrs import asdict, frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.operators import Actor, Permission

__all__ = [
    "MOST_DAYS",
    "MOST_MONEY",
    "MOST_TEXT",
    "SUBSCRIPTION",
    "Deed",
    "DeedKind",
    "DeedRefused",
    "Doing",
    "Why",
    "access",
    "permission_of",
    "refuse",
    "state",
]

DeedKind = Literal["days", "money", "plan", "link", "block", "unblock", "message"]

#: Why a deed is refused. Each has its words in the bot, and a sentence of its own for the shell.
Why = Literal[
    "no_customer", "no_subscription", "no_plan", "own_days", "own_money", "own_refund", "operator", "blocked", "as_it_was",
    "too_little", "too_much", "nothing_left", "plan_impossible", "link_off", "link_too_soon", "unreachable", "no_words",
]  # fmt: skip

#: In one deed.
MOST_DAYS: Final = 3660
MOST_MONEY: Final = 10**14  # minor units
MOST_TEXT: Final = (
    3000  # characters of a message, so that it fits into one of Telegram's with what stands around it
)

_PERMISSIONS: Final[Mapping[DeedKind, Permission]] = {
    "days": Permission.GIVE_DAYS,
    "money": Permission.BALANCE,
    "plan": Permission.CHANGE_PLAN,
    "link": Permission.REISSUE,
    "block": Permission.BLOCK,
    "unblock": Permission.BLOCK,
    "message": Permission.MESSAGE,
}


class DeedRefused(Exception):
    """It cannot be done, and nothing was; `why` names the reason, the message says it with what helps."""

    def __init__(self, why: Why, message: str) -> None:
        self.why: Why = why
        super().__init__(message)


@frozen(kw_only=True)
class Deed:
    """One thing that is done to one customer.

    Attributes:
        subscription_id: which of his; None with a `plan`: the one of that plan, or a new one.
        days: given, or taken when negative.
        amount: minor units of the shop's currency, given to his bonus, or taken when negative.
        text: what is written to him.
    """

    kind: DeedKind
    customer_id: int
    subscription_id: int | None = None
    plan: str | None = None
    days: int = 0
    amount: int = 0
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Deed:
        """From what `to_json` gave."""
        return cls(**value)


def permission_of(deed: Deed) -> Permission:
    """What an operator needs for it."""
    return _PERMISSIONS[deed.kind]


def refuse(why: Why, message: str) -> NoReturn:
    """Raise DeedRefused."""
    raise DeedRefused(why, message)


@frozen
class Doing:
    """What a deed is done with: the customer is locked, `key` makes whatever is written unique."""

    tx: Transaction
    actor: Actor
    deed: Deed
    customer: Row
    key: str
    currency: str
    owners: frozenset[int]

    @property
    def subject(self) -> str:
        """As the audit log names him."""
        return f"customer:{self.deed.customer_id}"

    @property
    def to_himself(self) -> bool:
        """Whether the operator is the customer."""
        return self.actor.telegram_id is not None and self.actor.telegram_id == int(
            self.customer["telegram_id"]
        )

    async def tell(self, template: notices.Template, args: Mapping[str, Any]) -> None:
        """Say it to the customer, unless nothing would arrive or he is shut out."""
        if not self.customer["reachable"] or self.customer["blocked_at"] is not None:
            return
        key = f"{template}:{self.key}"
        notice = notices.message(key, self.customer["telegram_id"], template, args, self.customer["language"])
        await notices.put_all(self.tx, [notice])


#: $1 customer, $2 subscription or null, $3 plan where it is null. Locks it.
SUBSCRIPTION: Final = """
select id, plan_id, status, expires_at, vpnd_now() as now from subscriptions
where customer_id = $1 and case when $2::bigint is null then plan_id = $3 else id = $2 end
order by (status = 'active') desc, expires_at desc, id limit 1 for no key update
"""


def access(row: Row) -> dict[str, Any]:
    """A subscription as the audit log has it, from a row of `SUBSCRIPTION`."""
    return state(row["id"], row["plan_id"], row["status"], row["expires_at"])


def state(subscription_id: int, plan: str, status: str, until: datetime) -> dict[str, Any]:
    """The same from its parts."""
    return {"subscription": subscription_id, "plan": plan, "status": status, "until": until.isoformat()}
