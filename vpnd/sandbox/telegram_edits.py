"""Methods that change or delete messages."""

from __future__ import annotations

from typing import Any

from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.telegram_errors import NOT_MODIFIED, bad_request
from vpnd.sandbox.telegram_media import media_content, take_file
from vpnd.sandbox.telegram_messages import CONTENT_KEYS, read_caption, read_keyboard, read_text, shown_to_bot
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_state import Chat, Json, Message

DELETABLE_SECONDS = 48 * 3600
"""A message older than this cannot be deleted by a bot."""

_COMPARED = (*CONTENT_KEYS, "invoice", "reply_markup")


def _editable(server: TelegramServer, call: Parameters) -> tuple[Chat, Message]:
    if call.has("inline_message_id"):
        raise bad_request("MESSAGE_ID_INVALID")
    chat = server.chat(call)
    if not call.has("message_id"):
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(call.integer("message_id"))
    if message is None:
        raise bad_request("message to edit not found")
    keyboard = message.api.get("reply_markup", {"inline_keyboard": None})
    # A message that put a keyboard below the input field can never be edited, nor can a person's message.
    if not message.from_bot or "inline_keyboard" not in keyboard:
        raise bad_request("message can't be edited")
    return chat, message


def _apply(server: TelegramServer, chat: Chat, message: Message, content: Json) -> Any:
    """Show `content` from now on, unless it is what is shown already."""
    kept: Json = {
        key: message.api[key]
        for key in ("reply_to_message", "forward_origin", "message_thread_id", "is_topic_message")
        if key in message.api
    }
    if all(message.api.get(key) == content.get(key) for key in _COMPARED):
        server.state.leave(chat, message)
        raise bad_request(NOT_MODIFIED)
    return shown_to_bot(server.state.change(chat, message, {**kept, **content}))


@method("editMessageText")
async def edit_message_text(server: TelegramServer, call: Parameters) -> Any:
    """Another text and keyboard; a keyboard that is not given again goes."""
    chat, message = _editable(server, call)
    content = read_text(call)
    if "text" not in message.api:
        raise bad_request("there is no text in the message to edit")
    return _apply(server, chat, message, {**content, **read_keyboard(call, editing=True)})


@method("editMessageCaption")
async def edit_message_caption(server: TelegramServer, call: Parameters) -> Any:
    """Another caption below a picture or file."""
    chat, message = _editable(server, call)
    media: Json = {key: message.api[key] for key in ("photo", "document") if key in message.api}
    if not media:
        raise bad_request("there is no caption in the message to edit")
    return _apply(server, chat, message, {**media, **read_caption(call), **read_keyboard(call, editing=True)})


@method("editMessageReplyMarkup")
async def edit_message_reply_markup(server: TelegramServer, call: Parameters) -> Any:
    """Another keyboard, or none."""
    chat, message = _editable(server, call)
    content = {key: message.api[key] for key in (*CONTENT_KEYS, "invoice") if key in message.api}
    keyboard = read_keyboard(call, editing=True, invoice="invoice" in message.api)
    return _apply(server, chat, message, {**content, **keyboard})


@method("editMessageMedia")
async def edit_message_media(server: TelegramServer, call: Parameters) -> Any:
    """Another picture or file, with its caption."""
    chat, message = _editable(server, call)
    media = call.structure("media")
    if not isinstance(media, dict):
        raise bad_request("can't parse media JSON object")
    if media.get("type") not in {"photo", "document"}:
        raise bad_request("wrong InputMedia type specified")
    if "text" not in message.api and "photo" not in message.api and "document" not in message.api:
        raise bad_request("message can't be edited")
    stored = take_file(server, call, str(media.get("media") or ""), "", str(media["type"]))
    caption = read_caption(Parameters({k: v for k, v in media.items() if v is not None}))
    content = {**media_content(stored), **caption, **read_keyboard(call, editing=True)}
    return _apply(server, chat, message, content)


def _deletable(server: TelegramServer, chat: Chat, message_id: int) -> Message | None:
    message = chat.messages.get(message_id)
    if message is not None and server.clock.stamp() - int(message.api["date"]) > DELETABLE_SECONDS:
        raise bad_request("message can't be deleted for everyone")
    return message


@method("deleteMessage")
async def delete_message(server: TelegramServer, call: Parameters) -> Any:
    """Take one message away."""
    chat = server.chat(call)
    message = _deletable(server, chat, call.integer("message_id"))
    if message is None:
        raise bad_request("message to delete not found")
    server.state.delete(chat, message)
    return True


@method("deleteMessages")
async def delete_messages(server: TelegramServer, call: Parameters) -> Any:
    """Take up to 100 messages away; those not found are skipped."""
    chat = server.chat(call)
    ids = call.structure("message_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= 100:
        raise bad_request(
            "message identifiers are not specified" if not ids else "too many messages to delete"
        )
    for message in [_deletable(server, chat, int(number)) for number in ids]:
        if message is not None:
            server.state.delete(chat, message)
    return True
