"""Crypto Pay (@CryptoBot): invoices priced in the shop's currency, paid in crypto.

Protocol facts (Crypto Pay API 1.5.2): the token goes in a header; answers are `{"ok", "result"|"error"}`;
amounts are decimal strings; createInvoice knows no idempotency key, so that a call with an unknown outcome may
leave an invoice nobody noted, which its payload still leads to the purchase; getInvoices takes up to 1000 ids in
one call. A webhook is signed by HMAC-SHA256 over the raw body with the 32 bytes of SHA256(token) as key; it is
sent at least once (17 times in 3 days), its `update_id` is not unique, and there is none for an expiry: hence the
watcher. An invoice is paid once, so its id is the charge's.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from attrs import frozen

from vpnd.config import Secret
from vpnd.payments.base import (
    MalformedWebhook,
    NewInvoice,
    PaymentUnavailable,
    provider_errors,
    read_envelope,
)
from vpnd.runtime.http import HttpClient
from vpnd.runtime.journal import get_journal
from vpnd.shop.money import Money, MoneyError, format_decimal, parse_decimal
from vpnd.shop.purchases import Purchase
from vpnd.shop.settlement import Charge

__all__ = [
    "DEFAULT_ASSETS",
    "MAX_IDS",
    "NAME",
    "SIGNATURE_HEADER",
    "CryptoPay",
    "Ignored",
    "InvoiceState",
    "MalformedWebhook",
    "parse_webhook",
    "verify_signature",
]

NAME: Final = "cryptopay"
SIGNATURE_HEADER: Final = "crypto-pay-api-signature"
DEADLINE: Final = 10.0  # seconds a call, from when its turn has come
MAX_IDS: Final = 1000  # of one getInvoices call
DEFAULT_ASSETS: Final = ("USDT", "TON", "BTC", "ETH", "LTC", "TRX")

_journal = get_journal("payments")

_EXPIRES_IN: Final = (1, 2_678_400)  # seconds; what createInvoice takes
_DESCRIPTION_LIMIT: Final = 1024
_CURRENCY: Final = re.compile(r"[A-Z][A-Z0-9]{1,15}\Z")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}\Z")
_TEXT_LIMIT: Final = 64  # characters of an amount
# What is worth keeping of a paid invoice beside its price: how much of which coin it really was.
_DETAILS: Final = (
    "hash",
    "currency_type",
    "paid_asset",
    "paid_amount",
    "paid_fiat_rate",
    "paid_usd_rate",
    "fee_asset",
    "fee_amount",
)


@frozen
class Ignored:
    """A webhook that tells nothing we act on."""

    reason: str


@frozen
class InvoiceState:
    """An invoice as Crypto Pay has it now. `charge` is there when it is paid."""

    external_id: str
    status: str
    charge: Charge | None


class CryptoPay:
    """The client. One for the process; it keeps nothing but the token."""

    def __init__(
        self,
        http: HttpClient,
        token: Secret,
        api_base: str = "https://pay.crypt.bot/api",
        *,
        accepted_assets: Sequence[str] = DEFAULT_ASSETS,
    ) -> None:
        self._http = http
        self._token = token
        self._base = api_base.rstrip("/")
        self._assets = ",".join(accepted_assets)

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        return NAME

    async def get_me(self) -> Mapping[str, Any]:
        """The app behind the token: a live check of the configuration. Raises PaymentError."""
        result = await self._call("getMe", {})
        return result if isinstance(result, dict) else {}

    async def create_invoice(self, purchase: Purchase, *, description: str) -> NewInvoice:
        """Make an invoice of the purchase's price that carries its public id and lives as long as its price.

        Not repeatable: each call makes another one. Any of them can be paid and settles the purchase.
        Raises PaymentError.
        """
        lifetime = int((purchase.expires_at - purchase.created_at).total_seconds())
        result = await self._call(
            "createInvoice",
            {
                "currency_type": "fiat",
                "fiat": purchase.currency,
                "accepted_assets": self._assets,
                "amount": format_decimal(Money(purchase.amount, purchase.currency)),
                "description": description[:_DESCRIPTION_LIMIT],
                "payload": purchase.public_id,
                "expires_in": min(max(lifetime, _EXPIRES_IN[0]), _EXPIRES_IN[1]),
                "allow_comments": False,
            },
        )
        invoice = result if isinstance(result, dict) else {}
        external_id, url = invoice.get("invoice_id"), invoice.get("bot_invoice_url") or invoice.get("pay_url")
        if not _is_id(external_id) or not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise PaymentUnavailable(
                "cryptopay createInvoice: the answer has no invoice_id or no address to pay at"
            )
        return NewInvoice(
            NAME, str(external_id), url, purchase.currency, purchase.amount, purchase.expires_at
        )

    async def get_invoices(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        """The present state of up to 1000 invoices, one call; ids that are not the app's are missing.

        A paid one that cannot be read is journalled, has the status "unreadable", and does not spoil the
        others. Raises PaymentError.
        """
        if not external_ids:
            return []
        if len(external_ids) > MAX_IDS:
            raise ValueError(f"at most {MAX_IDS} invoices a call, not {len(external_ids)}")
        asked = {"invoice_ids": ",".join(external_ids), "count": min(max(len(external_ids), 1), MAX_IDS)}
        result = await self._call("getInvoices", asked)
        # The documentation says result.items; some servers answer with the bare list.
        items = result.get("items") if isinstance(result, dict) else result
        if not isinstance(items, list):
            raise PaymentUnavailable("cryptopay getInvoices: the answer has no items")
        states: list[InvoiceState] = []
        for item in items:
            if not isinstance(item, dict) or not _is_id(item.get("invoice_id")):
                continue
            try:
                charge = charge_of_invoice(item, "items") if item.get("status") == "paid" else None
            except MalformedWebhook as error:
                _journal.error(
                    "payment.invoice_unreadable",
                    message=f"Crypto Pay reports a paid invoice that cannot be read: {error}",
                    invoice=item["invoice_id"],
                )
                states.append(InvoiceState(str(item["invoice_id"]), "unreadable", None))
                continue
            states.append(InvoiceState(str(item["invoice_id"]), str(item.get("status")), charge))
        return states

    async def _call(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        with provider_errors(NAME, operation):
            response = await self._http.request(
                NAME,
                operation,
                "POST",
                f"{self._base}/{operation}",
                deadline=DEADLINE,
                headers={"Crypto-Pay-API-Token": self._token.reveal()},
                json=dict(parameters),
            )
        return read_envelope(NAME, operation, response)


def verify_signature(token: str, raw_body: bytes, header: str | None) -> bool:
    """Whether the header signs exactly these bytes with this token, compared in constant time.

    False for a missing or malformed header and for an empty token: what cannot be checked is refused.
    """
    if not token or not header or not _SIGNATURE.match(header):
        return False
    expected = hmac.new(sha256(token.encode()).digest(), raw_body, sha256).hexdigest()
    return hmac.compare_digest(expected, header)


def parse_webhook(raw: bytes) -> Charge | Ignored:
    """What a webhook says, once its signature was verified. Raises MalformedWebhook, which names the field."""
    try:
        document = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise MalformedWebhook("(body)", "is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedWebhook("(body)", "is not an object")
    kind = document.get("update_type")
    if not isinstance(kind, str):
        raise MalformedWebhook("update_type", "is missing or no text")
    if kind != "invoice_paid":
        return Ignored(f"update_type {kind[:32]!r}")
    invoice = document.get("payload")
    if not isinstance(invoice, dict):
        raise MalformedWebhook("payload", "is missing or no object")
    if invoice.get("status") != "paid" and isinstance(invoice.get("status"), str):
        return Ignored(f"status {invoice['status'][:32]!r}")
    return charge_of_invoice(invoice, "payload")


def charge_of_invoice(invoice: Mapping[str, Any], where: str) -> Charge:
    """The charge a paid invoice is. Raises MalformedWebhook; `where` is the prefix of the fields it names."""
    if not _is_id(invoice.get("invoice_id")):
        raise MalformedWebhook(f"{where}.invoice_id", "is missing or no positive whole number")
    if invoice.get("status") != "paid":
        raise MalformedWebhook(f"{where}.status", "is missing or not 'paid'")
    # Invoices made before version 1.2 of the API have no currency_type and are priced in a coin.
    kind = invoice.get("currency_type", "crypto")
    if kind not in ("fiat", "crypto"):
        raise MalformedWebhook(f"{where}.currency_type", "is neither 'fiat' nor 'crypto'")
    unit = "fiat" if kind == "fiat" else "asset"
    currency = invoice.get(unit)
    if not isinstance(currency, str) or not _CURRENCY.match(currency):
        raise MalformedWebhook(f"{where}.{unit}", "is missing or no currency code")
    amount_text = _amount_text(invoice.get("amount"), f"{where}.amount")
    payload = invoice.get("payload")
    if payload is not None and not isinstance(payload, str):
        raise MalformedWebhook(f"{where}.payload", "is no text")
    details = {name: str(invoice[name])[:128] for name in _DETAILS if invoice.get(name) is not None}
    return Charge(
        provider=NAME,
        charge_id=str(invoice["invoice_id"]),
        amount=_minor_units(amount_text, currency),
        currency=currency,
        amount_text=amount_text,
        invoice_external_id=str(invoice["invoice_id"]),
        payload=payload,
        paid_at=_moment(invoice.get("paid_at"), f"{where}.paid_at"),
        details=details,
    )


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _amount_text(value: object, field: str) -> str:
    """The provider's own text. Documented as a string; some samples show a number, read as Decimal here."""
    if isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT:
        return value.replace("\x00", "")
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)[:_TEXT_LIMIT]
    raise MalformedWebhook(field, "is missing or no decimal text")


def _minor_units(text: str, currency: str) -> int | None:
    """Minor units, or None for an amount that is not exact here: such a charge is held for an admin."""
    try:
        return parse_decimal(text, currency).amount
    except MoneyError:
        return None


def _moment(value: object, field: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise MalformedWebhook(field, "is no ISO 8601 moment")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
