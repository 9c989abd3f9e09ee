"""docs/incidents.md names real tests: a test that is renamed or removed takes its promise along, in sight."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "incidents.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_named_test_exists() -> None:
    """Each file is there and has a test of that name."""
    named = NAMED.findall(PAGE.read_text("utf-8"))
    assert len(named) > 100

    missing = {
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file()
        or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE) is None
    }

    assert missing == set()


def test_every_incident_names_a_test() -> None:
    """A row of a table without a test is a claim that nothing guards."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\| [AMW]?\d+b? \|", line)]
    assert len(rows) > 80
    assert [row for row in rows if not NAMED.search(row.rsplit("|", 2)[1])] == []
