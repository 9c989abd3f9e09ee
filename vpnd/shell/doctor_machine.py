"""The machine's and the configuration's part of `vpnd doctor`: versions, disk, descriptors, and what only a live look shows."""

from __future__ import annotations

import platform
import re
import resource
import shutil
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import trio

from vpnd import __version__
from vpnd.bot.texts_folder import load_texts
from vpnd.config import ConfigError, Settings
from vpnd.payments.terms import terms_of, topups_of
from vpnd.shell.doctor_report import Check, Report, say
from vpnd.shop.plans_file import PlansFileError, load_plans_file

__all__ = ["config_checks", "fits", "machine_checks"]

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)")
_CLAUSE: Final = re.compile(r"(>=|<=|==|<|>|!=)\s*([0-9][0-9.]*)")
#: Python that the program is tested with: from the first, below the second.
PYTHON: Final = ((3, 11), (3, 14))
#: Descriptors that a busy daemon wants: 1 024 connections of customers and its own.
DESCRIPTORS: Final = 2048
#: Share of a disk that has to be free.
FREE: Final = 0.05


def machine_checks(settings: Settings) -> list[Check]:
    """Return the checks of the machine."""
    return [
        Check("versions", _versions),
        Check("disk", partial(_disk, settings.instance.state_dir)),
        Check("descriptors", _descriptors),
    ]


def config_checks(settings: Settings) -> list[Check]:
    """Return the checks of the configuration, beyond what loading it has said."""
    return [
        Check("config", partial(_config, settings)),
        Check("texts", partial(_texts, settings)),
        Check("plans", partial(_plans, settings)),
    ]


def fits(version: str, wanted: str) -> bool:
    """Return whether a version fits a list of clauses like `>=1.2,<2`; pre-releases count as their release."""
    have = _numbers(version)
    judges: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b,
        "<": lambda a, b: a < b, ">": lambda a, b: a > b, "!=": lambda a, b: a != b,
    }  # fmt: skip
    return all(judges[how](have, _numbers(limit)) for how, limit in _CLAUSE.findall(wanted))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else [0]
    return tuple(numbers + [0] * (6 - len(numbers)))


async def _versions(report: Report) -> None:
    say(
        "versions", f"vpnd {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    )
    if not PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        report.find(
            "versions",
            "warning",
            f"Python {platform.python_version()} is not one that vpnd is tested with",
            "make the virtual environment anew with Python 3.11, 3.12 or 3.13 (docs/install.md)",
        )
    count, wrong = await trio.to_thread.run_sync(_packages, abandon_on_cancel=True)
    for fault in wrong:
        report.find(
            "versions", "critical", fault, "pip install --upgrade vpnd, into the same virtual environment"
        )
    if not wrong:
        say("versions", f"{count} packages fit")


def _packages() -> tuple[int, list[str]]:
    """Return how many packages vpnd needs, and what is wrong with those that are installed. Reads the disk."""
    try:
        wanted = [each for each in metadata.requires("vpnd") or [] if "extra ==" not in each]
    except metadata.PackageNotFoundError:
        return 0, ["vpnd is not installed as a package"]
    return len(wanted), [fault for each in wanted if (fault := _package(each))]


def _package(requirement: str) -> str | None:
    found = _REQUIREMENT.match(requirement)
    if found is None:
        return None
    name, wanted = found[1], found[2].strip(" ()")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"the package {name} is not installed"
    return None if fits(version, wanted) else f"{name} is {version}, and vpnd needs {wanted}"


async def _disk(folder: Path, report: Report) -> None:
    there, free, total = await trio.to_thread.run_sync(_space, folder, abandon_on_cancel=True)
    if free < total * FREE:
        report.find(
            "disk",
            "critical",
            f"{there} has {free // 2**20} MB of {total // 2**20} MB free",
            "make room: journalctl --vacuum-size=500M, old exports in the state folder, du -xh / | sort -h | tail",
        )
    if there != folder:
        say("disk", f"{folder} is not there yet: the daemon's unit makes it")


def _space(folder: Path) -> tuple[Path, int, int]:
    """Return the nearest folder that is there, and its disk's free and whole size in bytes."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    usage = shutil.disk_usage(there)
    return there, usage.free, usage.total


async def _descriptors(report: Report) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < DESCRIPTORS:
        report.find(
            "descriptors",
            "warning",
            f"a process may open {soft} files here, {hard} at most; the daemon wants {DESCRIPTORS}",
            "LimitNOFILE=8192 in a drop-in of the unit; of this shell: ulimit -n",
        )


async def _config(settings: Settings, report: Report) -> None:
    try:
        terms = terms_of(settings)
        topups_of(settings)
    except ConfigError as error:
        report.find(
            "config", "critical", error.render(), "mend the key that is named, then vpnd check-config"
        )
        return
    if not set(terms) - {"balance"}:  # which has to be filled by another
        report.find(
            "config",
            "critical",
            "there is no way to pay",
            "set [stars], [cryptopay] or [yookassa] up (docs/payments.md)",
        )
    if not settings.telegram.admins:
        report.find(
            "config",
            "warning",
            "[telegram] admins is empty: nobody is told of what needs a person",
            "put your Telegram id there; @userinfobot says it",
        )
    if not settings.nodes:
        report.find(
            "config",
            "critical",
            "there is no node: who pays gets no access",
            "set a node up and name it in [[nodes]] (docs/nodes.md)",
        )
    if settings.nodes and settings.http.public_url is None:
        report.find(
            "config",
            "warning",
            "[http] public_url is not set: customers get no page of their own, and providers no address for webhooks",
            "set it to the address of the reverse proxy (docs/install.md)",
        )


async def _texts(settings: Settings, report: Report) -> None:
    read = partial(load_texts, settings.shop.languages, settings.shop.texts_dir)
    _, faults = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    for fault in faults:
        report.find("texts", "warning", str(fault), "mend it, then systemctl reload vpnd")


async def _plans(settings: Settings, report: Report) -> None:
    read = partial(load_plans_file, settings.shop.plans, currency=settings.shop.currency)
    try:
        plans = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    except PlansFileError as error:
        report.find("plans", "warning", str(error), "mend the file, then systemctl reload vpnd")
    else:
        say("plans", f"{len(plans)} plans in the file")
