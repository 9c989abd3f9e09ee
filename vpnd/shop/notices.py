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
    "EXPIRED_VALID_FOR",
    "MESSAGE",
    "STARS_REFUND",
    "Notice",
    "admin_alert",
    "message",
    "message_payload",
    "order_key",
    "put_all",
    "receipt",
    "stars_refund",
]

MESSAGE: Final = "message"
STARS_REFUND: Final = "stars_refund"
ADMIN_ALERT: Final = "admin_alert"

# Templates, with the args each is given:
#   receipt               subscription_id, plan_id, days, expires_at, renewed, amount, currency,
#                         balance_added (minor units that went to the balance), balance_currency
#   expired               subscription_id, plan_id, expires_at
#   underpaid             purchase, received, missing, currency, balance_added, balance_currency
#   second_charge_balance purchase, amount, currency
#   second_charge_refund  purchase, amount, currency
#   payment_held          amount (text), currency
#   held_charge (admin)   provider, charge_id, reason, amount (text), currency, purchase, telegram_id
Template = Literal[
    "receipt",
    "expired",
    "underpaid",
    "second_charge_balance",
    "second_charge_refund",
    "payment_held",
    "held_charge",
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


def stars_refund(charge_id: str, telegram_id: int) -> Notice:
    """Stars that go back to who paid them. Telegram answers a repeat with CHARGE_ALREADY_REFUNDED."""
    payload = {"charge_id": charge_id, "telegram_id": telegram_id}
    return Notice(STARS_REFUND, f"stars_refund:{charge_id}", payload)


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
