"""The dialogue of `vpnd init`: which question comes next, what becomes of an answer, and how a check's verdict leads on.

It knows neither terminal nor network: both are given. What was answered stays, whatever is asked again: a wrong answer is the
default of its own question, since its remedy is often outside (a role to be made, a service to be started).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from attrs import define, field, frozen

from vpnd.config.kinds import RefusalError
from vpnd.runtime.redact import register_secret
from vpnd.shell.init_questions import QUESTIONS, Answers, CheckName, Question, is_here
from vpnd.shell.init_verdict import Verdict

__all__ = ["BACK", "AnswersWrong", "ChecksFailed", "Dialogue", "Given", "Terminal", "malformed", "missing"]

#: Typed for an answer: the question before is asked again, with its answer as the default.
BACK: Final = "<"

Check = Callable[[CheckName, Answers], Verdict]
Present = Callable[[str], str | None]


@frozen
class Given:
    """An answer that was given beforehand, and where; `found` if nobody gave it for this run: it only was there."""

    text: str
    source: str
    found: bool = False


class AnswersWrong(Exception):
    """Without a terminal: answers are missing or wrong; `faults` has a sentence for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class ChecksFailed(Exception):
    """Without a terminal: live checks say no; `faults` has a sentence for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class Terminal(Protocol):
    """Somebody who can be asked."""

    def ask(self, question: Question, default: str | None, *, again: bool) -> str:
        """Ask; return what was typed, or `default` for nothing. `again`: the default is what was answered before.

        `BACK` leads to the question that was asked before this one. Raises EOFError at the end of the input.
        """
        ...

    def looks(self) -> None:
        """Tell that a check has begun, which may take a while."""
        ...

    def settle(self) -> Literal["again", "change", "keep"]:
        """Ask what becomes of an answer that could not be judged. Raises EOFError."""
        ...

    def may_replace(self, places: Sequence[Path]) -> bool:
        """Ask whether files that are there with another content may be replaced, with a copy kept. Raises EOFError."""
        ...

    def refused(self, question: Question, why: str) -> None:
        """Tell that an answer cannot be taken."""
        ...

    def told(self, question: Question, verdict: Verdict) -> None:
        """Tell a check's verdict."""
        ...


def missing(
    given: Mapping[str, Given], answers: Answers, questions: Sequence[Question] = QUESTIONS
) -> list[str]:
    """Fill in what was given and what has a default; return a sentence for each answer that is missing, malformed or needless.

    Nothing is asked and nothing is checked.
    """
    faults = []
    for question in questions:
        source = given.get(question.name)
        if not question.needed(answers):
            faults += _needless(question, source, answers)
            continue
        text = source.text if source is not None else (question.default(answers) if question.asked else "")
        if text is None:
            faults.append(f"{question.name} is missing: {question.words}. Give it by {question.ways}.")
            continue
        try:
            answers.put(question, text)
        except RefusalError as error:
            where = source.source if source is not None else "its default"
            faults.append(f"{question.name} {error} ({where})")
    return faults


def malformed(given: Mapping[str, Given], questions: Sequence[Question] = QUESTIONS) -> list[str]:
    """Return a sentence for each malformed answer that nobody would be asked for again."""
    faults = []
    for question in questions:
        source = given.get(question.name)
        if source is not None and not question.asked:
            try:
                question.read(question.tidy(source.text))
            except RefusalError as error:
                faults.append(f"{question.name} {error} ({source.source})")
    return faults


def _needless(question: Question, source: Given | None, answers: Answers) -> list[str]:
    """Say that an answer was given which is not used; what only was there may lie there."""
    if source is None or source.found or source.text == question.default(answers):
        return []
    return [f"{question.name} is given ({source.source}), and is only needed {question.when}"]


