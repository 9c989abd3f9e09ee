"""Which core to run: the one in the `xray-core` wheel, or an operator's own `xray` program."""

import importlib.metadata
import subprocess
import sys
from typing import Final

import attrs

#: The word in ``agent.core`` for the core that comes with vpnd.
WHEEL: Final = "wheel"
_DISTRIBUTION: Final = "xray-core"
#: Which Xray is inside a wheel; the wheel does not tell.
_XRAY_IN_WHEEL: Final = {"1.8.26.10": "26.7.28", "1.8.26.11": "26.9.9", "1.8.26.13": "26.10.10"}


class CoreMissing(Exception):
    """There is no core to run; the sentence says what to do."""


@attrs.frozen
class CoreProgram:
    """A core to start: its command line, which reads the configuration from standard input, and its version."""

    argv: tuple[str, ...]
    version: str


def find_core(core: str) -> CoreProgram:
    """Find the core that ``agent.core`` names. Blocks on the disk and on a short child process: use a thread.

    Raises `CoreMissing`.
    """
    if core == WHEEL:
        try:
            wheel = importlib.metadata.version(_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            raise CoreMissing('the xray-core wheel is not installed: pip install "vpnd[node]"') from None
        inside = _XRAY_IN_WHEEL.get(wheel, "of unknown version")
        # -P: whatever lies in the working directory must not stand in for a module.
        return CoreProgram(
            (sys.executable, "-P", "-m", "vpnd.agent.core_wheel"), f"Xray {inside} (wheel {wheel})"
        )
    try:
        told = subprocess.run(  # noqa: S603 - the program is the one the operator configured
            [core, "version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CoreMissing(f"agent.core: {core} does not tell its version ({type(error).__name__})") from None
    words = told.split()
    if words[:1] != ["Xray"] or len(words) < 2:
        raise CoreMissing(f"agent.core: {core} does not call itself Xray")
    return CoreProgram((core, "run", "-config", "stdin:"), f"Xray {words[1]}")
