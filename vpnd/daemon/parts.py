"""The parts of the daemon, and how they are wired: what there is, before anything runs.

A part is opened by an `async with` if others need it (`vpnd.daemon.tree.open_daemon`), and runs as a supervised child.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import asdict, define, field
from starlette.applications import Starlette

from vpnd.bot.alert_posts import deliver_admin_alert, deliver_alert_post
from vpnd.bot.broadcasting import deliver_broadcast
from vpnd.bot.connect import expired_entry, open_words
from vpnd.bot.dependencies import BotDependencies, customer_loader, shared_catalogue, shared_nodes
from vpnd.bot.exporting import deliver_export
from vpnd.bot.handlers import register, tell_failure
from vpnd.bot.notices import deliver_message
from vpnd.bot.patience import tell_too_fast
from vpnd.bot.repair import refuse_pre_checkout, tell_repair
from vpnd.bot.texts import CurrentTexts, Texts
from vpnd.config import NodeSettings, Settings
from vpnd.daemon import wording
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError, DatabaseUnavailable
from vpnd.database.leases import Instance, Lease
from vpnd.database.outbox import Delivery, OutboxItem, Relay
from vpnd.monitors.picture import AuditCommand, Picture
from vpnd.monitors.service import Monitors
from vpnd.nodes.client import NodeClient
from vpnd.payments.base import ProviderRefund
from vpnd.payments.desk import RELAYS, PaymentDesk, open_desk
from vpnd.payments.reconcile import book_provider_refund
from vpnd.payments.settle import settle_charge
from vpnd.runtime.control import ControlServer, control_path
from vpnd.runtime.http import HttpClient
from vpnd.runtime.limits import Limits
from vpnd.runtime.supervisor import ChildState, Stopping, Supervisor
from vpnd.runtime.wake import Wake
from vpnd.runtime.worker import WorkerRunner
from vpnd.shop import notices
from vpnd.shop.alerts import open_alarms
from vpnd.shop.broadcast_content import variant
from vpnd.shop.broadcast_rows import Claimed
from vpnd.shop.export_requests import ExportRequest, Problem
from vpnd.shop.exports import Exported
from vpnd.shop.settlement import Charge, SettlementResult
from vpnd.shop.status import SubscriptionPage
from vpnd.shop.switches import Pausable, Switchboard
from vpnd.shop.takings import takings_today
from vpnd.shop.trial import TrialTerms
from vpnd.telegram.application import TrioApplication
from vpnd.telegram.outgoing import broadcasts_at_once
from vpnd.telegram.sender import Sender
from vpnd.telegram.service import Callbacks, TelegramService
from vpnd.web.apps import public_app
from vpnd.web.open_app import OpenPage
from vpnd.workers.broadcast import BroadcastRunner
from vpnd.workers.node_follower import NodeFollower
from vpnd.workers.numberer import Numberer
from vpnd.workers.preparation import Preparation
from vpnd.workers.roster import Wakes, worker_roster

__all__ = ["Parts"]

#: Seconds for which screens show the same plans and nodes without asking again: a price is looked up anew where it is paid.
SCREENS_FRESH: Final = 1.0


@define(eq=False)
class Parts:
    """The parts, and how they are wired."""

    settings: Settings
    sandbox: bool
    instance: Instance
    limits: Limits
    db: Database
    http: HttpClient
    wording: CurrentTexts
    reread: Callable[[], Settings] | None = None
    config_fault: str = field(default="", init=False)
    schema: Preparation = field(init=False)
    telegram: TelegramService = field(init=False)
    bot: BotDependencies = field(init=False)
    desk: PaymentDesk = field(init=False)
    relay: Relay = field(init=False)
    payout_relays: dict[str, Relay] = field(init=False)
    numberer: Numberer = field(init=False)
    clients: list[NodeClient] = field(init=False)
    followers: list[NodeFollower] = field(init=False)
    workers: dict[str, WorkerRunner] = field(factory=dict, init=False)
    broadcasts: BroadcastRunner = field(init=False)
    switches: Switchboard = field(init=False)
    monitors: Monitors = field(init=False)
    picture: Picture = field(init=False)
    control: ControlServer = field(init=False)
    supervisor: Supervisor = field(init=False)
    menu_is_old: Wake = field(factory=Wake, init=False)
    _web_stop: Stopping = field(factory=Stopping, init=False)
    _application: TrioApplication = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Build what needs nothing to be open but the database and the HTTP client."""
        settings = self.settings
        self.schema = Preparation(self.db, settings, sandbox=self.sandbox)
        self.desk = open_desk(settings, self.db, self.http)
        holder = f"{self.instance.name} {self.instance.id}"
        kinds = (notices.MESSAGE, notices.ADMIN_ALERT, notices.ALERT_POST)
        self.relay = Relay(self.db, kinds, self._deliver, holder=holder)
        self.payout_relays = {
            name: Relay(self.db, kinds, self.desk.deliver, holder=holder) for name, kinds in RELAYS.items()
        }
        self.desk.wake = (self.relay.wake,)
        self.clients, self.followers = [], []
        for node in settings.nodes:
            self.hire_follower(node)
        self.numberer = Numberer(self.db, self._lease("numberer"), followers=[self._wake_followers])
        self._watch_itself(kinds)

    def _watch_itself(self, kinds: tuple[str, ...]) -> None:
        """Build what looks at the daemon: monitors, the picture for operators, the control socket."""
        settings = self.settings

        def runners() -> list[WorkerRunner]:
            return list(self.workers.values())

        self.monitors = Monitors(
            self.db,
            self._tell_alarms,
            instance=self.instance.name,
            kinds=(*kinds, *(kind for of_relay in RELAYS.values() for kind in of_relay)),
            nodes=[node.name for node in settings.nodes],
            workers=runners,
            tables=self.schema.ready,
            standing=partial(open_alarms, self.db),
        )
        self.picture = Picture(
            instance=self.instance.name,
            monitors=self.monitors,
            limits=self.limits,
            db=self.db,
            workers=runners,
            supervisor=lambda: self.supervisor,
            status_line=self.status_line,
        )
        self.picture.add("lanes", lambda: asdict(self.telegram.sender.statistics()))
        self.picture.add("money", self._takings)
        self.picture.add("switches", self._paused)
        self.control = ControlServer(
            control_path(os.environ, settings.instance.state_dir),
            {
                "status": self.picture.command,
                "audit": AuditCommand(lambda: self.telegram.sender.statistics()),  # noqa: PLW0108 (not there yet)
            },
        )

    # ------------------------------------------------------------------ wiring

    def hire_follower(self, node: NodeSettings) -> NodeFollower:
        """Build what talks to a node; who runs the follower is the tree."""
        client = NodeClient(node, self.http)
        follower = NodeFollower(self.db, client, alert=self.relay.wake)
        self.clients.append(client)
        self.followers.append(follower)
        return follower

    def _wake_followers(self) -> None:
        for follower in self.followers:
            follower.wake()

    def attach(self, application: TrioApplication) -> None:
        """Keep the dispatcher until the way to send is there; called while the Telegram side is being built."""
        self._application = application

    def callbacks(self, sender: Sender) -> Callbacks:
        """Complete the bot with the way to send, and return what it says when something fails."""
        settings = self.settings
        self.desk.connect_stars(sender)
        self._hire()
        self.bot = BotDependencies(
            db=self.db,
            sender=sender,
            texts=self.wording,
            customers=customer_loader(self.db),
            catalogue=shared_catalogue(self.db, fresh=SCREENS_FRESH),
            nodes=shared_nodes(self.db, fresh=SCREENS_FRESH),
            providers=self.desk.providers,
            terms=self.desk.terms,
            topups=self.desk.topups,
            star_subscriptions=settings.stars.subscriptions,
            currency=settings.shop.currency,
            support=settings.shop.support,
            terms_url=settings.shop.terms_url,
            public_url=settings.http.public_url,
            admins=settings.telegram.admins,
            alerts=settings.alerts,
            trial=TrialTerms(settings.trial.hours, settings.trial.plan),
            time_zone=settings.shop.time_zone,
            quiet_hours=settings.shop.quiet_hours,
            switches=self.switches,
            picture=self.picture.take,
            texts_dir=settings.shop.texts_dir,
            reload_texts=self.reload_texts,
            on_settled=(self.settled,),
            wake=(self.changed, self.renew, self.broadcasts.wake),
            export_asked=self._export_asked,
        )
        register(self._application, self.bot)
        return Callbacks(
            on_failure=partial(tell_failure, self.bot),
            repair_notice=partial(tell_repair, self.bot),
            refuse_pre_checkout=partial(refuse_pre_checkout, self.bot),
            too_fast=partial(tell_too_fast, self.bot),
        )

    @property
    def texts(self) -> Texts:
        """The texts in force; a reload exchanges them."""
        return self.wording.texts

    async def reload_texts(self) -> None:
        """Read all texts anew and have them count; handlers that run keep those that they began with.

        Raises DatabaseError: the texts stay as they were.
        """
        self.wording.texts = await wording.read(
            self.settings, self.db if self.schema.ready.is_set() else None
        )
        self.menu_is_old()

    def settled(self, result: SettlementResult) -> None:
        """A payment was committed: number the log, tell the nodes, send the receipt, renew what waited for it, all now."""
        self.changed()
        if result.credited:
            self.renew()

    def renew(self) -> None:
        """A balance has grown: whose renewal waits for it is renewed now."""
        if "renewal" in self.workers:
            self.workers["renewal"].wake()

    def changed(self) -> None:
        """Something was committed that nodes, customers or providers wait for."""
        self.numberer.wake()
        for relay in (self.relay, *self.payout_relays.values()):
            relay.wake()

    async def _settle(self, charge: Charge) -> SettlementResult:
        if not self.schema.ready.is_set():
            raise DatabaseUnavailable("the schema is not up to date yet")
        return await settle_charge(self.db, charge, on_commit=(self.settled,))

    async def _refunded(self, provider: str, refund: ProviderRefund) -> None:
        """A provider reports a refund: ours has arrived, or one was made by hand."""
        if not self.schema.ready.is_set():
            raise DatabaseUnavailable("the schema is not up to date yet")
        await book_provider_refund(self.db, provider, refund)
        self.changed()

    async def _deliver(self, item: OutboxItem) -> Delivery:
        if item.kind == notices.ADMIN_ALERT:
            delivery = await deliver_admin_alert(self.bot, item)
            self.relay.wake()
            return delivery
        if item.kind == notices.ALERT_POST:
            delivery = await deliver_alert_post(self.bot, item)
            self.relay.wake()
            return delivery
        return await deliver_message(self.bot, item)

    def _lease(self, name: str) -> Lease:
        return Lease(self.db, name, self.instance)

    def _hire(self) -> None:
        """Build the workers and the broadcasts' runner, and the switches that pause them."""
        wakes = Wakes(
            nodes=self.numberer.wake,
            messages=self.relay.wake,
            settled=self.settled,
            export=self._export,
        )
        specs = worker_roster(self.settings, self.db, self.desk, self.clients, wakes)
        self.workers = {
            spec.name: WorkerRunner(spec, lease=self._lease(f"worker {spec.name}"), turn=self.db.turns)
            for spec in specs
        }
        self.broadcasts = BroadcastRunner(
            self.db,
            self._broadcast,
            lease=self._lease("broadcast"),
            holder=f"{self.instance.name} {self.instance.id}",
            concurrency=broadcasts_at_once(self.settings.limits.telegram_per_second),
        )
        pausable: dict[str, Pausable] = {**self.workers, "broadcast": self.broadcasts}
        self.switches = Switchboard(self.db, pausable)

    async def _broadcast(self, content: Mapping[str, Any], claimed: Claimed) -> Delivery:
        part = variant(content, has_b=claimed.has_b)
        return await deliver_broadcast(self.bot, part, claimed.telegram_id, claimed.language)

    async def _export(self, request: ExportRequest, path: Path, made: Exported | Problem) -> bool:
        return await deliver_export(self.bot, request, path, made)

    def _export_asked(self) -> None:
        if "exports" in self.workers:
            self.workers["exports"].wake()

    async def _tell_alarms(self, key: str, args: Mapping[str, Any]) -> None:
        async with self.db.transaction("alarms.tell") as tx:
            await notices.put_all(tx, [notices.admin_alert(key, "alarms", args)])
        self.relay.wake()

    async def _takings(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in await takings_today(self.db)]

    def _paused(self) -> dict[str, str]:
        return {
            switch.name: f"paused by {switch.changed_by}" + (f": {switch.reason}" if switch.reason else "")
            for switch in self.switches.snapshot.all_paused
        }

    # ------------------------------------------------------------------ what is served

    def _public_app(self) -> Starlette:
        def expired(page: SubscriptionPage) -> str:
            return expired_entry(self.texts, page.language, blocked=page.blocked_at is not None)

        def open_page(language: str, importer: str) -> OpenPage:
            return OpenPage(*open_words(self.texts, language, importer))

        return public_app(
            self.settings,
            self.db,
            intake=self.telegram.intake,
            settle=self._settle,
            checks={"database": self._check_database},
            expired_notice=expired,
            open_words=open_page,
            yookassa=self.desk.yookassa,
            refunded=partial(self._refunded, "yookassa"),
        )

    async def _check_database(self) -> str | None:
        if not self.schema.ready.is_set():
            return self.schema.fault
        try:
            await self.db.probe()
        except DatabaseError as error:
            return str(error)
        return None

    def status_line(self) -> str:
        """Say in one line whether customers are served, or why not, and what is wrong beside that."""
        away = []
        if not self.schema.ready.is_set():
            away.append(f"database: {self.schema.fault}")
        elif self.db.statistics().down:
            away.append("database: away")
        if trouble := self.telegram.trouble:
            away.append(f"telegram: {trouble}")
        wrong = [
            f"{child.name}: {child.state.value}"
            for child in self.supervisor.statistics().children
            if child.state is ChildState.BACKING_OFF
        ]
        wrong += [f"node {follower.node}: away" for follower in self.followers if follower.away]
        wrong += [f"node {follower.node}: stopped" for follower in self.followers if follower.stopped]
        if paused := sorted(switch.name for switch in self.switches.snapshot.all_paused):
            wrong.append(f"paused: {', '.join(paused)}")
        if self.config_fault:
            wrong.append(self.config_fault)
        count = len(self.followers)
        serving = f"serving customers; {count} {'node' if count == 1 else 'nodes'}"
        return "; ".join([*(away or [serving]), *wrong])
