"""Paying refunds out: the outbox's jobs that ask a provider until it has answered for good.

A job may run any number of times: the provider knows the refund by its key (or, for Stars, by the charge), and what
follows its answer is written once. A provider that is away pauses its own jobs and no other's; one that refuses for
good leaves the money on the customer's balance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from vpnd.database.database import Database
from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Delivery, Drop, OutboxItem, Retry
from vpnd.database.scope import Transaction
from vpnd.payments.base import (
    PaymentBusy,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    RefundOrder,
    RefundState,
    RefundsUnavailable,
)
from vpnd.payments.stars_account import StarsAccount
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.shop.refunds import RefundFact, finish_refund, refund_fact, turn_to_balance

__all__ = ["RefundsMoney", "deliver_refund", "deliver_star_cancel"]

_journal = get_journal("payments")

#: Seconds until a provider whose credentials are refused is asked again: only an operator can mend that.
FORBIDDEN_PAUSE: Final = 60.0
#: Seconds until a refund that the provider has not decided yet is looked at again: at first, and doubled up to so many.
#: A look costs one of the job's attempts, so they have to last for the days that a bank may take.
PENDING_PAUSE: Final = 600.0
PENDING_MOST: Final = 21_600.0
#: Seconds until a job is looked at again whose provider is not set up here any more.
ABSENT_PAUSE: Final = 3600.0


class RefundsMoney(Protocol):
    """The part of a provider that a refund needs."""

    async def refund(self, order: RefundOrder) -> RefundState:
        """Give money back; safe to repeat with the same key. Raises PaymentError."""
        ...


async def deliver_refund(
    db: Database,
    providers: Mapping[str, RefundsMoney],
    item: OutboxItem,
    *,
    description: str = "VPN",
    wake: Sequence[Callable[[], None]] = (),
) -> Delivery:
    """Ask the provider for one refund and write down what came of it.

    Args:
        providers: those that are set up, by name.
        description: what a payer reads beside the money that comes back.
        wake: called after something was written that others wait for.
    """
    try:
        fact = await refund_fact(db, int(item.payload["refund"]))
    except (KeyError, ValueError, TypeError) as error:
        return Dead(f"the payload cannot be read: {type(error).__name__}: {error}")
    if fact is None:
        return Dead("there is no such refund")
    if fact.refund.status not in ("requested", "stuck"):
        return Delivered()
    provider = providers.get(fact.refund.provider)
    if provider is None:
        return Retry(ABSENT_PAUSE, f"{fact.refund.provider} is not set up here")
    try:
        state = await provider.refund(_order(fact, description))
    except RefundsUnavailable as error:
        return await _to_balance(db, fact, str(error), wake)
    except PaymentBusy as error:
        return BoundaryDown(error.retry_after, str(error))
    except PaymentForbidden as error:
        return BoundaryDown(FORBIDDEN_PAUSE, str(error))
    except PaymentUnavailable as error:
        return BoundaryDown(None, str(error))
    except PaymentRejected as error:
        return Retry(None, str(error))  # an operator may mend it; given up loudly when nobody does
    if state.status == "pending":
        pause = min(PENDING_PAUSE * 2**item.failures, PENDING_MOST)
        return Retry(pause, "the provider has not decided yet")
    if state.status == "refused":
        return await _to_balance(db, fact, state.reason or "refused by the provider", wake)
    return await _done(db, fact, state)


def _order(fact: RefundFact, description: str) -> RefundOrder:
    refund = fact.refund
    return RefundOrder(
        key=refund.key,
        charge_id=fact.charge_id,
        amount=refund.amount,
        currency=refund.currency,
        whole=refund.amount == fact.charge_amount,
        telegram_id=fact.telegram_id or 0,
        description=description,
        details={**fact.details, "amount": fact.details.get("amount", fact.charge_amount)},
    )


async def _done(db: Database, fact: RefundFact, state: RefundState) -> Delivery:
    async def body(tx: Transaction) -> bool:
        return await finish_refund(tx, fact.refund.id, state.external_id or None)

    if await db.run("payments.refund_done", body):
        metrics.refunds_total.labels(fact.refund.provider, "done").inc()
        _journal.info(
            "refund.done",
            message=f"{fact.refund.provider} has given {fact.refund.amount} minor units of {fact.refund.currency} back",
            refund=fact.refund.id,
            charge=fact.charge_id,
        )
    return Delivered({"external_id": state.external_id})


async def _to_balance(
    db: Database, fact: RefundFact, reason: str, wake: Sequence[Callable[[], None]]
) -> Delivery:
    async def body(tx: Transaction) -> str | None:
        return await turn_to_balance(tx, fact.refund.id, reason)

    status = await db.run("payments.refund_to_balance", body)
    if status is not None:
        metrics.refunds_total.labels(fact.refund.provider, status).inc()
        _journal.warning(
            "refund.refused",
            message=f"{fact.refund.provider} does not pay a refund out, it is now {status}: {reason}",
            refund=fact.refund.id,
            charge=fact.charge_id,
        )
        for wake_up in wake:
            wake_up()
    return Delivered({"status": status})


async def deliver_star_cancel(account: StarsAccount, item: OutboxItem) -> Delivery:
    """Have Telegram charge a subscription no more. Safe to repeat."""
    try:
        ended = await account.cancel_subscription(
            int(item.payload["telegram_id"]), str(item.payload["charge_id"])
        )
    except (KeyError, ValueError, TypeError) as error:
        return Dead(f"the payload cannot be read: {type(error).__name__}: {error}")
    except PaymentBusy as error:
        return BoundaryDown(error.retry_after, str(error))
    except PaymentForbidden as error:
        return BoundaryDown(FORBIDDEN_PAUSE, str(error))
    except PaymentUnavailable as error:
        return BoundaryDown(None, str(error))
    except PaymentRejected as error:
        return Retry(None, str(error))
    return Delivered() if ended else Drop("Telegram knows of no such subscription any more")
