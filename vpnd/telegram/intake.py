"""The way in: an update is stored before anybody upstream may forget it.

By polling, an offset is confirmed by asking for the next one, so the next question is asked after the batch was stored. By
webhook, the answer 200 is given after `accept` has returned. Either way the queues get the update only then.

Storing may fail without our knowing whether it happened (a cancellation, a lost connection). The update will come again and be
no news then; so the queues are told to look into the table for themselves from its number on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, NoReturn

import attrs
import trio

from vpnd.database import Row
from vpnd.database.errors import CommitUnknown, DatabaseError, IntegrityError, QueryError
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.chats import ChatQueues
from vpnd.telegram.errors import Conflict, RetryLater, TelegramError, Unauthorized
from vpnd.telegram.outage import Outage
from vpnd.telegram.store import InboxStore, Rest
from vpnd.telegram.update import ALLOWED_UPDATES, StoredUpdate, parse_update

__all__ = ["InboxUnavailable", "Intake"]

journal = get_journal("telegram")

#: Telegram's most per getUpdates.
BATCH: Final = 100
#: Seconds Telegram holds a poll open when there is nothing (its own limit is 50).
POLL_SECONDS: Final = 30
#: Seconds beyond that after which a poll counts as dead: a silent connection is not waited for.
POLL_SLACK: Final = 10.0
#: What a webhook's sender is asked to wait, in seconds.
RETRY_AFTER: Final = 5
BACKOFF_FIRST, BACKOFF_CAP = 0.5, 15.0
#: A second poller, or a wrong token, needs a person. Telegram slows pollers that conflict by 3 s itself.
BACKOFF_CONFLICT, BACKOFF_UNAUTHORIZED = 5.0, 30.0


class InboxUnavailable(Exception):
    """An update that carries money cannot be kept now; its sender should try again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the inbox is out of reach; try again in {retry_after} s")
        self.retry_after = retry_after


