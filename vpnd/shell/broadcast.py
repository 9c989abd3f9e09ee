"""`vpnd broadcast`: compose one from files, count, begin or schedule it; look at them, pause, resume and stop them.

Everything is done as in the bot, by the same deeds, with the same checks and the same audit log. The running daemon sends.
"""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.bot.markup import fits, html_faults
from vpnd.bot.screens.screen import MAX_TEXT
from vpnd.config import Settings
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop import broadcast_deeds, broadcasts
from vpnd.shop.audit_log import perform
from vpnd.shop.broadcast_content import VARIANT_B, ButtonsUnreadable, read_buttons
from vpnd.shop.broadcast_deeds import Deed, NotNow
from vpnd.shop.broadcast_times import BadTime, read_time
from vpnd.shop.broadcasts import OnMissed, Progress
from vpnd.shop.money import MoneyError, parse_decimal
from vpnd.shop.operators import Permission, shell_actor
from vpnd.shop.segments import Segment
from vpnd.shop.switches import list_switches

__all__ = ["Order", "listing", "move", "send", "show"]

_LISTED: Final = 20
_USAGE: Final = 2
_LARGEST: Final = 100_000  # bytes of a text's file
_YES_OR_NO: Final = {"yes": True, "no": False}
_BOOLEANS: Final = {
    "access": "active",
    "trial": "trial",
    "bought": "bought",
    "came": "came",
    "brought": "brought",
}
_DAYS: Final = {"expired": "expired_days", "idle": "idle_days"}
_SETS: Final = {"language": "languages", "plan": "plans"}
_MOVES: Final[Mapping[str, Callable[[int], Deed]]] = {
    "pause": broadcast_deeds.pausing,
    "resume": broadcast_deeds.resuming,
    "stop": broadcast_deeds.stopping,
}


@frozen(kw_only=True)
class Order:
    """What was asked for, as it was written."""

    text: Sequence[str]
    copy: str | None
    buttons: Path | None
    text_b: Sequence[str]
    copy_b: str | None
    buttons_b: Path | None
    share_b: int
    title: str
    segment: Sequence[str]
    schedule: str | None
    on_missed: OnMissed
    yes: bool


def send(settings: Settings, order: Order) -> int:
    """Compose, count, and if it is meant so begin or schedule; return the exit code."""
    try:
        content = _content(order)
        segment = _segment(order.segment, settings.shop.currency)
    except ValueError as error:
        sys.stderr.write(f"vpnd: {error}\n")
        return _USAGE

    async def body(shop: OpenShop) -> int:
        at = await _time(shop, order.schedule)
        people = await broadcasts.reach(shop.db, segment)
        _say_what(shop, content, segment, people, at)
        if not people:
            raise CommandFailed("nobody is meant by these conditions")
        if not order.yes:
            _say("Nothing was done. Say --yes to send it.")
            return 0
        made: list[int] = []
        await _perform(
            shop,
            broadcast_deeds.composing(
                content=content,
                segment=segment,
                title=order.title,
                share_b=order.share_b,
                by=shell_actor(getpass.getuser()).name,
                made=made,
            ),
        )
        number = made[-1]
        if at is None:
            await _perform(shop, broadcast_deeds.starting(number, expected=people))
            _say(f"Broadcast {number} has begun; a running daemon sends it.")
            await _warn_if_paused(shop)
        else:
            deed = broadcast_deeds.scheduling(number, at, expected=people, on_missed=order.on_missed)
            await _perform(shop, deed)
            _say(f"Broadcast {number} begins at {at:%Y-%m-%d %H:%M} UTC, if a daemon runs then.")
        return 0

    return run_command(settings, body)


def listing(settings: Settings) -> int:
    """The newest; return the exit code."""

    async def body(shop: OpenShop) -> int:
        for it in await broadcasts.listed(shop.db, limit=_LISTED):
            _say(_line(it))
        return 0

    return run_command(settings, body)


def show(settings: Settings, number: int) -> int:
    """One of them; return the exit code."""

    async def body(shop: OpenShop) -> int:
        it = await broadcasts.progress(shop.db, number)
        if it is None:
            raise CommandFailed(f"there is no broadcast {number}")
        _say(_line(it))
        _say(f"  for: {_conditions(it.segment)}")
        _say(f"  waiting: {max(0, it.all_in_all - it.served):,}, perhaps twice: {it.repeated:,}")
        if it.has_b:
            for name, part in (("A", it.a), ("B", it.b)):
                gone = f"{part.unreachable:,} cannot be reached, {part.failed:,} failed"
                _say(f"  {name}: {part.sent:,} sent of {part.total:,}, {gone}")
        if it.halted is not None and it.state == "paused":
            _say(f"  paused by itself: {it.halted}")
        return 0

    return run_command(settings, body)


def move(settings: Settings, number: int, what: Literal["pause", "resume", "stop"]) -> int:
    """Pause, resume or stop one; return the exit code."""

    async def body(shop: OpenShop) -> int:
        await _perform(shop, _MOVES[what](number))
        it = await broadcasts.progress(shop.db, number)
        if it is not None:
            _say(_line(it))
        return 0

    return run_command(settings, body)


async def _perform(shop: OpenShop, deed: Deed) -> None:
    actor = shell_actor(getpass.getuser())
    key = f"shell:{secrets.token_hex(12)}"
    try:
        async with shop.db.transaction("shell.broadcast") as tx:
            await perform(tx, actor, Permission.BROADCAST, deed, request_key=key)
    except NotNow as error:
        raise CommandFailed(str(error)) from None


