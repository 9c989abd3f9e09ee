"""Crypto Pay (@CryptoBot): invoices priced in the shop's currency or in a coin, paid in crypto.

Protocol facts (Crypto Pay API 1.5.2): the token goes in a header; answers are `{"ok", "result"|"error"}`;
amounts are decimal strings; createInvoice knows no idempotency key, so that a call with an unknown outcome may
leave an invoice nobody noted, which its payload still leads to the purchase; getInvoices takes up to 1000 ids in
one call. A webhook is signed by HMAC-SHA256 over the raw body with the 32 bytes of SHA256(token) as key; it is
sent at least once (17 times in 3 days), its `update_id` is not unique, and there is none for an expiry: hence the
watcher. There are no refunds: what can go back is a `transfer`, off until the owner allows it in the app's security
settings, whose `spend_id` is accepted once for ever. Lists come newest first by `offset` and `count`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from vpnd.config import Secret
from vpnd.payments.base import (
    ChargePage,
    Ignored,
    InvoiceOrder,
    InvoiceState,
    MalformedWebhook,
    NewInvoice,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    ProviderRefund,
    RefundOrder,
    RefundPage,
    RefundState,
    RefundsUnavailable,
    provider_errors,
    read_envelope,
)
from vpnd.payments.cryptopay_objects import (
    FIATS,
    NAME,
    charge_of_invoice,
    coins_to_return,
    is_coin,
    made_at,
    refund_of_transfer,
)
from vpnd.payments.reading import is_number, json_object
from vpnd.runtime.http import HttpClient
from vpnd.runtime.journal import get_journal
from vpnd.shop.charges import Charge
from vpnd.shop.money import Money, format_decimal

__all__ = [
    "DEFAULT_ASSETS",
    "FIATS",
    "MAX_IDS",
    "NAME",
    "SIGNATURE_HEADER",
    "CryptoPay",
    "parse_webhook",
    "verify_signature",
]

SIGNATURE_HEADER: Final = "crypto-pay-api-signature"
DEADLINE: Final = 10.0  # seconds a call, from when its turn has come
MAX_IDS: Final = 1000  # of one getInvoices call
PAGE: Final = 200  # items of a list asked for in one call
# A paid invoice that vanished between two pages would pull the next one over the edge of a page already read. Pages
# overlap by so many; what is newly paid meanwhile only pushes items back, where they are read twice.
OVERLAP: Final = 10
# Lists are sorted by when an invoice was made and not by when it was paid: the walk goes back this much further than
# it is asked about. Our invoices live for an hour.
LONGEST_LIFE: Final = timedelta(days=1)
DEFAULT_ASSETS: Final = ("USDT", "TON", "BTC", "ETH", "LTC", "TRX")

_journal = get_journal("payments")

_EXPIRES_IN: Final = (1, 2_678_400)  # seconds; what createInvoice takes
_TEXT_LIMIT: Final = 1024  # characters of a description or a comment
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}\Z")

# Why a transfer will never be made, whatever is mended here: too little or too much for Crypto Pay (some 1 to 25 000
# USD), or nobody there by that id, who may have paid another's link without ever starting the bot.
_FINAL_REFUSALS: Final = frozenset({"AMOUNT_TOO_SMALL", "AMOUNT_TOO_BIG", "USER_NOT_FOUND"})


class CryptoPay:
    """The client, a `Provider`. One for the process; it keeps nothing but the token and its options."""

    def __init__(
        self,
        http: HttpClient,
        token: Secret,
        api_base: str = "https://pay.crypt.bot/api",
        *,
        accepted_assets: Sequence[str] = DEFAULT_ASSETS,
        swap_to: str | None = None,
        refunds_by_transfer: bool = False,
    ) -> None:
        """Keep what is needed; nothing is asked yet.

        Args:
            http: the way out.
            token: the app's.
            api_base: where the API is.
            accepted_assets: coins that invoices priced in fiat may be paid in.
            swap_to: the coin Crypto Pay is to change what it takes into, as far as it can.
            refunds_by_transfer: whether money may go back from the app's balance; the app has to allow transfers.
        """
        self._http = http
        self._token = token
        self._base = api_base.rstrip("/")
        self._assets = ",".join(accepted_assets)
        self._swap_to = swap_to
        self._refunds_by_transfer = refunds_by_transfer

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        return NAME

    async def get_me(self) -> Mapping[str, Any]:
        """The app behind the token: a live check of the configuration. Raises PaymentError."""
        result = await self._call("getMe", {})
        return result if isinstance(result, dict) else {}

    async def create_invoice(self, order: InvoiceOrder) -> NewInvoice:
        """Make an invoice that carries the order's payload and lives as long as it says.

        Not repeatable: each call makes another one, since Crypto Pay takes no key. Any of them can be paid and
        settles the purchase. Raises PaymentError.
        """
        asked: dict[str, Any] = {
            **self._price(order.currency),
            "amount": format_decimal(Money(order.amount, order.currency)),
            "description": order.description[:_TEXT_LIMIT],
            "payload": order.payload,
            "expires_in": min(max(order.lifetime, _EXPIRES_IN[0]), _EXPIRES_IN[1]),
            "allow_comments": False,
        }
        if self._swap_to is not None:
            asked["swap_to"] = self._swap_to
        result = await self._call("createInvoice", asked)
        invoice = result if isinstance(result, dict) else {}
        external_id, url = invoice.get("invoice_id"), invoice.get("bot_invoice_url") or invoice.get("pay_url")
        if (
            not is_number(external_id)
            or not isinstance(url, str)
            or not url.startswith(("https://", "http://"))
        ):
            raise PaymentUnavailable(
                "cryptopay createInvoice: the answer has no invoice_id or no address to pay at"
            )
        return NewInvoice(NAME, str(external_id), url, order.currency, order.amount, order.expires_at)

    def _price(self, currency: str) -> dict[str, str]:
        """How a price in this currency is asked. Only one in fiat leaves the payer a choice of coins."""
        if is_coin(currency):
            return {"currency_type": "crypto", "asset": currency}
        return {"currency_type": "fiat", "fiat": currency, "accepted_assets": self._assets}

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        """The present state of up to 1000 invoices, one call; ids that are not the app's are missing.

        A paid one that cannot be read is journalled, has the status "unreadable", and does not spoil the
        others. Raises PaymentError.
        """
        if not external_ids:
            return []
        if len(external_ids) > MAX_IDS:
            raise ValueError(f"at most {MAX_IDS} invoices a call, not {len(external_ids)}")
        asked = {"invoice_ids": ",".join(external_ids), "count": len(external_ids)}
        states: list[InvoiceState] = []
        for item in await self._items("getInvoices", asked):
            if not is_number(item.get("invoice_id")):
                continue
            status, charge = str(item.get("status")), None
            if status == "paid":
                charge = _charge_or_none(item)
                status = "paid" if charge is not None else "unreadable"
            states.append(InvoiceState(str(item["invoice_id"]), status, charge))
        return states

    async def refund(self, order: RefundOrder) -> RefundState:
        """Send coins back by `transfer`, once for the order's key.

        Too small or too large an amount, and a payer Crypto Pay does not know, are refused for good. Where the app
        may not transfer (METHOD_DISABLED), no refund can be made until its owner allows it: PaymentForbidden. Too
        small a balance (INSUFFICIENT_FUNDS) is one coin's and not the app's, so that refunds in others go on:
        PaymentRejected, as is any other refusal, for a person to read; the same key pays once that is mended.

        Raises RefundsUnavailable where transfers are off, or what was paid or who paid is not known. Raises
        PaymentError.
        """
        if not self._refunds_by_transfer:
            raise RefundsUnavailable(
                "cryptopay transfer: refunds by transfer are off", code=0, name="REFUNDS_OFF"
            )
        coins = coins_to_return(order)
        try:
            result = await self._call(
                "transfer",
                {
                    "user_id": order.telegram_id,
                    "asset": coins.currency,
                    "amount": format_decimal(coins),
                    "spend_id": order.key,
                    "comment": order.description[:_TEXT_LIMIT],
                },
            )
        except PaymentForbidden:
            raise
        except PaymentRejected as error:
            return await self._after_refusal(order, error)
        transfer_id = result.get("transfer_id") if isinstance(result, dict) else None
        # It was made, whatever its number is.
        return RefundState(str(transfer_id) if is_number(transfer_id) else "", "done")

    async def _after_refusal(self, order: RefundOrder, error: PaymentRejected) -> RefundState:
        if error.name == "SPEND_ID_ALREADY_USED":
            for item in await self._items("getTransfers", {"spend_id": order.key, "count": 1}):
                if item.get("spend_id") == order.key and is_number(item.get("transfer_id")):
                    return RefundState(str(item["transfer_id"]), "done")
            raise PaymentUnavailable("cryptopay getTransfers: a transfer that was made is not listed yet")
        if error.name in _FINAL_REFUSALS:
            return RefundState("", "refused", error.name)
        raise error

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """A page of the app's invoices paid since a moment, newest first; one may stand on two pages, none is left out.

        Raises PaymentError.
        """
        offset = _offset(cursor)
        items = await self._items("getInvoices", {"status": "paid", "offset": offset, "count": PAGE})
        read = [_charge_or_none(item) for item in items]
        charges = (one for one in read if one is not None)
        return ChargePage(
            tuple(one for one in charges if one.paid_at is None or one.paid_at >= since),
            read.count(None),
            _next(items, offset, since - LONGEST_LIFE),
        )

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        """A page of the app's transfers since a moment, newest first. Those we did not ask for are among them, with
        keys that are not ours. One may stand on two pages. Raises PaymentError."""
        offset = _offset(cursor)
        items = await self._items("getTransfers", {"offset": offset, "count": PAGE})
        read = (_refund_or_none(item) for item in items)
        return RefundPage(
            tuple(one for one in read if one is not None and (one.at is None or one.at >= since)),
            _next(items, offset, since),
        )

    async def _items(self, operation: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The items of a list; what is no object is an empty one, so that a page keeps its length."""
        result = await self._call(operation, parameters)
        # The documentation says result.items; some servers answer with the bare list.
        items = result.get("items") if isinstance(result, dict) else result
        if not isinstance(items, list):
            raise PaymentUnavailable(f"cryptopay {operation}: the answer has no items")
        return [item if isinstance(item, dict) else {} for item in items]

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


