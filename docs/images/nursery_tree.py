# ruff: noqa: INP001  a script, no package
"""Draws the nursery tree: ./dev python docs/images/nursery_tree.py writes nursery-tree.svg beside itself.

It is made from the daemon's own child specs: a daemon with every part that can be configured is built, for which neither a
database nor Telegram need be there, and asked for its children. What is said of them stands here. tests/test_docs_tree.py holds
the committed picture against this script, and every child against its sentence.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from vpnd.config import (
    CryptoPaySettings,
    DatabaseSettings,
    HttpSettings,
    InstanceSettings,
    NodeSettings,
    Secret,
    Settings,
    TelegramSettings,
    YooKassaSettings,
)
from vpnd.daemon import Daemon, open_daemon
from vpnd.runtime.sdnotify import service_manager
from vpnd.runtime.service import Service
from vpnd.runtime.supervisor import ChildSpec, Supervisor

PICTURE = Path(__file__).with_name("nursery-tree.svg")

#: What is open while the supervisor runs, in the order in which `vpnd.daemon.tree.open_daemon` opens it.
OPENED = (
    ("database", "the connections on the asyncio side, behind one bridge"),
    ("HTTP client", "for nodes and payment providers, under its limiter"),
    ("lanes", "what leaves for Telegram: replies, receipts, notices, broadcast"),
)

#: What each child does. Of those of which there are several (a node, a provider) the first word is the name here.
SAYS = {
    "schema": "the right database, its migrations, the plans; then it has nothing left to do",
    "numberer": "numbers the access log after commits",
    "node": "follows the log for one VPN node, and records what it acknowledges",
    "outbox": "sends the messages that were decided in transactions",
    "payouts": "refunds of one provider: one that is away holds up nobody else's",
    "switches": "reads what was paused at run time",
    "texts": "reads the bot's texts anew when they were edited",
    "worker": "what runs by the clock, each under a deadline and a lease",
    "broadcasts": "runs the broadcasts, and begins what is scheduled",
    "broadcast progress": "keeps the messages true that show how far a broadcast is",
    "recovery": "wakes whoever backs off when the database is back",
    "lag monitor": "which task held the loop, and on which line",
    "monitors": "processor, memory, tasks, queues, nodes; alarms",
    "control": "the unix socket of vpnd status and vpnd audit",
    "commands": "the bot's menu and profile, set anew when texts were read",
    "telegram": "intake → inbox → a queue a chat → handlers",
    "metrics": "/metrics, on a listener of its own",
    "web": "webhooks, subscription links, /healthz, /readyz",
    "reload": "SIGHUP: plans and texts",
    "watchdog": "pings systemd while the loop turns and the database client answers",
    "status": "READY, and a STATUS line that says what is missing",
}

INK, QUIET, LINE, GROUND, PAPER = "#1b2330", "#4a5566", "#8a97a8", "#f7f8fa", "#ffffff"
#: Fill and border of a child: what it waits for, and how it ends.
GATED, AT_ONCE, ENDS = ("#e3eefc", "#3d6fb4"), ("#e4f4e6", "#3f8a4b"), ("#fff1d6", "#b07a1c")
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
WIDTH, ROW, BOX = 1040, 34, 26
TRUNK, CHILD, NAME_WIDTH = 62, 118, 184
CELLS = 3  # workers in a row


@dataclass(frozen=True)
class Child:
    """A child as it is drawn: its name, those who share it, and its kind."""

    name: str
    members: tuple[str, ...]
    look: tuple[str, str]


def children() -> tuple[list[ChildSpec], dict[str, float]]:
    """The child specs of a daemon in which all is configured, and the workers' intervals in seconds."""
    with TemporaryDirectory() as folder:
        return trio.run(_children, Path(folder))


async def _children(folder: Path) -> tuple[list[ChildSpec], dict[str, float]]:
    nowhere = "http://127.0.0.1:9"
    settings = Settings(
        instance=InstanceSettings(name="picture", state_dir=folder),
        telegram=TelegramSettings(
            token=Secret("4242424242:AAnobody-nobody-nobody-nobody-nobod"), api_base=nowhere
        ),
        database=DatabaseSettings(url=Secret("postgresql://nobody@127.0.0.1:9/nothing")),
        cryptopay=CryptoPaySettings(token=Secret("1:A"), api_base=nowhere),
        yookassa=YooKassaSettings(shop_id="1", secret_key=Secret("test_a"), api_base=nowhere),
        http=HttpSettings(metrics_listen="127.0.0.1:9"),
        nodes=(NodeSettings(name="<name>", url=nowhere, token=Secret("t" * 32)),),
    )
    send, reloads = trio.open_memory_channel[None](1)
    with send, reloads:
        async with service_manager({}) as manager, open_daemon(settings) as daemon:
            intervals = {name: runner.spec.interval for name, runner in daemon.workers.items()}
            return daemon.children(Service(manager, reloads)), intervals


def grouped(specs: list[ChildSpec]) -> list[Child]:
    """The children in starting order, those of one kind as one."""
    found: dict[str, list[ChildSpec]] = {}
    for spec in specs:
        kind = spec.name if spec.name in SAYS else spec.name.split()[0]
        found.setdefault(kind, []).append(spec)
    return [
        Child(kind, tuple(one.name.removeprefix(f"{kind} ") for one in of_kind), _look(of_kind[0]))
        for kind, of_kind in found.items()
    ]


