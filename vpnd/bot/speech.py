"""One person's language, in hand: what a screen needs to say anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import frozen

from vpnd.bot.texts import Texts
from vpnd.shop.money import Money

_HOURS_BELOW: Final = timedelta(hours=48)  # less than that is told in hours
_SPANS: Final = (("d", 86_400), ("h", 3600), ("min", 60))


@frozen
class Speech:
    """Texts in one language."""

    texts: Texts
    language: str

    def say(self, key: str, /, **values: Any) -> str:
        """A text as Telegram HTML; values are escaped."""
        return self.texts.format(self.language, key, **values)

    def label(self, key: str, /, **values: Any) -> str:
        """A text where there is no HTML: a button, an alert, an invoice."""
        return self.texts.plain(self.language, key, **values)

    def price(self, money: Money) -> str:
        """A price as this language writes it."""
        return self.texts.money(self.language, money)

    def period(self, days: int) -> str:
        """A length of time as people buy it: 30 days are a month, 365 a year."""
        for unit, length in (("years", 365), ("months", 30)):
            if days >= length and days % length == 0:
                return self.label(f"period-{unit}", count=days // length)
        return self.label("period-days", count=days)

    def left(self, until: datetime, now: datetime) -> str:
        """The time from `now` to `until`: days, and hours when it is short."""
        rest = max(until - now, timedelta())
        if rest < _HOURS_BELOW:
            return self.label("left-hours", count=int(rest / timedelta(hours=1)))
        return self.label("period-days", count=round(rest / timedelta(days=1)))

    def hours(self, count: int) -> str:
        """A length of time in hours: whole days as people buy them."""
        return (
            self.period(count // 24) if count and count % 24 == 0 else self.label("left-hours", count=count)
        )

    def moment(self, at: datetime, ahead: timedelta) -> str:
        """A day and a time of day on a clock that is so much ahead of UTC, with its name."""
        local = at.astimezone(UTC) + ahead
        day = self.texts.date(self.language, local)
        return self.label("moment", day=day, time=f"{local:%H:%M}", zone=zone_name(ahead))

    def span(self, seconds: float) -> str:
        """A length of time in its largest unit, for those who run the shop."""
        for unit, size in _SPANS:
            if seconds >= size:
                return self.label("span", unit=unit, count=int(seconds // size))
        return self.label("span", unit="s", count=max(0, int(seconds)))


def zone_name(ahead: timedelta) -> str:
    """What a clock is called: UTC, UTC+3, UTC−9:30."""
    minutes = round(ahead / timedelta(minutes=1))
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'+' if minutes > 0 else '−'}{hours}{f':{rest:02}' if rest else ''}"
