"""Makes the two dashboards: python contrib/grafana/build.py writes overview.json and money.json beside itself.

A dashboard in Grafana's own JSON is a thousand lines in which a wrong name hides well, so it is said here, a line a panel, and
tests/test_contrib_grafana.py holds the committed files against it. Only panels that Grafana 10 to 12 have in common are used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Grafana's grid is 24 columns wide.
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: What a process tells of itself, of the daemons that are chosen.
OWN = 'job="vpnd",instance=~"$instance"'
ALL = 'job="vpnd"'
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One panel: its queries with their legends, the unit of its values, and how it looks."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    says: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    #: Values at which a number turns yellow and red.
    limits: tuple[float, ...] = ()
    #: The values may be below zero: the axis begins where they do.
    signed: bool = False


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


def number(
    title: str, query: str, unit: str = "short", limits: tuple[float, ...] = (), says: str = ""
) -> Panel:
    """One number, green until it reaches its limits."""
    return Panel(title, [(query, title)], unit, says, kind="stat", width=4, height=4, limits=limits)


def quantiles(metric: str, labels: str = OWN) -> list[tuple[str, str]]:
    """The median and the slowest in twenty and in a hundred."""
    buckets = f"sum by (le) (rate({metric}_bucket{{{labels}}}{RATE}))"
    return [(f"histogram_quantile({q}, {buckets})", f"{q * 100:g} %") for q in (0.5, 0.95, 0.99)]


def rate(metric: str, by: str, labels: str = OWN) -> tuple[str, str]:
    """Events a second, by a label."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))", "{{" + by + "}}"


def grown(metric: str, by: str, labels: str = ALL) -> tuple[str, str]:
    """How many in the time of a point, by a label."""
    return f"sum by ({by}) (increase({metric}{{{labels}}}[1h]))", "{{" + by + "}}"


def age(metric: str, by: str) -> tuple[str, str]:
    """Seconds since the latest moment that any of the daemons has seen."""
    return f"time() - max by ({by}) ({metric}{{{ALL}}})", "{{" + by + "}}"


CALLS = "vpnd_http_client_request_duration_seconds"
TO_PROVIDERS = f'{OWN},boundary=~"cryptopay|yookassa"'
PAYMENT_UPDATES = f'{OWN},kind=~"pre_checkout_query|successful_payment"'
COMPARED = "vpnd_payment_reconcile_last_success_timestamp_seconds"
#: Results that occur; a source of which none does is there all the same.
WEBHOOKS = (
    f"sum by (source, result) (rate(vpnd_webhook_requests_total{{{OWN}}}{RATE})) > 0"
    f" or sum by (source) (rate(vpnd_webhook_requests_total{{{OWN}}}{RATE}))"
)

