"""A customer's clock: when things end on it, when it is quiet there, and the clocks that he can choose from.

A clock is chosen by what it shows now, which everybody knows of his own; what is kept is its distance from UTC, as a time
zone that PostgreSQL knows by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Final

from attrs import frozen

from vpnd.bot.reading import title_of
from vpnd.config import QuietHours
from vpnd.database.database import Database
from vpnd.shop.source import from_json

#: The clock furthest behind; buttons count minutes from it.
WESTMOST: Final = timedelta(hours=-12)

# Of the broken distances those without a summer time of their own.
_BROKEN: Final = {
    -570: "Pacific/Marquesas", 210: "Asia/Tehran", 270: "Asia/Kabul", 330: "Asia/Kolkata", 345: "Asia/Kathmandu",
    390: "Asia/Yangon", 525: "Australia/Eucla", 570: "Australia/Darwin",
}  # fmt: skip

#: Time zones by their minutes ahead of UTC, from west to east. Names of this kind count the other way round.
ZONES: Final[Mapping[int, str]] = dict(
    sorted(
        [(hours * 60, f"Etc/GMT{-hours:+d}" if hours else "Etc/UTC") for hours in range(-12, 15)]
        + list(_BROKEN.items())
    )
)

# $1 subscription, $2 the shop's zone
_ENDING: Final = """
select vpnd_now() as now, s.expires_at, s.status = 'active' as active, s.trial, s.title, p.titles,
       extract(epoch from (s.expires_at at time zone coalesce(c.time_zone, $2))
                          - (s.expires_at at time zone 'UTC'))::bigint as ahead
from subscriptions s join customers c on c.id = s.customer_id join plans p on p.id = s.plan_id
where s.id = $1
"""

# $1 customer, $2 the shop's zone
_PREFERENCES: Final = """
select vpnd_now() as now, time_zone is not null as own_zone, quiet_from, quiet_to,
       extract(epoch from (vpnd_now() at time zone coalesce(time_zone, $2)) - (vpnd_now() at time zone 'UTC'))::bigint as ahead
from customers where id = $1
"""


# $1 Telegram id, $2 the shop's zone, $3 and $4 the moments
_AHEAD: Final = """
select vpnd_now() as now,
       extract(epoch from ($3 at time zone coalesce(time_zone, $2)) - ($3 at time zone 'UTC'))::bigint as first,
       extract(epoch from ($4 at time zone coalesce(time_zone, $2)) - ($4 at time zone 'UTC'))::bigint as second
from customers where telegram_id = $1
"""


@frozen
class Ending:
    """How a subscription stands now, for a notice about its end. `ahead`: of UTC, the customer's clock at the end.

    `own` is what its owner calls it, if he does.
    """

    now: datetime
    expires_at: datetime
    active: bool
    trial: bool
    titles: Mapping[str, str]
    ahead: timedelta
    own: str | None = None

    def title(self, language: str) -> str:
        """What its owner calls it, else the plan's title."""
        return self.own or title_of(self.titles, language, "VPN")


@frozen
class Preferences:
    """When reminders may come to a customer. `own_zone`, `own_quiet`: he has chosen, it is not the shop's."""

    now: datetime
    ahead: timedelta
    quiet: QuietHours
    own_zone: bool = False
    own_quiet: bool = False

    @property
    def quiet_at_all(self) -> bool:
        """Whether there are quiet hours."""
        return self.quiet[0] != self.quiet[1]


async def ending_of(db: Database, subscription_id: int, zone: str) -> Ending | None:
    """How the subscription of a notice stands; one read."""
    row = await db.fetchrow("bot.ending", _ENDING, subscription_id, zone)
    if row is None:
        return None
    return Ending(
        now=row["now"],
        expires_at=row["expires_at"],
        active=row["active"],
        trial=row["trial"],
        titles=from_json(row["titles"]),
        ahead=timedelta(seconds=row["ahead"]),
        own=row["title"],
    )


async def clock_at(
    db: Database, telegram_id: int, zone: str, first: datetime, second: datetime
) -> tuple[datetime, timedelta, timedelta] | None:
    """Business time, and how far ahead of UTC a customer's clock is at two moments; one read. None: there is no such customer."""
    row = await db.fetchrow("bot.clock", _AHEAD, telegram_id, zone, first, second)
    if row is None:
        return None
    return row["now"], timedelta(seconds=row["first"]), timedelta(seconds=row["second"])


async def preferences_of(db: Database, customer_id: int, zone: str, quiet: QuietHours) -> Preferences:
    """What a customer has chosen, else what the shop says; one read."""
    row = await db.fetchrow("bot.preferences", _PREFERENCES, customer_id, zone)
    if row is None:
        raise RuntimeError(f"customer {customer_id} does not exist")
    own = row["quiet_from"] is not None
    return Preferences(
        now=row["now"],
        ahead=timedelta(seconds=row["ahead"]),
        quiet=(row["quiet_from"], row["quiet_to"]) if own else quiet,
        own_zone=row["own_zone"],
        own_quiet=own,
    )


def minute_of(at: time) -> int:
    """The minute of the day."""
    return at.hour * 60 + at.minute


def at_minute(minute: int) -> time:
    """The time of day at a minute."""
    return time(minute // 60, minute % 60)
