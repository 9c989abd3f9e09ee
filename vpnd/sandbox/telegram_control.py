"""The control API of the sandboxed Telegram: what people do, what they see, and what goes wrong.

JSON over HTTP under `/sim/`. Faults of a request are answered 400 with `{"error": …}`.

| Call | Does |
|---|---|
| POST message {chat_id, text, kind?, from?} | a person (or a group's member) writes, or sends a photo, …; what it became |
| POST edit {chat_id, message_id, text, from?} | a person changes what he wrote |
| POST press {chat_id, message_id, data or button, stale?, from?} | presses an inline button (or one below the input field) |
| POST pay {chat_id, message_id or link, from?, …} | pays a Stars invoice; {ok, charge_id} or {ok, error}; see StarsControl |
| POST block {chat_id, kind: blocked, deactivated, none} | stops the bot, loses the account, starts it again |
| POST group, topic, upgrade, kick | what befalls a group of the bot's; see GroupsControl |
| POST update {kind, payload, chat_id?, life?} | queues an update as given |
| POST chats {ids or first, count} | opens chats without a word, for broadcasts |
| GET chat/<id>?after=N&wait=S | what the person sees, or what changed after event N (waiting up to S seconds) |
| GET file/<file_id> | a picture's bytes |
| POST fault, limits, reset, clock · GET stats, sent, chats, faults | see the functions |
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.control_kit import Refused, guarded, message_of, person_of, read_json
from vpnd.sandbox.faults import fault_from
from vpnd.sandbox.telegram_contents import content_of
from vpnd.sandbox.telegram_groups_control import GroupsControl
from vpnd.sandbox.telegram_limits import FloodLimits
from vpnd.sandbox.telegram_server import TelegramServer
from vpnd.sandbox.telegram_stars_control import StarsControl
from vpnd.sandbox.telegram_state import MESSAGE_LIFE, Chat, Json, Message, Person

__all__ = ["Refused", "TelegramControl", "guarded", "read_json"]

LONGEST_WAIT = 60.0


class TelegramControl:
    """The `/sim/` routes of one TelegramServer."""

    def __init__(self, server: TelegramServer, clock: SandboxClock) -> None:
        self.server = server
        self.clock = clock
        post = {
            "message": self.message, "edit": self.edit, "press": self.press, "block": self.block, "chats": self.open_chats,
            "update": self.raw_update,
            "fault": self.fault, "limits": self.limits, "reset": self.reset, "clock": self.move_clock,
        }  # fmt: skip
        get = {
            "chat/{chat_id}": self.show_chat, "chats": self.list_chats, "file/{file_id}": self.show_file,
            "stats": self.stats, "sent": self.sent, "clock": self.read_clock,
        }  # fmt: skip
        self.routes = [
            *StarsControl(server).routes,
            *GroupsControl(server).routes,
            *(Route(f"/sim/{path}", guarded(call), methods=["POST"]) for path, call in post.items()),
            *(Route(f"/sim/{path}", guarded(call), methods=["GET"]) for path, call in get.items()),
        ]

    # ------------------------------------------------------------------ people

    async def message(self, request: Request) -> Json:
        """A person writes; one who had stopped the bot starts it again by that."""
        values = await read_json(request)
        chat_id = int(values["chat_id"])
        person = person_of(self.server.state, values, chat_id)
        content = content_of(self.server, person, values)
        chat = self.server.state.open_chat(chat_id, person)
        if chat.silence != "none":
            self._set_silence(chat, person, "none")
        return self._say(chat, person, content)

    def _say(self, chat: Chat, person: Person, content: Json) -> Json:
        message, update_id = self.server.say(chat, person, content)
        return {"update_id": update_id, "message_id": message.id, "event": message.event}

    async def edit(self, request: Request) -> Json:
        """A person changes the words of a message of his."""
        values = await read_json(request)
        chat, message = message_of(self.server.state, values)
        person = person_of(self.server.state, values, chat.id)
        if message.from_bot or "text" not in message.api:
            raise Refused("a person changes texts of his own only")
        self.server.state.change(chat, message, content_of(self.server, person, {"text": values["text"]}))
        update_id = self.server.tell_edit(chat, message)
        return {"update_id": update_id, "event": chat.event}

    async def press(self, request: Request) -> Json:
        """A person presses a button; what comes of it depends on the button. With `stale`, also one that the message showed
        before an edit: a phone may show an old screen for a while."""
        values = await read_json(request)
        if "message_id" not in values and "button" in values:
            values["message_id"] = self._find_button(values)
        chat, message = message_of(self.server.state, values)
        person = person_of(self.server.state, values, chat.id)
        markup = message.api.get("reply_markup", {})
        if "keyboard" in markup:
            said = {"text": _choose(markup["keyboard"], values)["text"]}
            return self._say(chat, person, content_of(self.server, person, said))
        rows = list(markup.get("inline_keyboard", []))
        if values.get("stale"):
            for shown in reversed(message.edits):
                rows += shown.get("reply_markup", {}).get("inline_keyboard", [])
        button = _choose(rows, values)
        if "callback_data" not in button:
            return {"update_id": None, "event": chat.event, "button": button}
        callback = self.server.state.press(chat, message, button["callback_data"])
        query = {
            "id": callback.id,
            "from": person.api(),
            "message": message.api,
            "chat_instance": chat.instance,
            "data": callback.data,
        }
        update_id = self.server.tell_query("callback_query", query, person)
        return {"update_id": update_id, "callback_query_id": callback.id, "event": chat.event}

    def _find_button(self, values: Json) -> int:
        """The newest message with a button of this text, for callers that do not care which."""
        chat = self.server.state.chats.get(int(values["chat_id"]))
        for message in reversed(list(chat.messages.values()) if chat is not None else []):
            markup = message.api.get("reply_markup", {})
            rows = markup.get("inline_keyboard", []) + markup.get("keyboard", [])
            if any(_text_of(button) == values["button"] for row in rows for button in row):
                return message.id
        raise Refused(f"no message of this chat has a button {values['button']!r}")

    async def block(self, request: Request) -> Json:
        """A person stops the bot, loses the account, or is back."""
        values = await read_json(request)
        kind = values.get("kind", "blocked")
        if kind not in {"blocked", "deactivated", "none"}:
            raise Refused("kind must be blocked, deactivated or none")
        chat = self.server.state.open_chat(int(values["chat_id"]))
        return {"update_id": self._set_silence(chat, person_of(self.server.state, values, chat.id), kind)}

    def _set_silence(self, chat: Chat, person: Person, kind: str) -> int | None:
        old, chat.silence = chat.silence, kind
        if {old, kind} != {"blocked", "none"}:
            return None
        states = ("member", "kicked") if kind == "blocked" else ("kicked", "member")
        return self.server.tell_membership(chat, person, *states)

    async def raw_update(self, request: Request) -> Json:
        """An update of any kind, as given: what a newer Bot API may send, or what nobody should."""
        values = await read_json(request)
        kind, payload = str(values["kind"]), dict(values["payload"])
        queue = f"chat:{values.get('chat_id', 0)}"
        life = float(values.get("life", MESSAGE_LIFE))
        return {"update_id": self.server.updates.emit(kind, payload, queue, life)}

    async def open_chats(self, request: Request) -> Json:
        """Chats that have begun, without a message: `ids`, or `count` of them from `first`."""
        values = await read_json(request)
        first = int(values.get("first", 1))
        ids = values.get("ids") or range(first, first + int(values.get("count", 0)))
        for chat_id in ids:
            self.server.state.open_chat(int(chat_id))
        return {"chats": len(self.server.state.chats)}

    # ------------------------------------------------------------------ what is seen

    async def show_chat(self, request: Request) -> Json:
        """The chat as its person sees it. With `after`, only what has changed since that event; with `wait`, the call holds
        until something has (60 s at most)."""
        chat_id = int(request.path_params["chat_id"])
        after = int(request.query_params.get("after", 0))
        wait = min(float(request.query_params.get("wait", 0)), LONGEST_WAIT)
        chat = self.server.state.open_chat(chat_id) if wait else self.server.state.chats.get(chat_id)
        if chat is None:
            nothing: Json = {"messages": [], "answers": [], "deleted": [], "unchanged": []}
            return {"event": 0, "chat": None, **nothing, "actions": 0}
        await chat.wait_after(after, wait)
        return {
            "event": chat.event,
            "chat": chat.api(),
            "silence": chat.silence,
            "messages": [_shown(m) for m in chat.messages.values() if m.event > after],
            "answers": [answer for answer in chat.answers if answer["event"] > after],
            "deleted": [number for event, number in chat.deleted if event > after],
            "unchanged": [
                {"event": event, "message_id": number} for event, number in chat.unchanged if event > after
            ],
            "actions": chat.actions,
        }

    async def list_chats(self, request: Request) -> Json:
        """The first `limit` (100) chats that have begun."""
        limit = int(request.query_params.get("limit", 100))
        chats = list(self.server.state.chats.values())[:limit]
        return {
            "total": len(self.server.state.chats),
            "chats": [{**c.api(), "event": c.event} for c in chats],
        }

    async def show_file(self, request: Request) -> Response:
        """A file's bytes, without the bot's token."""
        stored = self.server.state.files.get(str(request.path_params["file_id"]))
        if stored is None:
            raise Refused("no such file")
        kind = "application/octet-stream"
        if stored.kind == "photo":
            kind = "image/png" if stored.content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(stored.content, media_type=kind)

    async def stats(self, request: Request) -> Json:
        """Counters of everything, since the start."""
        server = self.server
        return {
            "calls": server.calls,
            "errors": server.errors,
            "limits": server.limits.statistics(),
            "updates": {
                "pending": server.updates.count(),
                "emitted": server.updates.emitted,
                "expired": server.updates.expired,
            },
            "webhook": {"deliveries": server.webhooks.deliveries, "failures": server.webhooks.failures},
            "faults": {"left": server.faults.left(), "taken": server.faults.taken},
            "stars": server.cashier.balance,
            "chats": len(server.state.chats),
        }

    async def sent(self, request: Request) -> Json:
        """How many messages of the bot each chat got."""
        return {str(chat_id): count for chat_id, count in self.server.state.sent.items()}

    # ------------------------------------------------------------------ the world's rules

    async def fault(self, request: Request) -> Json:
        """Put a fault on the board; see `Fault`."""
        self.server.faults.add(fault_from(await read_json(request)))
        return {"left": self.server.faults.left()}

    async def limits(self, request: Request) -> Json:
        """Change the flood limits (`lifted`, `per_second`, `per_chat`, `chat_burst`, `group_per_minute`) and the times of
        `callback_answer_seconds`, `checkout_seconds`, `webhook_retry_first`. A lifted limit is a departure from Telegram, and
        the answer says so."""
        values = await read_json(request)
        for name in ("lifted", "per_second", "per_chat", "chat_burst", "group_per_minute"):
            if name in values:
                setattr(self.server.limits, name, values.pop(name))
        if "callback_answer_seconds" in values:
            self.server.state.callback_answer_life = float(values.pop("callback_answer_seconds"))
        if "checkout_seconds" in values:
            self.server.cashier.checkout_seconds = float(values.pop("checkout_seconds"))
        if "webhook_retry_first" in values:
            self.server.webhooks.retry_first = float(values.pop("webhook_retry_first"))
        if values:
            raise Refused(f"unknown limits: {', '.join(sorted(values))}")
        lifted = self.server.limits.lifted
        return {
            "lifted": lifted,
            "note": "flood limits are lifted: Telegram would refuse what is accepted now" if lifted else "",
        }

    async def reset(self, request: Request) -> Json:
        """No more faults, default limits and counters; with `all`, no more chats and updates either."""
        values = await read_json(request)
        server = self.server
        server.faults.clear()
        server.limits = FloodLimits()
        server.calls.clear()
        server.errors.clear()
        if values.get("all"):
            server.updates.drop_all()
            server.state.chats.clear()
            server.state.sent.clear()
        return {"ok": True}

    async def read_clock(self, request: Request) -> Json:
        """The business time."""
        return {"offset": self.clock.offset, "now": self.clock.iso()}

    async def move_clock(self, request: Request) -> Json:
        """Let business time jump forward by `advance` seconds, in this process and in the sandbox's database."""
        values = await read_json(request)
        offset = await self.clock.advance(int(values["advance"]))
        return {"offset": offset, "now": self.clock.iso()}


def _text_of(button: Any) -> str:
    return str(button["text"] if isinstance(button, dict) else button)


def _choose(rows: list[list[Any]], values: Json) -> Json:
    """The button that is meant, by its `data`, its exact text, or a part of its text that only it has."""
    buttons = [b if isinstance(b, dict) else {"text": b} for row in rows for b in row]
    if "data" in values:
        found = [b for b in buttons if b.get("callback_data") == values["data"]]
    else:
        wanted = str(values["button"])
        found = [b for b in buttons if b["text"] == wanted] or [b for b in buttons if wanted in b["text"]]
    if not found or ("data" not in values and len(found) > 1 and found[0]["text"] != values["button"]):
        shown = ", ".join(repr(b["text"]) for b in buttons) or "none"
        raise Refused(f"no such button; the message shows {shown}")
    return found[0]


def _shown(message: Message) -> Json:
    return {**message.api, "event": message.event, "edits": len(message.edits), "from_bot": message.from_bot}
