"""The catalogue of metrics."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from vpnd.runtime import metrics

_PERSONAL = {
    "user",
    "user_id",
    "chat",
    "chat_id",
    "customer",
    "customer_id",
    "telegram_id",
    "credential",
    "uuid",
    "token",
}


def test_scrape_parses_and_every_name_is_ours() -> None:
    """A scrape is valid text, and each name carries the project's prefix."""
    families = list(text_string_to_metric_families(metrics.render().decode()))

    assert len(families) > 40
    assert [family.name for family in families if not family.name.startswith("vpnd_")] == []


def test_counters_end_in_total_and_durations_in_seconds() -> None:
    """Names follow the Prometheus rules: `_total` for counters, base units for histograms."""
    for family in metrics.REGISTRY.collect():
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_kb")), family.name
        assert family.documentation.endswith("."), family.name


def test_no_label_carries_a_person() -> None:
    """Labels name kinds, never people or secrets."""
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            assert not _PERSONAL & set(sample.labels), sample


def test_known_series_exist_from_the_start() -> None:
    """A series whose labels are known beforehand is there with 0, so that the first event is seen by rate()."""
    registry = metrics.REGISTRY

    for lane in metrics.LANES:
        assert registry.get_sample_value("vpnd_telegram_send_queue_length", {"lane": lane}) is not None
    for outcome in metrics.SETTLEMENT_OUTCOMES:
        labels = {"provider": "cryptopay", "outcome": outcome}
        assert registry.get_sample_value("vpnd_settlements_total", labels) is not None
    for kind in metrics.DB_ERROR_KINDS:
        assert registry.get_sample_value("vpnd_db_errors_total", {"kind": kind}) is not None
    for how in metrics.CUT_HOWS:
        assert registry.get_sample_value("vpnd_agent_cut_total", {"how": how}) is not None


def test_declared_names_start_at_zero() -> None:
    """Workers, nodes and children that the configuration names exist in a scrape before they do anything."""
    metrics.declare_worker("test-declared")
    metrics.declare_node("test-declared")
    metrics.declare_child("test-declared")

    sample = metrics.REGISTRY.get_sample_value
    for outcome in metrics.WORKER_OUTCOMES:
        assert sample("vpnd_worker_runs_total", {"worker": "test-declared", "outcome": outcome}) == 0
    assert sample("vpnd_worker_last_success_timestamp_seconds", {"worker": "test-declared"}) == 0
    assert sample("vpnd_node_lag_rows", {"node": "test-declared"}) == 0
    assert sample("vpnd_supervisor_restarts_total", {"child": "test-declared"}) == 0


def test_build_info_tells_the_version() -> None:
    """The build info names what runs."""
    assert re.search(rb'vpnd_build_info\{python="3[^"]+",version="[0-9][^"]*"\} 1\.0', metrics.render())
