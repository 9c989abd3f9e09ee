"""What a customer's next words are taken for: he was asked for an amount, a code or a name, and has a while to write it.

It is kept with the customer, so that a restart in between forgets nothing, and it ends by itself: whoever writes something
hours later means something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.customers import COLUMNS
from vpnd.shop.source import Source, as_json, fetchrow, from_json

__all__ = [
    "CUSTOMER_WITH_EXPECTATION_ANY",
    "CUSTOMER_WITH_EXPECTATION_OF_SENDER",
    "PATIENCE",
    "Expected",
    "expected_about",
    "expected_from_row",
    "set_expectation",
    "take_expectation",
]

Expected = Literal[
    "topup_amount",
    "promo_code",
    "subscription_title",
    "operator",
    "plan_new",
    "plan_title",
    "plan_description",
    "period_new",
    "price_new",
    "price",
    "promo_new",
    "promo_limit",
    "discount_new",
    "text_search",
    "text_body",
    "customer_search",
    "deed_value",
    "deed_reason",
    "broadcast_message",
    "broadcast_text",
    "broadcast_buttons",
    "broadcast_segment",
    "broadcast_time",
]

#: How long words are waited for.
PATIENCE: Final = timedelta(minutes=15)

# Neither what is expected nor an operator's role costs a read of its own.
_CUSTOMER_WITH_EXPECTATION: Final = f"""
select {COLUMNS}, case when expects_until > vpnd_now() then expects end as expected,
       (select o.role from operators o where o.telegram_id = customers.telegram_id) as role
from customers where telegram_id ="""  # noqa: S608 (only a constant is pasted in)
#: For a coalescing loader keyed by telegram_id; at most one row a key.
CUSTOMER_WITH_EXPECTATION_ANY: Final = f"{_CUSTOMER_WITH_EXPECTATION} any($1::bigint[])"
#: For the inbox, which reads it when it stores somebody's update.
CUSTOMER_WITH_EXPECTATION_OF_SENDER: Final = f"{_CUSTOMER_WITH_EXPECTATION} stored.queue_key"


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
    data: Mapping[str, Any] | None = None,
) -> None:
    """Take the customer's next words for this, until his patience ends; what was expected before is forgotten.

    `about` is the row that they will be about, `data` what else is known already: plain JSON values.
    """
    await tx.execute(
        "update customers set expects = $2, expects_until = vpnd_now() + $3::interval, expects_about = $4,"
        " expects_data = $5::text::jsonb where id = $1",
        customer_id,
        what,
        patience,
        about,
        None if data is None else as_json(data),
    )


async def expected_about(
    source: Source, customer_id: int, what: Expected
) -> tuple[int | None, Mapping[str, Any]] | None:
    """What was kept with the question `what`: `about` and `data`; None if it is not expected, or not any more."""
    row = await fetchrow(
        source,
        "dialogs.about",
        "select expects_about, expects_data from customers where id = $1 and expects = $2 and expects_until > vpnd_now()",
        customer_id,
        what,
    )
    return None if row is None else (row["expects_about"], from_json(row["expects_data"]) or {})


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
        update customers c set expects = null, expects_until = null, expects_about = null, expects_data = null
        from before
        where c.id = before.id and c.expects is not null
        returning before.expected
        """,
        customer_id,
    )
    return None if row is None else expected_from_row(row)
