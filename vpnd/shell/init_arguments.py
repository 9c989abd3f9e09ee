"""The words of `vpnd init`; what it does is imported when it is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vpnd.shell.arguments import DAEMON_CONFIG, NODE_CONFIG, Commands

__all__ = ["add"]

#: What hands secrets to the daemon's unit beside those that it names itself.
DROP_IN: Final = Path("/etc/systemd/system/vpnd.service.d/credentials.conf")

#: As in vpnd.shell.init_questions, which is not loaded to read a command line: a question, and whether it is of a secret.
_QUESTIONS: Final[tuple[tuple[str, bool], ...]] = (
    ("telegram.api_base", False),
    ("telegram.proxy", False),
    ("telegram.token", True),
    ("telegram.admins", False),
    ("database.url", True),
    ("instance.name", False),
    ("shop.currency", False),
    ("shop.languages", False),
    ("shop.time_zone", False),
    ("shop.support", False),
    ("pay", False),
    ("cryptopay.api_base", False),
    ("cryptopay.token", True),
    ("yookassa.api_base", False),
    ("yookassa.shop_id", False),
    ("yookassa.secret_key", True),
    ("http.public_url", False),
    ("telegram.mode", False),
    ("node.name", False),
    ("node.url", False),
    ("node.token", True),
    ("node.fingerprint", False),
)

#: Likewise, of `vpnd init --node`.
_NODE_QUESTIONS: Final[tuple[tuple[str, bool], ...]] = (
    ("node.name", False),
    ("agent.listen", False),
    ("agent.public_host", False),
    ("inbound.listen", False),
    ("inbound.port", False),
    ("inbound.target", False),
    ("agent.core", False),
    ("agent.state", False),
    ("agent.token", True),
    ("inbound.sni", False),
)


def add(commands: Commands) -> None:
    """Add the command."""
    init = commands.add_parser(
        "init",
        help="a first configuration: asks in the terminal, or takes answers; each is checked live",
        description="Writes a first configuration. What no option, no environment variable and no file of answers has said is"
        " asked in the terminal; without one, defaults are taken and what has none is named.",
    )
    init.add_argument("--node", action="store_true", help="of a VPN node, on its server, and not of the shop")
    where = init.add_argument_group("where it goes")
    where.add_argument(
        "--config", type=Path, metavar="FILE", help=f"default: {DAEMON_CONFIG}; {NODE_CONFIG} with --node"
    )
    where.add_argument(
        "--credentials",
        type=Path,
        metavar="DIR",
        help="folder of the secrets (default: credentials beside it)",
    )
    where.add_argument(
        "--drop-in",
        type=Path,
        metavar="FILE",
        help=f"have systemd hand the secrets to the service by this file (default: {DROP_IN} for the default"
        " configuration; of another one, their files are named in it)",
    )
    where.add_argument("--force", action="store_true", help="replace what is there, and keep a copy")
    how = init.add_argument_group("how")
    how.add_argument("--answers", type=Path, metavar="FILE", help="answers as TOML, by the names of the keys")
    how.add_argument("--no-input", action="store_true", help="ask nothing: take answers and defaults")
    how.add_argument("--no-checks", action="store_true", help="look at nothing live")
    where.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    how.add_argument("--installer", action="store_true", help=argparse.SUPPRESS)
    answers = init.add_argument_group(
        "answers", "each question; those of the configuration's keys also by VPND_<SECTION>__<KEY>"
    )
    _add_answers(answers, _QUESTIONS)
    of_node = init.add_argument_group("answers with --node", "beside --node-name")
    _add_answers(of_node, [each for each in _NODE_QUESTIONS if each not in _QUESTIONS])
    init.set_defaults(command=_init)


def _add_answers(group: argparse._ArgumentGroup, questions: Iterable[tuple[str, bool]]) -> None:
    for name, secret in questions:
        word = name.replace(".", "-").replace("_", "-")
        if secret:
            group.add_argument(f"--{word}-file", dest=name, type=Path, metavar="FILE", help="that holds it")
        else:
            group.add_argument(f"--{word}", dest=name, metavar=word.rpartition("-")[2].upper())


def _needless(arguments: argparse.Namespace) -> bool:
    """Say which answers nobody asks for, of the shop or of a node; whether there were any."""
    own, others = (_NODE_QUESTIONS, _QUESTIONS) if arguments.node else (_QUESTIONS, _NODE_QUESTIONS)
    given = [name for name, _ in others if (name, _) not in own and vars(arguments)[name] is not None]
    for name in given:
        sys.stderr.write(
            f"vpnd init: nobody asks for {name} {'with' if arguments.node else 'without'} --node\n"
        )
    return bool(given)


def _init_node(arguments: argparse.Namespace) -> int:
    from vpnd.shell.init_node import NodeOrder, init_node
    from vpnd.shell.init_writing import Layout

    config = arguments.config or NODE_CONFIG
    given = vars(arguments)
    return init_node(
        NodeOrder(
            layout=Layout(
                config=config.absolute(),
                secrets=(arguments.credentials or config.parent / "credentials").absolute(),
                root=arguments.root.absolute(),
            ),
            by_the_unit=config == NODE_CONFIG,
            options={name: given[name] for name, _ in _NODE_QUESTIONS},
            answers=arguments.answers,
            environ=os.environ,
            force=arguments.force,
            questions=not arguments.no_input,
            checks=not arguments.no_checks,
            installer=arguments.installer,
        )
    )


def _init(arguments: argparse.Namespace) -> int:
    if _needless(arguments):
        return 2
    if arguments.node:
        return _init_node(arguments)
    from vpnd.shell.init import Order, init
    from vpnd.shell.init_writing import Layout

    config = arguments.config or DAEMON_CONFIG
    drop_in = arguments.drop_in
    if drop_in is None and config == DAEMON_CONFIG:
        drop_in = DROP_IN
    layout = Layout(
        config=config.absolute(),
        secrets=(arguments.credentials or config.parent / "credentials").absolute(),
        drop_in=drop_in.absolute() if drop_in is not None else None,
        root=arguments.root.absolute(),
    )
    given = vars(arguments)
    return init(
        Order(
            layout=layout,
            options={name: given[name] for name, _ in _QUESTIONS},
            answers=arguments.answers,
            environ=os.environ,
            force=arguments.force,
            questions=not arguments.no_input,
            checks=not arguments.no_checks,
            installer=arguments.installer,
        )
    )
