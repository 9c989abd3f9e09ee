"""Health: the process turns, customers are served, and asking costs little."""

from __future__ import annotations

import httpx
import trio
import trio.testing
from starlette.applications import Starlette

from vpnd.web import health
from vpnd.web.apps import metrics_app
from vpnd.web.health import Checks, Readiness, health_routes, run_checks


async def get(path: str, app: Starlette) -> httpx.Response:
    """One request."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as client:
        return await client.get(path)


def health_app(checks: Checks) -> Starlette:
    """An application with the health routes."""
    return Starlette(routes=list(health_routes(checks)))


async def fine() -> str | None:
    return None


async def broken() -> str | None:
    return "it is away"


async def test_alive_is_not_ready() -> None:
    """A database that is away costs readiness, with its name and the reason, and not the process its life."""
    app = health_app({"database": broken, "nodes": fine})

    alive, ready = await get("/healthz", app), await get("/readyz", app)

    assert alive.status_code == 200
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
    assert ready.json() == {"status": "not ready", "missing": {"database": "it is away"}}


async def test_ready_when_nothing_is_missing() -> None:
    """Then a balancer may send customers."""
    answer = await get("/readyz", health_app({"database": fine}))

    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_a_check_that_hangs_is_a_fault(autojump_clock: trio.testing.MockClock) -> None:
    """It is named after its time is over, and the others do not wait behind it."""
    faults = await run_checks({"silent": trio.sleep_forever, "database": broken})

    assert faults == {"silent": "no answer in 2 s", "database": "it is away"}
    assert trio.current_time() == health.CHECK_TIMEOUT


async def test_a_crowd_costs_one_check(autojump_clock: trio.testing.MockClock) -> None:
    """Who asks while a round runs, or right after it, gets its answer; later it is checked anew."""
    rounds = 0

    async def counted() -> str | None:
        nonlocal rounds
        rounds += 1
        await trio.sleep(0.01)
        return None

    readiness = Readiness({"database": counted})
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(readiness.faults)
    assert rounds == 1
    await trio.sleep(1)
    await readiness.faults()
    assert rounds == 2


async def test_whoever_gives_up_asking_does_not_stop_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A cancelled request leaves the next one to ask for itself."""

    async def slow() -> str | None:
        await trio.sleep(1)
        return "slow"

    readiness = Readiness({"database": slow})
    with trio.move_on_after(0.5):
        await readiness.faults()

    assert await readiness.faults() == {"database": "slow"}


async def test_metrics_are_served_apart() -> None:
    """The listener of the monitoring system has the metrics and nothing else."""
    app = metrics_app()

    assert "vpnd_webhook_requests_total" in (await get("/metrics", app)).text
    assert (await get("/readyz", app)).status_code == 404
