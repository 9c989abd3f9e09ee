"""The words of `vpnd doctor`; what it does is imported when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from vpnd.config import Settings

__all__ = ["add"]

#: As in vpnd.shell.doctor_report, which is not loaded to read a command line.
_PARTS: Final = ("machine", "config", "database", "queues", "boundaries", "books", "providers", "nodes")


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    configure: Callable[[argparse.ArgumentParser], None],
    settings: Callable[[argparse.Namespace], Settings],
) -> None:
    """Add the command.

    Args:
        configure: gives a command its option for the configuration.
        settings: loads what that option names.
    """
    doctor = commands.add_parser(
        "doctor",
        help="everything an expert would check, each finding with its remedy; exit 1 if there is one",
    )
    configure(doctor)
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
        type=_days,
        default=3,
        metavar="N",
        help="how far back lists are read (default: %(default)s)",
    )
    doctor.set_defaults(command=lambda arguments: _doctor(arguments, settings(arguments)))


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 90):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 90")
    return int(text)


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
