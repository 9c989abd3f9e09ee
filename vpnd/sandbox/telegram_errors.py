"""Telegram's refusals, with the texts its own server uses.

Source: the published Bot API server (tdlib/telegram-bot-api, Client.cpp) and the error texts bots are known to receive.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal: HTTP status and error_code are the same number, as at Telegram."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def body(self) -> dict[str, Any]:
        """The JSON answer."""
        answer: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        if self.parameters:
            answer["parameters"] = dict(self.parameters)
        return answer


def bad_request(text: str, **parameters: int) -> ApiError:
    """400 with `text` behind Telegram's prefix."""
    return ApiError(400, f"Bad Request: {text}", **parameters)


def flood(retry_after: int) -> ApiError:
    """429: too many messages; not before `retry_after` seconds."""
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def blocked() -> ApiError:
    """403: this user stopped the bot."""
    return ApiError(403, "Forbidden: bot was blocked by the user")


def deactivated() -> ApiError:
    """403: this user's account is gone."""
    return ApiError(403, "Forbidden: user is deactivated")


def kicked(kind: str) -> ApiError:
    """403: the bot was taken out of this group."""
    return ApiError(403, f"Forbidden: bot was kicked from the {kind} chat")


def migrated(chat_id: int) -> ApiError:
    """400: the group became a supergroup with another id."""
    return bad_request("group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat_id)


def terminated(by: str) -> ApiError:
    """409: another request took this long poll's place."""
    tail = "; make sure that only one bot instance is running" if by == "other getUpdates request" else ""
    return ApiError(409, f"Conflict: terminated by {by}{tail}")


QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
