"""The nursery tree: which children there are, in which order they start and stop, and what is said about them.

Starting order is the list's, stopping order the opposite: what brings work in stops first, what finishes it later.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, NoReturn

import trio
from attrs import define

from vpnd.bot.broadcast_progress import ProgressTeller
from vpnd.bot.profile import drop_profile, set_profile
from vpnd.bot.texts import CurrentTexts
from vpnd.config import Settings
from vpnd.daemon import wording
from vpnd.daemon.parts import Parts
from vpnd.daemon.reload import Reconfiguration
from vpnd.database.database import open_database
from vpnd.database.errors import DatabaseError
from vpnd.database.leases import Instance, instance_id
from vpnd.monitors.lag import monitor_lag
from vpnd.runtime import metrics
from vpnd.runtime.heap import settle_heap
from vpnd.runtime.http import open_http_client
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import Limits
from vpnd.runtime.sdnotify import ServiceManager, listen_fds
from vpnd.runtime.service import Service, run_service
from vpnd.runtime.supervisor import ChildSpec, Supervisor
from vpnd.shop.dialogs import CUSTOMER_WITH_EXPECTATION_OF_SENDER
from vpnd.telegram.database_inbox import DatabaseInbox
from vpnd.telegram.gate import GatedInbox
from vpnd.telegram.service import open_telegram
from vpnd.web.apps import metrics_app
from vpnd.web.listeners import HTTP, METRICS, binds_of, listener
from vpnd.workers.node_follower import NodeFollower
from vpnd.workers.switchboard import watch_switches

__all__ = ["Daemon", "open_daemon", "run"]

journal = get_journal("daemon")

#: Seconds for which READY waits for the database; then it is said with a STATUS that names what is missing.
SCHEMA_PATIENCE: Final = 3.0

#: Seconds a handler in flight gets at a stop, and after which everything else is cut.
DRAIN_GRACE: Final = 1.0

#: Seconds between two STATUS lines.
STATUS_INTERVAL: Final = 15.0


def run(settings: Settings, *, sandbox: bool = False, reread: Callable[[], Settings] | None = None) -> int:
    """Run the daemon until it is told to stop; return the exit code.

    Args:
        settings: what was configured.
        reread: loads the settings anew for a reload, in a thread, and raises ConfigError; None leaves them as they are.
        sandbox: whether the database may (and must) be a sandbox, whose business clock can be moved.
    """

    async def main(service: Service) -> None:
        async with open_daemon(settings, sandbox=sandbox, reread=reread) as daemon:
            await daemon.run(service)

    return run_service(main, log_format=settings.log.format, log_level=settings.log.level)


@asynccontextmanager
async def open_daemon(
    settings: Settings, *, sandbox: bool = False, reread: Callable[[], Settings] | None = None
) -> AsyncIterator[Daemon]:
    """Build the parts of the daemon; nothing runs yet but what others need (database bridge, HTTP client, lanes).

    See `run` for the arguments.
    """
    limits = Limits(
        settings.limits.database, settings.limits.http, acquire_timeout=settings.database.acquire_timeout
    )
    identity = await trio.to_thread.run_sync(instance_id, settings.instance.state_dir)
    texts = await wording.read(settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            open_database(settings.database, limits, instance_name=settings.instance.name)
        )
        http = await stack.enter_async_context(open_http_client(limits))
        daemon = Daemon(
            settings=settings,
            sandbox=sandbox,
            instance=Instance(settings.instance.name, identity),
            limits=limits,
            db=db,
            http=http,
            wording=CurrentTexts(texts),
            reread=reread,
        )
        daemon.telegram = await stack.enter_async_context(
            open_telegram(
                settings,
                db,
                register=daemon.attach,
                callbacks=daemon.callbacks,
                store=GatedInbox(
                    DatabaseInbox(db, sender=CUSTOMER_WITH_EXPECTATION_OF_SENDER), daemon.schema.ready
                ),
            )
        )
        settle_heap()
        yield daemon


@define(eq=False)
class Daemon(Parts):
    """The parts, and the tree that runs them."""

    def children(self, service: Service) -> list[ChildSpec]:
        """Return the supervised children, in starting order."""
        manager = service.manager
        http, stop = self.settings.http, self._web_stop
        binds = binds_of(http.listen, http.metrics_listen, listen_fds())
        serve = listener(self._public_app, binds[HTTP], until=stop.wait, grace=DRAIN_GRACE)
        web = [ChildSpec("web", serve, may_finish=True, stopping=stop, stop_timeout=2.0)]
        if binds[METRICS]:
            shown = listener(metrics_app, binds[METRICS], grace=DRAIN_GRACE)
            web.insert(0, ChildSpec("metrics", shown))
        return [
            ChildSpec("schema", self.schema.run, may_finish=True),
            ChildSpec("numberer", self._with_schema(self.numberer.run)),
            *(self._node(one) for one in self.followers),
            ChildSpec("outbox", self._with_schema(self.relay.run)),
            *(
                ChildSpec(f"payouts {name}", self._with_schema(one.run))
                for name, one in self.payout_relays.items()
            ),
            ChildSpec("switches", self._with_schema(partial(watch_switches, self.db, self.switches))),
            ChildSpec("texts", self._with_schema(partial(wording.watch, self.db, self.reload_texts))),
            *(ChildSpec(f"worker {name}", self._worker(one.run)) for name, one in self.workers.items()),
            ChildSpec("broadcasts", self._worker(self.broadcasts.run)),
            ChildSpec("broadcast progress", self._with_schema(ProgressTeller(self.bot).run)),
            ChildSpec("recovery", self._go_on_after_outages),
            ChildSpec("lag monitor", monitor_lag),
            ChildSpec("monitors", self.monitors.run),
            ChildSpec("control", self.control.run),
            ChildSpec("commands", self._set_commands),
            ChildSpec("telegram", self.telegram.run),
            *web,
            ChildSpec("reload", partial(self._reload_on_demand, service)),
            ChildSpec("watchdog", partial(manager.watchdog, self.db.probe)),
            ChildSpec("status", partial(self._tell_status, manager)),
        ]

    async def run(self, service: Service) -> None:
        """Run the tree until a stop is asked for.

        Raises:
            SupervisionError: children died more often than restarting can help.
        """
        self.supervisor = Supervisor(self.children(service))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_in_order, service)
            await self.supervisor.run()
            nursery.cancel_scope.cancel()

    async def _stop_in_order(self, service: Service) -> None:
        """Stop intake, let what is under way finish for a moment, then end the tree from its leaves."""
        await service.stopping.wait()
        self._web_stop.request()  # webhooks under way are settled and answered, no new ones are taken
        await self.telegram.drain(DRAIN_GRACE)
        self.supervisor.stop()

    def _node(self, follower: NodeFollower) -> ChildSpec:
        return ChildSpec(f"node {follower.node}", self._with_schema(follower.run))

    def _with_schema(self, run: Callable[[], Awaitable[object]]) -> Callable[..., Coroutine[Any, Any, None]]:
        async def start(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await self.schema.ready.wait()
            await run()

        return start

    def _worker(self, run: Callable[[], Awaitable[object]]) -> Callable[..., Coroutine[Any, Any, None]]:
        async def start() -> None:
            await self.switches.loaded.wait()  # what was paused stays so over a restart
            await run()

        return self._with_schema(start)

    async def _go_on_after_outages(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Wake who waits for another try when the database is back: a back-off is for who cannot be helped."""
        task_status.started()
        while True:
            await self.db.wait_back()
            self.telegram.queues.go_on()
            for worker in self.workers.values():
                worker.wake()

    async def _reload_on_demand(
        self, service: Service, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Read again what may change at run time: limits and nodes, the plans, the texts."""
        task_status.started()
        configuration = None if self.reread is None else Reconfiguration(self, self.reread, self._node)
        while True:
            await service.reloads.receive()
            service.manager.reloading()
            if configuration is not None:
                await configuration.run()
            if self.schema.ready.is_set():
                try:
                    await self.schema.apply_plans()
                except DatabaseError as error:
                    journal.error("plans.not_applied", message=f"the plans could not be applied: {error}")
            try:
                await self.reload_texts()
            except DatabaseError as error:
                journal.error("texts.not_reloaded", message=f"the texts stay as they were: {error}")
            service.manager.ready(self.status_line())

    async def _set_commands(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Set the bot's menu and profile, and again when its texts were read anew; a Telegram that is away is waited for."""
        task_status.started()
        spoken: tuple[str, ...] = ()
        while True:
            languages = self.texts.languages
            try:
                await set_profile(self.bot)
                for language in set(spoken) - set(languages):
                    await drop_profile(self.bot, language)
            # Also an answer that nobody can read: a bot without a menu can sell all the same.
            except Exception as error:
                journal.warning(
                    "telegram.commands_not_set", message=f"the bot's menu and profile are set later: {error}"
                )
                await trio.sleep(30)
            else:
                spoken = languages
                await self.menu_is_old.wait(math.inf)

    async def _tell_status(
        self, manager: ServiceManager, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Say READY once the tree stands, and keep the STATUS line true."""
        task_status.started()
        with trio.move_on_after(SCHEMA_PATIENCE):
            await self.schema.ready.wait()
        line = self.status_line()
        manager.ready(line)
        metrics.start_timestamp_seconds.set_to_current_time()
        journal.info("daemon.standing", message=f"the tree stands: {line}")
        while True:
            with trio.move_on_after(STATUS_INTERVAL):
                if not self.schema.ready.is_set():
                    await self.schema.ready.wait()
                else:
                    await trio.sleep_forever()
            manager.status(self.status_line())