def _look(spec: ChildSpec) -> tuple[str, str]:
    if spec.may_finish:
        return ENDS
    gate = f"{Daemon._with_schema.__qualname__}.<locals>."  # noqa: SLF001  the picture says who waits there
    return GATED if getattr(spec.run, "__qualname__", "").startswith(gate) else AT_ONCE


def _seconds(interval: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if interval >= size and interval % size == 0:
            return f"{interval / size:g} {unit}"
    return f"{interval:g} s"


class Drawing:
    """Pieces of an SVG, laid from the top."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.y = 0

    def text(self, x: int, y: int, words: str, *, size: int = 14, bold: bool = False, ink: str = INK) -> None:
        weight = ' font-weight="700"' if bold else ""
        self.pieces.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{ink}"{weight}>{escape(words)}</text>'
        )

    def box(self, x: int, y: int, width: int, look: tuple[str, str], height: int = BOX) -> None:
        fill, edge = look
        self.pieces.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{edge}"/>'
        )

    def line(self, *points: tuple[int, int]) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        self.pieces.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')

    def row(self, x: int, name: str, says: str, look: tuple[str, str], width: int) -> None:
        """A box with its sentence to the right, hung on the line to the left of it."""
        self.line((x - 28, self.y + BOX // 2), (x, self.y + BOX // 2))
        self.box(x, self.y, width, look)
        self.text(x + 10, self.y + 18, name, bold=True)
        self.text(x + width + 14, self.y + 18, says, ink=QUIET)
        self.y += ROW

    def finished(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y}" viewBox="0 0 {WIDTH} {self.y}" '
            f'font-family="{FONT}" role="img" aria-label="The nursery tree of vpnd run">'
        )
        ground = f'<rect width="{WIDTH}" height="{self.y}" fill="{GROUND}"/>'
        return "\n".join([head, ground, *self.pieces, "</svg>"]) + "\n"


def written() -> str:
    """The picture."""
    specs, intervals = children()
    plain = (PAPER, LINE)
    drawing = Drawing()
    drawing.y = 24
    drawing.box(34, drawing.y, 130, plain)
    drawing.text(44, drawing.y + 18, "vpnd run", bold=True)
    drawing.text(178, drawing.y + 18, "its exit code tells systemd what happened", ink=QUIET)
    top = drawing.y + BOX
    drawing.y += ROW
    for name, says in OPENED:
        drawing.row(TRUNK + 28, name, says, plain, NAME_WIDTH)
    rule = inspect.signature(Supervisor).parameters
    drawing.line((TRUNK, top), (TRUNK, drawing.y + BOX // 2))
    top = drawing.y + BOX
    drawing.row(
        TRUNK + 28,
        "supervisor",
        "a child that dies is restarted with back-off; "
        f"more than {rule['max_deaths'].default} deaths in {rule['window'].default:g} s end the process",
        plain,
        NAME_WIDTH,
    )
    last = drawing.y
    for child in grouped(specs):
        last = drawing.y + BOX // 2
        _draw(drawing, child, intervals)
    drawing.line((CHILD - 2, top), (CHILD - 2, last))
    _legend(drawing)
    return drawing.finished()


def _draw(drawing: Drawing, child: Child, intervals: dict[str, float]) -> None:
    says = SAYS[child.name]
    several = child.members != (child.name,)
    name = child.name
    if several:
        name += f" × {len(child.members)}" if child.name == "worker" else " <name>"
    if several and child.name != "worker" and child.members != ("<name>",):
        says += f": {', '.join(child.members)}"
    drawing.row(CHILD + 26, name, says, child.look, NAME_WIDTH)
    if child.name == "worker":
        width = (WIDTH - CHILD - 26 - 34) // CELLS
        for number, member in enumerate(child.members):
            row, column = divmod(number, CELLS)
            x, y = CHILD + 26 + column * width, drawing.y + row * 30
            drawing.box(x, y, width - 8, child.look, 24)
            drawing.text(x + 10, y + 17, member, size=13)
            every = f"every {_seconds(intervals[member])}"
            drawing.pieces.append(
                f'<text x="{x + width - 18}" y="{y + 17}" font-size="12" fill="{QUIET}" text-anchor="end">{every}</text>'
            )
        drawing.y += -(-len(child.members) // CELLS) * 30 + 8


def _legend(drawing: Drawing) -> None:
    drawing.y += 10
    x = 34
    for look, words in (
        (GATED, "waits until the database is ready"),
        (AT_ONCE, "works from the first moment"),
        (ENDS, "may end by itself"),
    ):
        drawing.box(x, drawing.y, 26, look, 18)
        drawing.text(x + 36, drawing.y + 14, words, size=13)
        x += 80 + 7 * len(words)
    drawing.y += 36
    drawing.text(
        34,
        drawing.y,
        "Children start from the top to the bottom and stop from the bottom to the top. Cells: workers and how often they run.",
        size=13,
    )
    drawing.y += 24


if __name__ == "__main__":
    PICTURE.write_text(written(), "utf-8")
