"""What Crypto Pay's invoices and transfers say, and how much of which coin a refund is.

Protocol facts (Crypto Pay API 1.5.2): an invoice is priced in a fiat currency (`fiat`) or in a coin (`asset`); a paid one
priced in fiat tells with `paid_asset` and `paid_amount` what really came. An invoice is paid once, so its id is the
charge's. A transfer carries the `spend_id` it was asked with, and no word of an invoice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from vpnd.payments.base import MalformedWebhook, ProviderRefund, RefundOrder, RefundsUnavailable
from vpnd.payments.reading import (
    amount_text,
    currency_code,
    is_number,
    minor_units,
    moment,
    optional_text,
    some_details,
)
from vpnd.shop.charges import Charge
from vpnd.shop.money import Money, MoneyError, exponent_of, parse_decimal

__all__ = [
    "FIATS",
    "NAME",
    "charge_of_invoice",
    "coins_to_return",
    "is_coin",
    "made_at",
    "refund_of_transfer",
]

NAME: Final = "cryptopay"

#: The fiat currencies an invoice may be priced in. Coins come and go; whatever is not here is one.
FIATS: Final = frozenset(
    {
        "USD", "EUR", "RUB", "BYN", "UAH", "GBP", "CNY", "KZT", "UZS", "GEL", "TRY", "AMD", "THB", "INR", "BRL", "IDR",
        "AZN", "AED", "PLN", "ILS", "KGS", "TJS",
    }
)  # fmt: skip

# What is worth keeping of a paid invoice: its price, and how much of which coin it really was. A refund is reckoned
# from `amount`, `paid_asset` and `paid_amount`.
_DETAILS: Final = (
    "hash",
    "currency_type",
    "amount",
    "paid_asset",
    "paid_amount",
    "paid_fiat_rate",
    "paid_usd_rate",
    "fee_asset",
    "fee_amount",
    "swapped_to",
    "swapped_output",
)
_PLAIN_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,30})?\Z")


def is_coin(currency: str) -> bool:
    """Whether a price in it is a price in crypto."""
    return currency not in FIATS


def charge_of_invoice(invoice: Mapping[str, Any], where: str) -> Charge:
    """The charge a paid invoice is. Raises MalformedWebhook; `where` is the prefix of the fields it names."""
    if not is_number(invoice.get("invoice_id")):
        raise MalformedWebhook(f"{where}.invoice_id", "is missing or no positive whole number")
    if invoice.get("status") != "paid":
        raise MalformedWebhook(f"{where}.status", "is missing or not 'paid'")
    # Invoices made before version 1.2 of the API have no currency_type and are priced in a coin.
    kind = invoice.get("currency_type", "crypto")
    if kind not in ("fiat", "crypto"):
        raise MalformedWebhook(f"{where}.currency_type", "is neither 'fiat' nor 'crypto'")
    unit = "fiat" if kind == "fiat" else "asset"
    currency = currency_code(invoice.get(unit), f"{where}.{unit}")
    text = amount_text(invoice.get("amount"), f"{where}.amount")
    return Charge(
        provider=NAME,
        charge_id=str(invoice["invoice_id"]),
        amount=minor_units(text, currency),
        currency=currency,
        amount_text=text,
        invoice_external_id=str(invoice["invoice_id"]),
        payload=optional_text(invoice.get("payload"), f"{where}.payload"),
        paid_at=moment(invoice.get("paid_at"), f"{where}.paid_at"),
        details=some_details(invoice, _DETAILS),
    )


def refund_of_transfer(transfer: Mapping[str, Any], where: str) -> ProviderRefund:
    """A transfer as a refund; its key is the spend_id. Raises MalformedWebhook."""
    if not is_number(transfer.get("transfer_id")):
        raise MalformedWebhook(f"{where}.transfer_id", "is missing or no positive whole number")
    asset = currency_code(transfer.get("asset"), f"{where}.asset")
    text = amount_text(transfer.get("amount"), f"{where}.amount")
    return ProviderRefund(
        external_id=str(transfer["transfer_id"]),
        charge_id=None,
        key=optional_text(transfer.get("spend_id"), f"{where}.spend_id"),
        amount=minor_units(text, asset),
        currency=asset,
        amount_text=text,
        at=moment(transfer.get("completed_at"), f"{where}.completed_at"),
    )


def made_at(item: Mapping[str, Any]) -> datetime | None:
    """When an invoice was made or a transfer completed; None where that cannot be read, which ends no walk."""
    for name in ("created_at", "completed_at"):
        try:
            read = moment(item.get(name), name)
        except MalformedWebhook:
            continue
        if read is not None:
            return read
    return None


def coins_to_return(order: RefundOrder) -> Money:
    """How much of which coin a refund is.

    Of a charge in a coin it is the order's own amount. Of a charge in fiat it is the order's share of the coins that
    came, rounded down to the coin's places: never more than was paid, at whatever rate the coin stands today.

    Raises:
        RefundsUnavailable: what was paid or who paid is not known, or the share is less than the coin's smallest unit.
    """
    if order.telegram_id <= 0:
        raise _unavailable(order, "PAYER_UNKNOWN")
    if is_coin(order.currency):
        coins = Money(order.amount, order.currency)
    else:
        asset = order.details.get("paid_asset")
        paid = _plain(order.details.get("paid_amount"))
        if not isinstance(asset, str) or paid is None:
            raise _unavailable(order, "PAID_COIN_UNKNOWN")
        try:
            coins = Money(int(paid * _share(order) * 10 ** exponent_of(asset)), asset)
        except MoneyError:
            raise _unavailable(order, "PAID_COIN_UNKNOWN") from None
    if coins.amount <= 0:
        raise _unavailable(order, "AMOUNT_TOO_SMALL")
    return coins


def _share(order: RefundOrder) -> Fraction:
    """The part of the charge that goes back, at most 1."""
    if order.whole:
        return Fraction(1)
    # Written by us as the provider's text; of a charge from before that was kept, the minor units that were booked.
    known = order.details.get("amount")
    full = known if isinstance(known, int) and not isinstance(known, bool) else 0
    if isinstance(known, str):
        full = parse_decimal(known, order.currency).amount
    if not 0 < order.amount <= full:
        raise _unavailable(order, "SHARE_UNKNOWN")
    return Fraction(order.amount, full)


def _plain(value: object) -> Fraction | None:
    return Fraction(value) if isinstance(value, str) and _PLAIN_DECIMAL.match(value) else None


def _unavailable(order: RefundOrder, name: str) -> RefundsUnavailable:
    return RefundsUnavailable(
        f"cryptopay transfer: charge {order.charge_id} cannot be given back in coins: {name}",
        code=0,
        name=name,
    )
