"""Money against an oracle: whatever customers, providers, admins, workers and crashes do, the books are what it says."""

from __future__ import annotations

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from money.machine import machine_on
from money.play import open_ground
from vpnd.runtime import metrics


@pytest.mark.long
async def test_the_books_are_what_an_oracle_says(database_url: str) -> None:
    """2 000 steps in any order, connections killed around COMMIT among them; after each, all of the books are compared."""
    bounded = settings(
        max_examples=45,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    retries = metrics.db_retries_total._value.get()
    async with open_ground(database_url) as ground:
        machine = machine_on(ground)
        await trio.to_thread.run_sync(lambda: run_state_machine_as_test(machine, settings=bounded))
    tally = ground.tally
    seen = {group: {which for (one, which) in tally if one == group} for (group, _) in tally}
    assert sum(count for (group, _), count in tally.items() if group == "step") >= 1_800
    # It plays what matters.
    assert seen["settled as"] >= {
        "settled",
        "underpaid",
        "second_charge",
        "held",
        "already_settled",
        "settled from a balance",
    }
    assert seen["refund"] >= {"done", "to_balance", "stuck", "told by the provider"}
    assert seen["promo use"] >= {"consumed", "consumed, late", "returned"}
    assert seen["crash"] >= {"statement", "lost", "racing", "unheard", "unheard, nobody to ask"}
    assert metrics.db_retries_total._value.get() == retries
