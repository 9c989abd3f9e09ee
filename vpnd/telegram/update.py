"""An update as it lies in the inbox, and what can be told from its JSON without building objects."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from vpnd.database import Row

__all__ = ["ALLOWED_UPDATES", "StoredUpdate", "current_update", "handling", "parse_update", "private_chat_of"]

#: Named one by one: the server's default leaves some out, and PTB 22.8 does not know `subscription` (Bot API 10.2).
ALLOWED_UPDATES: Final = (
    "message",
    "callback_query",
    "pre_checkout_query",
    "my_chat_member",
    "subscription",
    "purchased_paid_media",
)

#: Seconds for which what was read of a sender while his update was stored is as good as read when its turn has come.
SENDER_FRESH: Final = 0.5

# Service messages that speak of money count as kinds of their own.
_MONEY_MESSAGES: Final = ("successful_payment", "refunded_payment")
_MONEY_KINDS: Final = frozenset({*_MONEY_MESSAGES, "subscription", "purchased_paid_media"})


@attrs.frozen
class StoredUpdate:
    """One update.

    Attributes:
        update_id: Telegram's number; names the update once and for all, so a handler's effects are keyed by it.
        queue_key: updates with the same key are handled in order. The chat of a message; the user of anything else
            (the same number in a private chat, so a person's presses and messages stand in one queue).
        kind: `message`, `callback_query`, …; a message about a payment has that payment's name.
        carries_money: losing it would lose somebody's money.
        payload: the JSON as Telegram sent it.
        received_at: when it was stored, UTC.
        sender: what was read of its sender when it was stored, as far as nothing of his own was under way then.
    """

    update_id: int
    queue_key: int
    kind: str
    carries_money: bool
    payload: dict[str, Any]
    received_at: datetime
    sender: Row | None = attrs.field(default=None, eq=False, repr=False)

    def sender_as_of_now(self, telegram_id: int) -> Row | None:
        """Return what was read of this sender, if it was read just now; None: it has to be read."""
        sender = self.sender
        if sender is None or sender["telegram_id"] != telegram_id or self.age() > SENDER_FRESH:
            return None
        return sender

    def age(self) -> float:
        """Return the seconds since it was stored."""
        return (datetime.now(UTC) - self.received_at).total_seconds()


def parse_update(payload: dict[str, Any], *, received_at: datetime | None = None) -> StoredUpdate:
    """Read kind and queue from an update's JSON.

    An update of a kind we never heard of is kept all the same, under queue 0.

    Raises:
        ValueError: there is no update_id in it.
    """
    update_id = payload.get("update_id")
    if not isinstance(update_id, int):
        raise ValueError("an update without update_id")  # noqa: TRY004  the caller sees one kind of garbage
    kind = next((key for key in payload if key != "update_id"), "other")
    body = payload.get(kind)
    queue_key = 0
    if isinstance(body, dict):
        if kind == "message":
            kind = next((name for name in _MONEY_MESSAGES if name in body), kind)
            queue_key = _id_of(body.get("chat"))
        else:
            queue_key = _id_of(body.get("from") or body.get("user") or body.get("chat"))
    return StoredUpdate(
        update_id, queue_key, kind, kind in _MONEY_KINDS, payload, received_at or datetime.now(UTC)
    )


def private_chat_of(payload: dict[str, Any]) -> int | None:
    """Return the private chat an update came from, or None when it came from elsewhere."""
    for key, body in payload.items():
        if not isinstance(body, dict):
            continue
        message = body if key == "message" else body.get("message")
        chat = message.get("chat") if isinstance(message, dict) else body.get("from")
        if isinstance(chat, dict) and chat.get("type", "private") == "private":
            return _id_of(chat) or None
    return None


def _id_of(thing: Any) -> int:
    found = thing.get("id") if isinstance(thing, dict) else None
    return found if isinstance(found, int) else 0


_current: Final[ContextVar[StoredUpdate | None]] = ContextVar("vpnd_update", default=None)


def current_update() -> StoredUpdate | None:
    """Return the update that the calling task is handling, or None outside of a handler."""
    return _current.get()


class handling:  # noqa: N801  used as a verb, and a class because a generator costs three times as much per update
    """Name an update as the one being handled, for the calling task and its children, within a `with` block."""

    __slots__ = ("_token", "_update")

    def __init__(self, update: StoredUpdate) -> None:
        self._update = update

    def __enter__(self) -> None:
        self._token = _current.set(self._update)

    def __exit__(self, *_exc: object) -> None:
        _current.reset(self._token)