OVERVIEW = [
    Row(
        "At a glance",
        [
            number("Daemons up", f"sum(up{{{ALL}}})"),
            number("Alarms raised", f"sum(vpnd_alarm_raised{{{ALL}}})", limits=(1, 3)),
            number("Oldest update", f"max(vpnd_telegram_inbox_oldest_age_seconds{{{ALL}}})", "s", (5, 30)),
            number("Oldest receipt or refund", f"max(vpnd_outbox_oldest_age_seconds{{{ALL}}})", "s", (60, 300)),
            number("Dead letters", f"max(vpnd_outbox_dead_letters{{{ALL}}})", limits=(1, 10)),
            number("Nodes stopped", f"sum(max by (node) (vpnd_node_stopped{{{ALL}}}))", limits=(1, 1)),
            number("Expired but on", f"sum(max by (node) (vpnd_node_expired_but_on{{{ALL}}}))", limits=(1, 5)),
            number("Paid but off", f"sum(max by (node) (vpnd_node_active_but_off{{{ALL}}}))", limits=(1, 5)),
            number("Overdue", f"max(vpnd_subscriptions_overdue{{{ALL}}})", limits=(1, 10)),
            number("Served on nodes", 'sum(vpnd_agent_users{job="vpnd-node"})'),
            number("Worst step of the loop", f"max(vpnd_loop_lag_worst_seconds{{{ALL}}})", "s", (0.05, 0.2)),
            number("Up since", f"time() - max(vpnd_start_timestamp_seconds{{{ALL}}})", "s"),
        ],
    ),
    Row(
        "The bot",
        [
            Panel("Updates by their end", [rate("vpnd_telegram_updates_total", "outcome")], "reqps"),
            Panel("Update to answer", quantiles("vpnd_telegram_update_duration_seconds"), "s",
                  "From the storing of an update to the end of its handler."),
            Panel("Updates by kind", [rate("vpnd_telegram_updates_total", "kind")], "reqps"),
            Panel("Calls of the Bot API by their end", [rate("vpnd_telegram_sends_total", "outcome")], "reqps",
                  "retry_later is Telegram's 429."),
            Panel("Calls that wait for a token", [(f"sum by (lane) (vpnd_telegram_send_queue_length{{{OWN}}})", "{{lane}}")]),
            Panel("Inbox", [(f"max(vpnd_telegram_inbox_pending{{{ALL}}})", "not done"),
                            (f"max(vpnd_telegram_retry_after_seconds{{{ALL}}})", "seconds that Telegram asks to wait")]),
        ],
    ),
    Row(
        "Nodes",
        [
            Panel("Since the last answer", [age("vpnd_node_last_contact_timestamp_seconds", "node")], "s"),
            Panel("Changes not acknowledged", [(f"max by (node) (vpnd_node_lag_rows{{{ALL}}})", "{{node}}")]),
            Panel("Change to acknowledgement", quantiles("vpnd_node_activation_seconds", ALL), "s"),
            Panel("Differences found", [(f"max by (node, kind) (vpnd_node_differences{{{ALL}}})", "{{node}} {{kind}}")]),
            Panel("Served by node", [('vpnd_agent_users{job="vpnd-node"}', "{{instance}}")]),
            Panel("Taken away, by how sessions were ended", [grown("vpnd_agent_cut_total", "how", 'job="vpnd-node"')],
                  says="restart ends the connections of everybody on the node. Counted over the last hour."),
        ],
    ),
    Row(
        "Workers and queues",
        [
            Panel("Since the last success", [age("vpnd_worker_last_success_timestamp_seconds", "worker")], "s",
                  "A worker that has not run yet shows a very long time."),
            Panel("Iterations by their end", [rate("vpnd_worker_runs_total", "outcome")], "ops"),
            Panel("Rows done", [rate("vpnd_worker_items_total", "worker")], "ops"),
            Panel("Outbox: waiting", [(f"max by (kind) (vpnd_outbox_ready{{{ALL}}})", "{{kind}}")]),
            Panel("Outbox: delivered", [rate("vpnd_outbox_completed_total", "kind")], "ops"),
            Panel("Outbox: failed and tried again", [rate("vpnd_outbox_failed_total", "kind")], "ops"),
        ],
    ),
    Row(
        "The database",
        [
            Panel("Connections", [(f"sum by (state) (vpnd_db_connections{{{OWN}}})", "{{state}}"),
                                  (f"sum(vpnd_db_connections_max{{{OWN}}})", "most")]),
            Panel("Wait for a connection", quantiles("vpnd_db_acquire_wait_seconds"), "s"),
            Panel("Held longest (95 %)",
                  [(f"topk(8, histogram_quantile(0.95, sum by (le, name) (rate(vpnd_db_hold_seconds_bucket{{{OWN}}}{RATE}))))",
                    "{{name}}")], "s"),
            Panel("Errors", [rate("vpnd_db_errors_total", "kind")], "ops"),
            Panel("Busiest operations",
                  [(f"topk(8, sum by (name) (rate(vpnd_db_operation_duration_seconds_count{{{OWN}}}{RATE})))", "{{name}}")],
                  "ops"),
            Panel("Waits that were given up", [rate("vpnd_limit_wait_timeouts_total", "resource")], "ops"),
        ],
    ),
    Row(
        "Others, and who asks us",
        [
            Panel("Calls by boundary", [rate("vpnd_http_client_request_duration_seconds_count", "boundary")], "reqps"),
            Panel("Calls by their end", [rate("vpnd_http_client_request_duration_seconds_count", "outcome")], "reqps"),
            Panel("Slow calls (over 2 s)", [rate("vpnd_http_client_slow_total", "boundary")], "reqps"),
            Panel("Requests to us, by route", [rate("vpnd_http_server_request_duration_seconds_count", "route")], "reqps"),
            Panel("Requests to us, by status", [rate("vpnd_http_server_request_duration_seconds_count", "status")], "reqps"),
            Panel("How long they take", quantiles("vpnd_http_server_request_duration_seconds"), "s"),
        ],
    ),
    Row(
        "The process",
        [
            Panel("Processor", [(f"vpnd_process_cpu_ratio{{{OWN}}}", "{{instance}}")], "percentunit", "Of one core."),
            Panel("Memory", [(f"vpnd_process_resident_memory_bytes{{{OWN}}}", "{{instance}}"),
                             (f"vpnd_process_memory_growth_bytes{{{OWN}}}", "{{instance}} growth")], "bytes", signed=True),
            Panel("Steps of the loop", quantiles("vpnd_loop_lag_seconds"), "s"),
            Panel("Descriptors", [(f"vpnd_process_open_descriptors{{{OWN}}}", "{{instance}}"),
                                  (f"vpnd_process_open_sockets{{{OWN}}}", "{{instance}} sockets")]),
            Panel("Tasks", [(f"topk(8, vpnd_tasks{{{OWN}}})", "{{name}}")]),
            Panel("Parts that died", [grown("vpnd_supervisor_restarts_total", "child")],
                  says="Counted over the last hour."),
        ],
    ),
]  # fmt: skip

