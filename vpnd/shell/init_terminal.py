"""The terminal of `vpnd init`: questions with their defaults, secrets without an echo, and verdicts in plain lines."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from attrs import define, field

from vpnd.runtime.redact import redact
from vpnd.shell.init_questions import Question
from vpnd.shell.init_verdict import Verdict

__all__ = ["Person", "printable"]


def printable(text: str) -> str:
    """Return `text` without what would move a cursor or colour a terminal: names come from other people."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _say(line: str) -> None:
    sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()


@define
class Person:
    """Somebody at the terminal."""

    _number: int = field(default=0)
    _last: str = field(default="")

    def ask(self, question: Question, default: str | None, *, again: bool) -> str:
        """Ask; `?` shows how to come by an answer. What is typed for a secret is not shown. Raises EOFError."""
        if question.name != self._last:
            self._number += 1
            self._last = question.name
            sys.stdout.write("\n")
            if question.hint and default is None:
                _say(f"   {question.hint}")
        while True:
            typed = self._read(
                f"{self._number:>2}. {question.words}{_shown(question, default, again=again)}: ", question
            )
            if typed == "?":
                _say(f"   {question.hint or 'There is no more to say about it.'}")
            elif typed:
                # A lone minus takes a default back where nothing is an answer, too.
                return "" if typed == "-" and question.may_be_empty else typed
            elif default is not None:
                return default
            else:
                _say("   It needs an answer; ? says how to come by one.")

    def settle(self) -> Literal["again", "change", "keep"]:
        """Ask what becomes of an answer that could not be judged. Raises EOFError."""
        while True:
            typed = (
                input("   Enter tries again, c changes the answer, k keeps it unchecked: ").strip().lower()
            )
            if typed in ("", "c", "k"):
                return "again" if not typed else "change" if typed == "c" else "keep"

    def may_replace(self, places: Sequence[Path]) -> bool:
        """Ask whether files that are there with another content may be replaced. Raises EOFError."""
        _say("\nThere already, with another content:")
        for place in places:
            _say(f"   {place}")
        return input("Replace them, and keep a copy of each? y or n [n]: ").strip().lower() in ("y", "yes")

    def looks(self) -> None:
        """Tell that a check has begun; the verdict takes the line."""
        sys.stdout.write("   checking …")
        sys.stdout.flush()

    def refused(self, question: Question, why: str) -> None:
        """Tell that an answer cannot be taken."""
        _say(f"   no: {question.name} {why}")

    def told(self, question: Question, verdict: Verdict) -> None:
        """Tell a check's verdict, what is worth a word, and what helps."""
        sys.stdout.write("\r\x1b[K")
        word = {"good": "ok", "doubt": "unsure", "wrong": "no"}[verdict.kind]
        _say(f"   {word}: {verdict.text}")
        if verdict.remedy:
            _say(f"   remedy: {verdict.remedy}")
        for note in verdict.notes:
            _say(f"   note: {note}")
        if verdict.kind == "wrong" and question.secret:
            _say("   Enter checks the same again.")

    @staticmethod
    def _read(prompt: str, question: Question) -> str:
        typed = getpass.getpass(prompt) if question.secret else input(prompt)
        return typed.strip()


def _shown(question: Question, default: str | None, *, again: bool) -> str:
    if not default:
        return " (not shown)" if question.secret else ""
    if question.secret:
        known = question.default_words if not again else "the same again"
        return f" (not shown) [{known}]" if known else " (not shown)"
    return f" [{redact(default)}]"
