"""What Telegram knows: people, chats, their messages with all edits, files, and the buttons pressed.

A chat keeps everything a person would see, as the very objects the Bot API speaks, plus an event number that grows with every
change: whoever asks for "what changed after event N" can wait for it. Memory is bounded by KEPT_MESSAGES a chat.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any

import attrs
import trio

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.telegram_errors import bad_request, blocked, deactivated, kicked, migrated

Json = dict[str, Any]

KEPT_MESSAGES = 400
"""Messages a chat remembers; the oldest go first."""
MESSAGE_LIFE = 24 * 3600
"""Seconds an undelivered message update lives (Bot API server source)."""
QUERY_LIFE = 150
"""Seconds an undelivered callback or pre-checkout query lives."""


@attrs.define
class Person:
    """A user of Telegram."""

    id: int
    first_name: str = "Alice"
    username: str | None = None
    language_code: str | None = "en"

    def api(self) -> Json:
        """The `User` object."""
        user: Json = {"id": self.id, "is_bot": False, "first_name": self.first_name}
        if self.username:
            user["username"] = self.username
        if self.language_code:
            user["language_code"] = self.language_code
        return user


@attrs.define
class Message:
    """A message as it stands, and as it stood before each edit."""

    api: Json
    event: int
    from_bot: bool
    edits: list[Json] = attrs.field(factory=list)

    @property
    def id(self) -> int:
        """The message_id."""
        return int(self.api["message_id"])


@attrs.define
class Chat:
    """One conversation with the bot."""

    id: int
    title: str
    username: str | None = None
    messages: OrderedDict[int, Message] = attrs.field(factory=OrderedDict)
    deleted: list[tuple[int, int]] = attrs.field(factory=list)  # (event, message_id)
    unchanged: list[tuple[int, int]] = attrs.field(factory=list)  # the same, of edits that changed nothing
    answers: list[Json] = attrs.field(factory=list)
    actions: int = 0
    event: int = 0
    silence: str = "none"  # or "blocked", "deactivated"; of a group "kicked"
    migrated_to: int | None = None
    topics: dict[int, bool] | None = None  # of a forum: whether each is closed; None: this is none
    instance: str = attrs.field(factory=lambda: str(secrets.randbits(63)))
    menu_button: Json | None = None
    _changed: trio.Event | None = None

    @property
    def private(self) -> bool:
        """Whether this is a chat with one person."""
        return self.id > 0

    def api(self) -> Json:
        """The `Chat` object."""
        if not self.private:
            kind = "supergroup" if str(self.id).startswith("-100") else "group"
            group: Json = {"id": self.id, "type": kind, "title": self.title}
            return group if self.topics is None else {**group, "is_forum": True}
        chat: Json = {"id": self.id, "type": "private", "first_name": self.title}
        if self.username:
            chat["username"] = self.username
        return chat

    def next_event(self) -> int:
        """Number a change and wake everyone who waits for one."""
        self.event += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        return self.event

    async def wait_after(self, event: int, seconds: float) -> None:
        """Return when something happened after `event`, or when `seconds` are over."""
        with trio.move_on_after(seconds):
            while self.event <= event:
                if self._changed is None:
                    self._changed = trio.Event()
                await self._changed.wait()


@attrs.frozen
class StoredFile:
    """An uploaded file that can be sent again by its id and downloaded by its path."""

    file_id: str
    unique_id: str
    path: str
    filename: str
    content: bytes
    kind: str  # "photo" or "document"
    width: int = 0
    height: int = 0


@attrs.define
class Callback:
    """A pressed button that waits for its answer."""

    id: str
    chat_id: int
    message_id: int
    data: str
    at: float
    answered: int = 0


@attrs.define
class TelegramState:
    """The whole world of one bot."""

    clock: SandboxClock
    bot: Json
    people: dict[int, Person] = attrs.field(factory=dict)
    chats: dict[int, Chat] = attrs.field(factory=dict)
    files: dict[str, StoredFile] = attrs.field(factory=dict)
    callbacks: OrderedDict[str, Callback] = attrs.field(factory=OrderedDict)
    callback_answer_life: float = 60.0
    settings: dict[str, Any] = attrs.field(factory=dict)
    sent: dict[int, int] = attrs.field(factory=dict)
    last_message_id: int = 0

    def person(self, user_id: int, **known: str | None) -> Person:
        """The person with this id, made on first sight; `known` fields overwrite what was known before."""
        found = self.people.get(user_id)
        if found is None:
            found = self.people[user_id] = Person(user_id)
        for name, value in known.items():
            setattr(found, name, value)
        return found

    def open_chat(self, chat_id: int, person: Person | None = None) -> Chat:
        """The chat with this id; a private one begins when its person first writes to the bot."""
        chat = self.chats.get(chat_id)
        if chat is None:
            owner = self.person(chat_id) if person is None and chat_id > 0 else person
            title = owner.first_name if owner is not None and chat_id > 0 else "Group"
            chat = self.chats[chat_id] = Chat(chat_id, title)
        if person is not None and chat.private:
            chat.title, chat.username = person.first_name, person.username
        return chat

    def chat_for_sending(self, chat_id: int) -> Chat:
        """The chat a bot may write to; raises what Telegram would answer otherwise."""
        chat = self.chats.get(chat_id)
        if chat is None:
            raise bad_request("chat not found")
        if chat.migrated_to is not None:
            raise migrated(chat.migrated_to)
        if chat.silence == "blocked":
            raise blocked()
        if chat.silence == "deactivated":
            raise deactivated()
        if chat.silence == "kicked":
            raise kicked("supergroup" if str(chat.id).startswith("-100") else "group")
        return chat

    def post(self, chat: Chat, sender: Json, content: Json) -> Message:
        """A new message in the chat. Ids grow by one over all private chats, as they do for a real bot."""
        self.last_message_id += 1
        api: Json = {
            "message_id": self.last_message_id,
            "from": sender,
            "chat": chat.api(),
            "date": self.clock.stamp(),
            **content,
        }
        message = Message(api, chat.next_event(), from_bot=bool(sender["is_bot"]))
        chat.messages[message.id] = message
        if message.from_bot:
            self.sent[chat.id] = self.sent.get(chat.id, 0) + 1
        while len(chat.messages) > KEPT_MESSAGES:
            chat.messages.popitem(last=False)
        return message

    def change(self, chat: Chat, message: Message, content: Json) -> Message:
        """Replace what the message shows; its former state is kept among its edits."""
        message.edits.append(message.api)
        fixed = {key: message.api[key] for key in ("message_id", "from", "chat", "date")}
        message.api = {**fixed, "edit_date": self.clock.stamp(), **content}
        message.event = chat.next_event()
        return message

    def delete(self, chat: Chat, message: Message) -> None:
        """Take the message away from everyone."""
        del chat.messages[message.id]
        chat.deleted.append((chat.next_event(), message.id))
        del chat.deleted[:-KEPT_MESSAGES]

    def leave(self, chat: Chat, message: Message) -> None:
        """Note an edit that would have shown what is shown already: the person's wish was carried out, and nothing moved."""
        chat.unchanged.append((chat.next_event(), message.id))
        del chat.unchanged[:-KEPT_MESSAGES]

    def press(self, chat: Chat, message: Message, data: str) -> Callback:
        """Remember a pressed button under a new query id."""
        callback = Callback(str(secrets.randbits(62)), chat.id, message.id, data, self.clock.now())
        self.callbacks[callback.id] = callback
        while len(self.callbacks) > 50_000:
            self.callbacks.popitem(last=False)
        return callback
