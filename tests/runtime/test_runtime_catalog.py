"""The message catalog: every event that somebody may have to act on is explained, in a form that journald takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_project import OPERATIONS, ROOT, said_events

from vpnd.runtime.catalog import PASSES, Explained, entries, render
from vpnd.runtime.journal_lines import message_id

CATALOG = ROOT / "contrib" / "systemd" / "vpnd.catalog"

PAGE = """\
## The journal

Words.

| Event | Means | What to do |
|---|---|---|
| `node.ahead`, `node.gone` | it was `restored`; **now** | see [backup](#backup) and [nodes.md](nodes.md#x) |

| Other | Means |
|---|---|
| `not.event` | nothing |

| Event | Means |
|---|---|
| `node.back` | a \\| b |

## Backup
"""


def test_a_row_explains_each_of_its_events() -> None:
    """Without Markdown, links with their address; what comes and goes has the remedy of all that does."""
    base = "https://github.com/vpnd/vpnd/blob/main/docs"
    remedy = f"see backup ({base}/operations.md#backup) and {base}/nodes.md#x"

    assert entries(PAGE) == [
        Explained("node.ahead", "it was restored; now", remedy),
        Explained("node.gone", "it was restored; now", remedy),
        Explained("node.back", "a | b", PASSES),
    ]


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("nothing", "no section"),
        (PAGE.replace("node.gone", "node.ahead"), "twice"),
        (PAGE.replace("a \\| b", ""), "not explained"),
    ],
)
def test_a_page_with_a_fault_makes_no_catalog(page: str, fault: str) -> None:
    """A catalog with a hole would be found at three in the morning."""
    with pytest.raises(ValueError, match=fault):
        entries(page)


def test_every_event_that_an_operator_may_have_to_act_on_is_explained() -> None:
    """Each that the program says as a warning or worse has an entry, also those whose name is chosen at run time."""
    explained = {one.event for one in entries(OPERATIONS.read_text("utf-8"))}
    said = {event for event, levels in said_events().items() if levels - {"debug", "info"}}
    chosen = {"loop.lag", "loop.blocked", "webhook.forged", "webhook.malformed", "telegram.webhook_not_set"}

    assert len(said) > 80
    assert sorted((said | chosen) - explained) == []


def test_the_file_in_contrib_is_the_generated_one() -> None:
    """Made anew by `python -m vpnd.runtime.catalog < docs/operations.md > contrib/systemd/vpnd.catalog`."""
    assert CATALOG.read_text("utf-8") == render(entries(OPERATIONS.read_text("utf-8")))


def test_the_form_of_an_entry() -> None:
    """Its id is that of the event, a subject stays one short line, and no text can begin another entry or a field."""
    text = CATALOG.read_text("utf-8")
    ids = re.findall(r"^-- (.*)$", text, re.MULTILINE)

    assert ids == [message_id(one.event) for one in entries(OPERATIONS.read_text("utf-8"))]
    assert len(ids) == len(set(ids))
    subjects = re.findall(r"^Subject: (.*)$", text, re.MULTILINE)
    assert len(subjects) == len(ids)
    assert max(map(len, subjects)) <= 100
    assert not re.search(r"@[A-Z_]+@", text)


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="journalctl is missing")
def test_journald_takes_it(tmp_path: Path) -> None:
    """The real tool makes its database of the file without a word, and lists each entry with its subject."""
    place = tmp_path / "usr/lib/systemd/catalog"
    place.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, place)

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["journalctl", f"--root={tmp_path}", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    made = ask("--update-catalog")
    assert (made.returncode, made.stderr) == (0, "")
    listed = ask("--list-catalog", "--no-pager")
    for one in entries(OPERATIONS.read_text("utf-8")):
        assert re.search(
            rf"^{message_id(one.event)} vpnd: {re.escape(one.event)}: ", listed.stdout, re.MULTILINE
        )
