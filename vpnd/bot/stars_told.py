"""What Telegram tells of Stars without being asked: a payment, a refund, a subscription that changes its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telegram import Message, RefundedPayment, SuccessfulPayment

from vpnd.bot.dependencies import BotDependencies
from vpnd.database.scope import Transaction
from vpnd.payments import stars
from vpnd.payments.base import ProviderRefund
from vpnd.payments.reconcile import book_provider_refund
from vpnd.payments.settle import settle_charge
from vpnd.runtime.journal import get_journal
from vpnd.shop.star_subscriptions import note_state

log = get_journal("bot")

_STATES: Final = ("active", "canceled", "failed")


async def settle(deps: BotDependencies, message: Message, payment: SuccessfulPayment) -> None:
    """Settle a charge in Stars: one of a customer, or one that Telegram took by itself for a subscription."""
    # In a private chat the payer is the chat; a forwarded copy of such a message carries no payment.
    payer = message.from_user.id if message.from_user is not None else message.chat_id
    charge = stars.charge_from_successful_payment(
        telegram_payment_charge_id=payment.telegram_payment_charge_id,
        provider_payment_charge_id=payment.provider_payment_charge_id,
        currency=payment.currency,
        total_amount=payment.total_amount,
        payload=payment.invoice_payload,
        payer_telegram_id=payer,
        paid_at=message.date,
        recurring=bool(payment.is_recurring),
        runs_until=payment.subscription_expiration_date,
    )
    await settle_charge(deps.db, charge, on_commit=deps.on_settled)


async def book_refund(deps: BotDependencies, message: Message, paid_back: RefundedPayment) -> None:
    """Book a refund: our own is finished by it, one that was made elsewhere takes back what it was for."""
    charge_id, amount = paid_back.telegram_payment_charge_id, paid_back.total_amount
    refund = ProviderRefund(
        external_id=charge_id,
        charge_id=charge_id,
        key=None,
        amount=amount,
        currency=paid_back.currency,
        amount_text=str(amount),
        at=message.date,
    )
    booked = await book_provider_refund(deps.db, stars.NAME, refund)
    deps.wake_all()
    log.info(
        "payment.refunded",
        message=f"{amount} {paid_back.currency} went back to a customer"
        + ("" if booked else ", and the books do not have it"),
        charge_id=charge_id,
        amount=amount,
        currency=paid_back.currency,
        booked=booked,
    )


async def note_subscription(deps: BotDependencies, told: Mapping[str, Any]) -> None:
    """Note that a subscription goes on, was ended by its owner, or could not be charged."""
    user, payload, state = told.get("user"), told.get("invoice_payload"), told.get("state")
    who = user.get("id") if isinstance(user, dict) else None
    if not isinstance(who, int) or not isinstance(payload, str) or state not in _STATES:
        log.warning(
            "bot.subscription_unread",
            message=f"an update about a subscription cannot be read; its state is {str(state)[:32]!r}",
        )
        return

    async def body(tx: Transaction) -> bool:
        return await note_state(tx, payload.replace("\x00", ""), who, state)

    ours = await deps.db.run("bot.star_subscription", body)
    log.info(
        "bot.subscription_told",
        message=f"a subscription in Stars is {state}" + ("" if ours else ", and it is none of ours"),
        purchase=payload,
        state=state,
    )
