"""The dashboards: what Grafana 10 to 12 need, nothing that is not there, and the files are those that are made."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from promql_kit import faults, samples

FOLDER = Path(__file__).parent.parent / "contrib" / "grafana"
NAMES = ("overview", "money")
#: Units of Grafana that are used; a word that it does not know is shown as a suffix.
UNITS = {"short", "s", "reqps", "ops", "bytes", "percentunit"}
KINDS = {"row", "stat", "timeseries"}


def build() -> Any:
    """The generator."""
    spec = importlib.util.spec_from_file_location("grafana_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["grafana_build"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard, as it is committed."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, the headings left out."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def queries(name: str) -> list[str]:
    """Every expression, with Grafana's own variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for panel in panels(name)
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_the_one_that_is_made(name: str) -> None:
    """Whoever changes the generator runs it: python contrib/grafana/build.py."""
    assert (FOLDER / f"{name}.json").read_text("utf-8") == build().written(name)


def test_all_dashboards_are_looked_at() -> None:
    """None is left out of these tests."""
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_what_grafana_reads(name: str) -> None:
    """Keys, kinds, ids, variables and sources: a file that provisioning takes as it is."""
    found = dashboard(name)
    assert re.fullmatch(r"[a-z0-9-]{1,40}", found["uid"])
    assert found["schemaVersion"] == 39  # Grafana 10; later ones migrate it
    assert found["title"]
    assert "id" not in found  # a number of one Grafana's database
    variables = {one["name"]: one for one in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["instance"]["includeAll"]

    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    for panel in found["panels"]:
        assert panel["type"] in KINDS, panel["title"]
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["legendFormat"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_no_two_panels_overlap(name: str) -> None:
    """Each cell of the grid belongs to one panel, and none reaches over the edge."""
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard(name)["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_asks_for_what_there_is(name: str) -> None:
    """Each metric is one of the program's, with the labels that it has, and each legend names a label of the query."""
    known = samples()
    assert {query: wrong for query in queries(name) if (wrong := faults(query, known))} == {}
    for panel in panels(name):
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                grouped = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
                assert not grouped or label in grouped, (panel["title"], label)


def test_nothing_important_is_without_a_panel() -> None:
    """Every metric that an alert stands on, of the process, the bot, queues, money and nodes, is on a dashboard."""
    rules = (FOLDER.parent / "prometheus" / "vpnd.rules.yml").read_text("utf-8")
    base = re.compile(r"\b(vpnd_\w+?)(?:_bucket|_count|_sum)?\b(?=[{\[)\s])")
    shown = {name for each in NAMES for query in queries(each) for name in base.findall(query)}
    asked = {
        name
        for line in rules.splitlines()
        if "expr" in line or "  vpnd_" in line
        for name in base.findall(line)
    }
    without = {
        "vpnd_journal_dropped_total", "vpnd_tasks_running", "vpnd_http_server_connections_refused_total", "vpnd_agent_core_up",
        "vpnd_agent_core_restarts_total", "vpnd_worker_interval_seconds", "vpnd_worker_item_failures_total",
        "vpnd_node_compared_timestamp_seconds", "vpnd_process_open_descriptors_max",
    }  # fmt: skip

    assert len(asked) > 25
    assert sorted(asked - shown - without) == []
