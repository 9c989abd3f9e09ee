"""Settlement: a provider's charge becomes access or balance, once, in one transaction.

The key is the charge (provider, charge id), never the purchase. A webhook, a poll and an update may report
one charge, in any order, any number of times, at once: the row `settlements` is unique by the key, and who
does not get to write it changes nothing. A purchase on the other hand may be paid twice, and a second charge
for it is real money that must go somewhere.

Three steps, of which two are a round trip each: the scene is locked and read (`settlement_scene`), a pure function
decides (`settlement_decision`, with the table of what becomes of what), and one statement writes it
(`settlement_write`).

Locks are taken in one order: purchase, customer, subscription, accounts by id.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import refund_requests, star_subscriptions
from vpnd.shop.charges import AccessGranted, Charge, Outcome, SettlementResult
from vpnd.shop.settlement_decision import PurchaseClosed, Verdict, decide
from vpnd.shop.settlement_scene import read_scene
from vpnd.shop.settlement_write import clean_payload, write_verdict

__all__ = ["Charge", "Outcome", "PurchaseClosed", "SettlementResult", "settle"]


#: How often the scene is read: what changed under the first look cannot change again under the locks it took.
_LOOKS: Final = 3


async def settle(tx: Transaction, charge: Charge) -> SettlementResult:
    """Settle a charge once; a charge that was settled before changes nothing.

    Locks the purchase, the customer, the subscription it would renew and the accounts it moves until the transaction
    ends. Raises InsufficientBalance and PurchaseClosed for a charge of the customer's balance, for no other.
    """
    charge = evolve(
        charge,
        payload=clean_payload(charge.payload),
        invoice_external_id=clean_payload(charge.invoice_external_id),
    )
    for look in range(_LOOKS):
        scene = await read_scene(tx, charge)
        if scene.settled is not None:
            return _already(scene.settled)
        try:
            verdict = decide(scene, charge)
        except PurchaseClosed:
            if look:
                raise
            continue  # closed it may be by this very charge, which was settled while we waited for the purchase
        if await write_verdict(tx, scene, verdict):
            await _follow_up(tx, verdict)
            return _result(verdict)
        # Somebody was faster: he has settled this charge, or made the subscription that we did not see while we
        # waited for the customer's lock. It is ours by now, so the next look is the truth.
    raise RuntimeError(
        f"charge {charge.charge_id} of {charge.provider} can neither be settled nor found settled"
    )


async def _follow_up(tx: Transaction, verdict: Verdict) -> None:
    """What only some settlements need, after their claim was won."""
    charge, purchase, access = verdict.charge, verdict.purchase, verdict.access
    if verdict.refunds_to is not None:
        await refund_requests.refund_second_charge(tx, verdict)
    if access is not None and purchase is not None and charge.recurring and purchase["recurring"]:
        await star_subscriptions.note_charge(
            tx,
            purchase_id=purchase["purchase_id"],
            customer_id=purchase["customer_id"],
            subscription_id=access.subscription_id,
            charge=charge,
            runs_until=charge.runs_until or access.until_at,
        )


def _already(row: Row) -> SettlementResult:
    return SettlementResult(
        Outcome.ALREADY_SETTLED,
        row["settlement_id"],
        row["purchase_id"],
        row["settled_for"],
        row["settled_reason"],
    )


def _result(verdict: Verdict) -> SettlementResult:
    purchase, access = verdict.purchase, verdict.access
    granted = None
    if access is not None:
        granted = AccessGranted(
            subscription_id=access.subscription_id,
            renewed=not access.created,
            access_changed=access.created or access.was_off,
            from_at=access.from_at,
            until_at=access.until_at,
        )
    return SettlementResult(
        verdict.outcome,
        verdict.settlement_id,
        verdict.purchase_id,
        None if purchase is None else purchase["customer_id"],
        verdict.reason,
        granted,
        verdict.credited,
    )
