"""What goes wrong, what is reloaded, and what the watchdog makes of it.

The watchdog has to tell a process that cannot go on from a world that does not answer. A loop that is blocked and a client of the
database that is stuck are ended, and systemd starts the daemon anew. A database that is away or frozen, a silent Telegram, a node
that takes its time and a bot that nobody writes to cost it nothing.
"""

from __future__ import annotations

import json
import time

from machine import METRICS, WEB, Chapter, Fault
from tour import CONFIG, DATABASE_URL, ENVIRON, INSIDE, NODE_TABLE, PYTHON

#: Longer than the units' WatchdogSec=30, in seconds.
LONGER_THAN_THE_WATCHDOG = 40
#: Until the watchdog has ended the process, and systemd has it serving again.
WATCHDOG = 75.0

OURS = "_SYSTEMD_UNIT=vpnd.service + _SYSTEMD_UNIT=vpnd-node.service + SYSLOG_IDENTIFIER=vpnd + _PID=1"

#: Breaks the daemon from inside, on a signal: the loop (SIGUSR1), or the client of the database (SIGUSR2).
SABOTAGE = """
import signal, time

def block(*_):
    time.sleep(3600)

def stick(*_):
    import trio
    from vpnd.database.bridge import Bridge

    async def never(self, unit, *_, **__):
        unit.close()
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    Bridge.hop = never

signal.signal(signal.SIGUSR1, block)
signal.signal(signal.SIGUSR2, stick)
"""


#: A plan that comes by a reload: those that the tour has edited in the bot are the bot's.
PLAN = """
[[plans]]
id = "fresh"
titles = { en = "Fresh", ru = "Новый" }

[[plans.offers]]
days = 7
prices = { RUB = "77.00" }
"""


class Reload(Chapter):
    """`systemctl reload`: plans, texts, limits and nodes count without another process."""

    def step_everything_that_a_reload_changes(self) -> str:
        m = self.machine
        fingerprint = self._fingerprint()
        process = m.show("vpnd", "MainPID")
        plans = next((m.root / "var" / "tmp" / "out").glob("*.toml")).read_text()
        self._put("/etc/vpnd/plans.toml", plans + PLAN)
        self._put("/etc/vpnd/texts/en.ftl", "help = Reloaded help.\n")
        self._configure(CONFIG.replace("user_burst = 0", "user_burst = 3\nhttp = 7"))
        self._reload()
        said = self._last("config.reread")["VPND_CHANGES"]
        if not all(
            part in said
            for part in ("limits.http 64 → 7", "limits.user_burst 0 → 3", "node amsterdam removed")
        ):
            raise Fault(said)
        if m.show("vpnd", "StatusText") != "serving customers; 0 nodes":
            raise Fault(m.show("vpnd", "StatusText"))
        if int(self._last("plans.applied")["VPND_CHANGES"]) < 1:
            raise Fault("no plan has changed")
        self._person("/help", "Reloaded help.")
        self._person("/buy", "Fresh")
        # A token in a file of its own: systemd hands credentials over at a start only.
        m.run("install -m 0640 -o root -g vpnd /etc/vpnd/credentials/agent.token /etc/vpnd/amsterdam.token")
        table = NODE_TABLE.replace("FINGERPRINT", fingerprint) + 'token_file = "/etc/vpnd/amsterdam.token"\n'
        self._configure(CONFIG + table)
        self._reload()
        m.until("the node", lambda: m.show("vpnd", "StatusText") == "serving customers; 1 node", 45)
        if m.show("vpnd", "MainPID") != process:
            raise Fault("another process")
        return said

    def step_a_faulty_configuration(self) -> str:
        """It is refused as a whole and changes nothing; the status says so until it is mended."""
        m = self.machine
        whole = (m.root / "etc/vpnd/vpnd.toml").read_text()
        self._configure(whole.replace("[limits]", '[limits]\nhttp = "many"'))
        self._reload()
        refused = m.show("vpnd", "StatusText")
        if refused != "serving customers; 1 node; the reload was refused: limits.http":
            raise Fault(refused)
        m.ready(5)
        self._configure(whole)
        self._reload()
        if m.show("vpnd", "StatusText") != "serving customers; 1 node":
            raise Fault(m.show("vpnd", "StatusText"))
        return refused

    def _fingerprint(self) -> str:
        text = (self.machine.root / "etc/vpnd/vpnd.toml").read_text()
        return text.partition('fingerprint = "')[2][:64]

    def _configure(self, text: str) -> None:
        self._put("/etc/vpnd/vpnd.toml", text)

    def _put(self, place: str, text: str) -> None:
        (self.machine.root / place.lstrip("/")).write_text(text)

    def _reload(self) -> None:
        """Reload, and wait until it is through: systemd 252 does not wait for READY. The texts are what is read last."""
        m = self.machine

        def read() -> int:
            return len(
                m.run("journalctl -u vpnd VPND_EVENT=texts.read -o cat", check=False).stdout.splitlines()
            )

        before = read()
        m.run("systemctl reload vpnd")
        m.until("the end of the reload", lambda: read() > before)
        time.sleep(0.5)  # READY and its line follow the texts

    def _last(self, event: str) -> dict[str, str]:
        return dict(json.loads(self.machine.out(f"journalctl -u vpnd VPND_EVENT={event} -o json -n 1")))

    def _person(self, says: str, reads: str) -> None:
        m = self.machine
        m.post(
            "/sim/message",
            chat_id=4711,
            text=says,
            **{"from": {"id": 4711, "first_name": "A", "language_code": "en"}},
        )
        m.until(f"an answer to {says}", lambda: reads in json.dumps(m.chat(4711)))


