"""The monitors' own metrics; those that other rooms set stand in `vpnd.runtime.metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from vpnd.runtime.metrics import REGISTRY

__all__: list[str] = []

memory_growth_bytes: Final = Gauge(
    "vpnd_process_memory_growth_bytes",
    "Resident memory now less what it was an hour ago, or after the start's first ten minutes.",
    registry=REGISTRY,
)
open_descriptors: Final = Gauge(
    "vpnd_process_open_descriptors", "Open files, sockets included.", registry=REGISTRY
)
open_descriptors_max: Final = Gauge(
    "vpnd_process_open_descriptors_max", "Most files that may be open.", registry=REGISTRY
)
open_sockets: Final = Gauge(
    "vpnd_process_open_sockets", "Open sockets: connections and listeners.", registry=REGISTRY
)
tasks: Final = Gauge("vpnd_tasks", "Tasks of the loop, by what they run.", ["name"], registry=REGISTRY)
tasks_total: Final = Gauge("vpnd_tasks_running", "Tasks of the loop.", registry=REGISTRY)
outbox_ready: Final = Gauge(
    "vpnd_outbox_ready", "Outbox items that are not delivered yet.", ["kind"], registry=REGISTRY
)
outbox_dead_letters: Final = Gauge(
    "vpnd_outbox_dead_letters", "Outbox items that were given up and wait for a person.", registry=REGISTRY
)
subscriptions_overdue: Final = Gauge(
    "vpnd_subscriptions_overdue", "Subscriptions past their end that are still on.", registry=REGISTRY
)
alarm_raised: Final = Gauge(
    "vpnd_alarm_raised", "1 while an alarm of the daemon's own is raised.", ["alarm"], registry=REGISTRY
)
alarms_total: Final = Counter(
    "vpnd_alarms_total", "How often an alarm was raised.", ["alarm"], registry=REGISTRY
)
