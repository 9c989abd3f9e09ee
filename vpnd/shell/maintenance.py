"""`vpnd maintenance`: tell everybody who has access that a node is going to be worked on."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from vpnd.config import Settings
from vpnd.config.kinds import did_you_mean
from vpnd.database.scope import Transaction
from vpnd.shell.acting import act, who
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop import broadcasts
from vpnd.shop.audit_log import Change
from vpnd.shop.maintenance import MEANT, Maintenance, announce, announced, moment_in_zone
from vpnd.shop.operators import Permission
from vpnd.shop.switches import list_switches

__all__ = ["maintenance"]

#: How far ahead work is announced: what is further away is forgotten again.
FURTHEST: Final = timedelta(days=60)
LONGEST: Final = timedelta(days=7)

_CLOCK: Final = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}")
_LENGTH: Final = re.compile(r"([1-9]\d{0,4})(m|h|d)")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def maintenance(settings: Settings, *, node: str, start: str, length: str, yes: bool) -> int:
    """Run the command; return its exit code.

    Args:
        node: a node of the configuration.
        start: a date and a time of day, as a clock in the shop's time zone shows them.
        length: a number with m, h or d.
        yes: do it; otherwise only say what would be done.
    """
    try:
        clock, lasts = _clock(start), _length(length)
    except ValueError as error:
        sys.stderr.write(f"vpnd: {error}\n")
        return 2
    names = [one.name for one in settings.nodes]
    zone = settings.shop.time_zone

    async def body(shop: OpenShop) -> int:
        if node not in names:
            known = ", ".join(names) or "none"
            raise CommandFailed(f"there is no node {node!r}{did_you_mean(node, names)}; there are: {known}")
        starts_at, now = await moment_in_zone(shop.db, clock, zone)
        if starts_at <= now:
            raise CommandFailed(
                f"--from is over: it is {now:%Y-%m-%d %H:%M} UTC, and --from is a time in {zone}"
            )
        if starts_at > now + FURTHEST:
            raise CommandFailed(
                f"--from is more than {FURTHEST.days} days away: announce it when it is nearer"
            )
        what = Maintenance(node, starts_at, starts_at + lasts, others=len(names) > 1)
        _say(
            f"node {node}: from {clock:%Y-%m-%d %H:%M} to {clock + lasts:%Y-%m-%d %H:%M} in {zone}"
            f" (from {what.starts_at:%Y-%m-%d %H:%M} UTC)"
        )
        known_as = await announced(shop.db, what)
        if known_as is not None:
            await _tell_progress(shop, known_as)
            return 0
        people = await broadcasts.reach(shop.db, MEANT)
        _say(
            f"{people:,} customers with an active subscription, each told once, in his language and on his clock"
        )
        _say_how_long(shop, people, what.starts_at - now)
        if not yes:
            _say("Nothing was done. Say --yes to tell them.")
            return 0
        made, new = 0, False

        async def deed(tx: Transaction) -> Change:
            nonlocal made, new
            made, new = await announce(tx, what, by=who().name)
            return Change(
                subject=f"broadcast:{made}",
                after={"maintenance": node, "from": what.starts_at.isoformat(), "new": new},
                detail="maintenance",
            )

        await act(shop, "shell.maintenance", Permission.BROADCAST, deed)
        if not new:
            await _tell_progress(shop, made)
            return 0
        _say(
            f"Broadcast {made} has begun; a running daemon sends it behind all replies, receipts and notices."
        )
        await _warn_if_paused(shop)
        return 0

    return run_command(settings, body)


def _clock(text: str) -> datetime:
    """A date and a time of day. Raises ValueError with what to write."""
    wrong = f'--from is a date and a time of day like "2026-12-01 02:00", and not {text!r}'
    if _CLOCK.fullmatch(text) is None:
        raise ValueError(wrong)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wrong) from None


def _length(text: str) -> timedelta:
    """A length of time. Raises ValueError with what to write."""
    found = _LENGTH.fullmatch(text)
    lasts = int(found[1]) * _UNITS[found[2]] if found is not None else timedelta()
    if not timedelta() < lasts <= LONGEST:
        raise ValueError(f"--for is like 30m, 2h or 1d, and at most {LONGEST.days}d, and not {text!r}")
    return lasts


async def _tell_progress(shop: OpenShop, broadcast_id: int) -> None:
    """Say that it was announced before, and how far that is."""
    standing = await broadcasts.progress(shop.db, broadcast_id)
    if standing is None:
        raise CommandFailed(f"broadcast {broadcast_id} has vanished")
    _say(
        f"This was announced already: broadcast {broadcast_id} is {standing.state}, {standing.sent:,} were told,"
        f" {standing.waiting:,} wait, {standing.unreachable:,} cannot be reached. Nothing is sent twice."
    )


def _say_how_long(shop: OpenShop, people: int, ahead: timedelta) -> None:
    rate = shop.settings.limits.telegram_per_second
    if rate <= 0:
        return
    takes = timedelta(seconds=ceil(people / rate))
    _say(f"At {rate:g} messages a second that takes {takes} (hours, minutes, seconds).")
    if takes > ahead:
        _say(
            f"The last of them would be told after it has begun, which is in {str(ahead).partition('.')[0]}."
        )


async def _warn_if_paused(shop: OpenShop) -> None:
    switch = (await list_switches(shop.db)).switches.get("broadcast")
    if switch is not None and switch.paused:
        _say("Broadcasts are paused, so nobody is told yet: `vpnd resume broadcast`.")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