class Watchdog(Chapter):
    """Who is ended, and who is not."""

    def step_nobody_writes(self) -> str:
        return self._lives("an idle bot")

    def step_a_telegram_that_is_silent_and_a_node_that_hangs(self) -> str:
        m = self.machine
        # The agent's own watchdog would start it anew; here it is to hang for good.
        m.run("mkdir -p /run/systemd/system/vpnd-node.service.d")
        m.run("printf '[Service]\\nWatchdogSec=0\\n' > /run/systemd/system/vpnd-node.service.d/patience.conf")
        m.run("systemctl daemon-reload && systemctl restart vpnd-node")
        m.until("the node", lambda: m.show("vpnd", "StatusText") == "serving customers; 1 node", 60)
        stopped = [m.show(unit, "MainPID") for unit in ("sandbox", "vpnd-node")]
        m.run(f"kill -STOP {' '.join(stopped)}")
        try:
            told = self._lives(
                "a silent Telegram, a hanging node", extra=60
            )  # two polls of 30 s have to fail
            status = m.show("vpnd", "StatusText")
        finally:
            m.run(f"kill -CONT {' '.join(stopped)}")
        if "telegram: away" not in status or "node amsterdam: away" not in status:
            raise Fault(status)
        m.until("both", lambda: m.show("vpnd", "StatusText") == "serving customers; 1 node", 90)
        return f"{told}; meanwhile: {status}"

    def step_a_database_that_is_frozen(self) -> str:
        m = self.machine
        processes = m.out(
            'for p in /proc/[0-9]*; do [ "$(stat -c %U $p)" = postgres ] && echo ${p#/proc/}; done; true'
        ).split()
        m.run(f"kill -STOP {' '.join(processes)}")
        try:
            told = self._lives("a frozen server")
            status = m.show("vpnd", "StatusText")
        finally:
            m.run(f"kill -CONT {' '.join(processes)}")
        if "database: away" not in status:
            raise Fault(status)
        m.ready()
        return f"{told}; meanwhile: {status}"

    def step_an_outage_is_told_once_a_worker(self) -> str:
        """Of each outage a worker has one traceback, and one line when what it needs is there again; the order is what tells.

        Counting both within the last outage would be wrong either way: the word that an earlier one is over (the node's, just
        before) may fall into it, and a worker with a long interval is back long after the database is.
        """
        m = self.machine
        m.until(
            "word of each worker that it works again",
            lambda: all(told[-1] == "back" for told in self._told().values()),
            120,
        )
        told = self._told()
        odd = {
            worker: " ".join(words)
            for worker, words in told.items()
            if words != ["failed", "back"] * (len(words) // 2)
        }
        frozen = self._told(since=self._database_left())
        if odd or not frozen:
            raise Fault(f"out of order: {odd}; of the database's outage: {frozen}")
        count = sum(map(len, told.values())) // 2
        return f"{len(frozen)} workers failed and are back, each told once; {count} outages of workers in all"

    def step_a_loop_that_is_blocked(self) -> str:
        m = self.machine
        (m.root / "srv" / "sabotage").mkdir(exist_ok=True)
        (m.root / "srv" / "sabotage" / "sitecustomize.py").write_text(SABOTAGE)
        m.run(
            "printf '[Service]\\nEnvironment=PYTHONPATH=/srv/sabotage\\n' > /etc/systemd/system/vpnd.service.d/sabotage.conf"
        )
        m.run("systemctl daemon-reload && systemctl restart vpnd")
        m.ready()
        return self._is_ended("USR1")

    def step_a_database_client_that_is_stuck(self) -> str:
        return self._is_ended("USR2")

    def _lives(self, what: str, extra: int = 0) -> str:
        m = self.machine
        before, restarts = m.show("vpnd", "MainPID"), m.show("vpnd", "NRestarts")
        time.sleep(LONGER_THAN_THE_WATCHDOG + extra)
        if (m.show("vpnd", "MainPID"), m.show("vpnd", "NRestarts")) != (before, restarts):
            raise Fault(f"{what}: it was started anew")
        m.run(f"curl -fsS {WEB}/healthz")
        return f"the same process after {LONGER_THAN_THE_WATCHDOG + extra} s"

    def _is_ended(self, signal: str) -> str:
        m = self.machine
        before, restarts, began = (
            m.show("vpnd", "MainPID"),
            int(m.show("vpnd", "NRestarts")),
            time.monotonic(),
        )
        m.run(f"kill -{signal} {before}")
        m.until("the watchdog", lambda: m.show("vpnd", "NRestarts") == str(restarts + 1), WATCHDOG)
        m.ready()
        said = m.out("journalctl -b _PID=1 -o cat | grep -i 'watchdog timeout' | tail -1")
        return f"served again after {time.monotonic() - began:.0f} s: {said}"

    def _database_left(self) -> float:
        """When the last outage of the database was told."""
        began = self.machine.out(
            "journalctl -u vpnd VPND_EVENT=database.unreachable -o json -n 1 --output-fields=__REALTIME_TIMESTAMP"
        )
        return int(json.loads(began)["__REALTIME_TIMESTAMP"]) / 1e6

    def _told(self, since: float = 0.0) -> dict[str, list[str]]:
        """What this process has said of its workers' outages, in order: "failed" and "back" by worker."""
        m = self.machine
        lines = m.run(
            f"journalctl _PID={m.show('vpnd', 'MainPID')} --since=@{since:.0f}"
            " VPND_EVENT=worker.failed VPND_EVENT=worker.back -o json",
            check=False,
        ).stdout
        told: dict[str, list[str]] = {}
        for entry in map(json.loads, lines.splitlines()):
            told.setdefault(entry["VPND_WORKER"], []).append(entry["VPND_EVENT"].removeprefix("worker."))
        return told


class Secrets(Chapter):
    """Nothing that opens a door is anywhere where somebody reads, after a life at the debug level with every boundary failing."""

    def step_every_boundary_fails(self) -> str:
        """That is when programs become talkative. `faults.py` orders faults and has people go on meanwhile."""
        m = self.machine
        told = m.run(
            f"{ENVIRON} {PYTHON} {INSIDE}/faults.py {DATABASE_URL} /etc/vpnd/vpnd.toml", timeout=400
        ).stdout
        m.run("systemctl restart postgresql")
        m.ready()
        # Commands that fail: a configuration with secrets in it, a database that refuses them.
        self._say("")
        text = (m.root / "etc/vpnd/vpnd.toml").read_text()
        token = (m.root / "etc/vpnd/credentials/telegram.token").read_text()
        broken = text.replace("[telegram]", f'[telegram]\ntoken = "{token}x y"').replace(
            "[limits]", "[limits]\nhttp = 0"
        )
        (m.root / "etc/vpnd/broken.toml").write_text(broken)
        vpnd = f"{ENVIRON} /opt/vpnd/bin/vpnd"
        wrong = DATABASE_URL.replace("127.0.0.1", "127.0.0.9")
        for command in (
            f"{ENVIRON} /opt/vpnd/bin/vpnd check-config --config /etc/vpnd/broken.toml",
            f"VPND_DATABASE__URL={wrong} VPND_LOG__LEVEL=debug {vpnd} migrate",
            f"VPND_DATABASE__URL={wrong} VPND_LOG__LEVEL=debug {vpnd} export customers",
            f"VPND_DATABASE__URL={wrong} {vpnd} doctor",
            f"{vpnd} doctor",
            f"{vpnd} status",
            f"{vpnd} audit --json --allow-idle",
            f"{vpnd} refund nothing:there",
        ):
            done = m.run(f"{command} 2>&1", check=False)
            self._say(
                f"\n$ {command.split(' ', 1)[-1].split('/opt/vpnd/bin/')[-1]}\n{done.stdout}{done.stderr}"
            )
        return told.strip().splitlines()[-1]

    def step_no_secret_in_journal_metrics_audit_and_exports(self) -> str:
        m = self.machine
        secrets = json.loads(m.out(f"{ENVIRON} {PYTHON} {INSIDE}/secrets_of.py {DATABASE_URL}"))
        places = {
            # Of the programs of ours, and of systemd about them; the sandbox knows the secrets and is none of it.
            "journal": m.out(f"journalctl --no-pager --all -o export {OURS}"),
            "metrics": m.out(f"curl -fsS {METRICS}"),
            "audit log": m.out(f"{ENVIRON} {PYTHON} {INSIDE}/tables.py {DATABASE_URL} audit_log alerts"),
            "exports": m.out("cat /var/tmp/out/*"),
            "commands": (m.root / "var" / "tmp" / "said").read_text(),
            "status of systemd": m.out(
                "systemctl status --no-pager -l vpnd vpnd-node; systemctl show vpnd vpnd-node"
            ),
            "/proc": m.out(
                "for p in $(systemctl show --value -p MainPID vpnd vpnd-node); do tr '\\0' ' ' < /proc/$p/cmdline; done"
            ),
        }
        found = [
            f"{kind} in {place}: …{text[max(0, text.find(value) - 150) : max(0, text.find(value))]}"
            for kind, values in secrets.items()
            for value in values
            for place, text in places.items()
            if value in text or ("credentials" in kind and value.replace("-", "") in text)
        ]
        tracebacks = places["journal"].count("Traceback (most recent call last)")
        replaced = [len(secrets.get(f"replaced {kind}", ())) for kind in ("credentials", "links")]
        if found or not tracebacks or len(secrets["credentials"]) < 10 or not all(replaced):
            raise Fault(
                f"{len(found)} found, {tracebacks} tracebacks, replaced {replaced}: " + "; ".join(found[:10])
            )
        sizes = ", ".join(f"{place} {len(text) // 1024 + 1} KiB" for place, text in places.items())
        count = sum(len(values) for values in secrets.values())
        return (
            f"none of {count} secrets ({sum(replaced)} of them replaced since) in {sizes}; {tracebacks} tracebacks among"
            " it"
        )

    def step_the_one_place_that_has_them(self) -> str:
        """An export for which an owner has said --with-secrets: uuids and links, in a file of his own, told in the audit log."""
        m = self.machine
        secrets = json.loads(m.out(f"{ENVIRON} {PYTHON} {INSIDE}/secrets_of.py {DATABASE_URL}"))
        log = f"{ENVIRON} {PYTHON} {INSIDE}/tables.py {DATABASE_URL} audit_log"
        before = set(m.out(log).splitlines())
        m.run("mkdir -p /var/tmp/open")
        m.run(f"cd /var/tmp/open && {ENVIRON} /opt/vpnd/bin/vpnd export subscriptions --with-secrets")
        text, mode = m.out("cat /var/tmp/open/*"), m.out("stat -c %a /var/tmp/open/*")
        asked = ("credentials", "links")
        missing = [kind for kind in asked if not all(value in text for value in secrets[kind])]
        others = [
            kind
            for kind, values in secrets.items()
            if kind not in asked and any(value in text for value in values)
        ]
        lines = set(m.out(log).splitlines()) - before
        if missing or others or mode != "600" or len(lines) != 1 or "export" not in lines.pop():
            raise Fault(f"not there: {missing}; there: {others}; mode {mode}; {lines}")
        count = sum(len(secrets[kind]) for kind in asked)
        return f"{count} uuids and links where they were asked for, mode {mode}, a line in the audit log"

    def _say(self, text: str) -> None:
        with (self.machine.root / "var" / "tmp" / "said").open("a") as kept:
            kept.write(text)
