"""Series that exist with 0 from the start: what the program may write into a label, and what the catalogue knows of it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from itertools import product
from typing import Any, get_args

import prometheus_client.metrics
import pytest

import vpnd
from vpnd.monitors.service import ALARMS
from vpnd.payments.desk import RELAYS
from vpnd.runtime import metric_labels as known
from vpnd.runtime import metrics
from vpnd.runtime.limits import LimitClass
from vpnd.shop import charges, notices, refunds
from vpnd.telegram.lanes import Lane
from vpnd.web.measured import route_of

#: Labels whose values only the configuration or the program at work knows: why their series cannot be there before.
OPEN = {
    "worker": "declared when a worker is built",
    "node": "declared when a node's follower is built",
    "child": "declared when the supervisor gets it",
    "alarm": "set when the alarms are built",
    "name": "a query or task appears when it is first run",
    "operation": "an operation of a boundary appears when it is first called",
    "method": "Telegram's methods that are sent most are there",
    "version": "said once",
}

#: (metric, label) → the values that the program may write.
VALUES: dict[str, tuple[tuple[str, ...], ...]] = {
    "vpnd_limit_wait_seconds_count": (known.LIMIT_RESOURCES, known.LIMIT_CLASSES),
    "vpnd_limit_wait_timeouts_total": (known.LIMIT_RESOURCES, known.LIMIT_CLASSES),
    "vpnd_db_errors_total": (known.DB_ERROR_KINDS,),
    "vpnd_db_connections": (("used", "idle"),),
    "vpnd_http_client_slow_total": (known.BOUNDARIES,),
    "vpnd_http_client_request_duration_seconds_count": (("telegram",), ("getUpdates",), known.HTTP_OUTCOMES),
    "vpnd_http_server_request_duration_seconds_count": (known.ROUTES, known.STATUS_CLASSES),
    "vpnd_telegram_updates_total": (known.UPDATE_KINDS, known.UPDATE_OUTCOMES),
    "vpnd_telegram_update_duration_seconds_count": (known.UPDATE_KINDS,),
    "vpnd_telegram_sends_total": (known.SEND_METHODS, known.LANES, known.SEND_OUTCOMES),
    "vpnd_telegram_send_duration_seconds_count": (known.LANES,),
    "vpnd_telegram_send_queue_length": (known.LANES,),
    **{
        f"vpnd_outbox_{name}": (known.OUTBOX_KINDS,)
        for name in (
            "claimed_total", "completed_total", "failed_total", "dropped_total", "dead_total", "repeats_total",
            "oldest_age_seconds",
        )
    },
    "vpnd_webhook_requests_total": (known.WEBHOOK_SOURCES, known.WEBHOOK_RESULTS),
    "vpnd_settlements_total": (known.PROVIDERS, known.SETTLEMENT_OUTCOMES),
    "vpnd_refunds_total": (known.PROVIDERS, known.REFUND_STATUSES),
    "vpnd_renewals_total": (known.RENEWAL_OUTCOMES,),
    "vpnd_payment_differences_total": (known.PROVIDERS, known.DIFFERENCE_KINDS, ("yes", "no")),
    "vpnd_payment_reconcile_last_success_timestamp_seconds": (known.PROVIDERS,),
    "vpnd_ledger_imbalance_minor": (("RUB", "XTR"),),
    "vpnd_agent_changes_total": (known.CHANGE_RESULTS,),
    "vpnd_agent_cut_total": (known.CUT_HOWS,),
}  # fmt: skip


def everything() -> list[Any]:
    """Every metric of the program, whichever room made it."""
    for module in pkgutil.walk_packages(vpnd.__path__, "vpnd."):
        if ".sandbox" not in module.name and not module.name.endswith(("__main__", "_pb2")):
            importlib.import_module(module.name)
    return sorted(set(metrics.REGISTRY._collector_to_names), key=lambda one: one._name)


def series(name: str) -> dict[tuple[str, ...], float]:
    """The series of one sample name, by their labels' values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize("name", VALUES)
def test_every_known_series_is_there(name: str) -> None:
    """Each combination of the label values that the program may write exists, so that rate() sees the first event."""
    assert set(product(*VALUES[name])) <= set(series(name))


def test_no_metric_with_labels_was_forgotten() -> None:
    """A metric with labels has series from the start, or its label is one of those that cannot be known."""
    empty = []
    for metric in everything():
        assert isinstance(metric, prometheus_client.metrics.MetricWrapperBase)
        if metric._labelnames and not metric._metrics and not set(metric._labelnames) & set(OPEN):
            empty.append(metric._name)

    # What the monitors see of the outbox is set at their first look, kind by kind.
    assert set(empty) <= {"vpnd_outbox_ready"}


def test_the_known_values_are_those_that_the_rooms_write() -> None:
    """The catalogue stands below the rooms that write the labels; both say the same."""
    kinds = (
        notices.MESSAGE,
        notices.ADMIN_ALERT,
        *(kind for of_relay in RELAYS.values() for kind in of_relay),
    )
    assert set(known.OUTBOX_KINDS) == set(kinds)
    assert set(known.SETTLEMENT_OUTCOMES) == {outcome.value for outcome in charges.Outcome}
    assert set(known.LANES) == {lane.label for lane in Lane}
    assert set(known.LIMIT_CLASSES) == {each.value for each in LimitClass}
    assert set(known.REFUND_STATUSES) <= set(get_args(refunds.RefundStatus))
    assert len({alarm.name for alarm in ALARMS}) == len(ALARMS)


def test_labels_are_few_and_none_is_a_person() -> None:
    """A label names a kind of thing: no id of a person, a chat, a purchase or a link is among the names."""
    allowed = {
        *OPEN, "boundary", "outcome", "route", "status", "resource", "class", "state", "kind", "lane", "source", "result",
        "provider", "mended", "currency", "how", "reason", "python",
    }  # fmt: skip
    used = {label for metric in everything() for label in metric._labelnames}

    assert sorted(used - allowed) == []
    assert [label for label in used if re.search(r"id$|user|chat|customer|token|uuid|path|url", label)] == []


def test_a_route_is_never_a_path() -> None:
    """A subscription's token is no part of a label."""
    paths = [
        "/webhooks/telegram",
        "/sub/AbC123",
        "/sub/AbC123/open/happ",
        "/readyz",
        "/healthz",
        "/wp-login.php",
        "/sub/",
    ]

    assert {route_of(path) for path in paths} == set(known.ROUTES)
