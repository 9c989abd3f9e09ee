"""What the bot is built from; the daemon hands it over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import time
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen

from vpnd.bot.charts import ChartDrawer
from vpnd.bot.qr import QrDrawer
from vpnd.bot.reading import portfolio_loader
from vpnd.bot.texts import CurrentTexts, Texts, as_current
from vpnd.config import AlertsSettings, QuietHours
from vpnd.database.coalesce import Loader, RowsLoader, Shared
from vpnd.database.database import Database
from vpnd.payments.base import Provider
from vpnd.payments.terms import TopUps
from vpnd.shop.dialogs import CUSTOMER_WITH_EXPECTATION_ANY
from vpnd.shop.nodes import KnownNode, known_nodes
from vpnd.shop.plans import Offer, offers_on_sale
from vpnd.shop.pricing import Method, Terms
from vpnd.shop.settlement import SettlementResult
from vpnd.shop.switches import PAY, Switchboard
from vpnd.shop.trial import TrialTerms
from vpnd.telegram.sender import Sender


def customer_loader(db: Database) -> Loader:
    """The coalescing reader of customers by Telegram id, with what is expected of them."""
    return Loader(db, "bot.customers", CUSTOMER_WITH_EXPECTATION_ANY, "telegram_id")


def shared_catalogue(db: Database, *, fresh: float = 0.0) -> Shared[list[Offer]]:
    """What is on sale, read for all who look at it within `fresh` seconds."""
    return Shared(lambda: offers_on_sale(db), fresh=fresh)


def shared_nodes(db: Database, *, fresh: float = 0.0) -> Shared[list[KnownNode]]:
    """The nodes that links are made for, likewise."""
    return Shared(lambda: known_nodes(db), fresh=fresh)


async def no_picture() -> Mapping[str, Any]:
    """The picture of a bot that runs without a daemon: nothing is known."""
    return {}


async def keep_texts() -> None:
    """The texts of a bot that runs without a daemon: they stay as they are."""


@frozen(kw_only=True)
class BotDependencies:
    """What handlers and notices work with.

    Attributes:
        wording: the texts in force, which a reload exchanges; `texts` are those of this moment.
        customers: see `customer_loader`.
        catalogue: what is on sale, for screens; what is bought is looked up where it is bought.
        nodes: the nodes that told how to connect to them, for screens.
        portfolios: the joined read of what each customer has, for screens.
        providers: those that are asked over HTTP, by name.
        set_up: the methods that are set up, in the order in which they are offered; the balance always is. Those of them that
            are not switched off are `terms`.
        topups: how balances may be filled.
        star_subscriptions: whether Telegram may charge Stars every month by itself.
        currency: the shop's.
        support: whom a customer writes to, as he is shown it.
        terms_url: where the terms are that a customer buys on, if they are written down.
        public_url: where the subscription pages are, without a path; None when there are none.
        admins: Telegram ids of those who are told what needs a human, and who may give money back and pause things.
        alerts: the group that operators are told in; without one each is told in private.
        trial: what is tried and for how long; 0 hours: there is no trial.
        time_zone, quiet_hours: when reminders wait, for customers who have not chosen.
        switches: what is paused, and the incident's banner, as a snapshot that costs no read.
        picture: the daemon at a glance, as `vpnd.monitors.picture` puts it together.
        texts_dir: the folder of texts that the operator has written himself.
        reload_texts: reads all texts anew, those that were written in the bot too, and has them count at once.
        on_settled: wake-ups after a payment was settled (node sync, relay); synchronous.
        export_asked: wakes what makes exports; synchronous.
        wake: the same after anything else that nodes, providers or customers wait for.
    """

    db: Database
    sender: Sender
    wording: CurrentTexts = field(alias="texts", converter=as_current)
    customers: Loader
    set_up: Mapping[Method, Terms] = field(alias="terms")
    topups: TopUps
    qr: QrDrawer = field(factory=QrDrawer)
    charts: ChartDrawer = field(factory=ChartDrawer)
    providers: Mapping[str, Provider] = field(factory=dict)
    star_subscriptions: bool = True
    currency: str = "RUB"
    support: str | None = None
    terms_url: str | None = None
    public_url: str | None = None
    admins: tuple[int, ...] = ()
    alerts: AlertsSettings = field(factory=AlertsSettings)
    trial: TrialTerms = field(default=Factory(lambda: TrialTerms(0)))
    time_zone: str = "UTC"
    quiet_hours: QuietHours = (time(22), time(9))
    catalogue: Shared[list[Offer]] = field(
        default=Factory(lambda self: shared_catalogue(self.db), takes_self=True)
    )
    nodes: Shared[list[KnownNode]] = field(
        default=Factory(lambda self: shared_nodes(self.db), takes_self=True)
    )
    portfolios: RowsLoader = field(
        default=Factory(lambda self: portfolio_loader(self.db, self.currency), takes_self=True)
    )
    switches: Switchboard = field(default=Factory(lambda self: Switchboard(self.db, {}), takes_self=True))
    picture: Callable[[], Awaitable[Mapping[str, Any]]] = no_picture
    texts_dir: Path | None = None
    reload_texts: Callable[[], Awaitable[None]] = keep_texts
    on_settled: Sequence[Callable[[SettlementResult], None]] = ()
    wake: Sequence[Callable[[], None]] = ()
    export_asked: Callable[[], None] = lambda: None

    @property
    def texts(self) -> Texts:
        """What is said at this moment. Whoever says several things keeps what it was given first: a `Speech`."""
        return self.wording.texts

    @property
    def terms(self) -> dict[Method, Terms]:
        """The methods that are offered now."""
        snapshot = self.switches.snapshot
        return {method: own for method, own in self.set_up.items() if not snapshot.paused(PAY + method)}

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways to pay that are set up."""
        return tuple(self.set_up)

    @property
    def banner(self) -> str | None:
        """What the screens begin with while something is wrong."""
        banner = self.switches.snapshot.banner
        return None if banner is None else banner.text

    @property
    def return_url(self) -> str:
        """Where a payer is sent back to from a provider's own page: the bot."""
        return f"https://t.me/{self.sender.bot.username}"

    def wake_all(self) -> None:
        """Tell who waits that something was committed."""
        for wake in self.wake:
            wake()