MONEY = [
    Row(
        "At a glance",
        [
            number("Settled today", f'sum(increase(vpnd_settlements_total{{{ALL},outcome="settled"}}[1d]))'),
            number("Held today", f'sum(increase(vpnd_settlements_total{{{ALL},outcome="held"}}[1d]))', limits=(1, 5)),
            number("Refunds stuck today", f'sum(increase(vpnd_refunds_total{{{ALL},status="stuck"}}[1d]))', limits=(1, 1)),
            number("Ledger off by", f"max(abs(vpnd_ledger_imbalance_minor{{{ALL}}}))", limits=(1, 1),
                   says="Minor units, the worst currency; anything but 0 is an alarm."),
            number("Balances off", f"max(vpnd_balance_drift_accounts{{{ALL}}})", limits=(1, 1)),
            number("Differences left today", f'sum(increase(vpnd_payment_differences_total{{{ALL},mended="no"}}[1d]))',
                   limits=(1, 5)),
        ],
    ),
    Row(
        "Payments",
        [
            Panel("Charges by provider", [grown("vpnd_settlements_total", "provider")], says="In the last hour."),
            Panel("Charges by what became of them", [grown("vpnd_settlements_total", "outcome")], says="In the last hour."),
            Panel("Renewals from balances", [grown("vpnd_renewals_total", "outcome")], says="In the last hour."),
            Panel("Payment to access", quantiles("vpnd_node_activation_seconds", ALL), "s",
                  "From the commit of a change to a node's acknowledgement."),
            Panel("Receipts: oldest that is due",
                  [(f"max by (kind) (vpnd_outbox_oldest_age_seconds{{{ALL}}})", "{{kind}}")], "s"),
            Panel("Payment updates of Telegram",
                  [(f"sum by (kind, outcome) (rate(vpnd_telegram_updates_total{{{PAYMENT_UPDATES}}}{RATE}))",
                    "{{kind}} {{outcome}}")], "reqps"),
        ],
    ),
    Row(
        "Refunds and comparisons",
        [
            Panel("Refunds", [(f"sum by (provider, status) (increase(vpnd_refunds_total{{{ALL}}}[1h]))",
                               "{{provider}} {{status}}")], says="In the last hour."),
            Panel("Differences with providers",
                  [(f"sum by (provider, kind, mended) (increase(vpnd_payment_differences_total{{{ALL}}}[1d]))",
                    "{{provider}} {{kind}} mended: {{mended}}")], says="In the last day."),
            Panel("Since the last comparison",
                  [(f'time() - max by (provider) ({COMPARED}{{{ALL},provider!="balance"}})', "{{provider}}")], "s",
                  "A provider that was never compared since the start shows a very long time."),
            Panel("Refunds that wait",
                  [(f'max by (kind) (vpnd_outbox_ready{{{ALL},kind=~"refund_.*|star_cancel"}})', "{{kind}}")]),
            Panel("Given up", [grown("vpnd_outbox_dead_total", "kind")], says="In the last hour."),
            Panel("The ledger, minor units", [(f"max by (currency) (vpnd_ledger_imbalance_minor{{{ALL}}})", "{{currency}}")],
                  says="The sum over all accounts; it must be 0.", signed=True),
        ],
    ),
    Row(
        "Providers",
        [
            Panel("Webhooks by result", [(WEBHOOKS, "{{source}} {{result}}")], "reqps"),
            Panel("Calls of providers, by their end",
                  [(f"sum by (boundary, outcome) (rate({CALLS}_count{{{TO_PROVIDERS}}}{RATE}))", "{{boundary}} {{outcome}}")],
                  "reqps"),
            Panel("How long they take (95 %)",
                  [(f"histogram_quantile(0.95, sum by (le, boundary) (rate({CALLS}_bucket{{{TO_PROVIDERS}}}{RATE})))",
                    "{{boundary}}")], "s"),
        ],
    ),
]  # fmt: skip

