"""What a live check says of an answer: it is good, it cannot be judged now, or it is wrong; with what helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Factory, frozen

from vpnd.runtime.redact import redact

__all__ = ["Verdict", "doubt", "good", "wrong"]


@frozen
class Verdict:
    """The outcome of a check.

    Attributes:
        kind: `doubt` is what may turn out right: the other side is away, or was not seen yet.
        text: what was found; no secret is in it.
        remedy: what to do about it; empty when good.
        notes: what is worth a word although it is good.
        again: the questions that a wrong answer is asked for again; none: the one that was checked.
        learned: what is known from now on, see `Answers.learned`.
    """

    kind: Literal["good", "doubt", "wrong"]
    text: str
    remedy: str = ""
    notes: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    learned: Mapping[str, str] = Factory(dict)


def good(text: str, *notes: str, **learned: str) -> Verdict:
    """An answer that holds."""
    return Verdict("good", redact(text), notes=tuple(map(redact, notes)), learned=learned)


def doubt(text: str, remedy: str, *again: str, **learned: str) -> Verdict:
    """An answer that could not be judged."""
    return Verdict("doubt", redact(text), redact(remedy), again=again, learned=learned)


def wrong(text: str, remedy: str, *again: str, **learned: str) -> Verdict:
    """An answer that does not hold."""
    return Verdict("wrong", redact(text), redact(remedy), again=again, learned=learned)
