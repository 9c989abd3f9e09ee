"""`vpnd node run`: the agent as a service."""

from functools import partial
from typing import NoReturn

import trio

from vpnd.agent.main import AgentStanding, run_agent
from vpnd.config import Settings
from vpnd.runtime.heap import settle_heap
from vpnd.runtime.sdnotify import ServiceManager
from vpnd.runtime.service import Service, run_service


def run(settings: Settings) -> int:
    """Run the agent until it is told to stop; return the exit code."""
    return run_service(
        partial(run_node, settings), log_format=settings.log.format, log_level=settings.log.level
    )


async def run_node(settings: Settings, service: Service) -> None:
    """Run a node as a service until it is asked to stop: `run_agent`, with readiness, status line and watchdog."""
    async with trio.open_nursery() as nursery:
        standing = await nursery.start(run_agent, settings)
        service.manager.ready("the core is starting")
        # The probe asks the durable copy: a disk that hangs is the one thing that a new process might cure.
        nursery.start_soon(service.manager.watchdog, standing.state.watermark)
        nursery.start_soon(_tell_status, service.manager, standing)
        await service.stopping.wait()
        service.manager.stopping()
        nursery.cancel_scope.cancel()


async def _tell_status(manager: ServiceManager, standing: AgentStanding) -> NoReturn:
    """Keep the line of ``systemctl status`` true: who is served, or that nobody is."""
    await standing.core.running()
    settle_heap()  # the first life has loaded all that is loaded late
    while True:
        life = await standing.core.running()
        watermark = await standing.state.watermark()
        manager.status(
            f"{standing.core.program.version} serves {watermark.active} customers at its start, life {life.number}"
        )
        await life.lost.wait()
        manager.status("the core is down; see the journal")
