"""The words of `vpnd give`, `block`, `unblock` and `operator`; what they do is imported when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from vpnd.config import Settings

__all__ = ["add"]

#: As in vpnd.shop.operators and vpnd.shop.deed, which are not loaded to read a command line.
_ROLES: Final = ("owner", "manager", "support", "reader")
_MOST_DAYS: Final = 3660

_WHO: Final = "a Telegram id, a @name, a purchase (p…), a charge, a link: whatever names the customer"


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    configure: Callable[[argparse.ArgumentParser], None],
    settings: Callable[[argparse.Namespace], Settings],
) -> None:
    """Add the commands.

    Args:
        configure: gives a command its option for the configuration.
        settings: loads what that option names.
    """
    give = commands.add_parser("give", help="give a customer days, money or another plan, or take them")
    configure(give)
    give.add_argument("who", metavar="WHO", help=_WHO)
    give.add_argument(
        "--days", type=_days, metavar="N", help="to the end of a subscription; with a minus, from it"
    )
    give.add_argument("--money", metavar="AMOUNT", help="a gift to the balance; with a minus, from it")
    give.add_argument(
        "--plan", metavar="PLAN", help="the plan to change to; with --days, the plan they are of"
    )
    give.add_argument("--subscription", type=_number, metavar="N", help="which one, if there are several")
    _asked(give)
    give.set_defaults(command=lambda arguments: _give(arguments, settings(arguments)))

    for name, text in (
        ("block", "switch a customer's access off and shut the bot to him"),
        ("unblock", "let a customer in again, with the time that is left"),
    ):
        parser = commands.add_parser(name, help=text)
        configure(parser)
        parser.add_argument("who", metavar="WHO", help=_WHO)
        _asked(parser)
        parser.set_defaults(
            command=lambda arguments, name=name: _block(
                arguments, settings(arguments), lift=name == "unblock"
            )
        )

    operator = commands.add_parser("operator", help="who runs the shop in the bot").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    listing = operator.add_parser("list", help="all of them, owners first")
    configure(listing)
    listing.set_defaults(command=lambda arguments: _list(settings(arguments)))
    setting = operator.add_parser("set", help="make somebody an operator, or give him another role")
    configure(setting)
    setting.add_argument("who", metavar="WHO", help="a Telegram id, or a @name that has written to the bot")
    setting.add_argument("role", choices=_ROLES)
    _asked(setting)
    setting.set_defaults(command=lambda arguments: _set(arguments, settings(arguments)))
    removing = operator.add_parser("remove", help="take somebody's role away")
    configure(removing)
    removing.add_argument("who", metavar="WHO", help="a Telegram id, or a @name")
    _asked(removing)
    removing.set_defaults(command=lambda arguments: _remove(arguments, settings(arguments)))


def _asked(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, metavar="TEXT", help="kept in the audit log")
    parser.add_argument("--yes", action="store_true", help="do it; without it, only say what would be done")


def _days(text: str) -> int:
    number = text.removeprefix("-").removeprefix("+")
    if not (number.isascii() and number.isdecimal() and len(number) <= 4 and 1 <= int(number) <= _MOST_DAYS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of days from 1 to {_MOST_DAYS}, or with a minus"
        )
    return -int(number) if text.startswith("-") else int(number)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _give(arguments: argparse.Namespace, settings: Settings) -> int:
    from vpnd.shell.desk import give

    return give(
        settings,
        words=arguments.who,
        days=arguments.days,
        money=arguments.money,
        plan=arguments.plan,
        subscription=arguments.subscription,
        reason=arguments.reason,
        yes=arguments.yes,
    )


def _block(arguments: argparse.Namespace, settings: Settings, *, lift: bool) -> int:
    from vpnd.shell.desk import block, unblock

    command = unblock if lift else block
    return command(settings, words=arguments.who, reason=arguments.reason, yes=arguments.yes)


def _list(settings: Settings) -> int:
    from vpnd.shell.desk import list_all_operators

    return list_all_operators(settings)


def _set(arguments: argparse.Namespace, settings: Settings) -> int:
    from vpnd.shell.desk import set_role

    return set_role(
        settings, words=arguments.who, role=arguments.role, reason=arguments.reason, yes=arguments.yes
    )


def _remove(arguments: argparse.Namespace, settings: Settings) -> int:
    from vpnd.shell.desk import remove

    return remove(settings, words=arguments.who, reason=arguments.reason, yes=arguments.yes)
