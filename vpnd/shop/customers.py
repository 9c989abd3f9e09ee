"""Customers: who wrote to the bot, and who brought them.

The referrer is set by the statement that creates the customer and never after (the database refuses it), so
a chain of referrers can have no circle and a code used too late changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.identifiers import referral_code
from vpnd.shop.source import Source, fetchrow

__all__ = [
    "CUSTOMER_BY_TELEGRAM_ID_ANY",
    "Customer",
    "customer_by_telegram_id",
    "customer_from_row",
    "ensure_customer",
    "set_language",
    "set_reachable",
]

COLUMNS: Final = "id, telegram_id, username, first_name, language, referral_code, referrer_id, reachable, created_at, blocked_at"

# For a coalescing loader keyed by telegram_id; at most one row a key.
CUSTOMER_BY_TELEGRAM_ID_ANY: Final = f"""
select {COLUMNS} from customers where telegram_id = any($1::bigint[])
"""  # noqa: S608 (only a constant is pasted in)

# What is known and unchanged is only read. A changed name is written; and who writes to us can be reached.
# A customer that another transaction creates meanwhile is in neither part: the caller repeats the statement.
_ENSURE: Final = f"""
with known as (
    select {COLUMNS} from customers where telegram_id = $1
), touched as (
    update customers set username = $2, first_name = $3, reachable = true, erased_at = null,
        language = case when erased_at is null then language else $4 end   -- who had his data deleted is new
    where telegram_id = $1
      and (username is distinct from $2 or first_name <> $3 or not reachable)
    returning {COLUMNS}
), born as (
    insert into customers (telegram_id, username, first_name, language, referral_code, referrer_id)
    select $1, $2, $3, $4, $5, (select id from customers where referral_code = $6)
    where not exists (select from known)
    on conflict do nothing
    returning {COLUMNS}
)
select true as created, born.* from born
union all
select false, touched.* from touched
union all
select false, known.* from known where not exists (select from touched)
"""  # noqa: S608 (only a constant is pasted in)

# Two can collide in an 8-letter code once in 10^12 / customers; five times in a row is a fault elsewhere.
_ATTEMPTS: Final = 5
_NAME_LIMIT: Final = 256  # characters; Telegram allows 64, and a stranger's text is never trusted to obey


@frozen
class Customer:
    """A person, by Telegram id. `referral_code` is what his invitation link carries; `blocked_at`: see `vpnd.shop.blocking`."""

    id: int
    telegram_id: int
    username: str | None
    first_name: str
    language: str
    referral_code: str
    referrer_id: int | None
    reachable: bool
    created_at: datetime
    blocked_at: datetime | None = None


def customer_from_row(row: Row) -> Customer:
    """A customer from a row with this module's columns."""
    return Customer(
        id=row["id"],
        telegram_id=row["telegram_id"],
        username=row["username"],
        first_name=row["first_name"],
        language=row["language"],
        referral_code=row["referral_code"],
        referrer_id=row["referrer_id"],
        reachable=row["reachable"],
        created_at=row["created_at"],
        blocked_at=row["blocked_at"],
    )


async def ensure_customer(
    tx: Transaction,
    telegram_id: int,
    *,
    language: str,
    username: str | None,
    first_name: str,
    referral_code_used: str | None = None,
) -> tuple[Customer, bool]:
    """The customer with this Telegram id, made now if there was none; and whether he was made now.

    One round trip unless another transaction creates the same customer at the same moment: of two first
    updates at once exactly one is told `created`. `language` and `referral_code_used` count only for a new
    customer, the language also for one who had his data deleted; an unknown code is ignored. Every call marks him
    reachable, since he just wrote to us.
    """
    # PostgreSQL stores no NUL in a text.
    name = first_name.replace("\x00", "")[:_NAME_LIMIT]
    user = username.replace("\x00", "")[:_NAME_LIMIT] if username else None
    used = referral_code_used.strip().upper() if referral_code_used else None
    for _ in range(_ATTEMPTS):
        row = await tx.fetchrow(_ENSURE, telegram_id, user, name, language, referral_code(), used)
        if row is not None:
            return customer_from_row(row), row["created"]
    raise RuntimeError("a customer could be neither found nor created: every new referral code was taken")


async def customer_by_telegram_id(source: Source, telegram_id: int) -> Customer | None:
    """The customer with this Telegram id, or None."""
    row = await fetchrow(source, "customers.by_telegram_id", CUSTOMER_BY_TELEGRAM_ID_ANY, [telegram_id])
    return None if row is None else customer_from_row(row)


async def set_language(tx: Transaction, telegram_id: int, language: str) -> bool:
    """Write the language a customer chose. False if there is no such customer."""
    return (
        await tx.execute("update customers set language = $2 where telegram_id = $1", telegram_id, language)
        > 0
    )


async def set_reachable(tx: Transaction, telegram_id: int, reachable: bool) -> bool:
    """Note that Telegram refuses to deliver to a customer, or delivers again. True if that is news.

    Who had his data deleted is reached again when he writes, and not before.
    """
    changed = await tx.execute(
        "update customers set reachable = $2 where telegram_id = $1 and reachable <> $2"
        " and (erased_at is null or not $2)",
        telegram_id,
        reachable,
    )
    return changed > 0