@define
class Dialogue:
    """One run through the questions.

    Attributes:
        answers: what is answered; filled.
        given: what was answered beforehand: not asked, unless it is wrong and there is somebody to ask.
        terminal: whom to ask; None: nobody.
        check: makes a live check; None: nothing is checked.
        tell: tells a verdict where nobody is asked.
        present: says which certificate an agent on this machine shows.
        questions: all there are, in their order: the shop's, or a node's.
        faults: what was wrong without a terminal.
    """

    answers: Answers
    given: Mapping[str, Given]
    terminal: Terminal | None
    check: Check | None
    present: Present = lambda _url: None
    tell: Callable[[Question, Verdict], None] = lambda _question, _verdict: None
    questions: Sequence[Question] = QUESTIONS
    faults: list[str] = field(factory=list)
    _settled: set[str] = field(factory=set)
    _asked: set[str] = field(factory=set)
    _trail: list[str] = field(factory=list)

    def hold(self) -> Answers:
        """Go through all questions until each has an answer that holds, or that was kept.

        Raises:
            AnswersWrong: an answer that was given is malformed, and nobody is asked for it.
            ChecksFailed: without a terminal, with all that live checks object to.
            EOFError: the terminal's end came first.
        """
        while (question := self._next()) is not None:
            if question.name == "node.fingerprint":
                self._look_at_certificate()
            if self._answered(question):
                self._judge(question)
        if self.faults:
            raise ChecksFailed(self.faults)
        return self.answers

    def unused(self) -> list[str]:
        """Return a sentence for each answer that was given and is not used."""
        left = [question for question in self.questions if not question.needed(self.answers)]
        return [fault for one in left for fault in _needless(one, self.given.get(one.name), self.answers)]

    def _next(self) -> Question | None:
        """The first question that is open. What is not needed any more is forgotten on the way."""
        for question in self.questions:
            if not question.needed(self.answers):
                self.answers.drop(question)
                self._settled.discard(question.name)
            elif question.name not in self._settled:
                return question
        return None

    def _answered(self, question: Question) -> bool:
        """Have a question answered; False if what was answered is refused, and it is to be asked again."""
        name, before = question.name, question.name in self._asked
        given = self.given.get(name)
        if given is not None and not before:
            text, source = given.text, given.source
        elif self.terminal is None or not question.asked:
            text, source = (question.default(self.answers) if question.asked else "") or "", "its default"
        else:
            former = self.answers.texts.get(name)
            default = former if former is not None else question.default(self.answers)
            text, source = self.terminal.ask(question, default, again=former is not None), ""
            trail = [each for each in self._trail if each != name]
            if text == BACK:
                self._settled -= set(trail[-1:])
                self._trail = trail[:-1]
                return False
            self._trail = [*trail, name]
        self._asked.add(name)
        if question.secret:
            register_secret(text)
        try:
            self.answers.put(question, text)
        except RefusalError as error:
            if self.terminal is None or not question.asked:
                raise AnswersWrong([f"{name} {error} ({source})"]) from None
            self.terminal.refused(question, str(error))
            return False
        self._settled.add(name)
        return True

    def _judge(self, question: Question) -> None:
        """Make the question's live check, and do what its verdict asks for."""
        if question.check is None or self.check is None:
            return
        while True:
            if self.terminal is not None:
                self.terminal.looks()
            verdict = self.check(question.check, self.answers)
            self.answers.learned.update(verdict.learned)
            if self.terminal is None:
                self.tell(question, verdict)
                if verdict.kind != "good":
                    self.faults.append(f"{question.name}: {verdict.text}. {verdict.remedy}")
                return
            self.terminal.told(question, verdict)
            if verdict.kind == "good":
                return
            what = "change" if verdict.kind == "wrong" else self.terminal.settle()
            if what == "keep":
                return
            if what == "change":
                self._settled -= set(verdict.again or (question.name,)) | {question.name}
                return

    def _look_at_certificate(self) -> None:
        """Of an agent on this machine, what it shows is taken as its fingerprint: nobody stands in between."""
        self.answers.learned.pop("presented", None)
        if self.check is not None and is_here(self.answers):
            presented = self.present(self.answers.value("node.url"))
            if presented is not None:
                self.answers.learned["presented"] = presented
