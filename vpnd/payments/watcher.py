"""The payment watcher: asks providers about invoices whose webhook may never come.

Oldest unchecked first, so that no invoice starves behind newer ones; many ids a call; and no connection to the
database is held while the provider is asked.

A provider that tells of one invoice a call would be asked about a thousand of them for half an hour. Its list of what was paid
lately is a call a hundred (`LatelyPaid`), so whoever has paid does not wait for his turn.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import trio
from attrs import frozen

from vpnd.database.database import Database
from vpnd.payments.base import InvoiceOrder, PaymentError, PaymentUnavailable, Provider
from vpnd.runtime.journal import get_journal
from vpnd.shop.charges import Charge
from vpnd.shop.purchases import Invoice, Purchase, attach_invoice
from vpnd.shop.status import invoices_to_check, invoices_unpaid, mark_invoices_expired

__all__ = ["Asked", "LatelyPaid", "ask_about_invoices", "ask_and_read", "invoice_for"]

log = get_journal("payments")

CHECK_LIMIT: Final = 100  # invoices of one call
#: Where each invoice is a call of its own, a fifth of a round's limit is asked about: the round has to fit its deadline.
ONE_IN: Final = 5

#: How far back the first look into a list goes, and later ones for what is not settled. What is older is found by asking one by
#: one, and by the daily comparison.
FIRST_LOOK: Final = timedelta(hours=1)
#: So much of what was read is read again: the clocks differ, and a list may be late.
READ_AGAIN: Final = timedelta(minutes=5)
#: Pages of one look, newest first: a thousand charges of YooKassa's. A look every half minute needs one of them.
MOST_PAGES: Final = 10
#: Seconds for a look; a list that is slower than that must not take the watcher's whole round.
LOOK: Final = 10.0

# A purchase that is about to end is still given so long to be paid: whoever asks for an invoice means to pay it.
SHORTEST_LIFE: Final = timedelta(minutes=5)


@frozen
class Asked:
    """What a provider said of `checked` open invoices: `paid` are to be settled, `expired` can no longer be paid."""

    checked: int
    paid: tuple[Charge, ...]
    expired: int


async def ask_about_invoices(db: Database, provider: Provider, limit: int = CHECK_LIMIT) -> Asked:
    """Ask about up to `limit` of a provider's open invoices, the longest unchecked first, and stop watching those expired.

    What is paid is the caller's to settle; until then the invoice stays open and is asked about again when its turn comes.
    Raises PaymentError when the provider cannot be asked.
    """
    watched = await invoices_to_check(db, provider.name, limit)
    if not watched:
        return Asked(0, (), 0)
    states = {
        state.external_id: state
        for state in await provider.invoice_states([one.external_id for one in watched])
    }
    over: list[str] = []
    paid: list[Charge] = []
    for one in watched:
        state = states.get(one.external_id)
        if state is not None and state.charge is not None:
            paid.append(state.charge)
        elif (state is not None and state.status == "expired") or (state is None and one.overdue):
            # Gone at the provider and long over: nobody can pay it any more.
            over.append(one.external_id)
    expired = await mark_invoices_expired(db, provider.name, over) if over else 0
    return Asked(len(watched), tuple(paid), expired)


class LatelyPaid:
    """Finds, in a provider's list of charges, those whose invoices wait here. Remembers how far it has read.

    What it has found and nobody settled is found again: it reads on from the oldest of those, if that was within the hour.
    """

    def __init__(self, db: Database, provider: Provider) -> None:
        self._db = db
        self._provider = provider
        self._since: datetime | None = None

    async def find(self, limit: int) -> tuple[Charge, ...]:
        """Up to `limit` charges that are to be settled.

        Raises PaymentError when the provider cannot be asked, or has told of none within ten seconds. One that is only slow is
        asked for the same again the next time, and what it has told until then is found.
        """
        began = datetime.now(UTC)
        since = self._since or began - FIRST_LOOK
        found: list[Charge] = []
        with trio.move_on_after(LOOK) as scope:
            await self._read(since, found)
        if scope.cancelled_caught:
            if not found:
                raise PaymentUnavailable(
                    f"{self._provider.name}: its list of charges took more than {LOOK:g} s"
                )
        else:
            paid = [one.paid_at for one in found if one.paid_at is not None]
            # One that cannot be settled must not have all that came after it read for ever.
            self._since = max(since, began - FIRST_LOOK, min([began, *paid]) - READ_AGAIN)
        return tuple(reversed(found))[:limit]  # the oldest first: they have waited for the longest

    async def _read(self, since: datetime, found: list[Charge]) -> None:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._provider.charges_since(since, cursor)
            listed = [one.invoice_external_id for one in page.charges if one.invoice_external_id is not None]
            waiting = await invoices_unpaid(self._db, self._provider.name, listed) if listed else set()
            found += [one for one in page.charges if one.invoice_external_id in waiting]
            cursor = page.next
            if cursor is None:
                return


async def ask_and_read(
    db: Database, provider: Provider, lately: LatelyPaid, limit: int
) -> tuple[Charge, ...]:
    """Up to `limit` charges to settle: of invoices that were asked about one by one, and of the list. Raises PaymentError."""
    asked = await ask_about_invoices(db, provider, max(1, limit // ONE_IN))
    try:
        listed = await lately.find(limit)
    except PaymentError as error:
        if not asked.paid:
            raise
        listed = ()  # what was found is settled first; a round that finds nothing fails of it
        log.debug("payments.list_unread", message=f"the list of {provider.name} could not be read: {error}")
    charges = {charge.charge_id: charge for charge in (*asked.paid, *listed)}
    return tuple(charges.values())[:limit]


async def invoice_for(
    db: Database,
    provider: Provider,
    purchase: Purchase,
    *,
    description: str,
    return_url: str | None = None,
    now: datetime | None = None,
) -> Invoice:
    """The purchase's open invoice for what is still missing, made at the provider when there is none yet.

    The provider is asked with no connection held, under a key that names this invoice of this purchase: one that
    knows such keys makes no second one when the answer was lost. Two calls at once may make two elsewhere: both are
    watched, and whichever is paid settles the purchase.

    Args:
        db: where it is noted.
        provider: who makes it; of another provider's invoice none is reused.
        purchase: as it was read just now.
        description: what the payer reads.
        return_url: where he is sent back to, for providers with a page of their own.
        now: business time; an invoice that is over by then is not shown again, and a new one lives as long as the
            purchase still does. Without it a new one lives as long as the whole purchase.

    Raises:
        ValueError: nothing is missing.
        PaymentError, DatabaseError: it could not be made, or not be noted.
    """
    if purchase.missing <= 0:
        raise ValueError(f"purchase {purchase.public_id} needs no invoice: nothing of it is missing")
    if purchase.invoice is not None and _still_asks(purchase.invoice, provider, purchase, now):
        return purchase.invoice
    made = await provider.create_invoice(_order(purchase, description, return_url, now))
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


def _still_asks(invoice: Invoice, provider: Provider, purchase: Purchase, now: datetime | None) -> bool:
    """Whether an invoice can be shown again: open, this provider's, and asking exactly what is missing."""
    return (
        invoice.status == "active"
        and invoice.provider == provider.name
        and (invoice.amount, invoice.currency) == (purchase.missing, purchase.currency)
        and (now is None or invoice.expires_at > now)
    )


def _order(
    purchase: Purchase, description: str, return_url: str | None, now: datetime | None
) -> InvoiceOrder:
    begins = purchase.created_at if now is None else now
    expires_at = max(purchase.expires_at, begins + SHORTEST_LIFE)
    return InvoiceOrder(
        key=f"{purchase.public_id}:{purchase.invoices + 1}",
        payload=purchase.public_id,
        amount=purchase.missing,
        currency=purchase.currency,
        description=description,
        lifetime=int((expires_at - begins).total_seconds()),
        expires_at=expires_at,
        return_url=return_url,
    )
