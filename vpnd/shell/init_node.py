"""`vpnd init --node`: the first steps on a node's server. Each answer is checked live, the core too, before anything is written.

The agent's token and certificate are made here, so that what the shop has to be told is known at once: it is printed as commands
to paste there. Both are kept where they are there already, because customers' links and the shop's pin depend on them.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import secrets as secrets_module
import signal
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from attrs import frozen

from vpnd.config import load_settings
from vpnd.config.kinds import RefusalError
from vpnd.runtime.redact import register_secret
from vpnd.shell.arguments import DAEMON_CONFIG
from vpnd.shell.init_checks import SECONDS
from vpnd.shell.init_dialogue import BACK, AnswersWrong, Dialogue, malformed, missing
from vpnd.shell.init_files import put
from vpnd.shell.init_frame import FAILED, complain, may_begin, may_write, tell, told
from vpnd.shell.init_node_checks import run_node_check
from vpnd.shell.init_node_questions import LISTEN_BESIDE_THE_SHOP, LISTEN_FOR_ANOTHER, NODE_QUESTIONS
from vpnd.shell.init_node_writing import AGENT_TOKEN, compose_node, for_the_shop, next_steps_of_node
from vpnd.shell.init_questions import Answers, CheckName
from vpnd.shell.init_sources import gather
from vpnd.shell.init_terminal import Person, printable
from vpnd.shell.init_verdict import Verdict
from vpnd.shell.init_writing import Layout, Planned

__all__ = ["NodeOrder", "init_node"]

#: Whose processes the agent is under contrib/systemd/vpnd-node.service, and the state folder that this unit gives it.
_ACCOUNT: Final = "vpnd-node"
_STATE: Final = Path("/var/lib/vpnd-node")


@frozen(kw_only=True)
class NodeOrder:
    """What was said on the command line.

    Attributes:
        layout: where files go.
        by_the_unit: systemd starts the agent, and hands the token over.
        options: answers by the names of their questions.
        answers: a file of answers.
        environ: the environment.
        force: replace what is there, and keep a copy.
        questions: whether there may be questions at all.
        checks: whether answers are checked live.
        installer: contrib/install.sh goes on afterwards.
    """

    layout: Layout
    by_the_unit: bool
    options: Mapping[str, Any]
    answers: Path | None
    environ: Mapping[str, str]
    force: bool = False
    questions: bool = True
    checks: bool = True
    installer: bool = False


def init_node(order: NodeOrder) -> int:
    """Ask, check, write; return the exit code.

    It is 0 when all is written, 1 when that is not possible or an answer does not hold, 2 when answers are missing or
    malformed. KeyboardInterrupt leaves nothing written.
    """
    return told(lambda: _init(order))


def _init(order: NodeOrder) -> int:
    layout = order.layout
    if find_spec("cryptography") is None:  # it comes with the extra "node", as the core and its client do
        complain(
            'what a node needs is not installed here: pip install "vpnd[node]", or contrib/install.sh --node'
        )
        return FAILED
    if not may_begin(layout, force=order.force):
        return FAILED
    secrets = layout.on_disk(layout.secrets)
    given = gather(
        order.options, order.environ, order.answers, secrets, take_secrets=True, questions=NODE_QUESTIONS
    )
    known = _machine(layout)
    asking = order.questions and sys.stdin.isatty() and sys.stdout.isatty()
    faults = (
        malformed(given, NODE_QUESTIONS)
        if asking
        else missing(given, Answers(given=frozenset(given), learned=dict(known)), NODE_QUESTIONS)
    )
    if faults:
        raise AnswersWrong(faults)
    if asking:
        _greet(order)
    person = Person() if asking else None
    dialogue = Dialogue(
        Answers(given=frozenset(given), learned=dict(known)),
        given,
        person,
        _checked if order.checks else None,
        tell=tell,
        questions=NODE_QUESTIONS,
    )
    answers = dialogue.hold()
    sys.stdout.write("\n" if asking else "")
    return _write(order, answers, person)


def _machine(layout: Layout) -> dict[str, str]:
    """What this machine tells of itself: a name, its public address, and whether the shop is here."""
    known = {}
    (kind,) = (question.kind for question in NODE_QUESTIONS if question.name == "node.name")
    name = socket.gethostname().partition(".")[0].lower()
    try:
        known["name"] = str(kind.parse(name, True))
    except RefusalError:
        pass  # not every machine has a name that would do
    if known.get("name") == "localhost":
        del known["name"]
    shop = layout.on_disk(DAEMON_CONFIG).exists()
    known["listen"] = LISTEN_BESIDE_THE_SHOP if shop else LISTEN_FOR_ANOTHER
    address = _public_address()
    if address is not None:
        known["address"] = address
    return known


def _public_address() -> str | None:
    """Return the address that this machine's packets to the world leave from, if it is a public one; none is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
            address = str(way.getsockname()[0])
        except OSError:
            return None
    return address if ipaddress.ip_address(address).is_global else None


