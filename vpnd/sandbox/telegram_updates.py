"""The update queue of one bot, and the long poll that empties it.

An update stays until it is confirmed: by a later getUpdates whose offset is above it, or by a webhook's 2xx. It is forgotten
when its life is over (24 h for messages, 150 s for queries, by the sandbox's clock). Its id grows by one, always.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
import trio

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.telegram_errors import ApiError, terminated

Json = dict[str, Any]

NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Kinds a bot gets only when it names them in allowed_updates."""
MAX_TIMEOUT = 50
"""Seconds a long poll lasts at most (server source)."""


@attrs.frozen
class Pending:
    """An update that nobody has confirmed yet."""

    update_id: int
    kind: str
    body: Json
    queue: str
    expires: float


class UpdateQueue:
    """Updates in order, and at most one poller that waits for them."""

    def __init__(self, clock: SandboxClock, first_id: int = 700_000_001) -> None:
        self._clock = clock
        self._next_id = first_id
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._poller: _Poller | None = None
        self.allowed: frozenset[str] | None = None
        self.on_emit: Callable[[Pending], None] | None = None
        self.emitted = 0
        self.expired = 0

    def emit(self, kind: str, payload: Json, queue: str, life: float) -> int | None:
        """Queue an update of `kind` for `queue` (a chat's or a user's); its id, or None when the bot does not want the kind."""
        wanted = kind in self.allowed if self.allowed else kind not in NOT_BY_DEFAULT
        if not wanted:
            return None
        update_id = self._next_id
        self._next_id += 1
        self.emitted += 1
        pending = Pending(
            update_id, kind, {"update_id": update_id, kind: payload}, queue, self._clock.now() + life
        )
        self._pending[update_id] = pending
        if self._poller is not None:
            self._poller.wake.set()
        if self.on_emit is not None:
            self.on_emit(pending)
        return update_id

    def want(self, kinds: list[str] | None) -> None:
        """Remember allowed_updates; an empty list means the default kinds, None changes nothing."""
        if kinds is not None:
            self.allowed = frozenset(kinds) or None

    def confirm(self, update_id: int) -> None:
        """Forget one update (a webhook took it)."""
        self._pending.pop(update_id, None)

    def confirm_below(self, offset: int) -> None:
        """Forget everything below `offset`; a negative offset keeps only that many of the newest."""
        if offset < 0:
            while len(self._pending) > -offset:
                self._pending.popitem(last=False)
        while self._pending and next(iter(self._pending)) < offset:
            self._pending.popitem(last=False)

    def drop_all(self) -> None:
        """Forget every pending update."""
        self._pending.clear()

    def is_alive(self, pending: Pending) -> bool:
        """Whether the update is neither confirmed nor too old."""
        return pending.update_id in self._pending and pending.expires > self._clock.now()

    def pending(self, limit: int | None = None) -> list[Pending]:
        """The living updates, oldest first, `limit` of them at most; those too old that stand before them are forgotten."""
        now = self._clock.now()
        found: list[Pending] = []
        dead: list[int] = []
        for pending in self._pending.values():
            if pending.expires <= now:
                dead.append(pending.update_id)
            elif len(found) == limit:
                break
            else:
                found.append(pending)
        for update_id in dead:
            del self._pending[update_id]
        self.expired += len(dead)
        return found

    def count(self) -> int:
        """How many living updates wait."""
        return len(self.pending())

    @property
    def polling(self) -> bool:
        """Whether a long poll waits at the moment."""
        return self._poller is not None

    def interrupt(self, by: str) -> None:
        """End the long poll in progress, if any, with 409 `terminated by …`."""
        if self._poller is not None:
            self._poller.error = terminated(by)
            self._poller.wake.set()
            self._poller = None

    async def poll(self, offset: int, limit: int, timeout: float) -> list[Json]:
        """getUpdates: confirm, then wait up to `timeout` seconds for the first update, and hand out at most `limit`.

        Raises:
            ApiError: 409 when a younger poll or a webhook took over.
        """
        self.interrupt("other getUpdates request")
        if offset:
            self.confirm_below(offset)
        me = self._poller = _Poller()
        deadline = trio.current_time() + max(0.0, min(timeout, MAX_TIMEOUT))
        try:
            while not (ready := self.pending(limit)):
                me.wake = trio.Event()
                with trio.move_on_at(deadline) as scope:
                    await me.wake.wait()
                if me.error is not None:
                    raise me.error
                if scope.cancelled_caught:
                    return []
            return [pending.body for pending in ready]
        finally:
            if self._poller is me:
                self._poller = None


@attrs.define
class _Poller:
    wake: trio.Event = attrs.field(factory=trio.Event)
    error: ApiError | None = None
