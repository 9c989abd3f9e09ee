"""PostgreSQL goes away under load: restarted, and frozen. `./dev soak postgres` does the whole minute."""

from __future__ import annotations

import pytest
import trio
from soaks.postgres import play

#: Seconds. The soak demands half of it, on a machine of its own; here other tests run beside.
RECOVERY = 10.0

pytestmark = [pytest.mark.world, pytest.mark.long]


@pytest.mark.parametrize(("mode", "freeze"), [("polling", 8.0), ("webhook", 0.0)])
async def test_postgres_goes_away(mode: str, freeze: float) -> None:
    """The daemon lives on, no purchase that was paid is lost, and workers and buttons go on within seconds."""
    with trio.fail_after(180):
        report = await play(freeze=freeze, restarts=1, mode=mode, recovery=RECOVERY, durable=False)

    print(report.table())
    assert report.faults == []
    assert [outage.what for outage in report.outages] == ["restart 1", "frozen"][: 2 if freeze else 1]
    assert all((outage.workers_after or 0) <= RECOVERY for outage in report.outages)
    assert report.books.purchases > 0
