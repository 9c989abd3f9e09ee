"""The page of metrics: what Prometheus reads, and no step that anybody would notice."""

from __future__ import annotations

import trio
from prometheus_client.parser import text_string_to_metric_families

from vpnd.runtime import metrics
from vpnd.runtime.metrics_page import render_in_steps


class Steps(trio.abc.Instrument):
    """How many steps were taken."""

    taken = 0

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.taken += 1


def series(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if not one.name.endswith("_created")
    }


async def test_the_page_says_what_the_registry_says_in_small_steps() -> None:
    """Hundreds of queries with their histograms: every series is there once, under one head, written in many steps."""
    for number in range(200):
        metrics.db_hold_seconds.labels(f"test.page_{number}").observe(0.01)
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        page = (await render_in_steps()).decode()
    finally:
        trio.lowlevel.remove_instrument(steps)

    assert series(page) == series(metrics.render().decode())
    heads = [line for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert "_created" not in page
    assert steps.taken > len(series(page)) // 1000
