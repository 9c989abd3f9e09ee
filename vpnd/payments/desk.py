"""The payment desk: every way to pay that is set up, in one place, and what leaves the house by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define, field

from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Dead, Delivery, OutboxItem
from vpnd.payments.base import Provider
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.refunding import RefundsMoney, deliver_refund, deliver_star_cancel
from vpnd.payments.stars import NAME as STARS
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.terms import TopUps, terms_of, topups_of
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.http import HttpClient
from vpnd.shop.pricing import Method, Terms
from vpnd.shop.refunds import job_kind
from vpnd.shop.star_subscriptions import STAR_CANCEL
from vpnd.telegram.sender import Sender

__all__ = ["PaymentDesk", "open_desk"]

#: Which outbox rows one relay takes: a provider that is away pauses its own relay and nobody else's.
RELAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "stars": (job_kind("stars"), STAR_CANCEL),
    "cryptopay": (job_kind("cryptopay"),),
    "yookassa": (job_kind("yookassa"),),
}


@define(eq=False)
class PaymentDesk:
    """What is set up.

    Attributes:
        terms: the methods that are offered, in that order.
        topups: how balances may be filled.
        providers: those that are asked over HTTP, by name.
        stars: Telegram's account of Stars, once there is a way to send.
        wake: called after a refund has written something that others wait for.
    """

    db: Database
    terms: Mapping[Method, Terms]
    topups: TopUps
    cryptopay: CryptoPay | None
    yookassa: YooKassa | None
    stars: StarsAccount | None = None
    wake: Sequence[Callable[[], None]] = field(factory=tuple)

    @property
    def providers(self) -> dict[str, Provider]:
        """The providers that are asked over HTTP, by name."""
        asked: tuple[Provider | None, ...] = (self.cryptopay, self.yookassa)
        return {one.name: one for one in asked if one is not None}

    def connect_stars(self, sender: Sender) -> None:
        """Give the desk the way to Telegram."""
        self.stars = StarsAccount(sender)

    async def deliver(self, item: OutboxItem) -> Delivery:
        """Do one job that leaves by a provider: a refund, or the end of a subscription in Stars."""
        if item.kind == STAR_CANCEL:
            if self.stars is None:
                return Dead("there is no way to Telegram")
            return await deliver_star_cancel(self.stars, item)
        makers: dict[str, RefundsMoney] = dict(self.providers)
        if self.stars is not None:
            makers[STARS] = self.stars
        return await deliver_refund(self.db, makers, item, wake=self.wake)


def open_desk(settings: Settings, db: Database, http: HttpClient) -> PaymentDesk:
    """Build the desk that the settings describe. Raises ConfigError for amounts that are none of their currency."""
    crypto, card = settings.cryptopay, settings.yookassa
    cryptopay = None
    if crypto.token:
        cryptopay = CryptoPay(
            http,
            crypto.token,
            crypto.api_base,
            swap_to=crypto.swap_to,
            refunds_by_transfer=crypto.refunds_by_transfer,
        )
    yookassa = None
    if card.shop_id is not None and card.secret_key is not None:
        yookassa = YooKassa(http, card.shop_id, card.secret_key, card.api_base)
    return PaymentDesk(
        db=db,
        terms=terms_of(settings),
        topups=topups_of(settings),
        cryptopay=cryptopay,
        yookassa=yookassa,
    )
