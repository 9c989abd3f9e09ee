"""What an operator was asked about and has not answered yet: the deed, and the reason he gave. His yes only names the question.

A button carries too little for a reason, and what a message was about may not depend on the words that come next.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.deed import Deed
from vpnd.shop.source import Source, as_json, fetchrow, from_json

__all__ = ["PATIENCE", "Asked", "ask", "asked_deed"]

#: Whoever says yes later is asked again.
PATIENCE: Final = timedelta(days=1)


@frozen
class Asked:
    """A question: the deed, and why."""

    deed: Deed
    reason: str


async def ask(tx: Transaction, *, asked: int, telegram_id: int, deed: Deed, reason: str) -> None:
    """Keep a question of an operator's; what he left unanswered for longer than `PATIENCE` goes.

    `asked` is the update whose answer it is: one that is played again keeps it as it is.
    """
    await tx.execute(
        "delete from asked_deeds where telegram_id = $1 and created_at < vpnd_now() - $2::interval",
        telegram_id,
        PATIENCE,
    )
    await tx.execute(
        "insert into asked_deeds (asked, telegram_id, deed, reason) values ($1, $2, $3::text::jsonb, $4) on conflict do nothing",
        asked,
        telegram_id,
        as_json(deed.to_json()),
        reason,
    )


async def asked_deed(source: Source, asked: int, telegram_id: int) -> Asked | None:
    """The question that an operator was asked; None for another's, or one that is too old."""
    row = await fetchrow(
        source,
        "desk.asked",
        "select deed, reason from asked_deeds where asked = $1 and telegram_id = $2"
        " and created_at >= vpnd_now() - $3::interval",
        asked,
        telegram_id,
        PATIENCE,
    )
    return None if row is None else Asked(Deed.from_json(from_json(row["deed"])), row["reason"])
