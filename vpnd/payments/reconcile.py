"""Every provider's own lists beside our books: each difference gets a name, and what can be mended is.

Whatever a provider says it has taken and we have not settled is settled by the one function that settles everything;
whatever it says it gave back and we know nothing of is booked as a refund that it made. Nothing is mended in any other
way, and what is only in our books is named and left for a person.

    unsettled         the provider has taken it, we have not settled it          settled
    other_amount      both have it, with different amounts or currencies         named
    unknown_there     we have settled it, the provider does not list it          named
    refund_unknown    the provider gave it back, we know nothing of it           booked, access shortened
    refund_open       the provider gave it back, our refund still waits          finished
    unreadable        the provider lists something that cannot be read           named

A list is read in pages, ours beside it page by page; no connection is held while the provider is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from attrs import define, field, frozen

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.payments.base import ChargePage, ProviderRefund, RefundPage
from vpnd.payments.settle import settle_listed
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop import notices
from vpnd.shop.charges import Charge, SettlementResult
from vpnd.shop.provider_lists import (
    Difference,
    KnownRefund,
    begin_reconciliation,
    finish_reconciliation,
    known_charges,
    known_refunds,
    our_charges_since,
)
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import request_refund
from vpnd.shop.refunds import finish_refund

__all__ = ["HasLists", "Report", "book_provider_refund", "reconcile"]

_journal = get_journal("payments")

#: What was paid in the last minutes may be in one list and not yet in the other.
MARGIN: Final = timedelta(minutes=15)
#: Pages of one comparison; a shop with more charges a day is compared in parts.
MOST_PAGES: Final = 2000
#: Charges of the window whose ids are kept to find what the provider does not list.
MOST_KEPT: Final = 500_000


class HasLists(Protocol):
    """The part of a provider that a comparison needs."""

    @property
    def name(self) -> str:
        """The provider's name in settlements."""
        ...

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """A page of what was paid since a moment. Raises PaymentError."""
        ...

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        """A page of what was given back since a moment. Raises PaymentError."""
        ...


@frozen
class Report:
    """What a comparison came to."""

    provider: str
    charges: int
    refunds: int
    differences: tuple[Difference, ...]

    @property
    def mended(self) -> int:
        """How many differences are none any more."""
        return sum(one.mended for one in self.differences)


@define
class _Run:
    db: Database
    provider: HasLists
    repair: bool
    on_commit: Sequence[Callable[[SettlementResult], None]]
    charges: int = 0
    refunds: int = 0
    seen: set[str] = field(factory=set)
    found: list[Difference] = field(factory=list)

    def note(self, kind: str, name: str, *, mended: bool = False, **details: object) -> None:
        """Name a difference, in the journal too."""
        self.found.append(Difference(kind, name, dict(details), mended))
        metrics.payment_differences_total.labels(self.provider.name, kind, "yes" if mended else "no").inc()
        _journal.warning(
            "reconciliation.difference",
            message=f"{self.provider.name} and the books differ: {kind} {name}"
            + (", mended" if mended else ""),
            provider=self.provider.name,
            kind=kind,
            name=name,
            mended=mended,
        )


async def reconcile(
    db: Database,
    provider: HasLists,
    *,
    since: datetime,
    until: datetime | None = None,
    repair: bool = True,
    on_commit: Sequence[Callable[[SettlementResult], None]] = (),
) -> Report:
    """Compare a provider's lists with the books from `since` (real time) on, and mend what can be mended.

    Args:
        until: the end of what must be in both; by default a quarter of an hour ago.
        repair: False only names.
        on_commit: as of `settle_charge`.

    Raises PaymentError when the provider cannot be asked, and DatabaseError; what was mended stays.
    """
    end = until or datetime.now(UTC) - MARGIN
    run_id = await begin_reconciliation(db, provider.name, since)
    run = _Run(db, provider, repair, on_commit)
    await _compare_charges(run, since)
    await _compare_refunds(run, since)
    if len(run.seen) < MOST_KEPT:
        await _find_unlisted(run, since, end)
    await finish_reconciliation(
        db, run_id, charges=run.charges, refunds=run.refunds, found=run.found[:10_000]
    )
    report = Report(provider.name, run.charges, run.refunds, tuple(run.found))
    metrics.payment_reconcile_last_success_timestamp_seconds.labels(provider.name).set_to_current_time()
    await _tell(run, report, run_id)
    return report


async def _compare_charges(run: _Run, since: datetime) -> None:
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await run.provider.charges_since(since, cursor)
        run.charges += len(page.charges)
        if page.unreadable:
            run.note("unreadable", f"{page.unreadable} charges", count=page.unreadable)
        await _compare_page(run, page.charges)
        cursor = page.next
        if cursor is None:
            return
    run.note("unreadable", "the list is longer than a comparison reads", pages=MOST_PAGES)


