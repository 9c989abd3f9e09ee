"""`vpnd status`: the daemon's picture, drawn whatever is in it."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from vpnd import cli
from vpnd.runtime.control import ControlServer
from vpnd.shell.status import draw


def shown(document: Mapping[str, Any]) -> str:
    text = io.StringIO()
    Console(file=text, width=160).print(draw(document))
    return text.getvalue()


def worker(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "expiry", "interval": 60.0, "awake": False, "paused": False, "iterations": 12, "failures": 0,
        "failures_in_a_row": 0, "timeouts": 0, "items": 1234, "item_failures": 0, "last_outcome": "ok", "last_duration": 0.25,
        "last_success": time.time() - 30, "last_end": time.time() - 30,
    }  # fmt: skip
    return values | changes


def pool(borrowed: int) -> dict[str, Any]:
    classes = [{"cls": "handler", "total": 15, "borrowed": borrowed, "waiting": 0}]
    return {"total": 15, "borrowed": borrowed, "waiting": 2, "classes": classes}


WHOLE: dict[str, Any] = {
    "at": 1.0,
    "service": {
        "instance": "vpnd-1", "version": "0.1.0", "since": time.time() - 7200, "status": "serving customers; 1 nodes",
        "children": [
            {"name": "outbox", "state": "running", "deaths": 0, "last_error": None},
            {"name": "telegram", "state": "backing off", "deaths": 3, "last_error": "OSError: no route"},
        ],
    },
    "alarms": [
        {"name": "node_silent", "what": "a node has not answered for", "unit": "s", "value": 300.0, "threshold": 120.0,
         "who": "berlin", "since": time.time() - 200},
    ],
    "switches": {"shop": "", "renewal": "paused by 4711"},
    "workers": [worker(), worker(name="renewal", paused=True), worker(name="activation", failures_in_a_row=4, last_end=None)],
    "queues": {
        "outbox_age": {"message": 12.0}, "outbox_ready": {"message": 5000}, "dead_letters": 2, "inbox_pending": 7,
        "inbox_pending_money": 1, "inbox_age": 3.0,
    },
    "lanes": {
        "waiting": {"reply": 0, "broadcast": 20}, "limit": 30, "chats": 5, "paused_for": 0.0, "granted": 12345, "refused": 1,
    },
    "pools": {
        "database": pool(4), "http": pool(1),
        "connections": {"idle": 3, "used": 4, "most": 15, "connects": 9, "connect_failures": 0, "terminated": 0, "down": False},
    },
    "nodes": {
        "nodes": [
            {"name": "berlin", "seen_at": "2026-01-01T00:00:00+00:00", "silent_for": 300.0, "behind": 17, "expired_but_on": 3,
             "paid_but_off": 1},
            {"name": "paris", "seen_at": None, "silent_for": 0.0, "behind": 0, "expired_but_on": 0, "paid_but_off": 0},
        ],
        "overdue": 9,
    },
    "loop": {
        "worst_minute": 0.031,
        "today": [{"measure": "blocking", "worst": {"value": 0.02, "who": "worker expiry", "where": ""}}],
    },
    "process": {
        "cpu": 0.12, "memory": 150_000_000, "memory_growth": -2_000_000, "descriptors": 40, "descriptors_max": 99, "sockets": 20,
        "tasks": 60, "tasks_by_name": {"chats.ChatQueues._serve": 20},
    },
    "money": [
        {"provider": "cryptopay", "currency": "USDT", "charges": 3, "amount": 12_500_000, "held": 1, "more": False},
        {"provider": "stars", "currency": "XTR", "charges": 2, "amount": 300, "held": 0, "more": False},
        {"provider": "barter", "currency": "EGGS", "charges": 1, "amount": 12, "held": 0, "more": True},
    ],
}  # fmt: skip


def test_everything_is_shown() -> None:
    """Workers, queues, lanes, pools, nodes, loop, memory, money and alarms, each with its numbers."""
    # Counted from now: this module may have been imported long before.
    text = shown({**WHOLE, "service": {**WHOLE["service"], "since": time.time() - 7200}})

    for part in (
        "vpnd-1 0.1.0, up 2 h: serving customers", "telegram: backing off (OSError: no route)", "node_silent", "berlin",
        "renewal: paused by 4711", "expiry", "0.25 s", "1,234", "paused", "activation", "never", "5,000", "dead letters",
        "broadcast 20", "handler 4/15", "17", "worker expiry", "31 ms", "12% of a core", "143 MB", "cryptopay", "300 XTR",
        "at least 1", "past their end",
    ):  # fmt: skip
        assert part in text, part
    assert "outbox: running" not in text


def test_a_part_that_is_missing_says_so() -> None:
    """A daemon whose database is away still shows the rest."""
    document = {**WHOLE, "money": {"error": "the server cannot be reached"}, "queues": None, "nodes": None}
    text = shown(document)

    assert "money: the server cannot be reached" in text
    assert "expiry" in text
    assert shown({}).strip() == ""


def test_nothing_to_tell_is_told() -> None:
    """No alarm, nothing paused, no money yet."""
    text = shown({"alarms": [], "switches": {"shop": ""}, "money": []})

    assert "no alarm is raised" in text
    assert "nothing is paused" in text
    assert "nothing yet" in text


def test_the_command_asks_the_running_daemon(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the real socket, once."""
    path = tmp_path_factory.mktemp("s") / "control.sock"

    async def command(_request: Mapping[str, Any], _tell: Any) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        return WHOLE

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            await nursery.start(ControlServer(path, {"status": command}).run)
            with trio.fail_after(10):
                while not path.exists():
                    await trio.sleep(0.01)
            code = await trio.to_thread.run_sync(cli.main, ["status", "--socket", str(path)])
            nursery.cancel_scope.cancel()
            return code
        raise AssertionError

    assert trio.run(main) == 0
    assert "vpnd-1" in capsys.readouterr().out