class Intake:
    """Stores updates and hands them to the queues.

    Args:
        bot: asks Telegram.
        store: the inbox.
        queues: get what was stored.
        outage: tells people when nothing can be stored.
        rng: the source of chance for back-off.
        rest: sleeps after the store has failed, for so many seconds or until it is back.
    """

    def __init__(
        self,
        bot: TrioBot,
        store: InboxStore,
        queues: ChatQueues,
        outage: Outage,
        *,
        rng: Random | None = None,
        rest: Rest = trio.sleep,
    ) -> None:
        self._bot = bot
        self._store = store
        self._queues = queues
        self._outage = outage
        self._rest = rest
        self._rng = rng or Random()  # noqa: S311  spreads retries, guards nothing
        #: Why no updates can be fetched; empty when they can, or come by webhook.
        self.trouble = ""

    # ------------------------------------------------------------------ webhook

    async def accept(self, update: dict[str, Any]) -> None:
        """Take in one update that came by webhook; return when it is stored, or when it cannot be and is no loss.

        Raises:
            InboxUnavailable: there is no database and the update carries money: it must be sent again.
            ValueError: it has no update_id.
        """
        parsed = parse_update(update)
        try:
            await self._keep([parsed])
        except DatabaseError as error:
            self._outage.began(error)
            if parsed.carries_money:
                raise InboxUnavailable(RETRY_AFTER) from error
            await self._outage.tell([parsed])

    # ------------------------------------------------------------------ polling

    async def poll(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Ask Telegram for updates and store them, until cancelled. Telegram being away is waited for.

        A webhook that is set is removed first, without dropping what waits behind it.
        """
        task_status.started()
        offset = 0
        failures = 0
        webhook_gone = False
        while True:
            try:
                if not webhook_gone:
                    await self._bot.call("deleteWebhook", {"drop_pending_updates": False})
                    webhook_gone = True
                batch = await self._ask(offset)
            except TelegramError as error:
                failures += 1
                self.trouble = _trouble(error) if failures > 1 else ""
                webhook_gone = webhook_gone and not isinstance(error, Conflict)
                await trio.sleep(self._explain(error, failures))
                continue
            self.trouble = ""
            if not batch:
                failures = 0
                continue
            confirmed = await self._take_batch(batch)
            if confirmed == batch[-1].update_id:
                failures = 0
            else:
                failures += 1
                await self._rest(jittered_backoff(failures, BACKOFF_FIRST, BACKOFF_CAP, self._rng))
            offset = max(offset, confirmed + 1)

    async def _ask(self, offset: int) -> list[StoredUpdate]:
        parameters: dict[str, Any] = {
            "limit": BATCH,
            "timeout": POLL_SECONDS,
            "allowed_updates": list(ALLOWED_UPDATES),
        }
        if offset:
            parameters["offset"] = offset
        answer = await self._bot.call("getUpdates", parameters, timeout=POLL_SECONDS + POLL_SLACK)
        return [parse_update(update) for update in answer]

    def _explain(self, error: TelegramError, failures: int) -> float:
        """Write a line about a failed poll; return how many seconds to wait."""
        wait = jittered_backoff(failures, BACKOFF_FIRST, BACKOFF_CAP, self._rng)
        if isinstance(error, Conflict):
            journal.error(
                "telegram.conflict",
                message="another program takes this bot's updates (a second poller, or a webhook that was set): "
                "stop it, or each of us gets a part of them",
                detail=str(error),
            )
            return max(wait, BACKOFF_CONFLICT)
        if isinstance(error, Unauthorized):
            journal.error(
                "telegram.unauthorized",
                message="Telegram refuses the bot's token: check telegram.token against @BotFather",
            )
            return max(wait, BACKOFF_UNAUTHORIZED)
        if isinstance(error, RetryLater):
            return max(wait, error.after)
        # The first failure is ordinary life on a network.
        say = journal.debug if failures == 1 else journal.warning
        say("telegram.poll_failed", message=f"updates could not be fetched: {error}", failures=failures)
        return wait

    async def _take_batch(self, batch: list[StoredUpdate]) -> int:
        """Store a batch; return the highest id that may be confirmed: all of it, or what is before the first money."""
        try:
            await self._keep(batch)
        except DatabaseError as error:
            self._outage.began(error)
            await self._outage.tell(batch)
            money = next((number for number, update in enumerate(batch) if update.carries_money), len(batch))
            return batch[money - 1].update_id if money else batch[0].update_id - 1
        return batch[-1].update_id

    # ------------------------------------------------------------------ both

    async def _keep(self, batch: Sequence[StoredUpdate]) -> None:
        """Store and hand over.

        Raises:
            DatabaseError: nothing was stored, or it is unknown whether.
        """
        alone = self._queues.alone(batch)
        try:
            new = await self._store_insisting(batch)
        except (IntegrityError, QueryError) as error:
            if not _speaks_of_the_data(error):
                raise  # a missing table, say: it will be there after the migration, and so must the updates be
            await self._keep_one_by_one(batch, error)
            return
        except BaseException:
            self._queues.fall_behind(min(update.update_id for update in batch))
            raise
        self._hand_over([_with_sender(update, new, alone) for update in batch], new)

    async def _store_insisting(self, batch: Sequence[StoredUpdate]) -> Mapping[int, Row | None]:
        """Store, and once more when the connection was lost under it: that is no reason to tell anybody of an outage."""
        try:
            return await self._store.store(batch)
        except CommitUnknown:
            # What the first attempt did store is no news for the second one: the queues find it in the table.
            self._queues.fall_behind(min(update.update_id for update in batch))
            return await self._store.store(batch)

    async def _keep_one_by_one(self, batch: Sequence[StoredUpdate], error: DatabaseError) -> None:
        """The database refuses something in this batch, and would for ever: find it and leave it out."""
        if len(batch) > 1:
            for update in batch:
                await self._keep([update])
            return
        journal.error(
            "telegram.update_refused",
            message=f"an update cannot be stored and is left out: {error}",
            update_id=batch[0].update_id,
            kind=batch[0].kind,
        )
        metrics.telegram_updates_total.labels(_label(batch[0].kind), "refused").inc()

    def _hand_over(self, batch: Sequence[StoredUpdate], new: Mapping[int, Row | None]) -> None:
        self._outage.ended()
        if len(new) == len(batch):
            self._queues.offer(batch)
            return
        for update in batch:
            if update.update_id not in new:
                metrics.telegram_updates_total.labels(_label(update.kind), "duplicate").inc()
        self._queues.offer([update for update in batch if update.update_id in new])


def _with_sender(update: StoredUpdate, new: Mapping[int, Row | None], alone: set[int]) -> StoredUpdate:
    """Give an update what was read of its sender. Not where another update of his may have changed it since."""
    sender = new.get(update.update_id) if update.update_id in alone else None
    return update if sender is None else attrs.evolve(update, sender=sender)


def _speaks_of_the_data(error: DatabaseError) -> bool:
    """Say whether what is wrong is a value in the batch (a null character, a number too large) and will always be."""
    if isinstance(error, QueryError):
        # Class 22 is "data exception"; the driver's own check of an argument carries no code.
        return (
            error.message.startswith("argument")
            if error.sqlstate is None
            else error.sqlstate.startswith("22")
        )
    return True


def _trouble(error: TelegramError) -> str:
    """Say in a few words why updates cannot be fetched."""
    if isinstance(error, Conflict):
        return "another program takes the bot's updates"
    return "the token is refused" if isinstance(error, Unauthorized) else "away"


def _label(kind: str) -> str:
    return kind if kind in metrics.UPDATE_KINDS else "other"
