"""Buttons that say whom a broadcast is for, count them, and hand them out as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telegram import InputFile

from vpnd.bot.amounts import read_amount
from vpnd.bot.answers import stale
from vpnd.bot.broadcast_callbacks import (
    CountSegment,
    ExportSegment,
    SegmentPart,
    SetSegment,
    ShowSegment,
    WriteSegment,
)
from vpnd.bot.broadcast_desk import act, find, rate_of, show_one
from vpnd.bot.callbacks import Action
from vpnd.bot.reading import title_of
from vpnd.bot.screens import broadcast_segments as screens
from vpnd.bot.screens.broadcasts import length
from vpnd.bot.segment_file import MOST_BYTES, segment_file
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop import broadcast_deeds
from vpnd.shop.audit_log import Change
from vpnd.shop.broadcasts import Progress, reach
from vpnd.shop.dialogs import expected_about
from vpnd.shop.operators import Permission
from vpnd.shop.segments import Segment
from vpnd.shop.source import from_json
from vpnd.telegram.sender import Lane

_MOST_PLANS: Final = 30
_PLANS: Final = "select id, titles from plans order by position, id limit $1"
_MOST_DAYS: Final = 36_500
_YES_OR_NO: Final = {"yes": True, "no": False, screens.ANY: None}
_BOOLEANS: Final = {
    "access": "active",
    "trial": "trial",
    "bought": "bought",
    "came": "came",
    "brought": "brought",
}
_DAYS: Final = {"expired": "expired_days", "idle": "idle_days"}
_SETS: Final = {"language": "languages", "plan": "plans"}


async def show_segment(visit: Visit, action: ShowSegment) -> None:
    """All conditions."""
    it = await find(visit, action.broadcast)
    if it is not None:
        await _show(visit, it)


async def _show(visit: Visit, it: Progress, preface: str | None = None) -> None:
    may_send = visit.may(Permission.BROADCAST)
    await visit.show(screens.overview(visit.speech, it, may_send=may_send, preface=preface))


async def show_part(visit: Visit, action: SegmentPart) -> None:
    """The choices of one condition."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    if action.part not in screens.PARTS:
        await stale(visit, "unreadable")
        return
    await _show_part(visit, it, action.part)


async def _show_part(visit: Visit, it: Progress, part: str) -> None:
    plans: list[tuple[str, str]] = []
    if part == "plan":
        rows = await visit.deps.db.fetch("bot.segment_plans", _PLANS, _MOST_PLANS)
        plans = [
            (row["id"], title_of(from_json(row["titles"]), visit.speech.language, row["id"])) for row in rows
        ]
    languages = visit.deps.texts.languages
    await visit.show(screens.part(visit.speech, it, part, languages=languages, plans=plans))


async def choose(visit: Visit, action: SetSegment) -> None:
    """Set a condition, or take it away."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    segment = chosen(it.segment, action.part, action.value, visit.deps.currency)
    if segment is None:
        await stale(visit, "unreadable")
        return
    fresh = await _set(visit, it, segment)
    if fresh is None:
        return
    if action.part in _SETS and action.value != screens.ANY:
        await _show_part(visit, fresh, action.part)
    else:
        await _show(visit, fresh)


def chosen(segment: Segment, part: str, value: str, currency: str) -> Segment | None:
    """A segment with a button's choice; None for what no button says."""
    if part in _BOOLEANS:
        return segment.but(**{_BOOLEANS[part]: _YES_OR_NO[value]}) if value in _YES_OR_NO else None
    if part in _DAYS:
        days = None if value == screens.ANY else screens.days_of(value)
        good = value == screens.ANY or (days is not None and days <= _MOST_DAYS)
        return segment.but(**{_DAYS[part]: days}) if good else None
    if part in _SETS:
        present = list(getattr(segment, _SETS[part]) or ())
        if value == screens.ANY:
            present = []
        elif value in present:
            present.remove(value)
        elif len(present) < _MOST_PLANS:
            present.append(value)
        return segment.but(**{_SETS[part]: present or None})
    if part == "balance" and value in ("some", "none", screens.ANY):
        over, under = {"some": (0, None), "none": (None, 1)}.get(value, (None, None))
        return segment.but(balance_over=over, balance_under=under, currency=currency)
    return None


