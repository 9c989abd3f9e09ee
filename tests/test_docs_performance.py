"""docs/performance.md holds each measured figure once, with its command; whoever quotes one quotes what stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "performance.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
METHOD = (ROOT / "bench" / "README.md").read_text("utf-8")

COMMAND = re.compile(r"^ {4}\./dev (bench|soak) ([a-z-]+)", re.MULTILINE)
LINK = re.compile(r"\(docs/performance\.md#([\w-]+)\)")
FIGURE = re.compile(r"\d+(?:[ .]\d+)*")


def sections() -> dict[str, str]:
    """The page's sections by the names that links have."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    return {name.lower().replace(" ", "-"): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def figures(text: str) -> set[str]:
    """Every number, as it is written; one with a space for thousands is one number."""
    return set(FIGURE.findall(re.sub(r"p\d+", "", text)))


def test_every_bench_has_its_figures_there() -> None:
    """A bench without a place for what it has shown was made for nobody; a command without its program misleads."""
    benches = {path.stem.replace("_", "-") for path in (ROOT / "bench").glob("*.py") if path.stem[0] != "_"}
    soaks = {path.stem.replace("_", "-") for path in (ROOT / "tests" / "soaks").glob("*.py")}
    named = COMMAND.findall(PAGE)

    assert {name for kind, name in named if kind == "bench"} == benches
    assert {name for kind, name in named if kind == "soak"} <= soaks


def test_every_section_has_a_command_and_a_figure() -> None:
    """Each figure can be made again."""
    assert [name for name, text in sections().items() if not COMMAND.search(text) or not figures(text)] == []


def test_the_benches_say_how_and_not_what() -> None:
    """No measured table stands twice."""
    assert not re.search(r"^\|", METHOD, re.MULTILINE)


def test_the_readme_quotes_what_stands_there() -> None:
    """Each number in a row of the README that links to a section is in that section."""
    rows = [line for line in README.splitlines() if line.startswith("|") and LINK.search(line)]
    assert len(rows) >= 5
    wrong = {
        row: figures(LINK.sub("", row)) - figures(sections()[LINK.findall(row)[0]])
        for row in rows
        if figures(LINK.sub("", row)) - figures(sections()[LINK.findall(row)[0]])
    }

    assert wrong == {}
