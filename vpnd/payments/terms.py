"""On which terms this shop takes money: read from the settings once, in minor units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from attrs import frozen

from vpnd.config import ConfigError, Fault, Settings
from vpnd.shop.money import Money, MoneyError, exponent_of, parse_decimal
from vpnd.shop.pricing import STARS_CURRENCY, Method, Terms

__all__ = ["TopUps", "terms_of", "topups_of"]


@frozen
class TopUps:
    """How a balance may be filled, in minor units of the shop's currency.

    Attributes:
        presets: the amounts that are offered.
        star_worth: what one Star is worth on a balance; None: not filled in Stars.
    """

    presets: tuple[int, ...]
    least: int
    most: int
    star_worth: Decimal | None = None

    def stars_for(self, amount: int) -> int | None:
        """How many Stars fill a balance by at least so much; None where Stars are not taken for that."""
        if self.star_worth is None:
            return None
        return int((Decimal(amount) / self.star_worth).to_integral_value(ROUND_CEILING))

    def worth_of_stars(self, stars: int) -> int:
        """What so many Stars are worth on a balance."""
        return int(stars * (self.star_worth or Decimal(0)))


def terms_of(settings: Settings) -> Mapping[Method, Terms]:
    """The methods that are set up, in the order in which they are offered. Raises ConfigError."""
    currency = settings.shop.currency
    terms: dict[Method, Terms] = {}
    if settings.yookassa.shop_id is not None and settings.yookassa.secret_key is not None:
        minimum = _minor("yookassa.minimum", settings.yookassa.minimum, currency)
        terms["yookassa"] = Terms("yookassa", currency, minimum)
    if settings.cryptopay.token:
        asked = settings.cryptopay.asset or currency
        terms["cryptopay"] = Terms(
            "cryptopay", asked, _minor("cryptopay.minimum", settings.cryptopay.minimum, asked)
        )
    if settings.stars.enabled:
        terms["stars"] = Terms("stars", STARS_CURRENCY)
    terms["balance"] = Terms("balance", currency)
    return terms


def topups_of(settings: Settings) -> TopUps:
    """How balances may be filled. Raises ConfigError."""
    shop = settings.shop
    presets = tuple(_minor("shop.topups", text, shop.currency) for text in shop.topups)
    least = _minor("shop.topup_min", shop.topup_min, shop.currency)
    most = _minor("shop.topup_max", shop.topup_max, shop.currency)
    if least > most:
        raise ConfigError([Fault("shop.topup_min", shop.topup_min, "must not be above shop.topup_max")])
    worth = None
    if settings.stars.topup_rate is not None:
        # A Star may be worth a part of a minor unit, so this is no amount of money by itself.
        worth = Decimal(settings.stars.topup_rate).scaleb(exponent_of(shop.currency))
        if worth <= 0:
            raise ConfigError([Fault("stars.topup_rate", settings.stars.topup_rate, "must be above 0")])
    return TopUps(tuple(one for one in presets if least <= one <= most), least, most, worth)


def _minor(key: str, text: str, currency: str) -> int:
    """A decimal text in minor units, at least one."""
    try:
        amount: Money = parse_decimal(text, currency)
    except MoneyError as error:
        raise ConfigError([Fault(key, text, str(error))]) from None
    return max(amount.amount, 1)
