"""For operators: the list of broadcasts, one of them as a draft or with how far it is, and the questions before it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from vpnd.bot.broadcast_callbacks import (
    Broadcasts,
    Compose,
    ComposeButtons,
    ComposeText,
    DropB,
    EndAsk,
    EndNow,
    IfMissed,
    NewBroadcast,
    OneBroadcast,
    PauseBroadcast,
    Preview,
    ResumeBroadcast,
    Schedule,
    ScheduleNow,
    SendAsk,
    SendNow,
    ShareOfB,
    ShowSegment,
    Unschedule,
    UseAgain,
)
from vpnd.bot.callbacks import Home
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.markup import Markup, code, escape, fits, fitting
from vpnd.bot.screens.broadcast_segments import described
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech, zone_name
from vpnd.shop.broadcast_content import VARIANT_B, variant, write_buttons
from vpnd.shop.broadcasts import Progress, Variant

#: Broadcasts of one page.
PAGE: Final = 8
VARIANTS: Final = ("a", "b")
#: Shares of variant B that are offered, in per cent.
SHARES: Final = (10, 25, 50, 75)
_BAR: Final = 20  # letters
_ON_BUTTON: Final = 40  # letters of a label
_SHOWN: Final = 600  # letters of a text or of the buttons
_EDITABLE: Final = ("draft",)
_OVER: Final = ("done", "stopped", "missed")


def _home(speech: Speech) -> Row:
    return (
        Button(speech.label("button-broadcasts"), Broadcasts()),
        Button(speech.label("button-home"), Home()),
    )


def _back(speech: Speech, broadcast_id: int) -> Row:
    return (
        Button(speech.label("button-back"), OneBroadcast(broadcast_id)),
        Button(speech.label("button-home"), Home()),
    )


# ------------------------------------------------------------------------------------------ all of them


def listing(
    speech: Speech, found: Sequence[Progress], *, may_send: bool, preface: str | None = None
) -> Screen:
    """A page of them; there is a next one if it is longer than `PAGE`."""
    rows: list[Row] = []
    if may_send:
        rows.append((Button(speech.label("button-broadcast-new"), NewBroadcast()),))
    for one in found[:PAGE]:
        label = speech.label(
            "button-broadcast",
            state=one.state,
            id=str(one.id),
            title=one.title or speech.label("broadcast-untitled"),
        )
        rows.append((Button(label[:_ON_BUTTON], OneBroadcast(one.id)),))
    if len(found) > PAGE:
        rows.append((Button(speech.label("button-older"), Broadcasts(found[PAGE - 1].id)),))
    text = speech.say("broadcasts" if found else "broadcasts-none")
    return Screen(paragraphs(preface, text), (*rows, _back_to_desk(speech)))


def _back_to_desk(speech: Speech) -> Row:
    return (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))


# ------------------------------------------------------------------------------------------ one of them


def one(
    speech: Speech,
    it: Progress,
    *,
    may_send: bool,
    rate: float | None,
    ahead: timedelta = timedelta(),
    preface: str | None = None,
) -> Screen:
    """A broadcast: what it is, who is meant, and how far it is; with what this operator can do about it.

    Args:
        rate: messages a second that can be counted on; None: as many as there are.
        ahead: of UTC, the operator's clock.
    """
    return Screen(
        paragraphs(
            preface,
            speech.say(
                "broadcast-head",
                id=str(it.id),
                title=it.title or speech.label("broadcast-untitled"),
                state=it.state,
            ),
            _halted(speech, it),
            _contents(speech, it),
            speech.say("broadcast-segment", lines=Markup(described(speech, it.segment))),
            _time(speech, it, ahead),
            _figures(speech, it, rate),
        ),
        (*(_buttons(speech, it) if may_send else ()), _home(speech)),
    )


def _halted(speech: Speech, it: Progress) -> str | None:
    if it.halted is None or it.state != "paused":
        return None
    return speech.say("broadcast-halted", why=it.halted[:200])


def _contents(speech: Speech, it: Progress) -> str:
    a = speech.say(
        "broadcast-message", variant="none" if not it.has_b else "a", what=_what(speech, it.content)
    )
    if not it.has_b:
        return a
    b = speech.say("broadcast-message", variant="b", what=_what(speech, it.content[VARIANT_B]))
    share = speech.say("broadcast-share", a=100 - it.share_b, b=it.share_b)
    return f"{a}\n{b}\n{share}"


def _what(speech: Speech, content: Mapping[str, Any]) -> Markup:
    """A variant's message in few words."""
    if "copy" in content:
        said = speech.say("broadcast-copied")
    elif "text" in content:
        said = speech.say("broadcast-texts", languages=", ".join(content["text"]))
    elif "notice" in content:
        said = speech.say("broadcast-notice")
    else:
        return Markup(speech.say("broadcast-nothing"))
    buttons = sum(map(len, content.get("buttons") or ()))
    return Markup(f"{said}{speech.say('broadcast-buttons', count=buttons) if buttons else ''}")


