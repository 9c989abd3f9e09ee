"""Answers that are given beforehand: by options, the environment, a file of answers, and secrets that are there already."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vpnd.config.kinds import did_you_mean
from vpnd.config.reader import MAX_SECRET_FILE
from vpnd.shell.init_dialogue import AnswersWrong, Given
from vpnd.shell.init_questions import QUESTIONS, Question

__all__ = ["SecretUnreadable", "gather", "local_time_zone", "secret_in"]

#: Where this machine says which time zone it is in.
_ZONE_FILE: Final = Path("/etc/timezone")
_ZONE_LINK: Final = Path("/etc/localtime")


class SecretUnreadable(Exception):
    """The file of a secret cannot be read; the message names it and says why."""


def gather(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    answers: Path | None,
    secrets: Path,
    *,
    take_secrets: bool,
    questions: Sequence[Question] = QUESTIONS,
) -> dict[str, Given]:
    """Return what is given, by the names of the questions; the first that has an answer wins.

    Args:
        options: by the names of the questions; of a secret, the path of its file.
        answers: a TOML file: a table a section, as in the configuration, beside `pay` and the table `node`; a secret also as
            `<key>_file`.
        secrets: the folder of secrets.
        take_secrets: whether those that are there already count as answers.
        questions: what is asked.

    Raises:
        AnswersWrong: a file cannot be read, or has a name that nobody asks for.
    """
    faults: list[str] = []
    document = _document(answers, questions, faults) if answers is not None else {}
    given: dict[str, Given] = {}
    for question in questions:
        try:
            found = _found(question, options, environ, document, answers)
            if found is None and take_secrets and question.secret and "." in question.name:
                found = _kept(secrets / question.name)
        except SecretUnreadable as error:
            faults.append(f"{question.name}: {error}")
            continue
        if found is not None:
            given[question.name] = found
    if faults:
        raise AnswersWrong(faults)
    return given


def _found(
    question: Question,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    document: Mapping[str, Any],
    place: Path | None,
) -> Given | None:
    option = options.get(question.name)
    if option is not None:
        return Given(secret_in(Path(option)) if question.secret else str(option), question.option)
    variable = question.variable
    if variable is not None and environ.get(variable):
        return Given(environ[variable], variable)
    if question.name in document:
        return Given(document[question.name], f"{place}")
    file = f"{question.name}_file"
    if file in document and place is not None:
        return Given(secret_in(place.parent / document[file]), f"{place}")
    return None


def _kept(place: Path) -> Given | None:
    return Given(secret_in(place), str(place), found=True) if place.is_file() else None


def secret_in(place: Path) -> str:
    """Return what a file of a secret holds, without the space around it. Raises SecretUnreadable."""
    try:
        with place.open("rb") as file:
            data = file.read(MAX_SECRET_FILE + 1)
        text = data.decode().strip()
    except OSError as error:
        raise SecretUnreadable(f"{place} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretUnreadable(f"{place} is not UTF-8 text") from None
    if len(data) > MAX_SECRET_FILE:
        raise SecretUnreadable(f"{place} is larger than {MAX_SECRET_FILE} bytes")
    return text


def _document(path: Path, questions: Sequence[Question], faults: list[str]) -> dict[str, str]:
    """Read a file of answers as texts by the names of the questions."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AnswersWrong([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AnswersWrong([f"{path} is not TOML: {error}"]) from None
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= (
            {f"{name}.{key}": below for key, below in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    known = [question.name for question in questions]
    known += [f"{question.name}_file" for question in questions if question.secret]
    texts = {}
    for name, value in flat.items():
        if name not in known:
            faults.append(f"{path}: nobody asks for {name}{did_you_mean(name, known)}")
        elif isinstance(value, dict) or (
            isinstance(value, list) and not all(isinstance(one, str | int) for one in value)
        ):
            faults.append(f"{path}: {name} must be a text, a number, or a list of them")
        else:
            texts[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return texts


def local_time_zone() -> str:
    """Return the name of this machine's time zone; UTC if it does not say."""
    try:
        name = _ZONE_FILE.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        name = str(_ZONE_LINK.resolve()).partition("zoneinfo/")[2]
    return "UTC" if not name or name in ("Etc/UTC", "UCT", "Universal", "Zulu") else name
