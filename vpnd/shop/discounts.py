"""Personal discounts: one at a time for a customer, for good or until a moment. The larger of it and a promo code counts."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = [
    "CustomerDiscount",
    "PersonalDiscount",
    "discount_of",
    "discount_row",
    "list_discounts",
    "remove_discount",
    "set_discount",
]


@frozen
class PersonalDiscount:
    """Percent off every purchase, until a moment or for good."""

    percent: int
    until: datetime | None


async def set_discount(
    tx: Transaction, customer_id: int, percent: int, *, until: datetime | None = None, note: str | None = None
) -> None:
    """Give a customer a discount in place of the one he had. Raises ValueError for a percentage outside of 1 to 99."""
    if not 1 <= percent <= 99:
        raise ValueError("a discount is 1 to 99 percent")
    await tx.execute(
        """
        insert into personal_discounts (customer_id, percent, until, note) values ($1, $2, $3, $4)
        on conflict (customer_id) do update
            set percent = excluded.percent, until = excluded.until, note = excluded.note, created_at = vpnd_now()
        """,
        customer_id,
        percent,
        until,
        note,
    )


async def remove_discount(tx: Transaction, customer_id: int) -> bool:
    """Take a customer's discount away. False if he had none."""
    return await tx.execute("delete from personal_discounts where customer_id = $1", customer_id) > 0


async def discount_of(source: Source, customer_id: int) -> PersonalDiscount | None:
    """A customer's discount, if it counts now."""
    row = await fetchrow(
        source,
        "discounts.of",
        "select percent, until from personal_discounts where customer_id = $1 and (until is null or until > vpnd_now())",
        customer_id,
    )
    return None if row is None else PersonalDiscount(row["percent"], row["until"])


@frozen
class CustomerDiscount:
    """A discount with whose it is, for those who run the shop; `over`: it counts no longer."""

    customer_id: int
    telegram_id: int
    first_name: str
    username: str | None
    percent: int
    until: datetime | None
    over: bool


_WHOSE = """
select c.id, c.telegram_id, c.first_name, c.username, d.percent, d.until, coalesce(d.until <= vpnd_now(), false) as over
from personal_discounts d join customers c on c.id = d.customer_id
"""


async def list_discounts(
    source: Source, *, before: int | None = None, limit: int = 10
) -> list[CustomerDiscount]:
    """Customers with a discount, the newest customers first; those with a smaller id than `before`, if given."""
    rows = await fetch(
        source,
        "discounts.list",
        f"{_WHOSE} where $1::bigint is null or c.id < $1 order by c.id desc limit $2",
        before,
        limit,
    )
    return [CustomerDiscount(*row.values()) for row in rows]


async def discount_row(source: Source, customer_id: int) -> CustomerDiscount | None:
    """A customer's discount, also one that is over; None if there is none."""
    row = await fetchrow(source, "discounts.one", f"{_WHOSE} where c.id = $1", customer_id)
    return None if row is None else CustomerDiscount(*row.values())
