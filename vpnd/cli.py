"""The commands; the only reader of argv.

Exit codes: 0 done, 1 failed (the journal says why), 2 the command line or the configuration is wrong.
Imports of the parts are deferred to the command that needs them: `vpnd check-config` must not load a Telegram library.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vpnd import __version__
from vpnd.config import ConfigError
from vpnd.runtime.absent import absent
from vpnd.runtime.heap import hoard_nothing
from vpnd.runtime.journal import catch_crashes
from vpnd.shell import (
    broadcast_arguments,
    desk_arguments,
    doctor_arguments,
    figures_arguments,
    init_arguments,
)
from vpnd.shell.arguments import Commands, add_config, load, whole_number

FAILED: Final = 1
USAGE: Final = 2

#: 128 + SIGINT: what a shell shows for a program that Ctrl-C ended.
INTERRUPTED: Final = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        argv: the words after the program's name; None takes them from the process.
    """
    catch_crashes()
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except ConfigError as error:
        print(error.render(), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vpnd", description="Sells and runs a VPN service through a Telegram bot."
    )
    parser.add_argument("--version", action="version", version=f"vpnd {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="a whole small world on this machine, with a chat page; no account needed"
    )
    demo.add_argument("--tour", action="store_true", help="play a customer's life, prove each step, and end")
    demo.add_argument(
        "--port",
        type=whole_number(0, 65535, "port"),
        default=8088,
        help="of the chat page (default: %(default)s)",
    )
    demo.add_argument("--verbose", action="store_true", help="show the journals of all processes")
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="the daemon")
    add_config(run)
    run.add_argument("--sandbox", action="store_true", help=argparse.SUPPRESS)
    run.set_defaults(command=_run)

    node = commands.add_parser("node", help="what runs on a VPN node")
    node_commands = node.add_subparsers(title="commands", required=True, metavar="COMMAND")
    node_run = node_commands.add_parser("run", help="the agent and its Xray core")
    add_config(node_run, "agent")
    node_run.set_defaults(command=_node_run)

    init_arguments.add(commands)

    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    add_config(migrate)
    migrate.add_argument(
        "--phase", choices=("all", "pre", "post"), default="all", help="default: %(default)s"
    )
    migrate.set_defaults(command=_migrate)

    _add_money(commands)
    _add_looking(commands)
    _add_switches(commands)
    _add_maintenance(commands)
    figures_arguments.add(commands)
    desk_arguments.add(commands)
    broadcast_arguments.add(commands)
    doctor_arguments.add(commands)

    check = commands.add_parser(
        "check-config",
        help="tell every fault of the configuration (exit 2) and of your own texts (exit 1)",
    )
    add_config(check)
    check.add_argument("--node", action="store_true", help="judge it as a node's configuration")
    check.set_defaults(command=_check_config)
    return parser


def _add_looking(commands: Commands) -> None:
    status = commands.add_parser("status", help="the running daemon at a glance")
    _add_daemon(status)
    status.add_argument("--watch", action="store_true", help="until Ctrl-C, in place")
    status.set_defaults(command=_status)

    audit = commands.add_parser(
        "audit", help="the async-safety report, measured on the running daemon; exit 1 if a limit is broken"
    )
    _add_daemon(audit)
    audit.add_argument(
        "--seconds", type=float, metavar="N", help="watch for so long (default: today's record)"
    )
    audit.add_argument("--json", action="store_true", help="the whole document, with seven days")
    audit.add_argument("--allow-idle", action="store_true", help="what was not measured is no reason to fail")
    audit.add_argument(
        "--strict", action="store_true", help="what the journal only tells of ([HTTP_SLOW] …) is one"
    )
    audit.set_defaults(command=_audit)


def _add_daemon(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--socket", type=Path, metavar="PATH", help="of the daemon (default: where the configuration has it)"
    )


def _add_money(commands: Commands) -> None:
    refund = commands.add_parser("refund", help="give a charge back, to who paid it or to the balance")
    add_config(refund)
    refund.add_argument(
        "name", metavar="CHARGE", help="a purchase (p…) or provider:charge, as the journal names it"
    )
    refund.add_argument(
        "--amount", metavar="N", help="a part of one charge, in its own currency (default: all)"
    )
    refund.add_argument(
        "--to-balance", action="store_true", help="to the customer's balance, not to who paid"
    )
    refund.add_argument("--reason", metavar="TEXT", help="kept with the refund")
    refund.add_argument("--yes", action="store_true", help="do it; without it, only say what there is")
    refund.set_defaults(command=_refund)

    promo = commands.add_parser("promo", help="promo codes").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    add = promo.add_parser("add", help="make a code")
    add_config(add)
    add.add_argument("code")
    add.add_argument("kind", choices=("percent", "days", "money"))
    add.add_argument("value", help="percent, days, or an amount of the shop's currency")
    add.add_argument("--valid", type=int, metavar="DAYS", help="for so many days (default: for good)")
    add.add_argument("--uses", type=int, metavar="N", help="so many uses in all (default: no cap)")
    add.add_argument("--per-customer", type=int, default=1, metavar="N", help="default: %(default)s")
    add.set_defaults(command=_promo_add)
    listing = promo.add_parser("list", help="the newest hundred")
    add_config(listing)
    listing.set_defaults(command=_promo_list)
    off = promo.add_parser("off", help="switch a code off")
    add_config(off)
    off.add_argument("code")
    off.set_defaults(command=_promo_off)

    discount = commands.add_parser("discount", help="a customer's personal discount")
    add_config(discount)
    discount.add_argument("telegram_id", type=int)
    discount.add_argument("percent", type=whole_number(0, 99), metavar="PERCENT", help="0 takes it away")
    discount.add_argument("--valid", type=int, metavar="DAYS", help="for so many days (default: for good)")
    discount.set_defaults(command=_discount)


