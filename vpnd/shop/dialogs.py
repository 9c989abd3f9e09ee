"""What a customer's next words are taken for: he was asked for an amount, a code or a name, and has a while to write it.

It is kept with the customer, so that a restart in between forgets nothing, and it ends by itself: whoever writes something
hours later means something else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.customers import COLUMNS

__all__ = [
    "CUSTOMER_WITH_EXPECTATION_ANY",
    "PATIENCE",
    "Expected",
    "expected_from_row",
    "set_expectation",
    "take_expectation",
]

Expected = Literal["topup_amount", "promo_code", "subscription_title"]

#: How long words are waited for.
PATIENCE: Final = timedelta(minutes=15)

# For a coalescing loader keyed by telegram_id, so that it costs no read of its own; at most one row a key.
CUSTOMER_WITH_EXPECTATION_ANY: Final = f"""
select {COLUMNS}, case when expects_until > vpnd_now() then expects end as expected
from customers where telegram_id = any($1::bigint[])
"""  # noqa: S608 (only a constant is pasted in)


def expected_from_row(row: Row) -> Expected | None:
    """What the customer's next words are taken for, from a row of `CUSTOMER_WITH_EXPECTATION_ANY`."""
    expected: Expected | None = row["expected"]
    return expected


async def set_expectation(
    tx: Transaction,
    customer_id: int,
    what: Expected,
    patience: timedelta = PATIENCE,
    *,
    about: int | None = None,
) -> None:
    """Take the customer's next words for this, until his patience ends; what was expected before is forgotten.

    `about` is the subscription that they will be about.
    """
    await tx.execute(
        "update customers set expects = $2, expects_until = vpnd_now() + $3::interval, expects_about = $4 where id = $1",
        customer_id,
        what,
        patience,
        about,
    )


async def take_expectation(tx: Transaction, customer_id: int) -> Expected | None:
    """End what is expected of the customer and return it; None if nothing was, or not any more.

    Words that were understood, and any button, end it.
    """
    row = await tx.fetchrow(
        """
        with before as (
            select id, case when expects_until > vpnd_now() then expects end as expected
            from customers where id = $1 for no key update
        )
        update customers c set expects = null, expects_until = null, expects_about = null from before
        where c.id = before.id and c.expects is not null
        returning before.expected
        """,
        customer_id,
    )
    return None if row is None else expected_from_row(row)
