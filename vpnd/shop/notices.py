"""What the shop has to say, as outbox rows: who, which text, with which values. Never the finished text.

A message's payload is {"chat_id", "template", "args", "language"}. `template` names a text of the bot;
`args` holds JSON scalars only: money as {"amount": minor units, "currency": code} flattened into two keys,
moments as ISO 8601 strings in UTC. No link, token or credential is ever put into a payload: a row lives in
the database for days, so a receipt names its subscription and the sender reads the link when it sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from attrs import field, frozen

from vpnd.database.outbox_rows import NewItem, put_many
from vpnd.database.scope import Transaction

__all__ = [
    "ADMIN_ALERT",
    "ALERT_POST",
    "EXPIRED_VALID_FOR",
    "MESSAGE",
    "Notice",
    "admin_alert",
    "message",
    "message_payload",
    "order_key",
    "put_all",
    "receipt",
]

MESSAGE: Final = "message"
ADMIN_ALERT: Final = "admin_alert"
#: A message in the operators' group that is to be made to say what an alert says now.
ALERT_POST: Final = "alert_post"

# Templates, with the args each is given:
#   receipt               subscription_id, plan_id, days, expires_at, renewed, automatic, amount, currency,
#                         balance_added (minor units that went to the balance), balance_currency
#   topped_up             amount, currency
#   referral_reward       amount, currency, percent
#   refund                amount, currency, to_balance, made (by the provider itself), expires_at or None, off
#   refund_to_balance     amount, currency: the provider would not pay it out
#   renewal_short         subscription_id, plan_id, expires_at, missing, price, currency
#   renewal_unavailable   subscription_id, plan_id, expires_at
#   expired               subscription_id, plan_id, expires_at
#   reminder              subscription_id, plan_id, expires_at, when ("7d", "3d", "1d", "3h": the step, not what is left)
#   reminder_over         subscription_id, plan_id, expires_at, when ("1d", "3d", "7d" after the end)
#   trial_checkup, trial_progress, trial_ending, trial_ended   subscription_id, plan_id, expires_at
#   underpaid             purchase, received, missing, currency, balance_added, balance_currency
#   second_charge_balance purchase, amount, currency
#   second_charge_refund  purchase, amount, currency
#   payment_held          amount (text), currency
#   held_charge (admin)   provider, charge_id, reason, amount (text), currency, purchase, telegram_id
#   refund_refused (admin) provider, charge_id, reason, amount, currency, telegram_id
#   books_wrong (admin)   what, currency, amount (minor units)
#   reconciliation (admin) provider, differences, mended, first (some of them in words)
#   alarms (admin)        raised, cleared: lists of {name, what, unit, value, threshold, who, since}
#   node_stopped (admin)  node, held, strangers, newer (numbers), reason ("empty", "behind", "strangers", "newer")
#   gift_days             subscription_id, plan_id, days, expires_at: an operator gave them
#   gift_money            amount, currency: an operator gave it
#   link_renewed          subscription_id, plan_id: an operator made the link anew
#   unblocked             back (how many subscriptions are on again)
#   operator_message      text
#   summary (operators)    kind ("day", "week"), first, last (days)
#   activation_late (admin) subscription_id, telegram_id, plan_id, since, attempts, others (how many more wait like it)
#   alert_group_moved (admin) old, new: ids of the group that alerts are posted to
#   export_failed (operators) what (a table of vpnd.shop.export_tables), attempts
Template = Literal[
    "receipt",
    "expired",
    "underpaid",
    "second_charge_balance",
    "second_charge_refund",
    "payment_held",
    "held_charge",
    "topped_up",
    "referral_reward",
    "refund",
    "refund_to_balance",
    "refund_refused",
    "renewal_short",
    "renewal_unavailable",
    "books_wrong",
    "reconciliation",
    "node_stopped",
    "alarms",
    "reminder",
    "reminder_over",
    "trial_checkup",
    "trial_progress",
    "trial_ending",
    "trial_ended",
    "activation_late",
    "gift_days",
    "gift_money",
    "link_renewed",
    "unblocked",
    "operator_message",
    "summary",
    "alert_group_moved",
    "export_failed",
]
Lane = Literal["reply", "receipt", "notice", "broadcast"]

# An expiry that could not be told for three days is no news any more.
EXPIRED_VALID_FOR: Final = timedelta(days=3)


@frozen
class Notice:
    """One outbox row that is still to be written.

    Attributes:
        kind: which relay sends it.
        key: says what this is once and for all; a second row with the key is never written.
        order: rows of one order key leave one after the other.
        valid_until: business time; later the row is dropped, not sent.
    """

    kind: str
    key: str
    payload: Mapping[str, Any]
    lane: Lane = "notice"
    order: str | None = None
    valid_until: datetime | None = field(default=None)


def order_key(chat_id: int) -> str:
    """The order key of everything that goes to one chat."""
    return f"chat:{chat_id}"


def message_payload(
    chat_id: int, template: Template, args: Mapping[str, Any], language: str
) -> dict[str, Any]:
    """The payload of a row of kind "message"."""
    return {"chat_id": chat_id, "template": template, "args": dict(args), "language": language}


def message(
    key: str,
    chat_id: int,
    template: Template,
    args: Mapping[str, Any],
    language: str,
    *,
    lane: Lane = "notice",
    valid_until: datetime | None = None,
) -> Notice:
    """A text for a customer."""
    payload = message_payload(chat_id, template, args, language)
    return Notice(MESSAGE, key, payload, lane, order_key(chat_id), valid_until)


def receipt(settlement_id: int, chat_id: int, args: Mapping[str, Any], language: str) -> Notice:
    """The receipt of a settlement: one for ever, in the lane before notices, true for ever."""
    return message(f"receipt:{settlement_id}", chat_id, "receipt", args, language, lane="receipt")


def admin_alert(key: str, template: Template, args: Mapping[str, Any]) -> Notice:
    """Something an admin has to look at; the relay knows who the admins are."""
    return Notice(ADMIN_ALERT, key, {"template": template, "args": dict(args)})


async def put_all(tx: Transaction, notices: list[Notice]) -> None:
    """Write the rows into the transaction that decided them."""
    items = [
        NewItem(
            kind=notice.kind,
            key=notice.key,
            payload=dict(notice.payload),
            lane=notice.lane,
            order_key=notice.order,
            valid_until=notice.valid_until,
        )
        for notice in notices
    ]
    if items:
        await put_many(tx, items)