def test_no_daemon_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And 1."""
    assert cli.main(["status", "--socket", str(tmp_path / "absent.sock")]) == 1
    assert "absent.sock" in capsys.readouterr().err


def test_eighty_columns_hold_it() -> None:
    """Nothing that waits for nobody takes a line, headings stand on one, and tasks are named in a word."""
    queues = {
        **WHOLE["queues"],
        "outbox_ready": {"message": 0, "admin_alert": 2},
        "outbox_age": {"message": 0.0, "admin_alert": 9.0},
    }
    process = {**WHOLE["process"], "tasks_by_name": {"trio_asyncio.BaseTrioEventLoop._io_task": 13}}
    text = shown({**WHOLE, "queues": queues, "process": process})

    assert "outbox admin_alert" in text
    assert "outbox message" not in text
    assert "(io_task 13)" in text
    heading = next(line for line in text.splitlines() if line.startswith("worker "))
    assert heading.split() == ["worker", "every", "last", "run", "outcome", "took", "items", "state"]


def test_no_word_is_cut_at_eighty_columns() -> None:
    """Not of the longest worker there is, which fails, is at work and has been going for days."""
    longest = worker(
        name="reconciliation_cryptopay",
        interval=86400.0,
        failures_in_a_row=12,
        last_outcome="failed",
        items=12345,
    )
    text = io.StringIO()
    Console(file=text, width=80).print(
        draw({**WHOLE, "workers": [longest, worker(name="reminders", awake=True)]})
    )

    assert "…" not in text.getvalue()
    row = next(line for line in text.getvalue().splitlines() if line.startswith("reconciliation_cryptopay"))
    assert row.split("  ")[1].strip() == "1 d"
    assert row.rstrip().endswith("12 fails")


def test_what_needs_somebody_stands_first() -> None:
    """A low terminal cuts off the end of `--watch`: alarms, nodes and queues come first, and of the workers those that fail."""
    text = shown(WHOLE)

    order = [
        "node_silent",
        "renewal: paused",
        "berlin ",
        "past their end",
        "inbox",
        "pool ",
        "worker ",
        "activation",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.index("activation") < text.index("renewal  ") < text.index("expiry  ")


def test_a_node_that_is_silent_stands_out() -> None:
    """It is asked every ten seconds: half a minute is too long; who serves the wrong people is worse."""
    fine = {
        "name": "berlin",
        "seen_at": "x",
        "silent_for": 9.0,
        "behind": 0,
        "expired_but_on": 0,
        "paid_but_off": 0,
    }

    def styles(**changes: Any) -> str:
        text = io.StringIO()
        nodes = {"nodes": [{**fine, **changes}], "overdue": 0}
        Console(file=text, width=80, force_terminal=True, color_system="standard").print(
            draw({"nodes": nodes})
        )
        return text.getvalue()

    assert "\x1b[3" not in styles()
    assert "\x1b[33m" in styles(silent_for=5400.0)
    assert "1.5 h ago" in styles(silent_for=5400.0)
    assert "\x1b[33m" in styles(seen_at=None)
    assert "\x1b[31m" in styles(silent_for=5400.0, paid_but_off=1)
    assert "no node" in shown({"nodes": {"nodes": [], "overdue": 0}})
