"""What the control APIs share: JSON in and out, complaints as 400, and the people and messages that a request names."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vpnd.sandbox.telegram_state import Chat, Json, Message, Person, TelegramState

FIRST_GROUP_MEMBER = 1000


class Refused(ValueError):
    """A control request cannot be done; the text tells why."""


async def read_json(request: Request) -> Json:
    """The request's JSON object; an empty body is an empty object."""
    body = await request.body()
    try:
        values = json.loads(body) if body else {}
    except ValueError:
        raise Refused("the body is not JSON") from None
    if not isinstance(values, dict):
        raise Refused("the body must be a JSON object")
    return values


def guarded(function: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn a control function into an endpoint: its result as JSON, its complaints as 400."""

    async def endpoint(request: Request) -> Response:
        try:
            result = await function(request)
        except (KeyError, TypeError, ValueError) as error:
            what = f"missing field {error}" if isinstance(error, KeyError) else str(error)
            return JSONResponse({"error": what}, 400)
        return result if isinstance(result, Response) else JSONResponse(result)

    return endpoint


def person_of(state: TelegramState, values: Json, chat_id: int) -> Person:
    """Who acts: the request's `from`, or the chat's own person (of a group: its first member)."""
    given = values.get("from") or {}
    default = chat_id if chat_id > 0 else FIRST_GROUP_MEMBER
    fields = ("first_name", "username", "language_code")
    known = {name: given[name] for name in fields if name in given}
    return state.person(int(given.get("id", default)), **known)


def message_of(state: TelegramState, values: Json) -> tuple[Chat, Message]:
    """The message that is meant, by `chat_id` and `message_id`."""
    chat = state.chats.get(int(values["chat_id"]))
    if chat is None:
        raise Refused("this chat has not begun")
    message = chat.messages.get(int(values["message_id"]))
    if message is None:
        raise Refused("this chat shows no such message")
    return chat, message
