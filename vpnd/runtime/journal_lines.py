"""How one log entry looks: a line for people, a prefixed line for systemd, a JSON object, a native journal
entry.

An entry comes here complete and already free of secrets. What is left to guard against is its text: a
customer chooses his own first name, and a name with a line break or a terminal escape in it must not forge a
second entry or repaint an operator's screen. Control characters are therefore shown and not sent, in
everything but a traceback's own line breaks.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from attrs import field, frozen

from vpnd.runtime.journald import encode_entry, field_name

__all__ = [
    "IDENTIFIER",
    "Entry",
    "Level",
    "message_id",
    "render_console",
    "render_json",
    "render_native",
    "render_plain",
]

Level = str
IDENTIFIER: Final = "vpnd"

# A fixed namespace, so that an event's MESSAGE_ID is the same in each version and on each machine. It must
# never change: operators match on these ids (`journalctl MESSAGE_ID=…`).
_NAMESPACE: Final = uuid.UUID("6e9d8c4a-2b57-5f0e-9a31-76706e640001")

# syslog(3) severities.
PRIORITIES: Final[Mapping[Level, int]] = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_COLOURS: Final[Mapping[Level, str]] = {
    "critical": "\x1b[1;31m", "error": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[32m", "debug": "\x1b[2m",
}  # fmt: skip
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"
# Wide enough for nearly all event names; a longer one pushes its own line only.
_EVENT_WIDTH: Final = 28
# C0, DEL, C1 and the separators that some viewers take for line breaks; also the marks that reverse the
# direction of text.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_BREAKS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NEEDS_QUOTES: Final = re.compile(r"[\s\"=]|^$")

FieldValue = str | int | float | bool | None


@frozen
class Entry:
    """One log entry, redacted: what happened (``event``), a sentence for people (``message``) and the facts (``fields``)."""

    event: str
    level: Level
    room: str
    message: str = ""
    tag: str | None = None
    fields: Mapping[str, FieldValue] = field(factory=dict)
    trace: str | None = None
    time: datetime = field(factory=lambda: datetime.now(UTC))

    @property
    def sentence(self) -> str:
        """The tag and the human sentence; the event's name where no sentence was given."""
        text = self.message or self.event
        return f"{self.tag} {text}" if self.tag else text


Renderer = Callable[[Entry], str | bytes]


def message_id(event: str) -> str:
    """Return the MESSAGE_ID of an event name: 32 hex digits, the same for ever."""
    return uuid.uuid5(_NAMESPACE, event).hex


def render_native(entry: Entry) -> bytes:
    """Return the entry in journald's native protocol, facts as ``VPND_*`` fields."""
    fields = {
        "MESSAGE": entry.sentence if entry.trace is None else f"{entry.sentence}\n{entry.trace}",
        "MESSAGE_ID": message_id(entry.event),
        "PRIORITY": str(PRIORITIES[entry.level]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "VPND_EVENT": entry.event,
        "VPND_ROOM": entry.room,
    }
    if entry.tag:
        fields["VPND_TAG"] = entry.tag.strip("[]")
    for name, value in entry.fields.items():
        fields.setdefault("VPND_" + field_name(name)[:59], _plain(value))
    return encode_entry(fields)


def render_json(entry: Entry) -> str:
    """Return the entry as one JSON object on one line; the facts stand under ``fields``."""
    shape: dict[str, object] = {
        "time": entry.time.isoformat(timespec="milliseconds"),
        "level": entry.level,
        "event": entry.event,
        "room": entry.room,
        "message": entry.sentence,
    }
    if entry.tag:
        shape["tag"] = entry.tag
    if entry.fields:
        shape["fields"] = dict(entry.fields)
    if entry.trace:
        shape["trace"] = entry.trace
    return json.dumps(shape, ensure_ascii=False)


def render_plain(entry: Entry) -> str:
    """Return lines with the ``<N>`` prefix systemd reads a priority from; each line of a traceback carries it."""
    prefix = f"<{PRIORITIES[entry.level]}>"
    first = f"{prefix}{entry.event}: {_one_line(entry.sentence)}{_facts(entry)}"
    return "\n".join([first, *(f"{prefix}  {line}" for line in _trace_lines(entry))])


def render_console(entry: Entry, *, colour: bool) -> str:
    """Return an aligned line for a terminal, local time; a traceback is indented beneath."""
    clock = entry.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    level, event = f"{entry.level:<8}", f"{entry.event:<{_EVENT_WIDTH}}"
    message, facts = _one_line(entry.sentence), _facts(entry)
    if colour:
        clock = f"{_DIM}{clock}{_RESET}"
        level = f"{_COLOURS[entry.level]}{level}{_RESET}"
        event = f"{_BOLD}{event}{_RESET}"
        facts = f"{_DIM}{facts}{_RESET}" if facts else ""
    line = f"{clock} {level} {event} {message}{facts}"
    return "\n".join([line, *(f"    {traced}" for traced in _trace_lines(entry))])


def _facts(entry: Entry) -> str:
    """Return the fields as ``key=value`` words, without those the sentence spells out itself in that form."""
    words = []
    for name, value in entry.fields.items():
        if f"{name}=" not in entry.message:
            text = _one_line(_plain(value))
            words.append(
                f"{name}={json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text}"
            )
    return "  " + " ".join(words) if words else ""


def _plain(value: FieldValue) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _trace_lines(entry: Entry) -> list[str]:
    return [] if entry.trace is None else _CONTROL_BUT_BREAKS.sub(_shown, entry.trace).splitlines()


def _one_line(text: str) -> str:
    return _CONTROL.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
