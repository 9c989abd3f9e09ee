"""The daemon's listeners, as children of its supervisor: each serves one application until it is told to end.

A socket that systemd holds for us (contrib/systemd/vpnd.socket) is served in place of the configured address. It stays open
while the daemon is started anew: who connects meanwhile waits in its queue and is answered by the new process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import trio
from starlette.applications import Starlette

from vpnd.runtime.journal import get_journal
from vpnd.runtime.serve import serve_asgi

__all__ = ["HTTP", "METRICS", "binds_of", "listener"]

journal = get_journal("web")

#: Names of sockets (FileDescriptorName=) and of what is served there.
HTTP: Final = "http"
METRICS: Final = "metrics"
#: What systemd calls a socket whose unit gives it no name, and older ones call it.
_NAMELESS: Final = ("vpnd.socket", "unknown", "")


def binds_of(http: str, metrics: str, inherited: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return where each of `HTTP` and `METRICS` is served: on inherited sockets if there are any for it, else as configured.

    Args:
        http, metrics: the configured addresses; an empty one is not served unless a socket is given for it.
        inherited: the sockets that were handed over, as binds, by their names (`vpnd.runtime.sdnotify.listen_fds`). One that
            has no name is for `HTTP`. One of another name is told of and left alone: nobody answers there.
    """
    found = {HTTP: [http], METRICS: [metrics] if metrics else []}
    given: dict[str, list[str]] = {}
    for name, sockets in inherited.items():
        given.setdefault(HTTP if name in _NAMELESS else name, []).extend(sockets)
    for name, sockets in given.items():
        if name in found:
            found[name] = sockets
            journal.info(
                "http.inherited", message=f"{name} is served on the socket of the service manager", name=name
            )
        else:
            journal.warning(
                "http.socket_unknown",
                message=f"the socket {name!r} is not served: FileDescriptorName= is {HTTP} or {METRICS}",
                name=name,
            )
    return found


def listener(
    build: Callable[[], Starlette],
    binds: Sequence[str],
    *,
    until: Callable[[], Awaitable[object]] = trio.sleep_forever,
    grace: float,
) -> Callable[..., Coroutine[Any, Any, None]]:
    """A child that serves an application on `binds`, built anew each time it is started.

    Args:
        until: ends the serving in order: requests under way are answered within `grace` seconds, no new ones are taken.
    """

    async def run(*, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        await serve_asgi(
            build(), binds, shutdown_trigger=until, graceful_timeout=grace, task_status=task_status
        )

    return run
