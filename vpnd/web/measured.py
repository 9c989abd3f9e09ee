"""What the public listener answers, measured: by route and by the class of the status, never by a path.

A path carries a subscription's token, so only the kind of the route is kept.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnd.runtime import metrics

__all__ = ["Measured", "route_of"]

_HEALTH: Final = ("/healthz", "/readyz")


def route_of(path: str) -> str:
    """Return the label of a request's route."""
    if path.startswith("/webhooks/"):
        return "webhook"
    if path.startswith("/sub/"):
        return "open" if "/open/" in path else "subscription"
    return "health" if path in _HEALTH else "other"


class Measured:
    """Middleware that takes the time of each request, to the last byte of its answer.

    A request without an answer (its client left, the daemon stops, the application failed before it began one) has the
    status `none`. Nothing is caught.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "none"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            await send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:
            metrics.http_server_request_duration_seconds.labels(route_of(scope["path"]), status).observe(
                perf_counter() - began
            )
