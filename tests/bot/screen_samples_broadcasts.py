"""Screens about broadcasts, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from vpnd.bot.screens import broadcast_segments, broadcasts
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.shop.broadcasts import Progress, Variant
from vpnd.shop.segments import Segment

HUGE = 2**63 - 1
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUTTONS = [[{"text": "<b>&" * 16, "url": "https://example.org/" + "x" * 400}] * 3] * 4
TEXT = {"text": {"en": "<b>News</b> &amp; more " * 150, "ru": "Новости"}, "buttons": BUTTONS}
COPY = {"copy": {"from_chat_id": 1, "message_id": 2}, "b": TEXT}
ALL = Segment(
    languages=["en", "ru"], active=True, trial=False, bought=True, plans=["<p>" * 10] * 60, expired_days=1, balance_over=0,
    balance_under=10**15, currency="RUB", came=True, brought=False, idle_days=36_500,
)  # fmt: skip


def made(**changes: Any) -> Progress:
    """A broadcast with the largest numbers there can be."""
    values: dict[str, Any] = {
        "id": HUGE, "title": "<b>Sale & more" * 5, "state": "draft", "filled": False, "total": 10**6, "sent": 3 * 10**5,
        "unreachable": 10**4, "failed": 10**3, "repeated": 17, "started_at": NOW, "finished_at": None, "content": COPY,
        "segment": ALL, "created_by": "admin:1", "created_at": NOW, "expected": 10**9, "share_b": 50, "scheduled_at": NOW,
        "on_missed": "skip", "halted": "Bad Request: <message> to copy & not found " * 9,
        "b": Variant(5 * 10**5, 10**5, 10**3, 10**2), "now": NOW,
    }  # fmt: skip
    return Progress(**(values | changes))


STATES = ("draft", "scheduled", "running", "paused", "stopped", "done", "missed")


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen about broadcasts."""
    it, plain = (
        made(),
        made(content={}, segment=Segment(), halted=None, title="", on_missed="send", share_b=0),
    )
    ahead = timedelta(hours=3)
    found = [made(id=HUGE - number, state=STATES[number % 7]) for number in range(broadcasts.PAGE + 1)]
    return {
        "broadcasts": broadcasts.listing(speech, found, may_send=True),
        "broadcasts none": broadcasts.listing(
            speech, [], may_send=False, preface=speech.say("broadcast-gone")
        ),
        **{
            f"broadcast {state}": broadcasts.one(
                speech, made(state=state), may_send=True, rate=30.0, ahead=ahead, preface=speech.say("catalogue-done")
            )
            for state in STATES
        },
        "broadcast scheduled late": broadcasts.one(
            speech, made(state="scheduled", on_missed="send"), may_send=False, rate=None
        ),
        "broadcast running unlimited": broadcasts.one(speech, made(state="running"), may_send=True, rate=None),
        "broadcast empty": broadcasts.one(speech, plain, may_send=True, rate=30.0),
        "broadcast notice": broadcasts.one(
            speech, made(content={"notice": {"template": "maintenance"}}), may_send=True, rate=30.0
        ),
        **{
            f"broadcast not now {state}": broadcasts.one(
                speech, it, may_send=True, rate=30.0, preface=speech.say("broadcast-not-now", state=state)
            )
            for state in (*STATES, "discarded")
        },
        **{
            f"broadcast compose {name}": broadcasts.compose(speech, one, which, ("en", "ru"), problem=problem)
            for name, which, one, problem in (
                ("album", "a", it, "album"), ("invoice", "b", it, "invoice"), ("paid", "a", plain, "paid"),
                ("quiz", "b", plain, "quiz"), ("text", "a", made(content=TEXT), None), ("a", "a", it, None),
                ("b", "b", it, None), ("nothing", "a", plain, None),
            )
        },
        "broadcast text": broadcasts.ask_for_text(speech, it, "a", "en"),
        "broadcast text again": broadcasts.ask_for_text(speech, it, "b", "ru", again=True),
        "broadcast buttons": broadcasts.ask_for_buttons(speech, it, "b"),
        **{
            f"broadcast buttons {fault}": broadcasts.ask_for_buttons(speech, plain, "a", line=3, fault=fault)
            for fault in ("form", "label", "address", "row", "many")
        },
        "broadcast confirm": broadcasts.confirm_send(speech, it, 1_000_000, 30.0, HUGE),
        "broadcast confirm one": broadcasts.confirm_send(speech, plain, 1, None, HUGE),
        "broadcast confirm nobody": broadcasts.confirm_send(speech, it, 0, 30.0, HUGE),
        "broadcast time": broadcasts.ask_for_time(speech, it, NOW, ahead),
        **{
            f"broadcast time {problem}": broadcasts.ask_for_time(speech, it, NOW, ahead, problem=problem)
            for problem in ("form", "past", "far")
        },
        "broadcast confirm time": broadcasts.confirm_schedule(speech, it, 10**6, 30.0, NOW, ahead, HUGE),
        "broadcast confirm time late": broadcasts.confirm_schedule(speech, plain, 1, None, NOW, ahead, HUGE),
        **{
            f"broadcast end {state}": broadcasts.confirm_end(speech, made(state=state), HUGE)
            for state in ("draft", "scheduled", "running", "paused")
        },
        "broadcast preview refused": broadcasts.one(
            speech, it, may_send=True, rate=30.0, preface=broadcasts.preview_problem(speech, "<b>" * 200)
        ),
        **_segments(speech, it, plain),
    }  # fmt: skip


def _segments(speech: Speech, it: Progress, plain: Progress) -> dict[str, Screen]:
    plans = [(f"p{number}", "Семья & <друзья>" * 3) for number in range(40)]
    few = made(
        segment=Segment(
            active=False, trial=True, bought=False, came=False, brought=True, idle_days=1, plans=[]
        )
    )
    return {
        "segment": broadcast_segments.overview(speech, it, may_send=True),
        "segment all": broadcast_segments.overview(
            speech, plain, may_send=False, preface=broadcast_segments.counted(speech, 10**6, "9 h")
        ),
        "segment few": broadcast_segments.overview(
            speech, few, may_send=True, preface=speech.say("segment-too-many", count=10**7)
        ),
        **{
            f"segment {part}": broadcast_segments.part(speech, it, part, languages=("en", "ru"), plans=plans)
            for part in broadcast_segments.PARTS
        },
        **{
            f"segment write {part} {again}": broadcast_segments.write(speech, it, part, "RUB", again=again)
            for part in broadcast_segments.WRITTEN
            for again in (False, True)
        },
    }
