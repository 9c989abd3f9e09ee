"""Every worker that works through rows: what a deadline, a poisoned row, a second instance, a lost database, a clock that jumps
and a database in another time zone do to it. Effects happen once, and what can be done is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from attrs import evolve
from database_kit import database_settings
from hardship import CASES, Case, cut_connections, move_to_newfoundland, watched
from shop_world import ShopWorld, open_world

from vpnd.config import WorkerSettings
from vpnd.database.database import open_database
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import Limits
from vpnd.runtime.worker import Poison, WorkerRunner, configured

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def small(case: Case, shop: ShopWorld, batch: int = 20, **changes: Any) -> Any:
    """The worker with a small batch."""
    return evolve(configured(case.spec(shop.db), WorkerSettings(batch=batch)), **changes)


async def test_a_deadline_in_the_middle_goes_on_where_it_stopped(shop: ShopWorld, case: Case) -> None:
    """The first iteration hangs after two batches and is cut; the next begins behind them, and everything is done once."""
    await case.prepare(shop, 100)
    seen: list[Any] = []
    spec = watched(small(case, shop, deadline=3.0), seen)
    name = "handle" if hasattr(spec, "handle") else "sweep"
    work, calls, most = getattr(spec, name), 0, 40 if name == "handle" else 2

    async def hanging(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == most + 1:
            await trio.sleep_forever()
        return await work(*args)

    runner = WorkerRunner(evolve(spec, **{name: hanging}))
    assert await runner.run_once() == "timeout"
    effects, left = await case.counts(shop)
    assert (effects, left) == (40, 60)
    seen.clear()
    assert await runner.run_once() == "ok"

    assert seen[0] is not None
    assert await case.counts(shop) == (100, 0)


async def test_one_poisoned_row_among_a_thousand(shop: ShopWorld, case: Case) -> None:
    """It alone is left and reported, in the journal and to who asked; the other 999 are done in the same iteration."""
    await case.prepare(shop, 1000)
    await case.poisoned(shop, 617)
    reports: list[Poison] = []
    spec = evolve(case.spec(shop.db), on_poison=reports.append, deadline=120.0)
    runner = WorkerRunner(spec)
    with capture() as lines:
        assert await runner.run_once() == "ok"

    assert await case.counts(shop) == (999, 1)
    assert len(reports) == 1
    assert "617" in repr(reports[0].key)
    assert [line.event for line in lines if line.level == "error"] == ["worker.item_failed"]
    assert runner.statistics().items == 999


async def test_two_instances_at_once(shop: ShopWorld, case: Case) -> None:
    """A lease is for economy: without one the two share the work, and every effect happens once."""
    await case.prepare(shop, 300)
    outcomes: list[str] = []

    async def run(runner: WorkerRunner) -> None:
        outcomes.append(await runner.run_once())

    for _ in range(2):  # what one skipped because the other held it is done in the next iteration
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(run, WorkerRunner(small(case, shop, deadline=60.0)))

    assert set(outcomes) == {"ok"}
    assert await case.counts(shop) == (300, 0)


async def test_a_database_that_is_lost_in_the_middle(shop: ShopWorld, case: Case) -> None:
    """Connections die under it again and again: iterations fail, the worker lives, and in the end all is done once."""
    await case.prepare(shop, 200)
    runner = WorkerRunner(small(case, shop))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_connections, shop.db, 6)
        for _ in range(20):
            assert await runner.run_once() in ("ok", "failed")
    assert await runner.run_once() == "ok"

    assert await case.counts(shop) == (200, 0)
    assert runner.statistics().item_failures == 0


async def test_a_clock_that_jumps(shop: ShopWorld, case: Case) -> None:
    """Back by a day and forth again: nothing is done a second time, and what was done stays done."""
    await case.prepare(shop, 30)
    runner = WorkerRunner(small(case, shop))
    assert await runner.run_once() == "ok"
    done = await case.counts(shop)
    assert done == (30, 0)
    for jump in (timedelta(hours=-20), timedelta(hours=20)):
        await shop.advance(jump)
        assert await runner.run_once() == "ok"

    assert await case.counts(shop) == done


async def test_a_database_in_another_time_zone(
    shop: ShopWorld, case: Case, database_url: str, postgres_url: str
) -> None:
    """A zone of half hours and its own calendar day changes nothing of what is due."""
    await move_to_newfoundland(shop, database_url)
    async with open_database(database_settings(database_url), Limits(5, 5), instance_name="far") as db:
        far = await open_world(db)
        await case.prepare(far, 50)
        runner = WorkerRunner(small(case, far))
        assert await runner.run_once() == "ok"

        assert await case.counts(far) == (50, 0)


async def test_it_is_bounded_and_ends_before_the_next_is_due(shop: ShopWorld, case: Case) -> None:
    """Each has the audited system's interval or a documented one, a batch, and a hard deadline."""
    intervals = {
        "expiry": 60, "purchase_expiry": 60, "activation": 300, "trial_notices": 300, "reminders": 300,
        "housekeeping": 3600, "renewal": 600, "renewal_notices": 600,
    }  # fmt: skip
    spec = case.spec(shop.db)

    assert (spec.name, spec.interval) == (case.name, intervals[case.name])
    assert 0 < spec.batch <= 1000
    assert 0 < spec.deadline < spec.interval
