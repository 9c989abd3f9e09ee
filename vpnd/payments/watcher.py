"""The payment watcher: asks Crypto Pay about invoices whose webhook may never come.

Oldest unchecked first, so that no invoice starves behind newer ones; many ids a call; and no connection to the
database is held while the provider is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.payments.cryptopay import NAME, CryptoPay
from vpnd.payments.settle import settle_charge
from vpnd.shop.purchases import Invoice, Purchase, attach_invoice
from vpnd.shop.settlement import SettlementResult
from vpnd.shop.status import invoices_to_check, mark_invoices_expired

__all__ = ["CheckReport", "check_invoices", "invoice_for"]

CHECK_LIMIT: Final = 100  # invoices of one call


@frozen
class CheckReport:
    """One round: `checked` were asked about, `paid` of them were paid, `expired` can no longer be."""

    checked: int
    paid: int
    expired: int


async def check_invoices(
    db: Database,
    client: CryptoPay,
    limit: int = CHECK_LIMIT,
    *,
    on_commit: Sequence[Callable[[SettlementResult], None]] = (),
) -> CheckReport:
    """Ask about up to `limit` open invoices in one call, settle those paid and stop watching those expired.

    An invoice that fails to settle stays open and is asked about again; the others are settled all the same,
    and the failures are raised at the end as a group. Raises PaymentError when the provider cannot be asked.
    """
    watched = await invoices_to_check(db, NAME, limit)
    if not watched:
        return CheckReport(0, 0, 0)
    states = {
        state.external_id: state for state in await client.get_invoices([one.external_id for one in watched])
    }
    over: list[str] = []
    failures: list[DatabaseError] = []
    paid = 0
    for one in watched:
        state = states.get(one.external_id)
        if state is not None and state.charge is not None:
            try:
                await settle_charge(db, state.charge, on_commit=on_commit)
                paid += 1
            except DatabaseError as error:
                if error.boundary_down:
                    raise
                failures.append(error)
        elif (state is not None and state.status == "expired") or (state is None and one.overdue):
            # Gone at the provider and long over: nobody can pay it any more.
            over.append(one.external_id)
    expired = await mark_invoices_expired(db, NAME, over) if over else 0
    if failures:
        raise ExceptionGroup("paid invoices could not be settled", failures)
    return CheckReport(len(watched), paid, expired)


async def invoice_for(db: Database, client: CryptoPay, purchase: Purchase, *, description: str) -> Invoice:
    """The purchase's open invoice, made at the provider when there is none yet.

    The provider is asked with no connection held. Two calls at once may make two invoices: both are watched,
    and whichever is paid settles the purchase. Raises PaymentError and DatabaseError.
    """
    if purchase.invoice is not None and purchase.invoice.status == "active":
        return purchase.invoice
    made = await client.create_invoice(purchase, description=description)
    async with db.transaction("payments.attach_invoice") as tx:
        invoice_id = await attach_invoice(
            tx,
            purchase,
            provider=made.provider,
            external_id=made.external_id,
            url=made.url,
            amount=made.amount,
            currency=made.currency,
            expires_at=made.expires_at,
        )
    return Invoice(
        id=invoice_id,
        provider=made.provider,
        external_id=made.external_id,
        url=made.url,
        currency=made.currency,
        amount=made.amount,
        status="active",
        expires_at=made.expires_at,
    )
