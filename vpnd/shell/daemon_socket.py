"""How a command finds the running daemon and asks it, without the secrets that the daemon was started with."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from vpnd.runtime import journal
from vpnd.runtime.control import SOCKET_NAME, ControlError
from vpnd.runtime.groups import plainest

__all__ = ["find_socket", "run_against_daemon"]

#: Where the unit of contrib/systemd has its runtime directory.
UNIT_RUNTIME: Final = Path("/run/vpnd")
#: The configuration's own default of `[instance] state_dir`.
DEFAULT_STATE: Final = Path("/var/lib/vpnd")


def find_socket(
    given: Path | None, config: Path | None, environ: Mapping[str, str], *, unit_runtime: Path = UNIT_RUNTIME
) -> Path:
    """Return where the daemon's control socket is: what was given, else the first place where one is.

    Those are the runtime directory of the unit, and the state directory as `config` or the environment name it, which comes first
    for a configuration that was named. Only that key is read: whoever may ask the daemon need not be able to read its secrets.
    """
    if given is not None:
        return given
    state = _state_dir(config, environ) / SOCKET_NAME
    places = [unit_runtime / SOCKET_NAME, state]
    if config is not None or environ.get("VPND_INSTANCE__STATE_DIR"):
        places.reverse()
    return next((place for place in places if _is_there(place)), places[0])


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:
        return True  # it says so itself when it is asked


def _state_dir(config: Path | None, environ: Mapping[str, str]) -> Path:
    named = environ.get("VPND_INSTANCE__STATE_DIR")
    if not named and config is not None:
        try:
            document = tomllib.loads(config.read_text("utf-8"))
            named = document["instance"]["state_dir"]
        except (OSError, ValueError, KeyError, TypeError):
            named = None  # a command that cannot read it looks where the defaults are
    return Path(named) if isinstance(named, str) and named else DEFAULT_STATE


def run_against_daemon(body: Callable[[], Awaitable[int]]) -> int:
    """Run `body`; a daemon that cannot be asked is one line on standard error and exit code 1."""
    journal.configure("console", level="warning")
    try:
        return trio.run(body)
    except* ControlError as group:
        sys.stderr.write(f"vpnd: {plainest(group)}\n")
    return 1
