"""The house: a room stands above all that it imports, and modules stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vpnd"

#: From the top down. Rooms on one floor do not import each other.
FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"sandbox"},
    {"daemon", "shell"},
    {"workers", "web", "bot"},
    {"payments"},
    {"shop"},
    {"telegram", "nodes", "monitors", "agent"},
    {"database"},
    {"runtime"},
    {"config"},
    {"__init__"},
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}

#: The agent runs alone on a VPN node: it stands on the kit and the configuration, never on the database.
AGENT_MAY_IMPORT = {"agent", "runtime", "config", "__init__"}

#: Generated code.
MACHINE_MADE = {"xray_api_pb2.py"}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in MACHINE_MADE]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            if node.module == "vpnd":
                yield from (f"vpnd.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for name in imported_modules(path):
        if name == "vpnd" or name.startswith("vpnd."):
            parts = name.split(".")
            found.add(parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else "__init__")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    """A module imports its own room and the floors below, never a neighbour's room or one above."""
    room = room_of(path)
    assert room in FLOOR_OF, f"{path} stands in no room of the house: place it in FLOORS"
    for other in rooms_imported(path) - {room}:
        assert FLOOR_OF[other] > FLOOR_OF[room], f"{room} must not import {other}"
    if room == "agent":
        assert rooms_imported(path) <= AGENT_MAY_IMPORT


def test_no_circles_between_modules() -> None:
    """Inside a room, too, modules import each other in one direction."""
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in modules()}
    graph = {
        name: {other for other in _top_level_imports(path) if other in names} - {name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a circle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _top_level_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable(path: Path) -> None:
    """A module is about 400 lines at most and says on top what it is for."""
    text = path.read_text()
    assert len(text.splitlines()) <= 440
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "the module has no docstring"
