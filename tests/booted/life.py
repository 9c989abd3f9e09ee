"""The chapter of one life: what the install script, the units and the daemon do from the first start to the removal.

Install by the commands of docs/install.md with a person who answers at a terminal, start, a customer who writes and gets a
picture, reload, a restart under connections, `kill -9`, a process that hangs (the watchdog), a database that is down,
the node with its core, journal and catalog, an upgrade, an upgrade that does not start, removal.
"""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path

from machine import CRYPTOPAY, ROOT, TELEGRAM, Chapter, Fault, Terminal

BOT_TOKEN = "4242424242:AAsandbox-sandbox-sandbox-sandbox00"
CRYPTO_TOKEN = "4242:AAsandboxsandboxsandboxsandboxsand"

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


def page_commands() -> list[str]:
    """What docs/install.md has a newcomer type until the shop answers: the first blocks of its section "The shop"."""
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    section = page.partition("\n## The shop\n")[2].partition("\n### ")[0]
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


class Life(Chapter):
    """One life under the units: installed, started, reloaded, killed, hung, upgraded, removed."""

    #: When these fail, nothing that follows can hold.
    needed = ("install", "start")

    def step_install(self) -> str:
        m = self.machine
        (m.root / "srv" / "storm.py").write_text(STORM)
        self._sandbox()
        self.start_postgres()
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
        # systemd 252 does not wait until the daemon has said that it is through.
        m.until("the end of the reload", lambda: m.show("vpnd", "ActiveState") != "reloading")
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

    def step_pipx(self) -> str:
        """The commands without the daemon: a program of its own, and gone without a trace."""
        m = self.machine
        m.run("python3 -m venv /srv/pipx && /srv/pipx/bin/pip install -q pipx")
        pipx = "PIPX_HOME=/srv/pipx/home PIPX_BIN_DIR=/srv/pipx/programs /srv/pipx/bin/pipx"
        told = m.run(f"{pipx} install /srv/wheels/vpnd-*.whl")
        if "rror" in told.stdout + told.stderr:
            raise Fault(told.stdout + told.stderr)
        vpnd = "CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /srv/pipx/programs/vpnd"
        version = m.out(f"{vpnd} --version")
        said = m.out(f"{vpnd} check-config")
        m.run(f"{pipx} uninstall vpnd && test ! -e /srv/pipx/programs/vpnd")
        return f"{version}; check-config: {said.splitlines()[0]}"

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
