"""The settings of what is sold and how it is paid: shop, trial, referrals, and a section for each provider."""

# ruff: noqa: RUF009 - `key` returns attrs fields, which are what belongs on the right side

import re
from datetime import time
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import attrs

from vpnd.config.kinds import Kind, RefusalError, Secret, choice, flag, integer, list_of, path, text, url
from vpnd.config.reader import key

#: From and to, in local time; equal: never.
QuietHours = tuple[time, time]

NEVER_QUIET: Final[QuietHours] = (time(0), time(0))

_TOKEN: Final = text("token", r"\S{1,512}", "must be up to 512 characters without a space")
_CURRENCY: Final = text(
    "currency code", r"[A-Z]{3,5}", 'must be a currency code of capital letters, like "RUB"'
)
_COIN: Final = text("coin", r"[A-Z][A-Z0-9]{1,15}", 'must be a coin in capital letters, like "USDT"')
_LANGUAGE: Final = text(
    "language code", r"[a-z]{2}", 'must be a language code of two lower-case letters, like "en"'
)


#: Amounts are decimal texts: what a minor unit is depends on the currency, which is known where they are used.
_AMOUNT: Final = text(
    "amount", r"\d{1,12}(\.\d{1,9})?", 'must be a plain decimal number in quotes, like "250" or "0.50"'
)


#: What may be opened: a web address, or a Telegram name.
_WEB_ADDRESS: Final = re.compile(r"https?://[!-~]+")
_TELEGRAM_NAME: Final = re.compile(r"@?([A-Za-z][A-Za-z0-9_]{3,31})")


def contact_link(contact: str | None) -> str | None:
    """Return where a contact is reached: a link as it is, a @name as its t.me address; None for other words."""
    if contact is None or _WEB_ADDRESS.fullmatch(contact):
        return contact
    name = _TELEGRAM_NAME.fullmatch(contact)
    return f"https://t.me/{name[1]}" if name else None


def _level(value: Any, _textual: bool) -> tuple[int, int]:
    paying, _, percent = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (paying.isdecimal() and percent.isdecimal() and len(paying) <= 6 and 1 <= int(percent) <= 99):
        raise RefusalError('must be "<paying referrals>:<percent 1 to 99>", like "25:10"')
    return int(paying), int(percent)


def _quiet_hours(value: Any, _textual: bool) -> QuietHours:
    if value == "off":
        return NEVER_QUIET
    found = (
        re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", value)
        if isinstance(value, str)
        else None
    )
    if found is None:
        raise RefusalError('must look like "22:00-09:00", or be "off"')
    hours = [int(part) for part in found.groups()]
    return time(hours[0], hours[1]), time(hours[2], hours[3])


def _time_zone(value: Any, _textual: bool) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", value):
        raise RefusalError('must be a time zone by its name, like "Europe/Berlin"')
    # A machine without the list of zones cannot judge; PostgreSQL has its own.
    if available_timezones():
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise RefusalError('is no time zone; it is named like "Europe/Berlin"') from None
    return value


@attrs.frozen(kw_only=True)
class ShopSettings:
    """What is sold, in which money and languages."""

    currency: str = key(_CURRENCY, "Currency of prices and balances.", "RUB")
    languages: tuple[str, ...] = key(
        list_of(_LANGUAGE, least=1),
        "Languages of the bot; the first one is spoken to strangers.",
        ("en", "ru"),
    )
    support: str | None = key(text(), "Whom a customer writes to for help: @username or a link.", None)
    plans: Path | None = key(
        path(),
        "The plans file; it is applied at start and on SIGHUP to plans nobody edited since.",
        None,
        shown_default="plans.toml beside the configuration, if there is one",
    )
    topups: tuple[str, ...] = key(
        list_of(_AMOUNT),
        "Amounts offered for filling the balance, in the shop's currency.",
        ("250", "750", "1500"),
    )
    topup_min: str = key(_AMOUNT, "Least that a balance may be filled by.", "50")
    topup_max: str = key(_AMOUNT, "Most that a balance may be filled by at once.", "100000")
    time_zone: str = key(
        Kind("time zone", _time_zone), "Time zone of customers who have not chosen their own.", "UTC"
    )
    quiet_hours: QuietHours = key(
        Kind("from-to", _quiet_hours),
        'When reminders wait, in the customer\'s time zone, unless he has chosen other hours; "off": never.',
        (time(22), time(9)),
        shown_default='"22:00-09:00"',
    )
    texts_dir: Path | None = key(
        path(),
        "Folder of your own texts, a file a language (`en.ftl`) with what you change; read at start and on SIGHUP.",
        None,
    )
    terms_url: str | None = key(
        url("https", plain_on_loopback=False),
        "The terms on which is sold; shown where customers buy, and in help.",
        None,
    )


