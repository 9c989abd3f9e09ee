"""The one way a charge is settled, whoever reports it: webhook, watcher or update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop.settlement import Charge, Outcome, SettlementResult, settle

__all__ = ["settle_charge", "settle_listed"]

_DEADLINE: Final = 5.0  # seconds for the whole settlement
_journal = get_journal("payments")


async def settle_charge(
    db: Database, charge: Charge, *, on_commit: Sequence[Callable[[SettlementResult], None]] = ()
) -> SettlementResult:
    """Settle a charge in a transaction of its own and return only when it has committed.

    `on_commit` are synchronous wake-ups (node sync, relay), called once after the commit and not for a charge
    that was settled before. Raises DatabaseError: then report the charge again, it settles once.
    """

    async def body(tx: Transaction) -> SettlementResult:
        result = await settle(tx, charge)
        if result.outcome is not Outcome.ALREADY_SETTLED:
            for wake in on_commit:
                tx.after_commit(partial(wake, result))
        return result

    result = await db.run("payments.settle", body, deadline=_DEADLINE)
    metrics.settlements_total.labels(charge.provider, result.outcome.value).inc()
    note = _journal.warning if result.outcome is Outcome.HELD else _journal.info
    note(
        "payment." + result.outcome.value,
        message=f"A charge of {charge.amount_text} {charge.currency} by {charge.provider} is {_WORDS[result.outcome]}.",
        provider=charge.provider,
        charge=charge.charge_id,
        purchase=result.purchase_id,
        settlement=result.settlement_id,
        reason=result.reason,
    )
    return result


async def settle_listed(
    db: Database, charge: Charge, *, on_commit: Sequence[Callable[[SettlementResult], None]] = ()
) -> DatabaseError | None:
    """Settle one charge of a list; what keeps this one from being settled is returned, and does not keep the others.

    It is journalled; the charge is in nobody's books, so whoever has the list has to come back to it. `on_commit` as of
    `settle_charge`. Raises DatabaseError when the database is away: then nothing else of the list can be settled either.
    """
    try:
        await settle_charge(db, charge, on_commit=on_commit)
    except DatabaseError as error:
        if error.boundary_down:
            raise
        _journal.error(
            "payment.not_settled",
            message=f"A charge of {charge.amount_text} {charge.currency} by {charge.provider} cannot be settled: {error}",
            provider=charge.provider,
            charge=charge.charge_id,
        )
        return error
    return None


_WORDS: Final = {
    Outcome.SETTLED: "settled",
    Outcome.UNDERPAID: "less than the price and went to the balance",
    Outcome.SECOND_CHARGE: "a second one for its purchase",
    Outcome.HELD: "held for an admin",
    Outcome.ALREADY_SETTLED: "settled already",
}
