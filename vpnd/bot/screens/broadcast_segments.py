"""For operators: whom a broadcast is for, condition by condition, and how many that are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vpnd.bot.broadcast_callbacks import (
    CountSegment,
    ExportSegment,
    OneBroadcast,
    SegmentPart,
    SetSegment,
    ShowSegment,
    WriteSegment,
)
from vpnd.bot.callbacks import Home
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.broadcasts import Progress
from vpnd.shop.money import Money
from vpnd.shop.segments import Segment

#: The conditions, each with the choices that its screen offers.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "access": ("yes", "no"),
    "trial": ("yes", "no"),
    "bought": ("yes", "no"),
    "expired": ("d1", "d7", "d30", "d90"),
    "idle": ("d7", "d30", "d90", "d180"),
    "language": (),
    "plan": (),
    "balance": ("some", "none"),
    "came": ("yes", "no"),
    "brought": ("yes", "no"),
}
#: Those for which something else can be written.
WRITTEN: Final = ("expired", "idle", "balance")
ANY: Final = "any"
_MOST_PLANS: Final = 30
_NAMES: Final = 300  # letters of languages or plans in a line


def described(speech: Speech, segment: Segment) -> str:
    """The conditions that are set, a line each, as HTML."""
    lines = [
        speech.say(key, value="yes" if value else "no")
        for key, value in (
            ("segment-access", segment.active),
            ("segment-trial", segment.trial),
            ("segment-bought", segment.bought),
            ("segment-came", segment.came),
            ("segment-brought", segment.brought),
        )
        if value is not None
    ]
    lines += [
        speech.say(key, count=days)
        for key, days in (("segment-expired", segment.expired_days), ("segment-idle", segment.idle_days))
        if days is not None
    ]
    lines += [
        speech.say(key, names=", ".join(names)[:_NAMES] or speech.label("segment-nothing"))
        for key, names in (("segment-language", segment.languages), ("segment-plan", segment.plans))
        if names is not None
    ]
    lines += [
        speech.say("segment-balance", than=than, amount=speech.price(Money(amount, str(segment.currency))))
        for than, amount in (("over", segment.balance_over), ("under", segment.balance_under))
        if amount is not None
    ]
    return "\n".join(lines) or speech.say("segment-all")


def overview(speech: Speech, it: Progress, *, may_send: bool, preface: str | None = None) -> Screen:
    """All conditions; a draft's can be changed."""
    parts = [
        Button(speech.label("button-segment-part", part=part), SegmentPart(it.id, part)) for part in PARTS
    ]
    rows: list[Row] = []
    if may_send and it.state == "draft":
        rows += [tuple(parts[start : start + 2]) for start in range(0, len(parts), 2)]
    rows.append((Button(speech.label("button-segment-count"), CountSegment(it.id)),))
    if may_send:
        rows.append((Button(speech.label("button-segment-export"), ExportSegment(it.id)),))
    return Screen(
        paragraphs(preface, speech.say("segment"), described(speech, it.segment)),
        (*rows, _back(speech, it.id)),
    )


def _back(speech: Speech, broadcast_id: int) -> Row:
    return (
        Button(speech.label("button-back"), OneBroadcast(broadcast_id)),
        Button(speech.label("button-home"), Home()),
    )


def part(
    speech: Speech,
    it: Progress,
    which: str,
    *,
    languages: Sequence[str] = (),
    plans: Sequence[tuple[str, str]] = (),
) -> Screen:
    """The choices of one condition; `plans` are ids and titles."""
    buttons: list[Button]
    if which == "language":
        chosen = it.segment.languages or ()
        buttons = [_toggle(speech, it.id, which, one, one, chosen) for one in languages]
    elif which == "plan":
        chosen = it.segment.plans or ()
        buttons = [_toggle(speech, it.id, which, key, title, chosen) for key, title in plans[:_MOST_PLANS]]
    else:
        buttons = [
            Button(
                _choice(speech, which, value),
                SetSegment(it.id, which, value),
            )
            for value in PARTS[which]
        ]
    rows: list[Row] = [(button,) for button in buttons]
    if which in WRITTEN:
        rows.append((Button(speech.label("button-segment-write", part=which), WriteSegment(it.id, which)),))
    rows.append((Button(speech.label("button-segment-any"), SetSegment(it.id, which, ANY)),))
    return Screen(
        paragraphs(speech.say("segment-part", part=which), described(speech, it.segment)),
        (
            *rows,
            (
                Button(speech.label("button-back"), ShowSegment(it.id)),
                Button(speech.label("button-home"), Home()),
            ),
        ),
    )


def _choice(speech: Speech, which: str, value: str) -> str:
    if which in ("expired", "idle"):
        return speech.label("button-segment-days", part=which, count=days_of(value) or 0)
    if which == "balance":
        return speech.label("button-segment-balance", value=value)
    return speech.label("button-segment-choice", part=which, value=value)


def days_of(value: str) -> int | None:
    """The days that a button's word stands for: "d30" is 30."""
    digits = value[1:]
    good = value.startswith("d") and digits.isascii() and digits.isdecimal() and len(digits) <= 5
    return int(digits) if good and int(digits) > 0 else None


def _toggle(
    speech: Speech, broadcast_id: int, which: str, value: str, title: str, chosen: Sequence[str]
) -> Button:
    label = speech.label("button-segment-toggle", name=title[:32], on="yes" if value in chosen else "no")
    return Button(label, SetSegment(broadcast_id, which, value))


def write(speech: Speech, it: Progress, which: str, currency: str, *, again: bool = False) -> Screen:
    """A number of days or an amount, in words."""
    problem = speech.say("segment-write-problem", part=which) if again else None
    return Screen(
        paragraphs(problem, speech.say("segment-write", part=which, currency=currency)),
        (
            (
                Button(speech.label("button-back"), SegmentPart(it.id, which)),
                Button(speech.label("button-home"), Home()),
            ),
        ),
    )


def counted(speech: Speech, people: int, time: str) -> str:
    """How many are meant now, and how long it takes to write to them."""
    return speech.say("segment-counted", count=people, time=time)
