"""Telegram Stars: invoices that are messages or links, and the last question before the money moves.

Protocol facts (Bot API 10): currency XTR, an empty provider token, exactly one price. A pre_checkout_query must be
answered within 10 s and is the only moment to say no. Only a successful_payment means paid; its
telegram_payment_charge_id names the charge once and for all, and is what refundStarPayment takes. A subscription can
only be begun by a link (createInvoiceLink), runs for 2 592 000 s and costs at most 10 000 Stars; each of its charges is
told by a successful_payment of its own with the same payload, and none but the first is asked about beforehand.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.runtime.journal import get_journal
from vpnd.shop.purchases import Purchase
from vpnd.shop.settlement import Charge

__all__ = [
    "CURRENCY",
    "MAX_SUBSCRIPTION",
    "NAME",
    "SUBSCRIPTION_DAYS",
    "PreCheckoutAnswer",
    "StarsInvoice",
    "charge_from_successful_payment",
    "check_pre_checkout",
    "invoice_parameters",
]

NAME: Final = "stars"
CURRENCY: Final = "XTR"
SUBSCRIPTION_DAYS: Final = 30  # the only period that Telegram charges by itself
MAX_SUBSCRIPTION: Final = 10_000  # Stars; the most that a period may cost
_SUBSCRIPTION_PERIOD: Final = 2_592_000  # seconds

_TITLE_LIMIT: Final = 32
_DESCRIPTION_LIMIT: Final = 255
# Telegram waits 10 s; what remains is for the answer's own way.
_CHECK_DEADLINE: Final = 3.0

_journal = get_journal("payments")

Refusal = Literal[
    "unknown_purchase",
    "not_your_purchase",
    "already_paid",
    "purchase_expired",
    "wrong_price",
    "off_sale",
    "try_later",
]


@frozen
class StarsInvoice:
    """What sendInvoice needs, beside the chat, and createInvoiceLink with `subscription_period` (seconds)."""

    title: str
    description: str
    payload: str
    label: str
    amount: int
    currency: str = CURRENCY
    provider_token: str = ""
    subscription_period: int | None = None

    def as_request(self) -> dict[str, Any]:
        """The parameters as the Bot API names them; `prices` as plain objects."""
        request: dict[str, Any] = {
            "title": self.title,
            "description": self.description,
            "payload": self.payload,
            "provider_token": self.provider_token,
            "currency": self.currency,
            "prices": [{"label": self.label, "amount": self.amount}],
        }
        if self.subscription_period is not None:
            request["subscription_period"] = self.subscription_period
        return request


@frozen
class PreCheckoutAnswer:
    """Whether the payment may go on; `error` names the text that tells the payer why not."""

    ok: bool
    error: Refusal | None = None


def invoice_parameters(purchase: Purchase, *, title: str, description: str) -> StarsInvoice:
    """The invoice of what is still missing of a purchase by Stars. Raises ValueError for one by another method."""
    if purchase.method != NAME or purchase.currency != CURRENCY:
        raise ValueError(f"purchase {purchase.public_id} is not paid by Stars")
    return StarsInvoice(
        title=title[:_TITLE_LIMIT],
        description=description[:_DESCRIPTION_LIMIT],
        payload=purchase.public_id,
        label=title[:_TITLE_LIMIT],
        amount=purchase.missing,
        subscription_period=_SUBSCRIPTION_PERIOD if purchase.recurring else None,
    )


_CHECK: Final = """
select c.telegram_id, p.method, p.status, p.currency, p.amount - p.received as missing, p.expires_at > vpnd_now() as in_time,
       p.kind = 'topup' or (o.on_sale and pl.on_sale) as on_sale
from purchases p
join customers c on c.id = p.customer_id
left join offers o on o.id = p.offer_id
left join plans pl on pl.id = o.plan_id
where p.public_id = $1
"""


async def check_pre_checkout(
    db: Database, *, payer_telegram_id: int, payload: str, currency: str, total_amount: int
) -> PreCheckoutAnswer:
    """Judge a pre-checkout: the payer is the buyer, the purchase is open and in time, the price is the one
    promised, and it is still on sale. Whatever cannot be checked is refused; never raises DatabaseError."""
    try:
        row = await db.fetchrow(
            "payments.pre_checkout", _CHECK, payload.replace("\x00", ""), deadline=_CHECK_DEADLINE
        )
    except DatabaseError as error:
        _journal.warning(
            "payment.pre_checkout_unchecked",
            message=f"A pre-checkout was refused, since it could not be checked: {error}",
        )
        return PreCheckoutAnswer(False, "try_later")
    error_key = _refusal(row, payer_telegram_id, currency, total_amount)
    return PreCheckoutAnswer(error_key is None, error_key)


def _refusal(row: Row | None, payer: int, currency: str, total_amount: int) -> Refusal | None:
    if row is None or row["method"] != NAME:
        return "unknown_purchase"
    if row["telegram_id"] != payer:
        return "not_your_purchase"
    if row["status"] in ("paid", "refunded"):
        return "already_paid"
    if row["status"] != "pending" or not row["in_time"]:
        return "purchase_expired"
    if row["currency"] != currency or row["missing"] != total_amount:
        return "wrong_price"
    return None if row["on_sale"] else "off_sale"


def charge_from_successful_payment(
    *,
    telegram_payment_charge_id: str,
    provider_payment_charge_id: str,
    currency: str,
    total_amount: int,
    payload: str,
    payer_telegram_id: int,
    paid_at: datetime | None = None,
    recurring: bool = False,
    runs_until: datetime | None = None,
) -> Charge:
    """The charge that a successful_payment reports. `total_amount` in minor units, which Stars are.

    `recurring` and `runs_until` are its is_recurring and subscription_expiration_date.
    """
    return Charge(
        provider=NAME,
        charge_id=telegram_payment_charge_id,
        amount=total_amount,
        currency=currency,
        amount_text=str(total_amount),
        payload=payload,
        payer_telegram_id=payer_telegram_id,
        paid_at=paid_at,
        recurring=recurring,
        runs_until=runs_until,
        details={"provider_payment_charge_id": provider_payment_charge_id, "payer": payer_telegram_id},
    )
