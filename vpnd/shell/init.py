"""`vpnd init`: a first configuration, each answer checked live."""

from __future__ import annotations

import secrets as secrets_module
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from attrs import frozen

from vpnd.config import load_settings
from vpnd.payments.terms import terms_of, topups_of
from vpnd.shell.init_checks import SECONDS, present_certificate, run_check
from vpnd.shell.init_database import ACCOUNT
from vpnd.shell.init_dialogue import BACK, AnswersWrong, Dialogue, malformed, missing
from vpnd.shell.init_files import put
from vpnd.shell.init_frame import FAILED, may_begin, may_write, tell, told
from vpnd.shell.init_questions import Answers, CheckName
from vpnd.shell.init_sources import gather, local_time_zone, secret_in
from vpnd.shell.init_terminal import Person, printable
from vpnd.shell.init_verdict import Verdict
from vpnd.shell.init_writing import Layout, Planned, compose, next_steps, secrets_of

__all__ = ["Order", "init"]

#: An agent on this machine keeps its token here, under the unit of contrib/systemd.
_AGENT_TOKEN: Final = "agent.token"  # noqa: S105 - the name of a file
_WEBHOOK_SECRET: Final = "telegram.webhook_secret"  # noqa: S105 - likewise


@frozen(kw_only=True)
class Order:
    """What was said on the command line.

    Attributes:
        layout: where files go.
        options: answers by the names of their questions.
        answers: a file of answers.
        environ: the environment.
        force: replace what is there, and keep a copy.
        questions: whether there may be questions at all.
        checks: whether answers are checked live.
        installer: contrib/install.sh goes on afterwards.
    """

    layout: Layout
    options: Mapping[str, Any]
    answers: Path | None
    environ: Mapping[str, str]
    force: bool = False
    questions: bool = True
    checks: bool = True
    installer: bool = False


def init(order: Order) -> int:
    """Ask, check, write; return the exit code.

    It is 0 when all is written, 1 when that is not possible or an answer does not hold, 2 when answers are missing or
    malformed. KeyboardInterrupt leaves nothing written.
    """
    return told(lambda: _init(order))


def _init(order: Order) -> int:
    layout = order.layout
    if not may_begin(layout, force=order.force):
        return FAILED
    secrets = layout.on_disk(layout.secrets)
    given = gather(order.options, order.environ, order.answers, secrets, take_secrets=True)
    agent_token = secrets / _AGENT_TOKEN
    token = secret_in(agent_token) if agent_token.is_file() else None

    def fresh() -> Answers:
        account = ACCOUNT if layout.drop_in is not None else None
        return Answers(zone=local_time_zone(), agent_token=token, given=frozenset(given), account=account)

    asking = order.questions and sys.stdin.isatty() and sys.stdout.isatty()
    faults = malformed(given) if asking else missing(given, fresh())
    if faults:
        raise AnswersWrong(faults)
    if asking:
        _greet(order)
    person = Person() if asking else None
    dialogue = Dialogue(
        fresh(),
        given,
        person,
        _checked if order.checks else None,
        lambda url: trio.run(present_certificate, url),
        tell,
    )
    answers = dialogue.hold()
    sys.stdout.write("\n" if asking else "")
    for sentence in dialogue.unused():
        sys.stdout.write(f"note   {sentence}\n")
    return _write(order, answers, person)


def _write(order: Order, answers: Answers, person: Person | None) -> int:
    layout = order.layout
    kept = layout.on_disk(layout.secrets) / _WEBHOOK_SECRET
    webhook_secret = secret_in(kept) if kept.is_file() else secrets_module.token_hex(32)
    secrets = secrets_of(answers, webhook_secret)
    files = compose(answers, layout, secrets)
    _take(files, secrets)
    if not may_write(files, layout, person, force=order.force):
        return FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on something is written, in milliseconds
    copies = put(files, layout)
    for file in files:
        sys.stdout.write(f"wrote  {file.path}\n")
    for copy in copies:
        sys.stdout.write(f"kept   {copy}\n")
    sys.stdout.write("\nWhat is left to do:\n")
    for step in next_steps(answers, layout, started_by_installer=order.installer):
        sys.stdout.write(f"  - {printable(step)}\n")
    return 0


def _checked(name: CheckName, answers: Answers) -> Verdict:
    return trio.run(run_check, name, answers)


def _take(files: list[Planned], secrets: Mapping[str, str]) -> None:
    """Have the configuration judged as the daemon judges it, before it is anywhere. Raises ConfigError."""
    environ = {
        f"VPND_{name.upper().replace('-', '_').replace('.', '__')}": text for name, text in secrets.items()
    }
    with TemporaryDirectory(prefix="vpnd-init-") as folder:
        place = Path(folder) / files[-1].path.name
        place.write_text(files[-1].text, "utf-8")  # the configuration alone: no secret is in it
        settings = load_settings(place, environ, role="daemon")
    terms_of(settings)
    topups_of(settings)


def _greet(order: Order) -> None:
    checked = f"is checked where it can be ({SECONDS:g} s at most)" if order.checks else "is taken unchecked"
    sys.stdout.write(
        f"A first configuration of the shop, {order.layout.config}. Enter takes what stands in brackets, ? explains, {BACK}"
        f" goes back,\nCtrl-C leaves and writes nothing. Each answer {checked}.\n"
    )
