"""The control API's routes for groups: they begin, have topics that open and close, become supergroups, or take the bot out.

| POST group {chat_id, title?, topics?: [numbers]} | a group with the bot in it; with topics it is a forum |
| POST topic {chat_id, topic, closed} | a topic of a forum is made, closed or opened |
| POST upgrade {chat_id, to} | the group becomes the supergroup `to`; the old id answers with migrate_to_chat_id from then on |
| POST kick {chat_id, back?} | the bot is taken out of the group, or with `back` taken in again |
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from vpnd.sandbox.control_kit import Refused, guarded, person_of, read_json
from vpnd.sandbox.telegram_server import TelegramServer
from vpnd.sandbox.telegram_state import Chat, Json


class GroupsControl:
    """The routes of one TelegramServer."""

    def __init__(self, server: TelegramServer) -> None:
        self.server = server
        calls = {"group": self.group, "topic": self.topic, "upgrade": self.upgrade, "kick": self.kick}
        self.routes = [Route(f"/sim/{path}", guarded(call), methods=["POST"]) for path, call in calls.items()]

    def _group(self, values: Json) -> Chat:
        chat = self.server.state.chats.get(int(values["chat_id"]))
        if chat is None or chat.private:
            raise Refused("there is no such group")
        return chat

    async def group(self, request: Request) -> Json:
        """A group begins, with the bot as a member."""
        values = await read_json(request)
        chat_id = int(values["chat_id"])
        if chat_id >= 0:
            raise Refused("the id of a group is a negative number")
        chat = self.server.state.open_chat(chat_id)
        chat.title = str(values.get("title", chat.title))
        if "topics" in values:
            if not str(chat_id).startswith("-100"):
                raise Refused("only a supergroup (-100…) can have topics")
            chat.topics = {int(topic): False for topic in values["topics"]}
        return chat.api()

    async def topic(self, request: Request) -> Json:
        """A topic of a forum is made, closed or opened."""
        values = await read_json(request)
        chat = self._group(values)
        if chat.topics is None:
            raise Refused("the group has no topics")
        chat.topics[int(values["topic"])] = bool(values["closed"])
        return {"topics": {str(topic): closed for topic, closed in chat.topics.items()}}

    async def upgrade(self, request: Request) -> Json:
        """The group becomes a supergroup: a service message in each says so, and the old one takes no message any more."""
        values = await read_json(request)
        old = self._group(values)
        new = self.server.state.open_chat(int(values["to"]))
        person = person_of(self.server.state, values, old.id)
        new.title = old.title
        gone, _ = self.server.say(old, person, {"migrate_to_chat_id": new.id})
        come, update_id = self.server.say(new, person, {"migrate_from_chat_id": old.id})
        old.migrated_to = new.id
        return {"update_id": update_id, "messages": [gone.id, come.id]}

    async def kick(self, request: Request) -> Json:
        """The bot is taken out of the group, or in again; `my_chat_member` tells it."""
        values = await read_json(request)
        chat = self._group(values)
        chat.silence = "none" if values.get("back") else "kicked"
        states = ("kicked", "member") if values.get("back") else ("member", "kicked")
        person = person_of(self.server.state, values, chat.id)
        return {"update_id": self.server.tell_membership(chat, person, *states)}