def _write(order: NodeOrder, answers: Answers, person: Person | None) -> int:
    layout = order.layout
    token = answers.value("agent.token")
    text = str(token) if token else secrets_module.token_hex(32)
    register_secret(text)
    if not order.by_the_unit and answers.value("agent.state") is None:
        answers.values["agent.state"] = layout.config.parent / "node-state"
    files = compose_node(answers, layout, text, by_the_unit=order.by_the_unit)
    _take(files[-1], text)
    if not may_write(files, layout, person, force=order.force):
        return FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on something is written, in milliseconds
    made = _identity(order, answers)
    if made is None:
        return FAILED
    copies = put(files, layout)
    fingerprint, certificate = made
    for file in files:
        sys.stdout.write(f"wrote  {file.path}\n")
    for copy in copies:
        sys.stdout.write(f"kept   {copy}\n")
    sys.stdout.write(f"made   {certificate}, SHA-256 {fingerprint}\n")
    sys.stdout.write("\nWhat is left to do here:\n")
    for step in next_steps_of_node(
        answers, layout, by_the_unit=order.by_the_unit, started_by_installer=order.installer
    ):
        sys.stdout.write(f"  - {printable(step)}\n")
    sys.stdout.write(
        "\nAnd for the shop, as root on its server (not where `vpnd init` has still to ask for its first node: answer there)."
        f"\nThe token is what `cat {layout.secrets / AGENT_TOKEN}` shows here.\n\n"
    )
    sys.stdout.write(for_the_shop(answers, layout, fingerprint))
    return 0


def _take(file: Planned, token: str) -> None:
    """Have the configuration judged as the agent judges it, before it is anywhere. Raises ConfigError."""
    with TemporaryDirectory(prefix="vpnd-init-") as folder:
        place = Path(folder) / file.path.name
        place.write_text(file.text.replace("\ntoken_file = ", "\n# token_file = "), "utf-8")
        load_settings(place, {"VPND_AGENT__TOKEN": token}, role="agent")


def _identity(order: NodeOrder, answers: Answers) -> tuple[str, Path] | None:
    """Make the certificate and the keys of customers' links, or find them; return its fingerprint and its place.

    None, and a word, if files that are there cannot be read: they are never replaced.
    """
    from vpnd.agent.identity import IdentityError, load_identity

    state = answers.value("agent.state") or _STATE
    folder = order.layout.on_disk(state.absolute())
    try:
        identity = load_identity(folder)
    except IdentityError as error:
        complain(f"{error}. No configuration was written")
        return None
    if order.by_the_unit and os.geteuid() == 0 and order.layout.root == Path("/"):
        _give(folder)
    return identity.fingerprint, state / identity.certificate.name


def _give(folder: Path) -> None:
    """Give the state to the unit's account, where there is one already."""
    try:
        account = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        return  # systemd does it at the start: StateDirectory=
    for place in (folder, *folder.iterdir()):
        os.chown(place, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _checked(name: CheckName, answers: Answers) -> Verdict:
    return trio.run(run_node_check, name, answers)


def _greet(order: NodeOrder) -> None:
    checked = f"is checked where it can be ({SECONDS:g} s at most)" if order.checks else "is taken unchecked"
    sys.stdout.write(
        f"A first configuration of a VPN node, {order.layout.config}. Enter takes what stands in brackets, ? explains, {BACK}"
        f" goes back,\nCtrl-C leaves and writes nothing. Each answer {checked}.\n"
    )
