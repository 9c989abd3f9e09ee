"""`vpnd status`: the running daemon at a glance, once or for as long as one looks.

The daemon puts the picture together (`vpnd.monitors.picture`); here it is only drawn. A part that is missing or says what is
wrong with it is shown as that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vpnd.runtime.control import ControlClient, ControlError
from vpnd.shell.daemon_socket import run_against_daemon
from vpnd.shop.money import Money, MoneyError, format_decimal

__all__ = ["draw", "status"]

#: Seconds between two pictures of `--watch`.
EVERY: Final = 2.0
#: Seconds of silence after which a node's line stands out: it is asked every 10 s.
AWAY: Final = 30.0

_MB: Final = 1024 * 1024


def status(socket: Path, *, watch: bool) -> int:
    """Print the picture of the daemon at `socket`, or show it anew until Ctrl-C; return the exit code."""
    client = ControlClient(socket)
    console = Console(file=sys.stdout)

    async def once() -> int:
        console.print(draw(await client.ask({"command": "status"})))
        return 0

    async def for_ever() -> int:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    picture = draw(await client.ask({"command": "status"}))
                except ControlError as error:
                    picture = Text(str(error), style="bold red")  # it may come back
                live.update(picture, refresh=True)
                await trio.sleep(EVERY)

    return run_against_daemon(for_ever if watch else once)


def draw(document: Mapping[str, Any]) -> RenderableType:
    """Return the picture as something rich can print."""
    parts: list[RenderableType] = []
    for name, of_part in _PARTS:
        value = document.get(name)
        if isinstance(value, Mapping) and set(value) == {"error"}:
            parts.append(Text(f"{name}: {value['error']}", style="red"))
        elif value is not None:
            parts.append(of_part(value))
    return Group(*parts)


# --- the parts -------------------------------------------------------------------------------------------------------------


def _service(value: Mapping[str, Any]) -> RenderableType:
    since = value.get("since")
    up = f", up {_ago(since)}" if since else ""
    text = Text(f"{value['instance']} {value['version']}{up}: {value['status']}", style="bold")
    for child in value.get("children", ()):
        if child["state"] not in ("running", "stopped"):
            text.append(f"\n  {child['name']}: {child['state']} ({child['last_error']})", style="red")
    return text


def _alarms(value: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not value:
        return Text("no alarm is raised", style="green")
    text = Text("alarms", style="bold red")
    for alarm in value:
        text.append(
            f"\n  {alarm['name']}: {alarm['what']} {alarm['value']:g} {alarm['unit']}"
            f"{' (' + alarm['who'] + ')' if alarm['who'] else ''}, since {_ago(alarm['since'])}",
            style="red",
        )
    return text


def _switches(value: Mapping[str, Any]) -> RenderableType:
    lines = [f"{name}: {said}" for name, said in value.items() if said]
    return Text("\n".join(lines) if lines else "nothing is paused", style="yellow" if lines else "")


def _workers(value: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = _table("worker", "every", "last run", "outcome", "took", "items", "state")
    # Who has something to say first: what a low terminal cuts off are workers that are well.
    for worker in sorted(value, key=lambda one: (not one["failures_in_a_row"], not one["paused"])):
        failing = worker["failures_in_a_row"]
        states = (
            f"{failing} fails" if failing > 1 else "1 fail" if failing else "",
            "paused" if worker["paused"] else "at work" if worker["awake"] else "",
        )
        table.add_row(
            worker["name"],
            _span(worker["interval"]),
            _ago(worker["last_end"]),
            worker["last_outcome"] or "-",
            "-" if worker["last_duration"] is None else f"{worker['last_duration']:.2f} s",
            f"{worker['items']:,}",
            ", ".join(filter(None, states)),
            style="red" if failing else "yellow" if worker["paused"] else "",
        )
    return table


def _queues(value: Mapping[str, Any]) -> RenderableType:
    table = _table("queue", "waiting", "oldest due")
    money = value["inbox_pending_money"]
    table.add_row(
        "inbox",
        f"{value['inbox_pending']:,}{f' ({money} with money)' if money else ''}",
        _span(value["inbox_age"]) if value["inbox_pending"] else "",
    )
    ready = value["outbox_ready"]
    for kind, age in sorted(value["outbox_age"].items()):
        if ready.get(kind):
            table.add_row(f"outbox {kind}", f"{ready[kind]:,}", _span(age))
    if not any(ready.values()):
        table.add_row("outbox", "0", "")
    dead = value["dead_letters"]
    table.add_row("dead letters", f"{dead:,}", "", style="red" if dead else "")
    return table


def _lanes(value: Mapping[str, Any]) -> RenderableType:
    waiting = ", ".join(f"{lane} {count}" for lane, count in value["waiting"].items())
    limit = "no limit" if value["limit"] is None else f"{value['limit']} a second"
    paused = f"; stopped by Telegram for {value['paused_for']:.0f} s" if value["paused_for"] else ""
    return Text(
        f"lanes: waiting {waiting}; {limit}; {value['granted']:,} sent, {value['refused']} refused{paused}"
    )


def _pools(value: Mapping[str, Any]) -> RenderableType:
    table = _table("pool", "in use", "of", "waiting", "by class")
    for name in ("database", "http"):
        pool = value[name]
        classes = ", ".join(f"{one['cls']} {one['borrowed']}/{one['total']}" for one in pool["classes"])
        table.add_row(name, str(pool["borrowed"]), str(pool["total"]), str(pool["waiting"]), classes)
    connections = value["connections"]
    table.add_row(
        "connections",
        str(connections["used"]),
        str(connections["most"]),
        "",
        "the database is away" if connections["down"] else f"{connections['idle']} idle",
        style="red" if connections["down"] else "",
    )
    return table


def _nodes(value: Mapping[str, Any]) -> RenderableType:
    table = _table("node", "last contact", "behind", "expired but on", "paid but off")
    for node in value["nodes"]:
        wrong = node["expired_but_on"] or node["paid_but_off"]
        away = node["seen_at"] is None or node["silent_for"] > AWAY
        table.add_row(
            node["name"],
            "never" if node["seen_at"] is None else f"{_span(node['silent_for'])} ago",
            f"{node['behind']:,}",
            f"{node['expired_but_on']:,}",
            f"{node['paid_but_off']:,}",
            style="red" if wrong else "yellow" if away else "",
        )
    parts: list[RenderableType] = [table] if value["nodes"] else [Text("no node", style="yellow")]
    if value["overdue"]:
        parts.append(Text(f"past their end and not expired: {value['overdue']:,}", style="red"))
    return Group(*parts)


def _loop(value: Mapping[str, Any]) -> RenderableType:
    said = f"loop: longest step of the last minute {(value['worst_minute'] or 0) * 1000:.0f} ms"
    for line in value["today"]:
        if line["measure"] == "blocking" and line["worst"]:
            worst = line["worst"]
            where = f" {worst['where']}" if worst["where"] else ""
            said += f"; today's worst computed for {worst['value'] * 1000:.0f} ms ({worst['who']}{where})"
    return Text(said)


def _process(value: Mapping[str, Any]) -> RenderableType:
    # The last word of a task's name tells enough of it, and a line holds four.
    busiest = ", ".join(
        f"{name.rpartition('.')[2].strip('_')} {count}"
        for name, count in list(value["tasks_by_name"].items())[:4]
    )
    return Text(
        f"process: {value['cpu']:.0%} of a core, {value['memory'] / _MB:.0f} MB"
        f" ({value['memory_growth'] / _MB:+.0f} MB within the hour), {value['descriptors']} files,"
        f" {value['sockets']} sockets, {value['tasks']} tasks ({busiest})"
    )


def _money(value: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not value:
        return Text("money today: nothing yet")
    table = _table("money today", "charges", "amount", "held")
    for one in value:
        table.add_row(
            one["provider"],
            f"{'at least ' if one['more'] else ''}{one['charges']:,}",
            f"{_decimal(one['amount'], one['currency'])} {one['currency']}",
            str(one["held"]) if one["held"] else "",
        )
    return table


#: From what needs somebody to what is only good to know: a low terminal shows the beginning.
_PARTS: Final[tuple[tuple[str, Callable[[Any], RenderableType]], ...]] = (
    ("service", _service),
    ("alarms", _alarms),
    ("switches", _switches),
    ("nodes", _nodes),
    ("queues", _queues),
    ("lanes", _lanes),
    ("pools", _pools),
    ("loop", _loop),
    ("process", _process),
    ("money", _money),
    ("workers", _workers),
)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(columns):
        table.add_column(name, no_wrap=number == 0 or len(name) < 12)
    return table


def _ago(moment: float | None) -> str:
    """Say how long ago a moment of Unix time was, in the largest unit that fits."""
    if not moment:
        return "never"
    return _span(max(0.0, time.time() - moment))


def _span(seconds: float) -> str:
    """Say how long something is, in the largest unit that fits."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds, 1):g} s" if seconds < 1 else f"{seconds:.0f} s"


def _decimal(amount: int, currency: str) -> str:
    try:
        return format_decimal(Money(amount, currency))
    except MoneyError:
        return f"{amount} minor units"
