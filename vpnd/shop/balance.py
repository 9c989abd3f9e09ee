"""Paying from the balance: the shop is its own provider, and the charge is the purchase itself.

So a purchase is paid from the balance once, however often the button is pressed or the update is played again; and
the customer's own money is taken before the bonus he was given (`vpnd.shop.settlement_decision`).
"""

from __future__ import annotations

from vpnd.shop.charges import Charge
from vpnd.shop.money import Money, format_decimal
from vpnd.shop.purchases import Purchase
from vpnd.shop.settlement_decision import BALANCE

__all__ = ["BALANCE", "charge_of"]


def charge_of(purchase: Purchase) -> Charge:
    """The charge that pays a purchase from the balance. Raises ValueError for one by another method."""
    if purchase.method != BALANCE:
        raise ValueError(f"purchase {purchase.public_id} is not paid from the balance")
    return Charge(
        provider=BALANCE,
        charge_id=purchase.public_id,
        amount=purchase.amount,
        currency=purchase.currency,
        amount_text=format_decimal(Money(purchase.amount, purchase.currency)),
        payload=purchase.public_id,
    )
