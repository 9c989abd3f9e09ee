"""The booted soak: a whole Debian 12 under systemd, in which the install script, the units and the daemon live one life.

    ./dev soak booted [--base FOLDER] [--keep]

Needs root, mmdebstrap and systemd-nspawn (Debian: apt install mmdebstrap systemd-container). The system has a network of its own
without a way out, and this machine is left alone but for a folder under /var/tmp. `--base` names a Debian root to copy instead
of making one; packages come from there, Python's from wheels that are fetched beforehand by the lock.

In it, step by step: install by the commands of docs/install.md, with a person who answers at a terminal, start, a customer who
writes and gets a picture, reload, a restart under connections, `kill -9`, a process that hangs (the watchdog), a database that
is down (no restart), the node with its core, journal and catalog, an upgrade, an upgrade that does not start, removal. Exits 0
only if each step was seen.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,postgresql,ca-certificates,curl,iproute2"
BOT_TOKEN = "4242424242:AAsandbox-sandbox-sandbox-sandbox00"
CRYPTO_TOKEN = "4242:AAsandboxsandboxsandboxsandboxsand"
TELEGRAM = 9001
CRYPTOPAY = 9002
WEB = "http://127.0.0.1:8080"

#: Who writes to the bot.
PERSON = {"id": 1001, "first_name": "Alex", "language_code": "en"}

#: Seconds until the watchdog has ended a process that hangs, and systemd has started it anew: 30, 2 and a start.
WATCHDOG = 60.0

#: Connects again and again while something else happens; says how many were answered, refused, or got no answer.
STORM = """
import json, socket, sys, time
seen = {"answered": 0, "refused": 0, "unanswered": 0}
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        with socket.create_connection(("127.0.0.1", 8080), timeout=30) as client:
            client.sendall(b"GET /healthz HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
            seen["answered" if client.recv(12).startswith(b"HTTP/1.1 200") else "unanswered"] += 1
    except ConnectionRefusedError:
        seen["refused"] += 1
    except OSError:
        seen["unanswered"] += 1
    time.sleep(0.01)
print(json.dumps(seen))
"""


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

    def end(self) -> int:
        """Read to the end, and return how it ended."""
        while self._hear():
            pass
        return self.process.wait(60)

    def _hear(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 120)
        try:
            came = os.read(self._master, 65536) if ready else b""
        except OSError:  # nobody has the other side any more
            came = b""
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
            capture_output=True, text=True, timeout=timeout, check=False, env=ENVIRON,
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


def page_commands() -> list[str]:
    """What docs/install.md has a newcomer type until the shop answers: the first blocks of its section "The shop"."""
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    section = page.partition("\n## The shop\n")[2].partition("\n### ")[0]
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def prepare(base: Path | None, work: Path) -> Path:
    """Make the root: Debian, and Python's packages as wheels, so that nothing has to be fetched later."""
    root = work / "root"
    if base is None:
        subprocess.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
            check=True,
        )
    else:
        subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    wheels = root / "srv" / "wheels"
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    lock = ROOT / "contrib" / "requirements-node.lock"
    subprocess.run(
        [*pip, "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11",
         *(f"--platform=manylinux{tag}_x86_64" for tag in ("_2_28", "_2_17", "2014")),
         "--dest", wheels, "-r", lock],
        check=True,
    )  # fmt: skip
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /srv/wheels\n")
    shutil.copytree(ROOT / "contrib", root / "usr" / "local" / "src" / "vpnd" / "contrib")
    (root / "srv" / "contrib").symlink_to("/usr/local/src/vpnd/contrib")
    (root / "srv" / "storm.py").write_text(STORM)
    (root / "etc" / "machine-id").write_text("")
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


