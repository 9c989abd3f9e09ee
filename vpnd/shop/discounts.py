"""Personal discounts: one at a time for a customer, for good or until a moment. The larger of it and a promo code counts."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetchrow

__all__ = ["PersonalDiscount", "discount_of", "remove_discount", "set_discount"]


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
