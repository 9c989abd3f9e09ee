"""Every metric of the daemon and of the node agent, in one place.

One module, so that a dashboard author, the audit command and a test can see all names and label sets at once.
The registry is our own: nothing a library registers by itself gets in, and a test can import this module as
often as it likes.

Names follow the Prometheus rules (prefix ``vpnd_``, base units, ``_total`` for counters) and durations use
the bucket bounds of the OpenTelemetry database and HTTP conventions. Labels have a small, known set of
values. **A label never carries a person**: no user id, chat id, credential or token. Series whose label
values are known beforehand exist with 0 from the start, so that ``rate()`` sees the first event; names that
only the configuration knows (workers, nodes, children) are initialised by :func:`declare_worker`,
:func:`declare_node` and :func:`declare_child`.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from vpnd import __version__
from vpnd.runtime.metric_labels import (
    BOUNDARIES,
    CHANGE_RESULTS,
    CUT_HOWS,
    DB_ERROR_KINDS,
    DIFFERENCE_KINDS,
    HTTP_OUTCOMES,
    LANES,
    LIMIT_CLASSES,
    LIMIT_RESOURCES,
    OUTBOX_KINDS,
    PROVIDERS,
    REFUND_STATUSES,
    RENEWAL_OUTCOMES,
    ROUTES,
    SEND_METHODS,
    SEND_OUTCOMES,
    SETTLEMENT_OUTCOMES,
    STATUS_CLASSES,
    UPDATE_KINDS,
    UPDATE_OUTCOMES,
    WEBHOOK_RESULTS,
    WEBHOOK_SOURCES,
    WORKER_OUTCOMES,
)

__all__ = [
    "CONTENT_TYPE",
    "CUT_HOWS",
    "DB_ERROR_KINDS",
    "LANES",
    "REGISTRY",
    "SETTLEMENT_OUTCOMES",
    "UPDATE_KINDS",
    "WORKER_OUTCOMES",
    "declare_child",
    "declare_node",
    "declare_worker",
    "render",
]

REGISTRY: Final = CollectorRegistry(auto_describe=True)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# The advice of the OpenTelemetry conventions for db.client.operation.duration and
# http.client.request.duration, seconds.
DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# A limiter's wait is mostly nothing at all, so it is resolved finer at the bottom.
WAIT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
# A worker's iteration or a person's wait for access: from a blink to minutes.
LONG_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


def _start_at_zero(metric: Counter | Gauge | Histogram, *values: Iterable[str]) -> None:
    """Create the series for every combination of the given label values."""
    for combination in product(*values):
        metric.labels(*combination)


# --- the process ---------------------------------------------------------------------------------------------------------

build_info: Final = Gauge(
    "vpnd_build_info", "What runs here; always 1.", ["version", "python"], registry=REGISTRY
)
build_info.labels(__version__, platform.python_version()).set(1)

start_timestamp_seconds: Final = Gauge(
    "vpnd_start_timestamp_seconds", "When this process stood, Unix time.", registry=REGISTRY
)
journal_dropped_total: Final = Counter(
    "vpnd_journal_dropped_total",
    "Log entries that could not be handed over without waiting.",
    registry=REGISTRY,
)
loop_lag_seconds: Final = Histogram(
    "vpnd_loop_lag_seconds",
    "Duration of one step of the event loop.",
    buckets=LAG_BUCKETS,
    registry=REGISTRY,
)
loop_lag_worst_seconds: Final = Gauge(
    "vpnd_loop_lag_worst_seconds", "The longest step of the last minute.", registry=REGISTRY
)
loop_blocks_total: Final = Counter(
    "vpnd_loop_blocks_total", "Steps of the event loop over the reported threshold.", registry=REGISTRY
)
process_cpu_ratio: Final = Gauge(
    "vpnd_process_cpu_ratio", "Share of one core used lately, 1 is a whole core.", registry=REGISTRY
)
process_resident_memory_bytes: Final = Gauge(
    "vpnd_process_resident_memory_bytes", "Resident memory of this process.", registry=REGISTRY
)

# --- limits and the database ---------------------------------------------------------------------------------------------

limit_wait_seconds: Final = Histogram(
    "vpnd_limit_wait_seconds",
    "Wait for a place under a capacity limiter.",
    ["resource", "class"],
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
limit_wait_timeouts_total: Final = Counter(
    "vpnd_limit_wait_timeouts_total",
    "Waits for a place that were given up.",
    ["resource", "class"],
    registry=REGISTRY,
)
_start_at_zero(limit_wait_seconds, LIMIT_RESOURCES, LIMIT_CLASSES)
_start_at_zero(limit_wait_timeouts_total, LIMIT_RESOURCES, LIMIT_CLASSES)

db_operation_duration_seconds: Final = Histogram(
    "vpnd_db_operation_duration_seconds",
    "One named query or transaction scope, from its first statement to its end.",
    ["name"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
db_acquire_wait_seconds: Final = Histogram(
    "vpnd_db_acquire_wait_seconds",
    "Wait for a connection: the limiter and the pool together.",
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
db_hold_seconds: Final = Histogram(
    "vpnd_db_hold_seconds",
    "How long a connection was held.",
    ["name"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
db_connections: Final = Gauge("vpnd_db_connections", "Connections of the pool.", ["state"], registry=REGISTRY)
db_connections_max: Final = Gauge(
    "vpnd_db_connections_max", "Most connections the pool may open.", registry=REGISTRY
)
db_errors_total: Final = Counter(
    "vpnd_db_errors_total", "Failed database operations.", ["kind"], registry=REGISTRY
)
db_retries_total: Final = Counter(
    "vpnd_db_retries_total", "Transactions run again after a serialization failure.", registry=REGISTRY
)
_start_at_zero(db_connections, ("used", "idle"))
_start_at_zero(db_errors_total, DB_ERROR_KINDS)

# --- the HTTP client -----------------------------------------------------------------------------------------------------

http_client_request_duration_seconds: Final = Histogram(
    "vpnd_http_client_request_duration_seconds",
    "One outgoing HTTP request without the wait for the limiter.",
    ["boundary", "operation", "outcome"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
http_client_slow_total: Final = Counter(
    "vpnd_http_client_slow_total", "Outgoing HTTP requests over 2 s.", ["boundary"], registry=REGISTRY
)
_start_at_zero(http_client_slow_total, BOUNDARIES)
# Who answers at all is asked of the long poll, so it must be there before its first answer.
_start_at_zero(http_client_request_duration_seconds, ("telegram",), ("getUpdates",), HTTP_OUTCOMES)

http_server_request_duration_seconds: Final = Histogram(
    "vpnd_http_server_request_duration_seconds",
    "One incoming HTTP request, to the end of its answer.",
    ["route", "status"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
_start_at_zero(http_server_request_duration_seconds, ROUTES, STATUS_CLASSES)
http_server_connections_refused_total: Final = Counter(
    "vpnd_http_server_connections_refused_total",
    "Connections that were closed at once, because there were too many.",
    registry=REGISTRY,
)

# --- workers and supervision ---------------------------------------------------------------------------------------------

worker_runs_total: Final = Counter(
    "vpnd_worker_runs_total", "Iterations of a worker.", ["worker", "outcome"], registry=REGISTRY
)
worker_duration_seconds: Final = Histogram(
    "vpnd_worker_duration_seconds",
    "One iteration of a worker.",
    ["worker"],
    buckets=LONG_BUCKETS,
    registry=REGISTRY,
)
worker_items_total: Final = Counter(
    "vpnd_worker_items_total", "Rows or items a worker has done.", ["worker"], registry=REGISTRY
)
worker_item_failures_total: Final = Counter(
    "vpnd_worker_item_failures_total", "Rows or items that failed alone.", ["worker"], registry=REGISTRY
)
worker_last_success_timestamp_seconds: Final = Gauge(
    "vpnd_worker_last_success_timestamp_seconds",
    "End of the last iteration that succeeded, Unix time; 0 before the first.",
    ["worker"],
    registry=REGISTRY,
)
worker_interval_seconds: Final = Gauge(
    "vpnd_worker_interval_seconds", "How often a worker runs.", ["worker"], registry=REGISTRY
)
worker_in_progress: Final = Gauge(
    "vpnd_worker_in_progress", "1 while an iteration runs.", ["worker"], registry=REGISTRY
)
supervisor_restarts_total: Final = Counter(
    "vpnd_supervisor_restarts_total", "Deaths of a supervised child that were answered by a restart.", ["child"],
    registry=REGISTRY,
)  # fmt: skip

# --- Telegram ------------------------------------------------------------------------------------------------------------

telegram_updates_total: Final = Counter(
    "vpnd_telegram_updates_total", "Updates by their end.", ["kind", "outcome"], registry=REGISTRY
)
telegram_update_duration_seconds: Final = Histogram(
    "vpnd_telegram_update_duration_seconds",
    "From the storing of an update to the end of its handler.",
    ["kind"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
telegram_inbox_pending: Final = Gauge(
    "vpnd_telegram_inbox_pending", "Stored updates that are not done.", registry=REGISTRY
)
telegram_inbox_oldest_age_seconds: Final = Gauge(
    "vpnd_telegram_inbox_oldest_age_seconds", "Age of the oldest update that is not done.", registry=REGISTRY
)
telegram_sends_total: Final = Counter(
    "vpnd_telegram_sends_total", "Calls of Bot API methods.", ["method", "lane", "outcome"], registry=REGISTRY
)
telegram_send_duration_seconds: Final = Histogram(
    "vpnd_telegram_send_duration_seconds",
    "One call of the Bot API, the wait for its token included.",
    ["lane"],
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
telegram_send_queue_length: Final = Gauge(
    "vpnd_telegram_send_queue_length", "Calls that wait for a token.", ["lane"], registry=REGISTRY
)
telegram_retry_after_seconds: Final = Gauge(
    "vpnd_telegram_retry_after_seconds",
    "What the last 429 asked us to wait; 0 when none is in force.",
    registry=REGISTRY,
)
_start_at_zero(telegram_updates_total, UPDATE_KINDS, UPDATE_OUTCOMES)
_start_at_zero(telegram_update_duration_seconds, UPDATE_KINDS)
_start_at_zero(telegram_sends_total, SEND_METHODS, LANES, SEND_OUTCOMES)
_start_at_zero(telegram_send_duration_seconds, LANES)
_start_at_zero(telegram_send_queue_length, LANES)

# --- the outbox ----------------------------------------------------------------------------------------------------------

outbox_claimed_total: Final = Counter(
    "vpnd_outbox_claimed_total", "Outbox items taken by a relay.", ["kind"], registry=REGISTRY
)
outbox_completed_total: Final = Counter(
    "vpnd_outbox_completed_total", "Outbox items delivered.", ["kind"], registry=REGISTRY
)
outbox_failed_total: Final = Counter(
    "vpnd_outbox_failed_total", "Deliveries that failed and will be tried again.", ["kind"], registry=REGISTRY
)
outbox_dropped_total: Final = Counter(
    "vpnd_outbox_dropped_total",
    "Outbox items that were no longer true when their turn came.",
    ["kind"],
    registry=REGISTRY,
)
outbox_dead_total: Final = Counter(
    "vpnd_outbox_dead_total", "Outbox items given up to the dead letters.", ["kind"], registry=REGISTRY
)
outbox_repeats_total: Final = Counter(
    "vpnd_outbox_repeats_total",
    "Items claimed again after a delivery whose end was not recorded.",
    ["kind"],
    registry=REGISTRY,
)
outbox_oldest_age_seconds: Final = Gauge(
    "vpnd_outbox_oldest_age_seconds", "Age of the oldest item that is due.", ["kind"], registry=REGISTRY
)
for _metric in (
    outbox_claimed_total, outbox_completed_total, outbox_failed_total, outbox_dropped_total, outbox_dead_total,
    outbox_repeats_total, outbox_oldest_age_seconds,
):  # fmt: skip
    _start_at_zero(_metric, OUTBOX_KINDS)

# --- money and webhooks --------------------------------------------------------------------------------------------------

webhook_requests_total: Final = Counter(
    "vpnd_webhook_requests_total", "Webhook calls by their answer.", ["source", "result"], registry=REGISTRY
)
settlements_total: Final = Counter(
    "vpnd_settlements_total", "Charges by what became of them.", ["provider", "outcome"], registry=REGISTRY
)
refunds_total: Final = Counter(
    "vpnd_refunds_total", "Refunds by how they ended.", ["provider", "status"], registry=REGISTRY
)
renewals_total: Final = Counter(
    "vpnd_renewals_total",
    "Renewals from customers' balances by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
balance_drift_accounts: Final = Gauge(
    "vpnd_balance_drift_accounts",
    "Customers' accounts whose cached balance was not what the ledger says when they were last verified; an alarm above 0.",
    registry=REGISTRY,
)
payment_differences_total: Final = Counter(
    "vpnd_payment_differences_total",
    "Differences between a provider's lists and ours, by kind and whether they were mended.",
    ["provider", "kind", "mended"],
    registry=REGISTRY,
)
ledger_imbalance_minor: Final = Gauge(
    "vpnd_ledger_imbalance_minor", "Sum over the whole ledger in minor units; anything but 0 is an alarm.", ["currency"],
    registry=REGISTRY,
)  # fmt: skip
payment_reconcile_last_success_timestamp_seconds: Final = Gauge(
    "vpnd_payment_reconcile_last_success_timestamp_seconds",
    "When the charges of a provider were last compared with ours, Unix time.",
    ["provider"],
    registry=REGISTRY,
)
_start_at_zero(webhook_requests_total, WEBHOOK_SOURCES, WEBHOOK_RESULTS)
_start_at_zero(settlements_total, PROVIDERS, SETTLEMENT_OUTCOMES)
_start_at_zero(ledger_imbalance_minor, ("RUB", "XTR"))
_start_at_zero(refunds_total, PROVIDERS, REFUND_STATUSES)
_start_at_zero(renewals_total, RENEWAL_OUTCOMES)
_start_at_zero(payment_differences_total, PROVIDERS, DIFFERENCE_KINDS, ("yes", "no"))
_start_at_zero(payment_reconcile_last_success_timestamp_seconds, PROVIDERS)

# --- nodes, seen from the shop -------------------------------------------------------------------------------------------

node_last_contact_timestamp_seconds: Final = Gauge(
    "vpnd_node_last_contact_timestamp_seconds",
    "When a node last answered, Unix time; 0 when it never did.",
    ["node"],
    registry=REGISTRY,
)
node_lag_rows: Final = Gauge(
    "vpnd_node_lag_rows", "Access changes a node has not acknowledged.", ["node"], registry=REGISTRY
)
node_acked_seq: Final = Gauge(
    "vpnd_node_acked_seq",
    "Number of the last access change a node acknowledged.",
    ["node"],
    registry=REGISTRY,
)
node_expired_but_on: Final = Gauge(
    "vpnd_node_expired_but_on",
    "Credentials a node serves although the shop says off.",
    ["node"],
    registry=REGISTRY,
)
node_active_but_off: Final = Gauge(
    "vpnd_node_active_but_off",
    "Credentials a node lacks although the shop says on.",
    ["node"],
    registry=REGISTRY,
)
node_activation_seconds: Final = Histogram(
    "vpnd_node_activation_seconds",
    "From the commit of an access change to a node's acknowledgement.",
    buckets=LONG_BUCKETS,
    registry=REGISTRY,
)

# --- the agent on a node -------------------------------------------------------------------------------------------------

agent_users: Final = Gauge("vpnd_agent_users", "Credentials the core of this node serves.", registry=REGISTRY)
agent_core_up: Final = Gauge("vpnd_agent_core_up", "1 while the core runs.", registry=REGISTRY)
agent_core_restarts_total: Final = Counter(
    "vpnd_agent_core_restarts_total", "Restarts of the core since the agent stood.", registry=REGISTRY
)
agent_changes_total: Final = Counter(
    "vpnd_agent_changes_total", "Access changes received.", ["result"], registry=REGISTRY
)
agent_cut_total: Final = Counter(
    "vpnd_agent_cut_total",
    "Credentials taken away, by how open sessions were ended.",
    ["how"],
    registry=REGISTRY,
)
_start_at_zero(agent_changes_total, CHANGE_RESULTS)
_start_at_zero(agent_cut_total, CUT_HOWS)


def declare_worker(name: str) -> None:
    """Create all series of one worker with 0; call it when the worker is built."""
    _start_at_zero(worker_runs_total, (name,), WORKER_OUTCOMES)
    for metric in (
        worker_duration_seconds, worker_items_total, worker_item_failures_total, worker_last_success_timestamp_seconds,
        worker_interval_seconds, worker_in_progress,
    ):  # fmt: skip
        metric.labels(name)


def declare_node(name: str) -> None:
    """Create all series of one configured node with 0; call it when its client is built."""
    for metric in (
        node_last_contact_timestamp_seconds, node_lag_rows, node_acked_seq, node_expired_but_on, node_active_but_off,
    ):  # fmt: skip
        metric.labels(name)


def declare_child(name: str) -> None:
    """Create the restart counter of one supervised child with 0."""
    supervisor_restarts_total.labels(name)


def render() -> bytes:
    """Return the whole registry in Prometheus' text format; serve it with :data:`CONTENT_TYPE`."""
    return generate_latest(REGISTRY)
