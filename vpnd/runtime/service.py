"""A service: one process under systemd (or a shell), with its signals, its journal and its exit code.

SIGTERM and SIGINT ask for an orderly stop; a second one ends it at once. SIGHUP asks for a reload. The exit code tells systemd
what happened: 0 after a stop that was asked for, 1 when the process gave up (and should be started anew).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import trio
from attrs import field, frozen

from vpnd.runtime import journal as journals
from vpnd.runtime.journal import get_journal
from vpnd.runtime.sdnotify import ServiceManager, service_manager

journal = get_journal("runtime")

OK: Final = 0
FAILED: Final = 1


@frozen
class Service:
    """What the main function is given.

    Attributes:
        manager: systemd, or nobody.
        stopping: set when an orderly stop was asked for.
        reloads: receives one item for each reload that was asked for.
    """

    manager: ServiceManager
    reloads: trio.MemoryReceiveChannel[None]
    stopping: trio.Event = field(factory=trio.Event)


def run_service(
    main: Callable[[Service], Awaitable[None]],
    *,
    log_format: Literal["auto", "journal", "console", "json"],
    log_level: Literal["debug", "info", "warning", "error"] = "info",
) -> int:
    """Run `main` as a service until it returns; return the exit code of the process.

    `main` should return soon after `Service.stopping` is set. What it raises is written to the journal and becomes exit code 1.
    """
    journals.configure(log_format, level=log_level)
    code = OK

    async def everything() -> None:
        nonlocal code
        reload_now, reloads = trio.open_memory_channel[None](1)
        async with service_manager() as manager:
            service = Service(manager, reloads)
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(_listen_for_signals, service, reload_now, nursery.cancel_scope)
                    await main(service)
                    nursery.cancel_scope.cancel()
            except* Exception as group:
                code = FAILED
                journal.critical(
                    "service.failed", message="the process ends because of an error", exc_info=group
                )
            finally:
                manager.stopping()

    try:
        trio.run(everything)
    except KeyboardInterrupt:
        code = FAILED
    sys.stderr.flush()
    return code


async def _listen_for_signals(
    service: Service,
    reload_now: trio.MemorySendChannel[None],
    everything: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                try:
                    reload_now.send_nowait(None)
                except trio.WouldBlock:
                    pass  # a reload waits already and will read what is there when it begins
            elif service.stopping.is_set():
                journal.warning("service.cut", message="a second signal to stop: everything is cut")
                everything.cancel()
            else:
                journal.info("service.stopping", message=f"{signal.Signals(number).name}: stopping in order")
                service.manager.stopping("stopping")
                service.stopping.set()