def _time(speech: Speech, it: Progress, ahead: timedelta) -> str | None:
    if it.scheduled_at is None or it.state not in ("scheduled", "missed"):
        return None
    at = speech.moment(it.scheduled_at, ahead)
    return speech.say("broadcast-time", state=it.state, at=at, missed=it.on_missed)


def _figures(speech: Speech, it: Progress, rate: float | None) -> str | None:
    if it.state not in ("running", "paused", "done", "stopped"):
        return None
    whole = it.all_in_all
    share = 1.0 if it.state == "done" else min(1.0, it.served / whole) if whole else 0.0
    full = int(share * _BAR)
    lines = [
        f"<code>{'█' * full}{'░' * (_BAR - full)}</code> {share:.0%}",
        speech.say(
            "broadcast-figures",
            sent=it.sent,
            of=whole,
            unreachable=it.unreachable,
            failed=it.failed,
        ),
    ]
    if it.repeated:
        lines.append(speech.say("broadcast-repeated", count=it.repeated))
    if it.state == "running":
        lines.append(_left(speech, whole - it.served, rate))
    if it.has_b:
        lines += [_variant(speech, name, part) for name, part in (("A", it.a), ("B", it.b))]
    return "\n".join(lines)


def _left(speech: Speech, waiting: int, rate: float | None) -> str:
    if rate is None or rate <= 0:
        return speech.say("broadcast-left-unknown", count=max(0, waiting))
    return speech.say("broadcast-left", count=max(0, waiting), time=length(speech, waiting / rate))


def _variant(speech: Speech, name: str, part: Variant) -> str:
    return speech.say(
        "broadcast-variant",
        name=name,
        sent=part.sent,
        of=part.total,
        unreachable=part.unreachable,
        failed=part.failed,
    )


