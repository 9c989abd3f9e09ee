"""The units: systemd understands every line, and what they expose stays as small as it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "contrib" / "systemd"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")

#: Exposure by systemd's own measure, times ten. The node needs two capabilities, netlink and a core that maps memory.
LIMITS = {"vpnd.service": 12, "vpnd-node.service": 20}


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("unit", LIMITS)
def test_systemd_understands_every_line(unit: str, tmp_path: Path) -> None:
    """No unknown key, no value that is passed over, no missing program but our own, which is put in for the test."""
    lines = (UNITS / unit).read_text("utf-8").splitlines()
    program = next(line for line in lines if line.startswith("ExecStart="))
    assert program.startswith("ExecStart=/opt/vpnd/bin/vpnd ")
    place = tmp_path / unit
    place.write_text("\n".join(line.replace("/opt/vpnd/bin/vpnd", "/bin/true") for line in lines), "utf-8")

    done = analyze("verify", "--man=no", str(place))

    said = [line for line in done.stderr.splitlines() if unit in line or "vpnd" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize(("unit", "limit"), LIMITS.items())
def test_the_exposure_stays_small(unit: str, limit: int) -> None:
    """Whoever widens a unit has to say so here."""
    done = analyze("security", "--offline=true", f"--threshold={limit}", str(UNITS / unit))

    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@pytest.mark.parametrize("unit", LIMITS)
def test_the_units_rely_on_what_the_program_does(unit: str) -> None:
    """It says READY and feeds the watchdog, is started again whatever it ended by, and gets the time that its stop needs."""
    text = (UNITS / unit).read_text("utf-8")

    for line in (
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "TimeoutStopSec=15",
        "NoNewPrivileges=yes",
    ):
        assert f"\n{line}\n" in text
