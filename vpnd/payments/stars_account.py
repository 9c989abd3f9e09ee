"""The bot's account of Stars at Telegram: refunds, subscriptions, and the statement.

Protocol facts (Bot API 10): getStarTransactions is chronological, oldest first, at most 100 a call from an offset; the
id of an incoming transaction is the charge's, and a refund is an outgoing one with the same id. A refund is of a whole
charge; repeated, it is refused with CHARGE_ALREADY_REFUNDED. editUserStarSubscription takes the charge that began it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from attrs import frozen
from telegram import StarTransaction, TransactionPartnerUser

from vpnd.payments.base import (
    PaymentBusy,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    ProviderRefund,
    RefundOrder,
    RefundState,
)
from vpnd.payments.stars import CURRENCY, NAME
from vpnd.shop.charges import Charge
from vpnd.telegram.errors import (
    Conflict,
    RetryLater,
    TelegramError,
    TelegramUnavailable,
    Unauthorized,
)
from vpnd.telegram.sender import Lane, Sender

__all__ = ["PAGE", "StarStatement", "StarsAccount"]

PAGE: Final = 100  # transactions of one call
_ALREADY_REFUNDED: Final = "CHARGE_ALREADY_REFUNDED"
#: Telegram says these of a subscription that has ended, or of a charge that began none: there is nothing to be ended.
_NO_SUBSCRIPTION: Final = ("CHARGE_ID_INVALID", "SUBSCRIPTION_NOT_ACTIVE", "CHARGE_NOT_FOUND")


@frozen
class StarStatement:
    """A page of the statement: what came in, what went back, and how many transactions it was in all."""

    charges: tuple[Charge, ...]
    refunds: tuple[ProviderRefund, ...]
    length: int


class StarsAccount:
    """Asks Telegram about Stars. One for the process."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def name(self) -> str:
        """The provider's name in invoices, settlements and metrics."""
        return NAME

    async def refund(self, order: RefundOrder) -> RefundState:
        """Give a charge back. Safe to repeat: Telegram refuses a second refund, which is as good as the first.

        Raises PaymentError; PaymentRejected also while the bot owns fewer Stars than are to go back.
        """
        try:
            await self._call(
                "refund_star_payment",
                user_id=order.telegram_id,
                telegram_payment_charge_id=order.charge_id,
            )
        except PaymentRejected as error:
            if _ALREADY_REFUNDED not in error.name:
                raise
        return RefundState(order.charge_id, "done")

    async def cancel_subscription(self, telegram_id: int, charge_id: str) -> bool:
        """Have Telegram charge a subscription no more. False if there was none to be ended. Raises PaymentError."""
        try:
            await self._call(
                "edit_user_star_subscription",
                user_id=telegram_id,
                telegram_payment_charge_id=charge_id,
                is_canceled=True,
            )
        except PaymentRejected as error:
            if any(word in error.name for word in _NO_SUBSCRIPTION):
                return False
            raise
        return True

    async def statement(self, offset: int) -> StarStatement:
        """A page of the statement from its `offset`th transaction on, the oldest first. Raises PaymentError."""
        found = await self._call("get_star_transactions", offset=offset, limit=PAGE)
        charges = [charge for charge in map(_charge, found.transactions) if charge is not None]
        refunds = [refund for refund in map(_refund, found.transactions) if refund is not None]
        return StarStatement(tuple(charges), tuple(refunds), len(found.transactions))

    async def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return await self._sender.call(Lane.NOTICE, method, **arguments)
        except RetryLater as error:
            raise PaymentBusy(str(error), error.after) from error
        except TelegramUnavailable as error:
            raise PaymentUnavailable(str(error)) from error
        except Unauthorized as error:
            raise PaymentForbidden(str(error), code=401, name="UNAUTHORIZED") from error
        except Conflict as error:
            raise PaymentUnavailable(str(error)) from error
        except TelegramError as error:
            raise PaymentRejected(str(error), code=400, name=str(error).upper()) from error


def _charge(transaction: StarTransaction) -> Charge | None:
    """The charge that an incoming transaction is; None for one that is no payment of an invoice."""
    partner = transaction.source
    if not isinstance(partner, TransactionPartnerUser) or partner.invoice_payload is None:
        return None
    period = partner.subscription_period
    seconds = period.total_seconds() if isinstance(period, timedelta) else period
    return Charge(
        provider=NAME,
        charge_id=transaction.id,
        amount=transaction.amount,
        currency=CURRENCY,
        amount_text=str(transaction.amount),
        payload=partner.invoice_payload,
        payer_telegram_id=partner.user.id,
        paid_at=transaction.date,
        recurring=bool(seconds),
        runs_until=transaction.date + timedelta(seconds=seconds) if seconds else None,
        details={"payer": partner.user.id},
    )


def _refund(transaction: StarTransaction) -> ProviderRefund | None:
    """The refund that an outgoing transaction is; None for a withdrawal or another spending."""
    if not isinstance(transaction.receiver, TransactionPartnerUser):
        return None
    return ProviderRefund(
        external_id=transaction.id,
        charge_id=transaction.id,
        key=None,
        amount=transaction.amount,
        currency=CURRENCY,
        amount_text=str(transaction.amount),
        at=transaction.date,
    )