def length(speech: Speech, seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return speech.span(max(1, whole))
    if whole < 3600:
        return speech.span(whole + 30)
    if whole < 86_400:
        return f"{speech.span(whole)} {speech.span(max(60, whole % 3600))}"
    return f"{speech.span(whole)} {speech.span(max(3600, whole % 86_400))}"


def _buttons(speech: Speech, it: Progress) -> list[Row]:
    """What can be done about it now."""
    number = it.id
    end = Button(speech.label("button-broadcast-end", state=it.state), EndAsk(number))
    if it.state in _EDITABLE:
        return _drafts_buttons(speech, it, end)
    if it.state == "scheduled":
        return [
            (Button(speech.label("button-broadcast-unschedule"), Unschedule(number)), end),
            (_if_missed(speech, it),),
        ]
    if it.state == "running":
        return [
            (Button(speech.label("button-broadcast-pause"), PauseBroadcast(number)), end),
            (Button(speech.label("button-broadcast-refresh"), OneBroadcast(number)),),
        ]
    if it.state == "paused":
        return [(Button(speech.label("button-broadcast-resume"), ResumeBroadcast(number)), end)]
    return [(Button(speech.label("button-broadcast-again"), UseAgain(number)),)] if it.state in _OVER else []


def _if_missed(speech: Speech, it: Progress) -> Button:
    other = "skip" if it.on_missed == "send" else "send"
    return Button(speech.label("button-broadcast-missed", choice=it.on_missed), IfMissed(it.id, other))


def _drafts_buttons(speech: Speech, it: Progress, end: Button) -> list[Row]:
    number = it.id
    rows: list[Row] = [
        (
            Button(speech.label("button-broadcast-message", variant="a"), Compose(number, "a")),
            Button(speech.label("button-broadcast-buttons", variant="a"), ComposeButtons(number, "a")),
        ),
        (
            Button(speech.label("button-broadcast-message", variant="b"), Compose(number, "b")),
            Button(speech.label("button-broadcast-buttons", variant="b"), ComposeButtons(number, "b")),
        )
        if it.has_b
        else (Button(speech.label("button-broadcast-add-b"), Compose(number, "b")),),
    ]
    if it.has_b:
        shares = [
            Button(speech.label("button-broadcast-share", percent=str(share)), ShareOfB(number, share))
            for share in SHARES
            if share != it.share_b
        ]
        rows += [tuple(shares), (Button(speech.label("button-broadcast-drop-b"), DropB(number)),)]
    rows.append((Button(speech.label("button-broadcast-segment"), ShowSegment(number)),))
    if it.ready:
        rows += [
            (
                Button(speech.label("button-broadcast-preview"), Preview(number)),
                Button(speech.label("button-broadcast-schedule"), Schedule(number)),
            ),
            (_if_missed(speech, it),),
            (Button(speech.label("button-broadcast-send"), SendAsk(number)),),
        ]
    rows.append((end,))
    return rows


# ------------------------------------------------------------------------------------------ composing


def compose(
    speech: Speech,
    it: Progress,
    which: str,
    languages: Sequence[str],
    *,
    problem: str | None = None,
) -> Screen:
    """Send a message of any kind, or write a text for each language."""
    content = variant(it.content, has_b=which == "b") if which == "a" or it.has_b else {}
    written = content.get("text") or {}
    rows: list[Row] = [
        (
            Button(
                speech.label(
                    "button-broadcast-text", language=language, done="yes" if language in written else "no"
                ),
                ComposeText(it.id, which, language),
            ),
        )
        for language in languages
    ]
    texts = [f"<b>{escape(language)}</b>\n{_cut(str(text))}" for language, text in written.items()]
    return Screen(
        paragraphs(
            None if problem is None else speech.say("broadcast-problem", problem=problem),
            speech.say("broadcast-compose", variant=which if it.has_b or which == "b" else "none"),
            *texts,
        ),
        (*rows, _back(speech, it.id)),
    )


def _cut(html: str) -> str:
    """A text as it is if it is short, else its beginning in plain letters."""
    return html if fits(html, _SHOWN) else fitting(html, _SHOWN)


def ask_for_text(speech: Speech, it: Progress, which: str, language: str, *, again: bool = False) -> Screen:
    """The text in one language, in words."""
    problem = speech.say("broadcast-problem", problem="no-text") if again else None
    return Screen(
        paragraphs(problem, speech.say("broadcast-ask-text", language=language)),
        (
            (Button(speech.label("button-broadcast-message", variant=which), Compose(it.id, which)),),
            _back(speech, it.id),
        ),
    )


def ask_for_buttons(
    speech: Speech, it: Progress, which: str, *, line: int = 0, fault: str | None = None
) -> Screen:
    """Buttons, in lines."""
    problem = None if fault is None else speech.say("broadcast-buttons-fault", line=line, fault=fault)
    content = variant(it.content, has_b=which == "b")
    present = write_buttons(content.get("buttons") or ())[:_SHOWN]
    return Screen(
        paragraphs(
            problem,
            speech.say("broadcast-ask-buttons"),
            None if not present else speech.say("broadcast-buttons-now", lines=code(present)),
        ),
        (_back(speech, it.id),),
    )


# ------------------------------------------------------------------------------------------ questions


def confirm_send(speech: Speech, it: Progress, people: int, rate: float | None, asked: int) -> Screen:
    """To how many and how long it takes; nobody is asked about nobody."""
    if not people:
        return Screen(
            speech.say("broadcast-nobody"),
            ((Button(speech.label("button-broadcast-segment"), ShowSegment(it.id)),), _back(speech, it.id)),
        )
    text = speech.say("broadcast-confirm", id=str(it.id), count=people, time=_takes(speech, people, rate))
    yes = Button(speech.label("button-broadcast-yes", count=people), SendNow(it.id, people, asked))
    return Screen(text, ((yes,), _back(speech, it.id)))


def _takes(speech: Speech, people: int, rate: float | None) -> str:
    return length(speech, people / rate) if rate else length(speech, 1)


def ask_for_time(
    speech: Speech, it: Progress, now: datetime, ahead: timedelta, *, problem: str | None = None
) -> Screen:
    """A day and a time of day, in words."""
    local = now + ahead
    example = local + timedelta(days=1)
    return Screen(
        paragraphs(
            None if problem is None else speech.say("broadcast-time-problem", problem=problem),
            speech.say(
                "broadcast-ask-time",
                clock=f"{local:%Y-%m-%d %H:%M}",
                zone=zone_name(ahead),
                example=code(f"{example:%Y-%m-%d} 10:00"),
            ),
        ),
        (_back(speech, it.id),),
    )


def confirm_schedule(
    speech: Speech,
    it: Progress,
    people: int,
    rate: float | None,
    at: datetime,
    ahead: timedelta,
    asked: int,
) -> Screen:
    """When it begins, to how many as things are, and how long that takes."""
    text = speech.say(
        "broadcast-confirm-time",
        id=str(it.id),
        at=speech.moment(at, ahead),
        count=people,
        time=_takes(speech, people, rate),
        missed=it.on_missed,
    )
    minute = int(at.timestamp() // 60)
    yes = Button(speech.label("button-broadcast-schedule-yes"), ScheduleNow(it.id, minute, people, asked))
    return Screen(text, ((yes,), _back(speech, it.id)))


def confirm_end(speech: Speech, it: Progress, asked: int) -> Screen:
    """What ends with it."""
    text = speech.say(
        "broadcast-confirm-end",
        id=str(it.id),
        state=it.state,
        sent=it.sent,
        left=max(0, it.all_in_all - it.served),
    )
    yes = Button(speech.label("button-broadcast-end-yes", state=it.state), EndNow(it.id, asked))
    return Screen(text, ((yes,), _back(speech, it.id)))


def preview_problem(speech: Speech, why: str) -> str:
    """Telegram would not send it."""
    return speech.say("broadcast-preview-problem", why=why[:300])
