"""Methods about the bot itself: who it is, where its updates go, its commands and texts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.telegram_errors import ApiError, bad_request, flood
from vpnd.sandbox.telegram_server import TelegramServer, method
from vpnd.sandbox.telegram_webhook import Webhook

UPDATE_KINDS = frozenset(
    {
        "message", "edited_message", "channel_post", "edited_channel_post", "business_connection", "business_message",
        "edited_business_message", "deleted_business_messages", "message_reaction", "message_reaction_count",
        "inline_query", "chosen_inline_result", "callback_query", "shipping_query", "pre_checkout_query",
        "purchased_paid_media", "poll", "poll_answer", "my_chat_member", "chat_member", "chat_join_request", "chat_boost",
        "removed_chat_boost", "managed_bot", "guest_message", "subscription",
    }
)  # fmt: skip

_SECRET = re.compile(r"[A-Za-z0-9_-]+")
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")
WEBHOOK_PORTS = frozenset({443, 80, 88, 8443})


def _allowed_updates(call: Parameters) -> list[str] | None:
    kinds = call.structure("allowed_updates")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise bad_request("can't parse allowed_updates: expected an Array of String")
    # Telegram skips kinds it does not know, so that bots newer or older than the server still work.
    return [kind for kind in kinds if kind in UPDATE_KINDS]


@method("getMe")
async def get_me(server: TelegramServer, call: Parameters) -> Any:
    """The bot."""
    return {
        **server.state.bot,
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
        "has_topics_enabled": False,
        "allows_users_to_create_topics": False,
        "can_manage_bots": False,
    }


@method("getUpdates")
async def get_updates(server: TelegramServer, call: Parameters) -> Any:
    """Long poll; see UpdateQueue.poll."""
    if server.webhooks.current is not None:
        raise ApiError(
            409,
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
        )
    limit = call.integer("limit", 100)
    server.updates.want(_allowed_updates(call))
    limit = limit if 1 <= limit <= 100 else 100
    return await server.updates.poll(call.integer("offset"), limit, call.integer("timeout"))


def _read_webhook(call: Parameters) -> Webhook:
    url = call.text("url")
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise bad_request("bad webhook: Port number is out of range") from None
    local = bool(_LOOPBACK.fullmatch(parts.hostname or ""))
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    if not parts.hostname:
        raise bad_request("bad webhook: URL host is empty")
    # A server of one's own (`--local`) delivers over plain HTTP to any port; here that holds for loopback only.
    if not local and port not in WEBHOOK_PORTS:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    secret = call.text("secret_token")
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if secret and not _SECRET.fullmatch(secret):
        raise bad_request("secret token contains unallowed characters")
    connections = call.integer("max_connections", 40)
    return Webhook(url, secret, min(max(connections, 1), 100), _allowed_updates(call))


@method("setWebhook")
async def set_webhook(server: TelegramServer, call: Parameters) -> Any:
    """Deliver updates to a URL from now on; an empty URL is deleteWebhook."""
    if not call.has("url"):
        return await delete_webhook(server, call)
    webhook = _read_webhook(call)
    if not server.limits.lifted and server.webhooks.set_too_soon():
        raise flood(1)
    if call.boolean("drop_pending_updates"):
        server.updates.drop_all()
    server.updates.want(webhook.allowed_updates)
    server.updates.interrupt("setWebhook request")
    server.webhooks.set(webhook)
    return True


@method("deleteWebhook")
async def delete_webhook(server: TelegramServer, call: Parameters) -> Any:
    """Back to long polling."""
    if call.boolean("drop_pending_updates"):
        server.updates.drop_all()
    server.webhooks.set(None)
    return True


@method("getWebhookInfo")
async def get_webhook_info(server: TelegramServer, call: Parameters) -> Any:
    """Where updates go and what went wrong last."""
    info = {
        "url": "",
        "has_custom_certificate": False,
        "pending_update_count": server.updates.count(),
        **server.webhooks.info(),
    }
    if server.updates.allowed:
        info["allowed_updates"] = sorted(server.updates.allowed)
    return info


@method("close")
async def close(server: TelegramServer, call: Parameters) -> Any:
    """Accepted, as before a move to another server."""
    return True


@method("logOut")
async def log_out(server: TelegramServer, call: Parameters) -> Any:
    """Accepted, as before a move to a server of one's own."""
    return True


