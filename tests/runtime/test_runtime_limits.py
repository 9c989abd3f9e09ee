"""Who may use the database and the network, and who waits."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vpnd.runtime import metrics
from vpnd.runtime.limits import LimitClass, Limits, LimitScope, LimitWaitTimeout, as_class, current_class

HANDLER, WORKER, ADMIN = LimitClass.HANDLER, LimitClass.WORKER, LimitClass.ADMIN


def shares(total: int) -> dict[LimitClass, int]:
    return {part.cls: part.total for part in Limits(total, 1).statistics().database.classes}


async def hold(
    scope: LimitScope, release: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with scope:
        task_status.started()
        await release.wait()


def test_shares_of_the_default_pool() -> None:
    """Of 15 places handlers may use all, workers all but 5, admin reads 3."""
    assert shares(15) == {HANDLER: 15, WORKER: 10, ADMIN: 3}


@pytest.mark.parametrize("total", range(1, 40))
def test_every_class_has_a_place_at_any_size(total: int) -> None:
    """However small the pool, each class gets one place, and none gets more than there are."""
    share = shares(total)

    assert share[HANDLER] == total
    assert share[WORKER] == max(1, total - 5)
    assert 1 <= share[ADMIN] <= min(3, total)
    if total >= 6:
        assert share[WORKER] + share[ADMIN] < total, "a place is left for people"


@pytest.mark.parametrize("total", [0, -1])
def test_a_limit_below_one_is_refused(total: int) -> None:
    """A limiter that lets nobody through is a fault of the configuration."""
    with pytest.raises(ValueError, match="at least 1"):
        Limits(total, 1)
    with pytest.raises(ValueError, match="at least 1"):
        Limits(1, 1).resize(http_total=total)


async def test_busy_workers_leave_room_for_handlers(autojump_clock: trio.testing.MockClock) -> None:
    """With every worker place taken and more workers waiting, handlers find their five places at once."""
    limits, release = Limits(15, 1), trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(hold, limits.database(WORKER, acquire_timeout=math.inf), release)
        await wait_all_tasks_blocked()
        now = limits.statistics().database
        assert (now.borrowed, now.waiting) == (10, 10)

        for _ in range(5):
            await nursery.start(hold, limits.database(HANDLER, acquire_timeout=0), release)

        assert limits.statistics().database.borrowed == 15
        release.set()


async def test_waiting_worker_does_not_stand_before_a_handler(autojump_clock: trio.testing.MockClock) -> None:
    """When a place becomes free in a full pool, a handler gets it although a worker waited longer in its class."""
    limits, first, rest = Limits(6, 1), trio.Event(), trio.Event()
    order: list[str] = []

    async def wait_for(cls: LimitClass) -> None:
        async with limits.database(cls, acquire_timeout=math.inf):
            order.append(cls.value)

    async with trio.open_nursery() as nursery:
        await nursery.start(hold, limits.database(WORKER), rest)
        await nursery.start(hold, limits.database(HANDLER), first)
        for _ in range(4):
            await nursery.start(hold, limits.database(HANDLER), rest)
        nursery.start_soon(wait_for, WORKER)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait_for, HANDLER)
        await wait_all_tasks_blocked()

        first.set()
        await wait_all_tasks_blocked()
        assert order == ["handler"]
        rest.set()

    assert order == ["handler", "worker"]


async def test_wait_is_bounded_and_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A wait that is given up names the resource and leaves both limiters as they were."""
    limits, release = Limits(1, 1, acquire_timeout=3.0), trio.Event()
    labels = {"resource": "database", "class": "handler"}
    before = metrics.REGISTRY.get_sample_value("vpnd_limit_wait_timeouts_total", labels) or 0
    async with trio.open_nursery() as nursery:
        await nursery.start(hold, limits.database(), release)
        started = trio.current_time()

        with pytest.raises(LimitWaitTimeout) as refusal:
            async with limits.database():
                pytest.fail("a second place was given")

        assert trio.current_time() - started == pytest.approx(3.0)
        assert (refusal.value.resource, refusal.value.cls) == ("database", HANDLER)
        now = limits.statistics().database
        assert (now.borrowed, now.waiting) == (1, 0)
        assert [part.borrowed for part in now.classes] == [1, 0, 0]
        release.set()

    assert limits.statistics().database.borrowed == 0
    assert metrics.REGISTRY.get_sample_value("vpnd_limit_wait_timeouts_total", labels) == before + 1


async def test_cancellation_while_waiting_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A cancelled waiter leaves no token behind, whether it waited for its class or for the total."""
    limits, release = Limits(2, 1), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(hold, limits.database(WORKER), release)
        await nursery.start(hold, limits.database(HANDLER), release)
        for cls in (WORKER, ADMIN):
            with trio.move_on_after(1):
                async with limits.database(cls, acquire_timeout=60):
                    pytest.fail("a place was given")
        now = limits.statistics().database
        assert (now.borrowed, now.waiting) == (2, 0)
        assert sum(part.borrowed for part in now.classes) == 2
        release.set()


async def test_wait_is_measured_and_told(autojump_clock: trio.testing.MockClock) -> None:
    """How long a place took to get stands in the scope and in the histogram of its class."""
    limits, release = Limits(1, 1), trio.Event()
    labels = {"resource": "http", "class": "admin"}
    before = metrics.REGISTRY.get_sample_value("vpnd_limit_wait_seconds_sum", labels) or 0.0

    async def free_later() -> None:
        await trio.sleep(2)
        release.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(hold, limits.http(), release)
        nursery.start_soon(free_later)
        async with limits.http(ADMIN) as place:
            assert place.waited == pytest.approx(2.0)

    after = metrics.REGISTRY.get_sample_value("vpnd_limit_wait_seconds_sum", labels)
    assert after == pytest.approx(before + 2.0)


async def test_one_task_may_hold_several_places() -> None:
    """A place belongs to its scope and not to the task, so nested requests of one task are counted one by one."""
    limits = Limits(1, 3)
    async with limits.http(), limits.http():
        assert limits.statistics().http.borrowed == 2


async def test_class_follows_the_task_and_its_children() -> None:
    """Without being told, a scope takes the task's class, which children inherit."""
    limits = Limits(15, 15)
    seen: list[LimitClass] = []

    async def child() -> None:
        seen.append(current_class.get())

    assert current_class.get() is HANDLER
    with as_class(WORKER):
        async with limits.database(), trio.open_nursery() as nursery:
            nursery.start_soon(child)
            borrowed = {part.cls: part.borrowed for part in limits.statistics().database.classes}
    assert borrowed == {HANDLER: 0, WORKER: 1, ADMIN: 0}
    assert seen == [WORKER]
    assert current_class.get() is HANDLER


async def test_resize_admits_waiters_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Raising the total of a running process lets those in who wait."""
    limits, release = Limits(1, 1), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(hold, limits.database(), release)
        nursery.start_soon(hold, limits.database(acquire_timeout=math.inf), release)
        await wait_all_tasks_blocked()
        limits.resize(database_total=15)
        await wait_all_tasks_blocked()
        assert limits.statistics().database.borrowed == 2
        assert "database 2/15 (0 waiting)" in repr(limits)
        release.set()


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
def test_a_senseless_bound_is_refused(timeout: float) -> None:
    """A wait is bounded by zero or more seconds."""
    with pytest.raises(ValueError, match="bounded"):
        Limits(1, 1).database(acquire_timeout=timeout)
