"""Health for balancers, monitors and people: `/healthz`, `/readyz` and `/metrics`.

`/healthz` says that the process turns, and nothing else: a database that is down is no reason to be killed.
`/readyz` says whether customers are served, and names what is missing when they are not. Its checks reach past all limits, so
however many ask, one round of them runs at a time, and whoever asks within a moment of it gets its answer.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vpnd.runtime import metrics
from vpnd.runtime.metrics_page import render_in_steps

#: A readiness check that has no answer after this many seconds counts as failed.
CHECK_TIMEOUT: Final = 2.0

#: A round of checks answers for this long, in seconds.
FRESH: Final = 0.1

#: Name of a check → coroutine function that returns what is wrong, or None.
Checks = Mapping[str, Callable[[], Awaitable[str | None]]]


async def run_checks(checks: Checks) -> dict[str, str]:
    """Run all `checks` at once, each at most `CHECK_TIMEOUT` seconds; return what is wrong, by name."""
    faults: dict[str, str] = {}

    async def run_one(name: str, check: Callable[[], Awaitable[str | None]]) -> None:
        with trio.move_on_after(CHECK_TIMEOUT) as scope:
            fault = await check()
            if fault is not None:
                faults[name] = fault
        if scope.cancelled_caught:
            faults[name] = f"no answer in {CHECK_TIMEOUT:g} s"

    async with trio.open_nursery() as nursery:
        for name, check in checks.items():
            nursery.start_soon(run_one, name, check)
    return {name: faults[name] for name in checks if name in faults}


class Readiness:
    """Answers many who ask at once with one round of checks."""

    def __init__(self, checks: Checks) -> None:
        """Nothing is checked before somebody asks."""
        self._checks = checks
        self._lock = trio.Lock()
        self._at = -math.inf
        self._faults: dict[str, str] = {}

    async def faults(self) -> dict[str, str]:
        """Return what is wrong, by name, as of at most `FRESH` seconds ago."""
        async with self._lock:
            if trio.current_time() - self._at > FRESH:
                self._faults = await run_checks(self._checks)
                self._at = trio.current_time()
            return self._faults


def health_routes(checks: Checks) -> list[Route]:
    """Return the routes `/healthz` and `/readyz`."""
    readiness = Readiness(checks)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        faults = await readiness.faults()
        if faults:
            return JSONResponse({"status": "not ready", "missing": faults}, 503, {"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def metrics_routes() -> list[Route]:
    """Return the route `/metrics`, for the listener that only the monitoring system reaches."""

    async def show(_request: Request) -> Response:
        return Response(await render_in_steps(), media_type=metrics.CONTENT_TYPE)

    return [Route("/metrics", show)]