def _charge_or_none(item: Mapping[str, Any]) -> Charge | None:
    """The charge of a paid invoice, or None with a line in the journal when it cannot be read."""
    try:
        return charge_of_invoice(item, "items")
    except MalformedWebhook as error:
        _journal.error(
            "payment.invoice_unreadable",
            message=f"Crypto Pay reports a paid invoice that cannot be read: {error}",
            invoice=str(item.get("invoice_id"))[:32],
        )
        return None


def _refund_or_none(item: Mapping[str, Any]) -> ProviderRefund | None:
    try:
        return refund_of_transfer(item, "items")
    except MalformedWebhook as error:
        _journal.error(
            "payment.refund_unreadable",
            message=f"Crypto Pay reports a transfer that cannot be read: {error}",
            transfer=str(item.get("transfer_id"))[:32],
        )
        return None


def _offset(cursor: str | None) -> int:
    """Where a page begins, out of the cursor the page before it gave."""
    return 0 if cursor is None else int(cursor)


def _next(items: Sequence[Mapping[str, Any]], offset: int, until: datetime) -> str | None:
    """The cursor of the following page; None when this was the last, or reaches back beyond `until`."""
    times = [made for item in items if (made := made_at(item)) is not None]
    if len(items) < PAGE or (times and min(times) < until):
        return None
    return str(offset + PAGE - OVERLAP)


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
    document = json_object(raw)
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
