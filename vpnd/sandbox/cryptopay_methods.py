"""The methods of the Crypto Pay API, every parameter judged.

Source: the published documentation of version 1.5.2; names of errors where its clients know them, the same style elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from vpnd.sandbox.cryptopay_state import ASSETS, FIATS, CryptoPayState, Json, Transfer, plain, usd_rate
from vpnd.sandbox.parameters import BadParameter, Parameters

MAX_EXPIRES_IN = 2_678_400
MIN_USD = Decimal("0.01")
TRANSFER_USD = (Decimal(1), Decimal(25_000))
SWAPS = frozenset({"USDT", "TON", "TRX", "ETH", "SOL", "BTC", "LTC"})
BUTTONS = frozenset({"viewItem", "openChannel", "openBot", "callback"})

_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


class CryptoPayError(Exception):
    """A refusal: `{"ok": false, "error": {"code", "name"}}`, the code also being the HTTP status."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(name)
        self.code = code
        self.name = name


def refuse(name: str) -> CryptoPayError:
    """400 with this name."""
    return CryptoPayError(400, name)


def read_amount(call: Parameters) -> Decimal:
    """`amount`, exactly as written; raises CryptoPayError for what is no positive decimal."""
    text = call.text("amount")
    if not _AMOUNT.fullmatch(text):
        raise refuse("AMOUNT_INVALID" if text else "PARAM_AMOUNT_REQUIRED")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise refuse("AMOUNT_INVALID") from None
    if amount <= 0:
        raise refuse("AMOUNT_INVALID")
    return amount


def comma_list(call: Parameters, name: str) -> list[str] | None:
    """A list, written as a comma list or as JSON; None when absent."""
    value = call.values.get(name)
    if value in (None, ""):
        return None
    if isinstance(value, str) and value.startswith("["):
        value = call.structure(name)
    if isinstance(value, list):
        return [str(item) for item in value]
    return [item.strip() for item in str(value).split(",") if item.strip()]


def _ids(call: Parameters, name: str) -> set[int] | None:
    items = comma_list(call, name)
    if items is None:
        return None
    if not all(item.isdigit() for item in items):
        raise refuse(f"{name.upper()}_INVALID")
    return {int(item) for item in items}


def _asset(call: Parameters, *, required: bool = True) -> str | None:
    if not call.has("asset") and not required:
        return None
    if call.text("asset") not in ASSETS:
        raise refuse("ASSET_INVALID" if call.has("asset") else "PARAM_ASSET_REQUIRED")
    return call.text("asset")


def _page(call: Parameters) -> tuple[int, int]:
    offset, count = call.integer("offset", 0), call.integer("count", 100)
    if offset < 0:
        raise refuse("OFFSET_INVALID")
    if not 1 <= count <= 1000:
        raise refuse("COUNT_INVALID")
    return offset, count


def _limited(call: Parameters, name: str, limit: int, *, count_bytes: bool = False) -> str | None:
    if not call.has(name):
        return None
    text = call.text(name)
    if (len(text.encode()) if count_bytes else len(text)) > limit:
        raise refuse(f"{name.upper()}_TOO_LONG")
    return text


# ---------------------------------------------------------------------------- methods


def get_me(state: CryptoPayState, call: Parameters) -> Any:
    """The app."""
    return {
        "app_id": 500_001,
        "name": "Sandbox VPN",
        "payment_processing_bot_username": "CryptoTestnetBot",
        "webhook_endpoint": None,
    }


def create_invoice(state: CryptoPayState, call: Parameters) -> Any:
    """A new invoice. There is no idempotency key: calling twice makes two."""
    kind = call.text("currency_type", "crypto") or "crypto"
    accepted: list[str] | None = None
    if kind == "crypto":
        code = str(_asset(call))
    elif kind == "fiat":
        code = call.text("fiat")
        if code not in FIATS:
            raise refuse("FIAT_INVALID" if code else "PARAM_FIAT_REQUIRED")
        accepted = comma_list(call, "accepted_assets")
        if accepted is not None and not set(accepted) <= ASSETS.keys():
            raise refuse("ACCEPTED_ASSETS_INVALID")
    else:
        raise refuse("CURRENCY_TYPE_INVALID")
    amount = read_amount(call)
    if amount * usd_rate(code) < MIN_USD:
        raise refuse("AMOUNT_TOO_SMALL")
    expires_in = call.integer("expires_in") if call.has("expires_in") else None
    if expires_in is not None and not 1 <= expires_in <= MAX_EXPIRES_IN:
        raise refuse("EXPIRES_IN_INVALID")
    optional = _optional_fields(call)
    if accepted is None and kind == "fiat":
        accepted = list(ASSETS)
    return state.open_invoice(kind, code, amount, expires_in, optional, accepted).api(state.clock)


def _optional_fields(call: Parameters) -> Json:
    found: Json = {
        "description": _limited(call, "description", 1024),
        "hidden_message": _limited(call, "hidden_message", 2048),
        "payload": _limited(call, "payload", 4096, count_bytes=True),
        "allow_comments": call.boolean("allow_comments", True),
        "allow_anonymous": call.boolean("allow_anonymous", True),
    }
    if call.has("swap_to"):
        if call.text("swap_to") not in SWAPS:
            raise refuse("SWAP_TO_INVALID")
        found |= {"swap_to": call.text("swap_to"), "is_swapped": False}
    if call.has("paid_btn_name"):
        if call.text("paid_btn_name") not in BUTTONS:
            raise refuse("PAID_BTN_NAME_INVALID")
        if not call.has("paid_btn_url"):
            raise refuse("PAID_BTN_URL_REQUIRED")
        parts = urlsplit(call.text("paid_btn_url"))
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise refuse("PAID_BTN_URL_INVALID")
        found |= {"paid_btn_name": call.text("paid_btn_name"), "paid_btn_url": call.text("paid_btn_url")}
    return {name: value for name, value in found.items() if value is not None}


