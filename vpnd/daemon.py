"""The composition root: builds the parts and lays out the nursery tree. Read it first.

`run` makes a service of it, `Daemon` holds the parts, `children` is the tree. A part is opened by an `async with` if others
need it, and runs as a supervised child. Starting order is the list's, stopping order the opposite: what brings work in stops
first, what finishes it later.

A database that is away at the start is waited for by the child `schema`; whoever needs tables waits for `Daemon.schema.ready`.
Meanwhile the bot says that it is being repaired, webhooks are put off, and `/readyz` tells why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, NoReturn

import trio
from attrs import define, field
from starlette.applications import Starlette

from vpnd.bot.connect import expired_entry
from vpnd.bot.dependencies import BotDependencies, customer_loader
from vpnd.bot.handlers import register, set_commands, tell_failure
from vpnd.bot.notices import deliver_admin_alert, deliver_message, deliver_stars_refund
from vpnd.bot.repair import refuse_pre_checkout, tell_repair
from vpnd.bot.texts import Texts
from vpnd.config import Settings
from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseError, DatabaseUnavailable
from vpnd.database.leases import Instance, Lease, instance_id
from vpnd.database.migrate import Phase
from vpnd.database.migrate import migrate as bring_up_to_date
from vpnd.database.outbox import Delivery, OutboxItem, Relay
from vpnd.monitors.lag import monitor_lag
from vpnd.nodes.client import NodeClient
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.settle import settle_charge
from vpnd.runtime import metrics
from vpnd.runtime.heap import settle_heap
from vpnd.runtime.http import HttpClient, open_http_client
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import Limits
from vpnd.runtime.sdnotify import ServiceManager
from vpnd.runtime.serve import serve_asgi
from vpnd.runtime.service import Service, run_service
from vpnd.runtime.supervisor import ChildSpec, ChildState, Stopping, Supervisor
from vpnd.runtime.worker import WorkerRunner, WorkerSpec, configured
from vpnd.shop import notices
from vpnd.shop.settlement import Charge, SettlementResult
from vpnd.shop.status import SubscriptionPage
from vpnd.telegram.application import TrioApplication
from vpnd.telegram.database_inbox import DatabaseInbox
from vpnd.telegram.errors import TelegramError
from vpnd.telegram.gate import GatedInbox
from vpnd.telegram.sender import Sender
from vpnd.telegram.service import Callbacks, TelegramService, open_telegram
from vpnd.web.apps import metrics_app, public_app
from vpnd.workers import periodic
from vpnd.workers.node_follower import NodeFollower
from vpnd.workers.numberer import Numberer
from vpnd.workers.preparation import Preparation

journal = get_journal("daemon")

#: Seconds for which READY waits for the database; then it is said with a STATUS that names what is missing.
SCHEMA_PATIENCE: Final = 3.0

#: Seconds a handler in flight gets at a stop, and after which everything else is cut.
DRAIN_GRACE: Final = 1.0

#: Seconds between two STATUS lines.
STATUS_INTERVAL: Final = 15.0


def run(settings: Settings, *, sandbox: bool = False) -> int:
    """Run the daemon until it is told to stop; return the exit code.

    Args:
        settings: what was configured.
        sandbox: whether the database may (and must) be a sandbox, whose business clock can be moved.
    """

    async def main(service: Service) -> None:
        async with open_daemon(settings, sandbox=sandbox) as daemon:
            await daemon.run(service)

    return run_service(main, log_format=settings.log.format, log_level=settings.log.level)


def migrate(settings: Settings, *, phase: Phase) -> int:
    """Bring the database's schema up to date; return the exit code."""

    async def give_up(service: Service) -> NoReturn:
        await service.stopping.wait()
        raise Interrupted("stopped before the end; what was applied stays, the rest is done by the next run")

    async def main(service: Service) -> None:
        limits = Limits(settings.limits.database, settings.limits.http)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up, service)
            async with open_database(settings.database, limits, instance_name=settings.instance.name) as db:
                applied = await bring_up_to_date(db, phase=phase)
            journal.info(
                "migrate.done", message=f"{len(applied)} migrations were applied; the schema is up to date"
            )
            nursery.cancel_scope.cancel()

    return run_service(main, log_format=settings.log.format, log_level=settings.log.level)


class Interrupted(Exception):
    """A command was told to stop before it was done."""


