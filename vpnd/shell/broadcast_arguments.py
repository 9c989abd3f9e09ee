"""The words of `vpnd broadcast`, and what they call."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vpnd.shell.arguments import Commands, add_config, load

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add `broadcast` to the commands."""
    broadcast = commands.add_parser("broadcast", help="one message for many").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    _add_send(broadcast)
    listing = broadcast.add_parser("list", help="the newest twenty")
    add_config(listing)
    listing.set_defaults(command=_list)
    for name, words in (
        ("show", "one of them, and how far it is"),
        ("pause", "send no more until it is resumed"),
        ("resume", "go on"),
        ("stop", "end it for good"),
    ):
        one = broadcast.add_parser(name, help=words)
        add_config(one)
        one.add_argument("number", type=int, metavar="N")
        one.set_defaults(command=_show if name == "show" else _move, move=name)


def _add_send(broadcast: Commands) -> None:
    send = broadcast.add_parser("send", help="compose, count, and with --yes begin or schedule one")
    add_config(send)
    what = send.add_argument_group("the message")
    what.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="LANGUAGE=FILE",
        help="Telegram HTML; one for each language",
    )
    what.add_argument("--copy", metavar="CHAT:MESSAGE", help="copy this message, which the bot can see")
    what.add_argument("--buttons", type=Path, metavar="FILE", help="lines of: label - https://…")
    what.add_argument("--text-b", action="append", default=[], metavar="LANGUAGE=FILE", help="of variant B")
    what.add_argument("--copy-b", metavar="CHAT:MESSAGE", help="variant B")
    what.add_argument("--buttons-b", type=Path, metavar="FILE", help="of variant B")
    what.add_argument(
        "--share-b", type=int, default=50, metavar="PERCENT", help="who gets variant B (default: %(default)s)"
    )
    what.add_argument("--title", default="", metavar="TEXT", help="what you call it")
    send.add_argument(
        "--segment",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="all have to hold: access, trial, bought, came, brought=yes|no; language, plan=a,b;"
        " expired, idle=DAYS; balance=over:100 or under:50",
    )
    send.add_argument("--schedule", metavar="TIME", help='like "2026-12-01 10:00", in [shop] time_zone')
    send.add_argument("--on-missed", choices=("send", "skip"), default="send", help="default: %(default)s")
    send.add_argument("--yes", action="store_true", help="do it; without it, only say what there is")
    send.set_defaults(command=_send)


def _send(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.broadcast import Order, send

    values: dict[str, Any] = vars(arguments)
    names = (
        "text", "copy", "buttons", "text_b", "copy_b", "buttons_b", "share_b", "title", "segment", "schedule", "on_missed", "yes",
    )  # fmt: skip
    return send(settings, Order(**{name: values[name] for name in names}))


def _list(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.broadcast import listing

    return listing(settings)


def _show(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.broadcast import show

    return show(settings, arguments.number)


def _move(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    from vpnd.shell.broadcast import move

    return move(settings, arguments.number, arguments.move)
