"""`vpnd audit`: the async-safety report of the running daemon, a line for each of the audit's findings.

A line tells the worst, with who it was, its limit, and how many were looked at. What nobody has seen is "not measured", which
is not "fine": the exit code is 1 then, and when a limit is broken.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from vpnd.runtime.control import ControlClient
from vpnd.shell.daemon_socket import run_against_daemon

__all__ = ["audit", "judge", "render"]

#: Seconds beyond the time of a watch within which its result has to be there.
PATIENCE: Final = 15.0

_SIGNS: Final = {"ok": "ok", "told": "told", "broken": "BROKEN", "not measured": "not measured"}


def audit(socket: Path, *, seconds: float | None, as_json: bool, allow_idle: bool, strict: bool) -> int:
    """Ask the daemon at `socket`, print the report, return the exit code.

    Args:
        seconds: watch for so long, and report that; None: what is kept of today.
        as_json: print the daemon's document, with its kept days.
        allow_idle: what was not measured is no reason to fail.
        strict: a threshold that the journal tells of counts as a limit.
    """

    async def body() -> int:
        request: dict[str, Any] = {"command": "audit"}
        if seconds is not None:
            request["seconds"] = seconds
        document = await ControlClient(socket).ask(
            request, deadline=(seconds or 0) + PATIENCE, on_event=None if as_json else _say_watching
        )
        code = judge(document["lines"], allow_idle=allow_idle, strict=strict)
        sys.stdout.write(json.dumps(document, indent=2) + "\n" if as_json else render(document))
        return code

    return run_against_daemon(body)


def _say_watching(event: Mapping[str, Any]) -> None:
    sys.stderr.write(f"watching for {event.get('watching', 0):g} s\n")


def judge(lines: Sequence[Mapping[str, Any]], *, allow_idle: bool, strict: bool = False) -> int:
    """Return the exit code: 1 when a limit is broken, or (unless idleness is allowed) something was not measured."""
    bad = {"broken"} | (set() if allow_idle else {"not measured"}) | ({"told"} if strict else set())
    return int(any(line["state"] in bad for line in lines))


def render(document: Mapping[str, Any]) -> str:
    """Return the report as text."""
    lines = document["lines"]
    table = [("finding", "measured", "worst", "limit", "seen", "over", "", "who")]
    former = None
    for line in lines:
        worst = line["worst"]
        table.append(
            (
                line["row"] if line["row"] != former else "",
                line["what"],
                _value(worst["value"], line["unit"]) if worst else "-",
                ("at least " if line["floor"] else "")
                + _value(worst["limit"] if worst else line["limit"], line["unit"]),
                f"{line['count']:,}",
                f"{line['over']:,}" if line["over"] else "",
                _SIGNS[line["state"]],
                _who(worst),
            )
        )
        former = line["row"]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([_head(document), "", *text, "", _sum(document)]) + "\n"


def _head(document: Mapping[str, Any]) -> str:
    if document["kind"] == "watch":
        return f"What {document['seconds']:g} s showed."
    return f"What {next(iter(document['days']))} (UTC) showed until now, since the daemon runs."


def _sum(document: Mapping[str, Any]) -> str:
    lines = document["lines"]
    broken = sum(line["state"] == "broken" for line in lines)
    blind = sum(line["state"] == "not measured" for line in lines)
    told = sum(line["state"] == "told" for line in lines)
    said = [
        f"{broken or 'no'} limit{'s' if broken > 1 else ''} broken",
        f"{blind} not measured" if blind else "everything measured",
    ]
    if told:
        said.append(f"{told} over what the journal tells from")
    for day, former in list(document.get("days", {}).items())[1:]:
        bad = [line["what"] for line in former if line["state"] == "broken"]
        if bad:
            said.append(f"on {day}: {', '.join(dict.fromkeys(bad))}")
    return "; ".join(said) + "."


def _value(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "share":
        return f"{value:.0%}"
    return f"{value:,.0f}"


def _who(worst: Mapping[str, Any] | None) -> str:
    if worst is None:
        return ""
    at = datetime.fromtimestamp(worst["at"], UTC).strftime("%H:%M:%S")
    return f"{' '.join(part for part in (worst['who'], worst['where']) if part)}, {at}"
