"""A Debian of its own that is booted: how it is made, entered and ended, and how a chapter's steps are played in it.

Each chapter has a fresh copy, so none sees what another has left. The system has a network of its own without a way out; what a
package index would have is a folder of wheels in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,postgresql,ca-certificates,curl,iproute2"
TELEGRAM = 9001
CRYPTOPAY = 9002
WEB = "http://127.0.0.1:8080"
METRICS = "http://127.0.0.1:9464/metrics"

#: What a checkout has beside the files that are kept in it, and nobody else would get.
LEFT_OUT = (".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", ".hypothesis")


class Fault(Exception):
    """A step was not seen."""


#: What a root shell of a server has; nothing of this machine's own.
ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


class Terminal:
    """A terminal at which a person answers."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.screen = ""
        self._master = master
        self._seen = 0

    def until(self, words: str, patience: float = 120.0) -> None:
        """Wait until `words` come behind what was waited for before."""
        end = time.monotonic() + patience
        while (found := self.screen.find(words, self._seen)) < 0:
            if time.monotonic() > end or not self._hear():
                raise Fault(f"{words!r} did not come: {self.screen[-1500:]}")
        self._seen = found + len(words)

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt, and type the answer."""
        self.until(prompt)
        os.write(self._master, f"{line}\n".encode())

    def press(self, key: str) -> None:
        """Press a key; a control character does what it does at a terminal."""
        os.write(self._master, key.encode())

    def end(self, patience: float = 300.0) -> int:
        """Read to the end, and return how it ended."""
        end = time.monotonic() + patience
        while self._hear():
            if time.monotonic() > end:
                raise Fault(f"no end within {patience:g} s: {self.screen[-1500:]}")
        return self.process.wait(60)

    def _hear(self) -> bool:
        """Read what comes within a second; False at the end."""
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return True
        try:
            came = os.read(self._master, 65536)
        except OSError:  # nobody has the other side any more
            return False
        self.screen += came.decode(errors="replace").replace("\r\n", "\n")
        return bool(came)


class Machine:
    """A booted system; commands run in it."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._enter = [
            "nsenter",
            f"--target={leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
        ]

    def run(
        self, command: str, *, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in it, as root."""
        done = subprocess.run(
            [*self._enter, "/bin/sh", "-c", command],
            capture_output=True, text=True, errors="replace", timeout=timeout, check=False, env=ENVIRON,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise Fault(f"{command}: exit {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done

    @contextmanager
    def at_terminal(self, command: str) -> Iterator[Terminal]:
        """Run a line of shell in it at a terminal, as root; it is killed at the end of the block if it still runs."""
        master, slave = pty.openpty()

        def log_in() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [*self._enter, "/bin/sh", "-c", command],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=log_in, env=ENVIRON,
        )  # fmt: skip
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            process.wait()
            os.close(master)

    def out(self, command: str) -> str:
        """What a command prints."""
        return self.run(command).stdout.strip()

    def until(self, what: str, seen: Callable[[], bool], patience: float = 30.0) -> None:
        """Wait for something; raises Fault with `what` when it does not come."""
        end = time.monotonic() + patience
        while not seen():
            if time.monotonic() > end:
                raise Fault(f"{what}: not within {patience:g} s")
            time.sleep(0.2)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.out(f"systemctl show --value -p {name} {unit}")

    def ready(self, patience: float = 60.0) -> None:
        """Wait until customers are served."""
        self.until(
            "readiness", lambda: self.run(f"curl -fsS {WEB}/readyz", check=False).returncode == 0, patience
        )

    def post(self, path: str, **body: object) -> dict[str, object]:
        """Ask the sandbox's Telegram for something to happen."""
        answer = self.out(
            f"curl -fsS -H 'content-type: application/json' -d '{json.dumps(body)}' http://127.0.0.1:{TELEGRAM}{path}"
        )
        return dict(json.loads(answer or "{}"))

    def chat(self, person: int) -> list[dict[str, object]]:
        """What a person sees of the bot."""
        seen = json.loads(
            self.out(f"curl -fsS 'http://127.0.0.1:{TELEGRAM}/sim/chat/{person}?after=0&wait=0'")
        )
        return [message for message in seen["messages"] if message["from_bot"]]


def fetch_wheels(folder: Path) -> None:
    """Fill `folder` with what an operator's server would get from the package index: our wheel, and what the lock names."""
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    subprocess.run(
        [*pip, "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11",
         *(f"--platform=manylinux{tag}_x86_64" for tag in ("_2_28", "_2_17", "2014")),
         "--dest", folder, "-r", ROOT / "contrib" / "requirements-node.lock"],
        check=True,
    )  # fmt: skip


def fetch_players(folder: Path) -> None:
    """Add what the players of the tour need beside the daemon: the way through a SOCKS port."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "download", "--no-deps", "--dest", folder, "socksio"], check=True)


def fetch_build(folder: Path) -> None:
    """Add what is needed to install a checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "download", "--no-deps", "--dest", folder, "setuptools>=77", "wheel"], check=True)


