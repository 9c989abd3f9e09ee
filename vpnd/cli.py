"""The commands; the only reader of argv.

Exit codes: 0 done, 1 failed (the journal says why), 2 the command line or the configuration is wrong.
Imports of the parts are deferred to the command that needs them: `vpnd check-config` must not load a Telegram library.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vpnd import __version__
from vpnd.config import ConfigError, Role, Settings, load_settings
from vpnd.runtime.journal import catch_crashes
from vpnd.runtime.redact import register_secret

FAILED: Final = 1
USAGE: Final = 2

#: Where the units of contrib/systemd keep their configuration.
DAEMON_CONFIG: Final = Path("/etc/vpnd/vpnd.toml")
NODE_CONFIG: Final = Path("/etc/vpnd/node.toml")

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
    demo.add_argument("--port", type=_port, default=8088, help="of the chat page (default: %(default)s)")
    demo.add_argument("--verbose", action="store_true", help="show the journals of all processes")
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="the daemon")
    _add_config(run, DAEMON_CONFIG)
    run.add_argument("--sandbox", action="store_true", help=argparse.SUPPRESS)
    run.set_defaults(command=_run)

    node = commands.add_parser("node", help="what runs on a VPN node")
    node_commands = node.add_subparsers(title="commands", required=True, metavar="COMMAND")
    node_run = node_commands.add_parser("run", help="the agent and its Xray core")
    _add_config(node_run, NODE_CONFIG)
    node_run.set_defaults(command=_node_run)

    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    _add_config(migrate, DAEMON_CONFIG)
    migrate.add_argument(
        "--phase", choices=("all", "pre", "post"), default="all", help="default: %(default)s"
    )
    migrate.set_defaults(command=_migrate)

    check = commands.add_parser(
        "check-config", help="tell every fault of the configuration; exit 2 if there is one"
    )
    _add_config(check, DAEMON_CONFIG)
    check.add_argument("--node", action="store_true", help="judge it as a node's configuration")
    check.set_defaults(command=_check_config)
    return parser


def _port(text: str) -> int:
    """Read a port's number; 0 takes a free one."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65535")
    return int(text)


def _add_config(parser: argparse.ArgumentParser, default: Path) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: {default} if it exists")
    parser.set_defaults(default_config=default)


def _settings(arguments: argparse.Namespace, role: Role) -> Settings:
    """Load the settings of `role`; without --config and without the default file, the environment alone decides."""
    path: Path | None = arguments.config
    if path is None and arguments.default_config.exists():
        path = arguments.default_config
    settings = load_settings(path, os.environ, role=role)
    for secret in settings.secrets():
        register_secret(secret.reveal())
    return settings


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, "daemon")
    from vpnd.daemon import run

    return run(settings, sandbox=arguments.sandbox)


def _node_run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, "agent")
    from vpnd.agent.service import run

    return run(settings)


def _migrate(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, "daemon")
    from vpnd.daemon import migrate

    return migrate(settings, phase=arguments.phase)


def _check_config(arguments: argparse.Namespace) -> int:
    _settings(arguments, "agent" if arguments.node else "daemon")
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
