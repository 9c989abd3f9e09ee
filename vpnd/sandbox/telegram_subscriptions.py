"""Subscriptions in Stars: renewed by Telegram itself when the business clock passes their end, canceled and resumed.

A renewal asks nobody: there is no pre-checkout query, and the charge has an id of its own. It bears the date it was due at, also
when the clock jumped far beyond, so that the statement stays chronological; its update is as fresh as any.

Source: Bot API (createInvoiceLink, editUserStarSubscription, BotSubscriptionUpdated) and payments.botCancelStarsSubscription.
"""

from __future__ import annotations

import heapq
from typing import Any

from vpnd.sandbox.control_kit import Refused
from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.telegram_errors import bad_request
from vpnd.sandbox.telegram_payments import show_payment
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_stars import Charge, Subscription, SubscriptionState
from vpnd.sandbox.telegram_state import MESSAGE_LIFE


def renew_due(server: TelegramServer) -> None:
    """Renew what has come to its end, in the order of time and once for each period that has passed."""
    now = server.clock.now()
    subscriptions = server.cashier.subscriptions
    due = [(s.expires, number) for number, s in enumerate(subscriptions) if _is_due(s, now)]
    heapq.heapify(due)
    while due:
        number = heapq.heappop(due)[1]
        _renew(server, subscriptions[number])
        if _is_due(subscriptions[number], now):
            heapq.heappush(due, (subscriptions[number].expires, number))


def _is_due(subscription: Subscription, now: float) -> bool:
    return subscription.state == "active" and subscription.expires <= now


def _renew(server: TelegramServer, subscription: Subscription) -> None:
    way = subscription.renewals.pop(0) if subscription.renewals else "charge"
    if way == "fail":
        _enter(server, subscription, "failed")
        return
    due, invoice = subscription.expires, subscription.invoice
    subscription.expires += invoice.subscription_period
    charge = Charge(
        subscription.payer,
        invoice.payload,
        invoice.amount,
        due,
        subscription=subscription,
        paid_until=subscription.expires,
    )
    server.cashier.book(charge)
    show_payment(server, server.state.open_chat(charge.payer.id), charge, times=0 if way == "lose" else 1)


def _enter(server: TelegramServer, subscription: Subscription, state: SubscriptionState) -> None:
    """Change the state and tell the bot, if it wants to hear of subscriptions."""
    subscription.state = state
    payload = {
        "user": subscription.payer.api(),
        "invoice_payload": subscription.invoice.payload,
        "state": state,
    }
    server.updates.emit("subscription", payload, f"subscription:{subscription.payer.id}", MESSAGE_LIFE)


def cancel(server: TelegramServer, subscription: Subscription) -> None:
    """The user wants no more renewals; what is paid for stays his."""
    if subscription.state != "active":
        raise Refused(f"this subscription is {subscription.state}")
    subscription.canceled_by = "user"
    _enter(server, subscription, "canceled")


def resume(server: TelegramServer, subscription: Subscription) -> None:
    """The user wants the renewals back, before the paid time ends; later he pays the link anew."""
    if subscription.state != "canceled":
        raise Refused(f"this subscription is {subscription.state}")
    if subscription.vetoed:
        raise Refused("the bot canceled this subscription")
    if subscription.expires <= server.clock.now():
        raise Refused("this subscription has ended")
    subscription.canceled_by = ""
    _enter(server, subscription, "active")


@method("editUserStarSubscription")
async def edit_user_star_subscription(server: TelegramServer, call: Parameters) -> Any:
    """The bot ends the renewals, or allows the user to resume them; the bot's own doings are not told as updates.

    The subscription is named by any of its charges. Telegram documents CHARGE_ID_INVALID only for a wrong id; what it answers
    about a subscription that has ended, or that the user canceled, is not known, and here it is the same refusal.
    """
    if not call.has("user_id") or call.integer("user_id") not in server.state.people:
        raise bad_request("USER_ID_INVALID")
    if not call.has("is_canceled"):
        raise bad_request('parameter "is_canceled" is required')
    charge = server.cashier.charges.get(call.text("telegram_payment_charge_id"))
    if charge is None or charge.payer.id != call.integer("user_id") or charge.subscription is None:
        raise bad_request("CHARGE_ID_INVALID")
    subscription = charge.subscription
    if subscription.state == "failed" or subscription.expires <= server.clock.now():
        raise bad_request("CHARGE_ID_INVALID")
    if call.boolean("is_canceled"):
        subscription.vetoed = True
        if subscription.state == "active":
            subscription.state, subscription.canceled_by = "canceled", "bot"
    elif subscription.canceled_by == "user" and not subscription.vetoed:
        raise bad_request("CHARGE_ID_INVALID")
    else:
        # The renewals come back by the user's will alone: this "allows the user to re-enable" them, and no more.
        subscription.vetoed = False
    return True
