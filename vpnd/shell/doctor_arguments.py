"""The words of `vpnd doctor`; what it does is imported when it is asked for."""

from __future__ import annotations

import argparse
from typing import Final

from vpnd.config import Settings
from vpnd.shell.arguments import Commands, add_config, load, whole_number

__all__ = ["add"]

#: As in vpnd.shell.doctor_report, which is not loaded to read a command line.
_PARTS: Final = ("machine", "config", "database", "queues", "boundaries", "books", "providers", "nodes")


def add(commands: Commands) -> None:
    """Add the command."""
    doctor = commands.add_parser(
        "doctor",
        help="everything an expert would check, each finding with its remedy; exit 1 if there is one",
    )
    add_config(doctor)
    how = doctor.add_mutually_exclusive_group()
    how.add_argument("--repair", action="store_true", help="mend what can be mended, one by one")
    how.add_argument(
        "--accept-node",
        action="append",
        default=[],
        metavar="NAME",
        help="the database is right about this node: what it does not know there may be switched off",
    )
    doctor.add_argument(
        "--only",
        action="append",
        choices=_PARTS,
        metavar="PART",
        help=f"look at this alone: {', '.join(_PARTS)}",
    )
    doctor.add_argument("--json", action="store_true", help="the whole as one document")
    doctor.add_argument(
        "--days",
        type=whole_number(1, 90),
        default=3,
        metavar="N",
        help="how far back lists are read (default: %(default)s)",
    )
    doctor.set_defaults(command=lambda arguments: _doctor(arguments, load(arguments)))


def _doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    from vpnd.shell.doctor import doctor

    return doctor(
        settings,
        repair=arguments.repair,
        days=arguments.days,
        accept=arguments.accept_node,
        only=arguments.only,
        as_json=arguments.json,
    )
