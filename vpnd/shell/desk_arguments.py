"""The words of `vpnd give`, `block`, `unblock` and `operator`; what they do is imported when it is asked for."""

from __future__ import annotations

import argparse
from typing import Final

from vpnd.config import Settings
from vpnd.shell.arguments import Commands, add_config, load, read_whole

__all__ = ["add"]

#: As in vpnd.shop.operators and vpnd.shop.deed, which are not loaded to read a command line.
_ROLES: Final = ("owner", "manager", "support", "reader")
_MOST_DAYS: Final = 3660

_WHO: Final = "a Telegram id, a @name, a purchase (p…), a charge, a link: whatever names the customer"


def add(commands: Commands) -> None:
    """Add the commands."""
    give = commands.add_parser("give", help="give a customer days, money or another plan, or take them")
    add_config(give)
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
    give.set_defaults(command=lambda arguments: _give(arguments, load(arguments)))

    for name, text in (
        ("block", "switch a customer's access off and shut the bot to him"),
        ("unblock", "let a customer in again, with the time that is left"),
    ):
        parser = commands.add_parser(name, help=text)
        add_config(parser)
        parser.add_argument("who", metavar="WHO", help=_WHO)
        _asked(parser)
        parser.set_defaults(
            command=lambda arguments, name=name: _block(arguments, load(arguments), lift=name == "unblock")
        )

    operator = commands.add_parser("operator", help="who runs the shop in the bot").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    listing = operator.add_parser("list", help="all of them, owners first")
    add_config(listing)
    listing.set_defaults(command=lambda arguments: _list(load(arguments)))
    setting = operator.add_parser("set", help="make somebody an operator, or give him another role")
    add_config(setting)
    setting.add_argument("who", metavar="WHO", help="a Telegram id, or a @name that has written to the bot")
    setting.add_argument("role", choices=_ROLES)
    _asked(setting)
    setting.set_defaults(command=lambda arguments: _set(arguments, load(arguments)))
    removing = operator.add_parser("remove", help="take somebody's role away")
    add_config(removing)
    removing.add_argument("who", metavar="WHO", help="a Telegram id, or a @name")
    _asked(removing)
    removing.set_defaults(command=lambda arguments: _remove(arguments, load(arguments)))


def _asked(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, metavar="TEXT", help="kept in the audit log")
    parser.add_argument("--yes", action="store_true", help="do it; without it, only say what would be done")


def _days(text: str) -> int:
    number = text.removeprefix("-").removeprefix("+")
    days = read_whole(number, 1, _MOST_DAYS, "number of days (with a minus: taken)")
    return -days if text.startswith("-") else days


def _number(text: str) -> int:
    return read_whole(text, 0, 10**18 - 1, "number")


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
