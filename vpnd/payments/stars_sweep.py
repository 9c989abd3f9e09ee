"""The statement of Stars, read to its end: what Telegram took while we were away is settled.

Telegram keeps an undelivered successful_payment for 24 hours; the statement keeps it for ever. It is chronological, so
how many transactions were read is where to go on; the last hundred are read again, in case they were not settled when
the position was noted. Every charge ends in the one function that settles, and every refund in the one that books it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from vpnd.database.database import Database
from vpnd.payments.reconcile import book_provider_refund
from vpnd.payments.settle import settle_listed
from vpnd.payments.stars import CURRENCY, NAME
from vpnd.payments.stars_account import PAGE, StarsAccount, StarStatement
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop.charges import SettlementResult
from vpnd.shop.provider_lists import (
    Difference,
    known_charges,
    known_refunds,
    position_of,
    set_position,
)

__all__ = ["SweepReport", "sweep_stars"]

_LIST: Final = "transactions"
#: Pages of one sweep: a shop that was away for longer goes on with the next one.
MOST_PAGES: Final = 100
_journal = get_journal("payments")


@frozen
class SweepReport:
    """How many transactions were read, and what of them was new: `settled` charges, `booked` refunds.

    `differences` names each; of those that are not mended, nothing is in the books.
    """

    read: int
    settled: int
    booked: int
    differences: tuple[Difference, ...] = ()


async def sweep_stars(
    db: Database,
    account: StarsAccount,
    *,
    on_commit: Sequence[Callable[[SettlementResult], None]] = (),
    repair: bool = True,
) -> SweepReport:
    """Read the statement from where it was left, and settle and book what is not in the books.

    `repair` False only names what would be. Raises PaymentError when Telegram cannot be asked, and DatabaseError; what
    was settled stays, and the next sweep goes on.
    """
    position = await position_of(db, NAME, _LIST)
    offset = max(0, position - PAGE)
    read, found, complete = 0, list[Difference](), True
    for _ in range(MOST_PAGES):
        page = await account.statement(offset)
        unsettled = await _settle_page(db, page, on_commit, repair=repair)
        complete = complete and all(one.mended for one in unsettled)
        found += unsettled
        found += await _book_page(db, page, repair=repair)
        read += page.length
        offset += page.length
        # What could not be settled is looked at again; what comes after it is settled all the same.
        if repair and complete and offset > position:
            await set_position(db, NAME, _LIST, offset)
        if page.length < PAGE:
            break
    settled = sum(one.kind == "unsettled" and (one.mended or not repair) for one in found)
    booked = sum(one.kind == "refund_unknown" and (one.mended or not repair) for one in found)
    if found:
        _journal.warning(
            "stars.swept",
            message=f"The statement of Stars had {settled} charges and {len(found) - settled} refunds that were not in"
            f" the books; {sum(one.mended for one in found)} are now",
            settled=settled,
            booked=booked,
            left=[one.name for one in found if not one.mended][:10],
        )
    metrics.payment_reconcile_last_success_timestamp_seconds.labels(NAME).set_to_current_time()
    return SweepReport(read, settled, booked, tuple(found))


async def _settle_page(
    db: Database,
    page: StarStatement,
    on_commit: Sequence[Callable[[SettlementResult], None]],
    *,
    repair: bool,
) -> list[Difference]:
    known = await known_charges(db, NAME, [charge.charge_id for charge in page.charges])
    missing = [charge for charge in page.charges if charge.charge_id not in known]
    found: list[Difference] = []
    for charge in missing:
        mended = repair and await settle_listed(db, charge, on_commit=on_commit) is None
        found.append(_difference("unsettled", charge.charge_id, charge.amount_text, mended=mended))
    return found


async def _book_page(db: Database, page: StarStatement, *, repair: bool) -> list[Difference]:
    charges = [refund.external_id for refund in page.refunds]
    known = {
        one.charge_id for one in await known_refunds(db, NAME, charge_ids=charges) if one.status == "done"
    }
    found: list[Difference] = []
    for refund in page.refunds:
        if refund.external_id not in known:
            done = repair and await book_provider_refund(db, NAME, refund)
            found.append(_difference("refund_unknown", refund.external_id, refund.amount_text, mended=done))
    return found


def _difference(kind: str, name: str, amount: str, *, mended: bool) -> Difference:
    metrics.payment_differences_total.labels(NAME, kind, "yes" if mended else "no").inc()
    return Difference(kind, name, {"amount": amount, "currency": CURRENCY}, mended)