def _add_switches(commands: Commands) -> None:
    pause = commands.add_parser(
        "pause", help="pause a worker, the sale (shop) or the trial; without a name, list"
    )
    add_config(pause)
    pause.add_argument("name", nargs="?")
    pause.add_argument("--reason", metavar="TEXT", help="kept with the switch, and shown")
    pause.set_defaults(command=_pause)
    resume = commands.add_parser("resume", help="end a pause")
    add_config(resume)
    resume.add_argument("name")
    resume.set_defaults(command=_resume)
    banner = commands.add_parser("banner", help="what the bot's screens begin with while something is wrong")
    add_config(banner)
    choice = banner.add_mutually_exclusive_group(required=True)
    choice.add_argument("text", nargs="?")
    choice.add_argument("--off", action="store_true", help="show none")
    banner.set_defaults(command=_banner)


def _add_maintenance(commands: Commands) -> None:
    work = commands.add_parser("maintenance", help="tell everybody who has access that a node is worked on")
    add_config(work)
    work.add_argument("node", metavar="NODE")
    work.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="TIME",
        help='like "2026-12-01 02:00", in [shop] time_zone',
    )
    work.add_argument("--for", dest="length", required=True, metavar="LENGTH", help="30m, 2h, 1d")
    work.add_argument("--yes", action="store_true", help="do it; without it, only say what there is")
    work.set_defaults(command=_maintenance)


def _run(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    return load_daemon()(settings, sandbox=arguments.sandbox, reread=lambda: load(arguments))


def load_daemon() -> Callable[..., int]:
    """Load the daemon, and nothing that it has no use for; returns its `run`."""
    # Half a million objects come in, and hardly any is garbage: to look for some as often as Python does takes a tenth of the
    # time. Never to look costs 4 MB for good: a class with slots leaves its first version behind.
    gc.set_threshold(20_000)
    hoard_nothing()
    # PTB would decrypt Telegram Passport with it; where a node is beside the shop it is installed, and takes 8 MB.
    with absent("cryptography"):
        from vpnd.daemon import run
    return run


def _node_run(arguments: argparse.Namespace) -> int:
    settings = load(arguments, "agent")
    from vpnd.agent.service import run

    return run(settings)


def _migrate(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.migrate import migrate

    return migrate(settings, phase=arguments.phase)


def _refund(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.refund import refund

    return refund(
        settings,
        name=arguments.name,
        amount=arguments.amount,
        to_balance=arguments.to_balance,
        reason=arguments.reason,
        yes=arguments.yes,
    )


def _promo_add(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.offers import add_promo

    return add_promo(
        settings,
        code=arguments.code,
        kind=arguments.kind,
        value=arguments.value,
        days_valid=arguments.valid,
        uses=arguments.uses,
        per_customer=arguments.per_customer,
    )


def _promo_list(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.offers import list_promos

    return list_promos(settings)


def _promo_off(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.offers import retire_promo

    return retire_promo(settings, code=arguments.code)


def _discount(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.offers import give_discount

    return give_discount(
        settings, telegram_id=arguments.telegram_id, percent=arguments.percent, days=arguments.valid
    )


def _status(arguments: argparse.Namespace) -> int:
    from vpnd.shell.status import status

    return status(_socket(arguments), watch=arguments.watch)


def _audit(arguments: argparse.Namespace) -> int:
    from vpnd.shell.audit import audit

    return audit(
        _socket(arguments),
        seconds=arguments.seconds,
        as_json=arguments.json,
        allow_idle=arguments.allow_idle,
        strict=arguments.strict,
    )


def _socket(arguments: argparse.Namespace) -> Path:
    from vpnd.shell.daemon_socket import find_socket

    return find_socket(arguments.socket, arguments.config, os.environ)


def _pause(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell import switches

    if arguments.name is None:
        return switches.switches(settings)
    return switches.pause(settings, name=arguments.name, reason=arguments.reason)


def _resume(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.switches import resume

    return resume(settings, name=arguments.name)


def _banner(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.switches import banner

    return banner(settings, text=None if arguments.off else arguments.text)


def _maintenance(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.maintenance import maintenance

    return maintenance(
        settings, node=arguments.node, start=arguments.start, length=arguments.length, yes=arguments.yes
    )


def _check_config(arguments: argparse.Namespace) -> int:
    settings = load(arguments, "agent" if arguments.node else "daemon")
    if not arguments.node:
        from vpnd.payments.terms import terms_of, topups_of

        terms_of(settings)
        topups_of(settings)
        from vpnd.bot.texts_folder import load_texts

        _, faults = load_texts(settings.shop.languages, settings.shop.texts_dir)
        for fault in faults:
            print(f"  {fault}", file=sys.stderr)
        if faults:
            print("The configuration is valid; the texts above are not used.", file=sys.stderr)
            return FAILED
    print("The configuration is complete and valid.")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    try:
        from vpnd.sandbox.demo import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("vpnd."):
            raise
        print(f"vpnd demo needs the package {error.name}: install vpnd[demo]", file=sys.stderr)
        return FAILED
    return run(tour=arguments.tour, port=arguments.port, verbose=arguments.verbose)
