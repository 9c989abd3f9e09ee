"""A press on a button below a message, read from its JSON.

Most of what people do with the bot is pressing, and most of what PTB makes of a press nobody looks at: the message's buttons and
its markup, which are ours, as objects for each. What the bot needs of it is read here, in a fiftieth of the time.
Everything else comes to the handlers as PTB's objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from telegram import User

__all__ = ["Person", "Press", "PressedMessage"]


@frozen
class Person:
    """Who did something, as Telegram knows him; `language` is the code that his app speaks."""

    id: int
    first_name: str
    username: str | None = None
    language: str | None = None

    @classmethod
    def of(cls, user: User) -> Person:
        """The same of PTB's object."""
        return cls(user.id, user.first_name, user.username, user.language_code)


@frozen
class PressedMessage:
    """The message that the button stands below.

    Attributes:
        editable: its text may still be changed: it is no picture, no invoice, and not too old for Telegram to tell of it.
    """

    chat_id: int
    chat_type: str
    message_id: int
    editable: bool


@frozen
class Press:
    """A callback query (Bot API, "CallbackQuery").

    Attributes:
        query_id: what it is answered by.
        data: what the button carries; None for a game's.
        message: None where the message came by an inline query.
    """

    update_id: int
    query_id: str
    person: Person
    data: str | None
    message: PressedMessage | None

    @classmethod
    def of(cls, update: Mapping[str, Any]) -> Press:
        """Read an update of kind `callback_query`.

        Raises:
            ValueError: it lacks what Telegram puts in each.
        """
        try:
            query = update["callback_query"]
            user, message = query["from"], query.get("message")
            return cls(
                update["update_id"],
                query["id"],
                Person(user["id"], user["first_name"], user.get("username"), user.get("language_code")),
                query.get("data"),
                None if message is None else _message(message),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a callback query that is none: {type(error).__name__}: {error}") from None


def _message(message: Mapping[str, Any]) -> PressedMessage:
    # A date of 0 marks a message that Telegram tells no more of ("InaccessibleMessage").
    editable = message["date"] != 0 and message.get("text") is not None
    return PressedMessage(message["chat"]["id"], message["chat"]["type"], message["message_id"], editable)