def _scope_key(call: Parameters, what: str) -> str:
    scope = call.structure("scope") or {"type": "default"}
    if not isinstance(scope, dict) or "type" not in scope:
        raise bad_request("can't parse BotCommandScope: Can't find field \"type\"")
    place = ":".join(str(scope[k]) for k in ("type", "chat_id", "user_id") if k in scope)
    return f"{what}:{place}:{call.text('language_code')}"


@method("setMyCommands")
async def set_my_commands(server: TelegramServer, call: Parameters) -> Any:
    """The list of commands a person sees, by scope and language."""
    commands = call.structure("commands")
    if not isinstance(commands, list):
        raise bad_request("can't parse commands JSON object")
    if len(commands) > 100:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    read = []
    for item in commands:
        name = str(item.get("command", "")).removeprefix("/") if isinstance(item, dict) else ""
        if not _COMMAND.fullmatch(name):
            raise bad_request("BOT_COMMAND_INVALID")
        description = str(item.get("description", "")).strip()
        if not 1 <= len(description) <= 256:
            raise bad_request(
                "BOT_COMMAND_DESCRIPTION_INVALID" if description else "command description is empty"
            )
        read.append({"command": name, "description": description})
    server.state.settings[_scope_key(call, "commands")] = read
    return True


@method("getMyCommands")
async def get_my_commands(server: TelegramServer, call: Parameters) -> Any:
    """What setMyCommands stored for this scope and language."""
    return server.state.settings.get(_scope_key(call, "commands"), [])


@method("deleteMyCommands")
async def delete_my_commands(server: TelegramServer, call: Parameters) -> Any:
    """Forget the commands of this scope and language."""
    server.state.settings.pop(_scope_key(call, "commands"), None)
    return True


def _text_setting(setter: str, getter: str, key: str, limit: int) -> None:
    """Register the pair of methods for one text of the bot, kept by language."""

    @method(setter)
    async def write(server: TelegramServer, call: Parameters) -> Any:
        text = call.text(key)
        if len(text) > limit:
            raise bad_request(f"bot {key.replace('_', ' ')} is too long")
        server.state.settings[f"{key}:{call.text('language_code')}"] = text
        return True

    @method(getter)
    async def read(server: TelegramServer, call: Parameters) -> Any:
        found = server.state.settings
        default = found.get(f"{key}:", server.state.bot["first_name"] if key == "name" else "")
        return {key: found.get(f"{key}:{call.text('language_code')}", default)}


_text_setting("setMyDescription", "getMyDescription", "description", 512)
_text_setting("setMyShortDescription", "getMyShortDescription", "short_description", 120)
_text_setting("setMyName", "getMyName", "name", 64)


@method("setChatMenuButton")
async def set_chat_menu_button(server: TelegramServer, call: Parameters) -> Any:
    """The button beside the input field, of one chat or of all."""
    button = call.structure("menu_button") or {"type": "default"}
    if not isinstance(button, dict) or button.get("type") not in {"default", "commands", "web_app"}:
        raise bad_request("MenuButton has unsupported type")
    if call.has("chat_id"):
        server.chat(call).menu_button = button
    else:
        server.state.settings["menu_button"] = button
    return True


@method("getChatMenuButton")
async def get_chat_menu_button(server: TelegramServer, call: Parameters) -> Any:
    """The button beside the input field."""
    own = server.chat(call).menu_button if call.has("chat_id") else None
    return own or server.state.settings.get("menu_button", {"type": "commands"})


@method("getChat")
async def get_chat(server: TelegramServer, call: Parameters) -> Any:
    """A chat in full."""
    if not call.has("chat_id"):
        raise bad_request("chat_id is empty")
    chat = server.state.chats.get(server.chat_number(call))
    if chat is None:
        raise bad_request("chat not found")
    return {
        **chat.api(),
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": {
            "unlimited_gifts": True,
            "limited_gifts": True,
            "unique_gifts": True,
            "premium_subscription": True,
            "gifts_from_channels": True,
        },
    }