DASHBOARDS = {
    "overview": ("vpnd: overview", "vpnd-overview", OVERVIEW, "Bot, nodes, workers, queues, database and process."),
    "money": ("vpnd: money", "vpnd-money", MONEY, "Payments, refunds, comparisons and the ledger."),
}  # fmt: skip


def dashboard(name: str) -> dict[str, Any]:
    """Return one dashboard as Grafana reads it."""
    title, uid, rows, says = DASHBOARDS[name]
    return {
        "uid": uid,
        "title": title,
        "description": says,
        "tags": ["vpnd"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {"title": "vpnd", "type": "dashboards", "tags": ["vpnd"], "asDropdown": False, "keepTime": True}
        ],
        "templating": {"list": _variables()},
        "panels": _laid_out(rows),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
        {
            "name": "instance",
            "label": "Daemon",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f"label_values(vpnd_build_info{{{ALL}}}, instance)", "refId": "instance"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "hide": 0,
        },
    ]


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Put the panels from left to right and from top to bottom."""
    found: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            found.append(_drawn(panel, len(found) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return found


def _drawn(panel: Panel, number_: int, x: int, y: int) -> dict[str, Any]:
    colours = ("yellow", "red")
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": colours[place], "value": value} for place, value in enumerate(panel.limits)]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "stat":
        defaults |= {"color": {"mode": "thresholds"}}
        options: dict[str, Any] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
            "textMode": "auto",
        }
    else:
        defaults |= {
            "color": {"mode": "palette-classic"},
            "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"},
        }
        if not panel.signed:
            defaults["min"] = 0
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number_,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                "range": True,
                "instant": False,
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def written(name: str) -> str:
    """Return the file of one dashboard."""
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write all."""
    for name in DASHBOARDS:
        (Path(__file__).parent / f"{name}.json").write_text(written(name), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