class Life:
    """The steps, in their order; each is a method that begins with `step_`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Name and function of each."""
        return [
            (name.removeprefix("step_").replace("_", " "), getattr(self, name))
            for name in type(self).__dict__
            if name.startswith("step_")
        ]

    def step_boot(self) -> str:
        m = self.machine
        state = "systemctl is-system-running"
        m.until("the boot", lambda: m.run(state, check=False).stdout.strip() in ("running", "degraded"), 90)
        m.run("systemctl start postgresql")
        return m.out("systemctl --version | head -1")

    def step_install(self) -> str:
        m = self.machine
        self._sandbox()
        m.until(
            "PostgreSQL",
            lambda: m.run("runuser -u postgres -- psql -c 'select 1'", check=False).returncode == 0,
        )
        commands = page_commands()
        if (len(commands), commands[-1]) != (4, "sh /usr/local/src/vpnd/contrib/install.sh"):
            raise Fault(f"docs/install.md says otherwise by now: {commands}")
        for command in commands[1:3]:  # the packages are here
            m.run(command)
        # Nobody asks the real ones here, and what is installed is the wheel and not the checkout.
        world = f"VPND_TELEGRAM__API_BASE=http://127.0.0.1:{TELEGRAM}"
        world += f" VPND_CRYPTOPAY__API_BASE=http://127.0.0.1:{CRYPTOPAY}/api"
        with m.at_terminal(f"{world} {commands[-1]} --wheel /srv/wheels/vpnd-*.whl") as terminal:
            self._answers(terminal)
            if terminal.end() != 0:
                raise Fault(terminal.screen[-1500:])
        if BOT_TOKEN in terminal.screen or CRYPTO_TOKEN in terminal.screen:
            raise Fault("a secret was shown")
        return f"{len(terminal.screen.splitlines())} lines said and answered"

    def _answers(self, terminal: Terminal) -> None:
        """Answer as docs/install.md does; the database is found by its socket, as the account of the unit."""
        terminal.answer("Token of the bot (not shown): ", BOT_TOKEN)
        terminal.until("ok: @")
        terminal.answer("Your Telegram id, a number (several: with commas): ", "777")
        terminal.answer("[the PostgreSQL of this machine, as vpnd]: ", "")
        terminal.until("ok: PostgreSQL")
        for prompt in ("Name of the shop [", "[RUB]: ", "[ru, en]: ", "Time zone of the shop ["):
            terminal.answer(prompt, "")
        terminal.answer("(Enter: nobody): ", "@my_shop_support")
        terminal.answer("Ways to pay, of stars, cryptopay, yookassa [stars]: ", "stars, cryptopay")
        terminal.answer("Token of the Crypto Pay app (not shown): ", CRYPTO_TOKEN)
        terminal.until("ok: the app")
        terminal.answer("Public address, like https://vpn.example.com (Enter: none): ", "")
        terminal.answer("(Enter: there is none yet): ", "")

    def _sandbox(self) -> None:
        """Telegram and the providers, in an environment of their own: they are asked before the program is installed."""
        m = self.machine
        m.run("python3 -m venv /srv/sandbox && /srv/sandbox/bin/pip install -q /srv/wheels/vpnd-*.whl")
        m.run(
            f"systemd-run --quiet --unit=sandbox /srv/sandbox/bin/python -m vpnd.sandbox --telegram-port {TELEGRAM}"
            f" --cryptopay-port {CRYPTOPAY} --crypto-token {CRYPTO_TOKEN} --bot-token {BOT_TOKEN}"
        )
        m.until(
            "the sandbox", lambda: m.run(f"curl -s http://127.0.0.1:{TELEGRAM}/", check=False).returncode == 0
        )

    def step_answers_of_a_script(self) -> str:
        """A database that the role may not enter is explained with a command that makes it so."""
        m = self.machine
        (m.root / "srv" / "answers.toml").write_text(
            f'[telegram]\ntoken = "{BOT_TOKEN}"\nadmins = [777]\napi_base = "http://127.0.0.1:{TELEGRAM}"\n'
            '[database]\nurl = "postgresql://vpnd@/second?host=/run/postgresql"\n'
            f'[cryptopay]\ntoken = "{CRYPTO_TOKEN}"\napi_base = "http://127.0.0.1:{CRYPTOPAY}/api"\n'
        )
        second = "--config /srv/second/vpnd.toml --drop-in /srv/second/drop-in.conf"
        ask = f"/opt/vpnd/bin/vpnd init {second} --answers /srv/answers.toml"
        refused = m.run(ask, check=False)
        remedy = re.search(r"runuser -u postgres -- [^;\n]+", refused.stderr)
        if refused.returncode != 1 or remedy is None:
            raise Fault(refused.stdout + refused.stderr)
        m.run(remedy[0])
        said = m.out(ask)
        m.run("runuser -u postgres -- dropdb second")
        return next(line for line in said.splitlines() if "PostgreSQL" in line)

    def step_start(self) -> str:
        m = self.machine
        m.run("CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd check-config")
        m.ready()  # it was started by the script
        if not m.out("journalctl -u vpnd -o json VPND_EVENT=http.inherited"):
            raise Fault("the socket of systemd is not used")
        return m.show("vpnd", "StatusText")

    def step_the_unit_as_systemd_sees_it(self) -> str:
        return self.machine.out("systemd-analyze security --threshold=12 vpnd.service | tail -1")

    def step_a_customer_and_a_picture(self) -> str:
        m = self.machine
        m.post("/sim/message", chat_id=1001, text="/start", **{"from": PERSON})
        self._press("Invite")
        self._press("QR code")
        m.until("a picture", lambda: '"photo"' in json.dumps(m.chat(1001)))
        if m.run("journalctl -u vpnd VPND_EVENT=qr.failed -o cat", check=False).stdout.strip():
            raise Fault("the picture was not drawn")
        return "drawn by a child of the unit"

    def _press(self, label: str) -> None:
        """Press the newest button of this label, when it is there."""
        found: list[tuple[object, str]] = []

        def there() -> bool:
            for message in self.machine.chat(1001):
                for row in message.get("reply_markup", {}).get("inline_keyboard", []):  # type: ignore[attr-defined]
                    found.extend(
                        (message["message_id"], one["callback_data"]) for one in row if label in one["text"]
                    )
            return bool(found)

        self.machine.until(f"a button {label}", there)
        number, data = found[-1]
        self.machine.post("/sim/press", chat_id=1001, message_id=number, data=data, **{"from": PERSON})

    def step_reload(self) -> str:
        m = self.machine
        before = m.show("vpnd", "MainPID")
        m.run("systemctl reload vpnd")
        if (m.show("vpnd", "ActiveState"), m.show("vpnd", "MainPID")) != ("active", before):
            raise Fault("another process, or none")
        return "the same process"

    def step_restart_under_connections(self) -> str:
        m = self.machine
        m.run(
            "systemd-run --quiet --unit=storm --property=StandardOutput=file:/run/storm.json python3 /srv/storm.py 8"
        )
        time.sleep(1)
        m.run("systemctl restart vpnd")
        m.until("the end of the storm", lambda: m.show("storm", "ActiveState") != "active", 60)
        seen = json.loads(m.out("cat /run/storm.json"))
        if seen["refused"] or not seen["answered"]:
            raise Fault(json.dumps(seen))
        return json.dumps(seen)

    def step_kill(self) -> str:
        m = self.machine
        m.ready()
        before, restarts = m.show("vpnd", "MainPID"), int(m.show("vpnd", "NRestarts"))
        began = time.monotonic()
        m.run(f"kill -9 {before}")
        m.until("another life", lambda: m.show("vpnd", "NRestarts") == str(restarts + 1))
        m.ready()
        return f"served again after {time.monotonic() - began:.1f} s"

    def step_a_process_that_hangs(self) -> str:
        m = self.machine
        before, began = m.show("vpnd", "MainPID"), time.monotonic()
        m.run(f"kill -STOP {before}")
        m.until("the watchdog", lambda: m.show("vpnd", "MainPID") not in (before, "0"), WATCHDOG)
        m.ready()
        return f"ended by the watchdog, served again after {time.monotonic() - began:.0f} s"

    def step_a_database_that_is_down(self) -> str:
        m = self.machine
        before = m.show("vpnd", "MainPID")
        m.run("systemctl stop postgresql")
        m.until("the status", lambda: "database" in m.show("vpnd", "StatusText"), 45)
        status = m.show("vpnd", "StatusText")
        time.sleep(40)  # longer than the watchdog waits
        m.run("systemctl start postgresql")
        m.ready()
        if m.show("vpnd", "MainPID") != before:
            raise Fault("it was started anew")
        return status

    def step_the_journal_explains(self) -> str:
        m = self.machine
        entry = json.loads(m.out("journalctl -u vpnd VPND_EVENT=database.unreachable -o json | tail -1"))
        said = m.out("journalctl -x -u vpnd VPND_EVENT=database.unreachable | tail -20")
        if "What to do:" not in said or not re.fullmatch(r"[0-9a-f]{32}", entry["MESSAGE_ID"]):
            raise Fault(said)
        return entry["MESSAGE"]

    def step_no_refusal_by_the_sandbox_in_the_journal(self) -> str:
        """What the units take away would show as an error of permission."""
        found = self.machine.run(
            "journalctl -u vpnd -o cat | grep -iE 'operation not permitted|permission denied|bad system call'",
            check=False,
        )
        if found.stdout.strip():
            raise Fault(found.stdout[-600:])
        return "none"

    def step_a_node_beside_it(self) -> str:
        m = self.machine
        m.run("sh /srv/contrib/install.sh --upgrade --shop --node --no-start --wheel /srv/wheels/vpnd-*.whl")
        m.run("sed -i -e 's/^# sni/sni/' -e 's/^# public_host/public_host/' /etc/vpnd/node.toml")
        m.run("CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd check-config --node")
        m.run("systemctl restart vpnd vpnd-node")
        m.ready()
        token = "$(cat /etc/vpnd/credentials/agent.token)"
        ask = f'curl -fsSk -H "Authorization: Bearer {token}" https://127.0.0.1:8443/v1/status'
        m.until("the core", lambda: '"running"' in m.run(ask, check=False).stdout)
        score = m.out("systemd-analyze security --threshold=20 vpnd-node.service | tail -1")
        cut = m.run(
            "journalctl -u vpnd-node VPND_EVENT=agent.cut_by_restart -o cat", check=False
        ).stdout.strip()
        if cut:
            raise Fault(cut)
        return score

    def step_upgrade_with_data(self) -> str:
        m = self.machine
        before = m.out("runuser -u postgres -- psql -qtA vpnd -c 'select count(*) from customers'")
        m.run("sh /srv/contrib/install.sh --upgrade --wheel /srv/wheels/vpnd-*.whl")
        m.ready()
        after = m.out("runuser -u postgres -- psql -qtA vpnd -c 'select count(*) from customers'")
        if (before, after) != ("1", "1"):
            raise Fault(f"customers: {before}, then {after}")
        return m.out("readlink /opt/vpnd")

    def step_an_upgrade_that_does_not_start(self) -> str:
        m = self.machine
        good = m.out("readlink /opt/vpnd")
        _break(next((m.root / "srv" / "wheels").glob("vpnd-*.whl")), m.root / "srv" / "broken")
        done = m.run("sh /srv/contrib/install.sh --upgrade --wheel /srv/broken/vpnd-*.whl", check=False)
        m.ready()
        if done.returncode == 0 or m.out("readlink /opt/vpnd") != good:
            raise Fault(done.stdout[-800:])
        return done.stderr.strip().splitlines()[-1]

    def step_removal(self) -> str:
        m = self.machine
        m.run("systemctl stop sandbox")
        m.run("sh /srv/contrib/install.sh --remove")
        kept = m.out("ls /etc/vpnd /var/lib | tr '\\n' ' '")
        if "vpnd.toml" not in kept:
            raise Fault(kept)
        m.run("sh /srv/contrib/install.sh --remove --purge")
        left = m.out(
            "find / -xdev \\( -path /proc -o -path /sys -o -path /srv -o -path /usr/local/src -o -path /var/log"
            " -o -path /var/lib/postgresql -o -path /var/cache -o -path /run \\) -prune -o -name '*vpnd*' -print"
        )
        users = m.run("getent passwd vpnd vpnd-node", check=False).stdout
        if left or users:
            raise Fault(left + users)
        return "nothing is left but the database"