def fetch_pipx(folder: Path) -> None:
    """Add the installer of programs that many have on a machine of their own."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    # It brings its own pip up to date first.
    subprocess.run([*pip, "download", "--only-binary", ":all:", "--dest", folder, "pipx", "pip"], check=True)


def fetch_tools(folder: Path) -> None:
    """Add what a checkout installs for its developers, and what its build needs."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "download", "--find-links", folder,
         "--dest", folder, "setuptools>=77", "wheel", f"{ROOT}[dev]"],
        check=True,
    )  # fmt: skip


def make_base(given: Path | None, work: Path) -> Path:
    """A Debian to copy: the given one, or one that is made now."""
    if given is not None:
        return given
    base = work / "base"
    subprocess.run(
        ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "bookworm", base],
        check=True,
    )
    return base


def make_root(base: Path, wheels: Path, root: Path) -> Path:
    """A copy of it with the wheels, this checkout, and pip told that there is nothing else."""
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    shutil.copytree(wheels, root / "srv" / "wheels", copy_function=os.link)
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /srv/wheels\n")
    (root / "etc" / "machine-id").write_text("")
    checkout = root / "usr" / "local" / "src" / "vpnd"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    (root / "srv" / "contrib").symlink_to("/usr/local/src/vpnd/contrib")
    return root


@contextmanager
def booted(root: Path, console: Path) -> Iterator[Machine]:
    """The system, from its boot to its end; both are bounded."""
    with console.open("wb") as log:
        nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
             f"--directory={root}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Machine(root, _leader(nspawn))
    finally:
        nspawn.send_signal(signal.SIGTERM)  # asks the system inside to power off
        try:
            nspawn.wait(30)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()


def _leader(nspawn: subprocess.Popen[bytes]) -> int:
    """The pid of the system's first process, when it has become systemd."""
    end = time.monotonic() + 60
    while time.monotonic() < end and nspawn.poll() is None:
        for child in Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split():
            place = Path(f"/proc/{child}")
            if place.exists() and (place / "comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.1)
    raise Fault(f"the system did not boot (exit {nspawn.poll()})")


class Chapter:
    """Steps in their order; each is a method that begins with `step_`, says what it saw, and raises Fault otherwise."""

    #: When one of these fails, the rest of the chapter is not played.
    needed: tuple[str, ...] = ()

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Name and function of each."""
        return [
            (name.removeprefix("step_").replace("_", " "), getattr(self, name))
            for name in vars(type(self))
            if name.startswith("step_")
        ]

    def play(self, say: Callable[[str], None]) -> tuple[int, bool]:
        """Play every step; return how many were not seen, and whether what follows may be played."""
        faults = 0
        for name, step in self.steps():
            began = time.monotonic()
            try:
                told, mark = step(), "ok    "
            except (Fault, subprocess.SubprocessError, OSError, ValueError, LookupError) as fault:
                told, mark = f"{type(fault).__name__}: {fault}", "FAILED"
                faults += 1
            say(f"{mark} {time.monotonic() - began:6.1f} s  {name}: {told}")
            if mark == "FAILED" and name in self.needed:
                say(self.machine.run("journalctl -p info -n 60 --no-pager", check=False).stdout)
                return faults, False
        return faults, True

    def start_postgres(self) -> None:
        """Have PostgreSQL answer."""
        m = self.machine
        m.run("systemctl start postgresql")
        m.until(
            "PostgreSQL",
            lambda: m.run("runuser -u postgres -- psql -c 'select 1'", check=False).returncode == 0,
        )


class Boot(Chapter):
    """The system comes up."""

    needed = ("boot",)

    def step_boot(self) -> str:
        m = self.machine
        state = "systemctl is-system-running"
        m.until("the boot", lambda: m.run(state, check=False).stdout.strip() in ("running", "degraded"), 90)
        return m.out("systemctl --version | head -1")
