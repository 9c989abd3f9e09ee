"""The daemon's listeners, as children of its supervisor: each serves one application until it is told to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import trio
from starlette.applications import Starlette

from vpnd.runtime.serve import serve_asgi

__all__ = ["listener"]


def listener(
    build: Callable[[], Starlette],
    bind: str,
    *,
    until: Callable[[], Awaitable[object]] = trio.sleep_forever,
    grace: float,
) -> Callable[..., Coroutine[Any, Any, None]]:
    """A child that serves an application on `bind`, built anew each time it is started.

    Args:
        until: ends the serving in order: requests under way are answered within `grace` seconds, no new ones are taken.
    """

    async def run(*, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        await serve_asgi(
            build(), [bind], shutdown_trigger=until, graceful_timeout=grace, task_status=task_status
        )

    return run
