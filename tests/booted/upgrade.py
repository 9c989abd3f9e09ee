"""The chapter of an upgrade: the version before the newest change of the schema is installed, used, and brought up to date.

It is built from the history of the checkout: the newest migration names it, as the one before the commit that added it.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import ROOT, TELEGRAM, Chapter, Fault

from vpnd.sandbox.world import BOT_TOKEN

MIGRATIONS = "vpnd/database/migrations"
CUSTOMERS = range(2001, 2021)

CONFIG = f"""
[instance]
name = "upgraded"

[telegram]
api_base = "http://127.0.0.1:{TELEGRAM}"
admins = [777]
"""

#: A command by root, whom PostgreSQL knows by the socket.
AS_ROOT = "CREDENTIALS_DIRECTORY=/etc/vpnd/credentials VPND_DATABASE__URL='postgresql://root@/vpnd?host=/run/postgresql'"

#: How many rows each table has, as JSON.
COUNTS = (
    "select json_object_agg(relname, (xpath('/row/c/text()', query_to_xml(format("
    "'select count(*) as c from %I', relname), false, true, '')))[1]::text::bigint)"
    " from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
)

#: What a life goes on with by itself: the present schema, who holds a lease, what was asked of us.
OF_THE_DAEMON = ("schema_migrations", "leases", "updates", "inbox", "instances", "outbox", "alerts")


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True).stdout


def fetch_former(wheels: Path) -> None:
    """Build the wheel of the version before the newest migration came, into a folder of its own beside the others.

    Along the first parents: what stood beside it on a branch was never a version.
    """
    newest = max((ROOT / MIGRATIONS).glob("*.sql")).name
    added = (
        _git(
            "log",
            "--first-parent",
            "-m",
            "-1",
            "--format=%H",
            "--diff-filter=A",
            "--",
            f"{MIGRATIONS}/{newest}",
        )
        .decode()
        .strip()
    )
    if not added:
        raise SystemExit(f"the history of {newest} is not here: this chapter needs a clone")
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(_git("archive", f"{added}^"))) as archive:
            archive.extractall(folder, filter="data")
        subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "wheel", "--no-deps", "--wheel-dir",
             wheels / "former", folder],
            check=True,
        )  # fmt: skip


class Upgrade(Chapter):
    """A shop with customers gets a new program and a new schema."""

    needed = ("the former version", "the upgrade")

    _before: dict[str, int]
    _schema = 0

    def step_the_former_version(self) -> str:
        """Installed by today's script, with a configuration by hand: it may be older than `vpnd init`, and than vpnd.socket."""
        m = self.machine
        m.run("python3 -m venv /srv/sandbox && /srv/sandbox/bin/pip install -q /srv/wheels/vpnd-*.whl")
        m.run(
            "systemd-run --quiet --unit=sandbox --description=sandbox"
            f" /srv/sandbox/bin/python -m vpnd.sandbox --telegram-port {TELEGRAM} --bot-token {BOT_TOKEN}"
        )
        self.start_postgres()
        m.run("runuser -u postgres -- createuser vpnd")
        m.run("runuser -u postgres -- createdb --owner vpnd --encoding UTF8 --template template0 vpnd")
        m.run("sh /srv/contrib/install.sh --no-start --wheel /srv/wheels/former/vpnd-*.whl")
        (m.root / "etc/vpnd/vpnd.toml").write_text(CONFIG)
        token = m.root / "etc/vpnd/credentials/telegram.token"
        token.touch(mode=0o600)
        token.write_text(BOT_TOKEN)
        m.run("systemctl enable --now vpnd.service")
        m.ready()
        self._schema = int(self._ask("select count(*) from schema_migrations"))
        return f"schema {self._schema}; {m.show('vpnd', 'StatusText')}"

    def step_data(self) -> str:
        """Customers, and what an owner has made."""
        m = self.machine
        for number in CUSTOMERS:
            self._says(number, "/start")
        for number in CUSTOMERS:
            m.until(f"an answer to {number}", lambda number=number: bool(m.chat(number)))  # type: ignore[misc]
        m.run("runuser -u postgres -- psql -qc 'create role root login superuser'")
        m.run(f"{AS_ROOT} /opt/vpnd/bin/vpnd promo add SPRING percent 10")
        m.run("systemctl stop vpnd.service")
        self._before = self._counts()
        m.run("systemctl start vpnd.service")
        m.ready()
        if self._before["customers"] < len(CUSTOMERS):
            raise Fault(str(self._before))
        return ", ".join(f"{count} {name}" for name, count in sorted(self._before.items()) if count)

    def step_the_upgrade(self) -> str:
        m = self.machine
        m.run("sh /srv/contrib/install.sh --upgrade --wheel /srv/wheels/vpnd-*.whl")
        m.ready()
        schema = int(self._ask("select count(*) from schema_migrations"))
        if schema <= self._schema:
            raise Fault(f"the schema is {schema}, and was {self._schema}")
        after = self._counts()
        lost = {
            name: f"{count}, then {after.get(name)}"
            for name, count in self._before.items()
            if name not in OF_THE_DAEMON and after.get(name, -1) < count
        }
        if lost:
            raise Fault(str(lost))
        return f"schema {self._schema} → {schema}; every row is there; {m.show('vpnd', 'StatusText')}"

    def step_customers_go_on(self) -> str:
        m = self.machine
        seen = len(m.chat(CUSTOMERS[0]))
        self._says(CUSTOMERS[0], "/help")
        m.until("an answer to /help", lambda: len(m.chat(CUSTOMERS[0])) > seen)
        if self._ask("select count(*) from customers") != str(self._before["customers"]):
            raise Fault("somebody is there twice")
        return "the bot answers who was there before"

    def step_the_former_program_refuses_the_schema(self) -> str:
        """Going back is by the dump, as docs/install.md says."""
        m = self.machine
        former = m.out("ls -d /opt/vpnd.release-* | head -1")
        done = m.run(
            f"{AS_ROOT} {former}/bin/vpnd migrate",
            check=False,
        )
        said = re.search(r"the schema is at .*", done.stdout + done.stderr)
        if done.returncode == 0 or said is None:
            raise Fault((done.stdout + done.stderr)[-800:])
        return said[0]

    def _says(self, number: int, text: str) -> None:
        who = {"id": number, "first_name": f"Customer {number}", "language_code": "en"}
        self.machine.post("/sim/message", chat_id=number, text=text, **{"from": who})

    def _ask(self, sql: str) -> str:
        return self.machine.out(f'runuser -u postgres -- psql -qtA vpnd -c "{sql}"')

    def _counts(self) -> dict[str, int]:
        return dict(json.loads(self._ask(COUNTS)))