def get_invoices(state: CryptoPayState, call: Parameters) -> Any:
    """Invoices, newest first, narrowed by ids, currency and status (`expired` is no filter)."""
    ids = _ids(call, "invoice_ids")
    status = call.text("status")
    if status not in {"", "active", "paid"}:
        raise refuse("STATUS_INVALID")
    wanted = [code for code in (_asset(call, required=False), call.text("fiat")) if code]
    offset, count = _page(call)
    now = state.clock.now()
    source = (
        state.invoices.values() if ids is None else (state.invoices[i] for i in ids if i in state.invoices)
    )
    found = [
        invoice
        for invoice in sorted(source, key=lambda invoice: -invoice.id)
        if status in {"", invoice.status(now)} and (not wanted or invoice.code in wanted)
    ]
    return {"items": [invoice.api(state.clock) for invoice in found[offset : offset + count]]}


def delete_invoice(state: CryptoPayState, call: Parameters) -> Any:
    """Take an unpaid invoice away."""
    invoice = state.invoices.get(call.integer("invoice_id"))
    if invoice is None:
        raise refuse("INVOICE_NOT_FOUND")
    if invoice.paid is not None:
        raise refuse("INVOICE_ALREADY_PAID")
    del state.invoices[invoice.id]
    return True


def transfer(state: CryptoPayState, call: Parameters) -> Any:
    """Send coins to a user; a spend_id is accepted once, for ever."""
    if not call.has("user_id"):
        raise refuse("PARAM_USER_ID_REQUIRED")
    user_id, asset, amount = call.integer("user_id"), str(_asset(call)), read_amount(call)
    spend_id = _limited(call, "spend_id", 64)
    if spend_id is None:
        raise refuse("PARAM_SPEND_ID_REQUIRED")
    if spend_id in state.spent:
        raise refuse("SPEND_ID_ALREADY_USED")
    worth = amount * usd_rate(asset)
    if not TRANSFER_USD[0] <= worth <= TRANSFER_USD[1]:
        raise refuse("AMOUNT_TOO_SMALL" if worth < TRANSFER_USD[0] else "AMOUNT_TOO_BIG")
    comment = _limited(call, "comment", 1024)
    if state.balance[asset] < amount:
        raise refuse("INSUFFICIENT_FUNDS")
    state.spent.add(spend_id)
    state.balance[asset] -= amount
    done = Transfer(len(state.transfers) + 1, spend_id, user_id, asset, amount, state.clock.iso(), comment)
    state.transfers[done.id] = done
    return done.api()


def get_transfers(state: CryptoPayState, call: Parameters) -> Any:
    """Transfers, newest first."""
    ids, asset = _ids(call, "transfer_ids"), _asset(call, required=False)
    offset, count = _page(call)
    found = [
        done
        for done in reversed(state.transfers.values())
        if (ids is None or done.id in ids)
        and (asset is None or done.asset == asset)
        and call.text("spend_id") in {"", done.spend_id}
    ]
    return {"items": [done.api() for done in found[offset : offset + count]]}


def get_balance(state: CryptoPayState, call: Parameters) -> Any:
    """What the app owns."""
    return [
        {"currency_code": asset, "available": plain(amount), "onhold": "0"}
        for asset, amount in state.balance.items()
    ]


def get_exchange_rates(state: CryptoPayState, call: Parameters) -> Any:
    """Every coin in every fiat currency."""
    return [
        {
            "is_valid": True,
            "is_crypto": True,
            "is_fiat": False,
            "source": asset,
            "target": fiat,
            "rate": plain((usd_rate(asset) / usd_rate(fiat)).quantize(Decimal("1e-8"))),
        }
        for asset in ASSETS
        for fiat in FIATS
    ]


def get_currencies(state: CryptoPayState, call: Parameters) -> Any:
    """Coins and fiat currencies with their decimals."""
    coins = [
        {
            "is_blockchain": code not in {"USDT", "USDC"},
            "is_stablecoin": code in {"USDT", "USDC"},
            "is_fiat": False,
            "name": name,
            "code": code,
            "url": f"https://example.org/{code.lower()}",
            "decimals": decimals,
        }
        for code, (name, decimals, _) in ASSETS.items()
    ]
    money = [
        {
            "is_blockchain": False,
            "is_stablecoin": False,
            "is_fiat": True,
            "name": code,
            "code": code,
            "decimals": 8,
        }
        for code in FIATS
    ]
    return coins + money


METHODS: dict[str, Callable[[CryptoPayState, Parameters], Any]] = {
    "getMe": get_me,
    "createInvoice": create_invoice,
    "getInvoices": get_invoices,
    "deleteInvoice": delete_invoice,
    "transfer": transfer,
    "getTransfers": get_transfers,
    "getBalance": get_balance,
    "getExchangeRates": get_exchange_rates,
    "getCurrencies": get_currencies,
}


def carry_out(state: CryptoPayState, name: str, call: Parameters) -> Any:
    """Carry out a method; raises CryptoPayError."""
    function = METHODS.get(name)
    if function is None:
        raise CryptoPayError(405, "METHOD_NOT_FOUND")
    try:
        return function(state, call)
    except BadParameter as error:
        raise refuse(f"{error.name.upper()}_INVALID") from None
