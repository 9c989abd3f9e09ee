"""Keeps the messages true that show how far broadcasts are: a bar, and the time that is left.

Each is edited at most once in `EVERY` seconds, and only when it would say something else. Edits are not metered, so they take
nothing from the broadcast; whoever does not answer in time is asked again the next time, and the broadcast knows nothing of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NoReturn

import trio

from vpnd.bot.broadcast_desk import WATCHED, rate_of
from vpnd.bot.clocks import clock_at
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.screens import broadcasts as screens
from vpnd.bot.screens.screen import Screen
from vpnd.bot.show import edit
from vpnd.bot.speech import Speech
from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop import broadcasts
from vpnd.shop.broadcast_watchers import Watcher, forget, watchers
from vpnd.shop.broadcasts import Progress
from vpnd.shop.operators import Permission, actor_of
from vpnd.telegram.errors import Blocked, TelegramError
from vpnd.telegram.sender import Lane

__all__ = ["EVERY", "ProgressTeller"]

log = get_journal("bot")

#: Seconds between two edits of one message.
EVERY: Final = 5.0
#: Seconds that one edit may take.
PATIENCE: Final = 2.0
#: How much the rate of the last seconds counts against what was known of it before.
_NEW: Final = 0.3


class ProgressTeller:
    """Edits messages in turn; one child of the supervisor.

    Args:
        deps: database, sender and texts.
        every: seconds between two looks.
    """

    def __init__(self, deps: BotDependencies, *, every: float = EVERY) -> None:
        self._deps = deps
        self._every = every
        self._told: dict[Watcher, str] = {}
        self._served: dict[int, tuple[float, int]] = {}  # when looked at last, and how many were served then
        self._rates: dict[int, float] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run until cancelled."""
        task_status.started()
        while True:
            try:
                await self.tell_all()
            except DatabaseError as error:
                log.debug(
                    "bot.progress_not_told", message=f"the progress of broadcasts is told later: {error}"
                )
            await trio.sleep(self._every)

    async def tell_all(self) -> None:
        """Look at all messages once."""
        watched = await watchers(self._deps.db)
        found: dict[int, Progress | None] = {}
        for number in dict.fromkeys(one.broadcast_id for one in watched):
            it = found[number] = await broadcasts.progress(self._deps.db, number)
            if it is not None:
                self._learn(it)
        gone = [one for one in watched if not await self._tell(one, found[one.broadcast_id])]
        if gone:

            async def body(tx: Transaction) -> None:
                await forget(tx, gone)

            await self._deps.db.run("bot.unwatch", body)
        kept = set(watched) - set(gone)
        self._told = {one: text for one, text in self._told.items() if one in kept}
        numbers = {one.broadcast_id for one in kept}
        self._served = {number: value for number, value in self._served.items() if number in numbers}
        self._rates = {number: value for number, value in self._rates.items() if number in numbers}

    def _learn(self, it: Progress) -> None:
        """Learn how fast it goes; a pause is no pace."""
        now = trio.current_time()
        before = self._served.get(it.id)
        self._served[it.id] = (now, it.served)
        if before is None or it.state != "running" or now <= before[0]:
            return
        rate = (it.served - before[1]) / (now - before[0])
        if rate > 0:
            known = self._rates.get(it.id, rate)
            self._rates[it.id] = known + _NEW * (rate - known)

    async def _tell(self, watcher: Watcher, it: Progress | None) -> bool:
        """Make one message true; False if it need not be looked at again."""
        if it is None:
            return False
        screen = await self._screen(watcher, it)
        if screen.text != self._told.get(watcher):
            try:
                with trio.move_on_after(PATIENCE) as scope:
                    if not await edit(
                        self._deps.sender, watcher.chat_id, watcher.message_id, screen, lane=Lane.BROADCAST
                    ):
                        return False  # it was deleted, or is too old
                if scope.cancelled_caught:
                    return True
            except Blocked:
                return False
            except TelegramError:
                return True
            self._told[watcher] = screen.text
        return it.state in WATCHED

    async def _screen(self, watcher: Watcher, it: Progress) -> Screen:
        deps = self._deps
        language = watcher.language if watcher.language in deps.texts.languages else deps.texts.default
        at = it.scheduled_at or it.now
        clock = await clock_at(deps.db, watcher.chat_id, deps.time_zone, at, at)
        actor = await actor_of(deps.db, watcher.chat_id, deps.admins)
        return screens.one(
            Speech(deps.texts, language),
            it,
            may_send=actor.may(Permission.BROADCAST),
            rate=self._rates.get(it.id) or rate_of(deps),
            ahead=timedelta() if clock is None else clock[1],
        )
