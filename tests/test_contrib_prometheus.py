"""The alert rules: they ask for what there is, each has its runbook, and promtool agrees where it is installed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_kit import PROMTOOL, faults, samples, values_asked

from vpnd.cli import _parser
from vpnd.database.database import Database
from vpnd.runtime import metrics

ROOT = Path(__file__).parent.parent
RULES = ROOT / "contrib" / "prometheus" / "vpnd.rules.yml"
TESTS = ROOT / "contrib" / "prometheus" / "vpnd.tests.yml"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")

_SECTION = re.compile(r"^### Alert: (\w+)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


def alerts() -> list[dict[str, Any]]:
    """Every rule of the file."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def runbook() -> dict[str, str]:
    """Each alert's section of the operator's page, less the shell's comments: what stands below its head."""
    return {found[1]: found[2] for found in _SECTION.finditer(OPERATIONS)}


def commands() -> list[str]:
    """Every line of the runbook's shell blocks."""
    blocks = [re.search(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for text in runbook().values()]
    return [line for block in blocks if block is not None for line in block[1].splitlines()]


def test_every_alert_is_whole() -> None:
    """A name of ours, used once; a severity that Alertmanager can route by; how long; words; where its section is."""
    rules = alerts()
    names = [rule["alert"] for rule in rules]

    assert len(names) == len(set(names)) > 40
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"Vpnd[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#alert-{rule['alert'].lower()}"


def test_every_alert_asks_for_what_there_is() -> None:
    """Each metric is one of the program's, with the labels that it has: a rule on a name that is gone never fires."""
    known = samples()

    assert {rule["alert"]: wrong for rule in alerts() if (wrong := faults(rule["expr"], known))} == {}


def test_every_value_that_an_alert_names_exists_from_the_start() -> None:
    """A matcher on a word that is never written would be silent for ever."""
    metrics.declare_worker("expiry")
    there = {
        (sample.name, label, value)
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        for label, value in sample.labels.items()
    }
    asked = {one for rule in alerts() for one in values_asked(rule["expr"])}
    unknown = {one for one in asked - there if one[1] not in ("worker", "boundary")}

    assert len(asked) > 20
    assert unknown == set()


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    """Who is woken finds what it means, how to look and what to do."""
    sections = runbook()

    assert list(sections) == [rule["alert"] for rule in alerts()]
    for name, text in sections.items():
        for part in ("**Means**", "**Check**", "**Remedy**", "```sh"):
            assert part in text, (name, part)
        severity = next(rule["labels"]["severity"] for rule in alerts() if rule["alert"] == name)
        assert f"**Means** ({severity}" in text, name


def test_the_commands_of_the_runbook_exist() -> None:
    """Each `vpnd …` line is one that the program takes."""
    ours = {line for line in commands() if line.startswith("vpnd ")}

    assert len(ours) >= 5
    for line in ours:
        _parser().parse_args(shlex.split(line)[1:])


async def test_the_queries_of_the_runbook_are_right(db: Database) -> None:
    """PostgreSQL understands each statement, in the schema as it is."""
    queries = {shlex.split(line)[2] for line in commands() if line.startswith("psql -c ")}

    assert len(queries) >= 8
    for query in queries:
        await db.fetch("test", f"explain {query}")


def test_the_events_of_the_runbook_are_said() -> None:
    """Each event that a line looks for is one that the program writes."""
    texts = [module.read_text("utf-8") for module in ROOT.glob("vpnd/**/*.py")]
    events = set(re.findall(r"VPND_EVENT=([a-z_.]+)", "\n".join(commands()))) - {"payment.held"}  # by outcome

    assert len(events) > 10
    assert sorted(event for event in events if not any(f'"{event}"' in text for text in texts)) == []


def test_every_alert_is_tested() -> None:
    """The file for promtool has a case for each, and one in which none may fire."""
    document = yaml.safe_load(TESTS.read_text("utf-8"))
    names = [case["name"] for case in document["tests"]]

    assert names == ["a healthy shop raises nothing", *(rule["alert"] for rule in alerts())]


@pytest.mark.prometheus
@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's prometheus")
@pytest.mark.parametrize("words", [("check", "rules", RULES.name), ("test", "rules", TESTS.name)])
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    """The rules are PromQL, and each fires when it should and not before."""
    done = subprocess.run(["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