async def _set(visit: Visit, it: Progress, segment: Segment) -> Progress | None:
    deed = broadcast_deeds.editing(it.id, after={"segment": segment.to_json()}, segment=segment)
    return await find(visit, it.id) if await act(visit, deed, it.id) else None


async def ask_for_words(visit: Visit, action: WriteSegment) -> None:
    """Ask for a number of days or an amount."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    if action.part not in screens.WRITTEN:
        await stale(visit, "unreadable")
        return
    await visit.expect("broadcast_segment", about=it.id, data={"part": action.part})
    await visit.show(screens.write(visit.speech, it, action.part, visit.deps.currency))


async def read_words(visit: Visit, text: str) -> None:
    """Take what was written for days or for an amount; what is neither is asked for again."""
    kept = await expected_about(visit.deps.db, visit.customer.id, "broadcast_segment")
    if kept is None or kept[0] is None or not visit.may(Permission.BROADCAST):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return
    it = await find(visit, kept[0])
    if it is None:
        return
    part = str(kept[1].get("part"))
    segment = written(it.segment, part, text, visit.deps.currency)
    if segment is None:
        await visit.show(screens.write(visit.speech, it, part, visit.deps.currency, again=True))
        return
    fresh = await _set(visit, it, segment)
    if fresh is not None:
        await _show(visit, fresh)
    # After the answer: an update that is played again understands the words once more.
    await visit.expect_nothing()


def written(segment: Segment, part: str, text: str, currency: str) -> Segment | None:
    """A segment with what was written; None for what cannot be read."""
    word = text.strip()
    if part in _DAYS:
        good = word.isascii() and word.isdecimal() and len(word) <= 5 and 1 <= int(word) <= _MOST_DAYS
        return segment.but(**{_DAYS[part]: int(word)}) if good else None
    if part != "balance" or word[:1] not in ("<", ">"):
        return None
    zero = word[1:].strip() in ("0", "0.00", "0,00")
    amount = 0 if zero else read_amount(word[1:].strip(), currency)
    if amount is None:
        return None
    over = word[0] == ">"
    return segment.but(
        balance_over=amount if over else None, balance_under=None if over else amount, currency=currency
    )


async def count(visit: Visit, action: CountSegment) -> None:
    """How many are meant now."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    people = await reach(visit.deps.db, it.segment)
    rate = rate_of(visit.deps)
    time = length(visit.speech, people / rate if rate else 1)
    await _show(visit, it, screens.counted(visit.speech, people, time))


async def export(visit: Visit, action: ExportSegment) -> None:
    """Who is meant, as a file that only the operator gets; written into the audit log before it is made."""
    it = await find(visit, action.broadcast)
    if it is None:
        return

    async def deed(_tx: Transaction) -> Change:
        return Change(subject=f"broadcast:{it.id}", after={"segment": it.segment.to_json()}, detail="segment")

    await visit.perform("bot.export_segment", Permission.EXPORT, deed)
    async with segment_file(visit.deps.db, it.segment, f"broadcast-{it.id}") as made:
        if made.size > MOST_BYTES:
            await _show(visit, it, visit.speech.say("segment-too-many", count=made.rows))
            return
        await visit.deps.sender.call(
            Lane.REPLY,
            "send_document",
            chat_id=visit.chat_id,
            document=InputFile(await made.content(), filename=made.name),
            caption=visit.speech.label("segment-exported", count=made.rows, id=str(it.id)),
        )
    if visit.pressed is None:
        await show_one(visit, it.id)


def handlers() -> Mapping[type[Action], tuple[Permission, Any]]:
    """Which button needs which permission and does what."""
    look, do = Permission.BROADCASTS, Permission.BROADCAST
    return {
        ShowSegment: (look, show_segment),
        SegmentPart: (do, show_part),
        SetSegment: (do, choose),
        WriteSegment: (do, ask_for_words),
        CountSegment: (look, count),
        ExportSegment: (Permission.EXPORT, export),
    }
