"""What the bot is built from; the daemon hands it over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen

from vpnd.bot.qr import QrDrawer
from vpnd.bot.texts import Texts
from vpnd.database.coalesce import Loader
from vpnd.database.database import Database
from vpnd.payments.cryptopay import CryptoPay
from vpnd.shop.customers import CUSTOMER_BY_TELEGRAM_ID_ANY
from vpnd.shop.purchases import Method
from vpnd.shop.settlement import SettlementResult
from vpnd.telegram.sender import Sender


def customer_loader(db: Database) -> Loader:
    """The coalescing reader of customers by Telegram id."""
    return Loader(db, "bot.customers", CUSTOMER_BY_TELEGRAM_ID_ANY, "telegram_id")


@frozen(kw_only=True)
class BotDependencies:
    """What handlers and notices work with.

    Attributes:
        customers: see `customer_loader`.
        cryptopay: None when Crypto Pay is not set up.
        currency: the shop's.
        support: whom a customer writes to, as he is shown it.
        public_url: where the subscription pages are, without a path; None when there are none.
        admins: Telegram ids of those who are told what needs a human.
        on_settled: wake-ups after a payment was settled (node sync, relay); synchronous.
        stars: whether Stars are taken, for offers with a price in them.
    """

    db: Database
    sender: Sender
    texts: Texts
    customers: Loader
    qr: QrDrawer = field(factory=QrDrawer)
    cryptopay: CryptoPay | None = None
    currency: str = "RUB"
    support: str | None = None
    public_url: str | None = None
    admins: tuple[int, ...] = ()
    stars: bool = True
    on_settled: Sequence[Callable[[SettlementResult], None]] = ()

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways to pay that are set up."""
        methods: list[Method] = []
        if self.cryptopay is not None:
            methods.append("cryptopay")
        if self.stars:
            methods.append("stars")
        return tuple(methods)
