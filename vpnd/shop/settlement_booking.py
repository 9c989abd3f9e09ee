"""How a settlement is booked: what a charge brings, what it is worth, what it repays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import frozen

from vpnd.database import Row
from vpnd.shop import ledger
from vpnd.shop.charges import Charge
from vpnd.shop.ledger import AccountRef, Entry

__all__ = ["Booking", "own_account", "worth_of"]


def worth_of(purchase: Row, amount: int, before: int) -> int:
    """What `amount` of the asked currency is worth in the shop's, when it comes on top of what was received `before`.

    By the difference of two floors: parts that make up the price are worth exactly the price together.
    """
    price, shop_price = int(purchase["amount"]), int(purchase["shop_amount"])
    return (before + amount) * shop_price // price - before * shop_price // price


def own_account(purchase: Row) -> AccountRef:
    """The account of the buyer's own money."""
    return ledger.customer(purchase["customer_id"], purchase["shop_currency"])


@frozen
class Booking:
    """The entries of one charge; all of them name its settlement and its purchase."""

    charge: Charge
    settlement_id: int
    purchase_id: int | None

    @property
    def common(self) -> dict[str, Any]:
        """What every entry is marked with."""
        return {"settlement_id": self.settlement_id, "purchase_id": self.purchase_id}

    def income(self, purchase: Row, amount: int, worth: int) -> list[Entry]:
        """What brings the money to the customer's balance, in the shop's currency."""
        charge = self.charge
        currency, shop_currency = charge.currency, purchase["shop_currency"]
        source, balance = ledger.clearing(charge.provider, currency), own_account(purchase)
        name = f"{charge.provider}:{charge.charge_id}"
        if currency == shop_currency:
            return [Entry(source, balance, amount, "payment", f"payment:{name}", **self.common)]
        rate = Decimal(purchase["shop_amount"]) / Decimal(purchase["amount"])
        into = ledger.exchange(currency)
        entries = [Entry(source, into, amount, "payment", f"payment:{name}", rate=rate, **self.common)]
        if worth > 0:
            out = ledger.exchange(shop_currency)
            entries.append(
                Entry(out, balance, worth, "exchange", f"exchange:{name}", rate=1 / rate, **self.common)
            )
        return entries

    def repayment(self, purchase: Row, owed: int, credited: int, balance: int) -> list[Entry]:
        """What a credit that stays on the balance repays of what the customer owes."""
        amount = min(owed, credited, balance)
        if amount <= 0:
            return []
        owes = ledger.receivable(purchase["customer_id"], purchase["shop_currency"])
        reference = f"repayment:{self.settlement_id}"
        return [Entry(own_account(purchase), owes, amount, "repayment", reference, **self.common)]

    def to_held(self, amount: int) -> Entry:
        """What brings the money to the account of what belongs to nobody yet."""
        charge = self.charge
        source, held = (
            ledger.clearing(charge.provider, charge.currency),
            ledger.held(charge.provider, charge.currency),
        )
        reference = f"payment:{charge.provider}:{charge.charge_id}"
        return Entry(source, held, amount, "payment", reference, **self.common)
