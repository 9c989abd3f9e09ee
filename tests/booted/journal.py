"""The tour's journal: real journald has every event with its fields, finds it by its name, and explains it.

What a stuck or flooded journald does is here as well: nothing is suppressed under load, and a journald that stands still stops
nobody.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from functools import cached_property

from machine import METRICS, Chapter, Fault
from tour import DATABASE_URL, ENVIRON, INSIDE, PYTHON

from vpnd.runtime.journal_lines import IDENTIFIER, PRIORITIES, message_id

#: What a tour is told by, and which facts are in it beside the sentence. Some come from each room.
EXPECTED: dict[str, tuple[str, ...]] = {
    "daemon.standing": (),
    "database.ready": (),
    "telegram.identified": ("BOT",),
    "texts.read": ("LANGUAGES", "FAULTS"),
    "plans.applied": ("CHANGES",),
    "payment.settled": ("PROVIDER", "CHARGE", "PURCHASE", "SETTLEMENT"),
    "payment.refunded": ("CHARGE_ID", "AMOUNT", "CURRENCY"),
    "reconciliation.done": ("PROVIDER", "DIFFERENCES"),
    "refund.done": ("CHARGE", "REFUND"),
    "operator.acted": ("ACTION", "BY"),
    "export.made": ("WHAT", "ROWS", "STATE"),
    "http.inherited": ("NAME",),
    "node.compared": ("NODE", "SENT", "REMOVED"),
    "node.cut_off": ("NODE", "COUNT"),
    "node.unreachable": ("NODE",),
    "node.back": ("NODE",),
    "worker.duration": ("WORKER", "DURATION", "OUTCOME"),
    "worker.items": ("WORKER", "FETCHED", "DONE", "FAILED"),
}
#: Of the agent and its core.
EXPECTED_OF_NODE: dict[str, tuple[str, ...]] = {
    "agent.listening": ("ADDRESSES",),
    "agent.identity": ("FINGERPRINT",),
    "core.running": ("LIFE", "VERSION"),
}

#: Seconds of load, and of a journald that stands still.
LOAD = 120
STANDSTILL = 20

#: Fills what a journald that stands still is behind with, so that the next entry is refused: some hundred fit, which a quiet
#: daemon needs minutes for.
FILL = """
import socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
    journal.setblocking(False)
    try:
        while True:
            journal.sendto(b"MESSAGE=filler\\nPRIORITY=7\\nSYSLOG_IDENTIFIER=filler\\n", "/run/systemd/journal/socket")
    except BlockingIOError:
        pass