async def _time(shop: OpenShop, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return await read_time(shop.db, text, shop.settings.shop.time_zone)
    except BadTime as error:
        raise CommandFailed(f"--schedule: {error}, and not {text!r}") from None


async def _warn_if_paused(shop: OpenShop) -> None:
    switch = (await list_switches(shop.db)).switches.get("broadcast")
    if switch is not None and switch.paused:
        _say("Broadcasts are paused, so nobody gets it yet: `vpnd resume broadcast`.")


# ---------------------------------------------------------------------- what was written


def _content(order: Order) -> dict[str, Any]:
    """The message of both variants. Raises ValueError with the option and the remedy."""
    content = _variant(order.text, order.copy, order.buttons, "")
    if not content:
        raise ValueError("say --text LANGUAGE=FILE or --copy CHAT:MESSAGE")
    second = _variant(order.text_b, order.copy_b, order.buttons_b, "-b")
    if second:
        if not 1 <= order.share_b <= 99:
            raise ValueError(f"--share-b is a number of per cent from 1 to 99, and not {order.share_b}")
        content[VARIANT_B] = second
    elif order.buttons_b is not None:
        raise ValueError("--buttons-b needs --text-b or --copy-b")
    return content


def _variant(texts: Sequence[str], copied: str | None, buttons: Path | None, suffix: str) -> dict[str, Any]:
    if texts and copied is not None:
        raise ValueError(f"--text{suffix} and --copy{suffix} exclude each other")
    found: dict[str, Any] = {}
    if texts:
        found["text"] = dict(_text(one, f"--text{suffix}") for one in texts)
    elif copied is not None:
        found["copy"] = _copied(copied, f"--copy{suffix}")
    if found and buttons is not None:
        try:
            found["buttons"] = read_buttons(_read(buttons, f"--buttons{suffix}"))
        except ButtonsUnreadable as error:
            raise ValueError(f"--buttons{suffix}: {error}") from None
    return found


def _text(words: str, option: str) -> tuple[str, str]:
    language, mark, path = words.partition("=")
    if not mark or not language or not path:
        raise ValueError(f"{option} is written as LANGUAGE=FILE, and not {words!r}")
    text = _read(Path(path), option).strip()
    faults = html_faults(text)
    if faults:
        raise ValueError(f"{option} {path}: {faults[0]}")
    if not text or not fits(text, MAX_TEXT):
        raise ValueError(f"{option} {path}: a text has 1 to {MAX_TEXT} letters")
    return language, text


def _read(path: Path, option: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{option} {path}: the file has more than {_LARGEST} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{option} {path}: {error}") from None


def _copied(words: str, option: str) -> dict[str, int]:
    chat, mark, message = words.rpartition(":")
    try:
        found = {"from_chat_id": int(chat), "message_id": int(message)}
    except ValueError:
        mark = ""
    if not mark:
        raise ValueError(f"{option} is written as CHAT:MESSAGE, two numbers, and not {words!r}")
    return found


def _segment(words: Sequence[str], currency: str) -> Segment:
    """The conditions. Raises ValueError with the one that cannot be read."""
    segment = Segment()
    for word in words:
        name, _, value = word.partition("=")
        if name in _BOOLEANS and value in _YES_OR_NO:
            segment = segment.but(**{_BOOLEANS[name]: _YES_OR_NO[value]})
        elif name in _DAYS and value.isascii() and value.isdecimal() and len(value) <= 5:
            segment = segment.but(**{_DAYS[name]: int(value)})
        elif name in _SETS and value:
            segment = segment.but(**{_SETS[name]: [one for one in value.split(",") if one]})
        elif name == "balance":
            segment = _balance(segment, value, currency)
        else:
            raise ValueError(
                f"--segment {word!r}: access, trial, bought, came, brought=yes|no; language, plan=a,b; expired, idle=DAYS;"
                " balance=over:100 or under:50"
            )
    return segment


def _balance(segment: Segment, value: str, currency: str) -> Segment:
    side, _, amount = value.partition(":")
    try:
        minor = parse_decimal(amount, currency).amount if amount not in ("0", "") else 0
    except MoneyError as error:
        raise ValueError(f"--segment balance: {error}") from None
    if side not in ("over", "under") or not amount:
        raise ValueError(f"--segment balance is over:AMOUNT or under:AMOUNT, and not {value!r}")
    return segment.but(**{f"balance_{side}": minor, "currency": currency})


# ---------------------------------------------------------------------- what is said


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say_what(
    shop: OpenShop, content: Mapping[str, Any], segment: Segment, people: int, at: datetime | None
) -> None:
    variants = "two variants" if VARIANT_B in content else "one message"
    _say(f"{variants} for {people:,} customers: {_conditions(segment)}")
    rate = shop.settings.limits.telegram_per_second
    if rate > 0:
        takes = timedelta(seconds=ceil(people / rate))
        _say(f"At {rate:g} messages a second that takes {takes} (hours, minutes, seconds).")
    if at is not None:
        _say(f"It begins at {at:%Y-%m-%d %H:%M} UTC; who is meant is looked up then.")


def _conditions(segment: Segment) -> str:
    named = segment.to_json()
    return ", ".join(f"{name} {value}" for name, value in named.items()) or "everybody who can be reached"


def _line(it: Progress) -> str:
    when = f", at {it.scheduled_at:%Y-%m-%d %H:%M} UTC" if it.state == "scheduled" and it.scheduled_at else ""
    return (
        f"{it.id:>6}  {it.state}{when}  {it.sent:,} sent of {it.all_in_all:,}, {it.unreachable:,} cannot be reached,"
        f" {it.failed:,} failed  {it.title}"
    ).rstrip()
