"""What Telegram remembers about Stars: invoices, charges, subscriptions, and the bot's account.

Nothing here talks to anybody: telegram_payments plays purchases and refunds with it, telegram_subscriptions the renewals.
"""

from __future__ import annotations

import secrets
from typing import Literal

import attrs
import trio

from vpnd.sandbox.telegram_state import Chat, Json, Message, Person

CHECKOUT_SECONDS = 10.0
"""A pre-checkout query must be answered within this many real seconds."""

SubscriptionState = Literal["active", "canceled", "failed"]
RENEWALS = ("charge", "lose", "fail")
"""What may become of a renewal: as usual, charged without a word to the bot, or not charged for want of Stars."""


@attrs.define
class Invoice:
    """What a bot wants to be paid for."""

    title: str
    description: str
    payload: str
    amount: int
    subscription_period: int = 0
    payers: set[int] = attrs.field(factory=set)

    def api(self) -> Json:
        """The `Invoice` object of a message."""
        return {
            "title": self.title,
            "description": self.description,
            "start_parameter": "",
            "currency": "XTR",
            "total_amount": self.amount,
        }


@attrs.define(eq=False)
class Subscription:
    """A promise to pay an invoice again each period, begun by the payment of its link.

    `expires` is the end of the period that is paid for. `canceled_by` names who ended the renewals; while the bot forbids them
    (`vetoed`), the user cannot resume. `renewals` says what becomes of the next ones, see RENEWALS.
    """

    payer: Person
    invoice: Invoice
    expires: int
    state: SubscriptionState = "active"
    canceled_by: Literal["", "user", "bot"] = ""
    vetoed: bool = False
    charges: list[str] = attrs.field(factory=list)
    renewals: list[str] = attrs.field(factory=list)

    def api(self) -> Json:
        """For the control API."""
        return {
            "user_id": self.payer.id,
            "invoice_payload": self.invoice.payload,
            "amount": self.invoice.amount,
            "charge_ids": self.charges,
            "expiration_date": self.expires,
            "state": self.state,
            "canceled_by": self.canceled_by,
            "vetoed": self.vetoed,
            "renewals": self.renewals,
        }


@attrs.define(eq=False)
class Charge:
    """Stars that a person paid, the message about it in his chat, and how often the bot was told."""

    payer: Person
    payload: str
    amount: int
    at: int
    currency: str = "XTR"
    id: str = attrs.field(factory=lambda: f"stx{secrets.token_urlsafe(48)}")
    subscription: Subscription | None = None
    paid_until: int = 0
    refunded_at: int | None = None
    message: tuple[Chat, Message] | None = None
    told: int = 0

    @property
    def first(self) -> bool:
        """Whether a subscription began with it."""
        return self.subscription is not None and self.subscription.charges[0] == self.id

    def payment(self) -> Json:
        """The `SuccessfulPayment` object."""
        payment: Json = {
            "currency": self.currency,
            "total_amount": self.amount,
            "invoice_payload": self.payload,
            "telegram_payment_charge_id": self.id,
            "provider_payment_charge_id": f"{self.payer.id}_{self.at}",
        }
        if self.subscription is not None:
            payment["subscription_expiration_date"] = self.paid_until
            payment["is_recurring"] = True
            if self.first:
                payment["is_first_recurring"] = True
        return payment

    def refund(self) -> Json:
        """The `RefundedPayment` object."""
        return {
            "currency": "XTR",
            "total_amount": self.amount,
            "invoice_payload": self.payload,
            "telegram_payment_charge_id": self.id,
        }

    def partner(self) -> Json:
        """The `TransactionPartnerUser` object."""
        partner: Json = {
            "type": "user",
            "transaction_type": "invoice_payment",
            "user": self.payer.api(),
            "invoice_payload": self.payload,
        }
        if self.subscription is not None:
            partner["subscription_period"] = self.subscription.invoice.subscription_period
        return partner

    def api(self) -> Json:
        """For the control API."""
        return {
            "charge_id": self.id,
            "user_id": self.payer.id,
            "invoice_payload": self.payload,
            "amount": self.amount,
            "date": self.at,
            "told": self.told,
            "refunded": self.refunded_at is not None,
            "recurring": self.subscription is not None,
        }


@attrs.frozen
class Entry:
    """One line of the bot's statement."""

    id: str
    amount: int
    at: int
    incoming: bool
    partner: Json

    def api(self) -> Json:
        """The `StarTransaction` object."""
        side = "source" if self.incoming else "receiver"
        return {"id": self.id, "amount": self.amount, "date": self.at, side: self.partner}


@attrs.define
class Checkout:
    """A pre-checkout query that waits for the bot."""

    answered: trio.Event = attrs.field(factory=trio.Event)
    ok: bool = False
    error: str = ""


@attrs.define
class Cashier:
    """Everything about Stars: open invoices, charges, subscriptions, and the bot's statement."""

    invoices: dict[tuple[int, int], Invoice] = attrs.field(factory=dict)
    links: dict[str, Invoice] = attrs.field(factory=dict)
    charges: dict[str, Charge] = attrs.field(factory=dict)
    subscriptions: list[Subscription] = attrs.field(factory=list)
    checkouts: dict[str, Checkout] = attrs.field(factory=dict)
    statement: list[Entry] = attrs.field(factory=list)
    checkout_seconds: float = CHECKOUT_SECONDS

    @property
    def balance(self) -> int:
        """Stars the bot owns; below zero after a chargeback of what it has already withdrawn."""
        return sum(entry.amount if entry.incoming else -entry.amount for entry in self.statement)

    def book(self, charge: Charge) -> None:
        """Take in a charge: it is found by its id, stands in the statement, and belongs to its subscription."""
        self.charges[charge.id] = charge
        if charge.subscription is not None:
            charge.subscription.charges.append(charge.id)
        self.statement.append(Entry(charge.id, charge.amount, charge.at, True, charge.partner()))

    def give_back(self, charge: Charge, at: int) -> None:
        """Take a charge out again, under its own id."""
        charge.refunded_at = at
        self.statement.append(Entry(charge.id, charge.amount, at, False, charge.partner()))

    def withdraw(self, amount: int, at: int) -> Entry:
        """The owner of the bot moves Stars to Fragment."""
        number = secrets.token_urlsafe(16)
        state = {"type": "succeeded", "date": at, "url": f"https://fragment.com/withdrawal/{number}"}
        entry = Entry(f"stw{number}", amount, at, False, {"type": "fragment", "withdrawal_state": state})
        self.statement.append(entry)
        return entry
