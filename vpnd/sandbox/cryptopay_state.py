"""What Crypto Pay knows about one app: its invoices, transfers, balance, and the rates of the day.

Amounts are exact decimals, and decimal strings on the wire. An invoice's expiry is computed from the sandbox's clock when
somebody looks: nothing happens at the moment itself, and no webhook tells of it, as at Crypto Pay.
"""

from __future__ import annotations

import secrets
from decimal import ROUND_DOWN, Decimal
from typing import Any

import attrs

from vpnd.sandbox.clock import SandboxClock

Json = dict[str, Any]

ASSETS: dict[str, tuple[str, int, str]] = {
    "USDT": ("Tether", 6, "1"),
    "USDC": ("USD Coin", 6, "1"),
    "TON": ("Toncoin", 9, "3.2"),
    "BTC": ("Bitcoin", 8, "94000"),
    "ETH": ("Ethereum", 9, "3100"),
    "LTC": ("Litecoin", 8, "90"),
    "BNB": ("Binance Coin", 9, "880"),
    "TRX": ("Tron", 6, "0.28"),
    "SOL": ("Solana", 9, "140"),
}
"""Coins: name, decimals kept here, US dollars for one."""

FIATS: dict[str, str] = {
    "USD": "1", "EUR": "1.15", "RUB": "0.0125", "BYN": "0.29", "UAH": "0.024", "GBP": "1.31", "CNY": "0.14", "KZT": "0.0019",
    "UZS": "0.000083", "GEL": "0.37", "TRY": "0.024", "AMD": "0.0026", "THB": "0.031", "INR": "0.0113", "BRL": "0.187",
    "IDR": "0.00006", "AZN": "0.588", "AED": "0.272", "PLN": "0.27", "ILS": "0.3", "KGS": "0.0114", "TJS": "0.108",
}  # fmt: skip
"""Fiat currencies: US dollars for one."""

FEE = Decimal("0.03")


def plain(value: Decimal) -> str:
    """A decimal without exponent and without zeros at its end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd_rate(code: str) -> Decimal:
    """US dollars for one unit of a coin or a fiat currency."""
    return Decimal(ASSETS[code][2] if code in ASSETS else FIATS[code])


def rounded(value: Decimal, asset: str) -> Decimal:
    """`value` with no more decimals than the asset has."""
    return value.quantize(Decimal(1).scaleb(-ASSETS[asset][1]), ROUND_DOWN)


@attrs.define
class CryptoInvoice:
    """An invoice; `paid` holds the fields that appear with the payment."""

    id: int
    hash: str
    currency_type: str
    code: str  # an asset, or a fiat currency
    amount: Decimal
    created_at: float
    expires_at: float | None
    optional: Json
    accepted_assets: list[str] | None = None
    paid: Json | None = None

    def status(self, now: float) -> str:
        """active, paid or expired at this moment."""
        if self.paid is not None:
            return "paid"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def api(self, clock: SandboxClock) -> Json:
        """The complete `Invoice` object."""
        link = f"https://t.me/CryptoBot?start={self.hash}"
        kind = "asset" if self.currency_type == "crypto" else "fiat"
        found: Json = {
            "invoice_id": self.id,
            "hash": self.hash,
            "currency_type": self.currency_type,
            kind: self.code,
            "amount": plain(self.amount),
            "pay_url": link,
            "bot_invoice_url": link,
            "mini_app_invoice_url": f"https://t.me/CryptoBot/app?startapp=invoice-{self.hash}&mode=compact",
            "web_app_invoice_url": f"https://app.send.tg/invoices/{self.hash}",
            "status": self.status(clock.now()),
            "created_at": clock.iso(self.created_at),
            **self.optional,
        }
        if self.accepted_assets is not None:
            found["accepted_assets"] = self.accepted_assets
        if self.expires_at is not None:
            found["expiration_date"] = clock.iso(self.expires_at)
        return found | (self.paid or {})


@attrs.define
class Transfer:
    """Coins sent to a user."""

    id: int
    spend_id: str
    user_id: int
    asset: str
    amount: Decimal
    at: str
    comment: str | None

    def api(self) -> Json:
        """The `Transfer` object."""
        found: Json = {
            "transfer_id": self.id,
            "spend_id": self.spend_id,
            "user_id": str(self.user_id),
            "asset": self.asset,
            "amount": plain(self.amount),
            "status": "completed",
            "completed_at": self.at,
        }
        return found if self.comment is None else found | {"comment": self.comment}


@attrs.define
class CryptoPayState:
    """One app's books."""

    clock: SandboxClock
    invoices: dict[int, CryptoInvoice] = attrs.field(factory=dict)
    transfers: dict[int, Transfer] = attrs.field(factory=dict)
    spent: set[str] = attrs.field(factory=set)
    balance: dict[str, Decimal] = attrs.field(factory=lambda: dict.fromkeys(ASSETS, Decimal(0)))
    next_invoice: int = 1001

    def open_invoice(
        self,
        currency_type: str,
        code: str,
        amount: Decimal,
        expires_in: int | None,
        optional: Json,
        accepted_assets: list[str] | None,
    ) -> CryptoInvoice:
        """A new active invoice."""
        now = self.clock.now()
        invoice = CryptoInvoice(
            id=self.next_invoice,
            hash="IV" + secrets.token_hex(5),
            currency_type=currency_type,
            code=code,
            amount=amount,
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
            optional=optional,
            accepted_assets=accepted_assets,
        )
        self.next_invoice += 1
        self.invoices[invoice.id] = invoice
        return invoice

    def pay(
        self,
        invoice: CryptoInvoice,
        *,
        asset: str | None = None,
        amount: Decimal | None = None,
        comment: str | None = None,
        anonymous: bool = False,
    ) -> None:
        """Mark an invoice paid, with all the fields that brings.

        `amount` is what is really paid. A crypto invoice has no field for that beside its amount, so its amount changes; of a
        fiat invoice it is the paid_amount, in `asset`.
        """
        if invoice.currency_type == "crypto":
            invoice.code = asset or invoice.code
            invoice.amount = invoice.amount if amount is None else amount
            coin, coins = invoice.code, invoice.amount
        else:
            coin = asset or (invoice.accepted_assets or ["USDT"])[0]
            price = usd_rate(coin) / usd_rate(invoice.code)
            coins = rounded(invoice.amount / price, coin) if amount is None else amount
        fee = rounded(coins * FEE, coin)
        paid: Json = {
            "paid_at": self.clock.iso(),
            "paid_anonymously": anonymous,
            "paid_usd_rate": plain(usd_rate(coin)),
            "usd_rate": plain(usd_rate(coin)),
            "fee_asset": coin,
            "fee_amount": plain(fee),
            "fee": plain(fee),
            "fee_in_usd": plain(rounded(fee * usd_rate(coin), "USDT")),
        }
        if invoice.currency_type == "fiat":
            rate = rounded(usd_rate(coin) / usd_rate(invoice.code), "USDT")
            paid |= {"paid_asset": coin, "paid_amount": plain(coins), "paid_fiat_rate": plain(rate)}
        if comment is not None:
            paid["comment"] = comment
        invoice.paid = paid
        self.balance[coin] += coins - fee