@asynccontextmanager
async def open_daemon(settings: Settings, *, sandbox: bool = False) -> AsyncIterator[Daemon]:
    """Build the parts of the daemon; nothing runs yet but what others need (database bridge, HTTP client, lanes)."""
    limits = Limits(
        settings.limits.database, settings.limits.http, acquire_timeout=settings.database.acquire_timeout
    )
    identity = await trio.to_thread.run_sync(instance_id, settings.instance.state_dir)
    texts = await trio.to_thread.run_sync(Texts.load, settings.shop.languages)
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
            texts=texts,
        )
        daemon.telegram = await stack.enter_async_context(
            open_telegram(
                settings,
                db,
                register=daemon.attach,
                callbacks=daemon.callbacks,
                store=GatedInbox(DatabaseInbox(db), daemon.schema.ready),
            )
        )
        settle_heap()
        yield daemon


@define(eq=False)
class Daemon:
    """The parts, and how they are wired."""

    settings: Settings
    sandbox: bool
    instance: Instance
    limits: Limits
    db: Database
    http: HttpClient
    texts: Texts
    schema: Preparation = field(init=False)
    telegram: TelegramService = field(init=False)
    bot: BotDependencies = field(init=False)
    cryptopay: CryptoPay | None = field(init=False)
    relay: Relay = field(init=False)
    numberer: Numberer = field(init=False)
    followers: list[NodeFollower] = field(init=False)
    workers: dict[str, WorkerRunner] = field(init=False)
    supervisor: Supervisor = field(init=False)
    _web_stop: Stopping = field(factory=Stopping, init=False)
    _application: TrioApplication = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Build what needs nothing to be open but the database and the HTTP client."""
        settings = self.settings
        self.schema = Preparation(self.db, settings, sandbox=self.sandbox)
        token = settings.cryptopay.token
        self.cryptopay = CryptoPay(self.http, token, settings.cryptopay.api_base) if token else None
        kinds = (notices.MESSAGE, notices.STARS_REFUND, notices.ADMIN_ALERT)
        self.relay = Relay(self.db, kinds, self._deliver, holder=f"{self.instance.name} {self.instance.id}")
        self.followers = [NodeFollower(self.db, NodeClient(node, self.http)) for node in settings.nodes]
        self.numberer = Numberer(
            self.db, self._lease("numberer"), followers=[follower.wake for follower in self.followers]
        )
        self.workers = {spec.name: self._runner(spec) for spec in self._worker_specs()}

    # ------------------------------------------------------------------ wiring

    def attach(self, application: TrioApplication) -> None:
        """Keep the dispatcher until the way to send is there; called while the Telegram side is being built."""
        self._application = application

    def callbacks(self, sender: Sender) -> Callbacks:
        """Complete the bot with the way to send, and return what it says when something fails."""
        settings = self.settings
        self.bot = BotDependencies(
            db=self.db,
            sender=sender,
            texts=self.texts,
            customers=customer_loader(self.db),
            cryptopay=self.cryptopay,
            currency=settings.shop.currency,
            support=settings.shop.support,
            public_url=settings.http.public_url,
            admins=settings.telegram.admins,
            on_settled=(self.settled,),
        )
        register(self._application, self.bot)
        return Callbacks(
            on_failure=partial(tell_failure, self.bot),
            repair_notice=partial(tell_repair, self.bot),
            refuse_pre_checkout=partial(refuse_pre_checkout, self.bot),
        )

    def settled(self, _result: SettlementResult) -> None:
        """A payment was committed: number the log, tell the nodes, send the receipt, all now."""
        self.numberer.wake()
        self.relay.wake()

    async def _settle(self, charge: Charge) -> SettlementResult:
        if not self.schema.ready.is_set():
            raise DatabaseUnavailable("the schema is not up to date yet")
        return await settle_charge(self.db, charge, on_commit=(self.settled,))

    async def _deliver(self, item: OutboxItem) -> Delivery:
        if item.kind == notices.STARS_REFUND:
            return await deliver_stars_refund(self.bot, item)
        if item.kind == notices.ADMIN_ALERT:
            delivery = await deliver_admin_alert(self.bot, item)
            self.relay.wake()
            return delivery
        return await deliver_message(self.bot, item)

    def _lease(self, name: str) -> Lease:
        return Lease(self.db, name, self.instance)

    def _worker_specs(self) -> list[WorkerSpec]:
        specs: list[WorkerSpec] = [
            periodic.expiry(self.db, wake=(self.numberer.wake, self.relay.wake)),
            periodic.purchase_expiry(self.db),
            periodic.activation(self.db, wake=self.numberer.wake),
        ]
        if self.cryptopay is not None:
            specs.append(periodic.payment_watcher(self.db, self.cryptopay, on_commit=(self.settled,)))
        return [
            configured(spec, self.settings.worker(spec.name))
            for spec in specs
            if self.settings.worker(spec.name).enabled
        ]

    def _runner(self, spec: WorkerSpec) -> WorkerRunner:
        return WorkerRunner(spec, lease=self._lease(f"worker {spec.name}"))

    # ------------------------------------------------------------------ the tree

    def children(self, service: Service) -> list[ChildSpec]:
        """Return the supervised children, in starting order."""
        manager = service.manager
        web = [ChildSpec("web", self._serve_web, may_finish=True, stopping=self._web_stop, stop_timeout=2.0)]
        if self.settings.http.metrics_listen:
            web.insert(0, ChildSpec("metrics", self._serve_metrics))
        return [
            ChildSpec("schema", self.schema.run, may_finish=True),
            ChildSpec("numberer", self._with_schema(self.numberer.run)),
            *(ChildSpec(f"node {one.node}", self._with_schema(one.run)) for one in self.followers),
            ChildSpec("outbox", self._with_schema(self.relay.run)),
            *(ChildSpec(f"worker {name}", self._with_schema(one.run)) for name, one in self.workers.items()),
            ChildSpec("recovery", self._go_on_after_outages),
            ChildSpec("lag monitor", monitor_lag),
            ChildSpec("commands", self._set_commands, may_finish=True),
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

    def _with_schema(self, run: Callable[[], Awaitable[object]]) -> Callable[..., Coroutine[Any, Any, None]]:
        async def start(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await self.schema.ready.wait()
            await run()

        return start

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
        task_status.started()
        while True:
            await service.reloads.receive()
            service.manager.reloading()
            if self.schema.ready.is_set():
                try:
                    await self.schema.apply_plans()
                except DatabaseError as error:
                    journal.error("plans.not_applied", message=f"the plans could not be applied: {error}")
            service.manager.ready(self.status_line())

    # ------------------------------------------------------------------ what is served

    async def _serve_web(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        def expired(page: SubscriptionPage) -> str:
            return expired_entry(self.texts, page.language)

        app = public_app(
            self.settings,
            self.db,
            intake=self.telegram.intake,
            settle=self._settle,
            checks={"database": self._check_database},
            expired_notice=expired,
        )
        await self._serve(app, self.settings.http.listen, task_status, until=self._web_stop.wait)

    async def _serve_metrics(
        self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await self._serve(metrics_app(), self.settings.http.metrics_listen, task_status)

    async def _serve(
        self,
        app: Starlette,
        bind: str,
        task_status: trio.TaskStatus[list[str]],
        *,
        until: Callable[[], Awaitable[object]] = trio.sleep_forever,
    ) -> None:
        await serve_asgi(
            app, [bind], shutdown_trigger=until, graceful_timeout=DRAIN_GRACE, task_status=task_status
        )

    async def _check_database(self) -> str | None:
        if not self.schema.ready.is_set():
            return self.schema.fault
        try:
            await self.db.probe()
        except DatabaseError as error:
            return str(error)
        return None

    # ------------------------------------------------------------------ what is told

    async def _set_commands(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Set the bot's menu, once; a Telegram that is away is waited for."""
        task_status.started()
        while True:
            try:
                await set_commands(self.bot)
            except TelegramError as error:
                journal.warning("telegram.commands_not_set", message=f"the bot's menu is set later: {error}")
                await trio.sleep(30)
            else:
                return

    def status_line(self) -> str:
        """Say in one line what is missing, or that nothing is."""
        missing = []
        if not self.schema.ready.is_set():
            missing.append(f"database: {self.schema.fault}")
        elif self.db.statistics().down:
            missing.append("database: away")
        missing += [
            f"{child.name}: {child.state.value}"
            for child in self.supervisor.statistics().children
            if child.state is ChildState.BACKING_OFF
        ]
        missing += [f"node {follower.node}: away" for follower in self.followers if follower.away]
        return "; ".join(missing) or f"serving customers; {len(self.followers)} nodes"

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
