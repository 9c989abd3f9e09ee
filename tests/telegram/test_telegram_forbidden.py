"""Parts of PTB that belong to asyncio stay out of the whole package, not only out of this room."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "vpnd"

#: Names whose use starts asyncio tasks, or waits on asyncio's clock.
NAMES = {
    "Updater",
    "JobQueue",
    "AIORateLimiter",
    "ConversationHandler",
    "run_polling",
    "run_webhook",
    "create_task",
}
#: Per-person dictionaries of PTB live in memory, are lost by a restart and grow with the number of people.
STATE = {"user_data", "chat_data"}
#: Where a name of the list is defined in order to refuse it.
REFUSED_IN = {("application.py", "create_task")}


def findings(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.keyword):
            if node.arg == "block" and isinstance(node.value, ast.Constant) and node.value.value is False:
                found.append(f"{path.name}:{node.value.lineno} block=False")
            names = []
        else:
            continue
        found += [
            f"{path.name}:{node.lineno} {name}"
            for name in names
            if name in NAMES | STATE and (path.name, name) not in REFUSED_IN
        ]
    return found


@pytest.mark.parametrize(
    "path",
    sorted(p for p in PACKAGE.rglob("*.py") if "database" not in p.parts and not p.name.endswith("_pb2.py")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nothing_of_ptbs_asyncio_side_is_used(path: Path) -> None:
    """PTB's updater, job queue, limiter, tasks and unblocking handlers half work on trio, which is worse than not at all."""
    assert findings(path) == []


def test_the_check_sees_what_it_looks_for(tmp_path: Path) -> None:
    """The check finds each forbidden form."""
    path = tmp_path / "bad.py"
    path.write_text(
        "from telegram.ext import AIORateLimiter\n"
        "app.create_task(x)\n"
        "MessageHandler(f, g, block=False)\n"
        "context.user_data['a'] = 1\n"
    )
    assert len(findings(path)) == 4