async def _compare_page(run: _Run, charges: Sequence[Charge]) -> None:
    ours = await known_charges(run.db, run.provider.name, [charge.charge_id for charge in charges])
    for charge in charges:
        if len(run.seen) < MOST_KEPT:
            run.seen.add(charge.charge_id)
        known = ours.get(charge.charge_id)
        if known is None:
            mended = run.repair and await settle_listed(run.db, charge, on_commit=run.on_commit) is None
            run.note(
                "unsettled",
                charge.charge_id,
                mended=mended,
                amount=charge.amount_text,
                currency=charge.currency,
            )
        elif (known.amount, known.currency) != (charge.amount or 0, charge.currency):
            run.note(
                "other_amount",
                charge.charge_id,
                theirs=f"{charge.amount_text} {charge.currency}",
                ours=f"{known.amount} minor units of {known.currency}",
            )


async def _compare_refunds(run: _Run, since: datetime) -> None:
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await run.provider.refunds_since(since, cursor)
        run.refunds += len(page.refunds)
        for refund in page.refunds:
            await _compare_refund(run, refund)
        cursor = page.next
        if cursor is None:
            return


async def _compare_refund(run: _Run, refund: ProviderRefund) -> None:
    ours = await known_refunds(
        run.db,
        run.provider.name,
        keys=[refund.key] if refund.key else [],
        external_ids=[refund.external_id],
    )
    if any(one.status == "done" for one in ours):
        return
    kind = "refund_open" if ours else "refund_unknown"
    mended = run.repair and await book_provider_refund(run.db, run.provider.name, refund)
    run.note(
        kind,
        refund.external_id,
        mended=mended,
        charge=refund.charge_id,
        amount=refund.amount_text,
        currency=refund.currency,
    )


async def book_provider_refund(db: Database, provider: str, refund: ProviderRefund) -> bool:
    """Book what a provider says it gave back: our own refund is finished, one it made by itself is booked as that.

    True if the books have it now; False if it is of no charge of ours or cannot be of it. Raises DatabaseError.
    """

    async def body(tx: Transaction) -> bool:
        ours = await known_refunds(
            tx,
            provider,
            keys=[refund.key] if refund.key else [],
            external_ids=[refund.external_id],
            charge_ids=[refund.charge_id] if refund.charge_id else [],
        )
        known = next(
            (one for one in ours if refund.key == one.key or refund.external_id == one.external_id), None
        )
        # A refund of ours whose answer was lost has no name yet. Where the provider keeps no keys it is the one of this
        # charge and this amount that still waits; with a key that is not ours it is somebody else's.
        waiting = known or next((one for one in ours if refund.key is None and _awaits(one, refund)), None)
        if waiting is not None:
            if waiting.status in _OPEN:
                return await finish_refund(tx, waiting.refund_id, refund.external_id)
            return waiting.status == "done"  # on the balance by our decision: the money went twice
        if refund.charge_id is None or refund.amount is None:
            return False
        charge = (await known_charges(tx, provider, [refund.charge_id])).get(refund.charge_id)
        if charge is None or charge.currency != refund.currency:
            return False
        try:
            await request_refund(
                tx,
                RefundRequest(
                    settlement_id=charge.settlement_id,
                    request_key=f"provider:{provider}:{refund.external_id}",
                    requested_by="provider",
                    amount=refund.amount,
                    reason="made at the provider",
                    external_id=refund.external_id,
                ),
            )
        except RefundImpossible as error:
            _journal.warning(
                "refund.not_booked",
                message=f"a refund that {provider} has made does not fit the books: {error}",
                provider=provider,
                refund=refund.external_id,
            )
            return False
        return True

    return await db.run("payments.provider_refund", body)


#: A refund of ours in one of these still waits for its provider.
_OPEN: Final = ("requested", "stuck")


def _awaits(ours: KnownRefund, theirs: ProviderRefund) -> bool:
    return ours.external_id is None and ours.status in _OPEN and ours.amount == theirs.amount


async def _find_unlisted(run: _Run, since: datetime, until: datetime) -> None:
    """Name what we have settled in the window and the provider does not list."""
    after = 0
    while True:
        page = await our_charges_since(run.db, run.provider.name, since, until, after=after)
        for charge in page:
            if charge.charge_id not in run.seen:
                run.note("unknown_there", charge.charge_id, amount=charge.amount, currency=charge.currency)
        if len(page) < 1000:
            return
        after = page[-1].settlement_id


async def _tell(run: _Run, report: Report, run_id: int) -> None:
    """One line for the operator, and one message for the admins if something differed."""
    _journal.info(
        "reconciliation.done",
        message=f"{report.provider} was compared with the books: {report.charges} charges, {report.refunds} refunds,"
        f" {len(report.differences)} differences, {report.mended} mended",
        provider=report.provider,
        differences=len(report.differences),
        mended=report.mended,
    )
    if not report.differences:
        return

    async def body(tx: Transaction) -> None:
        args = {
            "provider": report.provider,
            "differences": len(report.differences),
            "mended": report.mended,
            "first": "; ".join(f"{one.kind} {one.name}" for one in report.differences[:5])[:300],
        }
        await notices.put_all(tx, [notices.admin_alert(f"reconciliation:{run_id}", "reconciliation", args)])

    await run.db.run("payments.reconciliation_told", body)
