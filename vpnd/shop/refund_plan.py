"""How a refund is split: the decision, without a database.

Of one charge and one request: how much of it undoes the sale (and how much of that was bonus), whether money goes to the
provider or to the balance, and what cannot be.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import field, frozen

from vpnd.database import Row
from vpnd.shop.identifiers import refund_key
from vpnd.shop.settlement_decision import BALANCE

__all__ = ["SOLD", "RefundImpossible", "RefundPlan", "RefundRequest", "plan_refund"]

Why = Literal["unknown_charge", "nothing_left", "too_much", "whole_only", "no_route", "on_balance", "spent"]


class RefundImpossible(Exception):
    """The charge cannot be refunded like that; `why` is the reason, and nothing was changed.

    unknown_charge: there is none. nothing_left: all of it went back. too_much: more than is left. whole_only: Stars go
    back whole or not at all. no_route: money of this charge can only go to the balance (or only to the provider).
    on_balance: it lies on the balance already. spent: the customer has spent it.
    """

    def __init__(self, why: Why, message: str) -> None:
        self.why: Why = why
        super().__init__(message)


@frozen(kw_only=True)
class RefundRequest:
    """What is asked for.

    Attributes:
        settlement_id: the charge.
        request_key: names this request for ever: repeated, it does nothing new.
        requested_by: "admin:777", "shell:root", "provider".
        amount: minor units of the charge's currency; None: all that is left.
        to: the provider, or the customer's balance.
        external_id: the refund at the provider, if the provider has made it already.
    """

    settlement_id: int
    request_key: str
    requested_by: str
    amount: int | None = None
    to: Literal["provider", "balance"] = "provider"
    reason: str | None = None
    external_id: str | None = None

    @property
    def made(self) -> bool:
        """Whether the provider has given the money back already."""
        return self.requested_by == "provider"


#: A purchase in one of these was sold.
SOLD: Final = ("paid", "refunded")


@frozen(kw_only=True)
class RefundPlan:
    """How a refund is split. `worth` is all of it in the shop's currency, `sale_part` what of that undoes the sale."""

    key: str = field(factory=refund_key)
    amount: int
    worth: int
    sale_part: int
    whole_sale: bool
    bonus_part: int
    source: Literal["sale", "credit", "held"]
    to: Literal["provider", "balance"]
    made: bool

    @property
    def awaits_provider(self) -> bool:
        """Whether the provider has still to pay."""
        return self.to == "provider" and not self.made


def plan_refund(row: Row, request: RefundRequest) -> RefundPlan:
    """Judge a request about the charge in `row`. Raises RefundImpossible."""
    left = row["amount"] - row["refunded"]
    amount = left if request.amount is None else request.amount
    to = request.to
    if left <= 0:
        raise RefundImpossible("nothing_left", "all of this charge went back already")
    if amount <= 0 or amount > left:
        raise RefundImpossible(
            "too_much", f"at most {left} minor units of {row['currency']} are left of this charge"
        )
    if row["provider"] == "stars" and to == "provider" and amount != row["amount"]:
        raise RefundImpossible("whole_only", "Telegram gives a charge in Stars back whole or not at all")
    if row["provider"] == BALANCE and to == "provider":
        raise RefundImpossible("no_route", "it was paid from the balance: it can only go back there")
    made = request.made
    if row["outcome"] == "held":
        return _held_plan(row, amount, to, made=made)
    worth = _share(int(row["worth"] or 0), row["amount"], row["refunded"], amount)
    sold = row["kind"] == "access" and row["purchase_status"] in SOLD and row["outcome"] != "second_charge"
    left_of_sale = row["shop_amount"] - row["purchase_refunded"] if sold else 0
    sale_part = min(worth, left_of_sale)
    if to == "balance" and not sale_part:
        raise RefundImpossible("on_balance", "this money lies on the customer's balance already")
    bonus = (
        _share(row["sold_for_bonus"], row["shop_amount"], row["purchase_refunded"], sale_part)
        if sale_part
        else 0
    )
    return RefundPlan(
        amount=amount,
        worth=worth,
        sale_part=sale_part,
        whole_sale=sale_part > 0 and sale_part == left_of_sale,
        bonus_part=bonus,
        source="sale" if sale_part else "credit",
        to=to,
        made=made,
    )


def _held_plan(row: Row, amount: int, to: Literal["provider", "balance"], *, made: bool) -> RefundPlan:
    """Money that was never anybody's: back to who paid it, or to the customer it was found to be of."""
    if to == "balance" and (row["customer_id"] is None or row["currency"] != row["shop_currency"]):
        raise RefundImpossible(
            "no_route", "it names no customer, or is in another currency than the shop's: it can only go back"
        )
    worth = amount if row["customer_id"] is not None and row["currency"] == row["shop_currency"] else 0
    return RefundPlan(
        amount=amount,
        worth=worth,
        sale_part=0,
        whole_sale=False,
        bonus_part=0,
        source="held",
        to=to,
        made=made,
    )


def _share(total: int, whole: int, before: int, part: int) -> int:
    """What `part` of `whole` is of `total`, after `before`: by two floors, so that all parts make up the total."""
    return total * (before + part) // whole - total * before // whole
