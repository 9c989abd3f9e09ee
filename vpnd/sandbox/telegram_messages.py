"""Methods that make messages of text, and copies of messages; answers to pressed buttons."""

from __future__ import annotations

from typing import Any

from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.telegram_entities import formatted, utf16_length
from vpnd.sandbox.telegram_errors import QUERY_TOO_OLD, bad_request
from vpnd.sandbox.telegram_markup import read_markup
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_state import Chat, Json, Message

MAX_TEXT = 4096
MAX_CAPTION = 1024
MAX_CALLBACK_ANSWER = 200

CONTENT_KEYS = ("text", "entities", "caption", "caption_entities", "photo", "document")
"""What copyMessage carries over."""


def read_text(call: Parameters) -> Json:
    """`text` and `entities` of a call, parsed and checked."""
    if not call.has("text"):
        raise bad_request("message text is empty")
    text, entities = formatted(call.text("text"), call.text("parse_mode"), call.structure("entities"))
    if not text:
        raise bad_request("message text is empty")
    if utf16_length(text) > MAX_TEXT:
        raise bad_request("message is too long")
    return {"text": text, "entities": entities} if entities else {"text": text}


def read_caption(call: Parameters) -> Json:
    """`caption` and `caption_entities` of a call, parsed and checked; empty when there is none."""
    if not call.has("caption"):
        return {}
    entities = call.structure("caption_entities")
    text, entities = formatted(call.text("caption"), call.text("parse_mode"), entities)
    if utf16_length(text) > MAX_CAPTION:
        raise bad_request("message caption is too long")
    if not text:
        return {}
    return {"caption": text, "caption_entities": entities} if entities else {"caption": text}


def read_keyboard(call: Parameters, *, invoice: bool = False, editing: bool = False) -> Json:
    """`reply_markup` of a call as message content."""
    markup = read_markup(call.structure("reply_markup"), invoice=invoice, editing=editing)
    return {} if markup is None else {"reply_markup": markup}


def shown_to_bot(message: Message) -> Json:
    """A message as the Bot API tells it: keyboards below the input field are not part of the object."""
    api = dict(message.api)
    if "inline_keyboard" not in api.get("reply_markup", {"inline_keyboard": None}):
        del api["reply_markup"]
    return api


def read_reply(call: Parameters, chat: Chat) -> Json:
    """The message that is answered, from `reply_parameters` or the older `reply_to_message_id`."""
    given = call.structure("reply_parameters")
    if given is None:
        if not call.has("reply_to_message_id"):
            return {}
        given = {
            "message_id": call.integer("reply_to_message_id"),
            "allow_sending_without_reply": call.boolean("allow_sending_without_reply"),
        }
    if not isinstance(given, dict):
        raise bad_request("object expected as reply parameters")
    message = chat.messages.get(int(given.get("message_id") or 0))
    if message is None:
        if given.get("allow_sending_without_reply"):
            return {}
        raise bad_request("message to be replied not found")
    return {"reply_to_message": {k: v for k, v in shown_to_bot(message).items() if k != "reply_to_message"}}


def read_topic(call: Parameters, chat: Chat) -> Json:
    """The topic of a forum that a message goes to, from `message_thread_id`; nothing for the chat itself."""
    if not call.has("message_thread_id"):
        return {}
    topic = call.integer("message_thread_id")
    if chat.topics is None or topic not in chat.topics:
        raise bad_request("message thread not found")
    if chat.topics[topic]:
        raise bad_request("TOPIC_CLOSED")
    return {"message_thread_id": topic, "is_topic_message": True}


@method("sendMessage")
async def send_message(server: TelegramServer, call: Parameters) -> Any:
    """A text message."""
    chat = server.chat(call)
    topic = read_topic(call, chat)
    content = {**topic, **read_reply(call, chat), **read_text(call), **read_keyboard(call)}
    return shown_to_bot(server.send(chat, content))


def _source(server: TelegramServer, call: Parameters, verb: str) -> Message:
    source = server.state.chats.get(server.chat_number(call, "from_chat_id"))
    if source is None:
        raise bad_request("chat not found")
    message = source.messages.get(call.integer("message_id"))
    if message is None:
        raise bad_request(f"message to {verb} not found")
    return message


@method("copyMessage")
async def copy_message(server: TelegramServer, call: Parameters) -> Any:
    """A message again, without a link to its origin; service messages and invoices cannot be copied."""
    chat = server.chat(call)
    original = _source(server, call, "copy")
    content = {key: original.api[key] for key in CONTENT_KEYS if key in original.api}
    if not content:
        raise bad_request("message can't be copied")
    if call.values.get("caption") is not None and "text" not in content:
        content = {k: v for k, v in content.items() if not k.startswith("caption")} | read_caption(call)
    topic = read_topic(call, chat)
    message = server.send(chat, {**topic, **read_reply(call, chat), **content, **read_keyboard(call)})
    return {"message_id": message.id}


@method("forwardMessage")
async def forward_message(server: TelegramServer, call: Parameters) -> Any:
    """A message with a link to its origin."""
    chat = server.chat(call)
    original = _source(server, call, "forward")
    content = {key: original.api[key] for key in CONTENT_KEYS if key in original.api}
    if not content:
        raise bad_request("message can't be forwarded")
    content["forward_origin"] = {
        "type": "user",
        "date": original.api["date"],
        "sender_user": original.api["from"],
    }
    return shown_to_bot(server.send(chat, content))


@method("sendChatAction")
async def send_chat_action(server: TelegramServer, call: Parameters) -> Any:
    """`typing…` and its like; never metered."""
    chat = server.chat(call)
    if not call.has("action"):
        raise bad_request("wrong parameter action in request")
    chat.actions += 1
    return True


@method("answerCallbackQuery")
async def answer_callback_query(server: TelegramServer, call: Parameters) -> Any:
    """The notice above the chat, or only the end of the button's spinner."""
    callback = server.state.callbacks.get(call.text("callback_query_id"))
    age = 0.0 if callback is None else server.clock.now() - callback.at
    if callback is None or age > server.state.callback_answer_life:
        raise bad_request(QUERY_TOO_OLD)
    text = call.text("text")
    if utf16_length(text) > MAX_CALLBACK_ANSWER:
        raise bad_request("MESSAGE_TOO_LONG")
    chat = server.state.chats[callback.chat_id]
    callback.answered += 1
    chat.answers.append(
        {
            "event": chat.next_event(),
            "callback_query_id": callback.id,
            "message_id": callback.message_id,
            "data": callback.data,
            "text": text,
            "show_alert": call.boolean("show_alert"),
            "url": call.text("url"),
            "repeat": callback.answered - 1,
        }
    )
    del chat.answers[:-400]
    return True
