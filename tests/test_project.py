"""The project's own word: links lead somewhere, and a newcomer needs two commands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from vpnd.monitors.service import ALARMS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench" / "README.md"])

_LINK = re.compile(r"(?<!`)!?\[[^\]\n]*\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")
_TEST = re.compile(r"`([^`\s]+\.py)::(\w+)")


def without_code(text: str) -> str:
    """A page without its fenced blocks, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+\s+(.*)$", without_code(page.read_text("utf-8")), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every file and every heading that a page points at is there."""
    broken = []
    for found in _LINK.finditer(without_code(page.read_text("utf-8"))):
        target = found[1] or found[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)

    assert broken == []


def test_the_readme_needs_two_commands() -> None:
    """Whoever reads it sees how to look and how to test, and no command that a newcomer has to understand first."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    commands = [
        line.split("#")[0].strip().removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if re.match(r"(\$ )?\./dev\b", line)
    ]

    assert sorted(set(commands)) == ["./dev demo", "./dev test"]


OPERATIONS = ROOT / "docs" / "operations.md"

_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


def said_events() -> dict[str, set[str]]:
    """Every event that the program can write to the journal, with its levels; the sandbox's own left out."""
    found: dict[str, set[str]] = {}
    for module in ROOT.glob("vpnd/**/*.py"):
        if "sandbox" in module.parts:
            continue
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            level = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            event = node.args[0].value
            if level in _LEVELS and isinstance(event, str) and re.fullmatch(r"[a-z_]+\.[a-z_]+", event):
                found.setdefault(event, set()).add(level)
    return found


def test_what_an_operator_must_act_on_is_explained() -> None:
    """Each event that the program writes as an error stands in the operator's page."""
    page = OPERATIONS.read_text("utf-8")
    urgent = {
        event
        for event, levels in said_events().items()
        if levels & {"error", "exception", "critical"} and not event.startswith("test.")
    }

    assert len(urgent) > 20
    assert sorted(event for event in urgent if f"`{event}`" not in page) == []


def test_no_event_is_explained_that_is_never_said() -> None:
    """An operator does not look for what cannot come."""
    texts = [module.read_text("utf-8") for module in ROOT.glob("vpnd/**/*.py")]
    rows = [line for line in OPERATIONS.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {event for row in rows for event in re.findall(r"`([a-z_]+\.[a-z_]+)`", row.split("|")[1])}
    outcomes = {
        f"payment.{outcome}"
        for outcome in ("held", "settled", "underpaid", "second_charge", "already_settled")
    }

    assert len(named) > 60
    assert (
        sorted(event for event in named - outcomes if not any(f'"{event}"' in text for text in texts)) == []
    )


def test_the_metrics_that_alarms_stand_on_exist() -> None:
    """Each metric of the page is one that the program has."""
    sources = (ROOT / "vpnd" / "runtime" / "metrics.py", *sorted(ROOT.glob("vpnd/**/*gauges.py")))
    source = "".join(path.read_text("utf-8") for path in sources)
    named = set(re.findall(r"`(vpnd_\w+)", OPERATIONS.read_text("utf-8")))

    assert len(named) > 4
    assert sorted(name for name in named if f'"{name}"' not in source) == []


def test_every_alarm_is_explained() -> None:
    """Each alarm of the daemon stands in the operator's page, and none that it does not have."""
    page = OPERATIONS.read_text("utf-8").partition("\n## Alarms\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {alarm.name for alarm in ALARMS}
