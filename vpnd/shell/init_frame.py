"""What `vpnd init` has around its questions, of a shop or of a node: how a failure is told, and what is not replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from vpnd.config import ConfigError
from vpnd.runtime import journal
from vpnd.runtime.redact import redact
from vpnd.shell.init_dialogue import AnswersWrong, ChecksFailed
from vpnd.shell.init_files import in_the_way, unwritable
from vpnd.shell.init_questions import Question
from vpnd.shell.init_sources import SecretUnreadable
from vpnd.shell.init_terminal import Person, printable
from vpnd.shell.init_verdict import Verdict
from vpnd.shell.init_writing import Layout, Planned

__all__ = ["FAILED", "USAGE", "complain", "may_begin", "may_write", "tell", "told"]

FAILED: Final = 1
USAGE: Final = 2


def told(work: Callable[[], int]) -> int:
    """Do the work and return its exit code; what ends it is told on standard error.

    It is 0 when all is written, 1 when that is not possible or an answer does not hold, 2 when answers are missing or
    malformed. KeyboardInterrupt leaves nothing written, and is raised again.
    """
    journal.configure("console", level="critical")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream has it; a bot's name may be in any script
    try:
        return work()
    except AnswersWrong as error:
        for fault in error.faults:
            complain(fault)
        return USAGE
    except ChecksFailed as error:
        for fault in error.faults:
            complain(fault)
        complain("nothing was written; --no-checks writes without looking")
    except SecretUnreadable as error:
        complain(str(error))
    except ConfigError as error:
        complain(error.render())
        complain("nothing was written")
    except OSError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror or error}")
    except EOFError:
        sys.stdout.write("\n")
        complain("the input ended; nothing was written")
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        complain("interrupted; nothing was written")
        raise
    return FAILED


def may_begin(layout: Layout, *, force: bool) -> bool:
    """Whether a configuration may be written where it is to be; why not is told."""
    if layout.on_disk(layout.config).exists() and not force:
        complain(
            f"{layout.config} is there already; --force replaces it and keeps a copy, --config FILE writes another one"
        )
        return False
    for folder in unwritable(layout):
        complain(f"{folder} cannot be written to: do it as root, or name another place by --config FILE")
        return False
    return True


def may_write(files: Sequence[Planned], layout: Layout, person: Person | None, *, force: bool) -> bool:
    """Whether what stands in the files' places may be replaced; whoever sits there is asked, else it is told."""
    others = [] if force else in_the_way(files, layout)
    if not others or (person is not None and person.may_replace(others)):
        return True
    for place in others:
        complain(f"{place} is there already, with another content; --force replaces it and keeps a copy")
    complain("nothing was written")
    return False


def tell(question: Question, verdict: Verdict) -> None:
    """Say what a script's journal should have; what is wrong is told at the end, all of it."""
    if verdict.kind == "good":
        sys.stdout.write(f"ok     {question.name}: {printable(verdict.text)}\n")
    for note in verdict.notes:
        sys.stdout.write(f"note   {printable(note)}\n")


def complain(sentence: str) -> None:
    """Say it on standard error, without secrets."""
    sys.stderr.write(f"vpnd init: {redact(sentence)}\n")
