"""Telegram as one part of the daemon: what belongs together, opened and closed together.

`open_telegram` builds the parts and keeps the lanes turning. `TelegramService.run` is the supervised child: it identifies the
bot, handles what waits in the inbox and takes in what comes, and may be run again after it has died.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import trio

from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.telegram.application import TrioApplication, build_application
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.chats import GRACE, ChatQueues
from vpnd.telegram.database_inbox import DatabaseInbox
from vpnd.telegram.errors import Rejected, RetryLater, TelegramError, Unauthorized
from vpnd.telegram.flood import FloodGuard, TooFast
from vpnd.telegram.handling import OnFailure
from vpnd.telegram.intake import BACKOFF_CAP, BACKOFF_FIRST, BACKOFF_UNAUTHORIZED, Intake
from vpnd.telegram.outage import Outage, RefusePreCheckout, RepairNotice
from vpnd.telegram.outgoing import CLOSE_TIME, build_bot
from vpnd.telegram.sender import Sender
from vpnd.telegram.store import InboxStore
from vpnd.telegram.update import ALLOWED_UPDATES

__all__ = ["Callbacks", "TelegramService", "open_telegram"]

journal = get_journal("telegram")

WEBHOOK_PATH: Final = "/webhooks/telegram"
#: Seconds in which ends of updates are gathered for one write. A kill within them costs a repeated reply at most.
GATHER: Final = 0.1


@attrs.frozen
class Callbacks:
    """What the bot has to say when something fails.

    Attributes:
        on_failure: an update's handlers failed (`UpdateDeadline` when they were cut): tell the customer. At most 5 s.
        repair_notice: chat id and update: nothing can be kept now, say that we are being repaired.
        refuse_pre_checkout: id of a pre-checkout query that cannot be checked now: answer it with a refusal.
        too_fast: an update is one too many of its sender's and not handled: tell him. At most 5 s.
    """

    on_failure: OnFailure
    repair_notice: RepairNotice
    refuse_pre_checkout: RefusePreCheckout
    too_fast: TooFast | None = None


@attrs.frozen
class TelegramService:
    """The parts, ready to run."""

    settings: Settings
    bot: TrioBot
    application: TrioApplication
    sender: Sender
    queues: ChatQueues
    intake: Intake
    guard: FloodGuard
    _troubles: list[str] = attrs.field(factory=list, init=False, repr=False)
    _intakes: list[trio.CancelScope] = attrs.field(factory=list, init=False, repr=False)

    @property
    def trouble(self) -> str:
        """Why Telegram is not heard, in a few words; empty when it is."""
        return self._troubles[0] if self._troubles else self.intake.trouble

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. `started` as soon as updates can be stored; Telegram may be away at that time.

        When cancelled, handlers get `GRACE` seconds; see `ChatQueues.run`.
        """
        task_status.started()
        await self._insist("telegram.not_identified", self.application.initialize)
        journal.info("telegram.identified", message=f"this is @{self.bot.username}", bot=self.bot.username)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.queues.run)
            with trio.CancelScope() as scope:
                self._intakes.append(scope)
                try:
                    if self.settings.telegram.mode == "polling":
                        await self.intake.poll()
                    await self._insist("telegram.webhook_not_set", self._announce_webhook)
                    await trio.sleep_forever()
                finally:
                    self._intakes.remove(scope)
            # drain() has ended the intake; the queues are at rest, and what is left is to be cancelled.
            await trio.sleep_forever()

    async def drain(self, grace: float = GRACE) -> None:
        """Take in nothing more by polling, let running handlers end within `grace` seconds, cut the rest."""
        for scope in self._intakes:
            scope.cancel()
        await self.queues.drain(grace)

    async def _announce_webhook(self) -> None:
        settings = self.settings.telegram
        secret = settings.webhook_secret
        await self.bot.call(
            "setWebhook",
            {
                "url": f"{(self.settings.http.public_url or '').rstrip('/')}{WEBHOOK_PATH}",
                "secret_token": secret.reveal() if secret else "",
                "allowed_updates": list(ALLOWED_UPDATES),
                "drop_pending_updates": False,
            },
        )
        journal.info("telegram.webhook_set", message="Telegram delivers updates to our webhook")

    async def _insist(self, event: str, function: Callable[[], Awaitable[None]]) -> None:
        """Call until it succeeds: that Telegram is away, or the token wrong, is no reason to die."""
        rng = Random()  # noqa: S311  spreads retries, guards nothing
        failures = 0
        while True:
            try:
                await function()
            except TelegramError as error:
                failures += 1
                wait = jittered_backoff(failures, BACKOFF_FIRST, BACKOFF_CAP, rng)
                if isinstance(error, Unauthorized | Rejected):
                    wait = BACKOFF_UNAUTHORIZED
                elif isinstance(error, RetryLater):
                    wait = max(wait, error.after)
                journal.error(event, message=f"will try again in {wait:.1f} s: {error}", failures=failures)
                self._troubles[:] = ["the token is refused" if isinstance(error, Unauthorized) else "away"]
                await trio.sleep(wait)
            else:
                self._troubles.clear()
                return


@asynccontextmanager
async def open_telegram(
    settings: Settings,
    db: Database | None,
    *,
    register: Callable[[TrioApplication], None],
    callbacks: Callable[[Sender], Callbacks],
    store: InboxStore | None = None,
) -> AsyncIterator[TelegramService]:
    """Build the Telegram side; the lanes turn, and messages can be sent, within the block.

    Args:
        settings: `[telegram]`, `[limits]` and `[http] public_url` are read.
        db: keeps the inbox.
        register: adds the handlers.
        callbacks: makes the callbacks, given the way to send.
        store: another inbox than the database's.

    Closing cuts no call in flight: whoever made it has been cancelled before, or ends by its own timeout.

    Raises:
        ValueError: neither `db` nor `store` is given, or the API's address is unusable.
    """
    if store is None:
        if db is None:
            raise ValueError("the inbox needs a database")
        store = DatabaseInbox(db)
    bot, lanes = build_bot(settings)
    application = build_application(bot)
    register(application)
    sender = Sender(bot, lanes)
    said = callbacks(sender)
    rest = trio.sleep if db is None else db.rest
    guard = FloodGuard(settings.limits.user_burst, settings.limits.user_per_second)
    queues = ChatQueues(
        store,
        application.dispatch,
        said.on_failure,
        rest=rest,
        guard=guard,
        too_fast=said.too_fast,
        gather=GATHER,
    )
    intake = Intake(bot, store, queues, Outage(said.repair_notice, said.refuse_pre_checkout), rest=rest)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        try:
            yield TelegramService(settings, bot, application, sender, queues, intake, guard)
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(CLOSE_TIME, shield=True):
                await application.shutdown()
