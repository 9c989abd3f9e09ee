"""What comparisons find out about nodes, as metrics; the others of nodes stand in `vpnd.runtime.metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from vpnd.runtime import metrics
from vpnd.runtime.metrics import REGISTRY

__all__ = [
    "DIFFERENCES",
    "MENDED",
    "compared_timestamp_seconds",
    "declare",
    "differences",
    "forget",
    "mended_total",
    "stopped",
]

DIFFERENCES: Final = ("missing", "older", "newer", "strangers")
MENDED: Final = ("sent", "raised", "removed")

differences: Final = Gauge(
    "vpnd_node_differences",
    "What the last comparison with a node found: missing or older there, newer there, or unknown to the shop (strangers).",
    ["node", "kind"],
    registry=REGISTRY,
)
mended_total: Final = Counter(
    "vpnd_node_mended_total",
    "Credentials that comparisons mended on a node: sent, raised above the node's version, removed.",
    ["node", "how"],
    registry=REGISTRY,
)
stopped: Final = Gauge(
    "vpnd_node_stopped",
    "1 while a node waits for a person: nothing is taken away from it by a comparison.",
    ["node"],
    registry=REGISTRY,
)
compared_timestamp_seconds: Final = Gauge(
    "vpnd_node_compared_timestamp_seconds",
    "When a node was last compared with the shop to the end, Unix time; 0 when this process never did.",
    ["node"],
    registry=REGISTRY,
)


def declare(node: str) -> None:
    """Create all series of a node with 0."""
    stopped.labels(node)
    compared_timestamp_seconds.labels(node)
    for kind in DIFFERENCES:
        differences.labels(node, kind)
    for how in MENDED:
        mended_total.labels(node, how)


def forget(node: str) -> None:
    """Take all series of a node away that is no longer configured: one that stands still would raise alarms for ever."""
    for metric in (
        metrics.node_last_contact_timestamp_seconds,
        metrics.node_lag_rows,
        metrics.node_acked_seq,
        metrics.node_expired_but_on,
        metrics.node_active_but_off,
    ):
        metric.remove(node)
    stopped.remove(node)
    compared_timestamp_seconds.remove(node)
    for kind in DIFFERENCES:
        differences.remove(node, kind)
    for how in MENDED:
        mended_total.remove(node, how)
