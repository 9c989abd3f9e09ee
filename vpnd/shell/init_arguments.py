"""The words of `vpnd init`; what it does is imported when it is asked for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from vpnd.shell.arguments import DAEMON_CONFIG, Commands

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


def add(commands: Commands) -> None:
    """Add the command."""
    init = commands.add_parser(
        "init",
        help="a first configuration: asks in the terminal, or takes answers; each is checked live",
        description="Writes a first configuration. What no option, no environment variable and no file of answers has said is"
        " asked in the terminal; without one, defaults are taken and what has none is named.",
    )
    where = init.add_argument_group("where it goes")
    where.add_argument("--config", type=Path, metavar="FILE", help=f"default: {DAEMON_CONFIG}")
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
    for name, secret in _QUESTIONS:
        word = name.replace(".", "-").replace("_", "-")
        if secret:
            answers.add_argument(f"--{word}-file", dest=name, type=Path, metavar="FILE", help="that holds it")
        else:
            answers.add_argument(f"--{word}", dest=name, metavar=word.rpartition("-")[2].upper())
    init.set_defaults(command=_init)


def _init(arguments: argparse.Namespace) -> int:
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
