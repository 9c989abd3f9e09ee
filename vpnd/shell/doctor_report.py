"""What `vpnd doctor` says: lines as it goes, findings with a remedy, or the whole as JSON; and how its checks are run.

A check is bounded and alone: one that hangs, or fails in a way that nobody foresaw, is a finding of its own and hides no other.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

import trio
from attrs import asdict, define, field, frozen

from vpnd.runtime.redact import redact

__all__ = ["PARTS", "Check", "Finding", "Part", "Report", "described", "kept_lines", "run_checks", "say"]

Part = Literal["machine", "config", "database", "queues", "boundaries", "books", "providers", "nodes"]
#: What the command looks at, in this order.
PARTS: Final[tuple[Part, ...]] = (
    "machine",
    "config",
    "database",
    "queues",
    "boundaries",
    "books",
    "providers",
    "nodes",
)

Severity = Literal["critical", "warning"]

_kept: ContextVar[list[dict[str, str]] | None] = ContextVar("doctor's lines", default=None)


def say(head: str, text: str) -> None:
    """Say one line about `head`: print it, or keep it for the document."""
    kept = _kept.get()
    if kept is None:
        sys.stdout.write(f"{head:<11} {text}\n")
    else:
        kept.append({"about": head, "text": text})


@contextmanager
def kept_lines(*, keep: bool) -> Iterator[list[dict[str, str]]]:
    """With `keep`, what is said within the block goes into the list that it gets, and is not printed."""
    lines: list[dict[str, str]] = []
    token = _kept.set(lines if keep else None)
    try:
        yield lines
    finally:
        _kept.reset(token)


@frozen
class Finding:
    """Something that is not as it should be.

    Attributes:
        about: what was looked at.
        severity: `critical` if customers or money are concerned now or soon.
        text: what was found.
        remedy: what to do.
    """

    about: str
    severity: Severity
    text: str
    remedy: str


@define
class Report:
    """All findings of a run, and the exit code that they make."""

    findings: list[Finding] = field(factory=list)

    def find(self, about: str, severity: Severity, text: str, remedy: str) -> None:
        """Note a finding and say it."""
        one = Finding(about, severity, redact(text), remedy)
        self.findings.append(one)
        if _kept.get() is None:
            sys.stdout.write(f"{about:<11} {severity.upper()}: {one.text}\n{'':<11} remedy: {one.remedy}\n")

    def left(self, about: str, count: int, text: str, remedy: str) -> None:
        """Note that differences are left; each was named already."""
        if count:
            self.findings.append(Finding(about, "critical", text, remedy))

    @property
    def code(self) -> int:
        """0 if nothing was found, else 1."""
        return 1 if self.findings else 0

    def document(self, lines: Sequence[dict[str, str]]) -> dict[str, Any]:
        """Return the run as JSON."""
        return {
            "fine": not self.findings,
            "findings": [asdict(one) for one in self.findings],
            "lines": list(lines),
        }

    def end(self, lines: Sequence[dict[str, str]], *, as_json: bool) -> int:
        """Say the end, and return the exit code."""
        if as_json:
            sys.stdout.write(json.dumps(self.document(lines), ensure_ascii=False, indent=1) + "\n")
        elif not self.findings:
            sys.stdout.write("Everything agrees.\n")
        return self.code


@frozen
class Check:
    """One thing to look at.

    Attributes:
        about: what its lines begin with.
        look: says facts, and notes findings.
        seconds: how long it may take.
        remedy: what to do when it gives no answer at all.
    """

    about: str
    look: Callable[[Report], Awaitable[object]]
    seconds: float = 10.0
    remedy: str = "look at it by hand: the check itself could not be made"


def described(error: Exception) -> str:
    """Return what an error says; of one that nobody foresaw its kind and its place as well, for who reports it."""
    text = redact(str(error))
    if text and (isinstance(error, OSError) or type(error).__module__.startswith("vpnd.")):
        return text
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    place = f" at {last.filename.rpartition('/')[2]}:{last.lineno}" if last is not None else ""
    return f"{type(error).__name__}{place}: {text}"


async def run_checks(report: Report, checks: Sequence[Check]) -> None:
    """Run all checks at once, each within its own time, and say their results in the order of `checks`."""
    parts: list[tuple[Report, list[dict[str, str]]]] = [(Report(), []) for _ in checks]

    async def one(check: Check, part: Report, lines: list[dict[str, str]]) -> None:
        _kept.set(lines)  # a task's own: nothing is printed before its turn
        with trio.move_on_after(check.seconds) as scope:
            try:
                await check.look(part)
            except Exception as error:
                text = f"could not be looked at: {described(error)}"
                part.findings.append(Finding(check.about, "critical", text, check.remedy))
        if scope.cancelled_caught:
            text = f"no answer within {check.seconds:g} s"
            part.findings.append(Finding(check.about, "critical", text, check.remedy))

    async with trio.open_nursery() as nursery:
        for check, (part, lines) in zip(checks, parts, strict=True):
            nursery.start_soon(one, check, part, lines, name=f"doctor: {check.about}")
    for part, lines in parts:
        for line in lines:
            say(line["about"], line["text"])
        for found in part.findings:
            report.find(found.about, found.severity, found.text, found.remedy)