def _break(wheel: Path, folder: Path) -> None:
    """A wheel of the same program whose daemon ends at once."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(folder / wheel.name, "w") as broken:
        for item in whole.infolist():
            data = whole.read(item)
            if item.filename == "vpnd/daemon/__init__.py":
                data = b"raise SystemExit('a fault that only a start shows')\n"
            if not item.filename.endswith("/RECORD"):
                broken.writestr(item, data)
        broken.writestr(next(one for one in whole.namelist() if one.endswith("/RECORD")), "")


def main() -> int:
    """Play it; 0 if every step was seen."""
    parser = argparse.ArgumentParser(prog="./dev soak booted", description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a Debian root to copy")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("this needs root")
    for tool in ("systemd-nspawn", "nsenter", *(() if options.base else ("mmdebstrap",))):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: apt install mmdebstrap systemd-container")
    work = Path(tempfile.mkdtemp(prefix="vpnd-booted-", dir="/var/tmp"))
    faults = 0
    try:
        root = prepare(options.base, work)
        with booted(root, work / "console.log") as machine:
            for name, step in Life(machine).steps():
                began = time.monotonic()
                try:
                    told, mark = step(), "ok    "
                except (Fault, subprocess.SubprocessError, OSError, ValueError, LookupError) as fault:
                    told, mark = f"{type(fault).__name__}: {fault}", "FAILED"
                    faults += 1
                print(f"{mark} {time.monotonic() - began:6.1f} s  {name}: {told}", flush=True)
                if faults and name in ("boot", "install", "start"):
                    print(machine.run("journalctl -n 60 --no-pager", check=False).stdout)
                    break
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print("every step was seen" if not faults else f"{faults} steps were not seen")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
