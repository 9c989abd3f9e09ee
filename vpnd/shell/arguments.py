"""What the words of many commands have in common: the configuration that they name, and numbers within bounds."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from vpnd.config import Role, Settings, load_settings
from vpnd.runtime.redact import register_secret

__all__ = [
    "DAEMON_CONFIG",
    "NODE_CONFIG",
    "Commands",
    "add_config",
    "default_config",
    "load",
    "read_whole",
    "whole_number",
]

#: What argparse calls the place that commands are added to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it

#: Where the units of contrib/systemd keep their configuration.
DAEMON_CONFIG: Final = Path("/etc/vpnd/vpnd.toml")
NODE_CONFIG: Final = Path("/etc/vpnd/node.toml")


def default_config(role: Role) -> Path:
    """Return where the configuration of `role` is when none is named."""
    return NODE_CONFIG if role == "agent" else DAEMON_CONFIG


def add_config(parser: argparse.ArgumentParser, role: Role = "daemon") -> None:
    """Give a command its option for the configuration."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"default: {default_config(role)} if it exists"
    )


def load(arguments: argparse.Namespace, role: Role = "daemon") -> Settings:
    """Load the settings that `add_config`'s option names, and have their secrets kept out of whatever is said from now on.

    Without --config and without the default file, the environment alone decides. Raises ConfigError.
    """
    path: Path | None = arguments.config
    default = default_config(role)
    if path is None and default.exists():
        path = default
    settings = load_settings(path, os.environ, role=role)
    for secret in settings.secrets():
        register_secret(secret.reveal())
    return settings


def read_whole(text: str, low: int, high: int, what: str = "whole number") -> int:
    """Read a whole number from `low` to `high`, of digits alone. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and low <= int(text) <= high):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} from {low} to {high}")
    return int(text)


def whole_number(low: int, high: int, what: str = "whole number") -> Callable[[str], int]:
    """Return what reads a whole number from `low` to `high`, as a `type` of argparse."""
    return lambda text: read_whole(text, low, high, what)
