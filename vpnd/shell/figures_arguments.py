"""The words of `vpnd export` and `vpnd report`; what they do is imported when it is asked for."""

from __future__ import annotations

import argparse
from datetime import date, datetime
from pathlib import Path
from typing import Final

from vpnd.config import Settings
from vpnd.shell.arguments import Commands, add_config, load, whole_number

__all__ = ["add"]

#: As in vpnd.shop.export_tables, which is not loaded to read a command line.
_EXPORTS: Final = ("customers", "subscriptions", "payments", "ledger", "audit", "plans")


def add(commands: Commands) -> None:
    """Add the two commands."""
    export = commands.add_parser("export", help="a table as CSV, as of now, also of a million rows")
    add_config(export)
    export.add_argument("what", choices=_EXPORTS)
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: a name with the time, in this folder"
    )
    export.add_argument(
        "--with-secrets", action="store_true", help="also what opens something: uuids and links' tokens"
    )
    export.add_argument("--since", type=_moment, metavar="TIME", help="rows made since; in [shop] time_zone")
    export.add_argument(
        "--format",
        choices=("csv", "toml"),
        help="toml: of plans only, and their default: the file that they are applied from",
    )
    export.set_defaults(command=lambda arguments: _export(arguments, export, load(arguments)))

    report = commands.add_parser("report", help="the shop's figures as one HTML file with charts")
    add_config(report)
    report.add_argument(
        "--days",
        type=whole_number(1, 1000, "number of days"),
        metavar="N",
        help="so many whole days until yesterday (default: 90)",
    )
    report.add_argument("--from", dest="first", type=_day, metavar="DAY", help='like "2026-12-01"')
    report.add_argument("--to", dest="last", type=_day, metavar="DAY", help="default: yesterday")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="default: vpnd-report-DAY.html in this folder"
    )
    report.set_defaults(command=lambda arguments: _report(arguments, report, load(arguments)))


def _export(arguments: argparse.Namespace, parser: argparse.ArgumentParser, settings: Settings) -> int:
    plans = arguments.what == "plans"
    if arguments.format == "toml" and not plans:
        parser.error("--format toml is for plans; all else is CSV")
    from vpnd.shell.export import export

    return export(
        settings,
        what=arguments.what,
        out=arguments.out,
        with_secrets=arguments.with_secrets,
        since=arguments.since,
        toml=plans and arguments.format != "csv",
    )


def _report(arguments: argparse.Namespace, parser: argparse.ArgumentParser, settings: Settings) -> int:
    if arguments.days is not None and (arguments.first or arguments.last):
        parser.error("--days and --from/--to are two ways to say the same: give one")
    if arguments.last is not None and arguments.first is None:
        parser.error("--to needs --from")
    if arguments.first and arguments.last and arguments.first > arguments.last:
        parser.error("--from is after --to")
    from vpnd.shell.report import report

    return report(
        settings, days=arguments.days or 90, first=arguments.first, last=arguments.last, out=arguments.out
    )


def _moment(text: str) -> datetime:
    """A day, or a day and a time of day, as the shop's clock shows them."""
    for shape in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, shape)  # noqa: DTZ007 (the shop's zone is not known yet)
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f'{text!r} is no time like "2026-12-01" or "2026-12-01 14:00"')


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no day like "2026-12-01"') from None
