"""For admins: the daemon at a glance, in a few lines of the document that `vpnd status` draws too.

Each part is made on its own, and one that is missing, says what is wrong with it, or cannot be read is told as that: a
picture is asked for when something is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from vpnd.bot.admin_callbacks import Status, Switches
from vpnd.bot.callbacks import Home
from vpnd.bot.markup import visible_length
from vpnd.bot.screens.alerts import alarm_line
from vpnd.bot.screens.screen import MAX_TEXT, Button, Screen, paragraphs
from vpnd.bot.screens.trouble import banner
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money
from vpnd.shop.switches import Snapshot

_MB: Final = 1024 * 1024
#: Lines of one part, and letters of a text that is not ours: as a rule all parts fit into Telegram's 4096.
_MOST: Final = {"alarms": 5, "workers": 24, "nodes": 8, "money": 8, "queues": 6}
_SHOWN: Final = 80


def status(speech: Speech, document: Mapping[str, Any], snapshot: Snapshot) -> Screen:
    """The picture, and the way to what can be paused."""
    text = _fitting(
        _part(speech, document, "service", _service),
        banner(speech, None if snapshot.banner is None else snapshot.banner.text[: 3 * _SHOWN]),
        _part(speech, document, "alarms", _alarms),
        _paused(speech, snapshot),
        _part(speech, document, "workers", _workers),
        "\n".join(
            line
            for line in (
                _part(speech, document, name, make)
                for name, make in (
                    ("queues", _queues),
                    ("lanes", _lanes),
                    ("pools", _pools),
                    ("loop", _loop),
                    ("process", _process),
                )
            )
            if line
        ),
        _part(speech, document, "nodes", _nodes),
        _part(speech, document, "money", _money),
    )
    return Screen(
        text or speech.say("status-nothing"),
        (
            (
                Button(speech.label("button-refresh"), Status()),
                Button(speech.label("button-switches"), Switches()),
            ),
            (Button(speech.label("button-home"), Home()),),
        ),
    )


def _fitting(*parts: str | None) -> str:
    """The parts that there is room for, the first ones first."""
    text = ""
    for part in parts:
        longer = paragraphs(text, part)
        if visible_length(longer) <= MAX_TEXT:
            text = longer
    return text


def _part(
    speech: Speech, document: Mapping[str, Any], name: str, make: Callable[[Speech, Any], Iterator[str]]
) -> str | None:
    """A part's lines; None for one that is not there."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, Mapping) and set(value) == {"error"}:
        return speech.say("status-error", part=name, error=str(value["error"])[:_SHOWN])
    try:
        lines = list(make(speech, value))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return speech.say("status-unread", part=name)
    most = _MOST.get(name, len(lines))
    rest = len(lines) - most - 1  # the first is a heading
    if rest > 0:
        lines = [*lines[: most + 1], speech.say("alarm-more", count=rest)]
    return "\n".join(lines)


def _ago(speech: Speech, moment: float) -> str:
    return speech.span(max(0.0, time.time() - moment))


def _service(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    since = value.get("since")
    up = "–" if not since else _ago(speech, since)
    name = str(value["instance"])[:_SHOWN]
    yield speech.say("status-service", name=name, version=value["version"], up=up)
    line = str(value.get("status") or "")[: 2 * _SHOWN]
    if line:
        yield speech.say("status-line", line=line)
    for child in value.get("children", ()):
        if child["state"] not in ("running", "stopped"):
            yield speech.say("status-child", name=child["name"], state=child["state"])


def _alarms(speech: Speech, value: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not value:
        yield speech.say("status-no-alarms")
        return
    yield speech.say("alarms-raised")
    for alarm in value:
        yield alarm_line(speech, alarm)


def _paused(speech: Speech, snapshot: Snapshot) -> str | None:
    names = ", ".join(switch.name for switch in snapshot.all_paused)
    return speech.say("status-paused", names=names[: 3 * _SHOWN]) if names else None


def _workers(speech: Speech, value: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield speech.say("status-workers")
    # What fails stands first, so that it is never what is cut off.
    for one in sorted(value, key=lambda one: (not one["failures_in_a_row"], not one["paused"], one["name"])):
        failing, outcome = one["failures_in_a_row"], one["last_outcome"]
        state = "failing" if failing else "paused" if one["paused"] else "new" if outcome is None else "fine"
        yield speech.say(
            "status-worker",
            state=state,
            name=one["name"],
            outcome=outcome or "–",
            ago="–" if one["last_end"] is None else _ago(speech, one["last_end"]),
            count=failing,
        )


def _queues(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    yield speech.say(
        "status-queues",
        inbox=value["inbox_pending"],
        age=speech.span(value["inbox_age"]),
        dead=value["dead_letters"],
    )
    for kind, count in sorted(value["outbox_ready"].items()):
        if count:
            age = speech.span(value["outbox_age"].get(kind, 0))
            yield speech.say("status-outbox", kind=kind, count=count, age=age)


def _lanes(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    waiting = ", ".join(f"{lane} {count}" for lane, count in value["waiting"].items())
    yield speech.say("status-lanes", waiting=waiting or "–", refused=value["refused"])


def _pools(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    def said(pool: Mapping[str, Any]) -> str:
        waiting = f" (+{pool['waiting']})" if pool["waiting"] else ""
        return f"{pool['borrowed']}/{pool['total']}{waiting}"

    connections = value["connections"]
    yield speech.say(
        "status-pools",
        database=said(value["database"]),
        http=said(value["http"]),
        down="yes" if connections["down"] else "no",
    )


def _loop(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    yield speech.say("status-loop", worst=round((value["worst_minute"] or 0) * 1000))


def _process(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    yield speech.say(
        "status-process",
        memory=round(value["memory"] / _MB),
        growth=f"{value['memory_growth'] / _MB:+.0f}",
        cpu=round(value["cpu"] * 100),
        tasks=value["tasks"],
    )


def _nodes(speech: Speech, value: Mapping[str, Any]) -> Iterator[str]:
    yield speech.say("status-nodes", count=len(value["nodes"]), overdue=value["overdue"])
    # Again the wrong ones first.
    for node in sorted(
        value["nodes"], key=lambda one: (not (one["expired_but_on"] or one["paid_but_off"]), one["name"])
    ):
        yield speech.say(
            "status-node",
            name=node["name"],
            seen="no" if node["seen_at"] is None else "yes",
            ago=speech.span(node["silent_for"]),
            behind=node["behind"],
            on=node["expired_but_on"],
            off=node["paid_but_off"],
        )


def _money(speech: Speech, value: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield speech.say("status-money", count=len(value))
    for one in value:
        yield speech.say(
            "status-takings",
            provider=one["provider"],
            count=one["charges"],
            more="yes" if one["more"] else "no",
            amount=Money(int(one["amount"]), str(one["currency"])),
            held=one["held"],
        )