@attrs.frozen(kw_only=True)
class TrialSettings:
    """Access for nothing, once a customer, for who has never had any; off without hours."""

    hours: int = key(integer(0, 8760), "How many hours it lasts; 0: there is no trial.", 0)
    plan: str | None = key(
        text("plan", r"[a-z][a-z0-9_]{0,31}", "must be the id of a plan"),
        "Plan that is tried; otherwise the first on sale.",
        None,
    )


@attrs.frozen(kw_only=True)
class ReferralSettings:
    """Rewards for customers whose guests pay; off without levels."""

    levels: tuple[tuple[int, int], ...] = key(
        list_of(Kind("level", _level)),
        'Percent of a guest\'s own money that his host gets as bonus, by how many paying guests he has: "0:10" is 10 % '
        "from the first on.",
        (),
    )


@attrs.frozen(kw_only=True)
class StarsSettings:
    """Payments in Telegram Stars, for offers with a price in XTR."""

    enabled: bool = key(flag(), "Whether the method is offered.", True)
    topup_rate: str | None = key(
        _AMOUNT,
        "What one Star is worth when it fills a balance, in the shop's currency; without it balances are not filled in Stars.",
        None,
    )
    subscriptions: bool = key(
        flag(), "Whether 30-day offers may be bought as a subscription that Telegram charges by itself.", True
    )


@attrs.frozen(kw_only=True)
class CryptoPaySettings:
    """Payments by @CryptoBot; off without a token."""

    token: Secret | None = key(
        _TOKEN, "Token of the Crypto Pay app; without it the method is not offered.", None, secret=True
    )
    api_base: str = key(url("https"), "Where the Crypto Pay API is.", "https://pay.crypt.bot/api")
    minimum: str = key(_AMOUNT, "Least that is asked by it, in the currency of its prices.", "1")
    asset: str | None = key(
        _COIN, "Coin that its prices are asked in; otherwise the shop's currency, paid in any coin.", None
    )
    swap_to: str | None = key(
        choice("USDT", "TON", "TRX", "ETH", "SOL", "BTC", "LTC"),
        "Coin that Crypto Pay changes what it takes into, as far as it can.",
        None,
    )
    refunds_by_transfer: bool = key(
        flag(), "Give money back from the app's balance, which its security settings have to allow.", False
    )


@attrs.frozen(kw_only=True)
class YooKassaSettings:
    """Payments by bank card; off without a shop id."""

    shop_id: str | None = key(
        text("shop id", r"\d{1,20}", "must be digits, in quotes"), "Shop id at YooKassa.", None
    )
    secret_key: Secret | None = key(_TOKEN, "Secret key of the shop; goes with shop_id.", None, secret=True)
    api_base: str = key(url("https"), "Where the YooKassa API is.", "https://api.yookassa.ru/v3")
    minimum: str = key(_AMOUNT, "Least that is asked by it, in the shop's currency.", "1")


@attrs.frozen(kw_only=True)
class ReportsSettings:
    """Summaries of the shop's figures, for operators who may see them."""

    daily: bool = key(flag(), "Whether yesterday is summed up every day.", True)
    weekly: bool = key(flag(), "Whether the last week is summed up on Mondays.", True)
    hour: int = key(integer(0, 23), "From which hour on, by the shop's time zone.", 9)
