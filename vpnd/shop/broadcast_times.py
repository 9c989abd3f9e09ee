"""When a broadcast is to begin: a day and a time of day on somebody's clock, and the moment that is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, Literal

from vpnd.shop.maintenance import moment_in_zone
from vpnd.shop.source import Source, fetchrow

__all__ = ["FURTHEST", "BadTime", "read_time", "zone_of"]

FURTHEST: Final = timedelta(days=366)
_FORMS: Final = (
    (re.compile(r"\d{4}-\d{1,2}-\d{1,2}[ T]+\d{1,2}:\d{2}"), "%Y-%m-%d %H:%M"),
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} +\d{1,2}:\d{2}"), "%d.%m.%Y %H:%M"),
)


class BadTime(ValueError):
    """It cannot begin then; `fault` is "form", "past" or "far"."""

    def __init__(self, fault: Literal["form", "past", "far"]) -> None:
        self.fault = fault
        super().__init__(
            {
                "form": 'that is no day and time of day like "2026-12-01 10:00"',
                "past": "that is over already",
                "far": f"that is more than {FURTHEST.days} days away",
            }[fault]
        )


def _clock(text: str) -> datetime:
    word = re.sub(r"[ T]+", " ", text.strip())
    for form, layout in _FORMS:
        if form.fullmatch(word):
            try:
                return datetime.strptime(word, layout)  # noqa: DTZ007 (a clock's face has no zone)
            except ValueError:
                break
    raise BadTime("form")


async def read_time(source: Source, text: str, zone: str) -> datetime:
    """The moment of business time at which a clock in a time zone shows this. Raises BadTime."""
    at, now = await moment_in_zone(source, _clock(text), zone)
    if at <= now:
        raise BadTime("past")
    if at > now + FURTHEST:
        raise BadTime("far")
    return at


async def zone_of(source: Source, customer_id: int, default: str) -> str:
    """The time zone that a customer has chosen, else the shop's."""
    row = await fetchrow(
        source, "broadcasts.zone", "select time_zone from customers where id = $1", customer_id
    )
    return default if row is None or row["time_zone"] is None else str(row["time_zone"])