"""


class Journal(Chapter):
    """What the tour has left in the journal."""

    @cached_property
    def entries(self) -> dict[str, list[dict[str, str]]]:
        """The entries of both units by event."""
        found: dict[str, list[dict[str, str]]] = {}
        told = self.machine.out("journalctl -u vpnd -u vpnd-node -o json --all _TRANSPORT=journal")
        for line in told.splitlines():
            entry = json.loads(line)
            if "VPND_EVENT" in entry:
                found.setdefault(entry["VPND_EVENT"], []).append(entry)
        return found

    def step_every_event_with_its_fields(self) -> str:
        missing = [name for name in (*EXPECTED, *EXPECTED_OF_NODE) if name not in self.entries]
        faults = [f"{name} is not there" for name in missing]
        for name, entries in self.entries.items():
            facts = {**EXPECTED, **EXPECTED_OF_NODE}.get(name, ())
            for entry in entries:
                faults += [f"{name} without {fault}" for fault in _lacking(name, entry, facts)]
        if faults:
            raise Fault("; ".join(sorted(set(faults))[:20]) + f"; there are {sorted(self.entries)}")
        count = sum(len(entries) for entries in self.entries.values())
        return f"{count} entries of {len(self.entries)} events"

    def step_each_is_found_by_its_name(self) -> str:
        """`journalctl VPND_EVENT=… -o json`, and by its MESSAGE_ID."""
        m = self.machine
        for name in self.entries:
            for match in (f"VPND_EVENT={name}", f"MESSAGE_ID={message_id(name)}"):
                entry = json.loads(m.out(f"journalctl {match} -o json -n 1"))
                if entry["VPND_EVENT"] != name:
                    raise Fault(f"{match} finds {entry['VPND_EVENT']}")
        return f"{len(self.entries)} events"

    def step_journalctl_x_explains_each(self) -> str:
        """All that is said above the debug level."""
        faults = []
        names = [
            name
            for name, entries in self.entries.items()
            if any(entry["PRIORITY"] != str(PRIORITIES["debug"]) for entry in entries)
            and not name.startswith("library.")
        ]
        for name in names:
            said = self.machine.out(f"journalctl -x VPND_EVENT={name} -n 1")
            if "░░ Subject:" not in said or "What to do:" not in said:
                faults.append(name)
        if faults:
            raise Fault(f"not explained: {', '.join(sorted(faults))}")
        return f"{len(names)} events"

    def step_nothing_was_lost_or_suppressed(self) -> str:
        dropped, suppressed = self._dropped(), self._suppressed()
        if dropped or suppressed:
            raise Fault(f"{dropped:g} dropped; {suppressed}")
        return "no entry dropped, none suppressed, at the debug level"

    def step_load_at_the_level_of_every_day(self) -> str:
        """Customers who press, buy and ask without a pause; then the rate limit, the drops, and how busy the journal was."""
        m = self.machine
        m.run('sed -i \'s/level = "debug"/level = "info"/\' /etc/vpnd/vpnd.toml && systemctl restart vpnd')
        m.ready()
        began, before = time.time(), self._dropped()
        done = m.run(
            f"{ENVIRON} {PYTHON} {INSIDE}/load.py {DATABASE_URL} /etc/vpnd/vpnd.toml {LOAD}",
            timeout=LOAD + 120,
            check=False,
        )
        told = done.stdout
        if done.returncode != 0:
            since = f"--since=@{began:.0f} --no-pager -o short-precise"
            ours = m.out(f"journalctl -u vpnd -p notice {since} | tail -40")
            theirs = m.out("tail -30 /var/log/postgresql/*.log")
            raise Fault(f"{told}{done.stderr[-800:]}\n{ours}\n{theirs}")
        stamps = m.out(
            f"journalctl -u vpnd --since=@{began:.0f} _TRANSPORT=journal -o json --output-fields=__REALTIME_TIMESTAMP"
        )
        most = _most_within(
            30.0, (int(json.loads(line)["__REALTIME_TIMESTAMP"]) / 1e6 for line in stamps.splitlines())
        )
        if self._suppressed() or self._dropped() != before:
            raise Fault(f"{self._suppressed()}; {self._dropped() - before:g} dropped; {told}")
        return f"{told.strip().splitlines()[-1]}; at most {most} entries within 30 s; none suppressed, none dropped"

    def step_a_journald_that_stands_still(self) -> str:
        """Customers are answered as before, what is lost is counted, and the journal says where it is missing."""
        m = self.machine
        m.run('sed -i \'s/level = "info"/level = "debug"/\' /etc/vpnd/vpnd.toml && systemctl restart vpnd')
        m.ready()
        before, process = self._dropped(), m.show("vpnd", "MainPID")
        (m.root / "srv" / "fill.py").write_text(FILL)
        journald = m.show("systemd-journald", "MainPID")
        m.run(f"kill -STOP {journald}")
        try:
            m.run("python3 /srv/fill.py")
            told = m.run(
                f"{ENVIRON} {PYTHON} {INSIDE}/load.py {DATABASE_URL} /etc/vpnd/vpnd.toml {STANDSTILL}",
                timeout=180,
            ).stdout
            lost = self._dropped() - before
        finally:
            m.run(f"kill -CONT {journald}")
        if not lost:
            raise Fault(f"nothing was lost, so nothing was seen; {told}")
        m.until(
            "the word of a gap",
            lambda: bool(
                m.run("journalctl -u vpnd VPND_EVENT=journal.gap -o cat", check=False).stdout.strip()
            ),
        )
        gaps = m.out("journalctl -u vpnd VPND_EVENT=journal.gap -o json").splitlines()
        named = sum(int(json.loads(line)["VPND_LOST"]) for line in gaps)
        if named < lost or m.show("vpnd", "MainPID") != process:
            raise Fault(f"{lost:g} lost, {named} named in the journal; {told}")
        if m.show("systemd-journald", "MainPID") != journald:
            raise Fault("journald was started anew")
        return f"{told.strip().splitlines()[-1]}; {lost:g} entries lost and counted; the journal goes on and names the gap"

    def _dropped(self) -> float:
        found = re.search(
            r"^vpnd_journal_dropped_total (\S+)$", self.machine.out(f"curl -fsS {METRICS}"), re.MULTILINE
        )
        if found is None:
            raise Fault("the daemon does not count what the journal drops")
        return float(found[1])

    def _suppressed(self) -> str:
        return self.machine.run(
            "journalctl --no-pager -o cat _SYSTEMD_UNIT=systemd-journald.service | grep -i suppressed",
            check=False,
        ).stdout.strip()


def _lacking(name: str, entry: dict[str, str], facts: Iterable[str]) -> list[str]:
    """What one entry lacks of what every one has, and of its event's own facts."""
    right = {
        "MESSAGE_ID": message_id(name),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    lacking = [f"the right {field}" for field, value in right.items() if entry.get(field) != value]
    lacking += [
        field
        for field in (
            "MESSAGE",
            "PRIORITY",
            "VPND_ROOM",
            "_SYSTEMD_UNIT",
            *(f"VPND_{fact}" for fact in facts),
        )
        if not entry.get(field)
    ]
    return lacking


def _most_within(seconds: float, moments: Iterable[float]) -> int:
    """The most moments that lie within so many seconds."""
    times = sorted(moments)
    most = first = 0
    for last, moment in enumerate(times):
        while moment - times[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
