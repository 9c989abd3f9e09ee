"""What goes into a settlement and what comes out of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import Factory, frozen

__all__ = ["AccessGranted", "Charge", "Outcome", "SettlementResult"]


@frozen
class Charge:
    """Money that a provider says it has taken.

    Attributes:
        provider: "cryptopay", "stars", "yookassa" or "balance".
        charge_id: the provider's name of this charge, unique with it.
        amount: minor units of `currency`; None if the provider's text could not be parsed exactly.
        amount_text: the provider's own decimal string.
        invoice_external_id: the provider's invoice, if it was one.
        payload: what we gave the invoice to carry: a purchase's public id.
        payer_telegram_id: who paid, where the provider tells.
        recurring: the provider took it by itself for a subscription that runs there: a charge of its own for the next
            period, although its payload names the purchase of the first.
        runs_until: until when a subscription at the provider is paid with it.
        details: further facts worth keeping, JSON values; no secrets.
    """

    provider: str
    charge_id: str
    amount: int | None
    currency: str
    amount_text: str
    invoice_external_id: str | None = None
    payload: str | None = None
    payer_telegram_id: int | None = None
    paid_at: datetime | None = None
    recurring: bool = False
    runs_until: datetime | None = None
    details: Mapping[str, Any] = Factory(dict)


class Outcome(enum.Enum):
    """What became of a charge. ALREADY_SETTLED: it was settled before, and this call changed nothing."""

    SETTLED = "settled"
    UNDERPAID = "underpaid"
    SECOND_CHARGE = "second_charge"
    HELD = "held"
    ALREADY_SETTLED = "already_settled"


@frozen
class AccessGranted:
    """The access a charge bought. `renewed`: the subscription existed; `access_changed`: nodes have to be told."""

    subscription_id: int
    renewed: bool
    access_changed: bool
    from_at: datetime
    until_at: datetime


@frozen
class SettlementResult:
    """What `settle` did.

    Attributes:
        reason: why a charge is held.
        granted: the access it bought.
        credited: whether something stays on the customer's balance, which may be enough for what waits for it.
    """

    outcome: Outcome
    settlement_id: int | None = None
    purchase_id: int | None = None
    customer_id: int | None = None
    reason: str | None = None
    granted: AccessGranted | None = None
    credited: bool = False

    @property
    def access_changed(self) -> bool:
        """Whether nodes have something new to be told."""
        return self.granted is not None and self.granted.access_changed
