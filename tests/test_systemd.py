"""The units: systemd understands every line, what they expose stays as small as it is, and the program runs under them."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from unit_sandbox import allowed

from vpnd.bot import charts, qr

UNITS = Path(__file__).parent.parent / "contrib" / "systemd"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")

#: Exposure by systemd's own measure, times ten. The node needs two capabilities, netlink and a core that maps memory.
LIMITS = {"vpnd.service": 12, "vpnd-node.service": 20}


def run(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of systemd."""
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ}
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with all units, with a program that is there in place of ours."""
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        text = unit.read_text("utf-8")
        if unit.suffix == ".service":
            assert "\nExecStart=/opt/vpnd/bin/vpnd " in text
        (tmp_path / unit.name).write_text(text.replace("/opt/vpnd/bin/vpnd", "/bin/true"), "utf-8")
    return tmp_path


def test_all_units_are_known_here() -> None:
    """A new service is measured, too."""
    assert {unit.name for unit in UNITS.glob("*.service")} == set(LIMITS)


@pytest.mark.parametrize("unit", [*LIMITS, "vpnd.socket"])
def test_systemd_understands_every_line(unit: str, installed: Path) -> None:
    """No unknown key, no value that is passed over, no missing program but our own, which is put in for the test.

    What it says of other units is the machine's matter: only files that we brought are ours.
    """
    done = run("systemd-analyze", "verify", "--man=no", installed / unit, SYSTEMD_UNIT_PATH=f"{installed}:")

    said = [line for line in done.stderr.splitlines() if "vpnd" in line or str(installed) in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize(("unit", "limit"), LIMITS.items())
def test_the_exposure_stays_small(unit: str, limit: int) -> None:
    """Whoever widens a unit has to say so here."""
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={limit}", UNITS / unit)

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


@pytest.mark.parametrize("unit", LIMITS)
def test_no_program_is_needed_that_a_small_system_lacks(unit: str) -> None:
    """Only our own and the shell: a Debian without procps has no `kill`, and a reload by it failed there."""
    text = (UNITS / unit).read_text("utf-8")
    programs = {line.partition("=")[2].split()[0] for line in text.splitlines() if line.startswith("Exec")}

    assert programs <= {"/opt/vpnd/bin/vpnd", "/bin/sh"}


def test_the_socket_has_the_daemons_address_and_name() -> None:
    """Without a word in vpnd.toml, the socket is where the daemon would listen by itself, and it knows it by its name."""
    from vpnd.config import HttpSettings
    from vpnd.web.listeners import HTTP

    lines = (UNITS / "vpnd.socket").read_text("utf-8").splitlines()

    assert f"ListenStream={HttpSettings().listen}" in lines
    assert f"FileDescriptorName={HTTP}" in lines


def test_the_node_has_its_two_capabilities_and_no_more() -> None:
    """Ports below 1024, and the end of a customer's connections."""
    lines = (UNITS / "vpnd-node.service").read_text("utf-8").splitlines()

    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert [line for line in lines if line.startswith(key)] == [
            f"{key}=CAP_NET_BIND_SERVICE CAP_NET_ADMIN"
        ]


@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is missing")
@pytest.mark.parametrize(
    ("command", "data"),
    [
        (qr.COMMAND, b"vless://somebody@somewhere:443"),
        (charts.COMMAND, b'[{"kind":"ranks","title":"a","labels":["x"],"series":[]}]'),
    ],
    ids=["qr", "chart"],
)
def test_pictures_are_drawn_under_the_daemons_unit(command: tuple[str, ...], data: bytes) -> None:
    """The children that draw lower their priority and set limits to themselves: the unit has to let them.

    One that cannot ends before it draws, and customers get no QR code.
    """
    drawn = subprocess.run(
        [sys.executable, UNITS.parent.parent / "tests" / "unit_sandbox.py", UNITS / "vpnd.service", *command],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert b"PermissionError" not in drawn.stderr, drawn.stderr[-400:]
    assert drawn.returncode in (0, 2)
    assert command is not qr.COMMAND or drawn.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize("unit", LIMITS)
def test_no_unit_lets_its_program_become_another(unit: str) -> None:
    """Neither mounts nor modules nor a change of user are to be had, and what the program needs is."""
    calls = allowed(UNITS / unit)

    assert not calls & {"mount", "init_module", "ptrace", "setuid", "bpf", "reboot", "chroot", "kexec_load"}
    assert calls >= {
        "execve",
        "clone3",
        "prctl",
        "prlimit64",
        "setpriority",
        "memfd_create",
        "socket",
        "openat",
    }


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is missing")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    """Two users that nobody logs in as; secrets are root's alone, whatever mode they were written with."""
    (tmp_path / "etc/vpnd/credentials").mkdir(parents=True, mode=0o755)
    (tmp_path / "etc/vpnd/credentials/telegram.token").write_text("x")

    users = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.d" / "vpnd.conf")
    folders = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "tmpfiles.d" / "vpnd.conf")

    assert (users.returncode, folders.returncode) == (0, 0), users.stderr + folders.stderr
    made = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert {(line[0], line[5], line[6]) for line in made if line[0].startswith("vpnd")} == {
        ("vpnd", "/var/lib/vpnd", "/usr/sbin/nologin"),
        ("vpnd-node", "/var/lib/vpnd-node", "/usr/sbin/nologin"),
    }
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("etc/vpnd", "etc/vpnd/credentials", "etc/vpnd/credentials/telegram.token")
    }
    assert list(modes.values()) == [0o755, 0o700, 0o600]


def test_the_journal_takes_what_a_busy_shop_says() -> None:
    """The limit of the unit is wider than journald's own, which a load at the debug level reaches; and there is one."""
    text = (UNITS / "vpnd.service").read_text("utf-8")
    burst = next(line for line in text.splitlines() if line.startswith("LogRateLimitBurst="))

    assert 10_000 < int(burst.partition("=")[2]) <= 1_000_000
